"""Flags of the helper's commands, read as the original's are: `-name value`, `--name=value`, environment below.

Law: pure. A flag given on the command line goes before its environment variable, that before the default. A boolean
takes its value only after `=`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.helper.console import HelperError

Kind = Literal["text", "texts", "number", "boolean", "duration"]

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]*\.?[0-9]+)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a command."""

    name: str
    kind: Kind = "text"
    env: str = ""
    default: Any = ""
    """In the flag's own type: text, number, seconds or boolean."""


class Given:
    """What the flags of a command are, by name."""

    def __init__(self, values: Mapping[str, Any], words: tuple[str, ...]) -> None:
        self._values = values
        self.words = words
        """What follows the flags."""

    def text(self, name: str) -> str:
        """A text."""
        return str(self._values[name])

    def texts(self, name: str) -> tuple[str, ...]:
        """What a flag was given that may be given again."""
        return tuple(self._values[name] or ())

    def with_text(self, name: str, value: str) -> "Given":
        """The same flags, one of them with another text."""
        return Given({**self._values, name: value}, self.words)

    def number(self, name: str) -> int:
        """A whole number."""
        return int(self._values[name])

    def boolean(self, name: str) -> bool:
        """Yes or no."""
        return bool(self._values[name])

    def seconds(self, name: str) -> float:
        """A duration."""
        return float(self._values[name])


def parse_flags(flags: Sequence[Flag], arguments: Sequence[str], environ: Mapping[str, str]) -> Given:
    """Read a command's arguments. Raises HelperError for a flag that is not known or has no such value."""
    known = {flag.name: flag for flag in flags}
    values: dict[str, Any] = {flag.name: _initial(flag, environ) for flag in flags}
    repeated: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        flag = known.get(name)
        if flag is None:
            raise HelperError(f"flag provided but not defined: -{name}")
        if not equals and flag.kind == "boolean":
            value = "true"
        elif not equals:
            if not rest:
                raise HelperError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        if flag.kind == "texts":
            repeated.setdefault(name, []).append(value)
        else:
            values[name] = _value(flag, value, f"flag -{name}")
    return Given(values | repeated, tuple(rest))


def parse_boolean(text: str) -> bool | None:
    """Read a boolean as Go does; None for anything else."""
    return True if text in _TRUE else False if text in _FALSE else None


def parse_duration(text: str) -> float | None:
    """Read a duration such as `1h30m` as Go does, in seconds; None for anything else."""
    body = text.removeprefix("-")
    if body == "0":
        return 0.0
    found = _DURATION.findall(body)
    if not found or "".join(number + unit for number, unit in found) != body:
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in found)
    return -seconds if text.startswith("-") else seconds


def _initial(flag: Flag, environ: Mapping[str, str]) -> Any:
    text = environ.get(flag.env, "") if flag.env else ""
    if not text:
        return flag.default
    return (text,) if flag.kind == "texts" else _value(flag, text, f"variable {flag.env}")


def _value(flag: Flag, text: str, where: str) -> Any:
    value: Any = text
    if flag.kind == "boolean":
        value = parse_boolean(text)
    elif flag.kind == "duration":
        value = parse_duration(text)
    elif flag.kind == "number":
        value = int(text) if re.fullmatch(r"-?[0-9]+", text) else None
    if value is None:
        # The value itself is not told: a variable may hold a secret by mistake.
        raise HelperError(f"invalid value for {where}: a {flag.kind} is needed")
    return value
