"""Keys of `[runners.kubernetes]` about the pod's labels, names, services and files."""

from typing import Annotated, ClassVar

from pydantic import Field

from runner.config.base import FILE_ONLY, Given, Table
from runner.config.lifecycle import LifecycleConfig
from runner.config.patches import PodPatch
from runner.config.values import Environment, Pattern, Texts, TextTable, one_of
from runner.config.volumes import VolumesConfig

DNS_POLICIES = ("none", "default", "cluster-first", "cluster-first-with-host-net")


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
    environment: Environment = Field((), description="`KEY=value` entries, variables of this service alone")
    suspend_data_path: str = Field("", description="directory to keep of a suspended environment")

    NOT_ACTED_ON: ClassVar[frozenset[str]] = frozenset({"suspend_data_path"})


class PodKeys(Table):
    """The pod and what belongs to it."""

    pod_labels: Annotated[TextTable, Given(env="")] = Field(
        {}, description="labels of the pod; job variables are expanded"
    )
    pod_labels_overwrite_allowed: Annotated[Pattern, Given(flag="kubernetes-pod_labels_overwrite_allowed")] = Field(
        "", description="labels that jobs may add with `KUBERNETES_POD_LABELS_*`, as `key=value`; empty: none"
    )
    pod_annotations: Annotated[TextTable, Given(env="")] = Field(
        {}, description="annotations of the pod; job variables are expanded"
    )
    pod_annotations_overwrite_allowed: Annotated[
        Pattern, Given(flag="kubernetes-pod_annotations_overwrite_allowed")
    ] = Field(
        "", description="annotations that jobs may add with `KUBERNETES_POD_ANNOTATIONS_*`, as `key=value`; empty: none"
    )
    host_aliases: Annotated[tuple[HostAlias, ...], Given(env="", flag="kubernetes-host_aliases")] = Field(
        (), description="entries for the pod's `/etc/hosts`"
    )
    dns_policy: Annotated[str, one_of("dns-policy", DNS_POLICIES, "it is left out")] = Field(
        "", description="`none`, `default`, `cluster-first` or `cluster-first-with-host-net`; empty: `cluster-first`"
    )
    dns_config: Annotated[DnsConfig, FILE_ONLY] = Field(DnsConfig(), description="resolver of the pod")
    services: Annotated[tuple[KubernetesService, ...], FILE_ONLY] = Field(
        (), description="services that every job gets"
    )
    volumes: Annotated[VolumesConfig, FILE_ONLY] = Field(
        VolumesConfig(), description="volumes that every container mounts"
    )
    container_lifecycle: Annotated[LifecycleConfig, FILE_ONLY] = Field(
        LifecycleConfig(), description="hooks of every container"
    )
    pod_spec: Annotated[tuple[PodPatch, ...], FILE_ONLY] = Field((), description="patches for the pod's spec")
    logs_base_dir: str = Field("", description="directory in the containers under which the log directory lies")
    scripts_base_dir: str = Field("", description="directory in the containers under which the scripts lie")
