"""Both agents keep the same promises (P1 to P13 of the stage mechanism): one suite, each agent as a real process."""

from __future__ import annotations

import itertools
import os
import random
import signal
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.trace.journal import (
    ExitEntry,
    LogEntry,
    LostEntry,
    NoteEntry,
    RanEntry,
    StartEntry,
    command_line,
    note_command,
    put_commands,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.trace.journal import Entry
    from tests.helper.conftest import AgentProcess

pytestmark = pytest.mark.slow


def test_a_stage_runs_and_its_output_and_result_come_back(agent: AgentProcess) -> None:
    """A stage's entries come in order, its output lies between them, and the exit's offset covers it."""
    result = agent.run("step_script-1", "echo one; echo two >&2; exit 3")
    assert bytes(agent.data) == b"one\ntwo\n"
    assert isinstance(result, ExitEntry)
    assert (result.code, result.oom_kills, result.offset) == (3, 0, 8)
    assert [type(entry) for entry in agent.entries if not isinstance(entry, LogEntry)] == [
        StartEntry,
        RanEntry,
        ExitEntry,
    ]
    assert agent.entries[0].offset == 0


def test_p1_a_stage_goes_on_when_every_connection_is_lost(agent: AgentProcess) -> None:
    """Output made while nobody listened is there for the next connection."""
    agent.put("step_script-1", f"echo before; until [ -e {agent.logs}/go ]; do sleep 0.05; done; echo after")
    agent.send("begin step_script-1", "run step_script-1")
    agent.wait(lambda: bytes(agent.data) == b"before\n")
    (agent.logs / "go").touch()
    wait_until(lambda: b"exit step_script-1" in content(agent.logs / "journal"))
    agent.resume()
    agent.wait_for_end("step_script-1")
    assert bytes(agent.data) == b"before\nafter\n"


def test_p2_a_repeated_run_is_a_no_op(agent: AgentProcess) -> None:
    """However often `run` and `begin` come, before and after the end, the script runs once."""
    agent.put("step_script-1", "echo once; sleep 0.3")
    agent.send(*["begin step_script-1", "run step_script-1"] * 3)
    agent.wait_for_end("step_script-1")
    agent.send("begin step_script-1", "run step_script-1", "ping 1")
    agent.wait(lambda: "pong 1" in agent.answers)
    agent.run("after_script-1", "echo next")
    assert bytes(agent.data) == b"once\nnext\n"
    assert [type(entry) for entry in agent.entries if not isinstance(entry, LogEntry)] == [
        StartEntry,
        RanEntry,
        ExitEntry,
    ] * 2


def test_p3_output_that_looks_like_control_lines_is_just_bytes(agent: AgentProcess) -> None:
    """A job cannot end itself, answer, or resume by printing."""
    forged = "j 0 exit step_script-1 0 0 5 1.000000\nsync x\nexit step_script-1 0 0 0 1.000000\nsealed x\n0 0 .\n"
    result = agent.run("step_script-1", f"cat <<'END'\n{forged}END\ncat <<'END' >&2\n{forged}END\nexit 9")
    assert bytes(agent.data) == forged.encode() * 2
    assert isinstance(result, ExitEntry)
    assert result.code == 9
    assert agent.answers == []


def test_p4_results_carry_their_attempt(agent: AgentProcess) -> None:
    """Several attempts of one stage are several results, also when an earlier one ends late."""
    agent.put("step_script-1", "sleep 0.6; exit 1")
    agent.put("step_script-2", "exit 2")
    agent.send("begin step_script-1", "run step_script-1", "begin step_script-2", "run step_script-2")
    results = [agent.wait_for_end("step_script-1"), agent.wait_for_end("step_script-2")]
    assert [(end.attempt, end.code) for end in results if isinstance(end, ExitEntry)] == [
        ("step_script-1", 1),
        ("step_script-2", 2),
    ]


def test_p5_a_stream_resumes_at_any_byte_and_line(agent: AgentProcess) -> None:
    """Whatever was read before, resuming anywhere gives the same bytes and the same entries."""
    chance = random.Random(5)
    text = chance.randbytes(200_000)
    source = agent.logs / "source"
    source.write_bytes(text)
    agent.run("step_script-1", f"cat {source}")
    assert bytes(agent.data) == text
    whole = list(agent.entries)
    for _ in range(12):
        agent.resume(offset=chance.randrange(len(text) + 1), line=chance.randrange(len(whole) + 1))
        if chance.random() < 0.6:  # this connection dies in the middle, with what it holds unread
            for _ in range(chance.randrange(4)):
                agent.read_some(0.02, limit=chance.choice([1, 7, 4096, 100_000]))
            continue
        agent.wait(lambda: len(agent.data) >= len(text) and len(agent.entries) >= len(whole))
        assert bytes(agent.data) == text
        assert agent.entries == whole


def test_p5_connections_die_while_the_stage_writes(agent: AgentProcess) -> None:
    """A log read over many short connections has every byte once, in order."""
    agent.window = 40_000
    agent.put("step_script-1", "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); echo line $i of the log; done")
    agent.send("begin step_script-1", "run step_script-1")
    chance = random.Random(6)
    for _ in range(15):
        for _ in range(chance.randrange(1, 8)):
            agent.read_some(0.02, limit=chance.choice([11, 5000, 60_000]))
        agent.resume()
    agent.wait_for_end("step_script-1")
    assert bytes(agent.data) == b"".join(b"line %d of the log\n" % number for number in range(1, 20_001))


def test_p7_a_record_that_is_not_whole_does_not_count(agent: AgentProcess) -> None:
    """A record of the build container counts from the moment its end mark is there, and not before."""
    (agent.logs / "step_script-1.started").write_text("build\n")
    agent.wait(lambda: agent.has_run("step_script-1"))
    record = agent.logs / "step_script-1.exit"
    for number, text in enumerate(("", "7", "7 0", "7 0 ", "7 0 ,\n"), 1):
        record.write_text(text)
        agent.send(f"note {number} plain 1.000000 -")
        while len(agent.notes()) < number:
            agent.read_some(0.05)
        assert agent.result("step_script-1") is None
    record.write_text("7 2 .\n")
    result = agent.wait_for_end("step_script-1")
    assert isinstance(result, ExitEntry)
    assert (result.code, result.oom_kills) == (7, 2)


def test_p8_a_background_process_blocks_nothing_and_survives_its_stage(agent: AgentProcess) -> None:
    """A stage ends with its shell; what it left in the background goes on writing for the next stages."""
    go = agent.logs / "go"
    started = time.monotonic()
    agent.run("step_script-1", f"(until [ -e {go} ]; do sleep 0.05; done; echo late) & echo early")
    assert time.monotonic() - started < 20
    go.touch()
    agent.wait(lambda: bytes(agent.data) == b"early\nlate\n")
    agent.run("after_script-1", "echo end")
    assert bytes(agent.data) == b"early\nlate\nend\n"


def test_p9_the_death_of_the_wrapper_is_reported_as_lost(agent: AgentProcess) -> None:
    """When what waits for the script is killed there is no result, and that is said; also by the agent's successor."""
    agent.put("step_script-1", "echo $PPID; sleep 10")
    agent.send("begin step_script-1", "run step_script-1")
    agent.wait(lambda: agent.data.endswith(b"\n"))
    os.kill(int(agent.data), signal.SIGKILL)
    if agent.kind == "python":  # the agent itself is the wrapper
        agent.process.wait(5)
        agent.start()
        agent.resume()
    result = agent.wait_for_end("step_script-1")
    assert isinstance(result, LostEntry)
    agent.run("after_script-1", "echo ok")
    assert agent.data.endswith(b"ok\n")


def test_p9_a_job_that_kills_its_own_group_has_a_result(agent: AgentProcess) -> None:
    """`kill -9 0` reaches the stage's own group and nothing of the agent."""
    result = agent.run("step_script-1", "echo going; kill -9 0; echo never")
    assert isinstance(result, ExitEntry)
    assert result.code == 137
    assert isinstance(agent.run("after_script-1", "true"), ExitEntry)
    assert bytes(agent.data) == b"going\n"


def test_p10_stop_sends_term_first(agent: AgentProcess) -> None:
    """A script that handles TERM ends its own way, long before the grace is over."""
    agent.put("step_script-1", "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.1; done")
    agent.send("begin step_script-1", "run step_script-1")
    agent.wait(lambda: bytes(agent.data) == b"ready\n")
    agent.send("stop step_script-1 30", "stop step_script-1 30")
    result = agent.wait_for_end("step_script-1", timeout=20)
    assert isinstance(result, ExitEntry)
    assert result.code == 4
    assert bytes(agent.data).startswith(b"ready\n")
    assert b"bye\n" in agent.data


def test_p10_stop_kills_the_whole_group_after_the_grace(agent: AgentProcess) -> None:
    """A script whose processes ignore TERM is gone after the grace, children included."""
    child = agent.logs / "child"
    forever = "while :; do sleep 0.1; done"
    script = f"trap '' TERM; (trap '' TERM; {forever}) & echo $! >{child}; echo ready; wait; {forever}"
    agent.put("step_script-1", script)
    agent.send("begin step_script-1", "run step_script-1")
    agent.wait(lambda: bytes(agent.data) == b"ready\n")
    asked = time.monotonic()
    agent.send("stop step_script-1 1")
    result = agent.wait_for_end("step_script-1")
    assert isinstance(result, ExitEntry)
    assert result.code == 137
    assert 0.9 < time.monotonic() - asked < 20
    wait_until(lambda: not is_running(int(child.read_text())))


def test_p10_stop_of_an_attempt_that_does_not_run_does_nothing(agent: AgentProcess) -> None:
    """Neither an unknown attempt nor an ended one is an error, and a stop does not spoil a later run."""
    agent.send("stop step_script-1 0")
    result = agent.run("step_script-1", "exit 5")
    agent.send("stop step_script-1 0", "ping 1")
    agent.wait(lambda: "pong 1" in agent.answers)
    assert isinstance(result, ExitEntry)
    assert result.code == 5


def test_p13_a_script_of_five_mebibytes_arrives_whole(agent: AgentProcess) -> None:
    """A script far beyond any argument's limit comes in by parts and runs."""
    letters = bytes(48 + byte % 75 for byte in range(256))
    noise = random.Random(13).randbytes(5 << 20).translate(letters)
    script = b"echo " + str(len(noise)).encode() + b"\nexit 0\n: '" + noise + b"'\n"
    agent.deliver("step_script-1", script)
    agent.wait(lambda: agent.answers == ["sealed step_script-1"])
    placed = agent.scripts / "step_script-1"
    assert placed.read_bytes() == script
    assert placed.stat().st_mode & 0o777 == 0o777
    agent.send("begin step_script-1", "run step_script-1")
    agent.wait_for_end("step_script-1")
    assert bytes(agent.data) == b"%d\n" % len(noise)


def test_seal_answers_bad_when_the_text_is_not_what_was_meant(agent: AgentProcess) -> None:
    """A wrong checksum, a missing part, or nothing at all is `bad`, places nothing, and the next try counts."""
    *parts, seal = put_commands("step_script-1", random.Random(1).randbytes(60_000))
    assert len(parts) == 3
    agent.raw(b"".join([*parts, command_line(f"seal step_script-1 {'0' * 64}")]))
    agent.wait(lambda: agent.answers == ["bad step_script-1"])
    agent.raw(b"".join([parts[0], parts[2], seal]))
    agent.wait(lambda: agent.answers.count("bad step_script-1") == 2)
    agent.raw(command_line(f"seal after_script-1 {'0' * 64}"))
    agent.wait(lambda: "bad after_script-1" in agent.answers)
    assert sorted(path.name for path in agent.scripts.iterdir() if not path.name.startswith(".")) == []
    agent.raw(b"".join([*parts[:2], *parts, seal]))
    agent.wait(lambda: "sealed step_script-1" in agent.answers)


def test_seal_again_is_answered_again(agent: AgentProcess) -> None:
    """When the answer died with a connection, the same file sent again, or its seal alone, is answered as before."""
    lines = list(put_commands("step_script-1", b"echo ok"))
    agent.raw(b"".join([*lines, *lines, lines[-1]]))
    agent.wait(lambda: agent.answers == ["sealed step_script-1"] * 3)


def test_a_line_that_was_cut_with_its_connection_does_nothing(agent: AgentProcess) -> None:
    """Half a line, ended by the next connection's empty line, is dropped, and what comes after it is obeyed."""
    agent.put("step_script-1", "echo no")
    agent.put("step_script-10", "echo yes")
    cut = command_line("run step_script-10")
    agent.raw(cut[:-2])
    agent.resume()
    agent.raw(b"not a command\n12\n 5 run x\n-1 run x\n99999999999999999999 run x\n" + b"x" * 70_000 + b"\n")
    agent.raw(b"3 run\n11 run ../evil\n14 unknown thing\n7 begin \n")
    agent.send("ping 8")
    agent.wait(lambda: "pong 8" in agent.answers)
    assert list(agent.logs.glob("*.started")) == []
    agent.send("begin step_script-10", "run step_script-10")
    agent.wait_for_end("step_script-10")
    assert bytes(agent.data) == b"yes\n"


def test_fifty_mebibytes_pass_through_a_window_in_bounded_memory(agent: AgentProcess) -> None:
    """A big log comes whole, never more than a window is on its way, and the agent does not grow with it."""
    size = 50 << 20
    agent.put("step_script-1", f"head -c {size} /dev/zero | tr '\\0' 'x'")
    agent.send("begin step_script-1", "run step_script-1")
    peak = 0
    while not (end := agent.result("step_script-1")) or len(agent.data) < end.offset:
        for _ in range(200):
            agent.read_some(0.05)
        peak = max(peak, sum(resident(member) for member in agent.family()))
    assert len(agent.data) == size
    assert agent.data.count(b"x") == size
    assert agent.ahead <= agent.window
    assert peak < 80 << 20


def test_a_window_is_not_passed_without_acknowledgement(agent: AgentProcess) -> None:
    """Bytes and entries stop at the window's end, and an acknowledgement moves it."""
    agent.acknowledging = False
    agent.window = 100_000
    agent.resume()
    agent.put("step_script-1", "head -c 300000 /dev/zero")
    agent.send("begin step_script-1", "run step_script-1")
    wait_until(lambda: b"exit step_script-1" in content(agent.logs / "journal"))
    agent.wait(lambda: len(agent.data) == 100_000)
    agent.send("ping 1")
    agent.wait(lambda: "pong 1" in agent.answers)
    assert len(agent.data) == 100_000
    assert max(entry.offset for entry in agent.entries) <= 100_000
    agent.send("ack 50000")
    agent.wait(lambda: len(agent.data) == 150_000)
    agent.send("ack 150000", "ack 20")
    agent.wait(lambda: len(agent.data) == 250_000)
    agent.send("ack 250000")
    agent.wait_for_end("step_script-1")


def test_a_reader_that_stalls_delays_neither_journal_nor_stages(agent: AgentProcess) -> None:
    """While nobody reads, stages start, end and are recorded; the next connection gets all of it."""
    agent.put("step_script-1", "head -c 2000000 /dev/zero | tr '\\0' y")
    agent.put("after_script-1", "echo after")
    agent.send("begin step_script-1", "run step_script-1")
    journal = agent.logs / "journal"
    wait_until(lambda: b"exit step_script-1" in content(journal))
    agent.send("begin after_script-1", "run after_script-1", "ping 1")
    wait_until(lambda: b"exit after_script-1" in content(journal))
    agent.resume()
    agent.wait_for_end("after_script-1")
    assert bytes(agent.data) == b"y" * 2_000_000 + b"after\n"


def test_entries_never_go_back_and_are_at_most_a_segment_apart(agent: AgentProcess) -> None:
    """Offsets are monotone over all kinds of entries, and no step is larger than 64 KiB."""
    agent.send("note 1 plain 1700000000.250000 aGk=")
    for number, size in enumerate((1, 65536, 65537, 1_000_000), 1):
        agent.run(f"step_x-{number}", f"head -c {size} /dev/zero; sleep 0.05; echo end")
        agent.send(f"note {number + 1} plain 1700000000.250000 aGk=")
    agent.wait(lambda: len(agent.notes()) == 5)
    places = [0, *(entry.offset for entry in agent.entries)]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert min(steps) >= 0
    assert max(steps) <= 65536
    moments = [entry.time for entry in agent.entries if not isinstance(entry, NoteEntry)]
    assert moments == sorted(moments)


def test_bytes_before_a_note_do_not_carry_its_time(agent: AgentProcess) -> None:
    """A note has the manager's time, so what the log had grown by then gets an entry of its own first."""
    agent.put("step_script-1", "echo text; sleep 30")
    agent.send("begin step_script-1", "run step_script-1")
    wait_until(lambda: content(agent.logs / "output.log") == b"text\n")
    agent.send("note 1 warning 1000.000000 aGk=")
    agent.wait(agent.notes)
    at = next(index for index, entry in enumerate(agent.entries) if isinstance(entry, NoteEntry))
    assert agent.entries[at].offset == 5
    assert agent.entries[at - 1].offset == 5


def test_a_note_is_written_once_for_each_number(agent: AgentProcess) -> None:
    """Sent again it is ignored, whatever its order, and the empty text and a long one come back as they went."""
    notes = [
        NoteEntry(1, "plain", 0, 1700000000.25, "Running on x"),
        NoteEntry(2, "section_start", 0, 1700000001.5, ""),
        NoteEntry(4, "error", 0, 1700000002.125, "ä" * 8000),
        NoteEntry(3, "green", 0, 1700000003.0, "late"),
    ]
    for note in [*notes, *notes, notes[1]]:
        agent.raw(note_command(note))
    agent.resume(offset=0, line=0)
    agent.send("ping 1")
    agent.wait(lambda: len(agent.notes()) == 4 and "pong 1" in agent.answers)
    assert agent.notes() == [(note.seq, note.kind, note.time, note.text) for note in notes]


def test_stages_of_the_build_container_are_journaled(agent: AgentProcess) -> None:
    """Guard, record and loss that another container wrote into the volume become entries."""
    with (agent.logs / "output.log").open("ab") as log:
        log.write(b"from build\n")
    (agent.logs / "step_script-1.started").write_text("build\nw 17\n")
    agent.wait(lambda: agent.has_run("step_script-1"))
    (agent.logs / "step_script-1.exit").write_text("0 1 .\n")
    assert isinstance(agent.wait_for_end("step_script-1"), ExitEntry)
    (agent.logs / "step_script-2.started").write_text("build\nw 18\n")
    (agent.logs / "step_script-2.lost").write_text("lost .\n")
    assert isinstance(agent.wait_for_end("step_script-2"), LostEntry)
    assert bytes(agent.data) == b"from build\n"


def test_a_stage_has_a_session_no_stdin_and_no_umask(agent: AgentProcess) -> None:
    """A helper stage leads its own group, reads end of file, holds no pipe of the agent, and masks no mode."""
    script = textwrap.dedent(
        """
        read -r line && echo "read $line"
        umask
        read -r pid comm state parent group session rest </proc/self/stat
        [ "$$" = "$session" ] && [ "$$" = "$group" ] && echo leads
        for fd in /proc/$$/fd/*; do readlink $fd; done | grep -c pipe:
        """
    )
    agent.run("step_script-1", script)
    assert agent.data.split() == [b"0000", b"leads", b"0"]


@pytest.mark.parametrize(
    "unkind",
    [
        {},
        {"IFS": "0", "ENV": "/nonexistent", "POSIXLY_CORRECT": "y", "LC_ALL": "C.UTF-8", "CDPATH": "/"},
    ],
    ids=["plain", "unkind"],
)
def test_the_environment_of_a_stage_is_the_containers(
    make_agent: Callable[..., AgentProcess], kind: str, unkind: dict[str, str]
) -> None:
    """An agent adds nothing to its stages' environment and changes nothing, also where names and values are unkind."""
    fresh = make_agent(kind)
    fresh.environment = {"PATH": fresh.environment["PATH"], "HOME": "/", "logs": "no", **unkind}
    fresh.start().resume()
    fresh.run("step_script-1", "exec env -0")
    found = dict(item.split("=", 1) for item in fresh.data.decode().strip("\0").split("\0"))
    of_the_shell = {"PWD", "SHLVL", "OLDPWD", "_", "IFS"}
    given = {name: value for name, value in fresh.environment.items() if name not in of_the_shell}
    assert {name: value for name, value in found.items() if name not in of_the_shell} == given


def test_the_end_of_stdin_ends_no_stage(agent: AgentProcess) -> None:
    """Without stdin the running stage is finished and recorded; then the agent leaves with 0."""
    agent.put("step_script-1", "echo a; sleep 0.6; echo b; exit 6")
    agent.send("begin step_script-1", "run step_script-1")
    agent.wait(lambda: bytes(agent.data) == b"a\n")
    assert agent.process.stdin is not None
    agent.process.stdin.close()
    used = agent.process.wait(20)
    assert used == 0
    assert b"exit step_script-1 6 0 4 " in content(agent.logs / "journal")


def test_term_leaves_at_once_and_takes_the_stages_along(agent: AgentProcess) -> None:
    """A container that is told to go goes, with 143, whatever runs; a plain process leaves nothing behind."""
    agent.put("step_script-1", "trap '' TERM; echo $$; while :; do sleep 0.1; done")
    agent.send("begin step_script-1", "run step_script-1")
    agent.wait(lambda: agent.data.endswith(b"\n"))
    family = agent.family()
    asked = time.monotonic()
    agent.process.terminate()
    assert agent.process.wait(10) == 143
    assert time.monotonic() - asked < 2
    wait_until(lambda: not any(map(is_running, [*family, int(agent.data)])))


def test_an_agent_that_is_started_again_goes_on_with_the_journal(
    agent: AgentProcess, kill: Callable[[int], None]
) -> None:
    """Over the same volume nothing is written twice, lines keep their numbers, and what was unfinished is lost."""
    agent.send("note 1 plain 1.000000 -")
    agent.run("get_sources-1", "echo sources")
    agent.put("step_script-1", "echo running; sleep 30")
    agent.send("begin step_script-1", "run step_script-1")
    agent.wait(lambda: agent.data.endswith(b"running\n"))
    for member in agent.family():
        kill(member)
    agent.process.wait(5)
    before = list(agent.entries)
    agent.start()
    agent.resume()
    agent.send("note 1 plain 1.000000 -", "begin get_sources-1", "run get_sources-1")
    agent.send("begin step_script-1", "run step_script-1")
    assert isinstance(agent.wait_for_end("step_script-1"), LostEntry)
    agent.run("after_script-1", "echo after")
    assert agent.entries[: len(before)] == before
    later: list[Entry] = [entry for entry in agent.entries[len(before) :] if not isinstance(entry, LogEntry | RanEntry)]
    assert [(type(entry), getattr(entry, "attempt", "")) for entry in later] == [
        (LostEntry, "step_script-1"),
        (StartEntry, "after_script-1"),
        (ExitEntry, "after_script-1"),
    ]
    agent.resume(offset=0, line=0)
    agent.wait_for_end("after_script-1")
    assert bytes(agent.data) == b"sources\nrunning\nafter\n"


def test_a_log_that_the_job_cut_still_drains(agent: AgentProcess) -> None:
    """What a job took away from the log reads as zeros, and its result is not held up."""
    log = agent.logs / "output.log"
    agent.run("step_script-1", "echo 12345678")
    agent.put("step_script-2", f": >{log}; sleep 0.5; echo more")
    agent.send("begin step_script-2", "run step_script-2")
    agent.wait_for_end("step_script-2")
    assert bytes(agent.data).startswith(b"12345678\n")
    assert bytes(agent.data).endswith(b"more\n")


def test_a_stage_whose_script_is_missing_has_a_result(agent: AgentProcess) -> None:
    """The shell's own complaint is the log, its code the result."""
    agent.send("begin step_script-1", "run step_script-1")
    result = agent.wait_for_end("step_script-1")
    assert isinstance(result, ExitEntry)
    assert result.code == 127
    assert b"step_script-1" in agent.data


def test_an_agent_at_rest_uses_little_time(agent: AgentProcess) -> None:
    """With nothing to do it sleeps: no spinning on closed, blocked or quiet streams."""
    agent.run("step_script-1", "head -c 1500000 /dev/zero")
    agent.acknowledging = False
    agent.resume(offset=0)
    agent.send("ping 1")
    agent.wait(lambda: "pong 1" in agent.answers)
    before = cpu_seconds(agent)
    started = time.monotonic()
    agent.wait(lambda: time.monotonic() - started > 1.5)
    assert cpu_seconds(agent) - before < (0.1 if agent.kind == "python" else 0.5)


@pytest.fixture(params=["python", "bash", "dash", "busybox"])
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of agent."""
    return str(request.param)


def wait_until(happened: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait for something outside of the connection, which is left unread meanwhile."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline
        os.sched_yield()


def content(path: Path) -> bytes:
    """Give what is in a file so far, which is nothing before it exists."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def is_running(pid: int) -> bool:
    """Whether a process lives and is no zombie."""
    return (stat_of(pid) or ["Z"])[0] != "Z"


def resident(pid: int) -> int:
    """Give a process's memory in bytes; a process that is gone has none."""
    fields = stat_of(pid)
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def cpu_seconds(agent: AgentProcess) -> float:
    """Give the time that the agent, its parts and its ended children have used."""
    ticks = [int(field) for pid in agent.family() for field in stat_of(pid)[11:15]]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def stat_of(pid: int) -> list[str]:
    """Give the fields of a process's stat from the third on; none when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
