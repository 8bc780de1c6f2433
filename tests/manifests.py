"""From a config.toml and a job to everything that the runner would send to the API server for it, with no cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.config.load import parse_config
from runner.config.model import RunnerConfig
from runner.executor.base import JobRequest
from runner.executor.requesting import pod_request
from runner.job.payload import Job
from runner.manager.material import Identity, JobMaterial, Place
from runner.podspec.creation import Creation, creations
from runner.podspec.pod import pod_warnings
from runner.podspec.registry import RegistryLogin
from runner.podspec.request import PodRequest
from runner.podspec.secret import JobRecord
from runner.podspec.volumes import shares_builds_dir
from runner.testing.payloads import job_payload

Json = dict[str, Any]

RUNNER = """\
[[runners]]
  name = "blue"
  url = "https://gitlab.example.com"
  token = "glrt-abcdefghijklmnop"
  executor = "kubernetes"
"""
KUBERNETES = RUNNER + "  [runners.kubernetes]\n"

IDENTITY = Identity(name="runner", version="1.0.0", revision="HEAD", system_id="s_0123456789ab", host="manager")

ABSENT = "(not there)"
"""What `at` gives for a place that a manifest does not have."""


@dataclass(frozen=True)
class Made:
    """What one job becomes."""

    request: PodRequest
    objects: tuple[Creation, ...]
    """Everything that is created, each with the plural of its kind, in the order of creation."""
    notes: tuple[str, ...]
    """What the job's log is told of the configuration."""

    @property
    def pod(self) -> Json:
        """The pod."""
        return next(manifest for plural, manifest in self.objects if plural == "pods")

    def all(self, plural: str) -> list[Json]:
        """The objects of one kind."""
        return [manifest for each, manifest in self.objects if each == plural]

    def at(self, path: str) -> Any:
        """The value at a place of the pod, such as `spec.containers.build.image`."""
        return at(self.pod, path)


def runner_of(text: str) -> RunnerConfig:
    """The one runner of a file."""
    (runner,) = parse_config(text)[0].runners
    return runner


def made(
    runner: RunnerConfig | str,
    *,
    variables: Mapping[str, str] | Iterable[Json] = (),
    logins: tuple[RegistryLogin, ...] = (),
    **payload: Any,
) -> Made:
    """What a job of this runner becomes; `runner` may be the text of a file. Keywords are those of `job_payload`.

    `logins` are the registry credentials that were found.
    """
    config = runner_of(runner) if isinstance(runner, str) else runner
    job = Job.parse(job_payload(variables=variables, **payload))
    material = JobMaterial.of(job, config, identity=IDENTITY, place=Place(), shared=shares_builds_dir(config))
    request = JobRequest(
        job=job,
        runner=config,
        variables=material.variables,
        feature_flags=material.flags,
        directories=material.directories,
        system_id=IDENTITY.system_id,
    )
    notes: list[str] = []
    pod = pod_request(
        request,
        config,
        system_id=IDENTITY.system_id,
        default_helper_image="runner:1.0.0",
        note=lambda _, text: notes.append(text),
    )
    record = JobRecord(payload=b"{}", plan=b"{}")
    objects = creations(pod, record, logins=logins, uid="00000000-0000-4000-8000-000000000000")
    return Made(pod, objects, (*notes, *pod_warnings(pod)))


def at(manifest: Any, path: str) -> Any:
    """The value at a place: keys separated by dots, list entries by their name or number; `ABSENT` where there is none.

    A key with dots of its own is written in brackets: `metadata.labels[example.com/team]`.
    """
    value = manifest
    for part in _parts(path):
        if isinstance(value, list):
            value = _entry(value, part)
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return ABSENT
    return value


def _parts(path: str) -> list[str]:
    plain, bracket, rest = path.partition("[")
    parts = [part for part in plain.split(".") if part]
    if not bracket:
        return parts
    key, _, behind = rest.partition("]")
    return [*parts, key, *_parts(behind)]


def _entry(values: list[Any], part: str) -> Any:
    if part.isdecimal():
        return values[int(part)] if int(part) < len(values) else ABSENT
    return next((value for value in values if value.get("name") == part), ABSENT)
