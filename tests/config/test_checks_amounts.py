"""Rules about CPU, memory and storage."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes

CASES = [
    Case(
        "limit-below-request",
        kubernetes("""
            cpu_limit = "500m"
            cpu_request = "1"
            helper_memory_limit = "64Mi"
            helper_memory_request = "65M"
        """),
        (
            (
                "error kubernetes.cpu_limit: the limit 500m is below cpu_request, which is 1: the API "
                "server refuses such a pod"
            ),
        ),
        kubernetes('cpu_limit = "1"\ncpu_request = "1000m"'),
    ),
    Case(
        "amount-negative",
        kubernetes('service_cpu_request = "-1"'),
        (("error kubernetes.service_cpu_request: -1 is less than nothing: the API server refuses such a pod"),),
        kubernetes('service_cpu_request = "0"'),
    ),
    Case(
        "memory-too-small",
        kubernetes("""
            memory_limit = "250m"
            helper_memory_limit = "128"
            service_memory_request = "100m"
        """),
        (
            (
                "error kubernetes.memory_limit: 250m of memory for the build container: m is a thousandth "
                "of a byte, and no container starts with so little"
            ),
            (
                "error kubernetes.helper_memory_limit: 128 of memory for the helper: that is less than 6 "
                "MiB, and no container starts with so little"
            ),
            (
                "error kubernetes.service_memory_request: 100m of memory for a service: m is a thousandth "
                "of a byte, and no container starts with so little"
            ),
        ),
        kubernetes('memory_limit = "250Mi"\nservice_memory_request = "1Ki"'),
    ),
    Case(
        "cpu-too-large",
        kubernetes('cpu_limit = "1000"'),
        (
            (
                "warning kubernetes.cpu_limit: 1000 for the build container are that many whole cores, more"
                " than most nodes have"
            ),
        ),
        kubernetes('cpu_limit = "1000m"'),
    ),
    Case(
        "pod-below-containers",
        kubernetes("""
            pod_cpu_limit = "2"
            cpu_limit = "3"
            pod_memory_request = "1Gi"
            memory_request = "1Gi"
            helper_memory_request = "1Mi"
        """),
        (
            (
                "error kubernetes.pod_cpu_limit: the pod's limit 2 is below cpu_limit, which is 3: the API "
                "server refuses such a pod"
            ),
            (
                "error kubernetes.pod_cpu_limit: 2 for the pod is below what its containers request "
                "together: the API server refuses such a pod"
            ),
            (
                "error kubernetes.pod_memory_request: 1Gi for the pod is below what its containers request "
                "together: the API server refuses such a pod"
            ),
        ),
        kubernetes("""
            pod_cpu_limit = "4"
            cpu_limit = "3"
            helper_cpu_request = "1"
        """),
    ),
    Case(
        "no-memory-limit",
        kubernetes('memory_limit = ""'),
        (
            (
                "note kubernetes.memory_limit: the build container has no memory limit: one job can take "
                "all the memory of its node"
            ),
        ),
        kubernetes('memory_limit = ""\npod_memory_limit = "2Gi"'),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
