"""All that is created in the cluster for one job, and in which order.

One place: the executor creates what stands here, `runner pod` prints it. Pure.
"""

from collections.abc import Iterable
from dataclasses import replace

from runner.podspec.environment import build_environment_secret
from runner.podspec.manifest import Manifest, owner_reference
from runner.podspec.objects import build_disruption_budget, build_namespace, build_services
from runner.podspec.pod import build_pod
from runner.podspec.registry import RegistryLogin, build_registry_secret
from runner.podspec.request import PodRequest
from runner.podspec.secret import JobRecord, build_job_secrets

Creation = tuple[str, Manifest]
"""The plural of a kind, and the object."""


def with_credentials(request: PodRequest, logins: Iterable[RegistryLogin]) -> PodRequest:
    """Name the Secret of the job's registry logins in its pod, where there are any."""
    return replace(request, pull_secrets=(request.names.credentials,) if tuple(logins) else ())


def namespaces(request: PodRequest) -> tuple[Creation, ...]:
    """The namespace of the job alone, where each job has one: everything else lies in it."""
    return (("namespaces", build_namespace(request)),) if request.kubernetes.namespace_per_job else ()


def secrets_before_pod(request: PodRequest, logins: Iterable[RegistryLogin]) -> tuple[Creation, ...]:
    """The Secrets that the pod needs to start. They get it as their owner once it is there."""
    logins = tuple(logins)
    environment = build_environment_secret(request)
    found = (environment, build_registry_secret(request, logins) if logins else None)
    return tuple(("secrets", secret) for secret in found if secret)


def objects_of_pod(request: PodRequest, record: JobRecord, *, owner: Manifest) -> tuple[Creation, ...]:
    """What the pod owns from the beginning: the job's record, a disruption budget, Services for its ports."""
    secrets = build_job_secrets(request, record, owner=owner)
    budget = (build_disruption_budget(request, owner=owner),) if request.kubernetes.pod_disruption_budget else ()
    return (
        *(("secrets", secret) for secret in secrets),
        *(("poddisruptionbudgets", each) for each in budget),
        *(("services", service) for service in build_services(request, owner=owner)),
    )


def creations(
    request: PodRequest, record: JobRecord, *, logins: Iterable[RegistryLogin] = (), uid: str
) -> tuple[Creation, ...]:
    """Everything, in order; `uid` is what the API server will have called the pod.

    Raises JobConfigurationError for a pod that cannot be.
    """
    logins = tuple(logins)
    request = with_credentials(request, logins)
    pod = build_pod(request)
    owner = owner_reference({**pod, "metadata": {**pod["metadata"], "uid": uid}})
    return (
        *namespaces(request),
        *secrets_before_pod(request, logins),
        ("pods", pod),
        *objects_of_pod(request, record, owner=owner),
    )
