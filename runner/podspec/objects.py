"""What a job makes in the cluster besides its pod and Secrets: a namespace, a disruption budget, Services.

Pure. All but the namespace name the pod as their owner, so they go with it. They select the very pod: GitLab Runner
selects by its slot, which a predecessor that is still going away has too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.job.payload import Port
from runner.podspec.containers import BUILD
from runner.podspec.labels import NAME_LABEL, object_annotations, object_labels
from runner.podspec.manifest import Manifest
from runner.podspec.names import dns_name, object_name
from runner.podspec.request import PodRequest

_LABEL_LENGTH = 63


def build_namespace(request: PodRequest) -> Manifest:
    """Build the namespace of one job alone (`namespace_per_job`)."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": request.pod_namespace,
            "labels": object_labels(request),
            "annotations": object_annotations(request),
        },
    }


def build_disruption_budget(request: PodRequest, *, owner: Manifest) -> Manifest:
    """Build the budget that lets no drained node evict the pod."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(request, request.names.disruption_budget, owner),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": _selector(request)}},
    }


def build_services(request: PodRequest, *, owner: Manifest) -> tuple[Manifest, ...]:
    """Build one Service for each name under which ports of the job's images are to be reached.

    A name is an alias of the image, else `build` or `proxy-` and the container's name. Two images that share a name
    share its Service.
    """
    ports: dict[str, dict[int, None]] = {}
    for name, named in _named_ports(request):
        ports.setdefault(_service_name(name), {}).update(dict.fromkeys(port.number for port in named))
    return tuple(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(request, _object_name(request, name), owner),
            "spec": {
                "type": "ClusterIP",
                "selector": _selector(request),
                "ports": [
                    {"name": _port_name(name, number), "port": number, "targetPort": number} for number in numbers
                ],
            },
        }
        for name, numbers in ports.items()
    )


@dataclass(frozen=True, slots=True)
class ProxiedPort:
    """A port that the session's proxy reaches."""

    service: str
    """The Service's name in the cluster."""
    number: int
    scheme: str
    """`http` or `https`, as the API server speaks to it; empty for a protocol that is neither."""


def proxied_port(request: PodRequest, name: str, port: str) -> ProxiedPort | None:
    """Find a port by the name under which its image is reached, and its number or its own name; None for none."""
    for known, ports in _named_ports(request):
        for one in ports if known == name else ():
            if port and port in {str(one.number), one.name}:
                protocol = one.protocol or "http"
                scheme = protocol if protocol in {"http", "https"} else ""
                return ProxiedPort(_object_name(request, _service_name(name)), one.number, scheme)
    return None


def _named_ports(request: PodRequest) -> Iterator[tuple[str, tuple[Port, ...]]]:
    image = request.job.image
    if image and image.ports:
        for name in image.aliases or (BUILD,):
            yield name, image.ports
    for service in request.services:
        if service.ports:
            for name in service.aliases or (f"proxy-{service.name}",):
                yield name, service.ports


def _object_name(request: PodRequest, name: str) -> str:
    return object_name(name, request.names.pod.rpartition("-")[2])


def _service_name(alias: str) -> str:
    """Make any alias the begin of a Service's name, which unlike other names starts with a letter."""
    return re.sub(r"^[^a-z]+", "", dns_name(alias)) or "proxy"


def _port_name(service: str, number: int) -> str:
    suffix = f"-{number}"
    return service[: _LABEL_LENGTH - len(suffix)].rstrip("-") + suffix


def _selector(request: PodRequest) -> dict[str, str]:
    return {NAME_LABEL: object_labels(request)[NAME_LABEL]}


def _metadata(request: PodRequest, name: str, owner: Manifest) -> Manifest:
    return {
        "name": name,
        "namespace": request.pod_namespace,
        "labels": object_labels(request),
        "annotations": object_annotations(request),
        "ownerReferences": [owner],
    }
