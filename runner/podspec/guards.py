"""The guards of an overwrite: a regular expression to match, an amount not to exceed.

Values come from jobs and are hostile: patterns are RE2's, which take linear time whatever the value, and each value has
a greatest length. Patterns are the operator's; a wrong one is told when a value is there to be matched, as GitLab
Runner does.
"""

from functools import lru_cache
from typing import Any

from runner.job.patterns import PatternError, compiled
from runner.job.quantity import Quantity, QuantityError, parse_quantity
from runner.podspec.quoting import quoted, shown


class GuardError(ValueError):
    """A value that its guard does not let pass, or a guard that cannot be used; the message is a sentence."""


def check_pattern(pattern: str, value: str) -> None:
    """Refuse a value in which the pattern is found nowhere: a search, not anchored, as GitLab Runner's is.

    Raises GuardError, also for a pattern that is none.
    """
    # Go replaces what is no UTF-8, and so does this.
    if _compiled(pattern).search(value.encode("utf-8", "replace")) is None:
        raise GuardError(f"provided value {quoted(value)} does not match {quoted(pattern)}")


def amount_within(limit: str, text: str, *, resource: str) -> str:
    """Give an amount as it goes into the pod when it is no more than the limit, compared as numbers.

    Raises GuardError, with GitLab Runner's words, for what is more, less than nothing, or no amount.
    """
    try:
        amount, most = parse_quantity(text), _limit(limit)
    except QuantityError as error:
        raise GuardError(f"parsing resource limit: {shown(str(error))}") from None
    if amount > most:
        raise GuardError(
            f"the resource {quoted(resource)} requested {quoted(text)} is higher than limit allowed {quoted(limit)}"
        )
    if amount.value < 0:
        raise GuardError(f"parsing resource limit: {quoted(text)} is less than nothing")
    return str(amount)


@lru_cache(maxsize=256)
def _limit(text: str) -> Quantity:
    return parse_quantity(text)


def _compiled(pattern: str) -> Any:
    try:
        return compiled(pattern)
    except PatternError as error:
        raise GuardError(f"{quoted(pattern)} is no regular expression: {shown(str(error))}") from None
