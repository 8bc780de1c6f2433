"""A manager between an embedded GitLab and a Kubernetes, embedded or real: the life of a job as a test sees it.

    async with harness() as h:
        job = await h.run(script=["echo hello"])
        assert job.state == "success"

The manager is the real one, put together as `runner run` does. Open a harness in a test's body, not in a fixture: it
holds a task group.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import yaml

from runner.config.model import Config
from runner.manager.assemble import Observers, assemble
from runner.manager.manager import RunnerManager
from runner.status.board import StatusBoard
from runner.testing.gitlab import GitLabServer
from runner.testing.gitlab_jobs import JobRecord
from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer
from runner.testing.proxy import CuttingProxy

SYSTEM_ID = "r_testharness0"
STOP_TIMEOUT = 30.0


@dataclass
class Harness:
    """What a test holds: both servers, the manager, and what the manager asked the API server."""

    gitlab: GitLabServer
    manager: RunnerManager
    config: Config
    folder: Path
    """Where an embedded Kubernetes keeps its files; empty on a real one."""
    cluster: KubernetesServer | None = None
    """The embedded Kubernetes; None on a real one."""
    kube_requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests of the manager to the API server, by verb and resource."""
    build_image: str = "busybox:latest"
    proxy: CuttingProxy | None = None
    """Between the manager and a real cluster, when the harness was opened with `proxied`."""

    def queue(self, **over: Any) -> JobRecord:
        """Hand a job to GitLab; keywords are those of `job_payload`."""
        return self.gitlab.queue(**{"image": self.build_image, **over})

    async def run(self, *, within: float = 120.0, **over: Any) -> JobRecord:
        """Hand a job to GitLab and wait, at most `within` seconds, for its final state."""
        job = self.queue(**over)
        await job.wait_finished(timeout=within)
        return job

    async def wait_until_empty(self, *, timeout: float = 30.0) -> None:
        """Wait until no object of a job is left in the embedded Kubernetes, and the manager runs no job."""
        with anyio.fail_after(timeout):
            if self.cluster:
                await self.cluster.wait_until_gone(timeout=timeout)
            await self.manager.wait_until_idle()


@asynccontextmanager
async def harness(
    *,
    kubelet: Any = None,
    kubeconfig: str | None = None,
    host: str = "127.0.0.1",
    build_image: str = "busybox:latest",
    gitlab: GitLabServer | None = None,
    cluster: KubernetesServer | None = None,
    concurrent: int = 4,
    proxied: bool = False,
    keep_alive_interval: float = 30.0,
    process: Mapping[str, Any] | None = None,
    runner: Mapping[str, Any] | None = None,
    kubernetes: Mapping[str, Any] | None = None,
    board: StatusBoard | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Harness]:
    """Start everything, yield, and stop everything.

    `kubelet` is the embedded Kubernetes' (default: `ProcessKubelet`); `kubeconfig` names a real cluster instead,
    which reaches GitLab at `host`, an address of this machine. `process`, `runner` and `kubernetes` add keys to the
    global section, `[[runners]]` and `[runners.kubernetes]`. With a short `keep_alive_interval` a silent job hears of
    its cancel at once. The manager tells `board` what it does;
    `environ` is all that it has of an environment.
    """
    async with AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="runner-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = gitlab if gitlab is not None else await stack.enter_async_context(GitLabServer(host=host))
        if kubeconfig is None:
            if cluster is None:
                cluster = await stack.enter_async_context(KubernetesServer(kubelet=kubelet or ProcessKubelet()))
            kubeconfig = str(cluster.kubeconfig(folder / "kubeconfig"))
            kubernetes = {**embedded_folders(folder), **(kubernetes or {})}
            proxied = False
            runner = {"builds_dir": f"{folder}/builds", "cache_dir": f"{folder}/cache", **(runner or {})}
        proxy = None
        if proxied:
            proxy, kubeconfig = await _proxied(stack, kubeconfig, folder)
        config = Config.model_validate(
            {
                "concurrent": concurrent,
                "check_interval": 1,
                **(process or {}),
                "runners": [
                    {
                        "name": "harness",
                        "url": server.url,
                        "token": server.token,
                        "executor": "kubernetes",
                        "request_concurrency": concurrent,
                        **(runner or {}),
                        "kubernetes": dict(kubernetes or {}),
                    }
                ],
            }
        )
        requests: Counter[tuple[str, str]] = Counter()

        def count(verb: str, resource: str, _status: int, _seconds: float) -> None:
            requests[verb, resource] += 1

        manager = assemble(
            config,
            system_id=SYSTEM_ID,
            kubeconfig=kubeconfig,
            environ=environ or {},
            observers=Observers(kubernetes=count),
            keep_alive_interval=keep_alive_interval,
            board=board,
        )
        async with anyio.create_task_group() as group:
            await group.start(manager.serve)
            try:
                yield Harness(server, manager, config, folder, cluster, requests, build_image, proxy)
            finally:
                manager.abort()
                with anyio.move_on_after(STOP_TIMEOUT, shield=True):
                    await manager.wait_until_idle()
                group.cancel_scope.cancel()


async def _proxied(stack: AsyncExitStack, kubeconfig: str, folder: Path) -> tuple[CuttingProxy, str]:
    """Put a proxy before the API server of a kubeconfig's current context; the proxy and a kubeconfig that uses it."""
    document = yaml.safe_load(await anyio.Path(kubeconfig).read_text())
    contexts = {entry["name"]: entry["context"] for entry in document["contexts"]}
    name = contexts[document["current-context"]]["cluster"]
    cluster = next(entry["cluster"] for entry in document["clusters"] if entry["name"] == name)
    server = urlsplit(cluster["server"])
    assert server.hostname is not None
    proxy = await stack.enter_async_context(CuttingProxy(server.hostname, server.port or 443))
    cluster["server"] = f"{server.scheme}://127.0.0.1:{proxy.port}"
    cluster.setdefault("tls-server-name", server.hostname)
    path = folder / "proxied.kubeconfig"
    await anyio.Path(path).write_text(yaml.safe_dump(document))
    return proxy, str(path)


def embedded_folders(folder: Path) -> dict[str, Any]:
    """The keys of `[runners.kubernetes]` that let pods of `ProcessKubelet` find their mounts without root:

    Everything lies below `folder`.
    """
    builds = f"{folder}/builds"
    return {
        "poll_interval": 1,
        "logs_base_dir": str(folder),
        "scripts_base_dir": str(folder),
        "volumes": {"host_path": [{"name": "repo", "mount_path": builds, "host_path": builds}]},
    }
