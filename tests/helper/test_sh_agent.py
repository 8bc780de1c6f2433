"""The POSIX sh agent alone: in the build container, with no tool but the shell, and as process 1."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.podspec.agents import build_command, helper_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.helper.conftest import AgentProcess

pytestmark = pytest.mark.slow

SHELLS = ["bash", "dash", "busybox"]
FOREVER = "while :; do sleep 0.1; done"


@pytest.fixture(params=SHELLS)
def build(request: pytest.FixtureRequest, make_agent: Callable[..., AgentProcess]) -> AgentProcess:
    """A build agent that is not started yet, under each shell."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    made = make_agent(request.param, mode="build")
    made.environment["PATH"] = "/usr/bin:/bin"
    return made


def test_a_build_stage_needs_nothing_but_the_shell(build: AgentProcess) -> None:
    """P11: with no program on PATH a stage starts once, its output is kept, and its record is whole."""
    build.environment["PATH"] = "/nonexistent"
    build.start()
    build.put("step_script-1", "echo out; echo err >&2; read -r line || echo none; exit 7")
    build.send("run step_script-1", "run step_script-1")
    wait_for(build.logs / "step_script-1.exit", "7 0 .\n")
    assert content(build.logs / "output.log") == "out\nerr\nnone\n"
    build.put("after_script-1", "exit 0")
    build.send("run after_script-1")
    wait_for(build.logs / "after_script-1.exit", "0 0 .\n")
    assert build.process.poll() is None
    build.process.terminate()
    assert build.process.wait(5) == 143
    assert drained(build) == (b"", b"")


@pytest.mark.parametrize("shell_on_path", [True, False], ids=["on-path", "not-on-path"])
def test_a_job_sees_short_arguments_and_an_environment_of_its_own(build: AgentProcess, shell_on_path: bool) -> None:
    """The agent's text is no argument of any process, and nowhere in a stage's environment."""
    build.shell_on_path = shell_on_path
    build.start()
    build.put("step_script-1", "env; echo up; sleep 60")
    build.send("run step_script-1")
    wait_until(lambda: content(build.logs / "output.log").endswith("up\n"))
    variables = {line.partition("=")[0] for line in content(build.logs / "output.log").splitlines()}
    assert "PATH" in variables
    assert "_agent" not in variables
    arguments = [content(Path(f"/proc/{pid}/cmdline")) for pid in build.family()]
    assert len(arguments) > 4
    if shell_on_path:
        assert [words for words in arguments if len(words) > 300] == []


@pytest.mark.parametrize("tools", [(), ("sleep",), ("setsid", "sleep")], ids=["nothing", "sleep", "setsid"])
def test_stop_ends_a_stage_that_ignores_term(build: AgentProcess, tmp_path: Path, tools: Sequence[str]) -> None:
    """P10: with a process group or without, with a clock or without, KILL comes at last and reaches children."""
    build.environment["PATH"] = str(only(tmp_path, tools))
    build.start()
    nap = shutil.which("sleep")
    forever = f"while :; do {nap} 0.1; done"
    build.put("step_script-1", f"trap '' TERM; (trap '' TERM; {forever}) & echo $$ $!; {forever}")
    build.send("run step_script-1")
    log = build.logs / "output.log"
    wait_until(lambda: content(log).endswith("\n"))
    asked = time.monotonic()
    build.send("stop step_script-1 1.0")
    wait_for(build.logs / "step_script-1.exit", "137 0 .\n")
    if tools:
        assert time.monotonic() - asked > 0.9
    shell, child = content(log).split()
    wait_until(lambda: not alive(shell) and not alive(child))


def test_stop_without_setsid_spares_what_is_not_the_stage(build: AgentProcess, tmp_path: Path) -> None:
    """P10: where a stage has no group, TERM goes to its own processes, and another stage runs on."""
    build.environment["PATH"] = str(only(tmp_path, ["sleep"]))
    build.start()
    build.put("step_script-1", f"/bin/sleep 60 & echo $!; {FOREVER}")
    build.put("step_script-2", f"echo $$; {FOREVER}")
    build.send("run step_script-1")
    wait_until(lambda: content(build.logs / "output.log").count("\n") == 1)
    build.send("run step_script-2")
    wait_until(lambda: content(build.logs / "output.log").count("\n") == 2)
    child, other = content(build.logs / "output.log").split()
    build.send("stop step_script-1 5")
    wait_for(build.logs / "step_script-1.exit", "143 0 .\n")
    wait_until(lambda: not alive(child))
    assert alive(other)


