"""What `kubectl get` prints: objects as rows of a Table.

Law: pure but for the age of things. Without this kubectl shows a name and an age.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from runner.testing.cluster.moments import age
from runner.testing.cluster.problems import Manifest

_COLUMNS: dict[str, tuple[str, ...]] = {
    "pods": ("Name", "Ready", "Status", "Restarts", "Age", "IP", "Node"),
    "namespaces": ("Name", "Status", "Age"),
    "secrets": ("Name", "Type", "Data", "Age"),
    "configmaps": ("Name", "Data", "Age"),
    "services": ("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"),
    "serviceaccounts": ("Name", "Secrets", "Age"),
    "poddisruptionbudgets": ("Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"),
    "events": ("Last Seen", "Type", "Reason", "Object", "Message"),
}
_PLAIN = ("Name", "Age")
_WIDE = frozenset({"IP", "Node"})


def table(resource: str, items: Sequence[Manifest], *, version: str, header: bool = True) -> Manifest:
    """Return the objects as a Table; watches send the header once only."""
    shown: Manifest = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "rows": [_row(resource, item) for item in items],
    }
    if header:
        shown["columnDefinitions"] = [
            {
                "name": name,
                "type": "string",
                "format": "name" if name == "Name" else "",
                "description": "",
                "priority": 1 if name in _WIDE else 0,
            }
            for name in _COLUMNS.get(resource, _PLAIN)
        ]
    return shown


def _row(resource: str, item: Manifest) -> Manifest:
    return {
        "cells": _cells(resource, item),
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": item["metadata"],
        },
    }


def _cells(resource: str, item: Manifest) -> list[Any]:
    name, old = item["metadata"]["name"], age(item["metadata"].get("creationTimestamp", ""))
    make = _CELLS.get(resource)
    return make(item, name, old) if make else [name, old]


def _event_cells(event: Manifest, _name: str, _old: str) -> list[Any]:
    subject = event["involvedObject"]
    place = f"{subject['kind'].lower()}/{subject['name']}"
    return [age(event["lastTimestamp"]), event["type"], event["reason"], place, event["message"]]


def _pod_cells(pod: Manifest, name: str, old: str) -> list[Any]:
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    ready = sum(1 for container in containers if container.get("ready"))
    restarts = sum(container.get("restartCount", 0) for container in containers)
    total = len(pod["spec"]["containers"])
    node = pod["spec"].get("nodeName") or "<none>"
    return [name, f"{ready}/{total}", _pod_word(pod), restarts, old, status.get("podIP") or "<none>", node]


def _pod_word(pod: Manifest) -> str:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    word: str = status.get("reason") or status.get("phase", "Unknown")
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        for kind in ("waiting", "terminated"):
            if state.get(kind, {}).get("reason"):
                word = state[kind]["reason"]
    return word


def _service_cells(service: Manifest, name: str, old: str) -> list[Any]:
    spec = service["spec"]
    ports = ",".join(f"{port['port']}/{port['protocol']}" for port in spec.get("ports") or []) or "<none>"
    return [name, spec["type"], spec.get("clusterIP") or "None", "<none>", ports, old]


def _budget_cells(budget: Manifest, name: str, old: str) -> list[Any]:
    spec, status = budget["spec"], budget.get("status") or {}
    least, most = (str(spec.get(field, "N/A")) for field in ("minAvailable", "maxUnavailable"))
    return [name, least, most, status.get("disruptionsAllowed", 0), old]


_CELLS: dict[str, Callable[[Manifest, str, str], list[Any]]] = {
    "pods": _pod_cells,
    "events": _event_cells,
    "namespaces": lambda item, name, old: [name, item["status"]["phase"], old],
    "secrets": lambda item, name, old: [name, item.get("type", ""), len(item.get("data") or {}), old],
    "configmaps": lambda item, name, old: [name, len(item.get("data") or {}), old],
    "services": _service_cells,
    "serviceaccounts": lambda item, name, old: [name, len(item.get("secrets") or []), old],
    "poddisruptionbudgets": _budget_cells,
}
