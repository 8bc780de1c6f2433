"""The life of one job, in a place that does what the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from runner.config.model import RunnerConfig
from runner.job.outcome import JobConfigurationError, Outcome
from runner.job.payload import Job
from runner.job.verdict import Evidence
from runner.manager.deadlines import Deadlines
from runner.manager.job_run import JobRun
from runner.manager.material import Identity, JobMaterial, Place
from runner.manager.tracing import Trace
from runner.testing.payloads import job_payload
from runner.trace.answers import NETWORK_FAILED, PatchResult, UpdateResult
from runner.trace.masking import Masker
from runner.trace.patching import Signal
from runner.trace.rendering import Renderer
from tests.manager.parts import NoCaches, Room

NO_SOURCES = {"GIT_STRATEGY": "none"}


class Desk:
    """A GitLab that stores the log and hears states."""

    def __init__(self) -> None:
        self.stored = b""
        self.states: list[tuple[str, str]] = []
        self.first_answer = self.answer = UpdateResult(status=200, job_status="running")

    async def patch_trace(self, *, start: int, data: bytes) -> PatchResult:
        """Store."""
        assert start == len(self.stored)
        self.stored += data
        return PatchResult(status=202, job_status=self.answer.job_status, range_end=len(self.stored), interval=0.01)

    async def update_job(
        self, *, state: str, reason: str = "", exit_code: int = 0, checksum: str = "", size: int = 0
    ) -> UpdateResult:
        """Note what was told."""
        first = not self.states
        if first or state != "running":
            self.states.append((state, reason))
        return self.first_answer if first else self.answer


async def until_stopped(attempt: str, stop: anyio.Event) -> Evidence:
    """A stage that runs until it is told to end."""
    await stop.wait()
    return Evidence(attempt, exit_code=143, drained=True)


async def failing(attempt: str, stop: anyio.Event) -> Evidence:
    """A stage that ends with 1."""
    return Evidence(attempt, exit_code=1, drained=True)


def job_run(
    room: Room,
    desk: Desk,
    *,
    deadlines: Deadlines | None = None,
    runner: Mapping[str, Any] | None = None,
    shared: bool = False,
    place_gone: Callable[[], None] = lambda: None,
    **over: Any,
) -> JobRun:
    """A job of the payload factory, without sources."""
    over["variables"] = {**NO_SOURCES, **over.pop("variables", {})}
    config = RunnerConfig.model_validate(
        {"name": "r", "url": "https://gitlab", "token": "glrt-12345678x", **(runner or {})}
    )
    identity = Identity(name="runner", version="1", revision="abc", system_id="r_0123456789ab", host="here")
    material = JobMaterial.of(
        Job.parse(job_payload(**over)),
        config,
        identity=identity,
        place=Place(concurrent_id=0, concurrent_project_id=0),
        shared=shared,
    )

    def open_trace(on_signal: Callable[[Signal], None]) -> Trace:
        renderer = Renderer(Masker((), ()), timestamps=False, sections=False)
        return Trace(desk, renderer, limit_bytes=1 << 20, on_signal=on_signal, keep_alive_interval=0.02)

    return JobRun(
        material,
        room,
        desk,
        caches=NoCaches(),
        open_trace=open_trace,
        deadlines=deadlines or Deadlines(),
        place_gone=place_gone,
    )


async def live(run: JobRun) -> Outcome:
    """Live a life, within a bound."""
    outcomes: list[Outcome] = []

    async def one() -> None:
        outcomes.append(await run.run())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(one)
    return outcomes[0]


def scripts(room: Room) -> list[str]:
    """The user's own stages that ran."""
    return [attempt for attempt in room.did if attempt.startswith(("step_", "after_script"))]


async def test_run_when_all_goes_well() -> None:
    """GitLab hears that it runs, then how it ended; the place is removed once."""
    room, desk = Room(), Desk()
    outcome = await live(job_run(room, desk, after_script=["echo after"]))
    assert outcome.state == "success"
    assert desk.states == [("running", ""), ("success", "")]
    assert (room.did[0], room.did[-1], room.did.count("remove")) == ("prepare", "remove", 1)
    assert scripts(room) == ["step_script-1", "after_script-1"]
    assert desk.stored.endswith(b"Job succeeded\x1b[0;m\n")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(UpdateResult(status=403), [], id="not ours"),
        pytest.param(UpdateResult(status=404), [], id="not known"),
        pytest.param(UpdateResult(status=200, job_status="canceled"), [], id="canceled"),
        pytest.param(UpdateResult(status=200, job_status="canceling"), [("failed", "unknown_failure")], id="canceling"),
    ],
)
async def test_run_when_the_job_is_canceled_already(answer: UpdateResult, told: list[tuple[str, str]]) -> None:
    """Nothing is made for it; GitLab hears of it again only if it waits for its end."""
    room, desk = Room(), Desk()
    desk.first_answer = answer
    assert (await live(job_run(room, desk))).reason == "job_canceled"
    assert (room.did, desk.states) == ([], [("running", ""), *told])
    assert bool(desk.stored) == bool(told)


