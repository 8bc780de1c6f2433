"""The order of stages and which still run after a failure."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.job.outcome import (
    FailureReason,
    JobCanceledError,
    JobConfigurationError,
    JobError,
    JobTimeoutError,
    Outcome,
    RunnerInterruptedError,
    RunnerSystemError,
    ScriptError,
    outcome_of,
)
from runner.job.payload import Job
from runner.job.settings import JobSettings
from runner.job.stages import (
    Plan,
    Stage,
    StageResult,
    StageRun,
    attempt,
    container,
    stage_of,
    step_stage,
    title,
)
from runner.job.variables import Variable, Variables

BEFORE = ("prepare_script-1", "get_sources-1", "restore_cache-1", "download_artifacts-1")
GOOD_END = ("archive_cache-1", "upload_artifacts_on_success-1", "cleanup_file_variables-1")
BAD_END = ("archive_cache_on_failure-1", "upload_artifacts_on_failure-1", "cleanup_file_variables-1")
FULL = Plan(steps=("step_script", "step_release"), after_script=True)


def driven(plan: Plan, fails: Mapping[str, JobError], *, final: str = "") -> tuple[list[StageRun], list[StageResult]]:
    """Run a plan to its end, with these attempts failing and one of them ending the job."""
    runs: list[StageRun] = []
    results: list[StageResult] = []
    while run := plan.next_stage(results):
        runs.append(run)
        results.append(StageResult(run.stage, fails.get(run.attempt), final=run.attempt == final))
        assert len(runs) < 50
    return runs, results


@pytest.mark.parametrize(
    ("fails", "attempts"),
    [
        ([], (*BEFORE, "step_script-1", "step_release-1", "after_script-1", *GOOD_END)),
        (["prepare_script-1"], ("prepare_script-1",)),
        (["get_sources-1"], ("prepare_script-1", "get_sources-1", *BAD_END)),
        (["restore_cache-1"], (*BEFORE[:3], *BAD_END)),
        (["download_artifacts-1"], (*BEFORE, *BAD_END)),
        (["step_script-1"], (*BEFORE, "step_script-1", "after_script-1", *BAD_END)),
        (["step_release-1"], (*BEFORE, "step_script-1", "step_release-1", "after_script-1", *BAD_END)),
        (["after_script-1"], (*BEFORE, "step_script-1", "step_release-1", "after_script-1", *GOOD_END)),
        (["archive_cache-1"], (*BEFORE, "step_script-1", "step_release-1", "after_script-1", *GOOD_END)),
        (
            [
                "step_script-1",
                "archive_cache_on_failure-1",
                "upload_artifacts_on_failure-1",
                "cleanup_file_variables-1",
            ],
            (*BEFORE, "step_script-1", "after_script-1", *BAD_END),
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
def test_stages_follow_each_other_as_gitlab_runner_has_them(fails: list[str], attempts: tuple[str, ...]) -> None:
    """Which stages still run depends on which failed."""
    runs, _ = driven(FULL, dict.fromkeys(fails, ScriptError(1)))
    assert tuple(run.attempt for run in runs) == attempts


def test_job_without_after_script_has_none() -> None:
    """The stage is not even asked for."""
    runs, _ = driven(Plan(), {})
    assert tuple(run.attempt for run in runs) == (*BEFORE, "step_script-1", *GOOD_END)


@pytest.mark.parametrize("stage", [*BEFORE, "step_script-1", "after_script-1", *GOOD_END])
def test_nothing_follows_a_result_that_ends_the_job(stage: str) -> None:
    """When time is over or the pod is gone there is no cleanup stage either."""
    runs, _ = driven(FULL, {stage: JobTimeoutError("t")}, final=stage)
    assert runs[-1].attempt == stage


def test_failed_after_script_makes_a_failed_job_when_it_is_not_ignored() -> None:
    """With AFTER_SCRIPT_IGNORE_ERRORS=false the endings are those of a failure, and the error is the job's."""
    plan = Plan(after_script=True, ignore_after_script=False)
    failure = ScriptError(4)
    runs, results = driven(plan, {"after_script-1": failure})
    assert tuple(run.attempt for run in runs)[-3:] == BAD_END
    assert plan.error(results) is failure


def test_sources_are_fetched_again_after_clearing_the_worktree_once() -> None:
    """Before the second attempt the worktree is cleared, before later ones not; each waits twice as long."""
    plan = Plan(attempts={Stage.GET_SOURCES: 4})
    failing = {f"get_sources-{n}": ScriptError(1) for n in range(1, 4)} | {"clear_worktree-1": ScriptError(1)}
    runs, results = driven(plan, failing)
    assert runs[1:7] == [
        StageRun("get_sources"),
        StageRun("clear_worktree", retry=True, delay=5.0),
        StageRun("get_sources", 2),
        StageRun("get_sources", 3, retry=True, delay=10.0),
        StageRun("get_sources", 4, retry=True, delay=20.0),
        StageRun("restore_cache"),
    ]
    assert plan.error(results) is None


