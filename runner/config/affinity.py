"""`[runners.kubernetes.affinity]`: on which nodes, and near which pods, a job's pod may run.

The tables are those of Kubernetes' own `Affinity`, in snake case. A table that is not there is not the same as an empty
one: an empty `namespace_selector` selects every namespace.
"""

from pydantic import Field

from runner.config.base import Table
from runner.config.values import Number, Texts, TextTable


class SelectorRequirement(Table):
    """One condition on a label, or on a field of a node."""

    key: str = Field("", description="label or field")
    operator: str = Field("", description="`In`, `NotIn`, `Exists`, `DoesNotExist`; for nodes also `Gt` and `Lt`")
    values: Texts = Field((), description="values for `In`, `NotIn`, `Gt` and `Lt`")


class NodeSelectorTerm(Table):
    """What a node must fulfil, all of it."""

    match_expressions: tuple[SelectorRequirement, ...] = Field((), description="conditions on the node's labels")
    match_fields: tuple[SelectorRequirement, ...] = Field((), description="conditions on the node's fields")


class NodeSelector(Table):
    """Terms of which a node must fulfil one."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = Field((), description="terms of which one must hold")


class PreferredSchedulingTerm(Table):
    """A wish about the node, with its weight."""

    weight: Number = Field(0, description="how much the wish counts, 1 to 100")
    preference: NodeSelectorTerm = Field(NodeSelectorTerm(), description="what the node should fulfil")


class NodeAffinity(Table):
    """`[runners.kubernetes.affinity.node_affinity]`."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None, description="what the node must fulfil"
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = Field(
        (), description="wishes about the node"
    )


class LabelSelector(Table):
    """A choice of objects by their labels; without conditions it chooses all of them."""

    match_labels: TextTable = Field({}, description="labels with their values")
    match_expressions: tuple[SelectorRequirement, ...] = Field((), description="conditions on labels")


class PodAffinityTerm(Table):
    """Pods to be near to, or far from."""

    label_selector: LabelSelector | None = Field(None, description="which pods; unset: none")
    namespaces: Texts = Field((), description="namespaces of those pods; empty: the job's own")
    namespace_selector: LabelSelector | None = Field(None, description="their namespaces by labels; empty: every one")
    topology_key: str = Field("", description="label of nodes; nodes that share its value are near")
    match_label_keys: Texts = Field((), description="keys of the job pod's labels whose values those pods must share")
    mismatch_label_keys: Texts = Field((), description="keys of the job pod's labels whose values they must not share")


class WeightedPodAffinityTerm(Table):
    """A wish about pods, with its weight."""

    weight: Number = Field(0, description="how much the wish counts, 1 to 100")
    pod_affinity_term: PodAffinityTerm = Field(PodAffinityTerm(), description="which pods")


class PodAffinity(Table):
    """`pod_affinity` draws the job's pod to others, `pod_anti_affinity` keeps it away from them."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = Field(
        (), description="pods that count by all means"
    )
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = Field(
        (), description="pods that count by their weight"
    )


class AffinityConfig(Table):
    """`[runners.kubernetes.affinity]`."""

    node_affinity: NodeAffinity | None = Field(None, description="nodes")
    pod_affinity: PodAffinity | None = Field(None, description="pods to be near to")
    pod_anti_affinity: PodAffinity | None = Field(None, description="pods to be far from")
