"""What a board remembers of a manager and its jobs."""

from __future__ import annotations

from typing import Any

import pytest

from runner.config.model import Config, RunnerConfig
from runner.job.outcome import FailureReason, JobCanceledError, Outcome, RunnerInterruptedError, outcome_of
from runner.job.payload import Job
from runner.status.board import ProcessState, StatusBoard
from runner.status.card import PHASES, job_url, phase_named, state_of
from runner.status.snapshot import job_list, snapshot
from runner.testing.payloads import job_payload

RUNNER = {"name": "r", "url": "https://gitlab.example.com", "token": "glrt-Ab3dEfGh1JkLmNoPqRsT"}
SECRET = "s3cr3t-value"


class Clock:
    """Time as a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_job(**over: Any) -> Job:
    """A job whose repository has credentials in its address, and a secret among its variables."""
    payload = job_payload(id=7, variables={"PASSWORD": SECRET}, **over)
    payload["git_info"]["repo_url"] = f"https://gitlab-ci-token:{SECRET}@gitlab.example.com/acme/demo.git"
    return Job.parse(payload)


def a_board(clock: Clock) -> StatusBoard:
    """A board of one runner."""
    board = StatusBoard(system_id="s_0123456789ab", clock=clock)
    board.configured(Config.model_validate({"concurrent": 3, "runners": [RUNNER]}))
    return board


def test_card_when_a_job_lives() -> None:
    """Each phase ends where the next one begins; finish and removal go side by side, and the last of them closes."""
    clock = Clock()
    board = a_board(clock)
    card = board.job(RunnerConfig.model_validate(RUNNER), a_job())
    assert (card.state, card.stage, card.executor_stage) == ("pending", "", "created")
    seen = []
    for phase in ("accept", "prepare_executor", "step_script"):
        card.enter(phase)
        seen.append((card.state, card.executor_stage))
        clock.now += 2
    card.ended(Outcome("success", None))
    with card.finish():
        with card.removal():
            assert (card.finishing, card.removing, card.executor_stage) == (True, True, "finish")
        clock.now += 1
    card.close()
    assert seen == [("pending", "created"), ("running", "prepare"), ("running", "run")]
    assert [(phase.name, phase.began_at, phase.ended_at) for phase in card.phases] == [
        ("accept", 100, 102),
        ("prepare_executor", 102, 104),
        ("step_script", 104, 106),
        ("finish", 106, 107),
        ("removal", 106, 106),
    ]
    assert (card.duration, card.state) == (6, "success")
    assert (board.jobs, list(board.recent)) == ([], [card])


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome("success", None), "success"),
        (Outcome("failed", None), "failed"),
        (outcome_of(JobCanceledError()), "canceled"),
        (outcome_of(RunnerInterruptedError()), "terminated"),
        (Outcome("failed", FailureReason.JOB_EXECUTION_TIMEOUT), "timedout"),
    ],
)
def test_state_of(outcome: Outcome, state: str) -> None:
    """The original's words."""
    assert state_of(outcome) == state


def test_phase_named_when_a_pipeline_named_it() -> None:
    """A label never has more values than this project knows."""
    assert phase_named("step_my_own_name") == "step_other"
    assert {phase_named(phase) for phase in PHASES} == set(PHASES)


def test_job_url_when_the_address_is_odd() -> None:
    """There is always one, and never with credentials."""
    assert job_url(a_job()) == "https://gitlab.example.com/acme/demo/-/jobs/7"
    payload = job_payload(id=7)
    payload["git_info"]["repo_url"] = "https://[broken/x.git"
    assert job_url(Job.parse(payload)) == "/-/jobs/7"


def test_job_list_is_the_original_one() -> None:
    """One line for each running job, its duration as Go writes it."""
    clock = Clock()
    board = a_board(clock)
    card = board.job(RunnerConfig.model_validate(RUNNER), a_job())
    card.enter("get_sources")
    clock.now += 61.5
    assert job_list(board) == (
        "url=https://gitlab.example.com/acme/demo/-/jobs/7 state=running stage=get_sources executor_stage=run"
        " duration=1m1.5s\n"
    )


def test_snapshot_holds_no_secret() -> None:
    """Neither variables nor tokens, whole or of the job."""
    clock = Clock()
    board = a_board(clock)
    job = a_job()
    card = board.job(RunnerConfig.model_validate(RUNNER), job)
    card.enter("accept")
    text = str(snapshot(board)) + job_list(board)
    assert SECRET not in text
    assert job.token not in text
    assert str(RUNNER["token"]) not in text
    assert "Ab3dEfGh1" in text


def test_enter_when_the_process_was_told_to_end() -> None:
    """A state is never left for one before."""
    board = StatusBoard()
    board.enter(ProcessState.FORCEFUL_SHUTDOWN)
    board.enter(ProcessState.RUNNING)
    assert board.state is ProcessState.FORCEFUL_SHUTDOWN


def test_gitlab_silence_counts_answers_of_any_kind() -> None:
    """A refusal is an answer, a broken connection is none."""
    clock = Clock()
    board = a_board(clock)
    observe = board.gitlab_observer(RunnerConfig.model_validate(RUNNER))
    clock.now += 30
    observe("POST", "jobs/request", -1, 0.1)
    assert list(board.gitlab_silence().values()) == [30]
    observe("POST", "jobs/request", 500, 0.1)
    assert list(board.gitlab_silence().values()) == [0]


def test_gitlab_silence_when_a_token_was_renewed() -> None:
    """Who knew the runner by the token before reports on it as before, under its new name; twice, and back again."""
    clock = Clock()
    board = a_board(clock)
    entries = [{**RUNNER, "token": f"glrt-{letter * 20}"} for letter in "abca"]
    runners = [RunnerConfig.model_validate(entry) for entry in entries]
    observe = board.gitlab_observer(runners[0])
    for before, after, entry in zip(runners, runners[1:], entries[1:], strict=False):
        board.renewed(before, after)
        board.configured(Config.model_validate({"concurrent": 3, "runners": [entry]}))
        clock.now += 30
        observe("POST", "jobs/request", 204, 0.1)
        [(labels, silence)] = board.gitlab_silence().items()
        assert (labels, silence) == (board.labels(after), 0)
