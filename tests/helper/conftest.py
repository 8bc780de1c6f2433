"""Either agent as a real process, the sh one under three shells, driven over pipes as an attach would."""

import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.podspec.agents import build_command, helper_command
from runner.trace.journal import (
    Entry,
    ExitEntry,
    LostEntry,
    NoteEntry,
    RanEntry,
    command_line,
    parse_entry,
    put_commands,
)

SHELLS = {"bash": ["bash"], "dash": ["dash"], "busybox": ["busybox", "sh"]}
WAIT_TIMEOUT = 60.0


class AgentProcess:
    """One agent over a logs and a scripts directory, and the manager's end of its attach."""

    def __init__(self, kind: str, directory: Path, *, mode: str = "helper", keep_bytes: int = 1 << 40) -> None:
        self.kind = kind
        self.mode = mode
        self.keep_bytes = keep_bytes
        self.logs = directory / "logs"
        self.scripts = directory / "scripts"
        self.logs.mkdir(exist_ok=True)
        self.scripts.mkdir(exist_ok=True)
        self.environment = dict(os.environ)
        self.shell_on_path = True
        self.acknowledging = True
        self.window = 512 * 1024
        self.data = bytearray()
        self.entries: list[Entry] = []
        self.answers: list[str] = []
        self.ahead = 0
        """The most bytes that were on their way unacknowledged."""
        self._acknowledged = 0
        self._token: bytes = b""
        self._stdout: bytearray | None = None
        self._stderr = bytearray()
        self._synced = False
        self.process: subprocess.Popen[bytes]

    # The process ---------------------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        if self.kind == "python":
            arguments = ["--logs", str(self.logs), "--scripts", str(self.scripts), "--keep", str(self.keep_bytes)]
            return [sys.executable, "-m", "runner.helper", "agent", *arguments]
        make = helper_command(str(self.logs), str(self.scripts), keep_bytes=self.keep_bytes)
        if self.mode == "build":
            make = build_command(str(self.logs), str(self.scripts))
        return [str(self._shell()), *make[1:]]

    def _shell(self) -> Path:
        """The image's `sh`, of this agent's kind."""
        sh = self.logs.parent / self.kind / "sh"
        sh.parent.mkdir(exist_ok=True)
        sh.unlink(missing_ok=True)
        sh.symlink_to(shutil.which(SHELLS[self.kind][0]) or "missing")
        return sh

    def start(self) -> "AgentProcess":
        """Start the agent, again if need be, over the same directories."""
        self._close()
        if self.kind in SHELLS and self.shell_on_path:
            place = str(self._shell().parent)
            if not self.environment["PATH"].startswith(place):
                self.environment["PATH"] = f"{place}:{self.environment['PATH']}"
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=self.environment,
        )
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        return self

    def family(self) -> list[int]:
        """Give the agent's process and all below it."""
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
        members = [self.process.pid]
        for member in members:
            members += [pid for pid, parent in parents.items() if parent == member]
        return members

    def end(self) -> None:
        if not hasattr(self, "process"):
            return
        family = self.family() if self.process.poll() is None else []
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            return  # a test that cares about TERM looks at it itself
        finally:
            for member in [*family, self.process.pid]:
                _kill(member)
            self.process.wait(5)
            self._close()

    def _close(self) -> None:
        if not hasattr(self, "process"):
            return
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()

    # The manager's end ---------------------------------------------------------------------------------------------

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, *commands: str) -> None:
        for command in commands:
            self.raw(command_line(command))

    def put(self, attempt: str, script: bytes | str) -> None:
        """Place a script the short way; what `put` and `seal` do is tested by itself."""
        path = self.scripts / attempt
        path.write_bytes(script.encode() if isinstance(script, str) else script)
        path.chmod(0o777)

    def deliver(self, attempt: str, script: bytes) -> None:
        for line in put_commands(attempt, script):
            self.raw(line)
            self.read_some(0)

    def resume(self, *, offset: int | None = None, line: int | None = None) -> None:
        """Connect anew, by default where the last connection ended."""
        if offset is not None:
            del self.data[offset:]
        if line is not None:
            del self.entries[line:]
        self._token = secrets.token_hex(16).encode()
        self._stdout = bytearray()
        self._stderr.clear()
        self._synced = False
        self._acknowledged = len(self.data)
        self.raw(b"\n")
        self.send(f"resume {self._token.decode()} {len(self.data)} {len(self.entries)} {self.window}")

    def read_some(self, timeout: float, *, limit: int = 1 << 20) -> None:
        """Read what is there, at most `limit` bytes of each stream; wait up to `timeout` for anything at all."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        ready, _, _ = select.select([self.process.stdout, self.process.stderr], [], [], timeout)
        if self.process.stdout in ready:
            self._take_output(os.read(self.process.stdout.fileno(), limit))
        if self.process.stderr in ready:
            self._take_control(os.read(self.process.stderr.fileno(), limit))
        if self.acknowledging and len(self.data) - self._acknowledged >= self.window // 4:
            self._acknowledged = len(self.data)
            self.send(f"ack {self._acknowledged}")

    def wait(self, happened: Callable[[], object], *, timeout: float = WAIT_TIMEOUT) -> None:
        """Read until something has happened."""
        deadline = time.monotonic() + timeout
        while not happened():
            assert time.monotonic() < deadline, (self.entries[-5:], self.answers, bytes(self._stderr), len(self.data))
            self.read_some(0.05)

    def wait_for_end(self, attempt: str, *, timeout: float = WAIT_TIMEOUT) -> Entry:
        """Read until the attempt has its result and all output before it is here, as the manager does."""
        self.wait(lambda: self.result(attempt), timeout=timeout)
        result = self.result(attempt)
        assert result is not None
        self.wait(lambda: len(self.data) >= result.offset, timeout=timeout)
        return result

    def result(self, attempt: str) -> ExitEntry | LostEntry | None:
        ends = [
            entry for entry in self.entries if isinstance(entry, ExitEntry | LostEntry) and entry.attempt == attempt
        ]
        assert len(ends) < 2
        return ends[0] if ends else None

    def run(self, attempt: str, script: bytes | str) -> Entry:
        self.put(attempt, script)
        self.send(f"begin {attempt}", f"run {attempt}")
        return self.wait_for_end(attempt)

    def has_run(self, attempt: str) -> bool:
        return any(isinstance(entry, RanEntry) and entry.attempt == attempt for entry in self.entries)

    def notes(self) -> list[tuple[int, str, float, str]]:
        return [(note.seq, note.kind, note.time, note.text) for note in self.entries if isinstance(note, NoteEntry)]

    def _take_output(self, data: bytes) -> None:
        if self._stdout is None:
            self.data += data
        else:
            self._stdout += data
            _, found, fresh = self._stdout.partition(self._token + b"\n")
            if found:
                self._stdout = None
                self.data += fresh
        self.ahead = max(self.ahead, len(self.data) - self._acknowledged)

    def _take_control(self, data: bytes) -> None:
        self._stderr += data
        *lines, rest = bytes(self._stderr).split(b"\n")
        self._stderr = bytearray(rest)
        for line in lines:
            if not self._synced:
                self._synced = line.endswith(b"sync " + self._token)
            elif line.startswith(b"j "):
                _, number, entry = line.split(b" ", 2)
                assert int(number) == len(self.entries)
                self.entries.append(parse_entry(entry))
            elif line:
                self.answers.append(line.decode())


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture
def make_agent(tmp_path: Path) -> Iterator[Callable[..., AgentProcess]]:
    """Make agents of any kind over this test's directories, and see that nothing of them stays."""
    agents: list[AgentProcess] = []

    def make(kind: str, *, mode: str = "helper", keep_bytes: int = 1 << 40) -> AgentProcess:
        agents.append(AgentProcess(kind, tmp_path, mode=mode, keep_bytes=keep_bytes))
        return agents[-1]

    yield make
    for agent in agents:
        agent.end()


@pytest.fixture(params=["python", "bash", "dash", "busybox"])
def agent(request: pytest.FixtureRequest, make_agent: Callable[..., AgentProcess]) -> AgentProcess:
    """A running helper agent of each kind, with a connection to it."""
    if request.param in SHELLS and not shutil.which(SHELLS[request.param][0]):
        pytest.skip(f"{request.param} is not installed")
    started = make_agent(request.param).start()
    started.resume()
    return started


@pytest.fixture
def kill() -> Callable[[int], None]:
    """End one process, which may be gone already."""

    return _kill