def test_last_attempt_decides() -> None:
    """When all attempts failed, the last error is the job's and no step runs."""
    plan = Plan(attempts={Stage.RESTORE_CACHE: 2})
    first, last = ScriptError(1), ScriptError(2)
    runs, results = driven(plan, {"restore_cache-1": first, "restore_cache-2": last})
    assert tuple(run.attempt for run in runs) == (*BEFORE[:3], "restore_cache-2", *BAD_END)
    assert plan.error(results) is last


@pytest.mark.parametrize(
    ("exponential", "delays"),
    [(True, [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]), (False, [1.0, 2.0, 4.0] + [5.0] * 6)],
    ids=["exponential", "short"],
)
def test_attempts_wait_longer_and_longer_up_to_a_bound(exponential: bool, delays: list[float]) -> None:
    """Five seconds doubling to five minutes, or one second doubling to five."""
    plan = Plan(attempts={Stage.DOWNLOAD_ARTIFACTS: 10}, exponential_backoff=exponential)
    runs, _ = driven(plan, {f"download_artifacts-{n}": ScriptError(1) for n in range(1, 11)})
    assert [run.delay for run in runs if run.retry] == delays


@pytest.mark.parametrize(
    ("fails", "winner"),
    [
        (["step_script-1", "archive_cache_on_failure-1", "upload_artifacts_on_failure-1"], "step_script-1"),
        (["archive_cache-1", "upload_artifacts_on_success-1"], "archive_cache-1"),
        (["upload_artifacts_on_success-1"], "upload_artifacts_on_success-1"),
        (["after_script-1", "upload_artifacts_on_success-1"], "upload_artifacts_on_success-1"),
        (["get_sources-1", "archive_cache_on_failure-1"], "get_sources-1"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
def test_error_of_the_script_counts_before_those_of_cache_and_artifacts(fails: list[str], winner: str) -> None:
    """One job has one error: the first in the order of importance."""
    errors: dict[str, JobError] = {name: ScriptError(index) for index, name in enumerate(fails, start=1)}
    _, results = driven(FULL, errors)
    assert FULL.error(results) is errors[winner]


def test_failed_preparation_is_explained() -> None:
    """The message says where it failed and what to read; reason and code stay."""
    _, results = driven(FULL, {"prepare_script-1": ScriptError(3)})
    error = FULL.error(results)
    assert isinstance(error, ScriptError)
    assert outcome_of(error) == Outcome(
        "failed",
        FailureReason.SCRIPT_FAILURE,
        3,
        "prepare environment: command terminated with exit code 3. "
        "Check https://docs.gitlab.com/runner/shells/#shell-profile-loading for more information",
    )


@pytest.mark.parametrize(
    "error",
    [JobCanceledError(), JobTimeoutError("t"), RunnerInterruptedError()],
    ids=["canceled", "timeout", "interrupted"],
)
def test_preparation_that_was_stopped_needs_no_advice(error: JobError) -> None:
    """Who cancels a job knows why it ended."""
    _, results = driven(FULL, {"prepare_script-1": error})
    assert FULL.error(results) is error


@pytest.mark.parametrize("stage", ["after_script-1", "cleanup_file_variables-1"])
def test_failure_of_no_consequence_leaves_a_success(stage: str) -> None:
    """after_script and cleanup do not fail a job."""
    _, results = driven(FULL, {stage: ScriptError(1)})
    assert FULL.error(results) is None


@pytest.mark.parametrize("stage", ["after_script-1", "cleanup_file_variables-1", "archive_cache-1"])
def test_error_that_ended_the_job_fails_it_wherever_it_came(stage: str) -> None:
    """A job whose pod was lost in after_script is no success."""
    lost = RunnerSystemError("pod lost")
    _, results = driven(FULL, {stage: lost}, final=stage)
    assert FULL.error(results) is lost


def test_error_of_the_script_counts_before_one_that_ended_the_job_later() -> None:
    """The pod was lost after the script had failed: the script's failure is what the user needs."""
    script = ScriptError(1)
    _, results = driven(
        FULL, {"step_script-1": script, "after_script-1": RunnerSystemError("l")}, final="after_script-1"
    )
    assert FULL.error(results) is script


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "success"),
        (ScriptError(1), "failed"),
        (JobCanceledError(), "canceled"),
        (JobTimeoutError("t"), "timedout"),
        (RunnerSystemError("x"), "failed"),
    ],
    ids=["none", "script", "canceled", "timeout", "system"],
)
def test_after_script_is_told_how_the_steps_ended(error: JobError | None, status: str) -> None:
    """CI_JOB_STATUS has one word for each end, and after_script's own end does not change it."""
    results = [
        StageResult("prepare_script"),
        StageResult("step_script", error),
        StageResult("after_script", ScriptError(9)),
    ]
    assert FULL.job_status(results) == status


def planned(payload: dict[str, object], values: dict[str, str] | None = None) -> Plan:
    """The plan of a job with these variables."""
    settings = JobSettings.of(Variables(Variable(key, value) for key, value in (values or {}).items()))
    return Plan.of(Job.parse({"id": 1, "token": "t", **payload}), settings)


