"""`[runners.kubernetes]`: where and how a job's pod runs.

One key is one field with one description; `reference.py` makes the documentation from them. A key of the original
that has no field yet stands in `NOT_ACTED_ON`, so that nobody believes it works: adding the field takes it out there.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from runner.config.base import FormerKey, Table
from runner.config.values import (
    Flag,
    GoDuration,
    Number,
    PullPolicy,
    Quantity,
    Seconds,
    Secret,
    SecretText,
    Texts,
    TextTable,
    at_least,
    checked,
    positive_or,
)
from runner.config.volumes import VolumesConfig

_PROFILE_TYPES = "`RuntimeDefault`, `Unconfined` or `Localhost`"


class SecurityProfile(Table):
    """A seccomp or AppArmor profile."""

    type: str = Field("", description=f"{_PROFILE_TYPES}; empty sends no profile")
    localhost_profile: str = Field("", description="the profile's file on the node, for `Localhost`")


class Capabilities(Table):
    """Linux capabilities of one container."""

    add: Texts = Field((), description="capabilities to add; replaces what `cap_add` gives")
    drop: Texts = Field((), description="capabilities to drop; replaces `cap_drop` and the default `NET_RAW`")


class PodSecurityContext(Table):
    """`[runners.kubernetes.pod_security_context]`; sent only if something is set."""

    fs_group: Number | None = Field(None, description="group that owns the pod's volumes")
    run_as_group: Number | None = Field(None, description="group of every container's process")
    run_as_non_root: Flag | None = Field(None, description="refuse containers that would run as root")
    run_as_user: Number | None = Field(None, description="user of every container's process")
    supplemental_groups: tuple[Number, ...] = Field((), description="further groups of every container's process")
    selinux_type: str = Field("", description="SELinux type")
    seccomp_profile: SecurityProfile = Field(SecurityProfile(), description="seccomp profile of the pod")
    app_armor_profile: SecurityProfile = Field(SecurityProfile(), description="AppArmor profile of the pod")


class ContainerSecurityContext(Table):
    """Security context of one kind of container; sent only if something is set."""

    run_as_user: Number | None = Field(None, description="user of the container's process")
    run_as_group: Number | None = Field(None, description="group of the container's process")
    run_as_non_root: Flag | None = Field(None, description="refuse to run as root")
    privileged: Flag | None = Field(None, description="wins over the executor's `privileged`")
    allow_privilege_escalation: Flag | None = Field(
        None, description="wins over the executor's `allow_privilege_escalation`"
    )
    read_only_root_filesystem: Flag | None = Field(None, description="mount the image read-only")
    capabilities: Capabilities = Field(Capabilities(), description="Linux capabilities of the container")
    selinux_type: str = Field("", description="SELinux type")
    proc_mount: str = Field("", description="`Default` or `Unmasked`")
    seccomp_profile: SecurityProfile = Field(SecurityProfile(), description="seccomp profile of the container")
    app_armor_profile: SecurityProfile = Field(SecurityProfile(), description="AppArmor profile of the container")


class HostAlias(Table):
    """`[[runners.kubernetes.host_aliases]]`: a line in the pod's `/etc/hosts`."""

    ip: str = Field(description="address")
    hostnames: Texts = Field((), description="names that resolve to the address")


class DnsOption(Table):
    """`[[runners.kubernetes.dns_config.options]]`."""

    name: str = Field(description="option of the resolver")
    value: str | None = Field(None, description="its value; unset for an option without one")


class DnsConfig(Table):
    """`[runners.kubernetes.dns_config]`; sent only if something is set."""

    nameservers: Texts = Field((), description="addresses of name servers")
    searches: Texts = Field((), description="search domains")
    options: tuple[DnsOption, ...] = Field((), description="options of the resolver")


class KubernetesService(Table):
    """`[[runners.kubernetes.services]]`: a service that every job of the runner gets."""

    name: str = Field("", description="image; job variables are expanded; an entry without it is skipped")
    alias: str = Field("", description="names of the service, separated by commas or blanks; variables are expanded")
    entrypoint: Texts = Field((), description="replaces the image's entrypoint")
    command: Texts = Field((), description="replaces the image's command")
    environment: Annotated[Texts, Secret()] = Field(
        (), description="`KEY=value` entries, variables of this service alone"
    )


def _host_problem(url: str) -> str | None:
    return None if not url or "://" in url else 'Input should be a URL such as "https://10.0.0.1:6443"'


