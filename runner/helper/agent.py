"""The agent of the helper container: process 1, told what to do on stdin, telling what happened (docs/decisions/001).

Law: one thread, one loop, no wait but the poll. Whatever a reader does, the journal is written, children are reaped and
commands are obeyed. Everything that matters lies in the logs volume, so an agent that is started again goes on where
the last one stopped. Standard library only, and little of it: a pod waits for this to start.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence

from runner.helper.commands import CommandReader, is_attempt
from runner.helper.delivery import Delivery, DeliveryError
from runner.helper.journal_file import JournalFile
from runner.helper.kernel import IN_FILES, IN_MODIFY, drain, watch
from runner.helper.log_file import LogFile
from runner.helper.pump import Pump
from runner.helper.stages import Stages, read_record

LOOK_INTERVAL = 0.02
"""The shortest time between two looks at the log: an entry is cheap, a million of them are not."""

POLL_INTERVAL = 0.2
"""How often the files are looked at where the kernel does not tell of changes."""

HEARTBEAT_INTERVAL = 1.0
"""How often they are looked at all the same: some sandboxes accept a watch and stay silent."""

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_READ_BYTES = 1 << 18
_TERMINATED = 143
_USAGE = "usage: runner helper agent --logs DIRECTORY --scripts DIRECTORY [--keep BYTES]"


class Agent:
    """Commands in; log, journal and answers out; stages of this container in between."""

    def __init__(self, logs: str, scripts: str, *, keep_bytes: int | None = None) -> None:
        self._logs = logs
        self._last_trouble = ""
        log_path = f"{logs}/output.log"
        self._journal = JournalFile(f"{logs}/journal", clock=time.time)
        self._log = LogFile(log_path, keep_bytes=keep_bytes, trouble=self._trouble)
        self._pump = Pump(self._journal, self._log)
        self._stages = Stages(logs, scripts, trouble=self._trouble)
        self._delivery = Delivery(scripts)
        self._commands = CommandReader()
        self._stdin_open = True
        self._stays = os.getpid() == 1
        # The journal lies in the directory too: it is watched for files, not for growth, or each line would wake us.
        self._news = watch(logs, IN_FILES)
        self._growth = watch(log_path, IN_MODIFY)
        self._look_at = 0.0
        self._looked_at = -LOOK_INTERVAL
        self._signals = self._take_signals()

    def run(self) -> int:
        """Serve until stdin has ended and the last stage with it; TERM leaves at once, from the signal's handler.

        Process 1 stays without stdin too, which a container loses when its runtime is started again: the stages of the
        other container go on, and are still to be recorded.
        """
        self._stages.settle()
        while self._stdin_open or self._stays or len(self._stages):
            ready = self._wait()
            if _STDIN in ready:
                self._read_commands()
            if self._signals in ready:
                self._hear_signals()
            now = time.monotonic()
            if self._news in ready or self._growth in ready or now >= self._due_at:
                self._look(now)
            self._pump.send_control()
            self._pump.send_output()
        self._look(time.monotonic())
        self._pump.send_control()
        self._pump.send_output()
        return 0

    # The loop's senses ---------------------------------------------------------------------------------------------

    def _wait(self) -> set[int | None]:
        """Wait for something to do and give the descriptors that are ready."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        if self._stdin_open:
            poll.register(_STDIN, select.POLLIN)
        if self._pump.has_output:
            poll.register(_STDOUT, select.POLLOUT)
        if self._pump.has_control:
            poll.register(_STDERR, select.POLLOUT)
        now = time.monotonic()
        wait_until = self._due_at
        if self._news is not None:
            poll.register(self._news, select.POLLIN)
        if self._growth is not None:
            # Growth is not listened for while it may not be looked at: a busy log would wake the loop for nothing.
            if now >= self._looked_at + LOOK_INTERVAL:
                poll.register(self._growth, select.POLLIN)
            else:
                wait_until = min(wait_until, self._looked_at + LOOK_INTERVAL)
        return {fd for fd, _ in poll.poll(max(0.0, wait_until - now) * 1000)}

    @property
    def _due_at(self) -> float:
        """When to look without being told to."""
        deadline = self._stages.next_deadline
        return self._look_at if deadline is None else min(self._look_at, deadline)

    def _take_signals(self) -> int:
        """Let TERM end this process at once, and the death of children wake the loop."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._leave)
        return reader

    def _leave(self, _number: int, _frame: object) -> None:
        if os.getpid() != 1:  # the kernel ends the children of process 1, nobody those of a plain process
            self._stages.kill_all()
        os._exit(_TERMINATED)

    def _hear_signals(self) -> None:
        drain(self._signals)
        if self._stages.reap():
            self._look_at = 0.0

    def _read_commands(self) -> None:
        try:
            data = os.read(_STDIN, _READ_BYTES)
        except BlockingIOError:
            return
        self._stdin_open = bool(data)
        for words in self._commands.feed(data):
            self._obey(words)

    # What goes on in the pod ---------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Write down what has happened since the last look, in an order that is true: first what the files say, then
        how far the log has come, so that an end's offset has all of the stage's output before it."""
        self._looked_at = now
        watching = self._news is not None and self._growth is not None
        self._look_at = now + (HEARTBEAT_INTERVAL if watching else POLL_INTERVAL)
        for fd in (self._news, self._growth):
            if fd is not None:
                drain(fd)
        try:
            self._stages.tend(now)
            if not self._journal.flush():
                return
            ran, ends = self._find_news()
            self._journal.grow(self._log.size(self._journal.offset))
        except OSError as error:
            self._trouble(f"looking at the files failed: {error}")
            return
        for attempt in ran:
            self._journal.run(attempt)
            self._end(attempt, ends)
        for attempt in list(ends):
            self._end(attempt, ends)
        self._journal.flush()

    def _find_news(self) -> tuple[list[str], dict[str, tuple[int, int] | None]]:
        """Give the attempts that were started, in order, and the ends: code and OOM kills, or None for a lost one."""
        names = set(os.listdir(self._logs))
        started = [name.removesuffix(".started") for name in names if name.endswith(".started")]
        ran = [attempt for attempt in started if attempt not in self._journal.ran and is_attempt(attempt)]
        ran.sort(key=lambda attempt: os.stat(f"{self._logs}/{attempt}.started").st_mtime_ns)
        ends: dict[str, tuple[int, int] | None] = {}
        for attempt in (self._journal.ran | set(ran)) - self._journal.ended:
            record = read_record(f"{self._logs}/{attempt}.exit") if f"{attempt}.exit" in names else None
            if record is not None or f"{attempt}.lost" in names:
                ends[attempt] = record
        return ran, ends

    def _end(self, attempt: str, ends: dict[str, tuple[int, int] | None]) -> None:
        if attempt not in ends:
            return
        record = ends.pop(attempt)
        if record is None:
            self._journal.lose(attempt)
        else:
            self._journal.exit(attempt, *record)

    # What the manager says -----------------------------------------------------------------------------------------

    def _obey(self, words: list[str]) -> None:
        orders: dict[str, Callable[..., None]] = {
            "resume": self._resume,
            "ack": self._acknowledge,
            "put": self._put,
            "seal": self._seal,
            "begin": self._begin,
            "run": self._run,
            "stop": self._stop,
            "note": self._note,
            "ping": self._ping,
        }
        try:
            orders.get(words[0], _refuse)(*words[1:])
        except (ValueError, TypeError):
            self._trouble(f"not understood: {' '.join(words)[:80]}")
        except OSError as error:
            self._trouble(f"{words[0]} failed: {error}")

    def _resume(self, token: str, offset: str, line: str, window: str) -> None:
        self._pump.resume(token, int(offset), int(line), window=int(window))

    def _acknowledge(self, offset: str) -> None:
        self._pump.acknowledge(int(offset))

    def _put(self, name: str, index: str, encoded: str) -> None:
        self._delivery.put(_attempt(name), int(index), encoded)

    def _seal(self, name: str, digest: str) -> None:
        try:
            self._delivery.seal(_attempt(name), digest)
        except (DeliveryError, OSError) as error:
            self._pump.answer(f"bad {name}")
            if isinstance(error, OSError):
                raise
        else:
            self._pump.answer(f"sealed {name}")

    def _begin(self, attempt: str) -> None:
        _attempt(attempt)
        self._look(time.monotonic())
        self._journal.start(attempt)
        self._journal.flush()

    def _run(self, attempt: str) -> None:
        self._stages.start(_attempt(attempt))
        self._look_at = 0.0

    def _stop(self, attempt: str, grace: str) -> None:
        self._stages.stop(_attempt(attempt), float(grace), now=time.monotonic())

    def _note(self, seq: str, kind: str, moment: str, encoded: str) -> None:
        self._look(time.monotonic())
        self._journal.note(int(seq), kind, moment, encoded)
        self._journal.flush()

    def _ping(self, number: str) -> None:
        self._pump.answer(f"pong {number}")

    def _trouble(self, text: str) -> None:
        if text != self._last_trouble:  # a full volume fails at every look: say it once
            self._last_trouble = text
            self._pump.answer(f"agent: {text}")


def _refuse(*_words: str) -> None:
    raise ValueError


def _attempt(name: str) -> str:
    if not is_attempt(name):
        raise ValueError(name)
    return name


def _options(argv: Sequence[str]) -> dict[str, str]:
    """Read `--name value` pairs; argparse would take as long to load as all of the rest."""
    options = dict(zip(argv[::2], argv[1::2], strict=False))
    if len(argv) % 2 or not {"--logs", "--scripts"} <= options.keys() <= {"--logs", "--scripts", "--keep"}:
        raise ValueError
    return options


def main(argv: Sequence[str]) -> int:
    """Run the agent over the standard streams. Exit code: 143 after TERM, 0 after stdin's end, 2 for misuse."""
    try:
        options = _options(argv)
        keep_bytes = int(options["--keep"]) if "--keep" in options else None
    except ValueError:
        print(_USAGE, file=sys.stderr)
        return 2
    os.umask(0)  # the build container may run as another user, and must be able to write what stages leave here
    os.set_blocking(_STDOUT, False)
    os.set_blocking(_STDERR, False)
    return Agent(options["--logs"], options["--scripts"], keep_bytes=keep_bytes).run()
