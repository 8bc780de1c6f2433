"""The kinds of objects that we ask for, and their addresses.

Pure. A resource is named as in a Role: the plural, or `group/version/plural` for one that is not in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Manifest = dict[str, Any]
"""An object as Kubernetes' JSON has it: unknown fields survive."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the objects of one kind live."""

    plural: str
    group: str = ""
    """Empty for the core group."""
    version: str = "v1"
    namespaced: bool = True


_TABLE = {
    resource.plural: resource
    for resource in (
        Resource("pods"),
        Resource("secrets"),
        Resource("configmaps"),
        Resource("services"),
        Resource("serviceaccounts"),
        Resource("events"),
        Resource("resourcequotas"),
        Resource("limitranges"),
        Resource("persistentvolumeclaims"),
        Resource("namespaces", namespaced=False),
        Resource("nodes", namespaced=False),
        Resource("poddisruptionbudgets", "policy"),
        Resource("deployments", "apps"),
        Resource("leases", "coordination.k8s.io"),
        Resource("roles", "rbac.authorization.k8s.io"),
        Resource("rolebindings", "rbac.authorization.k8s.io"),
        Resource("priorityclasses", "scheduling.k8s.io", namespaced=False),
        Resource("selfsubjectaccessreviews", "authorization.k8s.io", namespaced=False),
    )
}


def resource_named(name: str) -> Resource:
    """Look up a resource; `group/version/plural` names any namespaced one. ValueError for an unknown plain name."""
    if name in _TABLE:
        return _TABLE[name]
    parts = name.split("/")
    if len(parts) == 3 and all(parts):
        return Resource(parts[2], parts[0], parts[1])
    raise ValueError(f"Unknown resource {name!r}: write it as group/version/plural.")


def resource_path(resource: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """Build the path of a collection, an object or its subresource; an empty namespace means all of them."""
    known = resource_named(resource)
    parts = ["apis", known.group, known.version] if known.group else ["api", known.version]
    if known.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts += [part for part in (known.plural, name, subresource) if part]
    return "/" + "/".join(quote(part, safe="") for part in parts)


def subject_of(resource: str, namespace: str, name: str = "") -> str:
    """Name an object or a collection for a person."""
    place = "/".join(part for part in (namespace, name) if part)
    return f"{resource} {place}" if place else resource
