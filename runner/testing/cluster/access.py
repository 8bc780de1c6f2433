"""Who may do what: the bearer token, and the rights a test takes away.

Law: everything is allowed until it is forbidden. A WebSocket to `pods/exec` or `pods/attach` is a GET and needs the
verb `get`, and since Kubernetes 1.35 `create` as well: both are asked here, so a Role that lacks one is found.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.testing.cluster.problems import Manifest, StatusError
from runner.testing.cluster.resources import RESOURCES, Target

USER = "system:serviceaccount:default:runner"
"""Who every client is."""

_READS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})


def flag(query: Mapping[str, str], name: str) -> bool:
    """Read a boolean of a query in every spelling that the server takes."""
    return query.get(name, "") in _TRUE


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """Return the verb of a request as Roles name it."""
    verb = _READS.get(method, method.lower())
    if verb == "get" and not target.name:
        return "watch" if flag(query, "watch") else "list"
    return "deletecollection" if verb == "delete" and not target.name else verb


class Access:
    """The rights of the one user."""

    def __init__(self, token: str = "") -> None:
        self._token = token
        self._forbidden: set[tuple[str, str, str]] = set()

    def forbid(self, verb: str, resource: str, *, namespace: str = "") -> None:
        """Take a right away: `resource` may be `pods/attach`; an empty namespace means all."""
        self._forbidden.add((verb, resource, namespace))

    def allow_all(self) -> None:
        """Give every right back."""
        self._forbidden.clear()

    def allowed(self, verb: str, resource: str, namespace: str) -> bool:
        """Tell whether the user has a right."""
        return not {(verb, resource, namespace), (verb, resource, "")} & self._forbidden

    def authenticate(self, authorization: str) -> None:
        """Raise StatusError 401 unless the header carries the token, when there is one."""
        if self._token and authorization != f"Bearer {self._token}":
            raise StatusError(401, "Unauthorized", "Unauthorized")

    def authorize(self, verb: str, target: Target) -> None:
        """Raise StatusError 403 for a right that was taken away."""
        resource = target.resource.name + (f"/{target.subresource}" if target.subresource else "")
        verbs = ("get", "create") if target.subresource in ("exec", "attach") else (verb,)
        for one in verbs:
            if not self.allowed(one, resource, target.namespace):
                name = f' "{target.name}"' if target.name else ""
                place = f' in the namespace "{target.namespace}"' if target.namespace else " at the cluster scope"
                raise StatusError(
                    403,
                    "Forbidden",
                    f'{target.resource.qualified_name}{name} is forbidden: User "{USER}" cannot {one} resource '
                    f'"{resource}" in API group "{target.resource.group}"{place}',
                    details={"name": target.name, "kind": target.resource.name},
                )

    def review(self, manifest: Manifest) -> Manifest:
        """Answer a SelfSubjectAccessReview."""
        wanted = (manifest.get("spec") or {}).get("resourceAttributes") or {}
        resource = wanted.get("resource", "")
        if wanted.get("subresource"):
            resource = f"{resource}/{wanted['subresource']}"
        known = wanted.get("resource", "") in RESOURCES or wanted.get("resource") == "*"
        allowed = known and self.allowed(wanted.get("verb", ""), resource, wanted.get("namespace", ""))
        return {**manifest, "metadata": {}, "status": {"allowed": allowed}}
