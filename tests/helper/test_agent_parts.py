"""The Python agent's parts by themselves, and what only it can do."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.helper.__main__ import main as helper
from runner.helper.agent import main as agent_main
from runner.helper.commands import CommandReader, is_attempt
from runner.helper.delivery import Delivery, DeliveryError
from runner.helper.journal_file import JournalFile, offset_of
from runner.helper.kernel import punch_hole
from runner.helper.log_file import LogFile
from runner.helper.pump import Pump
from runner.helper.stages import read_record
from runner.trace.journal import ExitEntry, command_line, put_commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helper.conftest import AgentProcess


PATH_FIRST = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "

# Commands ------------------------------------------------------------------------------------------------------------


STREAM = b"".join(
    [
        b"\n",
        command_line("ping 1"),
        b"17 run step_scri\n",  # cut in the middle
        command_line("run step_script-1"),
        b"6 ping 22\n",
        b"07 ping 22\n",
        b"x\n",
        "6 pïng 2\n".encode(),
        b"9" * 40_000 + b" x\n",
        command_line("note 1 plain 1.000000 -"),
        b"6 ping",
    ]
)
COMMANDS = [["ping", "1"], ["run", "step_script-1"], ["note", "1", "plain", "1.000000", "-"]]


@pytest.mark.parametrize("size", [1, 2, 7, 4096, 100_000])
def test_commands_do_not_depend_on_how_the_stream_is_cut(size: int) -> None:
    """The same whole lines are found at any split, and none of the broken ones."""
    reader = CommandReader()
    found = [words for at in range(0, len(STREAM), size) for words in reader.feed(STREAM[at : at + size])]
    assert found == COMMANDS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get_sources-1", True),
        ("step_2-34", True),
        ("a-b-1", False),
        ("-1", False),
        ("a-", False),
        ("a", False),
        ("", False),
        ("A-1", False),
        ("../a-1", False),
        ("a-1\n", False),
        ("a-²", False),
    ],
)
def test_an_attempt_is_a_stage_and_a_number(name: str, expected: bool) -> None:
    """Nothing else may become a file's name."""
    assert is_attempt(name) is expected


# Journal -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (b"log 5 1.0", 5),
        (b"start a-1 6 1.0", 6),
        (b"ran a-1 7 1.0", 7),
        (b"exit a-1 0 0 8 1.0", 8),
        (b"lost a-1 9 1.0", 9),
        (b"note 1 plain 10 1.0 -", 10),
        (b"log", 0),
        (b"", 0),
        (b"log x 1.0", 0),
        (b"unknown 77", 0),
    ],
)
def test_the_place_of_an_entry(entry: bytes, expected: int) -> None:
    """Each kind has its offset at its own field; what is no entry is at 0."""
    assert offset_of(entry) == expected


def journal(path: Path) -> JournalFile:
    """A journal with a clock that stands."""
    return JournalFile(str(path), clock=lambda: 12.5)


def test_a_journal_that_was_cut_by_a_crash_is_continued(tmp_path: Path) -> None:
    """A half line at the end is removed, and the entries before it are known."""
    path = tmp_path / "journal"
    path.write_bytes(b"start a-1 0 1.000000\nlog 9 2.000000\nnote 3 plain 9 1.000000 -\nexit a-1 0 0 1")
    continued = journal(path)
    continued.start("a-1")
    continued.note(3, "plain", "9.0", "-")
    continued.grow(9)
    continued.exit("a-1", 0, 0)
    continued.exit("a-1", 1, 0)
    continued.lose("a-1")
    assert continued.flush()
    assert path.read_bytes() == (
        b"start a-1 0 1.000000\nlog 9 2.000000\nnote 3 plain 9 1.000000 -\nexit a-1 0 0 9 12.500000\n"
    )


def test_growth_is_marked_in_segments(tmp_path: Path) -> None:
    """No two entries are more than 64 KiB apart, and shrinking is no growth."""
    path = tmp_path / "journal"
    grown = journal(path)
    for size in (3, 3, 1, 65540, 200_000):
        grown.grow(size)
    assert grown.flush()
    places = [int(line.split()[1]) for line in path.read_text().splitlines()]
    assert places == [3, 65539, 65540, 131076, 196612, 200_000]


def test_the_place_of_a_line_in_a_long_journal(tmp_path: Path) -> None:
    """Lines are found beyond the first block that is read; a line that is not there yet is at the end."""
    path = tmp_path / "journal"
    long = journal(path)
    long.grow(65536 * 5000)
    assert long.flush()
    lines = path.read_bytes().splitlines(keepends=True)
    for number in (0, 1, 2999, 4999, 5000, 6000):
        assert long.position_of(number) == sum(map(len, lines[:number]))


# Delivery ------------------------------------------------------------------------------------------------------------


