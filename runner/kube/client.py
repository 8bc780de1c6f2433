"""The API server as the executor needs it: manifests in, manifests out.

Law: manifests stay plain dicts, so fields that we do not know survive. Each method is one request and its repetitions
(runner.kube.retries); reading and deleting repeat freely, creating only when a nonce of ours makes a repetition
recognizable. Raises KubeError alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import anyio
import orjson

from runner import __version__
from runner.kube.errors import ConflictError, GoneError, KubeError, NotFoundError
from runner.kube.resources import resource_path, subject_of
from runner.kube.retries import RetryPolicy
from runner.kube.transport import Request, Transport

if TYPE_CHECKING:
    from runner.kube.resources import Manifest
    from runner.kube.transport import Connection, Observer

USER_AGENT = f"runner/{__version__}"
PAGE_SIZE = 250
"""Objects per page of a list: about 3 MB of pods, parsed in 20 ms."""

_LIST_TRIES = 3


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    items: tuple[Manifest, ...]
    resource_version: str
    """The version of the whole list: where a watch goes on."""
    next_page: str
    """The continue token; empty on the last page."""


class KubeClient:
    """One connection to one API server, shared by all jobs that use it. Safe for concurrent use; `aclose` it once."""

    def __init__(
        self,
        connection: Connection,
        *,
        retry: RetryPolicy | None = None,
        request_timeout: float = 30.0,
        observe: Observer | None = None,
        retried: Callable[[str, str], None] | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        """`observe` hears of each request, `retried` of verb and resource before one is sent once more."""
        self.transport = Transport(connection, user_agent=user_agent, observe=observe)
        self._retry = retry or RetryPolicy()
        self._request_timeout = request_timeout
        self._retried = retried or (lambda verb, resource: None)

    @property
    def host(self) -> str:
        """The API server's address, for a person."""
        return self.transport.connection.host

    async def aclose(self) -> None:
        """Close all connections; streams that are open are lost."""
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def create(
        self, resource: str, namespace: str, manifest: Manifest, *, nonce_key: str = "", dry_run: bool = False
    ) -> Manifest:
        """Create an object and return it as the server made it.

        `nonce_key` names a label or annotation of the manifest whose value is ours alone. With it a create whose
        answer was lost is sent again, and when the name is then taken by an object with our nonce, that object is the
        answer (a lost answer must neither fail a job nor make two pods). Without it only a request that certainly had
        no effect is repeated. ConflictError when the name belongs to somebody else, or to ours while it is being
        deleted.
        """
        name = str(manifest.get("metadata", {}).get("name", ""))
        request = self._request(
            "create",
            resource,
            namespace,
            name,
            path=resource_path(resource, namespace),
            method="POST",
            body=orjson.dumps(manifest),
            query=(("dryRun", "All"),) if dry_run else (),
        )
        nonce = _nonce(manifest, nonce_key)
        try:
            return await self._send(request, idempotent=dry_run or bool(nonce and name))
        except ConflictError as conflict:
            if not (conflict.already_exists and nonce and name):
                raise
            found = await self._found(resource, namespace, name)
            if _nonce(found, nonce_key) != nonce or found.get("metadata", {}).get("deletionTimestamp"):
                raise
            return found

    async def read(
        self, resource: str, namespace: str, name: str, *, subresource: str = "", tries: int | None = None
    ) -> Manifest:
        """Read an object as it is now, not as a cache remembers it.

        NotFoundError is proof of absence; `tries` replaces the policy's limit.
        """
        request = self._request("get", resource, namespace, name, subresource=subresource)
        return await self._send(request, idempotent=True, tries=tries)

    async def delete(
        self, resource: str, namespace: str, name: str, *, grace_seconds: float | None = None, uid: str = ""
    ) -> bool:
        """Ask for an object's removal; its dependents go in the background. False when it is not there.

        With `uid` only that very object is deleted; ConflictError when another one has its name by now. An accepted
        delete is not an absent object: a pod stays until its grace period ends.
        """
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = int(grace_seconds)
        if uid:
            options["preconditions"] = {"uid": uid}
        request = self._request("delete", resource, namespace, name, method="DELETE", body=orjson.dumps(options))
        try:
            await self._send(request, idempotent=True)
        except NotFoundError:
            return False
        return True

    async def patch(self, resource: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        """Merge `patch` into an object (RFC 7396) and return the result.

        A merge has the same effect twice, so it is repeated.
        """
        request = self._request(
            "patch",
            resource,
            namespace,
            name,
            method="PATCH",
            body=orjson.dumps(patch),
            content_type="application/merge-patch+json",
        )
        return await self._send(request, idempotent=True)

    async def list(
        self, resource: str, namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> tuple[Manifest, ...]:
        """List all objects that match, page by page; an empty namespace means all of them."""
        for last in (False,) * (_LIST_TRIES - 1) + (True,):
            try:
                return await self._list_once(resource, namespace, label_selector, field_selector)
            except GoneError:
                # The list took so long that its snapshot expired between two pages: begin anew.
                if last:
                    raise
        raise AssertionError("the last try returned or raised")

    async def list_page(
        self,
        resource: str,
        namespace: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page: str = "",
        tries: int | None = None,
    ) -> Page:
        """List one page; `page` is the token of the page before. GoneError when the token has expired."""
        query = (
            ("labelSelector", label_selector),
            ("fieldSelector", field_selector),
            ("limit", str(PAGE_SIZE)),
            ("continue", page),
        )
        request = self._request("list", resource, namespace, query=tuple(pair for pair in query if pair[1]))
        answer = await self._send(request, idempotent=True, tries=tries)
        metadata = answer.get("metadata") or {}
        return Page(
            tuple(answer.get("items") or ()),
            str(metadata.get("resourceVersion") or ""),
            str(metadata.get("continue") or ""),
        )

    async def warning_events(
        self, namespace: str, name: str, *, kind: str = "Pod", uid: str = ""
    ) -> tuple[Manifest, ...]:
        """List the Warning events about an object: why a pod does not start. Needs the right to list events."""
        fields = {
            "involvedObject.kind": kind,
            "involvedObject.name": name,
            "involvedObject.uid": uid,
            "type": "Warning",
        }
        selector = ",".join(f"{key}={value}" for key, value in fields.items() if value)
        return await self.list("events", namespace, field_selector=selector)

    async def self_subject_access_review(
        self, namespace: str, verb: str, resource: str, *, subresource: str = "", group: str = ""
    ) -> bool:
        """Ask whether we may do something; everybody may ask this."""
        attributes = {
            "namespace": namespace,
            "verb": verb,
            "resource": resource,
            "subresource": subresource,
            "group": group,
        }
        kind = "selfsubjectaccessreviews"
        review: Manifest = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        request = self._request("create", kind, "", method="POST", body=orjson.dumps(review))
        # A review leaves nothing behind, so asking twice does no harm.
        answer = await self._send(request, idempotent=True)
        return bool((answer.get("status") or {}).get("allowed"))

    async def server_version(self, *, tries: int | None = None) -> Manifest:
        """Read what the API server says about itself: `major`, `minor`, `gitVersion`, `platform`.

        `tries` replaces the policy's limit.
        """
        request = Request(verb="get", resource="version", subject="the server's version", path="/version")
        return await self._send(replace(request, timeout=self._request_timeout), idempotent=True, tries=tries)

    async def _list_once(
        self, resource: str, namespace: str, label_selector: str, field_selector: str
    ) -> tuple[Manifest, ...]:
        items: tuple[Manifest, ...] = ()
        token = ""
        while True:
            page = await self.list_page(
                resource, namespace, label_selector=label_selector, field_selector=field_selector, page=token
            )
            items += page.items
            token = page.next_page
            if not token:
                return items

    async def _found(self, resource: str, namespace: str, name: str) -> Manifest:
        """Return the object that has a name, or an empty one when it has gone meanwhile."""
        try:
            return await self.read(resource, namespace, name)
        except NotFoundError:
            return {}

    def _request(
        self,
        verb: str,
        resource: str,
        namespace: str,
        name: str = "",
        *,
        subresource: str = "",
        path: str = "",
        method: str = "GET",
        query: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Request:
        return Request(
            verb=verb,
            resource=f"{resource}/{subresource}" if subresource else resource,
            subject=subject_of(resource, namespace, name),
            path=path or resource_path(resource, namespace, name, subresource),
            method=method,
            query=query,
            body=body,
            content_type=content_type,
            timeout=self._request_timeout,
        )

    async def _send(self, request: Request, *, idempotent: bool, tries: int | None = None) -> Manifest:
        retry = self._retry if tries is None else replace(self._retry, limit=tries)
        done = 0
        while True:
            try:
                return await self.transport.call(request)
            except KubeError as error:
                done += 1
                pause = retry.next_pause(
                    error,
                    tries=done,
                    idempotent=idempotent,
                    creating=request.verb == "create",
                    spread=random.random(),
                )
                if pause is None:
                    raise
            self._retried(request.verb, request.resource)
            await anyio.sleep(pause)


def _nonce(manifest: Manifest, key: str) -> str:
    """Return the value of a label or annotation; empty when there is none."""
    metadata = manifest.get("metadata") or {}
    for place in ("labels", "annotations"):
        value = (metadata.get(place) or {}).get(key) if key else None
        if value:
            return str(value)
    return ""