def test_a_stop_right_behind_its_run_reaches_the_stage(build: AgentProcess) -> None:
    """P10: a stage that is a moment old is stopped as any other."""
    build.start()
    for number in range(1, 6):
        build.put(f"step_script-{number}", "exec sleep 60")
        build.send(f"run step_script-{number}", f"stop step_script-{number} 5")
    for number in range(1, 6):
        wait_for(build.logs / f"step_script-{number}.exit", "143 0 .\n")


def test_a_job_that_kills_all_it_can_reach_is_lost_and_the_agent_lives_on(
    build: AgentProcess, kill: Callable[[int], None]
) -> None:
    """P9: when reader, guard and wrapper die together, main says `lost` and obeys the next command."""
    build.start()
    build.put("step_script-1", "echo up; sleep 60")
    build.send("run step_script-1")
    wait_until(lambda: content(build.logs / "output.log") == "up\n")
    for member in build.family()[1:]:
        kill(member)
    wait_for(build.logs / "step_script-1.lost", "lost .\n")
    build.put("after_script-1", "echo after")
    build.send("run after_script-1")
    wait_for(build.logs / "after_script-1.exit", "0 0 .\n")
    assert content(build.logs / "step_script-1.exit") == ""


def test_a_new_reader_does_not_call_a_living_stage_lost(build: AgentProcess, kill: Callable[[int], None]) -> None:
    """P9: when only the reader dies, the running stage keeps its wrapper and gets its result."""
    build.start()
    build.put("step_script-1", f"echo up; until [ -e {build.logs}/go ]; do sleep 0.05; done; exit 4")
    build.send("run step_script-1")
    wait_until(lambda: content(build.logs / "output.log") == "up\n")
    reader = build.family()[1]
    kill(reader)
    wait_until(lambda: not alive(str(reader)))
    build.put("step_script-2", "exit 5")
    build.send("run step_script-2", "run step_script-1")
    wait_for(build.logs / "step_script-2.exit", "5 0 .\n")
    (build.logs / "go").touch()
    wait_for(build.logs / "step_script-1.exit", "4 0 .\n")
    assert not (build.logs / "step_script-1.lost").exists()


def test_a_repeated_run_finds_a_stage_whose_guard_died_too(build: AgentProcess, kill: Callable[[int], None]) -> None:
    """P9: guard and wrapper are gone and the reader is not: asked for the attempt again, it says `lost`."""
    build.start()
    build.put("step_script-1", "echo $PPID; exec sleep 5")
    build.send("run step_script-1")
    wait_until(lambda: content(build.logs / "output.log").endswith("\n"))
    wrapper = int(content(build.logs / "output.log"))
    kill(int(Path(f"/proc/{wrapper}/stat").read_text().rpartition(")")[2].split()[1]))
    kill(wrapper)
    wait_until(lambda: not alive(str(wrapper)))
    build.send("run step_script-1")
    wait_for(build.logs / "step_script-1.lost", "lost .\n")


def test_a_build_stage_keeps_the_umask_of_its_image(build: AgentProcess) -> None:
    """P14: the job's files have the image's mask, while what the agent writes is open to the helper's user."""
    old = os.umask(0o027)
    try:
        build.start()
    finally:
        os.umask(old)
    build.put("step_script-1", "umask")
    build.send("run step_script-1")
    wait_for(build.logs / "step_script-1.exit", "0 0 .\n")
    assert content(build.logs / "output.log") == "0027\n"
    for name in ("output.log", "step_script-1.started", "step_script-1.exit"):
        assert stat.S_IMODE((build.logs / name).stat().st_mode) == 0o666


