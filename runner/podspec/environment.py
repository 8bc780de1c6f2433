"""Environment variables of the containers.

A pod's spec is readable for everyone who may list pods, and it stays in etcd. So `build` gets public variables only,
its scripts bring the rest; a service has no script, so what must not be seen comes to it from a Secret.
"""

import base64
import re
from collections.abc import Iterator

from runner.job.room import LONGEST_BYTES, named
from runner.job.variables import Variable, Variables
from runner.podspec.labels import object_annotations, object_labels
from runner.podspec.manifest import Manifest
from runner.podspec.request import PodRequest
from runner.podspec.services import PodService

_PRIVATE = frozenset({"DOCKER_AUTH_CONFIG"})
"""Variables that hold passwords by their nature, however they were declared: scripts still get them."""
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
"""A name that every API server takes. Any other could cost the whole pod, and no shell can export it."""


_ROOM_BYTES = 512 * 1024
"""How much a pod takes of variables, in all of its containers: etcd refuses an object of 1.5 MiB."""


def build_environment(variables: Variables, *, containers: int = 1) -> list[Manifest]:
    """Build the environment of `build`: public variables, each once, `$` doubled against Kubernetes' `$(NAME)`.

    The longest are left out where there is no room for all of them in that many containers, and what no program can
    have is left out anyway: scripts bring them.
    """
    entries = _public_entries(variables)
    out = _without_room(entries, containers)
    return [entry for entry in entries if entry["name"] not in out] if out else entries


def environment_warnings(request: PodRequest) -> tuple[str, ...]:
    """Say which public variables services do not have though they should."""
    if not request.services:
        return ()
    out = _without_room(_public_entries(request.variables), 1 + len(request.services))
    return (f"Too large for the pod, scripts have them and services do not: {named(sorted(out))}",) if out else ()


def _without_room(entries: list[Manifest], containers: int) -> frozenset[str]:
    """Name the variables that are left out, the longest first."""
    sizes = {entry["name"]: len(entry["name"].encode()) + len(entry["value"].encode()) for entry in entries}
    together, out = sum(sizes.values()), set()
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if together * containers <= _ROOM_BYTES and sizes[name] <= LONGEST_BYTES - 2:
            break
        together -= sizes[name]
        out.add(name)
    return frozenset(out)


def _public_entries(variables: Variables) -> list[Manifest]:
    final = variables.expanded()
    hidden = tuple(value.replace("$", "$$") for value in _private_values(final))
    return [
        {"name": name, "value": value}
        for name, value in final.public_environment()
        if _NAME.fullmatch(name) and name not in _PRIVATE and not (hidden and any(secret in value for secret in hidden))
    ]


def build_service_environment(service: PodService, request: PodRequest, common: list[Manifest]) -> list[Manifest]:
    """Build a service's environment: the build's, which is `common`, overridden by the service's own variables.

    Its own values are expanded against all of the job's variables. One that came to hold something not public is
    taken from `build_environment_secret`.
    """
    if not service.environment:
        return common
    entries = {entry["name"]: entry for entry in common}
    for index, (variable, value, is_open) in enumerate(_own_values(service, request.variables)):
        plain: Manifest = {"name": variable.key, "value": value.replace("$", "$$")}
        hidden: Manifest = {
            "name": variable.key,
            "valueFrom": {"secretKeyRef": {"name": request.names.environment, "key": f"{service.name}.{index}"}},
        }
        entries[variable.key] = plain if is_open else hidden
    return list(entries.values())


def build_environment_secret(request: PodRequest) -> Manifest | None:
    """Build the Secret with the service variables that must not stand in the pod; None if there are none.

    Create it before the pod: a container whose Secret is missing does not start. It has no owner until the pod is
    there, so give it one then; its labels let it be swept if that never happens.
    """
    data = {
        f"{service.name}.{index}": base64.b64encode(value.encode()).decode()
        for service in request.services
        for index, (_, value, is_open) in enumerate(_own_values(service, request.variables))
        if not is_open
    }
    if not data:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": request.names.environment,
            "namespace": request.pod_namespace,
            "labels": object_labels(request),
            "annotations": object_annotations(request),
        },
        "type": "Opaque",
        "data": data,
    }


def _own_values(service: PodService, variables: Variables) -> Iterator[tuple[Variable, str, bool]]:
    """Yield a service's own variables with their values, and whether everybody may see the value.

    A value that the job wrote down is open: it stands in the repository. One is not when it contains a masked value, or
    when it would be another one without the variables that are not public.
    """
    if not service.environment:
        return
    everything = variables.expanded()
    public = Variables(variable for variable in everything if variable.public or variable.internal)
    secrets = (*everything.masked_values(), *_private_values(everything))
    for variable in service.environment:
        if not _NAME.fullmatch(variable.key):
            continue
        value = variable.value if variable.raw else everything.expand(variable.value)
        same = variable.raw or value == public.expand(variable.value)
        is_open = same and variable.key not in _PRIVATE and not any(secret in value for secret in secrets)
        yield variable, value, is_open


def _private_values(variables: Variables) -> tuple[str, ...]:
    return tuple(value for name in sorted(_PRIVATE) if (value := variables.content(name)))
