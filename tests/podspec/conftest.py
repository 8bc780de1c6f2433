"""What the tests of this folder build pods from."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runner.config.model import RunnerConfig
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.podspec.names import names_for
from runner.podspec.request import PodRequest, directories_for
from runner.podspec.services import pod_services

MakeRequest = Callable[..., PodRequest]


def make_job(**over: Any) -> Job:
    """A job of project 77 with what labels and annotations are made of."""
    payload: dict[str, Any] = {
        "id": 4711,
        "token": "glcbt-64_abcdefghijklmnopqrst",
        "job_info": {"name": "unit tests", "project_id": 77, "project_name": "web shop", "root_namespace_id": 9},
        "git_info": {
            "repo_url": "https://gitlab-ci-token:glcbt-64_abcdefghijklmnopqrst@gitlab.example.com/shop/web.git",
            "ref": "main",
            "sha": "f0e1",
            "before_sha": "a2b3",
        },
        "runner_info": {"timeout": 3600},
        "image": {"name": "busybox:latest"},
    }
    return Job.parse({**payload, **over})


VARIABLES = Variables(
    (
        Variable("CI_PROJECT_NAMESPACE", "shop", public=True),
        Variable("CI_PROJECT_NAMESPACE_ID", "9", public=True),
        Variable("CI_PROJECT_ROOT_NAMESPACE", "shop", public=True),
        Variable("CI_JOB_TOKEN", "glcbt-64_abcdefghijklmnopqrst", masked=True),
        Variable("DB_PASSWORD", "hunter2hunter2", masked=True),
        Variable("TEAM", "checkout"),
    )
)


def _make_request(
    *,
    job: dict[str, Any] | None = None,
    kubernetes: dict[str, Any] | None = None,
    variables: Variables = VARIABLES,
    **over: Any,
) -> PodRequest:
    work = make_job(**(job or {}))
    config = RunnerConfig.model_validate(
        {
            "name": "shop runner",
            "url": "https://gitlab.example.com",
            "token": "glrt-t1_abcdefghijklmnop",
            "executor": "kubernetes",
            "kubernetes": {"namespace": "ci", **(kubernetes or {})},
        }
    )
    request = PodRequest(
        job=work,
        variables=variables,
        config=config,
        names=names_for(short_token="abcdefghi", project_id=77, concurrent_project_id=0, random="q1w2e3r4"),
        system_id="s_0123456789ab",
        build_image="busybox:latest",
        helper_image="registry.example.com/helper:1",
        build_command=("sh", "-c", "build agent"),
        helper_command=("sh", "-c", "helper agent"),
        directories=directories_for(config, work, config.builds_dir),
        services=pod_services(config.kubernetes.services, work, variables),
        now=1_800_000_000.0,
    )
    return replace(request, **over)


@pytest.fixture
def make_request() -> MakeRequest:
    """Make a request for the pod of one job, with `job` and `kubernetes` fields and whole fields replaced."""
    return _make_request