def test_a_build_stage_inherits_nothing_of_the_agent(build: AgentProcess) -> None:
    """Neither descriptors nor, where shell or `env` can help it, ignored signals; and no variable changes."""
    build.environment = {"PATH": "/usr/bin:/bin", "SHELLOPTS": "nounset", "IFS": "/", "n": "kept", "line": "kept"}
    build.start()
    script = """
        for fd in /proc/$$/fd/*; do [ -e $fd ] && set -- "$@" $fd; done
        echo "$@"
        grep SigIgn /proc/self/status
        echo $n $line ${_logs-} ${_mode-} ${_shell-} ${_rest-}
    """
    build.put("step_script-1", script)
    build.send("run step_script-1")
    wait_for(build.logs / "step_script-1.exit", "0 0 .\n")
    descriptors, ignored, variables = content(build.logs / "output.log").splitlines()
    assert {Path(path).name for path in descriptors.split()} - {"255"} == {"0", "1", "2"}
    assert variables == "kept kept"
    if build.kind != "busybox":
        # A shell cannot take back what was ignored when it began, as where these tests run in the background of one.
        kept = {number for number in (signal.SIGINT, signal.SIGQUIT) if signal.getsignal(number) is signal.SIG_IGN}
        own = {number for number in (signal.SIGINT, signal.SIGQUIT) if int(ignored.split()[1], 16) & 1 << (number - 1)}
        assert own <= kept


def test_the_end_of_stdin_lets_the_stage_end_and_then_the_agent(build: AgentProcess) -> None:
    """Nobody can say anything more, but the stage is finished and recorded."""
    build.start()
    build.put("step_script-1", "sleep 0.5; exit 3")
    build.send("run step_script-1")
    wait_until(lambda: (build.logs / "step_script-1.started").exists())
    assert build.process.stdin is not None
    build.process.stdin.close()
    assert build.process.wait(10) == 0
    assert content(build.logs / "step_script-1.exit") == "3 0 .\n"


def test_a_build_stage_is_journaled_by_either_helper(
    build: AgentProcess, make_agent: Callable[..., AgentProcess], helper_kind: str
) -> None:
    """The two agents of a pod together: script in by the helper, stage in build, log and result out by the helper."""
    helper = make_agent(helper_kind).start()
    build.start()
    helper.resume()
    helper.send("begin step_script-1")
    helper.deliver("step_script-1", b"for i in 1 2 3; do echo line $i; sleep 0.05; done; exit 6\n")
    helper.wait(lambda: helper.answers == ["sealed step_script-1"])
    build.raw(b"\n")
    build.send("run step_script-1")
    result = helper.wait_for_end("step_script-1")
    assert getattr(result, "code", None) == 6
    assert bytes(helper.data) == b"line 1\nline 2\nline 3\n"


@pytest.fixture(params=["python", "busybox"])
def helper_kind(request: pytest.FixtureRequest) -> str:
    """The kinds of helper agent."""
    return str(request.param)


def test_the_helper_command_prefers_the_python_agent(tmp_path: Path) -> None:
    """Where the image has `runner-helper-agent` on PATH, it is process 1, with the same directories."""
    program = tmp_path / "runner-helper-agent"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    command = helper_command("/logs-1-2", "/scripts-1-2", keep_bytes=4096)
    ran = subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, check=True)
    assert ran.stdout == b"--logs /logs-1-2 --scripts /scripts-1-2 --keep 4096\n"


@pytest.mark.parametrize(
    ("command", "most_bytes"),
    [(build_command("/l", "/s"), 4500), (helper_command("/l", "/s", keep_bytes=1), 10_500)],
    ids=["build", "helper"],
)
def test_the_text_fits_a_pod_specification(command: tuple[str, ...], most_bytes: int) -> None:
    """It is small and ASCII, has no comments, and nothing that Kubernetes would expand in a command."""
    text = command[2]
    assert len(text) < most_bytes
    assert text.isascii()
    assert "$$" not in text
    assert re.findall(r"\$\((?!\()", text) == []
    assert not any(line.startswith(("#", " ")) for line in text.splitlines())
    assert ("journal" in text) == (command[6] == "helper")


# As process 1 --------------------------------------------------------------------------------------------------------


