"""From a job of a local pipeline to the payload that GitLab would hand out for it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from runner.pipeline.model import LocalJob

Json = dict[str, Any]

FAILURE_REASONS = (
    "unknown_failure",
    "script_failure",
    "runner_system_failure",
    "job_execution_timeout",
    "image_pull_failure",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "runner_interrupted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The repository that the jobs of a local pipeline run on."""

    path: str
    """`group/project`."""
    repo_url: str
    ref: str
    sha: str
    title: str = ""
    default_branch: str = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """This run of the pipeline."""

    server_url: str
    pipeline_id: int
    project_id: int = 1
    source: str = "push"


def predefined(checkout: Checkout, occasion: Occasion) -> dict[str, str]:
    """The variables that GitLab gives every job of a pipeline; rules see these."""
    group, _, project = checkout.path.rpartition("/")
    host = re.sub(r"^https?://", "", occasion.server_url)
    slug = re.sub(r"[^a-z0-9]", "-", checkout.ref.lower())[:63].strip("-")
    return {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER_URL": occasion.server_url,
        "CI_SERVER_HOST": host.partition(":")[0],
        "CI_API_V4_URL": f"{occasion.server_url}/api/v4",
        "CI_PIPELINE_ID": str(occasion.pipeline_id),
        "CI_PIPELINE_IID": str(occasion.pipeline_id),
        "CI_PIPELINE_SOURCE": occasion.source,
        "CI_PROJECT_ID": str(occasion.project_id),
        "CI_PROJECT_NAME": project,
        "CI_PROJECT_TITLE": project,
        "CI_PROJECT_NAMESPACE": group,
        "CI_PROJECT_ROOT_NAMESPACE": group.partition("/")[0],
        "CI_PROJECT_PATH": checkout.path,
        "CI_PROJECT_PATH_SLUG": re.sub(r"[^a-z0-9]", "-", checkout.path.lower()),
        "CI_PROJECT_URL": f"{occasion.server_url}/{checkout.path}",
        "CI_DEFAULT_BRANCH": checkout.default_branch,
        "CI_COMMIT_SHA": checkout.sha,
        "CI_COMMIT_SHORT_SHA": checkout.sha[:8],
        "CI_COMMIT_REF_NAME": checkout.ref,
        "CI_COMMIT_REF_SLUG": slug,
        "CI_COMMIT_BRANCH": checkout.ref,
        "CI_COMMIT_TITLE": checkout.title,
        "CI_COMMIT_MESSAGE": checkout.title,
        "CI_COMMIT_BEFORE_SHA": "0" * 40,
        "GITLAB_USER_LOGIN": "local",
        "GITLAB_USER_NAME": "local",
        "RUNNER_LOCAL": "true",
    }


def job_payload(
    job: LocalJob, *, id: int, token: str, checkout: Checkout, occasion: Occasion, extra: dict[str, str]
) -> Json:
    """Make the payload. `extra` are variables of the command line, which win over the file's."""
    steps = [_step("script", job.script, job)]
    if job.after_script:
        steps.append(_step("after_script", job.after_script, job))
    variables = [
        *(_variable(key, value) for key, value in predefined(checkout, occasion).items()),
        _variable("CI_JOB_ID", str(id)),
        _variable("CI_JOB_NAME", job.name),
        _variable("CI_JOB_STAGE", job.stage),
        {"key": "CI_JOB_TOKEN", "value": token, "public": False, "masked": True},
        *(_variable(each.key, each.value, raw=each.raw) for each in job.variables),
        *(_variable(key, value, raw=True) for key, value in extra.items()),
    ]
    return {
        "id": id,
        "token": token,
        "allow_git_fetch": True,
        "job_info": {
            "id": id,
            "name": job.name,
            "stage": job.stage,
            "project_id": occasion.project_id,
            "project_name": checkout.path.rpartition("/")[2],
            "project_full_path": checkout.path,
        },
        "git_info": {
            "repo_url": checkout.repo_url.replace("://", f"://gitlab-ci-token:{token}@", 1),
            "ref": checkout.ref,
            "sha": checkout.sha,
            "before_sha": "0" * 40,
            "ref_type": "branch",
            "refspecs": [f"+refs/heads/{checkout.ref}:refs/remotes/origin/{checkout.ref}"],
            "depth": 20,
        },
        "runner_info": {"timeout": int(job.timeout), "runner_session_url": None},
        "variables": variables,
        "steps": steps,
        "image": _image(job.image),
        "services": [_image(service) for service in job.services],
        "artifacts": [],
        "cache": [],
        "dependencies": [],
        "credentials": [],
        "features": {"trace_sections": True, "failure_reasons": list(FAILURE_REASONS)},
    }


def _step(name: str, script: tuple[str, ...], job: LocalJob) -> Json:
    return {
        "name": name,
        "script": list(script),
        "timeout": int(job.timeout),
        "when": "on_success",
        "allow_failure": False,
    }


def _variable(key: str, value: str, *, raw: bool = False) -> Json:
    return {"key": key, "value": value, "public": True, "masked": False, **({"raw": True} if raw else {})}


def _image(image: Json | None) -> Json | None:
    if image is None:
        return None
    policy = image.get("pull_policy")
    known: Json = {key: image[key] for key in ("name", "alias", "ports") if key in image}
    listed = {key: _words(image[key]) for key in ("entrypoint", "command") if image.get(key) is not None}
    variables = [_variable(key, str(value)) for key, value in (image.get("variables") or {}).items()]
    kubernetes = image.get("kubernetes") or {}
    return {
        **known,
        **listed,
        "variables": variables,
        "pull_policy": [policy] if isinstance(policy, str) else policy,
        "executor_opts": {"kubernetes": kubernetes} if kubernetes else {},
    }


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(word) for word in value]
    text = str(value)
    return list(json.loads(text)) if text.startswith("[") else [text]
