"""A job's pod as a manifest.

Pure: the same request gives the same manifest. No secret enters it. What the configuration's patches make of the spec
comes last; metadata is not theirs.
"""

import math

from runner.config.pod import DnsConfig
from runner.config.security import ContainerSecurityContext, PodSecurityContext
from runner.job.durations import format_duration
from runner.podspec.affinity import build_affinity
from runner.podspec.containers import BUILD, HELPER, build_containers, build_resources, build_user, service_user
from runner.podspec.environment import environment_warnings
from runner.podspec.init_containers import build_init_containers
from runner.podspec.labels import pod_annotations, pod_labels
from runner.podspec.manifest import Manifest, filled
from runner.podspec.patches import BETA_WARNING, apply_patches
from runner.podspec.request import PodRequest
from runner.podspec.security import build_pod_security_context, security_warnings
from runner.podspec.services import service_host_names
from runner.podspec.volumes import build_volumes, volume_warnings

_DNS_POLICIES = {
    "": "ClusterFirst",
    "none": "None",
    "default": "Default",
    "cluster-first": "ClusterFirst",
    "cluster-first-with-host-net": "ClusterFirstWithHostNet",
}
_DEADLINE_FLAG = "FF_USE_POD_ACTIVE_DEADLINE_SECONDS"


def build_pod(request: PodRequest) -> Manifest:
    """Build the pod of a job.

    Raises JobConfigurationError for a service alias that is no host name, and for a patch that does not apply.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": request.names.pod,
            "namespace": request.pod_namespace,
            "labels": pod_labels(request),
            "annotations": pod_annotations(request),
        },
        "spec": apply_patches(_spec(request), request.patches),
    }


def _spec(request: PodRequest) -> Manifest:
    return {
        "restartPolicy": "Never",
        # Dozens of variables for every Service of the namespace: noise in `env`, and a slow start.
        "enableServiceLinks": False,
        **_lifetime(request),
        **_placement(request),
        **_access(request),
        **_network(request),
        "volumes": build_volumes(request),
        **filled({"initContainers": build_init_containers(request)}),
        "containers": build_containers(request),
    }


def own_containers(request: PodRequest) -> tuple[str, ...]:
    """Name the containers that are the runner's and the job's own, not a patch's, in the order they are told of."""
    first = (each["name"] for each in build_init_containers(request))
    return (BUILD, HELPER, *first, *(service.name for service in request.services))


def pod_warnings(request: PodRequest) -> tuple[str, ...]:
    """Say what of the configuration and the job's wishes was left out of the pod; lines for the job log."""
    kubernetes = request.kubernetes
    contexts: dict[str, PodSecurityContext | ContainerSecurityContext] = {
        "pod_security_context": kubernetes.pod_security_context,
        "build_container_security_context": kubernetes.build_container_security_context,
        "helper_container_security_context": kubernetes.helper_container_security_context,
        "service_container_security_context": kubernetes.service_container_security_context,
        "init_permissions_container_security_context": kubernetes.init_permissions_container_security_context,
    }
    users = (build_user(request), *(service_user(service, request) for service in request.services))
    return (
        *((BETA_WARNING,) if request.patches else ()),
        *(text for user in users for text in user.warnings),
        *volume_warnings(kubernetes.volumes),
        *(text for where, context in contexts.items() for text in security_warnings(context, where)),
        *_dns_warnings(kubernetes.dns_policy),
        *environment_warnings(request),
    )


def deadline_line(request: PodRequest) -> str:
    """What the job log says of the pod's own limit; empty where it has none."""
    if not request.flag(_DEADLINE_FLAG, default=True):
        return ""
    limit = format_duration(request.job.timeout)
    return f"Using {_DEADLINE_FLAG}, the Pod activeDeadlineSeconds will be set to the job timeout: {limit}..."


def _lifetime(request: PodRequest) -> Manifest:
    """Bound the pod's life: one second beyond the job's, so that the manager, where there is one, is first."""
    limited = request.flag(_DEADLINE_FLAG, default=True)
    return filled(
        {
            "activeDeadlineSeconds": math.ceil(request.job.timeout) + 1 if limited else None,
            "terminationGracePeriodSeconds": request.kubernetes.pod_termination_grace_period_seconds,
        }
    )


def _placement(request: PodRequest) -> Manifest:
    kubernetes = request.kubernetes
    return filled(
        {
            "nodeSelector": dict(kubernetes.node_selector),
            "tolerations": [_toleration(key, effect) for key, effect in kubernetes.node_tolerations.items()],
            "affinity": build_affinity(kubernetes.affinity),
            "schedulerName": kubernetes.scheduler_name,
            "priorityClassName": kubernetes.priority_class_name,
            "runtimeClassName": kubernetes.runtime_class_name,
            "resources": build_resources(kubernetes, "pod_"),
        }
    )


def _toleration(taint: str, effect: str) -> Manifest:
    """Read `key=value` as the operator Equal, whose value may be empty, and `key` as Exists."""
    key, equals, value = taint.partition("=")
    match = {"operator": "Equal", "value": value} if equals else {"operator": "Exists"}
    return {**filled({"key": key, "effect": effect}), **match}


def _access(request: PodRequest) -> Manifest:
    kubernetes = request.kubernetes
    secrets = dict.fromkeys((*kubernetes.image_pull_secrets, *request.pull_secrets))
    if kubernetes.use_service_account_image_pull_secrets:
        secrets.clear()
    return filled(
        {
            "serviceAccountName": kubernetes.service_account,
            "automountServiceAccountToken": kubernetes.automount_service_account_token,
            "imagePullSecrets": [{"name": name} for name in secrets],
            "securityContext": build_pod_security_context(kubernetes.pod_security_context),
        }
    )


def _network(request: PodRequest) -> Manifest:
    kubernetes = request.kubernetes
    return filled(
        {
            "hostAliases": _host_aliases(request),
            "dnsPolicy": _DNS_POLICIES.get(kubernetes.dns_policy, ""),
            "dnsConfig": _dns_config(kubernetes.dns_config),
        }
    )


def _host_aliases(request: PodRequest) -> list[Manifest]:
    """Name the services on the pod's own loopback, which all its containers share; then the configured names."""
    names = list(service_host_names(request.services))
    services = [{"ip": "127.0.0.1", "hostnames": names}] if names else []
    return [
        *services,
        *({"ip": each.ip, "hostnames": list(each.hostnames)} for each in request.kubernetes.host_aliases),
    ]


def _dns_config(config: DnsConfig) -> Manifest:
    options = [filled({"name": option.name}) | _value(option.value) for option in config.options]
    return filled({"nameservers": list(config.nameservers), "searches": list(config.searches), "options": options})


def _value(text: str | None) -> Manifest:
    return {} if text is None else {"value": text}


def _dns_warnings(policy: str) -> tuple[str, ...]:
    if policy in _DNS_POLICIES:
        return ()
    known = ", ".join(name for name in _DNS_POLICIES if name)
    return (f'dns_policy "{policy}" is left out: it is none of {known}.',)
