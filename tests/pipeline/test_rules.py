"""`rules`, `workflow:rules`, `only` and `except`: which jobs are in a pipeline, and how."""

from collections.abc import Callable

import pytest

from runner.pipeline.findings import PipelineError
from runner.pipeline.model import Pipeline

Build = Callable[..., Pipeline]
WHENS = "on_success, on_failure, always, manual, delayed, never"


def when_of(pipeline: Pipeline) -> str | None:
    """The `when` of the only job, None when it is left out."""
    return pipeline.jobs[0].when if pipeline.jobs else None


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("[]", None),
        ("[{when: always}]", "always"),
        ("[{when: never}]", None),
        ("[{if: $CI_COMMIT_TAG}]", None),
        ("[{if: $CI_COMMIT_BRANCH}]", "on_success"),
        ("[{if: $CI_COMMIT_BRANCH, when: manual}, {when: always}]", "manual"),
        ("[{if: $CI_COMMIT_TAG, when: manual}, {when: always}]", "always"),
        ("[{if: '$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH', when: never}, {when: always}]", None),
        ("[{if: '$CI_PIPELINE_SOURCE == \"merge_request_event\"'}]", None),
        ("[{if: '$GLOBAL == \"job\"'}]", "on_success"),
        ('[{if: \'$CI_JOB_NAME == "a" && $CI_JOB_STAGE == "test"\'}]', "on_success"),
        ("[{if: '$EXTRA == \"line\"'}]", "on_success"),
        ("[{exists: [Dockerfile]}]", "on_success"),
        ("[{exists: ['**/*.go']}]", "on_success"),
        ("[{exists: ['*.go', '*.rs']}]", None),
        ("[{exists: [$DIR/main.go]}]", "on_success"),
        ("[{exists: {paths: [Dockerfile]}}]", "on_success"),
        ("[{exists: []}]", None),
        ("[{if: $CI_COMMIT_TAG, exists: [Dockerfile]}]", None),
        ("[[{if: $CI_COMMIT_TAG}], [[{when: manual}]]]", "manual"),
    ],
)
def test_the_first_rule_that_holds_decides(pipeline: Build, rules: str, expected: str | None) -> None:
    """By variables and files; without a `when` the job's own counts."""
    built = pipeline(
        f"variables: {{GLOBAL: global, EXTRA: file, DIR: src}}\na:\n  script: x\n  variables: {{GLOBAL: job}}\n"
        f"  rules: {rules}\n",
        committed=("Dockerfile", "src/main.go"),
        extra={"EXTRA": "line"},
    )
    assert when_of(built) == expected
    assert built.left_out == (() if expected else ("a",))
    assert built.warnings == ()


def test_a_rule_gives_variables_needs_and_allow_failure(pipeline: Build) -> None:
    """They go before those of the job, and exit codes are off then."""
    built = pipeline(
        "b: {script: x, stage: build}\nc: {script: x, stage: build}\n"
        "a:\n  script: x\n  needs: [c]\n  allow_failure: {exit_codes: 3}\n  variables: {A: job, B: job}\n"
        "  rules:\n    - if: $CI_COMMIT_BRANCH\n      variables: {B: rule}\n      needs: [b]\n"
        "      allow_failure: true\n"
    )
    job = built.job("a")
    assert job is not None
    assert job.needs == ("b",)
    assert (job.allow_failure, job.allowed_exit_codes) == (True, ())
    assert [(each.key, each.value) for each in job.variables] == [("A", "job"), ("B", "job"), ("B", "rule")]


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("when: manual", True),
        ("when: manual, allow_failure: false", False),
        ("when: manual, rules: [{if: $CI_COMMIT_BRANCH}]", True),
        ("rules: [{when: manual}]", False),
        ("rules: [{when: manual, allow_failure: true}]", True),
        ("allow_failure: true, rules: [{when: manual}]", True),
        ("allow_failure: true", True),
        ("", False),
    ],
)
def test_a_manual_job_may_be_left_alone_unless_a_rule_made_it_one(pipeline: Build, job: str, expected: bool) -> None:
    """GitLab's default of `allow_failure` differs between the two."""
    assert pipeline(f"a: {{script: x, {job}}}\n").jobs[0].allow_failure is expected


