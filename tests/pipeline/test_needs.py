"""`needs`: from words to jobs."""

from collections.abc import Callable

import pytest

from runner.pipeline.findings import PipelineError
from runner.pipeline.model import Pipeline

Build = Callable[..., Pipeline]


def needs(pipeline: Pipeline) -> dict[str, tuple[str, ...] | None]:
    """What each job needs."""
    return {job.name: job.needs for job in pipeline.jobs}


def test_needs_are_named_in_every_form(pipeline: Build) -> None:
    """None and an empty list are two things."""
    built = pipeline(
        "a: {script: x, stage: build}\nb: {script: x, stage: build, needs: []}\n"
        "c: {script: x, needs: [a]}\nd: {script: x, needs: [{job: a, artifacts: false}, b]}\ne: {script: x, needs: a}\n"
    )
    assert needs(built) == {"a": None, "b": (), "c": ("a",), "d": ("a", "b"), "e": ("a",)}


def test_a_need_means_all_copies_or_one(pipeline: Build) -> None:
    """By the job's name, by a copy's, or by values of the matrix."""
    built = pipeline(
        "a: {script: x, parallel: 2}\n"
        "m: {script: x, parallel: {matrix: [{OS: [linux, mac], V: [1, 2]}]}}\n"
        "one: {script: x, stage: deploy, needs: [a]}\n"
        "two: {script: x, stage: deploy, needs: [a 2/2, 'm: [mac, 1]']}\n"
        "three: {script: x, stage: deploy, needs: [{job: m, parallel: {matrix: [{OS: mac, V: [1, 2]}]}}]}\n"
    )
    found = needs(built)
    assert found["one"] == ("a 1/2", "a 2/2")
    assert found["two"] == ("a 2/2", "m: [mac, 1]")
    assert found["three"] == ("m: [mac, 1]", "m: [mac, 2]")


def test_an_optional_need_may_be_left_out(pipeline: Build) -> None:
    """By its rules, or by not being there at all."""
    built = pipeline(
        "a: {script: x, rules: [{if: $NEVER}]}\n"
        "b:\n  script: x\n  needs: [{job: a, optional: true}, {job: z, optional: true}]\n"
    )
    assert needs(built) == {"b": ()}


def test_needs_of_other_pipelines_are_left_out_with_a_warning(pipeline: Build) -> None:
    """They need GitLab."""
    built = pipeline("a:\n  script: x\n  needs:\n    - {project: p/q, job: b, ref: main}\n    - pipeline: $P\n")
    assert needs(built) == {"a": ()}
    message = "`needs` on another project or pipeline is left out: it needs GitLab"
    assert [str(warning) for warning in built.warnings] == [
        f".gitlab-ci.yml:4: {message}",
        f".gitlab-ci.yml:5: {message}",
    ]


def test_jobs_of_one_stage_may_need_each_other(pipeline: Build) -> None:
    """Needs cross stages only forward, but may stay within one."""
    assert needs(pipeline("b: {script: x, needs: [a]}\na: {script: x}\n")) == {"b": ("a",), "a": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n  script: x\n  needs: [biuld]\nbuild: {script: x}\n", "3: `a` needs `biuld`, which does not exist"),
        (
            "a:\n  script: x\n  needs:\n    - b\nb: {script: x, rules: [{if: $NEVER}]}\n",
            "4: `a` needs `b`, which its rules leave out: add `optional: true` to the need, or a rule.",
        ),
        (
            "a:\n  script: x\n  stage: build\n  needs: [b]\nb: {script: x}\n",
            "4: `a` needs `b`, but `test` is a later stage than `build`.",
        ),
        ("a:\n  script: x\n  needs: [a]\n", "1: `needs` runs in a circle: a -> a."),
        (
            "z: {script: x, needs: [a]}\na: {script: x, needs: [b]}\nb: {script: x, needs: [c]}\n"
            "c: {script: x, needs: [a]}\n",
            "2: `needs` runs in a circle: a -> b -> c -> a.",
        ),
        (
            "m: {script: x, parallel: {matrix: [{A: [1]}]}}\n"
            "a:\n  script: x\n  needs: [{job: m, parallel: {matrix: [{A: 2}]}}]\n",
            "4: `a` needs `m`, which has no copy of this `matrix`.",
        ),
        ("a:\n  script: x\n  needs: 3\n", "3: `needs` of `a` has to be a text, not a number."),
        ("a:\n  script: x\n  needs: [{optional: true}]\n", "3: `needs` of `a` needs a `job`."),
        ("a:\n  script: x\n  needs: [{job: [x]}]\n", "3: `needs:job` of `a` has to be a text, not a list."),
    ],
    ids=["none", "left-out", "later", "itself", "circle", "matrix", "number", "no-job", "list"],
)
def test_a_need_that_cannot_be_kept_is_an_error(pipeline: Build, text: str, message: str) -> None:
    """With the line of the need."""
    with pytest.raises(PipelineError) as raised:
        pipeline(text)
    assert raised.value.messages[0].startswith(f".gitlab-ci.yml:{message}")


def test_a_long_chain_is_no_circle(pipeline: Build) -> None:
    """And is found in no time."""
    text = "".join(f"j{n}: {{script: x, needs: [j{n + 1}]}}\n" for n in range(300)) + "j300: {script: x}\n"
    assert len(pipeline(text).jobs) == 301