def test_plan_of_a_job_takes_its_steps_and_settings() -> None:
    """Steps in their order without after_script, attempts and the fate of after_script from variables."""
    plan = planned(
        {
            "steps": [
                {"name": "script", "script": ["a"]},
                {"name": "after_script", "script": ["b"]},
                {"name": "Release", "script": ["c"]},
                {"name": "script", "script": ["again"]},
            ]
        },
        {"GET_SOURCES_ATTEMPTS": "3", "RESTORE_CACHE_ATTEMPTS": "2", "AFTER_SCRIPT_IGNORE_ERRORS": "false"},
    )
    assert plan == Plan(
        steps=("step_script", "step_release"),
        after_script=True,
        attempts={"get_sources": 3, "restore_cache": 2, "download_artifacts": 1},
        ignore_after_script=False,
    )


@pytest.mark.parametrize(
    "steps", [[], [{"name": "after_script", "script": []}]], ids=["no steps", "empty after_script"]
)
def test_plan_of_a_job_without_commands_has_no_scripts(steps: list[object]) -> None:
    """An after_script without commands is none."""
    assert planned({"steps": steps}) == Plan(
        steps=(), after_script=False, attempts={"get_sources": 1, "restore_cache": 1, "download_artifacts": 1}
    )


@pytest.mark.parametrize(
    ("name", "stage"),
    [("script", "step_script"), ("Release", "step_release"), ("my-step 1", "step_my_step_1"), ("é", "step__")],
)
def test_step_stage_can_stand_in_an_attempts_name(name: str, stage: str) -> None:
    """Lower case, and nothing but letters, digits and `_`."""
    assert step_stage(name) == stage


def test_attempt_names_its_stage() -> None:
    """The name of an attempt and the stage lead to each other."""
    assert attempt("get_sources", 2) == "get_sources-2"
    assert stage_of("get_sources-2") == "get_sources"
    assert StageRun("step_script", 3).attempt == "step_script-3"


@pytest.mark.parametrize(
    ("stage", "headline", "where"),
    [
        ("resolve_secrets", "Resolving secrets", "helper"),
        ("prepare_executor", 'Preparing the "kubernetes" executor', "helper"),
        ("prepare_script", "Preparing environment", "helper"),
        ("get_sources", "Getting source from Git repository", "helper"),
        ("clear_worktree", "Deleting all tracked and untracked files due to source fetch failure", "helper"),
        ("restore_cache", "Restoring cache", "helper"),
        ("download_artifacts", "Downloading artifacts", "helper"),
        ("step_script", 'Executing "step_script" stage of the job script', "build"),
        ("step_release", 'Executing "step_release" stage of the job script', "build"),
        ("step_any", 'Executing "step_any" stage of the job script', "build"),
        ("after_script", "Running after_script", "build"),
        ("archive_cache", "Saving cache for successful job", "helper"),
        ("archive_cache_on_failure", "Saving cache for failed job", "helper"),
        ("upload_artifacts_on_success", "Uploading artifacts for successful job", "helper"),
        ("upload_artifacts_on_failure", "Uploading artifacts for failed job", "helper"),
        ("cleanup_file_variables", "Cleaning up project directory and file based variables", "helper"),
    ],
)
def test_stage_has_its_headline_and_container(stage: str, headline: str, where: str) -> None:
    """The words in the log are GitLab Runner's; the user's commands run in the build container alone."""
    assert title(stage) == headline
    assert container(stage) == where


ERRORS: list[Callable[[], JobError] | None] = [None, None, lambda: ScriptError(1), lambda: JobConfigurationError("c")]


@given(st.data(), st.integers(1, 3), st.booleans(), st.booleans())
def test_any_course_of_a_job_ends_in_order(
    data: st.DataObject, attempts: int, after_script: bool, ignore_after_script: bool
) -> None:
    """Whatever fails: no attempt runs twice, the cleanup is last, after_script follows the steps, success is earned."""
    plan = Plan(
        steps=("step_script", "step_release"),
        after_script=after_script,
        attempts=dict.fromkeys(("get_sources", "restore_cache", "download_artifacts"), attempts),
        ignore_after_script=ignore_after_script,
    )
    runs: list[str] = []
    results: list[StageResult] = []
    while run := plan.next_stage(results):
        make = data.draw(st.sampled_from(ERRORS), label=run.attempt)
        runs.append(run.attempt)
        results.append(StageResult(run.stage, make() if make else None))
    order = [*BEFORE, "step_script-1", "step_release-1", "after_script-1", *GOOD_END]
    places = [order.index(name) for name in runs if name in order]
    assert len(set(runs)) == len(runs)
    assert all(one < other for one, other in pairwise(places))
    assert results[0].error or runs[-1] == "cleanup_file_variables-1"
    assert not any(result.error for result in results if result.stage.startswith("step_")) or plan.error(results)
    assert plan.error(results) or {"step_script-1", "step_release-1"} <= set(runs)