def test_changes_are_taken_as_true_with_a_warning(pipeline: Build) -> None:
    """Once for each place, however many copies look at it, and only when it matters."""
    built = pipeline(
        "a:\n  script: x\n  parallel: 3\n  rules:\n    - if: $NEVER\n      changes: [x]\n    - changes: [y]\n"
    )
    assert len(built.jobs) == 3
    assert [str(warning) for warning in built.warnings] == [
        ".gitlab-ci.yml:7: `rules:changes` is taken as true: what changed is not known here"
    ]


def test_words_of_a_rule_that_are_not_known_are_warned_of(pipeline: Build) -> None:
    """And `exists` in another project is."""
    built = pipeline("a:\n  script: x\n  rules:\n    - exists: {project: a/b, paths: [x]}\n      unless: x\n")
    assert [str(warning) for warning in built.warnings] == [
        ".gitlab-ci.yml:5: `rules:unless` is not understood and left out",
        ".gitlab-ci.yml:4: `rules:exists:project` is taken as true: it needs GitLab",
    ]


def test_each_copy_of_a_matrix_has_its_own_rules(pipeline: Build) -> None:
    """Rules see the variables of the copy."""
    built = pipeline(
        "a:\n  script: x\n  parallel: {matrix: [{OS: [linux, mac]}]}\n  rules: [{if: '$OS == \"linux\"'}]\n"
    )
    assert [job.name for job in built.jobs] == ["a: [linux]"]
    assert built.left_out == ()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("{if: $A}", "3: `rules` of `a` has to be a list, not a mapping."),
        ("[$A]", "3: `rules` of `a` has to be a mapping, not a text."),
        (
            "\n    - if: $A\n    - if: $A ==\n",
            "5: `rules:if` of `a` cannot be evaluated: the expression `$A ==` cannot",
        ),
        ("[{if: true}]", "3: `rules:if` of `a` has to be a text, not true."),
        ("[{when: soon}]", f"3: `rules:when` of `a` is `soon`, which is none of {WHENS}."),
        ("[{allow_failure: x}]", "3: `rules:allow_failure` of `a` has to be true or false, not a text."),
        ("[{variables: x}]", "3: `rules:variables` of `a` has to be a mapping, not a text."),
        ("[{needs: [z]}]", "3: `a` needs `z`, which does not exist."),
        ("[{when: delayed}]", "1: `a` is `delayed` and needs `start_in`."),
        ("[{when: delayed, start_in: soon}]", "3: `rules:start_in` of `a` is no duration such as `1h 30m`: 'soon'."),
        ("[]\n  only: [main]", "4: `only` of `a` cannot stand beside `rules`: write its conditions as rules."),
    ],
)
def test_a_rule_that_cannot_be_read_is_an_error(pipeline: Build, rules: str, message: str) -> None:
    """With its line."""
    with pytest.raises(PipelineError) as raised:
        pipeline(f"a:\n  script: x\n  rules: {rules}")
    (found,) = raised.value.messages
    assert found.startswith(f".gitlab-ci.yml:{message}")


# Workflow --------------------------------------------------------------------------------------------------------


def test_a_workflow_gives_variables_and_a_name(pipeline: Build) -> None:
    """Over the global variables and below the job's; the name may use them."""
    built = pipeline(
        "workflow:\n  name: 'to $TARGET ($CI_COMMIT_BRANCH, $NOBODY)'\n  rules:\n"
        "    - if: $CI_COMMIT_TAG\n    - if: $CI_COMMIT_BRANCH\n      variables: {TARGET: stage, B: workflow}\n"
        "variables: {TARGET: none, B: global}\n"
        "a: {script: x, variables: {B: job}}\n"
    )
    assert built.name == "to stage (main, $NOBODY)"
    assert {each.key: each.value for each in built.jobs[0].variables} == {"TARGET": "stage", "B": "job"}