def can_unshare() -> bool:
    """Whether this user may make a process namespace."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--pid", "--fork", "--mount-proc", "true"]
    return unshare is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def process_one(build: AgentProcess) -> AgentProcess:
    """A build agent that is process 1 of its own namespace."""
    if not can_unshare():
        pytest.skip("this user may not make process namespaces")
    return as_process_one(build).start()


def as_process_one(agent: AgentProcess) -> AgentProcess:
    """Give an agent a process namespace of its own when it starts."""
    plain = agent.command
    agent.command = lambda: ["unshare", "--pid", "--fork", "--mount-proc", *plain()]  # type: ignore[method-assign]
    return agent


@pytest.mark.parametrize("kind", ["python", *SHELLS])
def test_process_one_stays_when_its_stdin_has_ended(kind: str, make_agent: Callable[..., AgentProcess]) -> None:
    """A container runtime that is started again closes it: what goes on in the pod is recorded until TERM comes."""
    if not can_unshare():
        pytest.skip("this user may not make process namespaces")
    helper = as_process_one(make_agent(kind)).start()
    helper.send("begin step_script-1")
    journal = helper.logs / "journal"
    wait_until(lambda: "start step_script-1 " in content(journal))
    assert helper.process.stdin is not None
    helper.process.stdin.close()
    (helper.logs / "step_script-1.started").write_text("build\n")
    wait_until(lambda: "ran step_script-1 " in content(journal))
    (helper.logs / "step_script-1.exit").write_text("3 0 .\n")
    wait_until(lambda: "exit step_script-1 3 0 " in content(journal))
    assert helper.process.poll() is None
    os.kill(helper.family()[1], signal.SIGTERM)
    assert helper.process.wait(5) == 143


def test_process_one_outlives_a_job_that_kills_everything(process_one: AgentProcess) -> None:
    """P9: `kill -9 -1` ends the job, the reader and all that wait for it; the attempt is lost, the next one runs."""
    process_one.put("step_script-1", "echo up; kill -9 -1; sleep 60")
    process_one.send("run step_script-1")
    wait_for(process_one.logs / "step_script-1.lost", "lost .\n")
    process_one.put("after_script-1", "echo after")
    process_one.send("run after_script-1")
    wait_for(process_one.logs / "after_script-1.exit", "0 0 .\n")
    assert content(process_one.logs / "output.log") == "up\nafter\n"


def test_process_one_leaves_at_once_on_term(process_one: AgentProcess) -> None:
    """A shell as process 1 ignores TERM unless it traps it; this one goes, and the kernel takes the stage along."""
    process_one.put("step_script-1", "trap '' TERM; echo $$; while :; do sleep 0.1; done")
    process_one.send("run step_script-1")
    wait_until(lambda: content(process_one.logs / "output.log").endswith("\n"))
    _, inner, *rest = process_one.family()
    assert rest
    asked = time.monotonic()
    os.kill(inner, signal.SIGTERM)
    assert process_one.process.wait(5) == 143
    assert time.monotonic() - asked < 1
    assert content(process_one.logs / "step_script-1.exit") == ""
    assert not any(alive(str(pid)) for pid in rest)


def test_process_one_reaps_orphans(process_one: AgentProcess) -> None:
    """Daemons that a job leaves behind become children of process 1 and do not pile up as zombies."""
    zombies = "grep -l 'Z (zombie)' /proc/[0-9]*/status"
    process_one.put("step_script-1", f"for i in 1 2 3 4 5; do (sleep 0.1 &); done; sleep 0.4; {zombies}")
    process_one.send("run step_script-1")
    wait_for(process_one.logs / "step_script-1.exit", "1 0 .\n")
    assert content(process_one.logs / "output.log") == ""


# ---------------------------------------------------------------------------------------------------------------------


def only(directory: Path, tools: Sequence[str]) -> Path:
    """Make a folder for PATH that has these programs and no others."""
    folder = directory / "tools"
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    return folder


def content(path: Path) -> str:
    """Give what is in a file so far, which is nothing before it exists."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def wait_for(path: Path, text: str) -> None:
    """Wait until a file has this text."""
    wait_until(lambda: content(path) == text)


def wait_until(happened: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait until something has happened outside."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline
        os.sched_yield()


def alive(pid: str) -> bool:
    """Whether a process lives and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def drained(agent: AgentProcess) -> tuple[bytes, bytes]:
    """Give what the agent has written on its own streams."""
    assert agent.process.stdout is not None
    assert agent.process.stderr is not None
    return agent.process.stdout.read() or b"", agent.process.stderr.read() or b""
