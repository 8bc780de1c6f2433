"""Guards: what jobs may overwrite, and how far."""

from collections.abc import Iterator
from typing import Any, Final

from runner.config.checks.amounts import amount
from runner.config.checks.rules import Problem, Rule, quoted
from runner.config.kubernetes import KubernetesConfig
from runner.config.model import RunnerConfig
from runner.job.patterns import PatternError, compiled

PATTERNS: Final = (
    "namespace_overwrite_allowed",
    "service_account_overwrite_allowed",
    "pod_labels_overwrite_allowed",
    "pod_annotations_overwrite_allowed",
    "node_selector_overwrite_allowed",
    "node_tolerations_overwrite_allowed",
)
"""Guards that are regular expressions."""
_SCALARS = PATTERNS[:2]
_MAXIMUM = "_overwrite_max_allowed"
_PROBES = (b"kube-system", b"x9-qz", b"key=value:NoSchedule")


def _guard_matches_everything(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A guard lets jobs choose any namespace or service account, or anything beside privileged containers."""
    for key in PATTERNS if kubernetes.privileged else _SCALARS:
        pattern = getattr(kubernetes, key)
        if not pattern or not _matches_everything(pattern):
            continue
        what = key.removesuffix("_overwrite_allowed").replace("_", " ")
        beside = ", kube-system too" if key == "namespace_overwrite_allowed" else ""
        beside += ", and its containers are privileged" if kubernetes.privileged else ""
        yield Problem(
            (key,),
            f"{quoted(pattern)} matches everything: a job may choose any {what}{beside}",
            'name what is allowed, with both ends, such as "^ci-[a-z0-9-]+$"',
        )


def _guard_not_anchored(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A guard accepts more than it says, because it is searched anywhere in the value."""
    for key in _SCALARS:
        pattern = getattr(kubernetes, key)
        if not pattern or _matches_everything(pattern) or isinstance(_compiled(pattern), str):
            continue
        if not (pattern.startswith(("^", r"\A")) and pattern.endswith(("$", r"\z"))):
            yield Problem(
                (key,),
                f"{quoted(pattern)} is searched anywhere in a job's value: more may stand before or behind it",
                f"bind it to both ends: {quoted(f'^({pattern})$')}",
            )


def _toleration_guard_matches_nothing(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """The guard of tolerations matches the empty text, which tolerates every taint."""
    pattern = kubernetes.node_tolerations_overwrite_allowed
    found = _compiled(pattern) if pattern else ""
    if not isinstance(found, str) and found.search(b""):
        yield Problem(
            ("node_tolerations_overwrite_allowed",),
            f"{quoted(pattern)} matches an empty value, with which a job tolerates every taint of every node",
            'write a pattern that needs a key, such as "^ci=[a-z]+:NoSchedule$"',
        )


def _guard_below_value(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A guard is below the value that the configuration itself sets."""
    for key in _maxima():
        own = key.removesuffix(_MAXIMUM)
        most, value = amount(kubernetes, key), amount(kubernetes, own)
        if most and value and most < value:
            yield Problem(
                (key,),
                f"jobs may ask for {most} at most, while {own} gives {value} to a job that does not ask",
                f"raise the guard to {value} or more, or lower {own}",
            )


def _token_overwrite_without_host(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Jobs may choose a bearer token, but no host is set that it would be for."""
    if kubernetes.bearer_token_overwrite_allowed and not kubernetes.host:
        yield Problem(
            ("bearer_token_overwrite_allowed",),
            "a job's token is meant for a host that is named; with the pod's own credentials those may win",
            "set host, or take the key away",
        )


_OVERWRITES = {
    "KUBERNETES_NAMESPACE_OVERWRITE": "namespace_overwrite_allowed",
    "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "service_account_overwrite_allowed",
    "KUBERNETES_BEARER_TOKEN": "bearer_token_overwrite_allowed",
}
_OVERWRITE_PREFIXES = {
    "KUBERNETES_POD_LABELS_": "pod_labels_overwrite_allowed",
    "KUBERNETES_POD_ANNOTATIONS_": "pod_annotations_overwrite_allowed",
    "KUBERNETES_NODE_SELECTOR_": "node_selector_overwrite_allowed",
    "KUBERNETES_NODE_TOLERATIONS_": "node_tolerations_overwrite_allowed",
}


def _overwrite_without_guard(runner: RunnerConfig) -> Iterator[Problem]:
    """`environment` sets an overwrite whose guard is empty, so that it does nothing."""
    for index, entry in enumerate(runner.environment):
        name = entry.partition("=")[0]
        guard = _guard_of(name)
        if guard and not getattr(runner.kubernetes, guard):
            yield Problem(
                ("environment", index),
                f"{name} does nothing, because {guard} is not set",
                f"set the key itself in [runners.kubernetes], or {guard}",
            )


def _guard_of(variable: str) -> str:
    """The key that guards an overwrite; empty for another variable."""
    if variable in _OVERWRITES:
        return _OVERWRITES[variable]
    for prefix, guard in _OVERWRITE_PREFIXES.items():
        if variable.startswith(prefix):
            return guard
    key = variable.removeprefix("KUBERNETES_").lower() + _MAXIMUM
    return key if variable.startswith("KUBERNETES_") and key in KubernetesConfig.model_fields else ""


def _maxima() -> Iterator[str]:
    return (name for name in KubernetesConfig.model_fields if name.endswith(_MAXIMUM))


def _matches_everything(pattern: str) -> bool:
    found = _compiled(pattern)
    return not isinstance(found, str) and all(found.search(probe) for probe in _PROBES)


def _compiled(pattern: str) -> Any:
    """The pattern, or what RE2 says against it, a text."""
    try:
        return compiled(pattern)
    except PatternError as error:
        return str(error)


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("guard-matches-everything", "warning", _guard_matches_everything),
    Rule("guard-not-anchored", "note", _guard_not_anchored),
    Rule("guard-tolerates-everything", "warning", _toleration_guard_matches_nothing),
    Rule("guard-below-value", "warning", _guard_below_value),
    Rule("token-overwrite-without-host", "warning", _token_overwrite_without_host),
)
"""All rules of this subject that look at `[runners.kubernetes]`."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("overwrite-without-guard", "warning", _overwrite_without_guard),
)
"""Those that look at `[[runners]]`."""
