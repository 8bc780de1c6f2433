"""A job's manifests without a cluster: what the executor would create for it, in its order.

The parts are the manager's and the executor's own. What differs from one run to the next stands in a fixed form, so
that the same input gives the same output.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runner import __version__
from runner.executor.base import JobRequest
from runner.executor.registries import AUTH_VARIABLE
from runner.executor.requesting import pod_request
from runner.job.durations import format_duration
from runner.job.feature_flags import FLAGS
from runner.job.payload import Job
from runner.job.variables import short_token
from runner.manager.material import Identity, JobMaterial, Place
from runner.manager.settings import REVISION, default_helper_image
from runner.podspec.agents import build_command, helper_command
from runner.podspec.creation import creations
from runner.podspec.labels import EXPIRES_ANNOTATION, EXPIRY_MARGIN
from runner.podspec.names import RANDOM_LENGTH, names_for
from runner.podspec.pod import own_containers, pod_warnings
from runner.podspec.pull import pull_policies
from runner.podspec.registry import RegistrySourceError, job_logins, merged_logins, read_docker_config
from runner.podspec.secret import PART_LABEL, SUM_ANNOTATION, JobRecord
from runner.podspec.volumes import shares_builds_dir

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig
    from runner.job.variables import Variable, Variables
    from runner.podspec.manifest import Manifest
    from runner.podspec.names import Names
    from runner.podspec.origins import Path
    from runner.podspec.registry import RegistryLogin
    from runner.podspec.request import PodRequest

HIDDEN = "<hidden>"
"""Stands for every value that is secret."""

_RANDOM = "x" * RANDOM_LENGTH
_SYSTEM_ID = "s_xxxxxxxxxxxx"
_UID = "<uid of the pod>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What a job's pod and the objects around it are, and what its log says of them."""

    manifests: tuple[Manifest, ...]
    """With the values of Secrets: `shown` gives what may be printed."""
    notes: tuple[tuple[str, str], ...]
    """Lines of the job's log before anything is created: `plain` or `warning`, and the text."""
    private: frozenset[str]
    """Variables that the configuration marks as secret, though they stand in the pod."""


def render(payload: Mapping[str, Any], runner: RunnerConfig) -> Rendering:
    """Build what the executor would create. Raises PayloadError, and JobError for a job that it would refuse."""
    job = Job.parse(dict(payload))
    material = JobMaterial.of(job, runner, identity=_identity(runner), place=Place(), shared=shares_builds_dir(runner))
    notes = [("warning", text) for text in material.warnings]
    request = JobRequest(
        job=job,
        runner=runner,
        variables=material.variables,
        feature_flags=material.flags,
        directories=material.directories,
        system_id=_SYSTEM_ID,
    )
    made = pod_request(
        request,
        runner,
        system_id=_SYSTEM_ID,
        default_helper_image=default_helper_image(os.environ),
        note=lambda kind, text: notes.append((kind, text)),
    )
    policies = pull_policies(made, own_containers(made))
    pod = replace(made, names=_fixed_names(made), pull_policies=policies.current(), now=0.0)
    logins = () if pod.kubernetes.use_service_account_image_pull_secrets else _logins(job, material.variables, notes)
    notes += (("warning", text) for text in pod_warnings(pod))
    if any(len(several) > 1 for several in policies.lists.values()):
        # The pod shows only the first.
        notes += (("plain", text) for text in policies.announcements())
    record = JobRecord(payload=job.model_dump_json().encode(), plan=b"{}")
    return Rendering(
        manifests=tuple(_steady(manifest, job) for _, manifest in creations(pod, record, logins=logins, uid=_UID)),
        notes=tuple(notes),
        private=_private_names(pod),
    )


def shown(rendering: Rendering, *, full: bool = False) -> list[Manifest]:
    """The manifests as they may be printed: secret values hidden, the agents' scripts only named unless `full`."""
    agents = {} if full else _agents()
    return [_shown(manifest, rendering.private, agents) for manifest in rendering.manifests]


