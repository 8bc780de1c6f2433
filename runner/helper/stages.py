"""Stages that run in the helper container, as child processes of the agent.

Law: who creates `ATTEMPT.started` starts the attempt, once for ever; a stage has a session of its own, no stdin, and
its output goes to the log's file, so nothing of it can block the agent or be blocked by a reader. The record of its
end is written whole or does not count. The agent is the parent: it needs no wrapper, and its own death leaves the
record `lost` to its successor.
"""

import errno
import os
import signal
from collections.abc import Callable

SHELLS = (
    "/usr/local/bin/bash",
    "/usr/bin/bash",
    "/bin/bash",
    "/usr/local/bin/sh",
    "/usr/bin/sh",
    "/bin/sh",
    "/busybox/sh",
)
"""Where a stage's shell is looked for, in this order: bash before sh (GitLab Runner's shell detection)."""

_OWNER = "helper"
_OOM_FILES = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


def read_record(path: str) -> tuple[int, int] | None:
    """Read an exit record: code and processes killed for memory. None when it is not there or not whole."""
    try:
        code, kills, end = _read(path).split(b" ")
    except (OSError, ValueError):
        return None
    whole = end == b".\n" and all(field.isdigit() and len(field) <= 9 for field in (code, kills))
    return (int(code), int(kills)) if whole else None


def _read(path: str) -> bytes:
    """Read the beginning of a file that the job may have made: a pipe in its place must not hold the agent up."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, 256)
    finally:
        os.close(fd)


def oom_kills() -> int:
    """Count the processes killed for memory in this container so far; 0 where the kernel does not say."""
    for path in _OOM_FILES:
        try:
            with open(path, "rb") as file:
                words = file.read().split()
            return int(words[words.index(b"oom_kill") + 1])
        except (OSError, ValueError, IndexError):
            continue
    return 0


def environment() -> dict[bytes, bytes]:
    """Give the environment that the container was started with: Python adds LC_CTYPE to its own when there is none."""
    try:
        with open("/proc/self/environ", "rb") as file:
            variables = [item.partition(b"=") for item in file.read().split(b"\0") if b"=" in item]
    except OSError:
        return dict(os.environb)
    return {name: value for name, _, value in variables}


class _Running:
    __slots__ = ("attempt", "kill_at", "oom_before", "pid")

    def __init__(self, attempt: str, pid: int, oom_before: int) -> None:
        self.attempt = attempt
        self.pid = pid
        self.oom_before = oom_before
        self.kill_at: float | None = None


class Stages:
    """The attempts of this container: start, stop, reap."""

    def __init__(self, logs: str, scripts: str, *, trouble: Callable[[str], None]) -> None:
        self._logs = logs
        self._scripts = scripts
        self._trouble = trouble
        self._running: dict[str, _Running] = {}
        self._leftovers: list[_Running] = []  # ended while being stopped: their groups may still have members
        self._unwritten: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._running)

    def settle(self) -> None:
        """Mark what an earlier agent of this container left unfinished as lost: its children died or are not ours."""
        for name in os.listdir(self._logs):
            attempt, dot, suffix = name.rpartition(".")
            if dot and suffix == "started" and self._is_ours(name) and not self._has_ended(attempt):
                self._write_record(attempt, "lost", "lost .\n")

    def start(self, attempt: str) -> None:
        """Start the attempt's script, unless that has happened before."""
        try:
            guard = os.open(self._path(attempt, "started"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return
        try:
            os.write(guard, f"{_OWNER}\n".encode())
            before = oom_kills()
            self._running[attempt] = _Running(attempt, self._spawn(attempt), before)
        except OSError as error:
            self._trouble(f"{attempt} did not start: {error.strerror}")
            self._write_record(attempt, "exit", "127 0 .\n" if error.errno == errno.ENOENT else "126 0 .\n")
        finally:
            os.close(guard)

    def stop(self, attempt: str, grace: float, *, now: float) -> None:
        """Send TERM to the attempt's process group, and KILL when `grace` seconds have passed."""
        running = self._running.get(attempt)
        if running is not None and running.kill_at is None:
            running.kill_at = now + grace
            _signal_group(running.pid, signal.SIGTERM)

    def reap(self) -> bool:
        """Collect all children that ended, orphans too, for this may be process 1. True when a stage was among them."""
        ended = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            ended |= self._take(pid, os.waitstatus_to_exitcode(status))

    def tend(self, now: float) -> None:
        """Kill what has outlived its grace, and try again to write records that a full volume refused."""
        for stopping in [*self._running.values(), *self._leftovers]:
            if stopping.kill_at is not None and stopping.kill_at <= now:
                stopping.kill_at = None if stopping in self._leftovers else now + 1.0
                _signal_group(stopping.pid, signal.SIGKILL)
        self._leftovers = [leftover for leftover in self._leftovers if leftover.kill_at is not None]
        for attempt, text in list(self._unwritten.items()):
            del self._unwritten[attempt]
            self._write_record(attempt, "exit", text)

    @property
    def next_deadline(self) -> float | None:
        """When `tend` has something to do next."""
        moments = [stopping.kill_at for stopping in [*self._running.values(), *self._leftovers]]
        return min((moment for moment in moments if moment is not None), default=None)

    def kill_all(self) -> None:
        """End all running stages at once: the container goes. Process 1 need not, its end takes them along."""
        for running in self._running.values():
            _signal_group(running.pid, signal.SIGKILL)

    def _spawn(self, attempt: str) -> int:
        shell = next((shell for shell in SHELLS if os.access(shell, os.X_OK)), None)
        log = self._path("output", "log")
        if shell is None:
            with open(log, "ab") as file:
                file.write(b"shell not found\n")
            raise FileNotFoundError(errno.ENOENT, "shell not found")
        output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.posix_spawn(
            shell,
            [shell, f"{self._scripts}/{attempt}"],
            environment(),
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, output, 0o666),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )

    def _take(self, pid: int, code: int) -> bool:
        running = next((running for running in self._running.values() if running.pid == pid), None)
        if running is None:
            return False
        del self._running[running.attempt]
        if running.kill_at is not None and _signal_group(pid, 0):
            self._leftovers.append(running)
        killed = max(0, oom_kills() - running.oom_before)
        self._write_record(running.attempt, "exit", f"{128 - code if code < 0 else code} {killed} .\n")
        return True

    def _write_record(self, attempt: str, suffix: str, text: str) -> None:
        try:
            with open(self._path(attempt, suffix), "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            self._trouble(f"the record of {attempt} could not be written: {error.strerror}")
            if suffix == "exit":
                self._unwritten[attempt] = text

    def _is_ours(self, name: str) -> bool:
        try:
            return _read(f"{self._logs}/{name}").splitlines()[:1] == [_OWNER.encode()]
        except OSError:
            return False

    def _has_ended(self, attempt: str) -> bool:
        return read_record(self._path(attempt, "exit")) is not None or os.path.exists(self._path(attempt, "lost"))

    def _path(self, attempt: str, suffix: str) -> str:
        return f"{self._logs}/{attempt}.{suffix}"


def _signal_group(pid: int, number: int) -> bool:
    """Signal the group that a stage leads; false when nobody is left in it."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