class KubernetesConfig(Table):
    """`[runners.kubernetes]`."""

    host: Annotated[str, checked(_host_problem)] = Field(
        "", description="URL of the API server; empty: in-cluster credentials, else the kubeconfig"
    )
    context: str = Field("", description="context of the kubeconfig, where that is used; empty: its current one")
    cert_file: str = Field("", description="client certificate for `host`; needs `key_file` and `ca_file` too")
    key_file: str = Field("", description="key of the client certificate")
    ca_file: str = Field("", description="certificates that `host` is verified with")
    bearer_token: SecretText = Field("", description="token for `host`")
    namespace: str = Field("default", description="namespace of the job's pod")
    service_account: str = Field("", description="service account of the job's pod")
    automount_service_account_token: Flag | None = Field(
        None, description="mount the service account's token into the pod; unset: the cluster decides"
    )

    image: str = Field("", description="image of jobs that name none; job variables are expanded")
    helper_image: str = Field("", description="full reference of the helper image; job variables are expanded")
    helper_image_flavor: str = Field("", description="flavor of the helper image; empty: `alpine`")
    pull_policy: PullPolicy = Field(
        (), description="`always`, `if-not-present` or `never`; a list is tried in order; unset: the cluster decides"
    )
    image_pull_secrets: Texts = Field((), description="names of registry secrets in the job's namespace")

    cpu_limit: Quantity = Field("", description="CPU limit of the build container")
    cpu_request: Quantity = Field("", description="CPU request of the build container")
    memory_limit: Quantity = Field("", description="memory limit of the build container")
    memory_request: Quantity = Field("", description="memory request of the build container")
    ephemeral_storage_limit: Quantity = Field("", description="storage limit of the build container")
    ephemeral_storage_request: Quantity = Field("", description="storage request of the build container")
    service_cpu_limit: Quantity = Field("", description="CPU limit of each service container")
    service_cpu_request: Quantity = Field("", description="CPU request of each service container")
    service_memory_limit: Quantity = Field("", description="memory limit of each service container")
    service_memory_request: Quantity = Field("", description="memory request of each service container")
    service_ephemeral_storage_limit: Quantity = Field("", description="storage limit of each service container")
    service_ephemeral_storage_request: Quantity = Field("", description="storage request of each service container")
    helper_cpu_limit: Quantity = Field("", description="CPU limit of the helper container")
    helper_cpu_request: Quantity = Field("", description="CPU request of the helper container")
    helper_memory_limit: Quantity = Field("", description="memory limit of the helper container")
    helper_memory_request: Quantity = Field("", description="memory request of the helper container")
    helper_ephemeral_storage_limit: Quantity = Field("", description="storage limit of the helper container")
    helper_ephemeral_storage_request: Quantity = Field("", description="storage request of the helper container")
    pod_cpu_limit: Quantity = Field("", description="CPU limit of the whole pod; needs pod-level resources")
    pod_cpu_request: Quantity = Field("", description="CPU request of the whole pod; needs pod-level resources")
    pod_memory_limit: Quantity = Field("", description="memory limit of the whole pod; needs pod-level resources")
    pod_memory_request: Quantity = Field("", description="memory request of the whole pod; needs pod-level resources")

    node_selector: TextTable = Field({}, description="labels that the pod's node must have")
    node_tolerations: TextTable = Field(
        {}, description="taints that the pod bears: `key` or `key=value`, with the effect; an empty effect is all"
    )
    scheduler_name: str = Field("", description="scheduler of the pod")
    priority_class_name: str = Field("", description="priority class of the pod")
    runtime_class_name: str | None = Field(None, description="runtime class of the pod")

    pod_labels: TextTable = Field({}, description="labels of the pod; job variables are expanded")
    pod_annotations: TextTable = Field({}, description="annotations of the pod; job variables are expanded")
    host_aliases: tuple[HostAlias, ...] = Field((), description="entries for the pod's `/etc/hosts`")
    dns_policy: str = Field(
        "", description="`none`, `default`, `cluster-first` or `cluster-first-with-host-net`; empty: `cluster-first`"
    )
    dns_config: DnsConfig = Field(DnsConfig(), description="resolver of the pod")
    services: tuple[KubernetesService, ...] = Field((), description="services that every job gets")
    volumes: VolumesConfig = Field(VolumesConfig(), description="volumes that every container mounts")

    privileged: Flag | None = Field(None, description="run every container privileged")
    allow_privilege_escalation: Flag | None = Field(None, description="let processes gain privileges")
    cap_add: Texts = Field((), description="Linux capabilities that every container gets")
    cap_drop: Texts = Field((), description="Linux capabilities that every container loses; `NET_RAW` always")
    pod_security_context: PodSecurityContext = Field(PodSecurityContext(), description="security of the whole pod")
    build_container_security_context: ContainerSecurityContext = Field(
        ContainerSecurityContext(), description="security of the build container"
    )
    helper_container_security_context: ContainerSecurityContext = Field(
        ContainerSecurityContext(), description="security of the helper container"
    )
    service_container_security_context: ContainerSecurityContext = Field(
        ContainerSecurityContext(), description="security of the service containers"
    )
    init_permissions_container_security_context: ContainerSecurityContext = Field(
        ContainerSecurityContext(), description="security of the init container, where there is one"
    )

    poll_interval: Annotated[Seconds, positive_or(3.0)] = Field(
        3.0, description="seconds between looks at the pod where it cannot be watched"
    )
    poll_timeout: Annotated[Seconds, positive_or(180.0)] = Field(
        180.0, description="seconds that the pod may take to run"
    )
    pod_termination_grace_period_seconds: Number | None = Field(
        None, description="grace period in the pod's spec; unset: the cluster's 30"
    )
    cleanup_grace_period_seconds: Number | None = Field(
        None, description="grace period with which the pod is deleted; unset: the pod's own"
    )
    cleanup_resources_timeout: Annotated[GoDuration, positive_or(300.0)] = Field(
        300.0, description="limit on removing everything a job made"
    )
    retry_limit: Annotated[Number, positive_or(5)] = Field(
        5, description="tries of a request to the API server, the first one included"
    )
    retry_backoff_max: Annotated[Number, positive_or(2000), at_least(500)] = Field(
        2000, description="longest wait between tries, in milliseconds"
    )

    logs_base_dir: str = Field("", description="directory in the containers under which the log directory lies")
    scripts_base_dir: str = Field("", description="directory in the containers under which the scripts lie")
    print_pod_warning_events: Flag = Field(
        True, description="show the pod's conditions while it starts, and its warnings after a failure"
    )

    @field_validator("namespace")
    @classmethod
    def _namespace_or_default(cls, namespace: str) -> str:
        return namespace or "default"

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> "KubernetesConfig":
        if self.cert_file and not (self.key_file and self.ca_file):
            raise PydanticCustomError("certificate", "cert_file needs key_file and ca_file beside it")
        return self

    NOT_ACTED_ON: ClassVar[frozenset[str]] = frozenset(
        {
            "affinity",
            "allowed_groups",
            "allowed_images",
            "allowed_pull_policies",
            "allowed_services",
            "allowed_users",
            "autoscaler",
            "bearer_token_overwrite_allowed",
            "container_lifecycle",
            "helper_image_autoset_arch_and_os",
            "namespace_overwrite_allowed",
            "namespace_per_job",
            "node_selector_overwrite_allowed",
            "node_tolerations_overwrite_allowed",
            "pod_annotations_overwrite_allowed",
            "pod_disruption_budget",
            "pod_labels_overwrite_allowed",
            "pod_spec",
            "resource_availability_check_max_attempts",
            "retry_limits",
            "service_account_overwrite_allowed",
            "suspend_pvc_size",
            "suspend_pvc_storage_class",
            "use_service_account_image_pull_secrets",
            *(
                f"{scope}{resource}_{kind}_overwrite_max_allowed"
                for scope in ("", "service_", "helper_", "pod_")
                for resource in ("cpu", "memory", "ephemeral_storage")
                for kind in ("limit", "request")
                if (scope, resource) != ("pod_", "ephemeral_storage")
            ),
        }
    )
    FORMER_KEYS: ClassVar[Mapping[str, FormerKey]] = MappingProxyType(
        {
            "allow_privileged": FormerKey(("privileged",)),
            "cpus": FormerKey(("cpu_limit",)),
            "memory": FormerKey(("memory_limit",)),
            "service_cpus": FormerKey(("service_cpu_limit",)),
            "service_memory": FormerKey(("service_memory_limit",)),
            "helper_cpus": FormerKey(("helper_cpu_limit",)),
            "helper_memory": FormerKey(("helper_memory_limit",)),
            "terminationGracePeriodSeconds": FormerKey(
                ("pod_termination_grace_period_seconds", "cleanup_grace_period_seconds"), wins=True
            ),
        }
    )
