"""From a job of a local pipeline to the payload that GitLab would hand out for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.pipeline.model import LocalArtifact, LocalCache, LocalImage, LocalJob, LocalVariable
from runner.pipeline.predefined import (
    NO_COMMIT,
    Checkout,
    Occasion,
    job_predefined,
    predefined,
    predefined_variables,
)
from runner.pipeline.variables import expand_all

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
"""What the local GitLab lists in `features.failure_reasons`, so that nothing is mapped down."""

GIT_DEPTH = 20
"""GitLab's default for a new project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What an earlier job has left for others."""

    id: int
    name: str
    token: str
    filename: str = ""
    """Of its archive; empty if it has none."""
    size: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its `dotenv` report."""


def job_payload(
    job: LocalJob,
    *,
    id: int,
    token: str,
    checkout: Checkout,
    occasion: Occasion,
    extra: Mapping[str, str],
    left: Sequence[Left] = (),
) -> Json:
    """Make the 201 body of `POST jobs/request`. `extra` are the command line's variables, which win over the file's."""
    dotenv = {key: value for each in left for key, value in each.variables.items()}
    return {
        "id": id,
        "token": token,
        "allow_git_fetch": True,
        "job_info": {
            "id": id,
            "name": job.name,
            "stage": job.stage,
            "pipeline_id": occasion.pipeline_id,
            "project_id": occasion.project_id,
            "project_name": checkout.path.rpartition("/")[2],
            "project_full_path": checkout.path,
        },
        "git_info": {
            "repo_url": _with_token(checkout.repo_url, token),
            "ref": checkout.ref,
            "sha": checkout.sha,
            "before_sha": NO_COMMIT,
            "ref_type": "branch",
            "refspecs": [f"+refs/heads/{checkout.ref}:refs/remotes/origin/{checkout.ref}"],
            "depth": GIT_DEPTH,
            "protected": False,
        },
        "runner_info": {"timeout": int(job.timeout), "runner_session_url": None},
        "variables": _variables(
            job, id=id, token=token, checkout=checkout, occasion=occasion, extra=dotenv | dict(extra)
        ),
        "steps": _steps(job),
        "hooks": _hooks(job),
        "image": _image(job.image) if job.image else None,
        "services": [_image(service) for service in job.services],
        "artifacts": [_artifact(each) for each in job.artifacts] or None,
        "cache": [_cache(each) for each in job.caches],
        "dependencies": [_dependency(each) for each in left if each.filename],
        "credentials": [],
        "features": {"trace_sections": True, "token_mask_prefixes": [], "failure_reasons": list(FAILURE_REASONS)},
    }


def _variables(
    job: LocalJob, *, id: int, token: str, checkout: Checkout, occasion: Occasion, extra: Mapping[str, str]
) -> list[Json]:
    ours = {
        **predefined(checkout, occasion),
        **job_predefined(job, id, url=f"{occasion.server_url}/{checkout.path}"),
    }
    plain = expand_all(
        (
            *predefined_variables(ours),
            *job.variables,
            *(LocalVariable(key=key, value=value, raw=True) for key, value in extra.items()),
        )
    )
    # References to these stay for the runner: no other variable may come to hold a secret.
    secrets = {
        "CI_JOB_TOKEN": token,
        "CI_REPOSITORY_URL": _with_token(checkout.repo_url, token),
    }
    return [
        *(
            {"key": key, "value": value, "public": False, "masked": key == "CI_JOB_TOKEN"}
            for key, value in secrets.items()
        ),
        *(_variable(each) for each in plain),
    ]


def _variable(each: LocalVariable) -> Json:
    entry: Json = {"key": each.key, "value": each.value, "public": True, "masked": False}
    return {**entry, "raw": True} if each.raw else entry


def _with_token(url: str, token: str) -> str:
    return url.replace("://", f"://gitlab-ci-token:{token}@", 1)


def _steps(job: LocalJob) -> list[Json]:
    script = {"name": "script", "script": list(job.script), "when": "on_success", "allow_failure": False}
    after = {"name": "after_script", "script": list(job.after_script), "when": "always", "allow_failure": True}
    return [{**step, "timeout": int(job.timeout)} for step in (script, after) if step["script"]]


def _hooks(job: LocalJob) -> list[Json]:
    if not job.pre_get_sources_script:
        return []
    return [{"name": "pre_get_sources_script", "script": list(job.pre_get_sources_script)}]


def _artifact(each: LocalArtifact) -> Json:
    return {
        "name": each.name,
        "untracked": each.untracked,
        "paths": list(each.paths),
        "exclude": list(each.exclude) or None,
        "when": each.when,
        "expire_in": each.expire_in,
        "artifact_type": each.type,
        "artifact_format": each.format,
    }


def _cache(each: LocalCache) -> Json:
    return {
        "key": each.key,
        "untracked": each.untracked,
        "policy": each.policy,
        "paths": list(each.paths),
        "when": each.when,
        "fallback_keys": list(each.fallback_keys),
    }


def _dependency(left: Left) -> Json:
    file = {"filename": left.filename, "size": left.size}
    return {"id": left.id, "name": left.name, "token": left.token, "artifacts_file": file}


def _image(image: LocalImage) -> Json:
    return {
        "name": image.name,
        "alias": image.alias,
        "entrypoint": None if image.entrypoint is None else list(image.entrypoint),
        "command": None if image.command is None else list(image.command),
        "ports": [],
        "variables": [_variable(each) for each in image.variables],
        "pull_policy": list(image.pull_policy) or None,
        "executor_opts": {"kubernetes": {"user": image.user}} if image.user else {},
    }
