"""The three streams of a process in a container, and everybody attached to them.

Law: as in a container runtime. Output goes to the container's log and to whoever is attached at that moment, one after
another: nobody attached means lost to attachers, and one reader who stops reading stops the others and the process.
Input of all attached clients arrives in one pipe, in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from runner.testing.cluster.container_log import ContainerLog

STDOUT = 1
STDERR = 2

Reader = Callable[[int, bytes], Awaitable[None]]
"""Takes a stream's number and bytes; raises ConnectionError when its client is gone."""


class Stdin(Protocol):
    """The writing end of a process's input."""

    async def write(self, data: bytes) -> None:
        """Write all of it, waiting while the process does not read; what comes after the end is dropped."""
        ...

    def close(self) -> None:
        """End the input."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """Tell a terminal its size; nothing for a pipe."""
        ...


class NoStdin:
    """The input of a process that was started without one."""

    async def write(self, data: bytes) -> None:
        """Drop it."""

    def close(self) -> None:
        """Nothing is open."""

    def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""


class Stdio:
    """The streams of one process: a container's, or one that was exec'ed."""

    def __init__(
        self,
        *,
        stdin: Stdin | None = None,
        stdin_once: bool = False,
        tty: bool = False,
        log: ContainerLog | None = None,
    ) -> None:
        self.stdin: Stdin = stdin or NoStdin()
        self.stdin_once = stdin_once
        """Whether the input ends with the first client that was attached to it."""
        self.tty = tty
        self.log = log
        self.ended = anyio.Event()
        """Set when the process has ended and its output has been handed out."""
        self.exit_code: int | None = None
        self.unreachable = ""
        """Why the node cannot be reached, when it cannot: what an attach is told then."""
        self._readers: list[Reader] = []

    @property
    def attached(self) -> int:
        """How many clients read the output."""
        return len(self._readers)

    def attach(self, reader: Reader) -> None:
        """Hand the output to this reader from now on."""
        self._readers.append(reader)

    def detach(self, reader: Reader) -> None:
        """Hand nothing more to this reader."""
        if reader in self._readers:
            self._readers.remove(reader)

    async def write(self, stream: int, data: bytes) -> None:
        """Hand out output: to the log, then to each reader in turn."""
        if self.log is not None:
            self.log.append(stream, data)
        for reader in tuple(self._readers):
            try:
                await reader(stream, data)
            except ConnectionError:
                self.detach(reader)

    def finish(self, exit_code: int) -> None:
        """Record the end: nothing is written any more."""
        self.exit_code = exit_code
        if self.log is not None:
            self.log.close()
        self.stdin.close()
        self.ended.set()
