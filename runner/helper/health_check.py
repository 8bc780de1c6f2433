"""`gitlab-runner-helper health-check`: waits until services take connections.

With `--port` all ports of this pod must; without, any port of the service that the environment describes. It waits as
long as it takes: who runs it has the deadline.
"""

import socket
import time
from collections.abc import Callable, Mapping, Sequence

from runner.helper.console import Console, HelperError
from runner.helper.flags import Flag, parse_flags

PAUSE = 1.0
DIAL_TIMEOUT = 10.0

_FLAGS = (Flag("port", kind="texts"), Flag("p", kind="texts"))


def main(
    argv: Sequence[str],
    environ: Mapping[str, str],
    console: Console,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for the ports. Raises HelperError if there is nothing to wait for."""
    del console  # its users read what it prints
    given = parse_flags(_FLAGS, argv, environ)
    ports = (*given.texts("port"), *given.texts("p"))
    host, needed = ("localhost", len(ports)) if ports else (_address(environ), 1)
    ports = ports or tuple(value for name, value in environ.items() if name.endswith("_TCP_PORT"))
    if not host or not ports or not all(port.isdecimal() for port in ports):
        raise HelperError("No HOST or PORT found: give --port, or the variables *_TCP_ADDR and *_TCP_PORT")
    print(f"waiting for TCP connection to {host} on [{' '.join(ports)}]...", flush=True)
    waiting = list(ports)
    while len(ports) - len(waiting) < needed:
        for port in tuple(waiting):
            print(f"dialing {host}:{port}...", flush=True)
            if _dial(host, int(port)):
                print(f"dial succeeded on {host}:{port}. Exiting...", flush=True)
                waiting.remove(port)
                if len(ports) - len(waiting) >= needed:
                    return
        sleep(PAUSE)


def _address(environ: Mapping[str, str]) -> str:
    found = [value for name, value in environ.items() if name.endswith("_TCP_ADDR")]
    return found[-1] if found else ""


def _dial(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=DIAL_TIMEOUT).close()
    except (OSError, OverflowError):
        return False
    return True
