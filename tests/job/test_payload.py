"""Payloads of jobs, as different GitLabs send them."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.job.payload import (
    Artifact,
    Cache,
    Image,
    Job,
    JobVariable,
    PayloadError,
    Service,
    unknown_executor_options,
)

PAYLOAD: dict[str, Any] = {
    "id": 4711,
    "token": "glcbt-64_Zx9",
    "allow_git_fetch": True,
    "job_info": {"id": 4711, "name": "hello", "stage": "test", "project_id": 42, "time_in_queue_seconds": 1.4},
    "git_info": {
        "repo_url": "https://gitlab-ci-token:glcbt-64_Zx9@gitlab.example.com/acme/demo.git",
        "ref": "main",
        "sha": "0a1b",
        "refspecs": ["+refs/heads/main:refs/remotes/origin/main"],
        "depth": 20,
        "protected": True,
    },
    "runner_info": {"timeout": 3600, "runner_session_url": None},
    "variables": [
        {"key": "CI_JOB_TOKEN", "value": "glcbt-64_Zx9", "public": False, "masked": True},
        {"key": "KUBECONFIG", "value": "apiVersion: v1", "public": False, "masked": False, "file": True, "raw": True},
    ],
    "steps": [
        {"name": "script", "script": ["echo hello"], "timeout": 3600, "when": "on_success", "allow_failure": False}
    ],
    "hooks": [{"name": "pre_get_sources_script", "script": ["true"]}],
    "image": {"name": "alpine:3.20", "entrypoint": None, "ports": [], "executor_opts": {}, "pull_policy": None},
    "services": [{"name": "postgres:12", "alias": "db, sql", "variables": [{"key": "A", "value": "b"}]}],
    "artifacts": None,
    "cache": [{"key": "pip", "untracked": False, "paths": ["a"], "policy": "pull", "when": "always"}],
    "credentials": [{"type": "registry", "url": "r", "username": "u", "password": "p"}],
    "features": {"trace_sections": True, "failure_reasons": ["unknown_failure"]},
    "dependencies": [{"id": 1, "name": "a", "token": "t", "artifacts_file": {"filename": "a.zip", "size": 3}}],
}


def test_payload_is_read_from_what_gitlab_sends() -> None:
    """Bytes of today's GitLab become a job with its fields."""
    job = Job.parse(json.dumps(PAYLOAD).encode())
    assert (job.id, job.token, job.timeout, job.allow_git_fetch) == (4711, "glcbt-64_Zx9", 3600.0, True)
    assert job.git_info.refspecs == ("+refs/heads/main:refs/remotes/origin/main",)
    assert job.variables[1] == JobVariable(key="KUBECONFIG", value="apiVersion: v1", file=True, raw=True)
    assert job.image == Image(name="alpine:3.20")
    assert job.services == (Service(name="postgres:12", alias="db, sql", variables=(JobVariable(key="A", value="b"),)),)
    assert job.services[0].aliases == ("db", "sql")
    assert job.artifacts == ()
    assert job.dependencies[0].artifacts_file is not None
    assert job.hooks[0].script == ("true",)
    step = job.step("script")
    assert step is not None
    assert step.script == ("echo hello",)
    assert job.step("release") is None


def test_payload_of_id_and_token_alone_is_enough() -> None:
    """Everything else has a default; GitLab's missing time-out means two hours."""
    job = Job.parse({"id": 1, "token": "t"})
    assert job.timeout == 7200.0
    assert job.image is None
    assert job.steps == ()
    assert job.git_info.repo_object_format == "sha1"


@pytest.mark.parametrize(("timeout", "seconds"), [(0, 7200.0), (-5, 7200.0), (60, 60.0), ("60", 60.0)])
def test_timeout_of_zero_and_less_is_two_hours(timeout: object, seconds: float) -> None:
    """GitLab's way to say that there is no time-out."""
    assert Job.parse({"id": 1, "token": "t", "runner_info": {"timeout": timeout}}).timeout == seconds