def default_flags(documents: Iterable[object]) -> dict[Path, frozenset[Path]]:
    """Find the environments of containers, each with its entries for feature flags that are as they always are."""
    found = {}
    for path, entries in _environments(list(documents), ()):
        quiet = frozenset((*path, number) for number, entry in enumerate(entries) if _is_default_flag(entry))
        if 0 < len(quiet) < len(entries):
            found[path] = quiet
    return found


def _environments(node: object, path: Path) -> Iterator[tuple[Path, list[Any]]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "env" and isinstance(value, list):
                yield (*path, key), value
            else:
                yield from _environments(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _environments(value, (*path, number))


def _is_default_flag(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.get("name") not in FLAGS:
        return False
    return entry.get("value") == ("true" if FLAGS[entry["name"]] else "false")


def _identity(runner: RunnerConfig) -> Identity:
    # Over TLS a job is given GitLab's certificates, in a file whose path stands in the pod.
    tls_ca = "certificates" if runner.url.startswith("https:") else ""
    return Identity(
        name="runner", version=__version__, revision=REVISION, system_id=_SYSTEM_ID, host="manager", tls_ca=tls_ca
    )


def _fixed_names(request: PodRequest) -> Names:
    return names_for(
        short_token=short_token(request.config.token),
        project_id=request.job.job_info.project_id,
        concurrent_project_id=0,
        random=_RANDOM,
    )


def _logins(job: Job, variables: Variables, notes: list[tuple[str, str]]) -> tuple[RegistryLogin, ...]:
    """The registries of the job's variable and payload; files and programs of the manager's machine are not asked."""
    sources = [job_logins(job.credentials)]
    if text := variables.content(AUTH_VARIABLE):
        try:
            config = read_docker_config(text)
        except RegistrySourceError as error:
            notes.append(("warning", f"{AUTH_VARIABLE} is left out: {error}"))
        else:
            sources.insert(0, config.logins)
            if config.store or config.helpers:
                notes.append(("plain", f"{AUTH_VARIABLE} names credential helpers: they are asked when the job runs"))
    return merged_logins(sources)


def _private_names(request: PodRequest) -> frozenset[str]:
    """Names of variables that come from a key which the configuration's model marks as secret."""
    own = {variable.key for service in request.services for variable in service.environment if _is_private(variable)}
    return frozenset(own | {variable.key for variable in _last_ones(request.variables) if _is_private(variable)})


def _last_ones(variables: Variables) -> Iterable[Variable]:
    return {variable.key: variable for variable in variables}.values()


def _is_private(variable: Variable) -> bool:
    """`environment` of the configuration gives internal variables that are not public; nothing else does."""
    return variable.internal and not variable.public and variable.key not in FLAGS


def _steady(manifest: Manifest, job: Job) -> Manifest:
    """Put fixed words for what is another value each time: the moment, and the record's packed bytes."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {})}
    if EXPIRES_ANNOTATION in annotations:
        annotations[EXPIRES_ANNOTATION] = f"<{format_duration(job.timeout + EXPIRY_MARGIN)} after it is made>"
    if PART_LABEL not in metadata.get("labels", {}):
        return {**manifest, "metadata": {**metadata, "annotations": annotations}}
    annotations[SUM_ANNOTATION] = "<checksum>"
    data = dict.fromkeys(manifest["data"], HIDDEN)
    return {**manifest, "metadata": {**metadata, "annotations": annotations}, "data": data}


def _agents() -> dict[str, str]:
    """The texts of the agents, which are the same in every pod, with what is printed in their place."""
    commands = (build_command("", ""), helper_command("", "", keep_bytes=0))
    texts = {word for command in commands for word in command if "\n" in word}
    return {text: f"<{text.count(chr(10))} lines of the agent's script; --full shows them>" for text in texts}


def _shown(node: Any, private: frozenset[str], agents: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        if node.get("kind") == "Secret":
            secrets = {key: dict.fromkeys(node[key], HIDDEN) for key in ("data", "stringData") if key in node}
            return {**node, **secrets}
        if node.get("name") in private and "value" in node:
            return {**node, "value": HIDDEN}
        return {key: _shown(value, private, agents) for key, value in node.items()}
    if isinstance(node, list):
        return [_shown(value, private, agents) for value in node]
    return agents.get(node, node) if isinstance(node, str) else node
