"""`include`: files of this repository become one tree, the rest is left out with a warning."""

from collections.abc import Callable

import pytest

from runner.pipeline.build import build_pipeline
from runner.pipeline.files import Files
from runner.pipeline.findings import PipelineError
from runner.pipeline.model import Pipeline

Build = Callable[..., Pipeline]


def scripts(pipeline: Pipeline) -> dict[str, tuple[str, ...]]:
    """The script of each job."""
    return {job.name: job.script for job in pipeline.jobs}


def warnings(pipeline: Pipeline) -> list[str]:
    """The warnings as texts."""
    return [str(warning) for warning in pipeline.warnings]


@pytest.mark.parametrize(
    "include",
    [
        "include: ci/one.yml",
        "include: /ci/one.yml",
        "include: [ci/one.yml]",
        "include: {local: ci/one.yml}",
        "include:\n  - local: /ci/one.yml",
        "include: ci/$WHICH.yml",
    ],
    ids=["text", "slash", "list", "mapping", "list-of-mappings", "variable"],
)
def test_an_included_file_is_read_in_every_form(pipeline: Build, include: str) -> None:
    """A text, a list and a mapping mean the same."""
    built = pipeline(
        f"{include}\nown: {{script: own}}\n", files={"ci/one.yml": "one: {script: one}\n"}, extra={"WHICH": "one"}
    )
    assert scripts(built) == {"one": ("one",), "own": ("own",)}
    assert warnings(built) == []


def test_the_including_file_wins_key_by_key(pipeline: Build) -> None:
    """Mappings are merged, all else is replaced; later files win over earlier ones."""
    built = pipeline(
        "include: [a.yml, b.yml]\njob:\n  variables: {C: root}\n",
        files={
            "a.yml": "job:\n  script: [a]\n  variables: {A: a, B: a, C: a}\n",
            "b.yml": "job:\n  script: [b]\n  variables: {B: b, C: b}\n",
        },
    )
    (job,) = built.jobs
    assert job.script == ("b",)
    assert {each.key: each.value for each in job.variables} == {"A": "a", "B": "b", "C": "root"}


def test_included_files_include_others(pipeline: Build) -> None:
    """Paths are always from the root, and the innermost comes first."""
    built = pipeline(
        "include: ci/a.yml\n",
        files={"ci/a.yml": "include: ci/b.yml\nx: {script: a}\n", "ci/b.yml": "x: {script: b}\ny: {script: b}\n"},
    )
    assert scripts(built) == {"x": ("a",), "y": ("b",)}


def test_wildcards_name_files_in_order(pipeline: Build) -> None:
    """A glob that finds nothing is warned of."""
    built = pipeline(
        "include:\n  - ci/*.yml\n  - none/**/*.yml\n",
        files={"ci/b.yml": "j: {script: b}", "ci/a.yml": "j: {script: a}", "ci/x/c.yml": "k: {script: c}"},
    )
    assert scripts(built) == {"j": ("b",)}
    assert warnings(built) == [".gitlab-ci.yml:3: `include` of `none/**/*.yml` finds no file"]


def test_what_is_elsewhere_is_left_out_with_a_warning(pipeline: Build) -> None:
    """Projects, templates, components and addresses need GitLab or a network."""
    built = pipeline(
        "include:\n"
        "  - project: a/b\n    file: c.yml\n"
        "  - template: Auto-DevOps.gitlab-ci.yml\n"
        "  - component: $CI_SERVER_FQDN/x@1\n"
        "  - remote: https://example.com/x.yml\n"
        "  - https://example.com/y.yml\n"
        "a: {script: x}\n"
    )
    left_out = "is not in this repository and left out"
    assert warnings(built) == [
        f".gitlab-ci.yml:2: `include:project` {left_out}: a/b",
        f".gitlab-ci.yml:4: `include:template` {left_out}: Auto-DevOps.gitlab-ci.yml",
        f".gitlab-ci.yml:5: `include:component` {left_out}: $CI_SERVER_FQDN/x@1",
        f".gitlab-ci.yml:6: `include:remote` {left_out}: https://example.com/x.yml",
        f".gitlab-ci.yml:7: `include:remote` {left_out}: https://example.com/y.yml",
    ]