def nulled(value: Any) -> Any:
    """The same shape with null for every scalar and an additional null in every list."""
    if isinstance(value, dict):
        return {key: nulled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [*map(nulled, value), None]
    return None


def test_null_is_the_default_for_every_field_at_every_level() -> None:
    """A payload of nulls reads like one in which the fields are missing."""
    job = Job.parse({**nulled(PAYLOAD), "id": 1, "token": "t"})
    assert job.variables == (JobVariable(), JobVariable())
    assert job.image == Image()
    assert job.services[0].variables == (JobVariable(),)
    assert job.cache == (Cache(),)
    assert job.git_info.refspecs == ()


@pytest.mark.parametrize("name", [name for name in Job.model_fields if name not in ("id", "token")])
def test_null_is_the_default_for_each_top_level_field(name: str) -> None:
    """No field of the job may be the one that loses it."""
    assert Job.parse({"id": 1, "token": "t", name: None}) == Job.parse({"id": 1, "token": "t"})


def test_unknown_fields_are_kept_at_every_level() -> None:
    """What a newer GitLab sends is still there for whoever looks."""
    job = Job.parse({"id": 1, "token": "t", "new": 1, "image": {"name": "a", "newer": None}})
    assert job.model_extra == {"new": 1}
    assert job.image is not None
    assert job.image.model_extra == {"newer": None}


def test_numbers_and_texts_are_taken_for_each_other() -> None:
    """Ids come as text, texts come as numbers, variables even as booleans."""
    job = Job.parse(
        {
            "id": "47",
            "token": "t",
            "job_info": {"id": "47", "project_id": "7", "instance_id": 9},
            "variables": [{"key": "A", "value": 1}, {"key": "B", "value": True}, {"key": "C", "value": 1.5}],
            "image": {"name": "a", "executor_opts": {"kubernetes": {"user": 1000}}},
            "steps": [{"name": "script", "script": "make"}],
        }
    )
    assert (job.id, job.job_info.id, job.job_info.project_id, job.job_info.instance_id) == (47, 47, 7, "9")
    assert [variable.value for variable in job.variables] == ["1", "true", "1.5"]
    assert job.image is not None
    assert job.image.executor_opts.kubernetes.user == "1000"
    assert job.steps[0].script == ("make",)


def test_empty_words_are_gitlabs_defaults() -> None:
    """`when`, formats and policy mean their default when they are empty."""
    job = Job.parse(
        {
            "id": 1,
            "token": "t",
            "git_info": {"repo_object_format": ""},
            "artifacts": [{"when": "", "artifact_type": "", "artifact_format": ""}],
            "cache": [{"when": "", "policy": ""}],
        }
    )
    assert job.git_info.repo_object_format == "sha1"
    assert job.artifacts == (Artifact(when="on_success", artifact_type="archive", artifact_format="zip"),)
    assert job.cache == (Cache(when="on_success", policy="pull-push"),)


def test_text_that_is_no_utf8_does_not_lose_the_job() -> None:
    """A commit message in an old encoding is shown with replacement characters."""
    job = Job.parse(b'{"id": 1, "token": "t", "variables": [{"key": "M", "value": "caf\xe9"}]}')
    assert job.variables[0].value == "caf\ufffd"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"<html>", "The job payload is no JSON: expected value at line 1 column 1."),
        (b"[1]", "The job payload is no JSON object."),
        ({"token": "t"}, "The job payload cannot be read: id: Field required."),
        ({"id": 1, "token": ""}, "The job payload cannot be read: token: String should have at least 1 character."),
        (
            {"id": 1, "token": "t", "variables": [{"key": "A", "value": {"s3cret": "s3cret"}}]},
            "The job payload cannot be read: variables.0.value: Input should be a valid string.",
        ),
        (
            {"id": 1, "token": "t", "services": [{"executor_opts": {"kubernetes": "s3cret"}}]},
            "The job payload cannot be read: services.0.executor_opts.kubernetes: "
            "Input should be a valid dictionary or instance of KubernetesOptions.",
        ),
        (
            {"id": "s3cret", "token": "t"},
            "The job payload cannot be read: id: "
            "Input should be a valid integer, unable to parse string as an integer.",
        ),
        (
            {"id": 1, "token": "t", "steps": "s3cret"},
            "The job payload cannot be read: steps.0: Input should be a valid dictionary or instance of Step.",
        ),
    ],
    ids=["html", "list", "no id", "no token", "value", "options", "id", "steps"],
)
def test_unreadable_payload_names_the_field_and_no_value(data: bytes | dict[str, Any], sentence: str) -> None:
    """One sentence with the field's path; neither it nor what it came from holds what GitLab sent."""
    with pytest.raises(PayloadError) as caught:
        Job.parse(data)
    assert str(caught.value) == sentence
    assert "s3cret" not in repr(caught.value.__cause__) + repr(caught.value.__context__)