@pytest.mark.parametrize(
    "rules", ["[{if: $CI_COMMIT_TAG}]", "[{when: never}]", "[{if: $CI_COMMIT_BRANCH, when: never}, {when: always}]"]
)
def test_a_workflow_may_want_no_pipeline(pipeline: Build, rules: str) -> None:
    """Then all jobs are left out."""
    built = pipeline(f"workflow: {{rules: {rules}}}\na: {{script: x}}\nb: {{script: x}}\n")
    assert (built.jobs, built.left_out, built.workflow_refused) == ((), ("a", "b"), True)


# only and except -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "included"),
    [
        ("only: [main]", True),
        ("only: main", True),
        ("only: [other]", False),
        ("only: [branches]", True),
        ("only: [tags]", False),
        ("only: [pushes]", True),
        ("only: [push]", True),
        ("only: [merge_requests, schedules, web]", False),
        ("only: [/^ma/]", True),
        ("only: [/^MA/i]", True),
        ("only: [/^other/]", False),
        ("only: [main@acme/demo]", True),
        ("only: [main@other/demo]", False),
        ("except: [main]", False),
        ("except: [tags]", True),
        ("only: [branches], except: [/^ma/]", False),
        ("only: {refs: [main]}", True),
        ("only: {refs: [main], variables: ['$A == \"x\"']}", False),
        ("only: {variables: ['$A == \"x\"', $CI_COMMIT_BRANCH]}", True),
        ("except: {variables: [$CI_COMMIT_BRANCH]}", False),
        ("except: {refs: [other], variables: [$NEVER]}", True),
    ],
)
def test_only_and_except_choose_by_ref_and_variables(pipeline: Build, words: str, included: bool) -> None:
    """For a push to main of acme/demo."""
    built = pipeline(f"a: {{script: x, {words}}}\n")
    assert bool(built.jobs) is included
    assert built.warnings == ()


def test_only_for_another_source(pipeline: Build) -> None:
    """The command line may say that this is a schedule, or a tag."""
    text = "a: {script: x, only: [schedules]}\nb: {script: x, only: [tags]}\nc: {script: x}\n"
    assert [job.name for job in pipeline(text, extra={"CI_PIPELINE_SOURCE": "schedule"}).jobs] == ["a", "c"]
    assert [job.name for job in pipeline(text, extra={"CI_COMMIT_TAG": "v1"}).jobs] == ["b", "c"]
    merge_request = {"CI_PIPELINE_SOURCE": "merge_request_event"}
    assert [job.name for job in pipeline(text, extra=merge_request).jobs] == []


def test_what_only_cannot_know_is_warned_of(pipeline: Build) -> None:
    """Changes hold, a cluster is not there."""
    built = pipeline("a:\n  script: x\n  only:\n    changes: [x]\nb:\n  script: x\n  only: {kubernetes: active}\n")
    assert [job.name for job in built.jobs] == ["a"]
    assert [str(warning) for warning in built.warnings] == [
        ".gitlab-ci.yml:4: `only:changes` is taken as true: what changed is not known here",
        ".gitlab-ci.yml:7: `only:kubernetes` is taken as false: the project has no cluster here",
    ]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("{branches: [main]}", "2: `only` of `a` takes refs, variables, changes, kubernetes, not `branches`."),
        ("[/(/]", "2: `only` of `a` cannot be evaluated: the pattern /(/ cannot be read"),
        ("{variables: ['$A ==']}", "2: `only:variables` of `a` cannot be evaluated: the expression"),
        ("[[{x: y}]]", "2: `only` of `a` has to be a text, not a mapping."),
    ],
)
def test_only_that_cannot_be_read_is_an_error(pipeline: Build, only: str, message: str) -> None:
    """With its line."""
    with pytest.raises(PipelineError) as raised:
        pipeline(f"a:\n  only: {only}\n  script: x\n")
    assert raised.value.messages[0].startswith(f".gitlab-ci.yml:{message}")
