"""Time-outs, intervals, grace periods and tries."""

from collections.abc import Iterator
from typing import Final

from runner.config.checks.rules import Problem, Rule
from runner.config.kubernetes import KubernetesConfig
from runner.config.model import RunnerConfig

_CLUSTER_GRACE = 30


def _poll_timeout_below_interval(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """The pod may take less time to run than lies between two looks at it."""
    if kubernetes.poll_timeout < kubernetes.poll_interval:
        yield Problem(
            ("poll_timeout",),
            f"the pod gets {kubernetes.poll_timeout:g} s to run, and where it cannot be watched it is looked at "
            f"every {kubernetes.poll_interval:g} s: a good pod may be given up unseen",
            f"set poll_timeout to many times poll_interval, such as {kubernetes.poll_interval * 60:g}",
        )


def _poll_timeout_short(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """The pod gets so little time to run that pulling an image may take longer."""
    if kubernetes.poll_interval <= kubernetes.poll_timeout < 30:
        yield Problem(
            ("poll_timeout",),
            f"the pod gets {kubernetes.poll_timeout:g} s to run; to pull an image, or to add a node, takes longer",
            "set it to some minutes, such as 180",
        )


def _prepare_timeout_short(runner: RunnerConfig) -> Iterator[Problem]:
    """The limit on getting the pod ready ends before the time that the pod has to run."""
    limit = runner.prepare_timeout
    if limit and limit < runner.kubernetes.poll_timeout:
        yield Problem(
            ("prepare_timeout",),
            f"{limit:g} s are over before poll_timeout, {runner.kubernetes.poll_timeout:g} s, which then does nothing",
            "raise it above poll_timeout, or lower poll_timeout",
        )


def _grace_negative(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A grace period is less than nothing."""
    for key in ("pod_termination_grace_period_seconds", "cleanup_grace_period_seconds"):
        seconds = getattr(kubernetes, key)
        if seconds is not None and seconds < 0:
            yield Problem((key,), f"{seconds} s is no grace period", "write 0 or more, or take the key away")


def _grace_beyond_cleanup(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A pod may take longer to go than its removal is waited for."""
    pod, cleanup = kubernetes.pod_termination_grace_period_seconds, kubernetes.cleanup_grace_period_seconds
    key = "pod_termination_grace_period_seconds" if cleanup is None else "cleanup_grace_period_seconds"
    seconds = cleanup if cleanup is not None else _CLUSTER_GRACE if pod is None else pod
    limit = kubernetes.cleanup_resources_timeout
    if seconds >= limit:
        yield Problem(
            (key if getattr(kubernetes, key) is not None else "cleanup_resources_timeout",),
            f"the pod gets {seconds} s to go, and after {limit:g} s its removal is no longer waited for",
            "raise cleanup_resources_timeout above the grace period, or shorten that",
        )


def _grace_periods_differ(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """The pod is deleted with a longer grace period than its own."""
    pod, cleanup = kubernetes.pod_termination_grace_period_seconds, kubernetes.cleanup_grace_period_seconds
    if pod is not None and cleanup is not None and cleanup > pod >= 0:
        yield Problem(
            ("cleanup_grace_period_seconds",),
            f"{cleanup} s replace the pod's own grace period, {pod} s, whenever the runner deletes the pod",
            "give both one value, or leave cleanup_grace_period_seconds out",
        )


def _no_grace(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Containers are killed without a moment to end."""
    if kubernetes.pod_termination_grace_period_seconds == 0:
        yield Problem(
            ("pod_termination_grace_period_seconds",),
            "with 0 s a pod that is evicted or deleted is killed at once: no trap and no pre_stop hook runs",
            "give it some seconds",
        )


def _tries(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A kind of error gets less than one try, or is none."""
    for text, tries in kubernetes.retry_limits.items():
        if tries < 1:
            yield Problem(
                ("retry_limits", text), f"{tries} tries are less than the first one", "write 1 for no second try"
            )
        if not text:
            yield Problem(
                ("retry_limits", text), "every error contains the empty text", "write a part of the error's text"
            )


def _hooks_without_grace(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A hook before the end of containers gets no time."""
    if kubernetes.container_lifecycle.pre_stop is not None and kubernetes.cleanup_grace_period_seconds == 0:
        yield Problem(
            ("cleanup_grace_period_seconds",),
            "with 0 s the pre_stop hook is cut off: the pod is gone at once",
            "give it the seconds that the hook needs, or leave it out",
        )


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("poll-timeout-below-interval", "warning", _poll_timeout_below_interval),
    Rule("poll-timeout-short", "warning", _poll_timeout_short),
    Rule("grace-negative", "error", _grace_negative),
    Rule("grace-beyond-cleanup", "warning", _grace_beyond_cleanup),
    Rule("grace-periods-differ", "warning", _grace_periods_differ),
    Rule("no-grace", "note", _no_grace),
    Rule("hook-without-grace", "warning", _hooks_without_grace),
    Rule("retry-limits", "warning", _tries),
)
"""All rules of this subject that look at `[runners.kubernetes]`."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("prepare-timeout-short", "warning", _prepare_timeout_short),
)
"""Those that look at `[[runners]]`."""
