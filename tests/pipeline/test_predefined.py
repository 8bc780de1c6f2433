"""The variables that GitLab gives, and the payload of a job."""

from collections.abc import Callable
from typing import Any

import pytest

from runner.job.payload import Job
from runner.pipeline.model import Pipeline
from runner.pipeline.payload import job_payload
from runner.pipeline.predefined import Checkout, Occasion, predefined, slug

Build = Callable[..., Pipeline]

CHECKOUT = Checkout(
    path="acme/tools/Demo",
    repo_url="http://127.0.0.1:80/acme/tools/Demo.git",
    ref="Feature/One",
    sha="0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
    title="Pay $5",
    message="Pay $5\n\nfor $NOTHING",
    author="Ada <ada@example.com>",
    committed_at="2026-01-02T03:04:05+00:00",
)
OCCASION = Occasion(server_url="http://127.0.0.1:8080", pipeline_id=7, created_at="2026-01-02T03:04:06+00:00")


def payload_of(pipeline: Pipeline, **extra: str) -> dict[str, Any]:
    """The payload of a pipeline's first job."""
    return job_payload(
        pipeline.jobs[0], id=1001, token="glcbt-secret", checkout=CHECKOUT, occasion=OCCASION, extra=extra
    )


def variables(payload: dict[str, Any]) -> dict[str, str]:
    """The variables as they count."""
    return {each["key"]: each["value"] for each in payload["variables"]}


def test_the_variables_of_a_push_to_a_branch_are_set() -> None:
    """With GitLab's values; what a push to a branch does not have stays unset."""
    found = predefined(CHECKOUT, OCCASION)
    expected = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER_HOST": "127.0.0.1",
        "CI_SERVER_PORT": "8080",
        "CI_SERVER_PROTOCOL": "http",
        "CI_API_V4_URL": "http://127.0.0.1:8080/api/v4",
        "CI_PROJECT_NAME": "Demo",
        "CI_PROJECT_NAMESPACE": "acme/tools",
        "CI_PROJECT_ROOT_NAMESPACE": "acme",
        "CI_PROJECT_PATH_SLUG": "acme-tools-demo",
        "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_SHORT_SHA": "0a1b2c3d",
        "CI_COMMIT_BRANCH": "Feature/One",
        "CI_COMMIT_REF_SLUG": "feature-one",
        "CI_COMMIT_REF_PROTECTED": "false",
        "CI_COMMIT_TITLE": "Pay $5",
        "CI_COMMIT_DESCRIPTION": "for $NOTHING",
        "CI_PIPELINE_SOURCE": "push",
        "CI_PIPELINE_URL": "http://127.0.0.1:8080/acme/tools/Demo/-/pipelines/7",
    }
    assert {key: found[key] for key in expected} == expected
    unset = ("CI_COMMIT_TAG", "CI_MERGE_REQUEST_IID", "CI_OPEN_MERGE_REQUESTS", "CI_REGISTRY", "CI_PIPELINE_NAME")
    assert [key for key in unset if key in found] == []


def test_variables_lie_over_each_other_in_gitlabs_order(pipeline: Build) -> None:
    """Predefined, global, workflow, job, matrix, rule, command line."""
    names = ["CI_SERVER_NAME", "B", "C", "D", "E", "F", "G"]
    given = {name: "global" for name in names[1:]}
    built = pipeline(
        f"variables: {given}\n"
        "workflow: {rules: [{variables: {C: workflow, D: workflow, E: workflow, F: workflow, G: workflow}}]}\n"
        "a:\n  script: x\n  variables: {D: job, E: job, F: job, G: job}\n"
        "  parallel: {matrix: [{E: matrix, F: matrix, G: matrix}]}\n"
        "  rules: [{variables: {F: rule, G: rule}}]\n",
        extra={"G": "line"},
    )
    found = variables(payload_of(built, G="line"))
    assert [found[name] for name in names] == ["GitLab", "global", "workflow", "job", "matrix", "rule", "line"]


