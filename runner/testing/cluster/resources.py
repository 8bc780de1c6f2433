"""Which kinds of object the embedded API server keeps, and how a path names one.

Law: a table and a pure reading of paths. A new kind is a new row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object: its plural name in paths, its kind in manifests, its API group and version."""

    name: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_name: str = ""
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """What manifests of this kind say in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_name(self) -> str:
        """The plural with its group behind it, as messages name it."""
        return f"{self.name}.{self.group}" if self.group else self.name


RESOURCES: dict[str, Resource] = {
    row.name: row
    for row in (
        Resource("namespaces", "Namespace", namespaced=False, short_name="ns", subresources=("status",)),
        Resource("pods", "Pod", short_name="po", subresources=("status", "log", "exec", "attach", "eviction")),
        Resource("secrets", "Secret"),
        Resource("configmaps", "ConfigMap", short_name="cm"),
        Resource("services", "Service", short_name="svc", subresources=("status", "proxy")),
        Resource("serviceaccounts", "ServiceAccount", short_name="sa"),
        Resource("events", "Event", short_name="ev"),
        Resource("resourcequotas", "ResourceQuota", short_name="quota", subresources=("status",)),
        Resource("persistentvolumeclaims", "PersistentVolumeClaim", short_name="pvc", subresources=("status",)),
        Resource(
            "poddisruptionbudgets", "PodDisruptionBudget", group="policy", short_name="pdb", subresources=("status",)
        ),
    )
}
"""Every resource by its plural name; the names are unique across groups here."""

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""What a client may do with each of them."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's path is about."""

    resource: Resource
    namespace: str = ""
    """Empty: all namespaces, or an object outside of any."""
    name: str = ""
    """Empty: the collection."""
    subresource: str = ""


def parse_path(path: str) -> Target | None:
    """Read `/api/v1/...` or `/apis/GROUP/VERSION/...`; None when nothing is served there."""
    words = [word for word in path.split("/") if word]
    match words:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        _, namespace, *rest = rest
    if rest[:1] == ["services"] and rest[2:3] == ["proxy"]:
        rest = rest[:3]  # what follows is the service's own
    if not 1 <= len(rest) <= 3:
        return None
    resource = RESOURCES.get(rest[0])
    if resource is None or (resource.group, resource.version) != (group, version):
        return None
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in resource.subresources:
        return None
    if resource.namespaced and name and not namespace:
        return None
    return Target(resource, namespace, name, subresource)
