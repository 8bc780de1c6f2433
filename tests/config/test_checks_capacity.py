"""Rules about how many jobs run at once."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, runner, top

CASES = [
    Case(
        "limit-above-concurrent",
        runner("limit = 11"),
        ("warning limit: 11 jobs of this runner never run at once, for concurrent is 10",),
        runner("limit = 10"),
    ),
    Case(
        "concurrent-unset",
        runner().partition("\n")[2],
        ("note concurrent: concurrent is not set: one job runs at a time",),
        runner(),
    ),
    Case(
        "concurrent-below-runners",
        top("concurrent = 1") + runner('name = "b"\ntoken = "glrt-other"').partition("\n")[2],
        ("warning concurrent: 2 runners share 1 place for jobs, so they wait for each other",),
        top("concurrent = 1"),
    ),
    Case(
        "concurrent-above-limits",
        runner("limit = 9"),
        ("note concurrent: it is never reached: the limits of all runners together are 9",),
        runner("limit = 10"),
    ),
    Case(
        "one-request-at-once",
        top("concurrent = 50"),
        (
            (
                "note request_concurrency: up to 50 jobs are fetched one after the other: with "
                "request_concurrency 1 the next is asked for when the last request is answered, which "
                "GitLab may put off while it has no job (long polling)"
            ),
        ),
        runner("request_concurrency = 2", top="concurrent = 50"),
    ),
    Case("limit-negative", runner("limit = -1"), ("error limit: -1 jobs are less than none",), runner("limit = 0")),
    Case(
        "requests-above-limit",
        runner("limit = 2\nrequest_concurrency = 3"),
        ("warning request_concurrency: 3 requests at once are never made, for the runner's limit is 2",),
        runner("limit = 3\nrequest_concurrency = 3"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
