"""The stages that bring the sources and take them away: get_sources, clear_worktree and git's part of the cleanup.

The law: what git says reaches the job log, and what git fails at fails the stage. Lock files, hooks and settings
that an earlier job left in a kept work tree are removed before git runs there, because they could run code or
redirect it.
"""

from runner.shell.bash import ShellWriter, quote, quote_words
from runner.shell.context import ScriptContext
from runner.shell.git_config import (
    EXTERNAL_CONFIG,
    TEMPLATE_DIRECTORY,
    correlation_id,
    credentials_config,
    external_config,
    template_config,
    write_global_config,
    write_global_tls,
)
from runner.shell.prologue import write_commands, write_ownership, write_prologue
from runner.shell.pwsh import SUFFIX, PwshWriter, wrap_pwsh, write_pwsh
from runner.shell.submodules import check_settings, recursion, write_submodules
from runner.shell.urls import USERNAME, is_web, remote_url, server_of, with_user

_LOCKS = ("index.lock", "shallow.lock", "HEAD.lock", "hooks/post-checkout", "config.lock")
HOOKS = ("pre_get_sources_script", "post_get_sources_script")
"""Commands of the user's and the administrator's around the sources; they run in the helper."""

_NATIVE_CLONE_VERSION = "2.49"
"""The first git that can clone a single revision."""


def write_get_sources(writer: ShellWriter, context: ScriptContext) -> None:
    """Write the stage that brings the sources, whatever the strategy.

    Raises `JobConfigurationError` for submodule settings that make no sense.
    """
    settings = context.settings()
    check_settings(settings)
    fetches = settings.git_strategy in {"fetch", "clone"}
    write_prologue(writer, context)
    writer.export("GIT_TERMINAL_PROMPT", "0")
    writer.export("GCM_INTERACTIVE", "Never")
    write_home(writer, context)
    _write_access(writer, context, fetches=fetches)
    if fetches:
        _write_hook(writer, context, HOOKS[0], "pre_clone_script")
        if not settings.git_lfs_skip_smudge:
            # The files come in one go with `git lfs pull`, not one by one while git checks out.
            writer.export("GIT_LFS_SKIP_SMUDGE", "1")
    _write_strategy(writer, context)
    _write_checkout(writer, context)
    write_submodules(writer, context)
    if fetches:
        _write_hook(writer, context, HOOKS[1], "post_clone_script")
    write_ownership(writer, context, context.builds_dir)
    write_credential_erase(writer, context)


def write_home(writer: ShellWriter, context: ScriptContext) -> None:
    """Give git a home it can write to: a pod that runs as an arbitrary user often has none.

    Every stage that calls git needs the same one: it says that the project is safe though another user made it.
    """
    with writer.when('[ -z "${HOME:-}" ] || [ ! -w "$HOME" ]'):
        writer.export("HOME", context.temp_dir)


def write_safe_directory(writer: ShellWriter, context: ScriptContext) -> None:
    """Let git in the user's own image take sources that are another user's: the helper's, as a rule root's.

    Of submodules git wants each one named, so that all folders are safe then. Where there is no home to write to, git
    is told by the environment, which it takes since 2.38.
    """
    settings = context.settings()
    if context.config.safe_directory_checkout is False or settings.git_strategy in {"none", "empty"}:
        return
    safe = quote("*" if recursion(settings) is not None else context.project_dir)
    with writer.when(f"[ ! -O {quote(context.project_dir)} ] && command -v git >/dev/null 2>&1"):
        told = f"GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0={safe}"
        writer.line(f"git config --global --add safe.directory {safe} 2>/dev/null || export {told}")


def write_clear_worktree(writer: ShellWriter, context: ScriptContext) -> None:
    """Write what runs before the second attempt: a work tree may be what made the first one fail."""
    writer.notice("Deleting tracked and untracked files...")
    write_home(writer, context)
    with writer.when(f"[ -d {quote(context.project_dir)}/.git ]"):
        writer.change_directory(context.project_dir)
        writer.run("git", "rm", "-rf", "--ignore-unmatch", "--quiet", ".")
        writer.run("git", "clean", "-ffdx", "-q")


def write_credential_erase(writer: ShellWriter, context: ScriptContext) -> None:
    """Tell credential helpers to forget the token. Best effort: git may be missing where no sources were asked for."""
    remote = remote_url(context.job, context.variables, context.config)
    if server_of(remote).partition(":")[0] in {"http", "https", "ssh"}:
        lines = f"'url=%s\\nusername={USERNAME}\\n\\n' {quote(server_of(remote))}"
        writer.line(f"printf {lines} | git credential reject >/dev/null 2>&1 || :")


