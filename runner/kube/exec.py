"""A terminal in a container: a shell of its own with a TTY, over exec.

Law: input and output alone; the shell's exit code concerns nobody. The shell is not the job's: it has the container's
environment and working directory. It ends with the container; a connection that closes leaves it a hangup at most.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runner.kube.attach import open_exec

if TYPE_CHECKING:
    from runner.kube.attach import ExecStream
    from runner.kube.client import KubeClient

SHELL = ("sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash; fi; exec sh")
"""bash where the image has it.

GitLab Runner runs `bash || sh`: when the first shell ends with an error, a second one starts.
"""

END_OF_INPUT = b"\x04"
"""What a keyboard sends with Ctrl-D: a shell that waits for a line leaves."""


class Terminal:
    """One terminal. One task may send while another receives."""

    def __init__(self, stream: ExecStream) -> None:
        self._stream = stream

    @property
    def trouble(self) -> str:
        """Why there was no shell, in the server's words; known once `receive` has returned nothing."""
        status = self._stream.exit_status
        return status.message if status is not None and status.code is None else ""

    async def send(self, data: bytes) -> None:
        """Type; waits while the terminal takes nothing. StreamLostError when it takes no more."""
        await self._stream.send(data)

    async def resize(self, *, columns: int, rows: int) -> None:
        """Say how large the window is. StreamLostError as for `send`."""
        await self._stream.resize(columns=columns, rows=rows)

    async def receive(self) -> bytes:
        """Return what is printed next, nothing once the shell has ended. StreamLostError when the connection broke.

        Safe to cancel: nothing is lost.
        """
        frame = await self._stream.receive()
        return b"" if frame is None else frame.data


@asynccontextmanager
async def open_terminal(client: KubeClient, namespace: str, pod: str, *, container: str) -> AsyncIterator[Terminal]:
    """Start a shell in a running container. Raises KubeError when the server refuses."""
    async with open_exec(client, namespace, pod, container=container, command=SHELL, stdin=True, tty=True) as stream:
        yield Terminal(stream)
