"""Which services a job wants to wait for: those whose own variables name a port with `HEALTHCHECK_TCP_PORT`.

Pure. A variable of the job itself does not count, as in GitLab Runner: it would mean every service.
"""

from dataclasses import dataclass

from runner.job.outcome import JobConfigurationError
from runner.job.variables import Variables
from runner.podspec.quoting import quoted
from runner.podspec.request import PodRequest
from runner.podspec.services import PodService

PORT_VARIABLE = "HEALTHCHECK_TCP_PORT"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A port that must take connections before the job's stages run."""

    service: str
    """The container's name."""
    image: str
    port: int


def health_checks(request: PodRequest) -> tuple[HealthCheck, ...]:
    """Find the ports to wait for. Raises JobConfigurationError for one that is none."""
    return tuple(
        HealthCheck(service.name, service.image, _port(service, value))
        for service in request.services
        if (value := _value(service, request.variables))
    )


def _value(service: PodService, variables: Variables) -> str:
    own = [each for each in service.environment if each.key == PORT_VARIABLE]
    if not own:
        return ""
    return (own[-1].value if own[-1].raw else variables.expanded().expand(own[-1].value)).strip()


def _port(service: PodService, value: str) -> int:
    if value.isascii() and value.isdecimal() and len(value) <= 5 and 1 <= int(value) <= 65535:
        return int(value)
    raise JobConfigurationError(
        f'{PORT_VARIABLE} of service "{service.name}" is {quoted(value)}: use a number from 1 to 65535'
    )