def write_git_cleanup(writer: ShellWriter, context: ScriptContext) -> None:
    """Remove what an earlier job, or a killed git, may have left: locks, and settings that could run code."""
    repository = f"{context.project_dir}/.git"
    submodules = recursion(context.settings()) is not None
    cleans = _cleans_config(context)
    with writer.when(f"[ -d {quote(repository)} ]"):
        writer.remove_file(*(f"{repository}/{name}" for name in _LOCKS), *([f"{repository}/config"] if cleans else []))
        writer.remove_files_below(f"{repository}/refs", "*.lock")
        if cleans:
            writer.remove_directory(f"{repository}/hooks")
        if submodules:
            names = [name.rpartition("/")[2] for name in _LOCKS] + (["config"] if cleans else [])
            writer.remove_files_below(f"{repository}/modules", *names)
            if cleans:
                writer.remove_directories_below(f"{repository}/modules", "hooks")


def write_project_cleanup(writer: ShellWriter, context: ScriptContext) -> None:
    """Leave the project directory as a later job may want to find it (`FF_ENABLE_JOB_CLEANUP`)."""
    settings = context.settings()
    if settings.git_strategy in {"clone", "empty"}:
        writer.remove_directory(context.project_dir)
        return
    if settings.git_strategy == "none":
        writer.notice("Skipping build directory cleanup step")
        return
    level = recursion(settings)
    with writer.when(f"[ -d {quote(context.project_dir)}/.git ]"):
        writer.change_directory(context.project_dir)
        clean = [("git", "clean", *settings.git_clean_flags)] if settings.git_clean_flags else []
        for command in (*clean, ("git", "reset", "--hard")):
            writer.run(*command)
            if level is not None:
                writer.run("git", "submodule", "foreach", *level, quote_words(*command))


def _write_access(writer: ShellWriter, context: ScriptContext, *, fetches: bool) -> None:
    tokenless = context.flag("FF_GIT_URLS_WITHOUT_TOKENS")
    if fetches or tokenless:
        text = external_config(context) if fetches else credentials_config(context)
        writer.write_file(context.temporary(EXTERNAL_CONFIG), text)
    if tokenless:
        write_global_config(writer, context)
    if fetches:
        write_global_tls(writer, context)


def _write_hook(writer: ShellWriter, context: ScriptContext, name: str, section: str) -> None:
    """Run the administrator's and the project's script at a place: the administrator's is the outer one."""
    configured: str = getattr(context.config, name) or ""
    own = [line for hook in context.job.hooks if hook.name == name for line in hook.script]
    outer = [configured] if configured else []
    commands = outer + own if name.startswith("pre_") else own + outer
    if not context.uses_pwsh:
        write_commands(writer, context, commands, section=section)
    elif commands:
        user = PwshWriter()
        write_prologue(user, context, write_files=False)
        write_commands(user, context, commands, section=section)
        text = wrap_pwsh(user.text(), trace=context.settings().debug_trace)
        write_pwsh(writer, text, path=context.temporary(f"{name}{SUFFIX}"), replace=False)


def _write_strategy(writer: ShellWriter, context: ScriptContext) -> None:
    strategy = context.settings().git_strategy
    if strategy == "none":
        writer.notice("Skipping Git repository setup")
        writer.make_directory(context.project_dir)
        return
    if strategy == "empty":
        writer.notice("Skipping Git repository setup and creating an empty build directory")
        writer.remove_directory(context.project_dir)
        writer.make_directory(context.project_dir)
        return
    write_git_cleanup(writer, context)
    _write_template(writer, context)
    if strategy == "clone":
        writer.remove_directory(context.project_dir)
    if strategy == "clone" and context.flag("FF_USE_GIT_NATIVE_CLONE"):
        _write_native_clone(writer, context)
    else:
        _write_fetch(writer, context)


def _write_template(writer: ShellWriter, context: ScriptContext) -> None:
    template = context.temporary(TEMPLATE_DIRECTORY)
    writer.run("rm", "-rf", template)
    writer.make_directory(template)
    writer.write_file(f"{template}/config", template_config(context))
    if context.config.safe_directory_checkout is not False:
        writer.run("git", "config", "--global", "--add", "safe.directory", context.project_dir)
    if correlation_id(context):
        writer.notice(f"Gitaly correlation ID: {context.correlation_id}")
    writer.export("GLR_EXT_GIT_CONFIG_PATH", context.temporary(EXTERNAL_CONFIG))


def _write_fetch(writer: ShellWriter, context: ScriptContext) -> None:
    """Fetch exactly the refspecs that GitLab names, into a new or a kept repository."""
    git = context.job.git_info
    project = context.project_dir
    object_format = [] if git.repo_object_format == "sha1" else ["--object-format", git.repo_object_format]
    writer.notice("Fetching changes" + (f" with git depth set to {git.depth}..." if git.depth > 0 else "..."))
    writer.run("git", "init", project, "--template", context.temporary(TEMPLATE_DIRECTORY), *object_format)
    writer.change_directory(project)
    remote = _bare_remote(context)
    with writer.when(f"git remote add origin {quote(remote)} >/dev/null 2>&1"):
        # A kept repository takes the remote too once its configuration has been cleaned; that does not make it fresh.
        with writer.when("[ ! -e .git/FETCH_HEAD ]"):
            writer.notice("Created fresh repository.")
        writer.otherwise()
        writer.run("git", "remote", "set-url", "origin", remote)
        name = EXTERNAL_CONFIG.replace(".", r"\.")
        writer.run("git", "config", "--replace-all", "include.path", context.temporary(EXTERNAL_CONFIG), f"{name}$")
    fetch = [*_git(context), "fetch", "origin", "--no-recurse-submodules", *git.refspecs]
    flags = context.settings().git_fetch_extra_flags
    advice = _no_sources(remote)
    if git.depth > 0:
        writer.run_or_tell(quote_words(*fetch, "--depth", str(git.depth), *flags), advice)
        return
    with writer.when(f"[ -f {quote(project)}/.git/shallow ]"):
        writer.run_or_tell(quote_words(*fetch, *flags, "--unshallow"), advice)
        writer.otherwise()
        writer.run_or_tell(quote_words(*fetch, *flags), advice)


