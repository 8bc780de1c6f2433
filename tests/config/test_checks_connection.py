"""Rules about the API server and namespaces."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes

CASES = [
    Case(
        "host-missing",
        kubernetes('ca_file = "/ca.pem"\nbearer_token = "s3cret"'),
        (
            (
                "warning kubernetes.ca_file: host is not set, so the key does nothing: the pod's own "
                "credentials or the kubeconfig are used"
            ),
            (
                "warning kubernetes.bearer_token: host is not set, so the key does nothing: the pod's own "
                "credentials or the kubeconfig are used"
            ),
        ),
        kubernetes("""
            host = "https://10.0.0.1"
            ca_file = "/ca.pem"
            bearer_token = "s3cret"
        """),
    ),
    Case(
        "host-not-encrypted",
        kubernetes('host = "http://10.0.0.1"'),
        ("warning kubernetes.host: credentials and scripts go to the API server without encryption",),
        kubernetes('host = "https://10.0.0.1"'),
    ),
    Case(
        "context-unused",
        kubernetes('host = "https://10.0.0.1"\ncontext = "prod"'),
        ("warning kubernetes.context: host is set, so no kubeconfig is read and the key does nothing",),
        kubernetes('context = "prod"'),
    ),
    Case(
        "key-file-unused",
        kubernetes('host = "https://10.0.0.1"\nkey_file = "/key.pem"'),
        ("warning kubernetes.key_file: there is no cert_file beside it, so the key does nothing",),
        kubernetes("""
            host = "https://10.0.0.1"
            key_file = "/key.pem"
            cert_file = "/cert.pem"
            ca_file = "/ca.pem"
        """),
    ),
    Case(
        "namespace-unset",
        kubernetes('namespace = ""'),
        ('note kubernetes.namespace: jobs run in the namespace "default", beside whatever else is there',),
        kubernetes('namespace = ""\nnamespace_per_job = true'),
    ),
    Case(
        "namespace-of-the-system",
        kubernetes('namespace = "kube-system"'),
        (
            (
                'warning kubernetes.namespace: "kube-system" belongs to the cluster: jobs there can come by'
                " its secrets and accounts"
            ),
        ),
        kubernetes('namespace = "kube-systems"'),
    ),
    Case(
        "namespace-unused",
        kubernetes('namespace_per_job = true\nnamespace_overwrite_allowed = "^a$"'),
        (
            "warning kubernetes.namespace: namespace_per_job is set and wins, so the key does nothing",
            (
                "warning kubernetes.namespace_overwrite_allowed: namespace_per_job is set and wins, so the "
                "key does nothing"
            ),
        ),
        kubernetes('namespace = "default"\nnamespace_per_job = true'),
    ),
    Case(
        "new-namespace-is-empty",
        kubernetes("""
            namespace_per_job = true
            service_account = "ci"
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/a"
        """),
        (
            (
                "warning kubernetes.service_account: namespace_per_job makes a new namespace for each job, "
                "where none of these exists"
            ),
            (
                "warning kubernetes.volumes.pvc: namespace_per_job makes a new namespace for each job, "
                "where none of these exists"
            ),
        ),
        kubernetes('namespace_per_job = true\nservice_account = "default"'),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
