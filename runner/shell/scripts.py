"""From a stage's name to the script that runs as it.

The law: pure and total. The same context gives the same text; a stage with nothing to do gives None and leaves no
trace in the job log; what the job or the configuration has wrong raises `JobConfigurationError` with a sentence.
The time is linear in the size of the job's script.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType

from runner.job.outcome import JobConfigurationError
from runner.job.room import ORDINARY_BYTES, STACK_KIBIBYTES, exported_bytes
from runner.job.stages import Stage, container, step_stage
from runner.shell.archives import (
    write_archive_cache,
    write_download_artifacts,
    write_restore_cache,
    write_upload_artifacts,
)
from runner.shell.bash import RESET, ShellWriter, quote, wrap
from runner.shell.context import Script, ScriptContext
from runner.shell.git import (
    HOOKS,
    write_clear_worktree,
    write_credential_erase,
    write_get_sources,
    write_git_cleanup,
    write_home,
    write_project_cleanup,
    write_safe_directory,
)
from runner.shell.git_config import EXTERNAL_CONFIG
from runner.shell.prologue import (
    GIT_CONFIG,
    GITLAB_ENV,
    MASKING_FILE,
    OWNER_MARK,
    file_variable_paths,
    write_commands,
    write_prologue,
)
from runner.shell.pwsh import SUFFIX, PwshWriter, wrap_pwsh, write_pwsh
from runner.shell.writer import Writer

__all__ = ["Script", "ScriptContext", "script_for"]

_SHELLS = frozenset({"", "bash", "sh", "pwsh"})

Part = Callable[[ShellWriter, ScriptContext], bool]
"""Writes one stage's body; False says that there is nothing to do."""


def script_for(stage: str, context: ScriptContext) -> Script | None:
    """Make the script of one stage, or None if the stage has nothing to do.

    Raises `JobConfigurationError` for what cannot be run: a shell that is not supported, settings that make no sense.
    """
    if context.config.shell not in _SHELLS:
        raise JobConfigurationError(
            f'the shell "{context.config.shell}" is not supported, set shell = "bash", "sh" or "pwsh" in config.toml'
        )
    context = context.expanded()
    writer = ShellWriter(check_exit_codes=context.flag("FF_ENABLE_BASH_EXIT_CODE_CHECK"))
    part = _PARTS.get(stage) or partial(_write_step, stage=stage)
    if not part(writer, context):
        return None
    text = wrap(
        writer.text(),
        shell="sh" if context.uses_pwsh else context.config.shell or "bash",
        umask=_umask(stage, context),
        # Where PowerShell traces, the shell around it would only print the whole script.
        trace=context.settings().debug_trace and not (context.uses_pwsh and container(stage) == "build"),
        legacy_eval=context.flag("FF_USE_LEGACY_BASH_EVAL"),
        stack=STACK_KIBIBYTES if exported_bytes(context.variables) > ORDINARY_BYTES else 0,
    )
    return Script(stage, text)


def _umask(stage: str, context: ScriptContext) -> str:
    """Open what the helper makes to the build container's user; the user's own commands keep their image's umask.

    `FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR` leaves the ordinary one, and the sources change their owner instead.
    """
    if container(stage) != "helper":
        return ""
    return "0022" if context.flag("FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR") else "0000"


def _write_prepare(writer: ShellWriter, context: ScriptContext) -> bool:
    """The pod's name is the helper's host name; not every image has a `hostname`."""
    via = f" via {context.manager_host}" if context.manager_host else ""
    writer.line(
        f"printf '%s\\n' {quote(f'{RESET}Running on ')}\"${{HOSTNAME:-$(hostname)}}\"{quote(f'{via}...{RESET}')}"
    )
    writer.remove_file(context.temporary(GITLAB_ENV), context.temporary(MASKING_FILE))
    return True


def _write_sources(writer: ShellWriter, context: ScriptContext) -> bool:
    write_get_sources(writer, context)
    return True


def _write_clear_worktree(writer: ShellWriter, context: ScriptContext) -> bool:
    write_clear_worktree(writer, context)
    return True


