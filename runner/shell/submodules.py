"""Submodules of the sources: initialised, brought to the recorded commits, cleaned.

The law: they get the job's credentials the way the project does, by including the external configuration.
"""

from collections.abc import Mapping
from types import MappingProxyType

from runner.job.outcome import JobConfigurationError
from runner.job.settings import JobSettings
from runner.shell.bash import ShellWriter, quote, quote_words
from runner.shell.context import ScriptContext

_LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType({"normal": (), "recursive": ("--recursive",)})


def check_settings(settings: JobSettings) -> None:
    """Raise `JobConfigurationError` for settings that make no sense: to guess would check out the wrong sources."""
    strategy = settings.git_submodule_strategy
    if strategy != "none" and strategy not in _LEVELS:
        raise JobConfigurationError(f"unknown GIT_SUBMODULE_STRATEGY {strategy!r}, use one of none, normal, recursive")
    if ":(exclude)" in settings.git_submodule_paths:
        raise JobConfigurationError(
            "GIT_SUBMODULE_PATHS holds an `:(exclude)` without a path: write `:(exclude)path` as one word"
        )


def recursion(settings: JobSettings) -> tuple[str, ...] | None:
    """The flags that make git go as deep as the job asked; None if it asked for no submodules, or for nonsense.

    Nonsense has failed the job before; the cleanup, which removes secrets, must not fail of it again.
    """
    return _LEVELS.get(settings.git_submodule_strategy)


def write_submodules(writer: ShellWriter, context: ScriptContext) -> None:
    """Write the submodules' part of get_sources; the shell stands in the project directory.

    An update that fails is tried once more after another sync: a URL that changed since the last job is the usual
    cause.
    """
    settings = context.settings()
    level = recursion(settings)
    if level is None:
        writer.notice("Skipping Git submodules setup")
        return
    depth = settings.git_submodule_depth
    words = "Updating/initializing submodules" + (" recursively" if level else "")
    writer.notice(words + (f" with git depth set to {depth}..." if depth > 0 else "..."))
    paths = _paths(settings)
    sync = quote_words("git", "submodule", "sync", *level, *paths)
    update = _update(settings, level, paths)
    reset = quote_words("git", "submodule", "foreach", *level, "git reset --hard")
    clean = quote_words(
        "git", "submodule", "foreach", *level, quote_words("git", "clean", *(settings.git_clean_flags or ("-ffdx",)))
    )
    for command in ("git submodule init", sync, clean, reset):
        writer.command(command)
    with writer.when(update):
        writer.notice("Updated submodules")
        writer.command(sync)
        writer.otherwise()
        writer.warning("Updating submodules failed. Retrying...")
        if "--remote" in settings.git_submodule_update_flags:
            fetch = quote("git fetch origin +refs/heads/*:refs/remotes/origin/*")
            writer.command(f"{_INCLUDING} submodule foreach {' '.join((*level, fetch))}")
        writer.command(sync)
        writer.run_or_tell(update, _NO_SUBMODULES)
        writer.command(reset)
    writer.command(clean)
    writer.notice("Configuring submodules to use parent git credentials...")
    configure = quote('git config --replace-all include.path "$GLR_EXT_GIT_CONFIG_PATH"')
    writer.command(f"git submodule foreach --recursive {configure}")
    if not settings.git_lfs_skip_smudge:
        with writer.when("git lfs version >/dev/null 2>&1"):
            writer.notice("Pulling LFS files...")
            writer.command(f"{_INCLUDING} submodule foreach {' '.join((*level, quote('git lfs pull')))}")


_NO_SUBMODULES = (
    "git could not update the submodules, its reason stands above. A submodule in another project of this server needs "
    "this project in the other's job token allowlist; one on another server needs credentials, which a "
    "pre_get_sources_script can set up. GIT_SUBMODULE_PATHS can leave a submodule out."
)
_INCLUDING = 'git -c include.path="$GLR_EXT_GIT_CONFIG_PATH"'


def _update(settings: JobSettings, level: tuple[str, ...], paths: tuple[str, ...]) -> str:
    depth = ("--depth", str(settings.git_submodule_depth)) if settings.git_submodule_depth > 0 else ()
    flags = quote_words(*level, *depth, *settings.git_submodule_update_flags, *paths)
    return f"{_INCLUDING} submodule update --init {flags}".rstrip()


def _paths(settings: JobSettings) -> tuple[str, ...]:
    return ("--", *settings.git_submodule_paths) if settings.git_submodule_paths else ()
