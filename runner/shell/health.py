"""The script that waits until services take connections, in the helper container.

The law: as the other stages' scripts. It ends when all ports have taken a connection, and else never: who runs it has
the deadline.
"""

from collections.abc import Iterable

from runner.config.model import RunnerConfig
from runner.job.stages import Stage
from runner.shell.bash import wrap
from runner.shell.context import Script

_HELPER = "gitlab-runner-helper"


def health_check_script(ports: Iterable[int], config: RunnerConfig) -> Script:
    """Make the script: the helper's own command where the image has it, else `nc`, with the same words."""
    numbers = tuple(str(port) for port in ports)
    flags = " ".join(f"--port {number}" for number in numbers)
    shown = " ".join(numbers)
    body = "\n".join(
        (
            f"if command -v {_HELPER} >/dev/null 2>&1; then exec {_HELPER} health-check {flags}; fi",
            "if ! command -v nc >/dev/null 2>&1; then",
            f"  echo 'the helper image has neither {_HELPER} nor nc: nothing can wait for its services'",
            "  exit 1",
            "fi",
            f"echo 'waiting for TCP connection to localhost on [{shown}]...'",
            f"for port in {shown}; do",
            '  until nc -z 127.0.0.1 "$port" 2>/dev/null; do sleep 1; done',
            '  echo "dial succeeded on localhost:$port. Exiting..."',
            "done",
        )
    )
    shell = "sh" if config.shell == "pwsh" else config.shell or "bash"
    text = wrap(body, shell=shell, umask="", trace=False, legacy_eval=False)
    return Script(Stage.HEALTH_CHECK, text)
