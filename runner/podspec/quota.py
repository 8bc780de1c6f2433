"""Whether a pod fits into what ResourceQuotas leave of a namespace.

What a pod counts for is Kubernetes' own reckoning: the sum of its containers' requests and limits, or the largest init
container's where that is more, and a limit stands for a request that is not there. What a LimitRange or a webhook adds
is not known here, so a yes is a good guess and the API server has the last word.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

from runner.job.quantity import QuantityError, parse_quantity
from runner.podspec.manifest import Manifest

SECRETS = 2
"""Secrets that come with a pod: the job's record, and its passwords."""

_PLAIN = ("cpu", "memory", "ephemeral-storage")  # whose requests a quota may name without `requests.`
_NONE = Fraction(0)
_REFUSAL = re.compile(r"exceeded quota: [^,]+, requested: (\S+), used: \S+, limited: (\S+)")

Amounts = Mapping[str, Fraction]
"""Amounts by the names that containers, pods or quotas have for them."""


def usage_of(pod: Manifest) -> Amounts:
    """Say what a pod of this manifest counts for in quotas."""
    usage = dict.fromkeys(("pods", "count/pods"), Fraction(1)) | dict.fromkeys(
        ("secrets", "count/secrets"), Fraction(SECRETS)
    )
    for name, amount in _total(pod["spec"], "requests").items():
        usage[f"requests.{name}"] = amount
        if name in _PLAIN or name.startswith("hugepages-"):
            usage[name] = amount
    for name, amount in _total(pod["spec"], "limits").items():
        usage[f"limits.{name}"] = amount
    return usage


def full_quota(quotas: Iterable[Manifest], pod: Manifest, *, count: int = 1) -> str:
    """Say in a few words which quota has no room for `count` such pods; empty when all have."""
    usage = usage_of(pod)
    for quota in quotas:
        if not _concerns(quota.get("spec", {}), pod["spec"], usage):
            continue
        status = quota.get("status", {})
        used = _amounts(status.get("used"))
        for name, limit in _amounts(status.get("hard")).items():
            wanted = usage.get(name, _NONE) * count
            if wanted and used.get(name, _NONE) + wanted > limit:
                has, of = (status.get("used") or {}).get(name, "0"), status["hard"][name]
                return f'the quota "{quota["metadata"]["name"]}" has no room for another job: {name} is {has} of {of}'
    return ""


def never_fits(message: str) -> bool:
    """Tell whether the API server refused a pod that is larger than the whole quota, so that waiting is in vain.

    A quota of 0 is one that an administrator has closed, and may open again.
    """
    match = _REFUSAL.search(message)
    if match is None:
        return False
    requested, limited = (_amounts(dict(_pairs(text))) for text in match.groups())
    return any(0 < limited.get(name, _NONE) < amount for name, amount in requested.items())


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for part in text.split(","):
        name, _, amount = part.partition("=")
        yield name, amount


# What a pod counts for ---------------------------------------------------------------------------------------------


def _total(spec: Mapping[str, Any], kind: str) -> Amounts:
    """Requests or limits of a whole pod."""
    beside: list[Amounts] = []
    most: Amounts = {}
    for container in spec.get("initContainers", ()):
        own = _resources(container, kind)
        if container.get("restartPolicy") == "Always":  # it goes on beside those that follow
            beside.append(own)
            own = {}
        most = _joined(max, most, _sum(own, *beside))
    total = _sum(*(_resources(container, kind) for container in spec.get("containers", ())), *beside)
    # What the pod asks for as a whole replaces what its containers do.
    whole = {**_joined(max, total, most), **_resources(spec, kind)}
    overhead = _amounts(spec.get("overhead"))
    # It makes a limit larger, not a limit where there is none.
    return _sum(whole, {name: overhead[name] for name in overhead if kind == "requests" or whole.get(name)})


def _resources(owner: Mapping[str, Any], kind: str) -> Amounts:
    resources = owner.get("resources") or {}
    given = _amounts(resources.get(kind))
    return {**_amounts(resources.get("limits")), **given} if kind == "requests" else given


def _sum(*parts: Amounts) -> Amounts:
    total: Amounts = {}
    for part in parts:
        total = _joined(lambda one, other: one + other, total, part)
    return total


def _joined(join: Callable[[Fraction, Fraction], Fraction], one: Amounts, other: Amounts) -> Amounts:
    return {name: join(one.get(name, _NONE), other.get(name, _NONE)) for name in (*one, *other)}


def _amounts(texts: Mapping[str, Any] | None) -> Amounts:
    """Read quantities. What is none is left out: the API server will say so."""
    found: dict[str, Fraction] = {}
    for name, text in (texts or {}).items():
        try:
            found[name] = parse_quantity(str(text)).value
        except QuantityError:
            continue
    return found


# Which pods a quota counts -----------------------------------------------------------------------------------------


def _concerns(quota: Mapping[str, Any], pod: Mapping[str, Any], usage: Amounts) -> bool:
    """Tell whether a quota's scopes let it count a pod of ours; one of an unknown scope does not."""
    named = [{"scopeName": name, "operator": "Exists"} for name in quota.get("scopes") or ()]
    selected = (quota.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_matches(scope, pod, usage) for scope in (*named, *selected))


def _matches(scope: Mapping[str, Any], pod: Mapping[str, Any], usage: Amounts) -> bool:
    best_effort = not any(usage.get(f"{kind}.{name}") for kind in ("requests", "limits") for name in ("cpu", "memory"))
    terminating = pod.get("activeDeadlineSeconds") is not None
    match scope.get("scopeName"):
        case "BestEffort":
            return best_effort
        case "NotBestEffort":
            return not best_effort
        case "Terminating":
            return terminating
        case "NotTerminating":
            return not terminating
        case "PriorityClass":
            return _has_priority(scope, pod.get("priorityClassName") or "")
    return False


def _has_priority(scope: Mapping[str, Any], name: str) -> bool:
    match scope.get("operator"):
        case "In":
            return name in (scope.get("values") or ())
        case "NotIn":
            return name not in (scope.get("values") or ())
        case "DoesNotExist":
            return not name
    return bool(name)
