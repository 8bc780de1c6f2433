"""The pod's affinity: `[runners.kubernetes.affinity]` in Kubernetes' own words.

A table that is there and empty says something: an empty selector of namespaces is all of them, none is the job's own.
"""

from runner.config.affinity import (
    AffinityConfig,
    LabelSelector,
    NodeAffinity,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    SelectorRequirement,
)
from runner.podspec.manifest import Manifest, filled

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def build_affinity(config: AffinityConfig) -> Manifest:
    """Build the pod's affinity; empty when nothing is set."""
    return filled(
        {
            "nodeAffinity": _node_affinity(config.node_affinity) if config.node_affinity else None,
            "podAffinity": _pod_affinity(config.pod_affinity) if config.pod_affinity else None,
            "podAntiAffinity": _pod_affinity(config.pod_anti_affinity) if config.pod_anti_affinity else None,
        }
    )


def _node_affinity(config: NodeAffinity) -> Manifest:
    required = config.required_during_scheduling_ignored_during_execution
    terms = [_node_term(term) for term in required.node_selector_terms] if required else []
    return filled(
        {
            _REQUIRED: filled({"nodeSelectorTerms": terms}),
            _PREFERRED: [
                {"weight": wish.weight, "preference": _node_term(wish.preference)}
                for wish in config.preferred_during_scheduling_ignored_during_execution
            ],
        }
    )


def _node_term(term: NodeSelectorTerm) -> Manifest:
    return filled(
        {
            "matchExpressions": [_requirement(each) for each in term.match_expressions],
            "matchFields": [_requirement(each) for each in term.match_fields],
        }
    )


def _pod_affinity(config: PodAffinity) -> Manifest:
    return filled(
        {
            _REQUIRED: [_pod_term(term) for term in config.required_during_scheduling_ignored_during_execution],
            _PREFERRED: [
                {"weight": wish.weight, "podAffinityTerm": _pod_term(wish.pod_affinity_term)}
                for wish in config.preferred_during_scheduling_ignored_during_execution
            ],
        }
    )


def _pod_term(term: PodAffinityTerm) -> Manifest:
    return {
        "topologyKey": term.topology_key,
        **_selector("labelSelector", term.label_selector),
        **_selector("namespaceSelector", term.namespace_selector),
        **filled(
            {
                "namespaces": list(term.namespaces),
                "matchLabelKeys": list(term.match_label_keys),
                "mismatchLabelKeys": list(term.mismatch_label_keys),
            }
        ),
    }


def _selector(key: str, selector: LabelSelector | None) -> Manifest:
    if selector is None:
        return {}
    expressions = [_requirement(each) for each in selector.match_expressions]
    return {key: filled({"matchLabels": dict(selector.match_labels), "matchExpressions": expressions})}


def _requirement(requirement: SelectorRequirement) -> Manifest:
    return {
        "key": requirement.key,
        "operator": requirement.operator,
        **filled({"values": list(requirement.values)}),
    }
