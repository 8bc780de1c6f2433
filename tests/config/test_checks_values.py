"""Rules about values that are not taken as they are written."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes, runner

CASES = [
    Case(
        "value-replaced",
        kubernetes("poll_interval = -3\nretry_backoff_max = 100"),
        (
            "warning kubernetes.poll_interval: -3 is out of range, and 3 is taken instead",
            "warning kubernetes.retry_backoff_max: 100 is out of range, and 500 is taken instead",
        ),
        kubernetes("poll_interval = 0\nretry_backoff_max = 500"),
    ),
    Case(
        "duration-in-nanoseconds",
        runner("prepare_timeout = 600"),
        (("warning prepare_timeout: a duration without a unit is one of nanoseconds: 600 is no time at all"),),
        runner('prepare_timeout = "600s"'),
    ),
    Case(
        "key-among-texts",
        kubernetes("""
            [runners.kubernetes.node_selector]
            role = "ci"
            helper_image = "a"
            namespace = "b"
        """),
        (
            (
                "warning kubernetes.node_selector.helper_image: helper_image is a key of "
                "[runners.kubernetes], and here it is only one of node_selector"
            ),
            (
                "warning kubernetes.node_selector.namespace: namespace is a key of [runners.kubernetes], "
                "and here it is only one of node_selector"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.node_selector]
            role = "ci"
            my_label = "a"
        """),
    ),
    Case(
        "flag-of-another-executor",
        runner("feature_flags = { FF_NETWORK_PER_BUILD = true }"),
        (
            (
                "warning feature_flags.FF_NETWORK_PER_BUILD: the feature flag is one of other executors and"
                " does nothing here"
            ),
        ),
        runner("feature_flags = { FF_TIMESTAMPS = true }"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
