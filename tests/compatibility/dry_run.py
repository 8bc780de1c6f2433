"""An API server that says what it would refuse: every object with `dryRun=All` and strict field validation."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from anyio.from_thread import BlockingPortal, start_blocking_portal

from runner.kube.connect import ConnectionSettings, connect
from runner.kube.resources import resource_named, resource_path
from runner.kube.transport import Connection
from runner.podspec.creation import Creation
from runner.testing.kubernetes import KubernetesServer

Json = dict[str, Any]
_STRICT = {"dryRun": "All", "fieldValidation": "Strict"}
_CLUSTER_WIDE: dict[str, Json] = {
    "priorityClassName": {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1},
    "runtimeClassName": {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runc"},
}


@dataclass
class DryRun:
    """One API server, asked from synchronous tests."""

    kind: str
    """`embedded` or `real`."""
    namespace: str
    portal: BlockingPortal
    connection: Connection
    session: aiohttp.ClientSession
    kubeconfig: str = ""
    server: KubernetesServer | None = None
    """The embedded one."""
    made: list[tuple[str, str]] = field(default_factory=list)
    """Objects outside of the namespace that were made for pods that name them: kind and name."""
    _known: set[tuple[str, str]] = field(default_factory=set)

    def complaints(self, objects: Iterable[Creation]) -> list[str]:
        """What the server says against these objects: refusals and warnings; none is what is wanted."""
        return [words for plural, manifest in objects for words in self._complaints(plural, deepcopy(manifest))]

    def _complaints(self, plural: str, manifest: Json) -> list[str]:
        if "namespace" in manifest["metadata"]:
            manifest["metadata"]["namespace"] = self.namespace
        if plural == "pods":
            self._provide(manifest["spec"])
        return self.portal.call(self._post, plural, manifest)

    async def _post(self, plural: str, manifest: Json) -> list[str]:
        namespace = self.namespace if resource_named(plural).namespaced else ""
        async with self.session.post(
            self.connection.host + resource_path(plural, namespace),
            params=_STRICT,
            json=manifest,
            headers=await self.connection.credentials.headers(),
            ssl=self.connection.tls if self.connection.tls is not None else True,
        ) as answer:
            body = await answer.json()
            warnings = [f"{plural}: {words}" for words in answer.headers.getall("Warning", ())]
            if answer.status == 201:
                return warnings
            return [f"{plural}: {answer.status} {body['message']}", *warnings]

    def _provide(self, spec: Json) -> None:
        """Make what a pod names and the server looks for when it admits the pod."""
        if name := spec.get("serviceAccountName"):
            self._make("serviceaccount", name, {"apiVersion": "v1", "kind": "ServiceAccount"})
        for key, manifest in _CLUSTER_WIDE.items():
            if (name := spec.get(key)) and not name.startswith("system-"):
                self._make(manifest["kind"].lower(), name, manifest)

    def _make(self, kind: str, name: str, manifest: Json) -> None:
        if (kind, name) in self._known:
            return
        self._known.add((kind, name))
        if self.server is not None:
            if kind == "serviceaccount":
                self.portal.call(self._make_embedded, {**manifest, "metadata": {"name": name}})
            return
        document = json.dumps({**manifest, "metadata": {"name": name}})
        done = self._kubectl("create", "-f", "-", stdin=document)
        # One that cannot be made, such as one with a name that is none, is the pod's trouble.
        if done.returncode == 0 and kind != "serviceaccount":
            self.made.append((kind, name))

    async def _make_embedded(self, manifest: Json) -> None:
        assert self.server is not None
        self.server.create("serviceaccounts", manifest)

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = ("kubectl", f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def open(self) -> None:
        """Make the namespace."""
        self._kubectl("create", "namespace", self.namespace).check_returncode()
        self._kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s").check_returncode()

    def close(self) -> None:
        """Remove what was made."""
        for kind, name in self.made:
            self._kubectl("delete", kind, name)
        self._kubectl("delete", "namespace", self.namespace, "--wait=false")


@contextmanager
def embedded_server() -> Iterator[DryRun]:
    """The embedded Kubernetes."""
    with start_blocking_portal() as portal:
        server = KubernetesServer()
        portal.call(server.start)
        session = portal.call(_session)
        try:
            yield DryRun("embedded", "default", portal, Connection(host=server.url), session, server=server)
        finally:
            portal.call(session.close)
            portal.call(server.aclose)


@contextmanager
def real_server(kubeconfig: str) -> Iterator[DryRun]:
    """The Kubernetes that a kubeconfig names."""
    with start_blocking_portal() as portal:
        client = portal.call(connect, ConnectionSettings(kubeconfig=kubeconfig))
        session = portal.call(_session)
        namespace = f"dry-run-{uuid.uuid4().hex[:8]}"
        found = DryRun("real", namespace, portal, client.transport.connection, session, kubeconfig=kubeconfig)
        found.open()
        try:
            yield found
        finally:
            found.close()
            portal.call(session.close)
            portal.call(client.aclose)


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