def test_rules_of_an_include_are_evaluated(pipeline: Build) -> None:
    """By GitLab's and the command line's variables, and by files."""
    built = pipeline(
        "include:\n"
        "  - {local: a.yml, rules: [{if: '$CI_COMMIT_BRANCH == \"main\"'}]}\n"
        "  - {local: b.yml, rules: [{if: $NEVER}]}\n"
        "  - {local: c.yml, rules: [{exists: [Dockerfile]}]}\n"
        "  - {local: d.yml, rules: [{if: $CI_COMMIT_BRANCH, when: never}]}\n",
        files={f"{name}.yml": f"{name}: {{script: x}}" for name in "abcd"},
        committed=("Dockerfile",),
    )
    assert list(scripts(built)) == ["a", "c"]


def test_inputs_are_warned_of(pipeline: Build) -> None:
    """`spec` and `inputs` are not carried out."""
    built = pipeline(
        "include:\n  - local: a.yml\n    inputs: {x: 1}\n",
        files={"a.yml": "spec:\n  inputs: {x: {}}\n---\na: {script: x}\n"},
    )
    assert list(scripts(built)) == ["a"]
    assert warnings(built) == [
        ".gitlab-ci.yml:3: `include:inputs` are not passed on",
        "a.yml:1: `spec` is not read: `$[[ inputs.… ]]` stay as they are",
    ]


def test_findings_name_the_file_that_they_are_in(pipeline: Build) -> None:
    """A job of an included file is found there, even when another file adds to it."""
    with pytest.raises(PipelineError) as raised:
        pipeline("include: a.yml\nj:\n  image: x\n", files={"a.yml": "\nj:\n  script: x\n  timeout: soon\n"})
    assert raised.value.messages == ("a.yml:4: `timeout` of `j` is no duration such as `1h 30m`: 'soon'.",)


@pytest.mark.parametrize(
    ("text", "files", "message"),
    [
        ("include: a.yml\n", {}, ".gitlab-ci.yml:1: the included file `a.yml` is not there."),
        (
            "include:\n  - a.yml\n",
            {"a.yml": "include: b.yml", "b.yml": "x: y\ninclude: a.yml"},
            "b.yml:2: `a.yml` includes itself: .gitlab-ci.yml -> a.yml -> b.yml -> a.yml.",
        ),
        ("include: a.json\n", {}, ".gitlab-ci.yml:1: `include` takes files that end in .yml or .yaml, not `a.json`."),
        (
            "include: 3\n",
            {},
            ".gitlab-ci.yml:1: `include` takes files or mappings such as `local: path`, not a number.",
        ),
        (
            "include: {file: a.yml}\n",
            {},
            ".gitlab-ci.yml:1: `include` needs `local`, `project`, `remote`, `template` or `component`.",
        ),
        ("include: a.yml\n", {"a.yml": "- x"}, "a.yml:1: a pipeline is a mapping of jobs, this is a list."),
        ("include: a.yml\n", {"a.yml": "x: [\n"}, "a.yml:2: this is no YAML: the file ends inside of brackets."),
        ("include: ['**/*.yml']\n", {f"{n}.yml": "" for n in range(151)}, ".gitlab-ci.yml:1: "),
    ],
    ids=["missing", "circle", "json", "number", "mapping", "list", "broken", "too-many"],
)
def test_an_include_that_cannot_be_read_is_an_error(
    pipeline: Build, text: str, files: dict[str, str], message: str
) -> None:
    """With the place of the `include`, or of the mistake in the included file."""
    with pytest.raises(PipelineError) as raised:
        pipeline(text, files=files)
    assert raised.value.messages[0].startswith(message)


def test_a_file_that_is_not_there_says_so() -> None:
    """The pipeline's own file."""
    with pytest.raises(PipelineError) as raised:
        build_pipeline("x.yml", Files(read=lambda _: None), predefined={})
    assert raised.value.messages == ("there is no x.yml here: write one, or name another with --file.",)
