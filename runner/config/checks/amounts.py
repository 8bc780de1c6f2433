"""Amounts of CPU, memory and storage: limits and requests of each kind of container, and of the whole pod."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from runner.config.checks.rules import Problem, Rule
from runner.config.kubernetes import KubernetesConfig
from runner.job.quantity import Quantity, QuantityError, parse_quantity

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {"": "the build container", "helper_": "the helper", "service_": "a service", "pod_": "the pod"}
)
"""How keys of each kind begin, and whose they are."""
RESOURCES: Final = ("cpu", "memory", "ephemeral_storage")

_LEAST_MEMORY = Fraction(6 * 1024 * 1024)
_MOST_CORES = Fraction(128)


def amount(kubernetes: KubernetesConfig, key: str) -> Quantity | None:
    """The amount that a key sets; None where it sets none, or none that can be read."""
    text = getattr(kubernetes, key, "")
    return _read(text) if text else None


@lru_cache(maxsize=256)
def _read(text: str) -> Quantity | None:
    """Read a quantity once, for several rules ask for it."""
    try:
        return parse_quantity(text)
    except QuantityError:
        return None


def _limit_below_request(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A limit is below its request."""
    for kind in KINDS:
        for resource in RESOURCES:
            key, wanted = f"{kind}{resource}_limit", f"{kind}{resource}_request"
            limit, request = amount(kubernetes, key), amount(kubernetes, wanted)
            if limit and request and limit < request:
                yield Problem(
                    (key,),
                    f"the limit {limit} is below {wanted}, which is {request}: the API server refuses such a pod",
                    f"raise the limit to {request} or more, or lower {wanted}",
                )


def _amount_negative(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An amount is less than nothing."""
    for kind in KINDS:
        for resource in RESOURCES:
            for end in ("limit", "request"):
                key = f"{kind}{resource}_{end}"
                value = amount(kubernetes, key)
                if value and value.value < 0:
                    yield Problem(
                        (key,),
                        f"{value} is less than nothing: the API server refuses such a pod",
                        "write an amount of 0 or more, or take the key away",
                    )


def _memory_too_small(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An amount of memory is so small that it is likely meant in another unit."""
    for kind, whose in KINDS.items():
        for end in ("limit", "request"):
            key = f"{kind}memory_{end}"
            value = amount(kubernetes, key)
            if value is None or value.value <= 0 or (end == "request" and not value.text.endswith("m")):
                continue
            if value.value < _LEAST_MEMORY:
                number = value.text.rstrip("mkKi") or value.text
                what = "m is a thousandth of a byte" if value.text.endswith("m") else "that is less than 6 MiB"
                yield Problem(
                    (key,),
                    f"{value} of memory for {whose}: {what}, and no container starts with so little",
                    f"write mebibytes with Mi, such as {number}Mi",
                )


def _cpu_too_large(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An amount of CPU is so large that it is likely meant in thousandths."""
    for kind, whose in KINDS.items():
        for end in ("limit", "request"):
            key = f"{kind}cpu_{end}"
            value = amount(kubernetes, key)
            if value and value.value > _MOST_CORES:
                yield Problem(
                    (key,),
                    f"{value} for {whose} are that many whole cores, more than most nodes have",
                    f"write thousandths of a core with m, such as {value.text}m",
                )


def _pod_below_containers(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An amount for the whole pod is below what its containers have."""
    for resource in ("cpu", "memory"):
        pod_limit, pod_request = (amount(kubernetes, f"pod_{resource}_{end}") for end in ("limit", "request"))
        for kind in ("", "helper_", "service_"):
            limit = amount(kubernetes, f"{kind}{resource}_limit")
            if pod_limit and limit and pod_limit < limit:
                yield Problem(
                    (f"pod_{resource}_limit",),
                    f"the pod's limit {pod_limit} is below {kind}{resource}_limit, which is {limit}: "
                    "the API server refuses such a pod",
                    f"raise the pod's limit to {limit} or more, or lower {kind}{resource}_limit",
                )
        key, bound = (f"pod_{resource}_request", pod_request) if pod_request else (f"pod_{resource}_limit", pod_limit)
        requested = _requested(kubernetes, resource)
        if bound and requested > bound.value:
            yield Problem(
                (key,),
                f"{bound} for the pod is below what its containers request together: the API server refuses such a pod",
                "raise it to the sum of the containers' requests (a request that is not set is its limit), or more",
            )


def _requested(kubernetes: KubernetesConfig, resource: str) -> Fraction:
    """What build, helper and the configured services request together, a limit standing in for its request."""
    counts = {"": 1, "helper_": 1, "service_": len(kubernetes.services)}
    total = Fraction(0)
    for kind, count in counts.items():
        each = amount(kubernetes, f"{kind}{resource}_request") or amount(kubernetes, f"{kind}{resource}_limit")
        total += each.value * count if each else 0
    return total


def _no_memory_limit(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Nothing bounds the memory of a job."""
    if not (kubernetes.memory_limit or kubernetes.pod_memory_limit):
        yield Problem(
            ("memory_limit",),
            "the build container has no memory limit: one job can take all the memory of its node",
            "set memory_limit, or a LimitRange in the namespace",
        )


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("limit-below-request", "error", _limit_below_request),
    Rule("amount-negative", "error", _amount_negative),
    Rule("memory-too-small", "error", _memory_too_small),
    Rule("cpu-too-large", "warning", _cpu_too_large),
    Rule("pod-below-containers", "error", _pod_below_containers),
    Rule("no-memory-limit", "note", _no_memory_limit),
)
"""All rules of this subject."""