def test_parts_out_of_order_and_broken_parts_are_not_taken(tmp_path: Path) -> None:
    """Whatever is left out or garbled shows at the seal, and beginning anew always helps."""
    text = random.Random(2).randbytes(70_000)
    *puts, seal = [line.decode().split()[1:] for line in put_commands("a-1", text)]
    digest = seal[2]
    delivery = Delivery(str(tmp_path))
    garbled = ["put", "a-1", "0", "????"]
    for chosen in ([], [puts[1], puts[2]], [puts[0]], [puts[0], puts[2]], [garbled, *puts[1:]]):
        for _, name, index, part in chosen:
            delivery.put(name, int(index), part)
        with pytest.raises(DeliveryError):
            delivery.seal("a-1", digest)
    for _, name, index, part in [puts[0], *puts, puts[1]]:
        delivery.put(name, int(index), part)
    delivery.seal("a-1", digest)
    delivery.seal("a-1", digest)
    assert (tmp_path / "a-1").read_bytes() == text
    assert [path.name for path in tmp_path.iterdir()] == ["a-1"]


# Records -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 .\n", (0, 0)),
        ("137 2 .\n", (137, 2)),
        ("0 0 .", None),
        ("0 0 ", None),
        ("0 0", None),
        ("", None),
        ("-1 0 .\n", None),
        ("0 0 . \n", None),
        ("0 0 0 .\n", None),
        ("1" * 10 + " 0 .\n", None),
        ("x" * 1000, None),
    ],
)
def test_a_record_counts_only_whole(tmp_path: Path, text: str, expected: tuple[int, int] | None) -> None:
    """The final mark, two numbers, nothing else: anything the job or a full disk makes of it is no result."""
    path = tmp_path / "a-1.exit"
    path.write_text(text)
    assert read_record(str(path)) == expected
    assert read_record(str(tmp_path / "none")) is None


def test_a_pipe_in_the_place_of_a_record_holds_nobody_up(tmp_path: Path) -> None:
    """A job may put there what it likes; it is no record."""
    os.mkfifo(tmp_path / "a-1.exit")
    assert read_record(str(tmp_path / "a-1.exit")) is None


# Pump ----------------------------------------------------------------------------------------------------------------


class Pipes:
    """A pump over two real pipes, so small a reader can be as it likes."""

    def __init__(self, directory: Path) -> None:
        self.journal = journal(directory / "journal")
        self.log = LogFile(str(directory / "output.log"), keep_bytes=None, trouble=lambda _text: None)
        self.reading, self.writing = zip(os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK), strict=True)
        self.pump = Pump(self.journal, self.log, stdout=self.writing[0], stderr=self.writing[1])

    def send(self) -> None:
        self.pump.send_control()
        self.pump.send_output()

    def read(self, which: int, size: int = 1 << 20) -> bytes:
        try:
            return os.read(self.reading[which], size)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for fd in (*self.reading, *self.writing):
            os.close(fd)


@pytest.fixture
def pipes(tmp_path: Path) -> Pipes:
    """A pump with a log of 300,000 bytes."""
    (tmp_path / "output.log").write_bytes(b"z" * 300_000)
    made = Pipes(tmp_path)
    made.journal.grow(300_000)
    made.journal.flush()
    return made


def test_a_blocked_reader_costs_a_bounded_buffer(pipes: Pipes) -> None:
    """Answers beyond the bound are dropped, nothing waits, and the next stream begins on a line of its own."""
    pipes.pump.resume("first", 0, 0, window=1 << 20)
    for number in range(50_000):
        pipes.pump.answer(f"pong {number}")
        if number % 1000 == 0:
            pipes.send()
    stale = pipes.read(1)
    assert 1 << 14 < len(stale) <= 1 << 16
    pipes.pump.resume("second", 299_990, 4, window=1 << 20)
    pipes.send()
    fresh = stale + pipes.read(1)
    assert fresh.endswith(b"\nsync second\nj 4 log 300000 12.500000\n")
    output = pipes.read(0)
    assert output.startswith(b"first\nzzz")
    pipes.send()
    output += pipes.read(0)
    assert output.endswith(b"second\n" + b"z" * 10)
    pipes.close()


def test_a_stream_whose_reader_is_gone_ends_quietly(pipes: Pipes) -> None:
    """Nobody will read this pipe again: there is nothing more to wait for, until somebody resumes."""
    for fd in pipes.reading:
        os.close(fd)
    pipes.pump.resume("token", 0, 0, window=1 << 20)
    pipes.send()
    assert not pipes.pump.has_output
    assert not pipes.pump.has_control
    for fd in pipes.writing:
        os.close(fd)


def test_an_acknowledgement_moves_the_window_only_forward(pipes: Pipes) -> None:
    """Neither an old nor an impossible one lets more out than a window."""
    pipes.pump.resume("t", 0, 0, window=1000)
    pipes.send()
    assert pipes.read(0) == b"t\n" + b"z" * 1000
    for acknowledged, expected in ((400, 400), (10, 0), (5_000_000, 1000)):
        pipes.pump.acknowledge(acknowledged)
        pipes.send()
        assert len(pipes.read(0)) == expected
    assert pipes.read(1) == b"sync t\n"
    pipes.close()