def _write_step(writer: ShellWriter, context: ScriptContext, *, stage: str) -> bool:
    """A step and the administrator's scripts around it run in one shell: what the first sets, the last still sees."""
    step = next((step for step in context.job.steps if step_stage(step.name) == stage), None)
    if step is None:
        return False
    # The runner itself expands a release's commands: they are GitLab's, made from the `release` keyword.
    script = tuple(map(context.variables.expand, step.script)) if step.name == "release" else step.script
    with _users_shell(writer, context, stage) as user:
        _write_configured(user, context, context.config.pre_build_script, "pre_build_script")
        write_commands(user, context, script, section="script_step")
        _write_configured(user, context, context.config.post_build_script, "post_build_script")
    return True


@contextmanager
def _users_shell(writer: ShellWriter, context: ScriptContext, stage: str) -> Iterator[Writer]:
    """Write what is written inside in the shell of the user's commands, behind the variables and in the project."""
    if not context.uses_pwsh:
        write_prologue(writer, context)
        write_safe_directory(writer, context)
        writer.change_directory(context.project_dir)
        yield writer
        return
    write_safe_directory(writer, context)
    user = PwshWriter()
    write_prologue(user, context)
    user.change_directory(context.project_dir)
    yield user
    text = wrap_pwsh(user.text(), trace=context.settings().debug_trace)
    write_pwsh(writer, text, path=context.temporary(f"{stage}{SUFFIX}"), replace=True)


def _write_configured(writer: Writer, context: ScriptContext, script: str, section: str) -> None:
    if script:
        write_commands(writer, context, [script], section=section)


def _write_after_script(writer: ShellWriter, context: ScriptContext) -> bool:
    step = context.job.step(Stage.AFTER_SCRIPT)
    if step is None or not step.script:
        return False
    with _users_shell(writer, context, Stage.AFTER_SCRIPT) as user:
        user.notice("Running after script...")
        write_commands(user, context, step.script, section="after_script_step")
    return True


def _write_cleanup(writer: ShellWriter, context: ScriptContext) -> bool:
    write_prologue(writer, context, write_files=False)
    write_home(writer, context)
    write_credential_erase(writer, context)
    names = [GITLAB_ENV, MASKING_FILE, EXTERNAL_CONFIG, GIT_CONFIG]
    if context.uses_pwsh:
        stages = [*HOOKS, *(step_stage(step.name) for step in context.job.steps), Stage.AFTER_SCRIPT]
        names += [f"{stage}{SUFFIX}" for stage in dict.fromkeys(stages)]
    writer.remove_file(*map(context.temporary, names), *file_variable_paths(context))
    if context.flag("FF_ENABLE_JOB_CLEANUP"):
        write_project_cleanup(writer, context)
    write_git_cleanup(writer, context)
    writer.remove_file(context.temporary(".gitconfig"), f"{context.builds_dir}/{OWNER_MARK}")
    return True


_PARTS: Mapping[str, Part] = MappingProxyType(
    {
        Stage.PREPARE_SCRIPT: _write_prepare,
        Stage.GET_SOURCES: _write_sources,
        Stage.CLEAR_WORKTREE: _write_clear_worktree,
        Stage.RESTORE_CACHE: write_restore_cache,
        Stage.DOWNLOAD_ARTIFACTS: write_download_artifacts,
        Stage.AFTER_SCRIPT: _write_after_script,
        Stage.ARCHIVE_CACHE: partial(write_archive_cache, succeeded=True),
        Stage.ARCHIVE_CACHE_ON_FAILURE: partial(write_archive_cache, succeeded=False),
        Stage.UPLOAD_ARTIFACTS_ON_SUCCESS: partial(write_upload_artifacts, succeeded=True),
        Stage.UPLOAD_ARTIFACTS_ON_FAILURE: partial(write_upload_artifacts, succeeded=False),
        Stage.CLEANUP_FILE_VARIABLES: _write_cleanup,
    }
)