def test_payload_that_is_no_object_is_refused() -> None:
    """Whoever passes something already decoded gets the same kind of sentence."""
    with pytest.raises(PayloadError, match="its top level: Input should be a valid dictionary"):
        Job.parse([1])  # type: ignore[arg-type]  # what the test is about


SECRET_FIELDS = {
    "token": "s3cret",
    "run": "s3cret",
    "new_field": "s3cret",
    "git_info": {"repo_url": "https://u:s3cret@host/a.git"},
    "variables": [{"key": "A", "value": "s3cret"}],
    "inputs": [{"key": "a", "value": {"content": "s3cret"}}],
    "secrets": {"A": {"vault": {"server": {"auth": {"data": {"jwt": "s3cret"}}}}}},
    "credentials": [{"password": "s3cret"}],
    "dependencies": [{"token": "s3cret"}],
}


@pytest.mark.parametrize("field", list(SECRET_FIELDS))
def test_repr_of_a_job_shows_no_secret(field: str) -> None:
    """A job in a traceback or a log line gives nothing away, not even in fields that are new to us."""
    job = Job.parse({"id": 1, "token": "t", field: SECRET_FIELDS[field]})
    assert "s3cret" not in repr(job)
    assert "s3cret" not in str(job)


def test_job_is_frozen() -> None:
    """Nobody changes what GitLab said."""
    job = Job.parse({"id": 1, "token": "t"})
    with pytest.raises(ValueError, match="frozen"):
        job.id = 2  # type: ignore[misc]  # what the test is about


def test_unknown_executor_options_are_named_with_their_places() -> None:
    """Known keys of both executors are not unknown; others are named for image and services."""
    job = Job.parse(
        {
            "id": 1,
            "token": "t",
            "image": {
                "executor_opts": {
                    "podman": {},
                    "docker": {"platform": "arm64", "user": "dave", "gpus": "all"},
                    "kubernetes": {"user": "1000:1000"},
                }
            },
            "services": [{"name": "a"}, {"name": "b", "executor_opts": {"kubernetes": {"node": "x", "shm": 1}}}],
        }
    )
    assert unknown_executor_options(job) == (
        "image.executor_opts.podman",
        "image.executor_opts.docker.gpus",
        "services.1.executor_opts.kubernetes.node",
        "services.1.executor_opts.kubernetes.shm",
    )


def test_job_without_image_has_no_unknown_options() -> None:
    """Nothing asked for, nothing unknown."""
    assert unknown_executor_options(Job.parse({"id": 1, "token": "t"})) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(Job.model_fields)), JSON, max_size=6))
def test_any_payload_gives_a_job_or_a_sentence(data: dict[str, Any]) -> None:
    """Whatever stands in the fields, nothing but PayloadError comes out."""
    with contextlib.suppress(PayloadError):
        assert Job.parse({"id": 1, "token": "t", **data}).timeout > 0
