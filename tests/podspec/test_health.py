"""Which services a job waits for."""

from typing import Any

import pytest

from runner.job.outcome import JobConfigurationError
from runner.job.variables import Variable, Variables
from runner.podspec.health import HealthCheck, health_checks


def service(alias: str, port: str | None = None, **over: Any) -> dict[str, Any]:
    """A service of a job."""
    variables = [] if port is None else [{"key": "HEALTHCHECK_TCP_PORT", "value": port, **over}]
    return {"name": f"{alias}:1", "alias": alias, "variables": variables}


def test_health_checks_are_for_services_with_a_port_of_their_own(make_request: Any) -> None:
    """From the job's and the configuration's services; a variable of the job itself does not count."""
    request = make_request(
        job={"services": [service("db", "5432"), service("cache"), service("web", "$PORT"), service("empty", "")]},
        kubernetes={"services": [{"name": "minio:1", "alias": "s3", "environment": ["HEALTHCHECK_TCP_PORT=9000"]}]},
        variables=Variables((Variable("PORT", "8080"), Variable("HEALTHCHECK_TCP_PORT", "1"))),
    )
    assert health_checks(request) == (
        HealthCheck("s3", "minio:1", 9000),
        HealthCheck("db", "db:1", 5432),
        HealthCheck("web", "web:1", 8080),
    )


@pytest.mark.parametrize("port", ["http", "0", "65536", "5432; rm -rf /", "-1", "１２", "$PORT"])
def test_health_checks_when_a_port_is_none(make_request: Any, port: str) -> None:
    """Only a number gets into the helper's script."""
    request = make_request(job={"services": [service("db", port, raw=True)]})
    with pytest.raises(JobConfigurationError, match=r'HEALTHCHECK_TCP_PORT of service "db" is ".*": use a number'):
        health_checks(request)