@pytest.mark.parametrize("status", [500, 409, 429, NETWORK_FAILED])
async def test_run_when_the_first_word_is_not_heard(status: int) -> None:
    """The job runs: its log says the same."""
    room, desk = Room(), Desk()
    desk.first_answer = UpdateResult(status=status)
    assert (await live(job_run(room, desk))).state == "success"
    assert desk.states == [("running", ""), ("success", "")]


async def test_run_when_the_script_has_a_timeout_of_its_own() -> None:
    """The script is stopped and has failed for its time; after_script runs all the same."""
    room, desk = Room(step_script=until_stopped), Desk()
    timeouts = {"RUNNER_SCRIPT_TIMEOUT": "20ms"}
    outcome = await live(job_run(room, desk, after_script=["echo after"], variables=timeouts))
    assert (outcome.state, outcome.reason) == ("failed", "job_execution_timeout")
    assert scripts(room) == ["step_script-1", "after_script-1"]
    assert b"step_script could not run to completion because the timeout was exceeded" in desk.stored


async def test_run_when_after_script_has_no_time() -> None:
    """after_script is stopped, and the job is what its script was."""
    room, desk = Room(after_script=until_stopped), Desk()
    timeouts = {"RUNNER_AFTER_SCRIPT_TIMEOUT": "20ms"}
    outcome = await live(job_run(room, desk, after_script=["sleep 60"], variables=timeouts))
    assert outcome.state == "success"
    assert b"after_script could not run to completion" in desk.stored
    warning = b"WARNING: after_script failed, but job will continue unaffected: context deadline exceeded"
    assert warning in desk.stored


async def test_run_when_the_job_is_canceled_in_its_script() -> None:
    """The script is stopped, after_script runs, further steps do not."""
    desk = Desk()

    async def canceled(attempt: str, stop: anyio.Event) -> Evidence:
        desk.answer = UpdateResult(status=200, job_status="canceling")
        return await until_stopped(attempt, stop)

    room = Room(step_script=canceled)
    steps = [
        {"name": name, "script": ["true"], "timeout": 3600, "when": "on_success", "allow_failure": False}
        for name in ("script", "release", "after_script")
    ]
    outcome = await live(job_run(room, desk, steps=steps))
    assert outcome.reason == "job_canceled"
    assert scripts(room) == ["step_script-1", "after_script-1"]
    assert b"script canceled externally (UI, API)" in desk.stored


async def for_ever(attempt: str, stop: anyio.Event) -> Evidence:
    """A stage that only a cut ends."""
    await anyio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize(
    ("key", "message", "stage"),
    [
        ("prepare_timeout", "prepare timeout: exceeded timeout of 30ms", "prepare_script"),
        ("get_sources_timeout", "get sources timeout: exceeded timeout of 30ms", "get_sources"),
    ],
)
async def test_run_when_a_part_of_it_has_no_time(key: str, message: str, stage: str) -> None:
    """The job ends at once: neither scripts, nor after_script, nor a cleanup follow."""
    room, desk = Room(**{stage: for_ever}), Desk()
    outcome = await live(job_run(room, desk, runner={key: "30ms"}, after_script=["echo after"]))
    assert (outcome.state, outcome.reason, outcome.message) == ("failed", "job_execution_timeout", message)
    assert room.did[-2:] == [f"{stage}-1", "remove"]


async def test_run_when_the_pod_takes_too_long() -> None:
    """The time of the preparation begins with the pod."""
    room, desk = Room(), Desk()
    room.trouble_after = anyio.Event()
    outcome = await live(job_run(room, desk, runner={"prepare_timeout": "30ms"}))
    assert outcome.message == "prepare timeout: exceeded timeout of 30ms"
    assert room.did == ["prepare", "remove"]


async def test_run_when_sources_have_no_time_for_another_attempt() -> None:
    """The pauses between attempts count; limits on other parts do not."""
    room, desk = Room(get_sources=failing), Desk()
    limits = {"prepare_timeout": "1h", "get_sources_timeout": "100ms"}
    outcome = await live(job_run(room, desk, runner=limits, variables={"GET_SOURCES_ATTEMPTS": "3"}))
    assert outcome.message == "get sources timeout: exceeded timeout of 100ms"
    assert room.did == ["prepare", "prepare_script-1", "get_sources-1", "remove"]
    assert b"Retrying..." in desk.stored


async def test_run_when_the_whole_job_has_no_time() -> None:
    """The job's own time-out cuts everything; what was made is removed."""
    room, desk = Room(step_script=for_ever), Desk()
    run = job_run(room, desk, timeout=1)
    assert (await live(run)).reason == "job_execution_timeout"
    assert room.did[-1] == "remove"
    assert run.stage == "finish"


