"""The API servers that manifests are shown to: the embedded one, and a real one where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.compatibility.dry_run import DryRun, embedded_server, real_server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As the end-to-end tests: on the embedded server, on the real one where one is named; `--real-cluster`: there."""
    if "dry_run" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    kinds: list[object] = [] if option("--real-cluster") else ["embedded"]
    if option("--real-cluster") or option("--kubeconfig") or os.environ.get("KUBECONFIG"):
        kinds.append(pytest.param("real", marks=pytest.mark.real_cluster))
    metafunc.parametrize("dry_run", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def dry_run(request: pytest.FixtureRequest, kubeconfig: str | None) -> Iterator[DryRun]:
    """An API server; the real one in a namespace of this run."""
    if request.param == "embedded":
        with embedded_server() as server:
            yield server
        return
    if kubeconfig is None:
        pytest.fail("The real cluster's kubeconfig is not there.")
    with real_server(kubeconfig) as server:
        yield server
