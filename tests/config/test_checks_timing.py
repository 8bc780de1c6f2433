"""Rules about time-outs, grace periods and tries."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes, runner

CASES = [
    Case(
        "poll-timeout-below-interval",
        kubernetes("poll_timeout = 5\npoll_interval = 10"),
        (
            (
                "warning kubernetes.poll_timeout: the pod gets 5 s to run, and where it cannot be watched "
                "it is looked at every 10 s: a good pod may be given up unseen"
            ),
        ),
        kubernetes("poll_timeout = 10\npoll_interval = 10"),
    ),
    Case(
        "poll-timeout-short",
        kubernetes("poll_timeout = 20"),
        (
            (
                "warning kubernetes.poll_timeout: the pod gets 20 s to run; to pull an image, or to add a "
                "node, takes longer"
            ),
        ),
        kubernetes("poll_timeout = 30"),
    ),
    Case(
        "grace-negative",
        kubernetes("cleanup_grace_period_seconds = -1"),
        ("error kubernetes.cleanup_grace_period_seconds: -1 s is no grace period",),
        kubernetes("cleanup_grace_period_seconds = 0"),
    ),
    Case(
        "grace-beyond-cleanup",
        kubernetes("pod_termination_grace_period_seconds = 3600"),
        (
            (
                "warning kubernetes.pod_termination_grace_period_seconds: the pod gets 3600 s to go, and "
                "after 300 s its removal is no longer waited for"
            ),
        ),
        kubernetes("""
            pod_termination_grace_period_seconds = 3600
            cleanup_grace_period_seconds = 10
        """),
    ),
    Case(
        "grace-beyond-cleanup",
        kubernetes('cleanup_resources_timeout = "10s"'),
        (
            (
                "warning kubernetes.cleanup_resources_timeout: the pod gets 30 s to go, and after 10 s its "
                "removal is no longer waited for"
            ),
        ),
        kubernetes('cleanup_resources_timeout = "60s"'),
    ),
    Case(
        "grace-periods-differ",
        kubernetes("""
            pod_termination_grace_period_seconds = 10
            cleanup_grace_period_seconds = 60
        """),
        (
            (
                "warning kubernetes.cleanup_grace_period_seconds: 60 s replace the pod's own grace period, "
                "10 s, whenever the runner deletes the pod"
            ),
        ),
        kubernetes("""
            pod_termination_grace_period_seconds = 60
            cleanup_grace_period_seconds = 10
        """),
    ),
    Case(
        "no-grace",
        kubernetes("pod_termination_grace_period_seconds = 0"),
        (
            (
                "note kubernetes.pod_termination_grace_period_seconds: with 0 s a pod that is evicted or "
                "deleted is killed at once: no trap and no pre_stop hook runs"
            ),
        ),
        kubernetes("pod_termination_grace_period_seconds = 1"),
    ),
    Case(
        "hook-without-grace",
        kubernetes("""
            cleanup_grace_period_seconds = 0
            [runners.kubernetes.container_lifecycle.pre_stop.exec]
            command = ["sync"]
        """),
        (
            (
                "warning kubernetes.cleanup_grace_period_seconds: with 0 s the pre_stop hook is cut off: "
                "the pod is gone at once"
            ),
        ),
        kubernetes("""
            cleanup_grace_period_seconds = 5
            [runners.kubernetes.container_lifecycle.pre_stop.exec]
            command = ["sync"]
        """),
    ),
    Case(
        "retry-limits",
        kubernetes("""
            [runners.kubernetes.retry_limits]
            "i/o timeout" = 0
            "" = 3
        """),
        (
            "warning kubernetes.retry_limits.i/o timeout: 0 tries are less than the first one",
            "warning kubernetes.retry_limits.: every error contains the empty text",
        ),
        kubernetes('[runners.kubernetes.retry_limits]\n"i/o timeout" = 10'),
    ),
    Case(
        "prepare-timeout-short",
        runner('prepare_timeout = "2m"'),
        ("warning prepare_timeout: 120 s are over before poll_timeout, 180 s, which then does nothing",),
        runner('prepare_timeout = "10m"'),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
