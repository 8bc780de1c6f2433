"""The API servers that manifests are shown to: the embedded one always, a real one where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compatibility.dry_run import DryRun, embedded_server, real_server

SERVERS = ["embedded", pytest.param("real", marks=pytest.mark.real_cluster)]


@pytest.fixture(scope="session", params=SERVERS)
def dry_run(request: pytest.FixtureRequest, kubeconfig: str | None) -> Iterator[DryRun]:
    """An API server; the real one in a namespace of this run."""
    if request.param == "embedded":
        with embedded_server() as server:
            yield server
        return
    if kubeconfig is None:
        pytest.skip("no cluster: name one with --kubeconfig or KUBECONFIG")
    with real_server(kubeconfig) as server:
        yield server
