"""Keys of `[runners.kubernetes]` about the node that a job's pod runs on."""

from typing import Annotated

from pydantic import Field

from runner.config.affinity import AffinityConfig
from runner.config.base import Given, Table
from runner.config.values import Flag, Pattern, TextTable


class PlacementKeys(Table):
    """Scheduling and placement."""

    node_selector: TextTable = Field({}, description="labels that the pod's node must have")
    node_selector_overwrite_allowed: Annotated[Pattern, Given(flag="kubernetes-node_selector_overwrite_allowed")] = (
        Field("", description="labels that jobs may add with `KUBERNETES_NODE_SELECTOR_*`, as `key=value`; empty: none")
    )
    node_tolerations: TextTable = Field(
        {}, description="taints that the pod bears: `key` or `key=value`, with the effect; an empty effect is all"
    )
    node_tolerations_overwrite_allowed: Annotated[
        Pattern, Given(flag="kubernetes-node_tolerations_overwrite_allowed")
    ] = Field(
        "",
        description="taints that jobs may add with `KUBERNETES_NODE_TOLERATIONS_*`, as `key=value:effect`; empty: none",
    )
    affinity: Annotated[AffinityConfig, Given(env="", flag="kubernetes-affinity")] = Field(
        AffinityConfig(), description="nodes and pods to be near to or far from"
    )
    scheduler_name: str = Field("", description="scheduler of the pod")
    priority_class_name: Annotated[str, Given(flag="kubernetes-priority_class_name")] = Field(
        "", description="priority class of the pod"
    )
    runtime_class_name: str | None = Field(None, description="runtime class of the pod")
    pod_disruption_budget: Flag = Field(
        False, description="make a disruption budget for each pod, so that no drained node evicts it"
    )
