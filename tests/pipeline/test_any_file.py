"""No file raises anything but PipelineError, and none takes long."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.pipeline.build import build_pipeline
from runner.pipeline.files import Files
from runner.pipeline.findings import PipelineError
from runner.pipeline.model import Pipeline
from runner.pipeline.payload import job_payload
from runner.pipeline.predefined import Checkout, Occasion, predefined

CHECKOUT = Checkout(path="a/b", repo_url="http://h/a/b.git", ref="main", sha="0" * 40)
OCCASION = Occasion(server_url="http://h", pipeline_id=1)


def build(text: str) -> None:
    """Build a pipeline as far as it can be built, and the payload of each job."""
    texts = {".gitlab-ci.yml": text, "a.yml": ".a: {script: x}", "b.yml": text}
    files = Files(read=texts.get, names=lambda: texts, committed=lambda: texts)
    with suppress(PipelineError):
        found = build_pipeline(".gitlab-ci.yml", files, predefined=predefined(CHECKOUT, OCCASION), extra={"E": "$E"})
        for job in found.jobs:
            payload = job_payload(job, id=1, token="t", checkout=CHECKOUT, occasion=OCCASION, extra={})
            assert payload["steps"]


KEYWORDS = [
    "script", "before_script", "after_script", "stage", "image", "services", "variables", "rules", "only", "except",
    "needs", "dependencies", "when", "start_in", "allow_failure", "parallel", "retry", "timeout", "inherit", "hooks",
    "environment", "resource_group", "artifacts", "cache", "run", "trigger", "extends", "secrets", "tags", "default",
    "include", "workflow", "stages", "spec", "if", "changes", "exists", "matrix", "name", "value", "expand", "options",
    "max", "exit_codes", "job", "optional", "local", "entrypoint", "command", "pull_policy", "kubernetes", "refs", "a",
    "b", ".a",
]  # fmt: skip
WORDS = st.sampled_from(
    [*KEYWORDS, "x", "test", "build", "manual", "delayed", "always", "never", "$A", "$A == $B", "/x/", "1h", "a.yml",
     "*.yml", "b.yml", "main", "branches", "pull", "", "\n", "\ud7ff", "é"]
)  # fmt: skip
SCALARS = WORDS | st.integers(-3, 300) | st.booleans() | st.none() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=12,
)
FILES = st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=6)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_a_file_of_the_right_words_never_raises_anything_else(tree: dict[str, Any]) -> None:
    """Keywords everywhere, with values of every kind."""
    build(yaml.safe_dump(tree, allow_unicode=True))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(FILES.filter(bool))
def test_a_job_of_the_right_words_never_raises_anything_else(job: dict[str, Any]) -> None:
    """The same inside of one job that has a script, so that more of it is read."""
    build(yaml.safe_dump({"job": {**job, "script": "x"}, "a": {"script": "y"}}, allow_unicode=True))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!#|>'\"%@`,? \n\t<=~0.\x85\ufeff\\u", max_size=60) | st.text(max_size=60))
def test_a_random_text_never_raises_anything_else(text: str) -> None:
    """Whatever YAML's scanner makes of it."""
    build(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: {script: x, timeout: .inf}",
        "a: {script: x, timeout: 1e400}",
        "a: {script: x, variables: {A: .nan, B: 1e400}}",
        "a: {script: x, parallel: .inf}",
        "a: {script: x, retry: 1.0}",
        "a: {script: x, needs: [.inf]}",
        "? \n: {script: x}",
        "a: {script: x, extends: [[[.a]]]}",
        "a: " + "{a: " * 99 + "x" + "}" * 99,
        "a: {script: " + "[" * 95 + "x" + "]" * 95 + "}",
        "a: {script: x, rules: [{if: '" + "(" * 3000 + "'}]}",
        "a: {script: x, only: ['/(a+)+$/']}",
        "a: {script: x, variables: {A: " + "9" * 5000 + "}}",
        "%YAML 9.9\n---\na: 1",
        "!!python/object:os.system {}",
        "a: &a\n  script: x\n  <<: *a",
        "<<: {a: {script: x}}",
        "'': {script: x}",
        "a: {script: x, environment: ''}",
        "a: {script: x, parallel: {matrix: [{A: ~}]}}",
        "include: ~\nstages: ~\nvariables: ~\nworkflow: ~\ndefault: ~\na: {script: x}",
    ],
)
def test_odd_files_never_raise_anything_else(text: str) -> None:
    """Those that random ones do not find."""
    build(text)


@pytest.mark.slow
def test_a_long_file_is_read_in_good_time(pipeline: Callable[..., Pipeline]) -> None:
    """A thousand jobs that extend, refer and merge."""
    text = ".base: &base\n  image: x\n  variables: {A: 1}\n  script: [one, two]\n" + "".join(
        f"job{n}:\n  <<: *base\n  extends: .base\n  needs: []\n  script: [!reference [.base, script], three]\n"
        for n in range(1000)
    )
    assert len(pipeline(text).jobs) == 1000
