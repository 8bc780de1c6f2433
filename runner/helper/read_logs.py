"""`gitlab-runner-helper read-logs`: follows a log file and writes each line after the offset where it ends.

For an original manager that uses this image: ours reads the log through the agent. Exit code 100 says that the file has
vanished.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from runner.helper.console import Console, HelperError
from runner.helper.flags import Flag, parse_flags

LINE_BYTES = 16 * 1024
PAUSE = 0.5
GONE = 100

_FLAGS = (
    Flag("path"),
    Flag("offset", kind="number", default=0),
    Flag("wait-file-timeout", kind="duration", default=1.0),
)


def main(
    argv: Sequence[str],
    environ: Mapping[str, str],
    console: Console,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Follow until the file is gone; the exit code."""
    del console
    given = parse_flags(_FLAGS, argv, environ)
    path = given.text("path")
    _wait_for(path, given.seconds("wait-file-timeout"), sleep)
    try:
        with open(path, "rb") as file:
            offset = file.seek(given.number("offset"))
            while True:
                line = file.readline(LINE_BYTES)
                if line:
                    offset += len(line)
                    sys.stdout.buffer.write(b"%d %b" % (offset, line if line.endswith(b"\n") else line + b"\n"))
                    sys.stdout.buffer.flush()
                elif not os.path.exists(path):
                    return GONE
                else:
                    sleep(PAUSE)
    except BrokenPipeError:
        return 0
    except OSError as error:
        print(f"error reading logs from {path}: {error.strerror}", flush=True)
        return 1


def _wait_for(path: str, timeout: float, sleep: Callable[[float], None]) -> None:
    deadline = time.monotonic() + timeout
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise HelperError(f"{path} did not appear within {timeout:g} s")
        sleep(min(1.0, timeout))
