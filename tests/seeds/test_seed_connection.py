"""The keywords about the way to the API server: files, tokens, and how often and how long to look."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.executor import launching
from runner.testing.cluster.certificates import Certificates
from runner.testing.cluster.fates import Fate, Waiting
from runner.testing.gitlab_jobs import JobRecord
from runner.testing.harness import harness
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot be reached is given up soon."""
    monkeypatch.setattr(launching, "CREATE_TIMEOUT", 1.0)


NOWHERE = "/nowhere/kubeconfig"
"""No kubeconfig is there: what is not said in config.toml is not known."""


async def job_of(cluster: KubernetesServer, variables: dict[str, str] | None = None, **kubernetes: Any) -> JobRecord:
    """Run one job with these keys."""
    kubernetes = {"cleanup_resources_timeout": 1.0, **kubernetes}
    async with harness(kubeconfig=NOWHERE, cluster=cluster, kubernetes=kubernetes) as h:
        return await h.run(script=["true"], variables={"GIT_STRATEGY": "none", **(variables or {})})


async def test_host_and_ca_file_are_the_connection() -> None:
    """A server with a certificate of its own authority is found by `host` and trusted by `ca_file`, and only so."""
    async with KubernetesServer(ScriptedKubelet(), tls=True) as cluster:
        job = await job_of(cluster, host=cluster.url, ca_file=cluster.ca_file)
        assert job.state == "success", job.text
        job = await job_of(cluster, host=cluster.url)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text
        assert "certificate" in job.text


async def test_bearer_token_goes_with_every_request() -> None:
    """A server that wants a token takes the runner with it and refuses the one without."""
    async with KubernetesServer(ScriptedKubelet(), token="t0ken") as cluster:
        job = await job_of(cluster, host=cluster.url, bearer_token="t0ken")
        assert job.state == "success", job.text
        job = await job_of(cluster, host=cluster.url)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text


async def test_job_brings_its_own_bearer_token() -> None:
    """With `bearer_token_overwrite_allowed` the job's token makes the pod; without it the variable does nothing."""
    variables = {"KUBERNETES_BEARER_TOKEN": "t0ken-of-the-job"}
    async with KubernetesServer(ScriptedKubelet(), token="t0ken-of-the-job") as cluster:
        settings: dict[str, Any] = {"host": cluster.url, "bearer_token": "an0ther"}
        job = await job_of(cluster, variables, **settings, bearer_token_overwrite_allowed=True)
        assert job.state == "success", job.text
        job = await job_of(cluster, variables, **settings)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text


async def test_client_certificate_is_shown_to_the_api_server(tmp_path: Path) -> None:
    """A server that wants a certificate takes the runner with `cert_file` and `key_file`, and no other."""
    certificates = Certificates()
    make_client_certificate(certificates.authority, tmp_path)
    try:
        async with KubernetesServer(ScriptedKubelet()) as cluster, guarded(cluster, certificates) as (url, seen):
            files: dict[str, Any] = {
                "cert_file": str(tmp_path / "client.crt"),
                "key_file": str(tmp_path / "client.key"),
            }
            job = await job_of(cluster, host=url, ca_file=str(certificates.authority), **files)
            assert job.state == "success", job.text
            assert set(seen) == {"runner-of-the-test"}
            job = await job_of(cluster, host=url, ca_file=str(certificates.authority))
            assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text
    finally:
        certificates.remove()


def make_client_certificate(authority: Path, folder: Path) -> None:
    """Let the authority sign a certificate for a client."""
    key = str(authority.with_suffix(".key"))
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=runner-of-the-test")
    sign = ("x509", "-req", "-in", "client.csr")
    commands = (
        ("req", "-new", *new, "-keyout", "client.key", "-out", "client.csr"),
        (*sign, "-CA", str(authority), "-CAkey", key, "-CAcreateserial", "-out", "client.crt", "-days", "2"),
    )
    for command in commands:
        subprocess.run(("openssl", *command), cwd=folder, check=True, capture_output=True, timeout=30)


@asynccontextmanager
async def guarded(cluster: KubernetesServer, certificates: Certificates) -> AsyncIterator[tuple[str, list[str]]]:
    """A door before the API server that wants a client certificate; its URL, and the names it has seen."""
    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.authority)
    port = int(cluster.url.rpartition(":")[2])
    seen: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("peercert")
        seen.extend(value for part in certificate["subject"] for key, value in part if key == "commonName")
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        async with anyio.create_task_group() as group:
            group.start_soon(pump, reader, inner_writer)
            group.start_soon(pump, inner_reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


async def test_poll_interval_is_the_time_between_two_looks() -> None:
    """Where a pod cannot be watched it is looked at once in every interval."""
    pending = Fate(before=(Waiting("ContainerCreating", seconds=2.5),))
    async with KubernetesServer(ScriptedKubelet(pending)) as cluster:
        cluster.forbid("watch", "pods")
        cluster.forbid("list", "pods")
        job = await job_of(cluster, host=cluster.url, poll_interval=0.5)
        assert job.state == "success", job.text
        requests = cluster.faults.requests
        looks = [entry.started_at for entry in requests if entry.method == "GET" and "/pods/" in entry.path]
        gaps = [later - earlier for earlier, later in pairwise(looks[:3])]
        assert len(gaps) == 2
        assert all(0.4 < gap < 2.0 for gap in gaps), gaps
