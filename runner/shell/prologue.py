"""The lines that nearly every stage begins with: variables, file variables, `GITLAB_ENV`; and who owns what is made.

The law: no variable, whatever its name or value, keeps a stage from running. A shell cannot hold a variable whose
name is no identifier, so such a variable is not exported, without a word; as a file variable it still gets its
file. Nothing here needs more than the shell itself once the temporary directory is there, because the prologue runs
in the user's image too.
"""

from collections.abc import Sequence

from runner.job.variables import Variable
from runner.shell.bash import ShellWriter, is_identifier, quote
from runner.shell.context import ScriptContext
from runner.shell.writer import Writer

GITLAB_ENV = "gitlab_runner_env"
"""File of `KEY=value` lines by which a stage hands variables to later stages."""

MASKING_FILE = "masking.db"
GIT_CONFIG = ".glr.gconf"
"""Stands in for git's global configuration where URLs carry no token (`FF_GIT_URLS_WITHOUT_TOKENS`)."""

OWNER_MARK = ".gitlab-build-uid-gid"
"""A file in the builds directory made by the build container's user; it shows whose the sources shall be."""


def write_prologue(writer: Writer, context: ScriptContext, *, write_files: bool = True) -> None:
    """Export the job's variables, then what earlier stages have put into `GITLAB_ENV`.

    `write_files=False` is for the stage that removes the files: there only their paths are exported.
    """
    writer.make_directory(context.temp_dir)
    for variable in {variable.key: variable for variable in context.variables}.values():
        if variable.file:
            _file_variable(writer, context, variable, write_file=write_files)
        else:
            writer.export(variable.key, variable.value)
    writer.export_file(context.temporary(GITLAB_ENV))
    if context.flag("FF_GIT_URLS_WITHOUT_TOKENS"):
        writer.export("GIT_CONFIG_GLOBAL", context.temporary(GIT_CONFIG))


def write_commands(writer: Writer, context: ScriptContext, commands: Sequence[str], *, section: str) -> None:
    """Write commands of the user's or the administrator's, each with its announcement."""
    sections = context.flag("FF_SCRIPT_SECTIONS") and context.job.features.trace_sections
    for index, command in enumerate(commands):
        writer.user_command(command, section=f"section_{section}_{index}" if sections else "")


def file_variable_paths(context: ScriptContext) -> tuple[str, ...]:
    """Name the files that hold file variables."""
    keys = dict.fromkeys(variable.key for variable in context.variables if variable.file)
    return tuple(context.temporary(key) for key in keys if _is_file_name(key))


def write_ownership(writer: ShellWriter, context: ScriptContext, *directories: str) -> None:
    """Give directories to the build container's user.

    Only with `FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR`: otherwise the helper's umask opens them to everyone, and
    nobody makes the mark.
    """
    if not context.flag("FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR"):
        return
    mark = quote(f"{context.builds_dir}/{OWNER_MARK}")
    with writer.when(f"[ -e {mark} ]"):
        writer.line(f"runner_owner=\"$(stat -c '%u:%g' {mark})\"")
        for directory in directories:
            with writer.when(f"[ -d {quote(directory)} ]"):
                if context.settings().debug_trace:
                    writer.line(f"printf '%s\\n' {quote(f'Setting ownership for {directory} to ')}\"$runner_owner\"")
                writer.command(f'chown -R "$runner_owner" {quote(directory)}')


def _file_variable(writer: Writer, context: ScriptContext, variable: Variable, *, write_file: bool) -> None:
    if not _is_file_name(variable.key):
        return
    path = context.temporary(variable.key)
    if write_file:
        writer.write_file(path, variable.value)
    writer.export(variable.key, path)


def _is_file_name(key: str) -> bool:
    """Refuse keys that would leave the temporary directory."""
    return is_identifier(key) or ("/" not in key and "\0" not in key and key not in {"", ".", ".."})
