"""The commands of a pod's build and helper containers: the agents of docs/decisions/001.

Law: the text is the same for every job and holds no secret; what differs are the two directories, handed over as
arguments. It stands in each pod's specification, so comments and indentation are taken out once, here. Process 1 does
not keep it among its arguments: a job that looks at its processes is to find them.
"""

import shlex
from functools import cache
from importlib.resources import files

_HELPER_BEGIN, _HELPER_END = "#helper{", "#}"

# The environment carries the text over to a shell with short arguments; the text's first act is to take it out of
# there. A shell that does not find itself on PATH stays what it is.
_LAUNCHER = """\
_agent={text}
export _agent
command -v sh >/dev/null 2>&1 && exec sh -c 'eval "$_agent"' "$0" "$@"
eval "$_agent"
"""


def build_command(logs_dir: str, scripts_dir: str) -> tuple[str, ...]:
    """Give the build container's command. Whatever the image, it needs `sh` and no other program."""
    return ("sh", "-c", _agent_text(helper=False), "agent", logs_dir, scripts_dir, "build")


def helper_command(logs_dir: str, scripts_dir: str, *, keep_bytes: int) -> tuple[str, ...]:
    """Give the helper container's command: `runner-helper-agent` where the image has it, else the same in sh.

    `keep_bytes` is how much of the log's beginning stays in the pod after GitLab has it, for a manager that has to make
    the log again; the sh agent keeps all of it.
    """
    return ("sh", "-c", _agent_text(helper=True), "agent", logs_dir, scripts_dir, "helper", str(keep_bytes))


@cache
def _agent_text(*, helper: bool) -> str:
    text = files("runner.podspec").joinpath("agent.sh").read_text(encoding="utf-8")
    return _LAUNCHER.format(text=shlex.quote(_minified(text, helper=helper)))


def _minified(text: str, *, helper: bool) -> str:
    """Drop comments, blank lines, indentation, and the helper's part where it is not wanted."""
    lines: list[str] = []
    wanted = True
    for line in map(str.strip, text.splitlines()):
        if line in (_HELPER_BEGIN, _HELPER_END):
            wanted = helper or line == _HELPER_END
        elif wanted and line and not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"
