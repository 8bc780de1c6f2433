"""The rows of `TestSetupBuildPod` about the node of a job's pod and about its life."""

from __future__ import annotations

from tests.compatibility.cases import Case
from tests.manifests import ABSENT

K = "runners.kubernetes"

PLACEMENT = {
    "node selector": Case(
        f'[{K}.node_selector]\na = "first"\nb = "second"', pod={"spec.nodeSelector": {"a": "first", "b": "second"}}
    ),
    "node selector overwritten": Case(
        f'node_selector_overwrite_allowed = ".*"\n[{K}.node_selector]\na = "first"',
        job={"variables": {"KUBERNETES_NODE_SELECTOR_X": "a=other"}},
        pod={"spec.nodeSelector": {"a": "other"}},
    ),
    "tolerations from the configuration": Case(
        f'[{K}.node_tolerations]\n"key=value" = "NoSchedule"\n"empty=" = "PreferNoSchedule"\nonly = ""',
        pod={
            "spec.tolerations": [
                {"key": "key", "operator": "Equal", "value": "value", "effect": "NoSchedule"},
                {"key": "empty", "operator": "Equal", "value": "", "effect": "PreferNoSchedule"},
                {"key": "only", "operator": "Exists"},
            ]
        },
    ),
    "tolerations from variables": Case(
        f'node_tolerations_overwrite_allowed = ".*"\n[{K}.node_tolerations]\n"key=value" = "NoSchedule"',
        job={
            "variables": {
                "KUBERNETES_NODE_TOLERATIONS_1": "other=one:NoExecute",
                "KUBERNETES_NODE_TOLERATIONS_2": "bare",
                "KUBERNETES_NODE_TOLERATIONS_3": "key=value:NoExecute",
            }
        },
        pod={
            "spec.tolerations": [
                {"key": "key", "operator": "Equal", "value": "value", "effect": "NoExecute"},
                {"key": "other", "operator": "Equal", "value": "one", "effect": "NoExecute"},
                {"key": "bare", "operator": "Exists"},
            ]
        },
    ),
    "every taint is tolerated": Case(
        'node_tolerations_overwrite_allowed = ".*"',
        job={"variables": {"KUBERNETES_NODE_TOLERATIONS_1": ""}},
        pod={"spec.tolerations": [{"operator": "Exists"}]},
    ),
    "node affinity": Case(
        f"""[{K}.affinity.node_affinity]
[[{K}.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution]]
weight = 100
[{K}.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.preference]
[[{K}.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.preference.match_expressions]]
key = "cpu_speed"
operator = "In"
values = ["fast"]
[{K}.affinity.node_affinity.required_during_scheduling_ignored_during_execution]
[[{K}.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms]]
[[{K}.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms.match_fields]]
key = "metadata.name"
operator = "NotIn"
values = ["node-9"]
""",
        pod={
            "spec.affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-9"]}]}
                        ]
                    },
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 100,
                            "preference": {
                                "matchExpressions": [{"key": "cpu_speed", "operator": "In", "values": ["fast"]}]
                            },
                        }
                    ],
                }
            }
        },
    ),
    "pod affinity": Case(
        f"""[[{K}.affinity.pod_affinity.required_during_scheduling_ignored_during_execution]]
topology_key = "kubernetes.io/hostname"
namespaces = ["cache"]
[{K}.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.namespace_selector]
[{K}.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.namespace_selector.match_labels]
tier = "cache"
[{K}.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.label_selector.match_labels]
app = "redis"
""",
        pod={
            "spec.affinity": {
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "labelSelector": {"matchLabels": {"app": "redis"}},
                            "namespaces": ["cache"],
                            "namespaceSelector": {"matchLabels": {"tier": "cache"}},
                            "topologyKey": "kubernetes.io/hostname",
                        }
                    ]
                }
            }
        },
    ),
    "pod anti-affinity": Case(
        f"""[[{K}.affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution]]
weight = 50
[{K}.affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution.pod_affinity_term]
topology_key = "kubernetes.io/hostname"
[{K}.affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution.pod_affinity_term.label_selector]
[[{K}.affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution.pod_affinity_term.label_selector.match_expressions]]
key = "job.runner.gitlab.com/pod"
operator = "Exists"
""",
        pod={
            "spec.affinity": {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 50,
                            "podAffinityTerm": {
                                "labelSelector": {
                                    "matchExpressions": [{"key": "job.runner.gitlab.com/pod", "operator": "Exists"}]
                                },
                                "topologyKey": "kubernetes.io/hostname",
                            },
                        }
                    ]
                }
            }
        },
    ),
    "runtime class": Case('runtime_class_name = "gvisor"', pod={"spec.runtimeClassName": "gvisor"}),
    "no runtime class": Case(pod={"spec.runtimeClassName": ABSENT}),
    "priority class": Case(
        'priority_class_name = "system-node-critical"', pod={"spec.priorityClassName": "system-node-critical"}
    ),
    "scheduler": Case('scheduler_name = "foobar"', pod={"spec.schedulerName": "foobar"}),
    "termination grace period": Case(
        "pod_termination_grace_period_seconds = 10", pod={"spec.terminationGracePeriodSeconds": 10}
    ),
    "no termination grace period": Case(pod={"spec.terminationGracePeriodSeconds": ABSENT}),
}
