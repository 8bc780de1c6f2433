"""The types of values in config.toml.

TOML has types and GitLab Runner holds a file to them, so these do not convert: `"5"` is no number, `1` is no
boolean. What is converted is the unit: every duration becomes seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt
from pydantic_core import PydanticCustomError

from runner.job.durations import LONGEST_DURATION, parse_duration
from runner.job.quantity import QuantityError, parse_quantity

T = TypeVar("T")

NANOSECONDS = 1e-9


class Secret:
    """Marks a field whose value must not be shown: not in errors, not in `repr`, not in the status page."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Marks a field whose texts may load and not work: the text itself, or each of a list."""

    rule: str
    """What kind of finding it gives."""
    check: Callable[[str], str | None]
    """Takes a text that is not empty; returns the sentence of a warning, or None."""


class Unit:
    """Names a field's type in the reference, where the Python type alone would not tell it."""

    def __init__(self, name: str) -> None:
        self.name = name


def _seconds(value: object) -> object:
    """Accept numbers alone: a text such as `"3"` or `"3s"` is a wrong type where the original has an integer."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LONGEST_DURATION:
        raise PydanticCustomError("seconds", "Input should be a number of seconds")
    return value


def _go_duration(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            value = None
    # Go's decoder takes a bare integer as nanoseconds; a float is ours, for whoever builds the model in Python.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value * NANOSECONDS
    if isinstance(value, float) and abs(value) <= LONGEST_DURATION:
        return value
    raise PydanticCustomError("go_duration", "Input should be a duration such as 1h30m, 15m or 45s")


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_PULL_POLICIES = ("always", "if-not-present", "never")


def _pull_policy(value: str) -> str:
    if value and value not in _PULL_POLICIES:
        raise PydanticCustomError("pull_policy", "Input should be always, if-not-present or never")
    return value


_QUANTITY = "a Kubernetes quantity such as 500m, 1.5 or 256Mi"


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except QuantityError:
        return False
    return text == text.strip()


def _quantity(value: str) -> str:
    if value and not _is_quantity(value):
        raise PydanticCustomError("quantity", f"Input should be {_QUANTITY}")
    return value


def _guard_problem(text: str) -> str | None:
    return None if _is_quantity(text) else f"this is not {_QUANTITY}: jobs that set the variable fail"


def _size_problem(text: str) -> str | None:
    return None if not text.strip() or _is_quantity(text.strip()) else f"this is not {_QUANTITY}, and is left out"


def _pattern_problem(pattern: str) -> str | None:
    import re2  # here, because most configurations have no pattern

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern.encode("utf-8", "replace"), options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "it cannot be read"
        return f"this is no regular expression of RE2 ({reason}): jobs that set the variable fail"
    return None


def _entry_problem(entry: str) -> str | None:
    key, equals, _ = entry.partition("=")
    return None if key and equals else "the entry is left out, for it is not KEY=value"


def one_of(rule: str, words: Sequence[str], otherwise: str) -> Doubt:
    """Doubt a text that is none of these words; `otherwise` says what comes of it."""
    known = f"{', '.join(words[:-1])} or {words[-1]}"
    return Doubt(rule, lambda text: None if text in words else f"this is not {known}: {otherwise}")


def positive_or(default: float) -> AfterValidator:
    """Turn 0 and less into the default, as the original does for intervals and limits."""

    def choose(value: T) -> T | float:
        return value if value > 0 else default  # type: ignore[operator]  # only put on numbers

    return AfterValidator(choose)


def not_negative_or(default: float) -> AfterValidator:
    """Turn less than 0 into the default, as the original does for counts of which 0 means none."""

    def choose(value: T) -> T | float:
        return value if value >= 0 else default  # type: ignore[operator]  # only put on numbers

    return AfterValidator(choose)


def at_least(lowest: float) -> AfterValidator:
    """Raise a value to the lowest one that works."""

    def choose(value: T) -> T | float:
        return value if value >= lowest else lowest  # type: ignore[operator]  # only put on numbers

    return AfterValidator(choose)


def not_empty(value: str) -> str:
    """Refuse an empty text."""
    if not value:
        raise PydanticCustomError("empty", "Input should not be empty")
    return value


def checked(check: Callable[[str], str | None]) -> AfterValidator:
    """Refuse a text for which the check returns a sentence."""

    def validate(value: str) -> str:
        if reason := check(value):
            raise PydanticCustomError("checked", "{reason}", {"reason": reason})
        return value

    return AfterValidator(validate)


Flag = StrictBool
Number = Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)]
Seconds = Annotated[float, BeforeValidator(_seconds), Unit("seconds")]
GoDuration = Annotated[float, BeforeValidator(_go_duration), Unit("duration")]
Quantity = Annotated[str, AfterValidator(_quantity), Unit("quantity")]
PullPolicy = Annotated[
    tuple[Annotated[str, AfterValidator(_pull_policy)], ...], BeforeValidator(_one_or_many), Unit("string or list")
]
QuantityGuard = Annotated[str, Unit("quantity"), Doubt("guard-no-amount", _guard_problem)]
"""The most a job may ask for. One that cannot be read fails only the jobs that ask."""
SizeLimit = Annotated[str, Unit("quantity"), Doubt("empty-dir", _size_problem)]
"""A size that is left out when it cannot be read."""
Pattern = Annotated[str, Unit("regular expression"), Doubt("guard-not-re2", _pattern_problem)]
"""A pattern in RE2's syntax, searched in what a job asks for. One that cannot be read fails only the jobs that ask."""
Texts = tuple[str, ...]
TextTable = dict[str, str]
NumberTable = Annotated[dict[str, Number], Unit("table of integers")]
Environment = Annotated[Texts, Secret(), Doubt("entry-not-variable", _entry_problem)]
"""`KEY=value` entries; values may be secret."""
SecretText = Annotated[str, Secret()]
Filled = Annotated[str, AfterValidator(not_empty)]
