"""`[runners.kubernetes]`: where and how a job's pod runs.

One key is one field with one description; `reference.py` makes the documentation from them. The keys stand in tables by
subject, in modules of their own. A key of the original that we read but cannot follow stands in `NOT_ACTED_ON`, so that
nobody believes it works.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from pydantic import Field

from runner.config.autoscaler import AutoscalerConfig
from runner.config.base import FormerKey, Table
from runner.config.connection import ConnectionKeys
from runner.config.images import ImageKeys
from runner.config.placement import PlacementKeys
from runner.config.pod import PodKeys
from runner.config.resources import ResourceKeys
from runner.config.security import SecurityKeys
from runner.config.timing import TimingKeys
from runner.config.values import Flag, Quantity


class RemainingKeys(Table):
    """Other features."""

    suspend_pvc_size: Quantity = Field("20Gi", description="size of the volume of a suspended environment")
    suspend_pvc_storage_class: str = Field("", description="storage class of the volume of a suspended environment")
    capacity_aware: Flag = Field(
        False, description="ours: ask for no job while the namespace's ResourceQuotas have no room for another pod"
    )
    autoscaler: AutoscalerConfig | None = Field(None, description="pods that keep room for jobs to come")


class KubernetesConfig(
    ConnectionKeys, ResourceKeys, ImageKeys, PlacementKeys, PodKeys, SecurityKeys, TimingKeys, RemainingKeys
):
    """`[runners.kubernetes]`."""

    NOT_ACTED_ON: ClassVar[frozenset[str]] = frozenset({"autoscaler", "suspend_pvc_size", "suspend_pvc_storage_class"})
    FORMER_KEYS: ClassVar[Mapping[str, FormerKey]] = MappingProxyType(
        {
            "allow_privileged": FormerKey(
                ("privileged",),
                meant="it lets jobs run privileged that set the variable privileged to true; "
                "today's key is privileged, and it makes every job privileged",
            ),
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
