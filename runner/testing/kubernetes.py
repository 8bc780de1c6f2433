"""KubernetesServer: an API server and a node in this process, on loopback.

Public. It speaks enough of Kubernetes for kubectl 1.30 and newer and for kubernetes_asyncio: objects with versions and
watches, validation with the real messages, garbage collection, graceful deletion, logs, exec and attach. What runs the
pods is a kubelet: `ProcessKubelet` (real processes) or `ScriptedKubelet` (fates from a script).

Not there: roles and users beyond `forbid`, server-side apply, port-forward, SPDY, protobuf bodies, controllers
(Deployments, Jobs), name service, network policies, resource limits.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import orjson
from aiohttp import web

from runner.testing.cluster.access import Access, verb_of
from runner.testing.cluster.api import Api
from runner.testing.cluster.certificates import Certificates
from runner.testing.cluster.control import Cluster, Deletion
from runner.testing.cluster.kubelet import Kubelet, PodRecord
from runner.testing.cluster.owner import TaskOwner
from runner.testing.cluster.problems import Manifest
from runner.testing.cluster.resources import RESOURCES, parse_path
from runner.testing.cluster.selectors import parse_selector
from runner.testing.faults import Faults
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.serving import Listener

__all__ = ["KubernetesServer"]

_CLIENT_MAX_BYTES = 8 * 1024 * 1024
_BORN_WITH_NAMESPACES = frozenset({("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")})


class KubernetesServer:
    """A Kubernetes cluster of one node for tests and demonstrations.

    `async with KubernetesServer(...) as server:` or `await server.start()` and `await server.aclose()`, which may be
    called from different tasks. The default kubelet lets every pod run and every stage succeed at once. With `tls` the
    server makes an authority of its own (needs the program `openssl`); with `token` every request must carry it.
    `host` may be another address of this machine, so that a container can reach the server.
    """

    def __init__(
        self,
        kubelet: Kubelet | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        token: str = "",
        namespaces: Iterable[str] = (),
        bookmark_interval: float = 60.0,
    ) -> None:
        self.kubelet: Kubelet = kubelet if kubelet is not None else ScriptedKubelet()
        self.faults = Faults()
        """Rules for what goes wrong, by method and path; and the raw record of requests."""
        self.token = token
        self._certificates = Certificates(("127.0.0.1", "::1", "localhost", host)) if tls else None
        self._access = Access(token)
        self._owner = TaskOwner()
        self._namespaces = frozenset(("default", "kube-system", *namespaces))
        self._cluster = Cluster(namespaces=sorted(self._namespaces), start_pod=self._start_pod)
        self._api = Api(self._cluster, self.kubelet, self._access, bookmark_interval=bookmark_interval)
        app = web.Application(middlewares=[self.faults.middleware], client_max_size=_CLIENT_MAX_BYTES)
        app.router.add_route("*", "/{path:.*}", self._api.handle)
        context = self._certificates.server_context() if self._certificates else None
        self._listener = Listener(app, host=host, port=port, tls=context, unpacks=False)

    # Life

    async def start(self) -> None:
        """Listen and be ready for pods; the port is open when this returns."""
        await self._owner.start()
        await self.kubelet.start(self._owner.start_soon)
        await self._listener.start()

    async def aclose(self) -> None:
        """End everything: connections, pods, processes, files. Raises what a kubelet's task raised."""
        with anyio.CancelScope(shield=True):
            await self._listener.aclose()
            try:
                # Pods first: each ends what it started when its task is cancelled.
                await self._owner.aclose()
            finally:
                await self.kubelet.aclose()
                if self._certificates is not None:
                    self._certificates.remove()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # How to reach it

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return self._listener.url

    @property
    def ca_file(self) -> str:
        """The path of the authority's certificate; empty without TLS."""
        return str(self._certificates.authority) if self._certificates else ""

    def client_context(self) -> ssl.SSLContext | bool:
        """Return what aiohttp and httpx take as `ssl` or `verify` to trust this server; True without TLS."""
        return self._certificates.client_context() if self._certificates else True

    def kubeconfig(self, path: str | Path, *, namespace: str = "default") -> Path:
        """Write a kubeconfig for this server and return its path. The server must have been started."""
        cluster: Manifest = {"server": self.url}
        if self._certificates is not None:
            cluster["certificate-authority"] = self.ca_file
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "embedded", "cluster": cluster}],
            # Without a token kubectl would ask for a password.
            "users": [{"name": "runner", "user": {"token": self.token or "none"}}],
            "contexts": [
                {"name": "embedded", "context": {"cluster": "embedded", "user": "runner", "namespace": namespace}}
            ],
            "current-context": "embedded",
        }
        written = Path(path)
        # JSON is YAML too.
        written.write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2) + b"\n")
        written.chmod(0o600)
        return written

    # What a test sees

    @property
    def requests(self) -> tuple[tuple[str, str], ...]:
        """Every request so far as Roles see it: the verb (`watch`, `create`, ...) and the path."""
        seen = []
        for entry in self.faults.requests:
            target = parse_path(entry.path)
            seen.append((verb_of(entry.method, target, entry.query) if target else "get", entry.path))
        return tuple(seen)

    def objects(self, resource: str = "") -> tuple[str, ...]:
        """Return what clients have left behind, as `pods/NAMESPACE/NAME`: empty after a job that cleaned up.

        Events and what each namespace is born with do not count.
        """
        return tuple(
            "/".join(word for word in key if word)
            for key, _ in self._cluster.store.items()
            if (not resource or key[0] == resource) and not self._is_furniture(*key)
        )

    def manifests(self, resource: str, namespace: str = "", *, labels: str = "") -> tuple[Manifest, ...]:
        """Return the stored objects of a resource; do not change them. `labels` is a label selector."""
        return tuple(self._cluster.store.select(resource, namespace, parse_selector(resource, labels, "")))

    async def wait_until_gone(self, resource: str = "", *, timeout: float = 10.0) -> None:
        """Wait until `objects(resource)` is empty; raises TimeoutError that names what is left."""
        with anyio.move_on_after(timeout):
            while self.objects(resource):
                await self._cluster.store.wait_changed(self._cluster.store.version)
        if left := self.objects(resource):
            raise TimeoutError(f"These objects are still there after {timeout} s: {', '.join(left)}.")

    # What a test does to it

    def create(self, resource: str, manifest: Manifest, *, namespace: str = "default") -> Manifest:
        """Create an object without a request: a Secret or a namespace that the test needs to be there."""
        kind = RESOURCES[resource]
        return self._cluster.create(kind, namespace if kind.namespaced else "", manifest)

    def delete(self, resource: str, name: str, *, namespace: str = "default", grace_seconds: int | None = None) -> None:
        """Delete an object without a request: the stranger who deletes the pod under a job."""
        kind = RESOURCES[resource]
        deletion = Deletion(grace_seconds=grace_seconds)
        self._cluster.delete(kind, namespace if kind.namespaced else "", name, deletion)

    def forbid(self, verb: str, resource: str, *, namespace: str = "") -> None:
        """Take a right away from every client: 403 from now on. `resource` may be `pods/attach`."""
        self._access.forbid(verb, resource, namespace=namespace)

    def allow_all(self) -> None:
        """Give every right back."""
        self._access.allow_all()

    def expire_history(self) -> None:
        """Make every resource version and page token handed out so far too old: open watches get a 410 in-band."""
        self._api.pages.expire()
        self._cluster.store.expire()

    def cut_streams(self) -> int:
        """Abort every open watch, followed log, exec and attach at once; return how many there were."""
        return self._api.cut_streams()

    async def outage(self) -> None:
        """Take the API server away: connections are cut and refused until `restore`; the pods run on."""
        await self._listener.outage()

    async def restore(self) -> None:
        """End an outage: the same address, all objects as they are by then."""
        await self._listener.restore()

    def _start_pod(self, pod: PodRecord) -> None:
        self._owner.start_soon(self.kubelet.run_pod, pod, name=f"pod {pod.namespace}/{pod.name}")

    def _is_furniture(self, resource: str, _namespace: str, name: str) -> bool:
        """Tell whether an object is part of the cluster itself."""
        if resource == "namespaces":
            return name in self._namespaces
        return resource == "events" or (resource, name) in _BORN_WITH_NAMESPACES
