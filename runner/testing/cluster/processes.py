"""Real processes: started in a session of their own, their pipes pumped, and all of them ended for certain.

Law: no signal ever reaches a process that is not the container's. A process is known by a variable in its environment
that every child inherits, by its session, or by holding the writing end of the container's output; it is signalled
through a pidfd, which cannot name another one; and the first process stays unreaped until the others are gone, so that
its number cannot be given away meanwhile. Out of reach is only a daemon that has none of the three any more.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from runner.testing.cluster.stdio import STDERR, STDOUT, NoStdin, Stdin, Stdio

MARKER = "RUNNER_CONTAINER_ID"
"""The variable that tells whose a process is."""

_CHUNK_BYTES = 32 * 1024
_KILL_ROUNDS = 200
_KILL_PAUSE = 0.01
_DRAIN_TIMEOUT = 5.0
_ON_TERMINAL = 'exec 0<>"$1" 1>&0 2>&0; shift; exec "$@"'
"""Opens the terminal anew: the first one that the leader of a session opens becomes the session's own."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """How the children of an unreaped process are known, beside their environment."""

    session: int
    pipes: frozenset[str]
    """Its outputs, as `/proc` names them."""


class StartError(Exception):
    """A process could not be started; the message is the end of the container runtime's."""


class PipeInput:
    """The writing end of a process's input: one writer at a time, waiting while the process does not read."""

    def __init__(self, descriptor: int, *, terminal: bool = False) -> None:
        self._descriptor: int | None = descriptor
        self._terminal = terminal
        self._lock = anyio.Lock()
        os.set_blocking(descriptor, False)

    async def write(self, data: bytes) -> None:
        """Write all of it; what comes after the end is dropped."""
        view = memoryview(data)
        async with self._lock:
            while view and self._descriptor is not None:
                try:
                    view = view[os.write(self._descriptor, view[:_CHUNK_BYTES]) :]
                except BlockingIOError:
                    with suppress(anyio.ClosedResourceError):
                        await anyio.wait_writable(self._descriptor)
                except OSError:
                    # The process has closed its end.
                    return

    def close(self) -> None:
        """End the input."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            anyio.notify_closing(descriptor)
            os.close(descriptor)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal its size."""
        if self._terminal and self._descriptor is not None:
            fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Process:
    """One process with its streams: a container's first one, or one that was exec'ed into it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdin: bool,
        tty: bool,
    ) -> None:
        """Start it; raises StartError."""
        if not command:
            raise StartError("args must not be empty: unknown")
        self._outputs: dict[int, int] = {}
        if tty:
            parent_stdin, child = self._open_terminal()
            line = ("/bin/sh", "-c", _ON_TERMINAL, "sh", os.ttyname(child[0]), *command)
        else:
            parent_stdin, child = self._open_pipes(stdin=stdin)
            line = tuple(command)
        try:
            self._popen = subprocess.Popen(
                line,
                env=environment,
                cwd=folder,
                stdin=child[0],
                stdout=child[1],
                stderr=child[2],
                start_new_session=True,
            )
        except OSError as error:
            parent_stdin.close()
            self._close_outputs()
            name = command[0]
            what = "executable file not found in $PATH" if isinstance(error, FileNotFoundError) else error.strerror
            raise StartError(f'unable to start container process: exec: "{name}": {what}: unknown') from error
        finally:
            for descriptor in set(child):
                os.close(descriptor)
        self._pidfd = os.pidfd_open(self._popen.pid)
        pipes = frozenset() if tty else frozenset(f"pipe:[{os.fstat(one).st_ino}]" for one in self._outputs.values())
        self.belongings = Belongings(self._popen.pid, pipes)
        """How those that it started are known while it has not been reaped."""
        self.stdio = Stdio(stdin=parent_stdin, tty=tty)
        self.signal = 0
        """What killed it, once it has ended."""

    @property
    def ended(self) -> bool:
        """Whether it has ended and been reaped."""
        return self._popen.returncode is not None

    def terminate(self) -> None:
        """Send TERM, to it alone, as a container runtime does."""
        self._signal(signal.SIGTERM)

    async def run(self, kill_rest: Callable[[], None] | None = None) -> int:
        """Pump until it has ended; return its exit code, 128 and the signal's number for a killed one.

        `kill_rest` is called in a thread between its end and its reaping: it ends what the process left behind.
        Without it, the streams stay open for as long as a child holds them, as those of an exec do. When cancelled,
        the process is killed.
        """
        alone = kill_rest is None
        try:
            async with anyio.create_task_group() as group:
                pumping = [anyio.Event() for _ in self._outputs]
                for (stream, descriptor), done in zip(self._outputs.items(), pumping, strict=True):
                    group.start_soon(self._pump, stream, descriptor, done)
                await anyio.wait_readable(self._pidfd)
                if kill_rest is not None:
                    await anyio.to_thread.run_sync(kill_rest)
                    alone = True
                with anyio.move_on_after(_DRAIN_TIMEOUT if kill_rest else None):
                    for done in pumping:
                        await done.wait()
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                if kill_rest is not None and not alone:
                    await anyio.to_thread.run_sync(kill_rest)
                code = await self._reap()
            self._close_outputs()
        self.stdio.finish(code)
        return code

    async def _pump(self, stream: int, descriptor: int, done: anyio.Event) -> None:
        """Hand out what the process prints; a client that does not read stops this, and so the process."""
        while True:
            try:
                data = os.read(descriptor, _CHUNK_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(descriptor)
                continue
            except OSError:
                # A terminal whose last process has gone.
                data = b""
            if not data:
                break
            await self.stdio.write(stream, data)
        done.set()

    async def _reap(self) -> int:
        if not self.ended:
            self._signal(signal.SIGKILL)
            await anyio.wait_readable(self._pidfd)
            self._popen.wait()
            os.close(self._pidfd)
        code = self._popen.returncode
        if code < 0:
            self.signal, code = -code, 128 - code
        return code

    def _signal(self, number: signal.Signals) -> None:
        if not self.ended:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _open_terminal(self) -> tuple[Stdin, tuple[int, int, int]]:
        ours, theirs = pty.openpty()
        self._outputs = {STDOUT: os.dup(ours)}
        os.set_blocking(self._outputs[STDOUT], False)
        return PipeInput(ours, terminal=True), (theirs, theirs, theirs)

    def _open_pipes(self, *, stdin: bool) -> tuple[Stdin, tuple[int, int, int]]:
        theirs = []
        for stream in (STDOUT, STDERR):
            reading, writing = os.pipe()
            os.set_blocking(reading, False)
            self._outputs[stream] = reading
            theirs.append(writing)
        if not stdin:
            return NoStdin(), (os.open(os.devnull, os.O_RDONLY), theirs[0], theirs[1])
        reading, writing = os.pipe()
        return PipeInput(writing), (reading, theirs[0], theirs[1])

    def _close_outputs(self) -> None:
        for descriptor in self._outputs.values():
            anyio.notify_closing(descriptor)
            os.close(descriptor)
        self._outputs = {}


def kill_marked(marker: str, belongings: Iterable[Belongings]) -> int:
    """Kill every process that carries the marker or belongs to one of these; return how many would not go.

    Blocks for up to two seconds: call it in a thread. It looks until it has found nobody twice, because a process that
    is just being started has no environment to show.
    """
    known = tuple(belongings)
    look = _Look(
        f"{MARKER}={marker}".encode(),
        frozenset(one.session for one in known),
        frozenset(pipe for one in known for pipe in one.pipes),
    )
    quiet = 0
    left = 0
    for _ in range(_KILL_ROUNDS):
        left = sum(_kill_if_ours(pid, look) for pid in _numbers())
        quiet = 0 if left else quiet + 1
        if quiet == 2:
            return 0
        time.sleep(_KILL_PAUSE if left else _KILL_PAUSE / 10)
    return left


@dataclass(frozen=True, slots=True)
class _Look:
    """What tells a process of a container from all others."""

    line: bytes
    sessions: frozenset[int]
    pipes: frozenset[str]

    def knows(self, pid: int) -> bool:
        """Tell whether a living process is one of the container's; raises OSError when it goes meanwhile."""
        # The name in the second field may hold anything: the fields are counted from its closing parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        state, session = fields[0], int(fields[3])
        if state in (b"Z", b"X"):
            return False
        if session in self.sessions or self.line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return True
        return bool(self.pipes) and self._writes(pid)

    def _writes(self, pid: int) -> bool:
        """Tell whether it holds the writing end of an output; the reading ends are ours."""
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in self.pipes:
                    flags = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().partition("flags:")[2].split()[0]
                    if int(flags, 8) & os.O_ACCMODE == os.O_WRONLY:
                        return True
        return False


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _kill_if_ours(pid: int, look: _Look) -> bool:
    """Kill a process that is ours; tell whether there was one."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Looked at behind the pidfd: whatever is read now, the signal reaches the one that was opened.
        if not look.knows(pid):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
