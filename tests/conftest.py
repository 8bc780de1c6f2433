"""Options of the whole test run, and the cluster that the end-to-end tests use."""

from __future__ import annotations

import os
from collections.abc import Generator
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On the real cluster a test that skips itself has failed."""
    report = yield
    if report.skipped and item.config.getoption("--real-cluster"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """And so has a file that skips itself."""
    report = yield
    if report.outcome == "skipped" and collector.config.getoption("--real-cluster"):
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"--real-cluster lets no test skip itself. {reason}"


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str | None:
    """The real cluster's kubeconfig; None without one."""
    path = request.config.getoption("--kubeconfig") or os.environ.get("KUBECONFIG")
    if path and Path(path).exists():
        return str(path)
    if request.config.getoption("--real-cluster"):
        pytest.fail("--real-cluster needs a cluster: name one with --kubeconfig or KUBECONFIG.")
    return None