def _write_native_clone(writer: ShellWriter, context: ScriptContext) -> None:
    """Clone with one command where git is new enough, which only shows when it runs; fetch otherwise."""
    major, minor = _NATIVE_CLONE_VERSION.split(".")
    writer.line('git_version="$(git version)"; git_version="${git_version#git version }"')
    writer.line('git_major="${git_version%%.*}"; git_minor="${git_version#*.}"; git_minor="${git_minor%%[!0-9]*}"')
    newer = f'[ "$git_major" -gt {major} ] || {{ [ "$git_major" -eq {major} ] && [ "$git_minor" -ge {minor} ]; }}'
    git = context.job.git_info
    depth = ["--depth", str(git.depth)] if git.depth > 0 else []
    revision = ["--revision" if git.ref.startswith("refs/") else "--branch", git.ref] if git.ref else []
    template = ["--template", context.temporary(TEMPLATE_DIRECTORY)]
    words = ["clone", "--no-checkout", _bare_remote(context), context.project_dir, *template, *depth, *revision]
    suffix = f" for {git.ref}" if git.ref else ""
    suffix += f" with git depth set to {git.depth}" if git.ref and depth else ""
    with writer.when(newer):
        writer.print(f'Git version at least "{_NATIVE_CLONE_VERSION}"')
        writer.notice(f"Cloning repository{suffix}...")
        command = quote_words(*_git(context), *words, *context.settings().git_clone_extra_flags)
        writer.run_or_tell(command, _no_sources(_bare_remote(context)))
        writer.change_directory(context.project_dir)
        writer.otherwise()
        _write_fetch(writer, context)


def _write_checkout(writer: ShellWriter, context: ScriptContext) -> None:
    settings = context.settings()
    git = context.job.git_info
    if not settings.git_checkout:
        writer.notice("Skipping Git checkout")
        return
    writer.notice(f"Checking out {git.sha[:8]} as detached HEAD (ref is {git.ref})...")
    checkout = ("git", "-c", "submodule.recurse=false", *_proactive(context), "checkout", "-f", "-q", git.sha)
    writer.run_or_tell(quote_words(*checkout), _no_commit(context))
    if settings.git_clean_flags:
        writer.run("git", "clean", *settings.git_clean_flags)
    if not settings.git_lfs_skip_smudge:
        with writer.when("git lfs version >/dev/null 2>&1"):
            writer.run("git", "lfs", "pull")
            writer.blank()


def _no_sources(remote: str) -> str:
    """What to do when git cannot fetch; what went wrong stands above, in git's words."""
    place = with_user(remote, "") if server_of(remote) else "the project's address"
    return (
        f"git could not fetch from {place}, its reason stands above. If the project is there and the "
        "server was only busy, GET_SOURCES_ATTEMPTS makes the job try again."
    )


def _no_commit(context: ScriptContext) -> str:
    git = context.job.git_info
    return (
        f"git could not check out the commit {git.sha[:8]}, its reason stands above. If the commit is not there, "
        f"{git.ref} has been rewritten or deleted since the pipeline was made: run a new pipeline."
    )


def _bare_remote(context: ScriptContext) -> str:
    remote = remote_url(context.job, context.variables, context.config)
    return with_user(remote, "") if is_web(remote) else remote


def _git(context: ScriptContext) -> tuple[str, ...]:
    """git with the name by which the server's logs know us."""
    variables = context.variables
    version = f"{variables.get('CI_RUNNER_VERSION')} {variables.get('CI_RUNNER_EXECUTABLE_ARCH')}"
    agent = context.user_agent or f"gitlab-runner {version}"
    return ("git", "-c", f"http.userAgent={agent}", *_proactive(context))


def _proactive(context: ScriptContext) -> tuple[str, ...]:
    """Send credentials with the first request, for public projects that limit anonymous traffic."""
    remote = remote_url(context.job, context.variables, context.config)
    if not context.flag("FF_USE_GIT_PROACTIVE_AUTH") or not is_web(remote):
        return ()
    return ("-c", f"http.{server_of(remote)}.proactiveAuth=basic")


def _cleans_config(context: ScriptContext) -> bool:
    configured = context.config.clean_git_config
    return context.settings().git_strategy != "none" if configured is None else configured
