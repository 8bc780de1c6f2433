"""Both agents of a job's pod, played in memory: the protocol of docs/decisions/001 without a process.

Law: a second reading of the decision, written apart from the real agents and from `runner.trace.journal`, so that a
misunderstanding on one side shows. Worst cases are the rule here: control lines are sent before the bytes they are
about, and the window is filled to its last byte. One task pumps for a pod, one more plays a running stage.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import zlib
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from runner.testing.cluster.fates import Fate, Mishap, Script
from runner.testing.cluster.news import News
from runner.testing.cluster.stdio import STDERR, STDOUT, Stdio

_LINE_BYTES = 32 * 1024
_SEGMENT_BYTES = 64 * 1024
_CHUNK_BYTES = 32 * 1024
_ENTRIES_AT_ONCE = 512
_PIECES_AT_ONCE = 256
_ATTEMPT = re.compile(r"[a-z0-9_]+-[0-9]+")
_TERMINATED = 143
_KILLED = 137
_NOT_FOUND = 127


@dataclass(slots=True)
class _Following:
    """What the manager asked for with `resume`, and how far it has been served."""

    token: str
    sent: int
    line: int
    acked: int
    window: int
    greeted: bool = False


@dataclass(slots=True)
class _Stage:
    """An attempt that was started."""

    attempt: str
    container: str
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    code: int | None = None
    """Given by a `stop`, in place of the script's own."""
    ended: bool = False


class AgentInput:
    """The input of a container: bytes of any cut become command lines."""

    def __init__(self, obey: Callable[[str], None]) -> None:
        self._obey = obey
        self._held = b""

    async def write(self, data: bytes) -> None:
        """Take bytes; a line of a wrong length is dropped without a word."""
        *lines, self._held = (self._held + data).split(b"\n")
        self._held = self._held[-_LINE_BYTES:]
        for line in lines:
            length, _, command = line.partition(b" ")
            if length.isdigit() and int(length) == len(command) and len(line) < _LINE_BYTES:
                self._obey(command.decode("ascii", "replace"))

    def close(self) -> None:
        """The agents' input is never ended by a client."""

    def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""


