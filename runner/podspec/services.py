"""The services of a job: containers beside the build, and the names they are reached by."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from runner.config.pod import KubernetesService
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job, Port, Service
from runner.job.variables import Variable, Variables, environment_variables
from runner.podspec.manifest import Manifest
from runner.podspec.names import image_host_names, is_dns_subdomain, service_container_names
from runner.podspec.quoting import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class PodService:
    """One service; its image and aliases are expanded."""

    name: str
    """Of its container."""
    image: str
    aliases: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    """Ports for the interactive proxy; a service that has some gets no host name."""
    pull_policies: tuple[str, ...] = ()
    environment: tuple[Variable, ...] = ()
    """Variables of this service alone, not expanded."""
    user: str = ""
    """`uid` or `uid:gid` that the job asks for."""
    resources: Manifest | None = None
    """Resources of this service alone; None: what is configured for all services."""


def pod_services(configured: Iterable[KubernetesService], job: Job, variables: Variables) -> tuple[PodService, ...]:
    """Collect a job's services: the runner's first, then the job's own; one without an image is left out."""
    plain = variables.expanded()
    drafts = (*map(_from_config, configured), *map(_from_job, job.services))
    found = [
        replace(draft, image=image, aliases=_aliases(plain, draft.aliases))
        for draft in drafts
        if (image := plain.expand(draft.image))
    ]
    names = service_container_names(service.aliases for service in found)
    return tuple(replace(service, name=name) for service, name in zip(found, names, strict=True))


def service_host_names(services: Iterable[PodService]) -> tuple[str, ...]:
    """The names that reach the services on 127.0.0.1: from the image, then the aliases; each once, in order.

    Raises JobConfigurationError for an alias that is no host name: the API server would refuse the pod for it.
    """
    names: dict[str, None] = {}
    for service in services:
        if service.ports:
            continue
        names.update(dict.fromkeys(image_host_names(service.image)))
        for alias in service.aliases:
            if not is_dns_subdomain(alias):
                raise JobConfigurationError(
                    f"the alias {quoted(alias)} of service {quoted(service.image)} is no host name: use lower "
                    'case letters, digits, "-" and "."'
                )
            names[alias] = None
    return tuple(names)


def _from_config(entry: KubernetesService) -> PodService:
    return PodService(
        name="",
        image=entry.name,
        aliases=(entry.alias,),
        entrypoint=entry.entrypoint,
        command=entry.command,
        environment=environment_variables(entry.environment),
    )


def _from_job(service: Service) -> PodService:
    return PodService(
        name="",
        image=service.name,
        aliases=(service.alias,),
        entrypoint=service.entrypoint,
        command=service.command,
        ports=service.ports,
        pull_policies=service.pull_policy,
        environment=tuple(Variable.of(variable) for variable in service.variables if variable.key),
        user=service.executor_opts.kubernetes.user,
    )


def _aliases(variables: Variables, texts: Iterable[str]) -> tuple[str, ...]:
    """Expand first and split then: a variable may hold several names."""
    words = (word for text in texts for word in re.split(r"[,\s]+", variables.expand(text)))
    return tuple(dict.fromkeys(word for word in words if word))