def test_variables_are_expanded_but_for_what_people_wrote(pipeline: Build) -> None:
    """A commit's title is a text; so are the command line's values; no other variable comes to hold the token."""
    built = pipeline(
        "variables:\n  A: $CI_PROJECT_NAME/$B\n  B: ${CI_JOB_STAGE}\n  T: $CI_COMMIT_TITLE\n  S: $CI_JOB_TOKEN\n"
        "a: {script: x}\n"
    )
    payload = payload_of(built, L="$B")
    found = variables(payload)
    assert (found["A"], found["B"], found["L"]) == ("Demo/test", "test", "$B")
    assert (found["T"], found["S"]) == ("$CI_COMMIT_TITLE", "$CI_JOB_TOKEN")
    raw = {each["key"] for each in payload["variables"] if each.get("raw")}
    assert raw == {"L", "CI_COMMIT_TITLE", "CI_COMMIT_MESSAGE", "CI_COMMIT_DESCRIPTION", "CI_COMMIT_AUTHOR"}


def test_secrets_are_not_public(pipeline: Build) -> None:
    """The job's token, and the address that holds it."""
    payload = payload_of(pipeline("a: {script: x}\n"))
    hidden = {each["key"]: (each["value"], each["masked"]) for each in payload["variables"] if not each["public"]}
    assert hidden == {
        "CI_JOB_TOKEN": ("glcbt-secret", True),
        "CI_REPOSITORY_URL": ("http://gitlab-ci-token:glcbt-secret@127.0.0.1:80/acme/tools/Demo.git", False),
    }
    assert payload["git_info"]["repo_url"] == hidden["CI_REPOSITORY_URL"][0]


def test_a_payload_has_the_job(pipeline: Build) -> None:
    """In GitLab's fields, as the runner's own model reads them."""
    built = pipeline(
        "a:\n  stage: build\n  script: [one, two]\n  before_script: [zero]\n  after_script: [three]\n  timeout: 90s\n"
        "  hooks: {pre_get_sources_script: [first]}\n"
        "  image: {name: $IMAGE, entrypoint: [''], pull_policy: never, kubernetes: {user: 7}}\n"
        "  services: [{name: db, alias: d e, command: [x], variables: {P: q}}]\n"
    )
    payload = payload_of(built)
    job = Job.parse(payload)
    assert (job.job_info.name, job.job_info.stage, job.timeout) == ("a", "build", 90.0)
    assert [(step.name, step.script, step.when, step.allow_failure) for step in job.steps] == [
        ("script", ("zero", "one", "two"), "on_success", False),
        ("after_script", ("three",), "always", True),
    ]
    assert [(hook.name, hook.script) for hook in job.hooks] == [("pre_get_sources_script", ("first",))]
    assert job.image is not None
    assert (job.image.name, job.image.entrypoint, job.image.pull_policy) == ("$IMAGE", ("",), ("never",))
    assert job.image.executor_opts.kubernetes.user == "7"
    (service,) = job.services
    assert (service.name, service.aliases, service.command) == ("db", ("d", "e"), ("x",))
    assert [(each.key, each.value) for each in service.variables] == [("P", "q")]
    assert job.git_info.refspecs == ("+refs/heads/Feature/One:refs/remotes/origin/Feature/One",)


def test_a_job_without_after_script_has_one_step(pipeline: Build) -> None:
    """And no image when none is named."""
    job = Job.parse(payload_of(pipeline("a: {script: x}\n")))
    assert [step.name for step in job.steps] == ["script"]
    assert job.image is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("production", ("production", "production")),
        ("Review/One_Two", ("review-one-two", "development")),
        ("non-prod", ("non-prod", "staging")),
        ("QA", ("qa", "testing")),
        ("1st", ("env-1st", "other")),
        ("x" * 40, ("x" * 24, "other")),
    ],
)
def test_an_environment_gives_variables(pipeline: Build, name: str, found: tuple[str, str]) -> None:
    """Its tier is guessed as GitLab does."""
    values = variables(
        payload_of(pipeline(f"a: {{script: x, environment: {{name: {name}, url: https://$CI_JOB_ID}}}}\n"))
    )
    assert values["CI_ENVIRONMENT_NAME"] == name
    assert (values["CI_ENVIRONMENT_SLUG"], values["CI_ENVIRONMENT_TIER"]) == found
    assert (values["CI_ENVIRONMENT_URL"], values["CI_ENVIRONMENT_ACTION"]) == ("https://1001", "start")


@pytest.mark.parametrize(
    ("text", "expected"), [("Feature/One", "feature-one"), ("-a-", "a"), ("é", ""), ("x" * 70, "x" * 63)]
)
def test_a_slug_is_a_part_of_a_host_name(text: str, expected: str) -> None:
    """Lower case, 63 characters, no hyphen at the ends."""
    assert slug(text) == expected
