"""`extends` and `!reference`."""

from collections.abc import Callable

import pytest

from runner.pipeline.findings import PipelineError
from runner.pipeline.model import Pipeline

Build = Callable[..., Pipeline]


def test_a_job_is_merged_over_what_it_extends(pipeline: Build) -> None:
    """Several parents in their order, several levels, mappings key by key, lists as a whole."""
    built = pipeline(
        ".base:\n  script: [base]\n  variables: {A: base, B: base}\n  timeout: 1h\n"
        ".more:\n  extends: .base\n  variables: {B: more, C: more}\n"
        ".last:\n  before_script: [last]\n  timeout: 2h\n"
        "job:\n  extends: [.more, .last]\n  variables: {C: own}\n"
    )
    (job,) = built.jobs
    assert job.script == ("last", "base")
    assert {each.key: each.value for each in job.variables} == {"A": "base", "B": "more", "C": "own"}
    assert job.timeout == 7200.0


def test_null_takes_back_what_is_extended(pipeline: Build) -> None:
    """GitLab's way to leave out a key."""
    built = pipeline(
        ".base: {script: [x], after_script: [y], image: a}\njob: {extends: .base, after_script: null, image: null}\n"
    )
    assert built.jobs[0].after_script == ()
    assert built.jobs[0].image is None


def test_references_are_put_in_and_lists_laid_flat(pipeline: Build) -> None:
    """A whole value, an entry of a list, a reference in what is referenced, and rules."""
    built = pipeline(
        ".setup:\n  script: [one, two]\n  image: alpine\n"
        ".more:\n  script: [!reference [.setup, script], three]\n"
        ".rules:\n  rules: [{if: $NEVER}, {when: always}]\n"
        "job:\n"
        "  image: !reference [.setup, image]\n"
        "  script:\n    - zero\n    - !reference [.more, script]\n"
        "  rules:\n    - !reference [.rules, rules]\n"
    )
    (job,) = built.jobs
    assert job.script == ("zero", "one", "two", "three")
    assert job.image is not None
    assert job.image.name == "alpine"
    assert job.when == "always"


def test_a_finding_in_a_referenced_part_has_its_own_line(pipeline: Build) -> None:
    """Not the line of the reference."""
    with pytest.raises(PipelineError) as raised:
        pipeline(".s:\n  script:\n    - x\n    - 5\njob:\n  script: !reference [.s, script]\n")
    assert raised.value.messages == (
        ".gitlab-ci.yml:4: `script` of `job` holds a number where a command has to be. Put it in quotes.",
    )


def test_a_finding_in_an_inherited_part_has_its_own_line(pipeline: Build) -> None:
    """Not the line of `extends`."""
    with pytest.raises(PipelineError) as raised:
        pipeline(".s:\n  script: x\n  retry: 9\njob:\n  extends: .s\n")
    assert raised.value.messages == (".gitlab-ci.yml:3: `retry` of `job` has to be a whole number from 0 to 2, not 9.",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {extends: .b}\n", "1: `extends` of `a` names `.b`, which is no job here."),
        ("a:\n  extends: [.b]\n.b: 3\n", "2: `extends` of `a` names `.b`, which is no job here."),
        ("a: {extends: b}\nb: {extends: a}\n", "2: `extends` of `b` runs in a circle: a -> b -> a."),
        ("a: {extends: [[3]]}\n", "1: `extends` of `a` has to be a text, not a number."),
        (
            "\n".join([f".j{n}: {{extends: .j{n + 1}}}" for n in range(13)] + [".j13: {script: x}"]),
            "12: `extends` of `.j11` goes through more than 11 jobs: ",
        ),
        ("a:\n  script: !reference [.b, script]\n", "2: `!reference [.b, script]` names nothing: there is no `.b`"),
        (
            "a:\n  script: !reference [.b, script]\n.b: {}\n",
            "2: `!reference [.b, script]` names nothing: there is no `script` in it.",
        ),
        ("a: {script: !reference [a, script]}\n", "1: `!reference` is nested more than 10 times."),
        ("a: !reference [a, script]\n", "1: `!reference` is nested more than 10 times."),
        (
            "\n".join([f".j{n}: [{', '.join([f'!reference [.j{n + 1}]'] * 20)}]" for n in range(8)] + [".j8: [x]"]),
            "8: `!reference` unfolds to more than 200000 values.",
        ),
    ],
    ids=["none", "no-job", "circle", "type", "deep", "no-target", "no-key", "itself", "itself-whole", "laughs"],
)
def test_what_cannot_be_resolved_is_an_error(pipeline: Build, text: str, message: str) -> None:
    """With the line of the word that names it."""
    with pytest.raises(PipelineError) as raised:
        pipeline(text)
    (found,) = raised.value.messages
    assert found.startswith(f".gitlab-ci.yml:{message}")
