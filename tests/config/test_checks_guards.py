"""Rules about what jobs may overwrite."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes, runner

CASES = [
    Case(
        "guard-matches-everything",
        kubernetes("""
            namespace_overwrite_allowed = ".*"
            pod_labels_overwrite_allowed = ".*"
            service_account_overwrite_allowed = "ci|"
        """),
        (
            (
                'warning kubernetes.namespace_overwrite_allowed: ".*" matches everything: a job may choose '
                "any namespace, kube-system too"
            ),
            (
                'warning kubernetes.service_account_overwrite_allowed: "ci|" matches everything: a job may '
                "choose any service account"
            ),
        ),
        kubernetes("""
            namespace_overwrite_allowed = "^ci-.*$"
            pod_labels_overwrite_allowed = ".*"
        """),
    ),
    Case(
        "guard-matches-everything",
        kubernetes('privileged = true\nnode_selector_overwrite_allowed = "."'),
        (
            (
                'warning kubernetes.node_selector_overwrite_allowed: "." matches everything: a job may '
                "choose any node selector, and its containers are privileged"
            ),
        ),
        kubernetes('privileged = true\nnode_selector_overwrite_allowed = "^role="'),
    ),
    Case(
        "guard-not-anchored",
        kubernetes('namespace_overwrite_allowed = "ci-.*"'),
        (
            (
                'note kubernetes.namespace_overwrite_allowed: "ci-.*" is searched anywhere in a job\'s '
                "value: more may stand before or behind it"
            ),
        ),
        kubernetes("""
            namespace_overwrite_allowed = "^ci-.*$"
            pod_labels_overwrite_allowed = "a"
        """),
    ),
    Case(
        "guard-tolerates-everything",
        kubernetes('node_tolerations_overwrite_allowed = "ci=.*|"'),
        (
            (
                'warning kubernetes.node_tolerations_overwrite_allowed: "ci=.*|" matches an empty value, '
                "with which a job tolerates every taint of every node"
            ),
        ),
        kubernetes('node_tolerations_overwrite_allowed = "^ci="'),
    ),
    Case(
        "guard-below-value",
        kubernetes('memory_limit_overwrite_max_allowed = "512Mi"'),
        (
            (
                "warning kubernetes.memory_limit_overwrite_max_allowed: jobs may ask for 512Mi at most, "
                "while memory_limit gives 1Gi to a job that does not ask"
            ),
        ),
        kubernetes('memory_limit_overwrite_max_allowed = "1024Mi"'),
    ),
    Case(
        "token-overwrite-without-host",
        kubernetes("bearer_token_overwrite_allowed = true"),
        (
            (
                "warning kubernetes.bearer_token_overwrite_allowed: a job's token is meant for a host that "
                "is named; with the pod's own credentials those may win"
            ),
        ),
        kubernetes('bearer_token_overwrite_allowed = true\nhost = "https://10.0.0.1"'),
    ),
    Case(
        "overwrite-without-guard",
        runner("""
            environment = [
            "KUBERNETES_CPU_LIMIT=2",
            "KUBERNETES_NODE_SELECTOR_A=a=b",
            "KUBERNETES_NAMESPACE_OVERWRITE=x",
            "KUBERNETES_PORT=1",
            ]
        """),
        (
            (
                "warning environment.0: KUBERNETES_CPU_LIMIT does nothing, because "
                "cpu_limit_overwrite_max_allowed is not set"
            ),
            (
                "warning environment.1: KUBERNETES_NODE_SELECTOR_A does nothing, because "
                "node_selector_overwrite_allowed is not set"
            ),
            (
                "warning environment.2: KUBERNETES_NAMESPACE_OVERWRITE does nothing, because "
                "namespace_overwrite_allowed is not set"
            ),
        ),
        runner('environment = ["KUBERNETES_CPU_LIMIT=2"]', 'cpu_limit_overwrite_max_allowed = "4"'),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
