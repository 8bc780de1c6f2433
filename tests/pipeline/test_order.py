"""Which jobs may start, and what becomes of those that do not: GitLab's rules as a table of small pipelines."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.findings import Place
from runner.pipeline.model import LocalJob, Pipeline, Retry
from runner.pipeline.order import JobState, Order

Build = Callable[..., Pipeline]


def play(pipeline: Pipeline, failing: Mapping[str, int], *, names: tuple[str, ...] = ()) -> tuple[list[str], Order]:
    """Run a pipeline in waves: the jobs that start together, in order; `failing` says with which code a job fails."""
    wanted = tuple(job for name in names for job in pipeline.named(name)) or pipeline.jobs
    order = Order(pipeline, wanted, named=bool(names))
    waves = []
    while starting := order.next_jobs():
        waves.append(" ".join(job.name for job in starting))
        for job in starting:
            code = failing.get(job.name, 0)
            order.finished(job.name, success=not code, reason="script_failure" if code else "", exit_code=code)
    return waves, order


def job(name: str, stage: str, **over: object) -> str:
    """A line of a file."""
    keywords = "".join(f", {key}: {value}" for key, value in over.items())
    return f"{name}: {{script: x, stage: {stage}{keywords}}}\n"


BUILD, TEST, DEPLOY = job("b", "build"), job("t", "test"), job("d", "deploy")
ALLOWED = job("b", "build", allow_failure="true")


@pytest.mark.parametrize(
    ("text", "failing", "waves", "states"),
    [
        (BUILD + TEST + DEPLOY, {}, ["b", "t", "d"], "success success success"),
        (BUILD + job("c", "build") + TEST, {}, ["b c", "t"], "success success success"),
        (BUILD + TEST + DEPLOY, {"b": 1}, ["b"], "failed skipped skipped"),
        (ALLOWED + TEST, {"b": 1}, ["b", "t"], "warning success"),
        (job("b", "build", allow_failure="{exit_codes: 3}") + TEST, {"b": 3}, ["b", "t"], "warning success"),
        (job("b", "build", allow_failure="{exit_codes: 3}") + TEST, {"b": 4}, ["b"], "failed skipped"),
        (BUILD + job("f", "test", when="on_failure") + DEPLOY, {}, ["b", "d"], "success skipped success"),
        (BUILD + job("f", "test", when="on_failure") + DEPLOY, {"b": 1}, ["b", "f"], "failed success skipped"),
        (ALLOWED + job("f", "test", when="on_failure"), {"b": 1}, ["b"], "warning skipped"),
        (BUILD + TEST + job("a", "deploy", when="always"), {"b": 1}, ["b", "a"], "failed skipped success"),
        (BUILD + job("m", "test", when="manual") + DEPLOY, {}, ["b", "d"], "success manual success"),
        (BUILD + job("m", "test", when="manual"), {"b": 1}, ["b"], "failed skipped"),
        (
            BUILD + job("m", "test", when="manual", allow_failure="false") + DEPLOY,
            {},
            ["b"],
            "success manual skipped",
        ),
        (job("m", "build", when="manual") + job("t", "test", needs="[m]"), {}, [], "manual skipped"),
        (job("m", "build", when="manual") + job("t", "test", needs="[m]", when="always"), {}, ["t"], "manual success"),
        (BUILD + job("t", "test", needs="[]"), {}, ["b t"], "success success"),
        (BUILD + job("c", "build") + job("t", "test", needs="[c]"), {"b": 1}, ["b c", "t"], "failed success success"),
        (
            BUILD + job("t", "test", needs="[b]") + job("d", "deploy", needs="[t]"),
            {"b": 1},
            ["b"],
            "failed skipped skipped",
        ),
        (
            BUILD + job("f", "test", needs="[b]", when="on_failure") + job("d", "deploy", needs="[f]"),
            {},
            ["b"],
            "success skipped skipped",
        ),
        (job("x", "test", needs="[y]") + job("y", "test"), {}, ["y", "x"], "success success"),
        (
            job("x", "test", parallel=2) + job("d", "deploy", needs="[x]"),
            {"x 1/2": 1},
            ["x 1/2 x 2/2"],
            "failed success skipped",
        ),
        (
            job("x", "test", resource_group="g") + job("y", "test", resource_group="g") + job("z", "test"),
            {},
            ["x z", "y"],
            "success success success",
        ),
        (job("x", "build", when="delayed", start_in="1 day") + TEST, {}, ["x", "t"], "success success"),
    ],
)
def test_jobs_start_and_end_as_in_gitlab(
    pipeline: Build, text: str, failing: dict[str, int], waves: list[str], states: str
) -> None:
    """Stages, needs, `when`, `allow_failure` and groups."""
    found, order = play(pipeline(text), failing)
    assert found == waves
    assert " ".join(order.states.values()) == states
    assert order.over
    assert order.failed is ("failed" in states.split())


def test_why_a_job_did_not_run_is_told(pipeline: Build) -> None:
    """In a few words."""
    text = (
        BUILD
        + job("t", "test")
        + job("m", "test", when="manual", allow_failure="false", needs="[]")
        + job("n", "test", needs="[t]")
        + DEPLOY
        + job("f", "deploy", needs="[b]", when="on_failure")
    )
    assert play(pipeline(text), {"b": 1})[1].notes == {"t": "b failed", "n": "t did not run", "d": "waits for m"}
    assert play(pipeline(text), {})[1].notes == {"d": "waits for m", "f": "nothing failed"}


@pytest.mark.parametrize(
    ("names", "waves"),
    [
        (("m",), ["m"]),
        (("f",), ["f"]),
        (("d", "b"), ["b", "d"]),
        (("b", "f"), ["b", "f"]),
        (("x", "d"), ["x 1/2 x 2/2", "d"]),
    ],
)
def test_named_jobs_run_without_the_others(pipeline: Build, names: tuple[str, ...], waves: list[str]) -> None:
    """Those that wait for a hand or a failure too, in the order of the stages."""
    built = pipeline(
        BUILD
        + job("x", "build", parallel=2)
        + job("m", "test", when="manual")
        + job("f", "test", when="on_failure")
        + DEPLOY
    )
    assert play(built, {}, names=names)[0] == waves


@pytest.mark.parametrize(
    ("retry", "failures", "tries"),
    [
        (Retry(), [("script_failure", 1)], 1),
        (Retry(most=2), [("script_failure", 1)] * 3, 3),
        (Retry(most=2), [("script_failure", 1)], 2),
        (Retry(most=2, when=("runner_system_failure",)), [("script_failure", 1)], 1),
        (Retry(most=2, when=("runner_system_failure",)), [("runner_system_failure", 0)] * 3, 3),
        (Retry(most=1, when=(), exit_codes=(137,)), [("script_failure", 137)], 2),
        (Retry(most=1, when=(), exit_codes=(137,)), [("script_failure", 1)], 1),
        (Retry(most=1, when=("api_failure",), exit_codes=(137,)), [("script_failure", 137)], 2),
    ],
)
def test_a_failed_job_is_tried_again_as_often_as_it_says(
    retry: Retry, failures: list[tuple[str, int]], tries: int
) -> None:
    """By reason or by exit code; a try that succeeds ends it."""
    only = LocalJob(name="a", base="a", stage="test", place=Place("f", 1), script=("x",), retry=retry)
    order = Order(Pipeline(stages=("test",), jobs=(only,)), (only,), named=False)
    left = list(failures)
    seen = 0
    while order.next_jobs():
        seen += 1
        reason, code = left.pop(0) if left else ("", 0)
        order.finished("a", success=not reason, reason=reason, exit_code=code)
    assert seen == tries


def test_nothing_starts_after_a_stop(pipeline: Build) -> None:
    """What ran counts as canceled, unless it has ended well after all."""
    built = pipeline(job("a", "build", retry=2) + job("c", "build") + TEST)
    order = Order(built, built.jobs, named=False)
    assert [each.name for each in order.next_jobs()] == ["a", "c"]
    order.stop()
    assert order.finished("a", success=False, reason="script_failure", exit_code=1) is False
    assert order.finished("c", success=True) is False
    assert order.next_jobs() == ()
    assert order.states == {"a": JobState.CANCELED, "c": JobState.SUCCESS, "t": JobState.CANCELED}
    assert order.over
    assert not order.failed


WHENS = st.sampled_from(["on_success", "on_failure", "always", "manual", "delayed"])


@given(
    st.lists(st.tuples(st.integers(0, 2), WHENS, st.booleans(), st.none() | st.sets(st.integers(0, 7))), max_size=8),
    st.sets(st.integers(0, 7)),
    st.booleans(),
)
def test_every_pipeline_comes_to_an_end(
    drawn: list[tuple[int, str, bool, set[int] | None]], failing: set[int], named: bool
) -> None:
    """Whatever fails, no job starts twice without a retry, and none is left waiting."""
    stages = ("one", "two", "three")
    jobs = tuple(
        LocalJob(
            name=str(number),
            base=str(number),
            stage=stages[stage],
            place=Place("f", 1),
            script=("x",),
            when=when,
            allow_failure=allowed,
            # Needs of earlier jobs only: that they run in no circle is checked before.
            needs=None if needs is None else tuple(str(other) for other in sorted(needs) if other < number),
        )
        for number, (stage, when, allowed, needs) in enumerate(sorted(drawn, key=lambda each: each[0]))
    )
    order = Order(Pipeline(stages=stages, jobs=jobs), jobs, named=named)
    started: list[str] = []
    while starting := order.next_jobs():
        for each in starting:
            started.append(each.name)
            order.finished(each.name, success=int(each.name) not in failing, reason="script_failure", exit_code=1)
    assert order.over
    assert len(started) == len(set(started))