async def test_run_when_the_place_cannot_be_made() -> None:
    """The error's own reason is told, and what was made so far is removed."""
    room, desk = Room(), Desk()
    room.trouble = JobConfigurationError("no such image")
    outcome = await live(job_run(room, desk, variables={"RUNNER_SCRIPT_TIMEOUT": "soon"}))
    assert (outcome.state, outcome.reason) == ("failed", "runner_configuration_error")
    assert b"no such image" in desk.stored
    assert b"Ignoring malformed RUNNER_SCRIPT_TIMEOUT timeout: soon" in desk.stored
    assert room.did == ["prepare", "remove"]


async def test_run_when_this_program_has_a_fault() -> None:
    """The job fails as the runner's fault, and the log of the service shows where."""
    room, desk = Room(), Desk()
    room.trouble = ZeroDivisionError("not the job's")
    with capture_logs() as logs:
        outcome = await live(job_run(room, desk))
    assert outcome.reason == "runner_system_failure"
    (told,) = [entry["exception"] for entry in logs if entry["event"] == "a fault of this program ended the job"]
    assert "ZeroDivisionError" in told
    assert "self.trouble" in told


async def test_run_when_the_evidence_has_a_warning() -> None:
    """A fact beside the result stands in the job's log."""

    async def child_killed(attempt: str, stop: anyio.Event) -> Evidence:
        return Evidence(attempt, exit_code=0, drained=True, oom_kills=2)

    room, desk = Room(step_script=child_killed), Desk()
    assert (await live(job_run(room, desk))).state == "success"
    assert b"memory" in desk.stored


async def test_run_when_removing_takes_too_long() -> None:
    """GitLab hears the result meanwhile, and the log of the service tells what may be left."""
    room, desk = Room(), Desk()
    room.removing = anyio.Event()
    with capture_logs() as logs:
        outcome = await live(job_run(room, desk, deadlines=Deadlines(cleanup_timeout=0.05)))
    assert outcome.state == "success"
    assert desk.states[-1] == ("success", "")
    assert "removing the job's objects took too long, some may be left" in [entry["event"] for entry in logs]


@pytest.mark.parametrize("removed", [True, False], ids=["at last", "never"])
async def test_run_when_its_folder_stays(monkeypatch: pytest.MonkeyPatch, removed: bool) -> None:
    """GitLab hears the end when the place is free, so that the next job gets the same; but it does hear it."""
    monkeypatch.setattr("runner.manager.job_run.FREE_FOLDER_TIMEOUT", 5.0 if removed else 0.02)
    room, desk = Room(), Desk()
    room.removing = anyio.Event()
    told: list[bool] = []

    def gone() -> None:
        told.append(("success", "") in desk.states)

    run = job_run(room, desk, shared=True, deadlines=Deadlines(cleanup_timeout=0.1), place_gone=gone)
    assert (await live(run)).state == "success"
    assert (told, desk.states[-1]) == ([not removed], ("success", ""))


async def test_run_when_gitlab_takes_no_final_state() -> None:
    """It is tried until the deadline, and then told to the service's log: the slot must become free."""
    room, desk = Room(), Desk()
    desk.answer = UpdateResult(status=500)
    with capture_logs() as logs:
        outcome = await live(job_run(room, desk, deadlines=Deadlines(final_update_timeout=0.05)))
    assert outcome.state == "success"
    assert "GitLab did not take the final state of the job" in [entry["event"] for entry in logs]


@pytest.mark.parametrize("way", ["interrupt", "cancel"])
async def test_run_when_this_process_has_to_go(way: str) -> None:
    """The job is interrupted, by name; the place is removed and GitLab told within the shutdown's time."""
    started = anyio.Event()

    async def standing(attempt: str, stop: anyio.Event) -> Evidence:
        started.set()
        return await until_stopped(attempt, stop)

    room, desk = Room(step_script=standing), Desk()
    run = job_run(room, desk)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(run.run)
            await started.wait()
            (partial(run.interrupt, "SIGTERM") if way == "interrupt" else group.cancel_scope.cancel)()
    assert desk.states[-1] == ("failed", "runner_interrupted")
    assert room.did[-1] == "remove"


async def test_run_when_a_stage_is_tried_again() -> None:
    """Each attempt has a number of its own, and the log says that it is another one."""
    room, desk = Room(get_sources=failing), Desk()
    variables = {
        "GIT_STRATEGY": "fetch",
        "GET_SOURCES_ATTEMPTS": "2",
        "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY": "false",
    }
    outcome = await live(job_run(room, desk, variables=variables))
    assert outcome.state == "failed"
    assert [attempt for attempt in room.did if attempt.startswith("get_sources")] == ["get_sources-1", "get_sources-2"]
    assert b"Retrying..." in desk.stored