# What only this agent can do -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_space_of_acknowledged_bytes_is_given_back(make_agent: Callable[..., AgentProcess], tmp_path: Path) -> None:
    """With `--keep` a long log takes little disk: its beginning stays, the rest goes once it has been taken."""
    probe = tmp_path / "probe"
    probe.write_bytes(bytes(1 << 20))
    with probe.open("rb+") as file:
        if not punch_hole(file.fileno(), 0, 1 << 20):
            pytest.skip("this file system punches no holes")
    agent = make_agent("python", keep_bytes=100_000).start()
    agent.resume()
    agent.run("step_script-1", "head -c 30000000 /dev/zero | tr '\\0' k")
    agent.send(f"ack {len(agent.data)}", "ping 1")
    agent.wait(lambda: "pong 1" in agent.answers)
    log = agent.logs / "output.log"
    assert log.stat().st_size == 30_000_000
    assert log.stat().st_blocks * 512 < 4 << 20
    assert log.read_bytes()[:100_000] == b"k" * 100_000
    assert bytes(agent.data) == b"k" * 30_000_000


@pytest.mark.slow
def test_a_kernel_without_watches_is_polled(make_agent: Callable[..., AgentProcess]) -> None:
    """Where inotify is missing the same things happen, a little later."""
    agent = make_agent("python")
    plain = agent.command()
    program = "import sys, runner.helper.agent as a; a.watch = lambda *_: None; sys.exit(a.main(sys.argv[1:]))"
    agent.command = lambda: [sys.executable, "-c", program, *plain[4:]]  # type: ignore[method-assign]
    agent.start().resume()
    (agent.logs / "step_script-1.started").write_text("build\n")
    agent.wait(lambda: agent.has_run("step_script-1"))
    with (agent.logs / "output.log").open("ab") as log:
        log.write(b"quiet\n")
    agent.wait(lambda: bytes(agent.data) == b"quiet\n")
    result = agent.run("after_script-1", "exit 2")
    assert isinstance(result, ExitEntry)
    assert result.code == 2


@pytest.mark.slow
def test_a_full_volume_holds_entries_back_and_loses_none(make_agent: Callable[..., AgentProcess]) -> None:
    """When journal and records cannot be written the agent says so, keeps on, and writes them when there is room."""
    agent = make_agent("python").start()
    agent.resume()
    agent.run("step_script-1", "echo one")
    size = (agent.logs / "journal").stat().st_size
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (3, resource.RLIM_INFINITY))
    agent.put("step_script-2", "exit 3")
    agent.send("note 1 plain 1.000000 -", "begin step_script-2", "run step_script-2", "ping 1")
    agent.wait(lambda: "pong 1" in agent.answers and any("step_script-2" in answer for answer in agent.answers))
    assert (agent.logs / "journal").stat().st_size == size
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    agent.wait(lambda: len(agent.notes()) == 1 and agent.result("step_script-2"))


@pytest.mark.slow
def test_a_log_file_that_was_removed_is_made_again(make_agent: Callable[..., AgentProcess]) -> None:
    """A job that deletes the log loses its own output, and no more: later stages and results come through."""
    agent = make_agent("python").start()
    agent.resume()
    agent.run("step_script-1", "echo 1234567")
    agent.run("step_script-2", f"rm {agent.logs}/output.log")
    agent.wait(lambda: agent.answers)
    agent.run("after_script-1", "echo after")
    assert bytes(agent.data) == b"1234567\nafter\n"
    assert "zeros" in agent.answers[0]


def test_the_agent_loads_little() -> None:
    """A pod waits for it, so it loads little: none of what makes Python slow to start."""
    program = "import sys, runner.helper.agent; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", PATH_FIRST + program]
    loaded = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    heavy = {"re", "typing", "dataclasses", "argparse", "subprocess", "logging", "inspect", "hashlib", "socket"}
    assert heavy & set(loaded) == set()


@pytest.mark.parametrize(
    "arguments", [[], ["--logs", "/l"], ["--logs"], ["--logs", "/l", "--scripts", "/s", "--x", "1"]]
)
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Misuse ends with 2 and one line of usage."""
    assert agent_main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage:")


@pytest.mark.parametrize("arguments", [[], ["no-such-command"]])
def test_an_unknown_helper_command_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 1, as every failure of the helper, and the known ones are named."""
    assert helper(arguments) == 1
    assert "agent" in capsys.readouterr().err


def test_a_helper_command_is_dispatched(capsys: pytest.CaptureFixture[str]) -> None:
    """The command's module gets what stands behind its name."""
    assert helper(["agent", "--wrong"]) == 2
    assert "--logs" in capsys.readouterr().err