class PodAgents:
    """The two agents of one pod and the files they share."""

    def __init__(
        self,
        fate: Fate,
        *,
        start_soon: Callable[..., None],
        strike: Callable[[Mishap], Awaitable[None]],
        clock: Callable[[], float],
        scale: float,
    ) -> None:
        self._fate = fate
        self._start_soon = start_soon
        self._strike = strike
        self._clock = clock
        self._scale = scale
        self.log = bytearray()
        self.journal: list[str] = []
        self.scripts: dict[str, bytes] = {}
        self.started: list[str] = []
        self.helper = Stdio(stdin=AgentInput(lambda line: self._obey("helper", line)))
        self.build = Stdio(stdin=AgentInput(lambda line: self._obey("build", line)))
        self._offsets: list[int] = []
        self._begun: set[str] = set()
        self._noted: set[str] = set()
        self._parts: dict[str, list[str]] = {}
        self._stages: dict[str, _Stage] = {}
        self._dead: set[str] = set()
        self._following: _Following | None = None
        self._answers: list[str] = []
        self._quiet = News()
        """Rings when nothing more may be sent."""
        self._busy = True
        self.news = News()
        """Rings whenever a command came, a stage started or ended, or the log grew."""

    async def pump(self) -> None:
        """Send what the manager may have, for as long as the helper lives."""
        while "helper" not in self._dead:
            heard = self.news.count
            if not await self._push():
                self._busy = False
                self._quiet.ring()
                await self.news.wait(heard)

    async def settle(self, *, timeout: float = 1.0) -> None:
        """Wait until everything that may be sent has been handed out, or the reader does not read."""
        with anyio.move_on_after(timeout):
            while self._busy:
                await self._quiet.wait()

    def kill(self, *containers: str) -> None:
        """End an agent and the stages in its container, without a record."""
        self._dead.update(containers)
        for stage in self._stages.values():
            if stage.container in containers:
                stage.scope.cancel()
        self._notify()

    def finish(self, attempt: str) -> bool:
        """Tell whether the attempt has been started and has ended."""
        stage = self._stages.get(attempt)
        return stage is not None and stage.ended

    # Commands

    def _obey(self, container: str, line: str) -> None:
        words = line.split(" ")
        if container in self._dead or not words:
            return
        try:
            match (container, words):
                case (_, ["run", attempt]):
                    self._run(container, attempt)
                case (_, ["stop", attempt, grace]):
                    self._stop(container, attempt, float(grace))
                case ("helper", ["resume", token, offset, number, window]):
                    self._following = _Following(token, int(offset), int(number), int(offset), int(window))
                    # At once, so that answers to what comes behind it are not taken for stale ones.
                    self._answers.append(f"sync {token}")
                case ("helper", ["ack", offset]) if self._following is not None:
                    self._following.acked = max(self._following.acked, int(offset))
                case ("helper", [*command]):
                    self._obey_filing(command)
        except ValueError:
            # A number that is none: the real agents drop such a line too.
            return
        self._notify()

    def _obey_filing(self, words: list[str]) -> None:
        """Obey the commands of the helper's agent that place files and entries."""
        match words:
            case ["put", name, index, text]:
                self._put(name, int(index), text)
            case ["seal", name, digest]:
                self._answers.append(f"{'sealed' if self._seal(name, digest) else 'bad'} {name}")
            case ["begin", attempt] if attempt not in self._begun:
                self._begun.add(attempt)
                self._enter(f"start {attempt} {{place}}")
            case ["note", number, kind, at, text] if number not in self._noted:
                self._noted.add(number)
                self._enter(f"note {number} {kind} {len(self.log)} {at} {text}")
            case ["ping", number]:
                self._answers.append(f"pong {number}")
            case _:
                return

    def _put(self, name: str, index: int, text: str) -> None:
        if index == 0:
            self._parts[name] = [text]
        elif index == len(self._parts.get(name, ())):
            self._parts[name].append(text)

    def _seal(self, name: str, digest: str) -> bool:
        try:
            packed = b"".join(b64decode(part, validate=True) for part in self._parts.pop(name, ()))
            text = zlib.decompress(packed, wbits=31)
        except (binascii.Error, zlib.error):
            return False
        if hashlib.sha256(text).hexdigest() != digest or not _ATTEMPT.fullmatch(name):
            return False
        self.scripts[name] = text
        return True

    # Stages

    def _run(self, container: str, attempt: str) -> None:
        if attempt in self._stages or not _ATTEMPT.fullmatch(attempt):
            return
        stage = _Stage(attempt, container)
        self._stages[attempt] = stage
        self.started.append(attempt)
        self._start_soon(self._play, stage)

    def _stop(self, container: str, attempt: str, grace: float) -> None:
        stage = self._stages.get(attempt)
        if stage is None or stage.container != container or stage.code is not None or stage.ended:
            return
        if self._fate.script(attempt).ignores_term:
            stage.code = _KILLED
            self._start_soon(self._kill_later, stage, grace)
        else:
            stage.code = _TERMINATED
            stage.scope.cancel()

    async def _kill_later(self, stage: _Stage, grace: float) -> None:
        await anyio.sleep(grace * self._scale)
        stage.scope.cancel()

    async def _play(self, stage: _Stage) -> None:
        script = self._fate.script(stage.attempt)
        if stage.attempt not in self.scripts:
            text = f"sh: 0: cannot open {stage.attempt}: No such file\n".encode()
            script = Script(output=((0.0, text),), exit_code=_NOT_FOUND)
        self._enter(f"ran {stage.attempt} {{place}}")
        with stage.scope:
            await self._perform(script)
        stage.ended = True
        self._notify()
        if stage.container in self._dead:
            return
        if script.mishap is not None and stage.code is None:
            await self.settle()
            await self._strike(script.mishap)
        elif script.lost and stage.code is None:
            self._enter(f"lost {stage.attempt} {{place}}")
        else:
            code = script.exit_code if stage.code is None else stage.code
            self._enter(f"exit {stage.attempt} {code} {script.oom_kills} {{place}}")

    async def _perform(self, script: Script) -> None:
        for index, (delay, data) in enumerate(script.output):
            if delay > 0:
                self._mark()
                await anyio.sleep(delay * self._scale)
            elif index % _PIECES_AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()
            self.log += data
        self._mark()
        if script.until is not None:
            await script.until.wait()

    # The journal

    def _mark(self) -> None:
        """Write `log` entries up to the log's end, none of more than a segment."""
        last = self._offsets[-1] if self._offsets else 0
        for offset in [*range(last + _SEGMENT_BYTES, len(self.log), _SEGMENT_BYTES), len(self.log)]:
            if offset > last:
                self._append(f"log {offset} {self._clock():.6f}", offset)
        self._notify()

    def _enter(self, entry: str) -> None:
        """Write an entry at the log's end; `{place}` stands for its offset and time."""
        last = self._offsets[-1] if self._offsets else 0
        if len(self.log) - last > _SEGMENT_BYTES:
            self._mark()
        place = f"{len(self.log)} {self._clock():.6f}"
        self._append(entry.replace("{place}", place), len(self.log))
        self._notify()

    def _append(self, entry: str, offset: int) -> None:
        self.journal.append(entry)
        self._offsets.append(offset)

    # The stream

    async def _push(self) -> bool:
        """Hand out one portion; tell whether there was any."""
        control, self._answers = self._answers, []
        data = b""
        following = self._following
        if following is not None:
            if not following.greeted:
                following.greeted = True
                data = following.token.encode() + b"\n"
            limit = following.acked + following.window
            for number in range(following.line, min(len(self.journal), following.line + _ENTRIES_AT_ONCE)):
                if self._offsets[number] > limit:
                    break
                control.append(f"j {number} {self.journal[number]}")
                following.line = number + 1
            end = min(len(self.log), limit, following.sent + _CHUNK_BYTES)
            if end > following.sent:
                data += bytes(self.log[following.sent : end])
                following.sent = end
        if control:
            await self.helper.write(STDERR, "".join(f"{line}\n" for line in control).encode())
        if data:
            await self.helper.write(STDOUT, data)
        return bool(control or data)

    def _notify(self) -> None:
        self._busy = True
        self.news.ring()
