"""Options of the whole test run, and the cluster that the end-to-end tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Machines are shared: how long an example takes says nothing about the code. In CI every run tries the same examples.
settings.register_profile(
    "runner", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("runner")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kubeconfig` names a real cluster; `--real-cluster` makes it an error not to have one."""
    group = parser.getgroup("end to end")
    group.addoption("--kubeconfig", help="run the end-to-end tests on this cluster too (default: KUBECONFIG)")
    group.addoption("--real-cluster", action="store_true", help="run only on the real cluster, and never skip it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that no cluster of this run concerns is not a skipped test."""
    idle = [item for item in items if "NOTSET" in item.name and item.get_closest_marker("only_on")]
    if idle:
        config.hook.pytest_deselected(items=idle)
        items[:] = [item for item in items if item not in idle]


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str | None:
    """The real cluster's kubeconfig; None without one."""
    path = request.config.getoption("--kubeconfig") or os.environ.get("KUBECONFIG")
    if path and Path(path).exists():
        return str(path)
    if request.config.getoption("--real-cluster"):
        pytest.fail("--real-cluster needs a cluster: name one with --kubeconfig or KUBECONFIG.")
    return None
