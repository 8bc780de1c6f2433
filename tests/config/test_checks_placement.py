"""Rules about nodes, taints and neighbours."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes

_AFFINITY = "runners.kubernetes.affinity"
_REQUIRED = "required_during_scheduling_ignored_during_execution"
_PREFERRED = "preferred_during_scheduling_ignored_during_execution"
_TERMS = f"{_AFFINITY}.node_affinity.{_REQUIRED}.node_selector_terms"
NODES = f"[[{_TERMS}]]\n[[{_TERMS}.match_expressions]]\n"
WISH = f"[[{_AFFINITY}.node_affinity.{_PREFERRED}]]\n"
PODS = f"[[{_AFFINITY}.pod_affinity.{_REQUIRED}]]\n"
NEAR = f"[[{_AFFINITY}.pod_anti_affinity.{_PREFERRED}]]\n"

CASES = [
    Case(
        "node-selector-form",
        kubernetes("""
            [runners.kubernetes.node_selector]
            "my role" = "ci"
            arch = "amd 64"
        """),
        (
            (
                'error kubernetes.node_selector.my role: "my role" is no key of a label: the API server '
                "refuses such a pod"
            ),
            ('error kubernetes.node_selector.arch: "amd 64" is no value of a label: the API server refuses such a pod'),
        ),
        kubernetes('[runners.kubernetes.node_selector]\n"kubernetes.io/arch" = "amd64"'),
    ),
    Case(
        "toleration-form",
        kubernetes("""
            [runners.kubernetes.node_tolerations]
            "ci=yes" = "NoScheduling"
            "=x" = ""
            "ci=a b" = ""
        """),
        (
            (
                'error kubernetes.node_tolerations.ci=yes: "NoScheduling" is no effect of a taint: the API '
                "server refuses such a pod"
            ),
            ('error kubernetes.node_tolerations.=x: "" is no key of a taint: the API server refuses such a pod'),
            (
                'error kubernetes.node_tolerations.ci=a b: "a b" is no value of a taint: the API server '
                "refuses such a pod"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.node_tolerations]
            "node-role.kubernetes.io/master" = "NoSchedule"
            "custom.toleration=value" = "NoExecute"
            "empty.value=" = "PreferNoSchedule"
            onlyKey = ""
        """),
    ),
    Case(
        "tolerates-everything",
        kubernetes('[runners.kubernetes.node_tolerations]\n"" = ""'),
        (
            (
                "warning kubernetes.node_tolerations.: a toleration without a key tolerates every taint: "
                "jobs run on nodes of the control plane too"
            ),
        ),
        kubernetes('[runners.kubernetes.node_tolerations]\nci = ""'),
    ),
    Case(
        "affinity-form",
        kubernetes(NODES + 'key = "a b"\noperator = "In"'),
        (
            (
                "error "
                "kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms.0.match_expressions.0.values:"
                " In needs values: the API server refuses such a pod"
            ),
            (
                "error "
                "kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms.0.match_expressions.0.key:"
                ' "a b" is no key of a label: the API server refuses such a pod'
            ),
        ),
        kubernetes(
            NODES
            + """
            key = "kubernetes.io/os"
            operator = "In"
            values = ["linux"]
        """
        ),
    ),
    Case(
        "affinity-form",
        kubernetes(
            NODES
            + """
            key = "cores"
            operator = "Gt"
            values = ["many"]
        """
        ),
        (
            (
                "error "
                "kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms.0.match_expressions.0.values:"
                " Gt compares with one whole number: no node fulfils this"
            ),
        ),
        kubernetes(
            NODES
            + """
            key = "cores"
            operator = "Gt"
            values = ["8"]
        """
        ),
    ),
    Case(
        "affinity-form",
        kubernetes(
            NODES
            + """
            key = "a"
            operator = "Is"
            values = ["x y"]
        """
        ),
        (
            (
                "error "
                "kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms.0.match_expressions.0.operator:"
                ' "Is" is no operator: the API server refuses such a pod'
            ),
            (
                "error "
                "kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms.0.match_expressions.0.values.0:"
                ' "x y" is no value of a label: the API server refuses such a pod'
            ),
        ),
        kubernetes(NODES + 'key = "a"\noperator = "Exists"'),
    ),
    Case(
        "affinity-form",
        kubernetes(
            NODES
            + """
            key = "a"
            operator = "Exists"
            values = ["b"]
        """
        ),
        (
            (
                "error "
                "kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms.0.match_expressions.0.values:"
                " Exists takes no values: the API server refuses such a pod"
            ),
        ),
        kubernetes(NODES + 'key = "a"\noperator = "DoesNotExist"'),
    ),
    Case(
        "affinity-form",
        kubernetes(
            WISH
            + """
            weight = 0
            [[runners.kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.preference.match_fields]]
            key = "spec.x"
            operator = "Exists"
        """
        ),
        (
            (
                "error "
                "kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.0.weight:"
                " 0 is no weight: the API server refuses such a pod"
            ),
            (
                "error "
                "kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.0.preference.match_fields.0:"
                " a field needs In or NotIn, and one value: the API server refuses such a pod"
            ),
            (
                "error "
                "kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.0.preference.match_fields.0.key:"
                ' "spec.x" is no field of a node: the API server refuses such a pod'
            ),
        ),
        kubernetes(
            WISH
            + """
            weight = 100
            [[runners.kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.preference.match_fields]]
            key = "metadata.name"
            operator = "In"
            values = ["node-1"]
        """
        ),
    ),
    Case(
        "affinity-form",
        kubernetes(
            WISH
            + """
            weight = 100
            [[runners.kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.preference.match_fields]]
            key = "metadata.name"
            operator = "In"
            values = ["Node_1"]
        """
        ),
        (
            (
                "error "
                "kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.0.preference.match_fields.0.values.0:"
                ' "Node_1" is no name of a node: the API server refuses such a pod'
            ),
        ),
        kubernetes(
            WISH
            + """
            weight = 100
            [[runners.kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.preference.match_fields]]
            key = "metadata.name"
            operator = "NotIn"
            values = ["node.1"]
        """
        ),
    ),
    Case(
        "affinity-form",
        kubernetes("[runners.kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution]"),
        (
            (
                "error "
                "kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution: "
                "there is no node_selector_term: the API server refuses such a pod"
            ),
        ),
        kubernetes("[runners.kubernetes.affinity.node_affinity]"),
    ),
    Case(
        "affinity-form",
        kubernetes(
            PODS
            + """
            namespaces = ["A"]
            match_label_keys = ["a b"]
            mismatch_label_keys = ["a b"]
        """
        ),
        (
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.topology_key:"
                " there is none: the API server refuses such a pod"
            ),
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.namespaces.0:"
                ' "A" is no name of a namespace: the API server refuses such a pod'
            ),
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.match_label_keys:"
                " there is no label_selector beside it: the API server refuses such a pod"
            ),
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.match_label_keys.0:"
                ' "a b" is no key of a label: the API server refuses such a pod'
            ),
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.mismatch_label_keys:"
                " there is no label_selector beside it: the API server refuses such a pod"
            ),
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.mismatch_label_keys:"
                ' "a b" is in match_label_keys too: the API server refuses such a pod'
            ),
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.mismatch_label_keys.0:"
                ' "a b" is no key of a label: the API server refuses such a pod'
            ),
        ),
        kubernetes(
            PODS
            + """
            topology_key = "kubernetes.io/hostname"
            namespaces = ["a"]
            match_label_keys = ["a"]
            label_selector = { match_labels = { b = "c" } }
        """
        ),
    ),
    Case(
        "affinity-form",
        kubernetes(
            PODS
            + """
            topology_key = "zone"
            label_selector.match_labels = { b = "c d" }
            label_selector.match_expressions = [{ key = "k", operator = "Gt", values = ["1"] }]
        """
        ),
        (
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.label_selector.match_labels.b:"
                " this is no label: the API server refuses such a pod"
            ),
            (
                "error "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0.label_selector.match_expressions.0.operator:"
                ' "Gt" is no operator: the API server refuses such a pod'
            ),
        ),
        kubernetes(PODS + 'topology_key = "zone"\nnamespace_selector = {}'),
    ),
    Case(
        "affinity-form",
        kubernetes(NEAR + 'weight = 101\npod_affinity_term = { topology_key = "" }'),
        (
            (
                "error "
                "kubernetes.affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution.0.weight:"
                " 101 is no weight: the API server refuses such a pod"
            ),
            (
                "error "
                "kubernetes.affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution.0.pod_affinity_term.topology_key:"
                " there is none: the API server refuses such a pod"
            ),
        ),
        kubernetes(NEAR + 'weight = 1\npod_affinity_term = { topology_key = "zone" }'),
    ),
    Case(
        "affinity-of-no-pod",
        kubernetes(PODS + 'topology_key = "zone"'),
        (
            (
                "warning "
                "kubernetes.affinity.pod_affinity.required_during_scheduling_ignored_during_execution.0:"
                " there is no label_selector: the term selects no pod"
            ),
        ),
        kubernetes(PODS + 'topology_key = "zone"\nlabel_selector = {}'),
    ),
    Case(
        "affinity-of-no-pod",
        kubernetes(NEAR + 'weight = 1\npod_affinity_term = { topology_key = "zone" }'),
        (
            (
                "warning "
                "kubernetes.affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution.0.pod_affinity_term:"
                " there is no label_selector: the term selects no pod"
            ),
        ),
        kubernetes(NEAR + 'weight = 1\npod_affinity_term = { topology_key = "zone", label_selector = {} }'),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
