"""What a client asks before it asks for anything: version, groups, resources, OpenAPI.

Law: pure documents. Aggregated discovery is not served: plain JSON makes clients fall back. The OpenAPI document says
of each kind no more than that fields are validated by the server, which is all that `kubectl create` wants to know.
"""

from __future__ import annotations

from runner.testing.cluster.problems import Manifest
from runner.testing.cluster.resources import RESOURCES, VERBS, Resource

_SUBRESOURCE_KINDS = {
    "log": ("Pod", ("get",)),
    "exec": ("PodExecOptions", ("create", "get")),
    "attach": ("PodAttachOptions", ("create", "get")),
    "eviction": ("Eviction", ("create",)),
}
_AUTHORIZATION = "authorization.k8s.io"


def document(path: str) -> Manifest | None:
    """Return the discovery document at a path, or None."""
    return _DOCUMENTS.get(path.strip("/"))


def _documents() -> dict[str, Manifest]:
    groups = sorted({resource.group for resource in RESOURCES.values() if resource.group} | {_AUTHORIZATION})
    paths = _openapi_paths()
    return {
        "version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"},
        "api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group) for group in groups]},
        "api/v1": _resource_list(""),
        **{f"apis/{group}": {"kind": "APIGroup", "apiVersion": "v1", **_group(group)} for group in groups},
        **{f"apis/{group}/v1": _resource_list(group) for group in groups},
        "openapi/v3": {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash=0"} for path in paths}},
        **{f"openapi/v3/{path}": _openapi(path) for path in paths},
    }


def _group(name: str) -> Manifest:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource_list(group: str) -> Manifest:
    rows = [row for resource in RESOURCES.values() if resource.group == group for row in _rows(resource)]
    if group == _AUTHORIZATION:
        rows.append(
            {
                "name": "selfsubjectaccessreviews",
                "singularName": "selfsubjectaccessreview",
                "namespaced": False,
                "kind": "SelfSubjectAccessReview",
                "verbs": ["create"],
            }
        )
    version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": rows}


def _rows(resource: Resource) -> list[Manifest]:
    singular = resource.kind.lower()
    rows: list[Manifest] = [
        {
            "name": resource.name,
            "singularName": singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(VERBS),
            "shortNames": [resource.short_name] if resource.short_name else [],
            "categories": ["all"] if resource.name in ("pods", "services") else [],
        }
    ]
    for name in resource.subresources:
        kind, verbs = _SUBRESOURCE_KINDS.get(name, (resource.kind, ("get", "patch", "update")))
        rows.append(
            {
                "name": f"{resource.name}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": list(verbs),
            }
        )
    return rows


def _openapi_paths() -> tuple[str, ...]:
    groups = sorted({resource.group for resource in RESOURCES.values()})
    return tuple(f"apis/{group}/v1" if group else "api/v1" for group in groups)


def _openapi(path: str) -> Manifest:
    group = path.split("/")[1] if path.startswith("apis/") else ""
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in ("fieldValidation", "dryRun")]
    paths = {}
    for resource in RESOURCES.values():
        if resource.group == group:
            place = "namespaces/{namespace}/" if resource.namespaced else ""
            kind = {"group": group, "version": resource.version, "kind": resource.kind}
            paths[f"/{path}/{place}{resource.name}/{{name}}"] = {
                "patch": {"x-kubernetes-group-version-kind": kind, "parameters": parameters, "responses": {}}
            }
    return {"openapi": "3.0.0", "info": {"title": "embedded", "version": "v1.34.0"}, "paths": paths}


_DOCUMENTS = _documents()
