"""How many jobs at once: the process's limit, the runners' own, and requests to GitLab."""

from collections.abc import Iterator
from typing import Final

from runner.config.checks.rules import Problem, Rule, Whole
from runner.config.model import RunnerConfig

_MANY_JOBS = 20


def _limit_above_concurrent(whole: Whole) -> Iterator[Problem]:
    """A runner's limit is above that of the process."""
    for index, runner in enumerate(whole.config.runners):
        if runner.limit > whole.config.concurrent:
            yield Problem(
                ("runners", index, "limit"),
                f"{runner.limit} jobs of this runner never run at once, for concurrent is {whole.config.concurrent}",
                f"raise concurrent to {runner.limit} or more, or lower the limit",
            )


def _concurrent_unset(whole: Whole) -> Iterator[Problem]:
    """One job runs at a time, because nothing else is said."""
    if "concurrent" not in whole.config.model_fields_set and whole.config.runners:
        yield Problem(
            ("concurrent",), "concurrent is not set: one job runs at a time", "set it to what the cluster can bear"
        )


def _concurrent_below_runners(whole: Whole) -> Iterator[Problem]:
    """There are more runners than jobs at once."""
    runners, jobs = len(whole.config.runners), whole.config.concurrent
    places = "1 place" if jobs == 1 else f"{jobs} places"
    if "concurrent" in whole.config.model_fields_set and jobs < runners:
        yield Problem(
            ("concurrent",),
            f"{runners} runners share {places} for jobs, so they wait for each other",
            f"set it to {runners} or more",
        )


def _concurrent_above_limits(whole: Whole) -> Iterator[Problem]:
    """The runners' limits together are below that of the process."""
    limits = [runner.limit for runner in whole.config.runners]
    if limits and all(limit > 0 for limit in limits) and sum(limits) < whole.config.concurrent:
        yield Problem(
            ("concurrent",),
            f"it is never reached: the limits of all runners together are {sum(limits)}",
            f"lower it to {sum(limits)}, or raise a limit",
        )


def _limit_negative(runner: RunnerConfig) -> Iterator[Problem]:
    """A limit is less than nothing."""
    if runner.limit < 0:
        yield Problem(
            ("limit",), f"{runner.limit} jobs are less than none", "write 0 for no limit, or a number of jobs"
        )


def _requests_above_limit(runner: RunnerConfig) -> Iterator[Problem]:
    """A runner may ask for more jobs at once than it may run."""
    if 0 < runner.limit < runner.request_concurrency:
        yield Problem(
            ("request_concurrency",),
            f"{runner.request_concurrency} requests at once are never made, for the runner's limit is {runner.limit}",
            f"lower it to {runner.limit} or less",
        )


def _one_request_at_once(whole: Whole) -> Iterator[Problem]:
    """A runner of many jobs asks for one after the other."""
    for index, runner in enumerate(whole.config.runners):
        jobs = min(runner.limit or whole.config.concurrent, whole.config.concurrent)
        if runner.request_concurrency == 1 and jobs >= _MANY_JOBS:
            yield Problem(
                ("runners", index, "request_concurrency"),
                f"up to {jobs} jobs are fetched one after the other: with request_concurrency 1 the next is asked for "
                "when the last request is answered, which GitLab may put off while it has no job (long polling)",
                "set it to 2 or more",
            )


RULES: Final[tuple[Rule[Whole], ...]] = (
    Rule("limit-above-concurrent", "warning", _limit_above_concurrent),
    Rule("concurrent-unset", "note", _concurrent_unset),
    Rule("concurrent-below-runners", "warning", _concurrent_below_runners),
    Rule("concurrent-above-limits", "note", _concurrent_above_limits),
    Rule("one-request-at-once", "note", _one_request_at_once),
)
"""All rules of this subject that look at the whole."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("limit-negative", "error", _limit_negative),
    Rule("requests-above-limit", "warning", _requests_above_limit),
)
"""Those that look at `[[runners]]`."""
