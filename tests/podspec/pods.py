"""From a few lines of config.toml to the pod of one job, always the same but for what those lines change."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from runner.config.model import RunnerConfig
from runner.executor.base import JobRequest
from runner.executor.requesting import pod_request
from runner.job.payload import Job
from runner.job.variables import Variables
from runner.manager.material import Identity, JobMaterial, Place
from runner.podspec.manifest import Manifest
from runner.podspec.names import names_for
from runner.podspec.pod import build_pod
from runner.podspec.request import PodRequest
from runner.podspec.volumes import shares_builds_dir
from runner.testing.payloads import job_payload

GONE = "(gone)"
"""Stands in a difference for what the changed manifest has no more."""

_VARIABLES = frozenset({"CI_JOB_ID", "CI_PROJECT_NAMESPACE"})
_IDENTITY = Identity(name="runner", version="1.0.0", revision="HEAD", system_id="s_0123456789ab", host="manager")
_NAMES = names_for(short_token="abcdefghi", project_id=42, concurrent_project_id=0, random="q1w2e3r4")


def tables(kubernetes: str = "", runner: str = "") -> dict[str, Any]:
    """One `[[runners]]` entry: `runner` are lines of it, `kubernetes` lines of its `[runners.kubernetes]`."""
    plain = {"url": "https://gitlab.example.com", "token": "glrt-abcdefghijklmnop", "executor": "kubernetes"}
    return {"name": "blue", **plain, **tomllib.loads(runner), "kubernetes": tomllib.loads(kubernetes)}


def request_for(entry: dict[str, Any], **payload: Any) -> PodRequest:
    """The request for the pod of a job with one service, `db`; keywords are those of `job_payload`."""
    config = RunnerConfig.model_validate(entry)
    service = {"name": "postgres:16", "alias": "db", "entrypoint": None, "command": None}
    job = Job.parse(job_payload(**{"services": [service], **payload}))
    material = JobMaterial.of(job, config, identity=_IDENTITY, place=Place(), shared=shares_builds_dir(config))
    request = pod_request(
        JobRequest(
            job=job,
            runner=config,
            variables=material.variables,
            feature_flags=material.flags,
            directories=material.directories,
            system_id=_IDENTITY.system_id,
        ),
        config,
        system_id=_IDENTITY.system_id,
        default_helper_image="runner:1.0.0",
    )
    return replace(request, names=_NAMES, now=1_800_000_000.0)


def pod_for(entry: dict[str, Any], **payload: Any) -> Manifest:
    """The pod of that job, without the variables of GitLab's own, which every configuration has the same."""
    request = request_for(entry, **payload)
    return build_pod(replace(request, variables=Variables(v for v in request.variables if v.key in _VARIABLES)))


def abridged(pod: Manifest) -> Manifest:
    """The pod with one word for each of our scripts in a command."""
    spec = pod["spec"]
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for place in ("command", "args"):
            container[place] = [_abridged(text) for text in container.pop(place, [])]
            if not container[place]:
                del container[place]
    return pod


def _abridged(text: str) -> str:
    if len(text) > 1000:
        return "AGENT"
    return "SCRIPT" if "\n" in text or text.startswith("rm ") else text


def difference(before: object, after: object, path: str = "") -> dict[str, Any]:
    """Where two manifests differ: a path to each value that is new, another or gone. What has a name goes by it."""
    if before == after:
        return {}
    old, new = _named(before), _named(after)
    if not isinstance(old, dict) or not isinstance(new, dict):
        return {path: after}
    found: dict[str, Any] = {}
    for key in dict.fromkeys((*old, *new)):
        below = f"{path}.{key}" if path else str(key)
        if key not in new:
            found[below] = GONE
        elif key not in old:
            found[below] = new[key]
        else:
            found |= difference(old[key], new[key], below)
    return found


def leaves(table: dict[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each key of a TOML document that holds a value and not more keys."""
    for key, value in table.items():
        below = value if isinstance(value, list) and value and isinstance(value[0], dict) else None
        if below is not None:
            for index, each in enumerate(below):
                yield from leaves(each, (*path, key, index))
        elif isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def _named(value: object) -> object:
    if isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
        return {each["name"]: each for each in value if isinstance(each, dict)}
    return value
