"""Services: where they come from and how they are reached."""

import pytest

from runner.config.pod import KubernetesService
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job, Port
from runner.job.variables import Variable, Variables
from runner.podspec.services import PodService, pod_services, service_host_names

VARIABLES = Variables((Variable("V", "16", public=True), Variable("NAMES", "one, two")))


def test_services_are_collected_when_both_sides_name_some() -> None:
    """The runner's come first, so they win the aliases; one without an image is passed over."""
    configured = (
        KubernetesService(name="postgres:$V", alias="db", environment=("A=$V", "broken"), command=("run",)),
        KubernetesService(name="$NOTHING", alias="lost"),
    )
    job = Job.parse(
        {
            "id": 1,
            "token": "t",
            "services": [
                {"name": "redis", "alias": "db $NAMES db", "variables": [{"key": "B", "value": "$V"}, {"key": ""}]},
                {"name": ""},
            ],
        }
    )

    assert pod_services(configured, job, VARIABLES) == (
        PodService(
            name="db",
            image="postgres:16",
            aliases=("db",),
            command=("run",),
            environment=(Variable("A", "$V", internal=True),),
        ),
        PodService(name="one", image="redis", aliases=("db", "one", "two"), environment=(Variable("B", "$V"),)),
    )


def test_host_names_come_once_when_services_repeat() -> None:
    """Image first, then aliases; a service with ports is reached by its proxy."""
    services = (
        PodService(name="a", image="redis:7", aliases=("cache", "redis")),
        PodService(name="b", image="redis:6"),
        PodService(name="c", image="web", aliases=("www",), ports=(Port(number=80),)),
    )

    assert service_host_names(services) == ("redis", "cache")


@pytest.mark.parametrize("alias", ["my_db", "Db", "-db", "db.", "x" * 254])
def test_host_names_are_refused_when_an_alias_is_none(alias: str) -> None:
    """The API server would refuse the whole pod without saying which service."""
    with pytest.raises(JobConfigurationError, match="is no host name"):
        service_host_names((PodService(name="svc-0", image="postgres", aliases=(alias,)),))
