"""Factories of what GitLab sends: complete, realistic payloads that a test changes where it cares.

Law: plain JSON data with GitLab's own field names, so a payload reads like one from the wire; nothing is validated
here, because a test may want a broken one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from runner.pipeline.payload import FAILURE_REASONS

Json = dict[str, Any]

DEFAULT_TOKEN = "glcbt-64_Zx9yW8vU7tS6rQ5pO4n"
DEFAULT_SHA = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"


class Source(Protocol):
    """What a payload needs of a repository; `runner.testing.gitlab.Repository` has it."""

    path: str
    branch: str
    sha: str
    pipeline_id: int
    object_format: str


def variable(
    key: str,
    value: str | None,
    *,
    public: bool = False,
    masked: bool = False,
    file: bool = False,
    raw: bool = False,
) -> Json:
    """Return one entry of `variables`; `file` and `raw` stand there only when true, as GitLab writes them."""
    entry: Json = {"key": key, "value": value, "public": public, "masked": masked}
    if file:
        entry["file"] = True
    if raw:
        entry["raw"] = True
    return entry


def step(name: str, script: Iterable[str], *, when: str = "on_success", allow_failure: bool = False) -> Json:
    """Return one entry of `steps`."""
    return {"name": name, "script": list(script), "timeout": 3600, "when": when, "allow_failure": allow_failure}


def image(name: str, **over: Any) -> Json:
    """Return an image object; a service is one too, most often with `alias`."""
    return {"name": name, "entrypoint": None, "ports": [], "executor_opts": {}, "pull_policy": None, **over}


def job_payload(
    *,
    id: int = 4711,
    token: str = DEFAULT_TOKEN,
    name: str = "hello",
    stage: str = "test",
    script: Iterable[str] = ("echo hello",),
    after_script: Iterable[str] = (),
    variables: Iterable[Json] | Mapping[str, str] = (),
    image: str | Json | None = "alpine:3.20",
    services: Iterable[str | Json] = (),
    timeout: float = 3600,
    server_url: str = "https://gitlab.example.com",
    project: str = "acme/demo",
    project_id: int = 42,
    repository: Source | None = None,
    git: Mapping[str, Any] | None = None,
    **over: Any,
) -> Json:
    """Return the 201 body of `POST jobs/request`, with the fields that GitLab 19 sends.

    `variables` come behind GitLab's own: entries, or a mapping of public ones. `repository` fills `git_info` and the
    project's path; `git` replaces single fields of `git_info`. Any other keyword replaces the top-level field of that
    name, such as `artifacts=[...]`, `features={}`, `steps=[]`.
    """
    about = _About(
        id=id,
        token=token,
        name=name,
        stage=stage,
        server_url=server_url,
        project=repository.path if repository else project,
        project_id=project_id,
        branch=repository.branch if repository else "main",
        sha=repository.sha if repository else DEFAULT_SHA,
        pipeline_id=repository.pipeline_id if repository else 900,
        object_format=repository.object_format if repository else "sha1",
    )
    payload: Json = {
        "id": id,
        "token": token,
        "allow_git_fetch": True,
        "job_info": _job_info(about),
        "git_info": {**_git_info(about), **(git or {})},
        "runner_info": {"timeout": timeout, "runner_session_url": None},
        "inputs": [],
        "variables": [*_predefined(about), *_entries(variables)],
        "steps": [step("script", script)],
        "hooks": [],
        "image": _image(image),
        "services": [_image(service) for service in services],
        "artifacts": None,
        "cache": [],
        "credentials": [
            {
                "type": "registry",
                "url": "registry.example.com",
                "username": "gitlab-ci-token",
                "password": token,
            }
        ],
        "dependencies": [],
        "features": {
            "trace_sections": True,
            "token_mask_prefixes": [],
            "failure_reasons": list(FAILURE_REASONS),
        },
    }
    after = list(after_script)
    if after:
        payload["steps"].append(step("after_script", after, when="always", allow_failure=True))
    payload.update(over)
    return payload


def _image(value: str | Json | None) -> Json | None:
    return image(value) if isinstance(value, str) else value


def _entries(variables: Iterable[Json] | Mapping[str, str]) -> list[Json]:
    if isinstance(variables, Mapping):
        return [variable(key, value, public=True) for key, value in variables.items()]
    return list(variables)


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """What several parts of a payload have to agree on."""

    id: int
    token: str
    name: str
    stage: str
    server_url: str
    project: str
    project_id: int
    branch: str
    sha: str
    pipeline_id: int
    object_format: str

    @property
    def repo_url(self) -> str:
        server = urlsplit(self.server_url)
        return f"{server.scheme}://gitlab-ci-token:{self.token}@{server.netloc}/{self.project}.git"


def _job_info(about: _About) -> Json:
    return {
        "id": about.id,
        "name": about.name,
        "stage": about.stage,
        "pipeline_id": about.pipeline_id,
        "project_id": about.project_id,
        "project_name": about.project.rpartition("/")[2],
        "project_full_path": about.project,
        "namespace_id": 7,
        "root_namespace_id": 7,
        "organization_id": 1,
        "user_id": 3,
        "scoped_user_id": None,
        "time_in_queue_seconds": 1.4,
        "project_jobs_running_on_instance_runners_count": "+Inf",
        "queue_size": 1,
        "queue_depth": 1,
    }


def _git_info(about: _About) -> Json:
    return {
        "repo_url": about.repo_url,
        "repo_object_format": about.object_format,
        "ref": about.branch,
        "sha": about.sha,
        "before_sha": "0" * 40,
        "ref_type": "branch",
        "refspecs": [
            f"+refs/pipelines/{about.pipeline_id}:refs/pipelines/{about.pipeline_id}",
            f"+refs/heads/{about.branch}:refs/remotes/origin/{about.branch}",
        ],
        "depth": 20,
        "protected": True,
    }


def _predefined(about: _About) -> list[Json]:
    return [
        variable("CI_JOB_TOKEN", about.token, masked=True),
        variable("CI_BUILD_TOKEN", about.token, masked=True),
        variable("CI_REGISTRY_PASSWORD", about.token, masked=True),
        variable("CI_REPOSITORY_URL", about.repo_url),
        *(variable(key, value, public=True) for key, value in _public_variables(about).items()),
    ]


def _public_variables(about: _About) -> dict[str, str]:
    server = urlsplit(about.server_url)
    home = f"{about.server_url}/{about.project}"
    return {
        "CI_PIPELINE_ID": str(about.pipeline_id),
        "CI_PIPELINE_URL": f"{home}/-/pipelines/{about.pipeline_id}",
        "CI_JOB_ID": str(about.id),
        "CI_JOB_URL": f"{home}/-/jobs/{about.id}",
        "CI_JOB_STARTED_AT": "2026-08-22T10:00:00Z",
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER_URL": about.server_url,
        "CI_SERVER_HOST": server.hostname or "",
        "CI_SERVER_PORT": str(server.port or (443 if server.scheme == "https" else 80)),
        "CI_SERVER_PROTOCOL": server.scheme,
        "CI_SERVER_SHELL_SSH_HOST": server.hostname or "",
        "CI_SERVER_SHELL_SSH_PORT": "22",
        "CI_SERVER_NAME": "GitLab",
        "CI_SERVER_VERSION": "19.4.0",
        "CI_API_V4_URL": f"{about.server_url}/api/v4",
        "CI_PROJECT_ID": str(about.project_id),
        "CI_PROJECT_NAME": about.project.rpartition("/")[2],
        "CI_PROJECT_PATH": about.project,
        "CI_PROJECT_NAMESPACE": about.project.rpartition("/")[0],
        "CI_PROJECT_URL": home,
        "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_SHA": about.sha,
        "CI_COMMIT_SHORT_SHA": about.sha[:8],
        "CI_COMMIT_REF_NAME": about.branch,
        "CI_COMMIT_REF_SLUG": about.branch.replace("/", "-"),
        "CI_COMMIT_BRANCH": about.branch,
        "CI_COMMIT_REF_PROTECTED": "true",
        "CI_COMMIT_MESSAGE": "Say hello",
        "CI_JOB_NAME": about.name,
        "CI_JOB_STAGE": about.stage,
        "GITLAB_USER_LOGIN": "ada",
    }
