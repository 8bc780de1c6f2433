"""The API server's HTTP: a request in, the rules of `Cluster` applied, an object, a list, a stream or a Status out.

Law: no rule of its own; what a verb means stands in `control`, what a stream carries in `streams` and `watching`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import orjson
from aiohttp import web

from runner.testing.cluster import service_proxy, streams
from runner.testing.cluster.access import Access, flag, verb_of
from runner.testing.cluster.control import Cluster, Deletion
from runner.testing.cluster.discovery import document
from runner.testing.cluster.kubelet import Kubelet
from runner.testing.cluster.patches import apply_patch
from runner.testing.cluster.problems import Manifest, StatusError, bad_request, no_such_path
from runner.testing.cluster.resources import RESOURCES, Target, parse_path
from runner.testing.cluster.schema import decode, prefix
from runner.testing.cluster.selectors import parse_selector
from runner.testing.cluster.tables import table
from runner.testing.cluster.watching import Pages, list_objects, parse_watch, watch_lines

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
_WHOLE_ANSWERS = frozenset({"pods", "namespaces", "services"})
"""What a DELETE answers with the object itself; all others answer with a Status."""


class Api:
    """Every route of the API server."""

    def __init__(self, cluster: Cluster, kubelet: Kubelet, access: Access, *, bookmark_interval: float) -> None:
        self._cluster = cluster
        self._kubelet = kubelet
        self._access = access
        self._bookmark_interval = bookmark_interval
        self.pages = Pages()
        self._streaming: dict[int, web.Request] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request; refusals become Status objects."""
        try:
            self._access.authenticate(request.headers.get("Authorization", ""))
            return await self._route(request)
        except StatusError as error:
            return _json(error.body, status=error.code)

    def cut_streams(self) -> int:
        """Abort the connections of all watches, logs, execs and attaches; return how many there were."""
        cut = 0
        for request in tuple(self._streaming.values()):
            if request.transport is not None:
                request.transport.abort()
                cut += 1
        return cut

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path in _HEALTH:
            return web.Response(text="ok")
        if path == _REVIEWS and request.method == "POST":
            return _json(self._access.review(await _body(request)), status=201)
        if request.method == "GET" and (found := document(path)) is not None:
            return _json(found)
        target = parse_path(path)
        if target is None:
            raise no_such_path()
        self._access.authorize(verb_of(request.method, target, request.query), target)
        if target.subresource in ("exec", "attach", "log", "proxy"):
            return await self._stream(request, target)
        if target.subresource == "eviction":
            return await self._evict(request, target)
        return await self._objects(request, target)

    async def _objects(self, request: web.Request, target: Target) -> web.StreamResponse:
        match (request.method, bool(target.name)):
            case ("GET", _):
                return await self._get(request, target)
            case ("POST", False) if target.namespace or not target.resource.namespaced:
                return await self._create(request, target)
            case ("PUT" | "PATCH", True):
                return await self._write(request, target)
            case ("DELETE", True):
                return await self._delete(request, target)
            case ("DELETE", False):
                return await self._delete_all(request, target)
        raise StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    async def _get(self, request: web.Request, target: Target) -> web.StreamResponse:
        as_table = "as=Table" in request.headers.get("Accept", "")
        if flag(request.query, "watch"):
            return await self._watch(request, target, as_table=as_table)
        if not target.name:
            return _json(list_objects(self._cluster.store, self.pages, target, request.query, as_table=as_table))
        found = self._cluster.read(target.resource, target.namespace, target.name)
        version = found["metadata"]["resourceVersion"]
        return _json(table(target.resource.name, [found], version=version) if as_table else found)

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        manifest, warnings = _decoded(target, await _body(request), request.query)
        dry_run = _dry_run(request.query)
        created = self._cluster.create(target.resource, target.namespace, manifest, dry_run=dry_run)
        return _json(created, status=201, warnings=warnings)

    async def _write(self, request: web.Request, target: Target) -> web.Response:
        body = await _body(request)
        old = self._cluster.read(target.resource, target.namespace, target.name)
        if request.method == "PATCH":
            body = apply_patch(old, body, request.content_type)
        manifest, warnings = _decoded(target, body, request.query)
        stored = self._cluster.replace(
            target.resource, old, manifest, subresource=target.subresource, dry_run=_dry_run(request.query)
        )
        return _json(stored, warnings=warnings)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        deletion = await _deletion(request)
        deleted = self._cluster.delete(target.resource, target.namespace, target.name, deletion)
        if target.resource.name in _WHOLE_ANSWERS:
            return _json(deleted)
        metadata = deleted["metadata"]
        details = {"name": metadata["name"], "kind": target.resource.name, "uid": metadata["uid"]}
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    async def _delete_all(self, request: web.Request, target: Target) -> web.Response:
        deletion = await _deletion(request)
        query, resource = request.query, target.resource
        selector = parse_selector(resource.name, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        found = self._cluster.store.select(resource.name, target.namespace, selector)
        for item in found:
            metadata = item["metadata"]
            if self._cluster.store.get((resource.name, metadata["namespace"], metadata["name"])) is not None:
                self._cluster.delete(resource, metadata["namespace"], metadata["name"], deletion)
        metadata = {"resourceVersion": str(self._cluster.store.version)}
        listed = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata}
        return _json({**listed, "items": found})

    async def _evict(self, request: web.Request, target: Target) -> web.Response:
        if request.method != "POST":
            raise StatusError(405, "MethodNotAllowed", "an eviction is created")
        options = (await _body(request)).get("deleteOptions") or {}
        self._cluster.evict(target.namespace, target.name, _read_deletion(options))
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, status=201)

    async def _watch(self, request: web.Request, target: Target, *, as_table: bool) -> web.StreamResponse:
        store = self._cluster.store
        watching = parse_watch(store, target, request.query, as_table=as_table)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        answer.enable_chunked_encoding()
        with self._counted(request):
            await answer.prepare(request)
            async for lines in watch_lines(store, watching, bookmark_interval=self._bookmark_interval):
                await answer.write(lines)
        return answer

    async def _stream(self, request: web.Request, target: Target) -> web.StreamResponse:
        answer: web.StreamResponse = web.Response()
        if target.subresource == "proxy":
            with self._counted(request):
                answer = await service_proxy.proxy(request, target, self._cluster)
            return answer
        pod = self._cluster.read(RESOURCES["pods"], target.namespace, target.name)
        serve = {"exec": streams.execute, "attach": streams.attach, "log": streams.log}[target.subresource]
        with self._counted(request):
            answer = await serve(request, pod, self._kubelet)
        return answer

    @contextmanager
    def _counted(self, request: web.Request) -> Iterator[None]:
        """Count a request among the streams; a client that goes away ends it: there is nobody to tell."""
        self._streaming[id(request)] = request
        try:
            with suppress(ConnectionError):
                yield
        finally:
            del self._streaming[id(request)]


def _json(body: Manifest, *, status: int = 200, warnings: tuple[str, ...] = ()) -> web.Response:
    answer = web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
    for warning in warnings:
        escaped = warning.replace('"', '\\"')
        answer.headers.add("Warning", f'299 - "{escaped}"')
    return answer


async def _body(request: web.Request) -> Any:
    if "protobuf" in request.content_type:
        raise StatusError(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json",
        )
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from error


def _decoded(target: Target, body: Any, query: Mapping[str, str]) -> tuple[Manifest, tuple[str, ...]]:
    """Return the object without unknown fields and the warnings about them; raises StatusError when strict."""
    if not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized (must be of type Object)")
    manifest, unknown = decode(target.resource, body)
    level = query.get("fieldValidation", "Warn")
    if unknown and level == "Strict":
        named = ", ".join(f'unknown field "{field}"' for field in unknown)
        raise bad_request(f"{prefix(target.resource)}: strict decoding error: {named}")
    return manifest, tuple(f'unknown field "{field}"' for field in unknown) if level == "Warn" else ()


async def _deletion(request: web.Request) -> Deletion:
    """Read DeleteOptions from the body, or from the query where older clients put them."""
    options: Manifest = orjson.loads(body) if (body := await request.read()) else {}
    query = request.query
    if "gracePeriodSeconds" in query:
        options = {**options, "gracePeriodSeconds": int(query["gracePeriodSeconds"])}
    if "propagationPolicy" in query:
        options = {**options, "propagationPolicy": query["propagationPolicy"]}
    if _dry_run(query):
        options = {**options, "dryRun": ["All"]}
    return _read_deletion(options)


def _read_deletion(options: Manifest) -> Deletion:
    preconditions = options.get("preconditions") or {}
    return Deletion(
        grace_seconds=options.get("gracePeriodSeconds"),
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        orphan=options.get("propagationPolicy") == "Orphan" or bool(options.get("orphanDependents")),
        dry_run=bool(options.get("dryRun")),
    )


def _dry_run(query: Mapping[str, str]) -> bool:
    return query.get("dryRun") == "All"
