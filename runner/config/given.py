"""From the texts of flags and environment variables to the values of a `[[runners]]` entry.

Law: texts alone decide, and the value that comes out is what a person would have written in config.toml; whether the
model takes it is asked by whoever has the whole entry. No message holds the text itself, for it may be secret.
"""

import json
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from runner.config.base import Table
from runner.config.inputs import Input
from runner.config.values import Unit

_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}


class GivenError(ValueError):
    """A text that is no value of its key; the message begins in the middle of a sentence."""


def given_value(key: Input, texts: Sequence[str]) -> Any:
    """The TOML value for a key: of a flag that was given several times, or of one variable.

    A list or table takes each text as one element, everything else the last text. Raises `GivenError`.
    """
    kind = _plain(key.field.annotation)
    if get_origin(kind) is tuple:
        return _list(key, kind, texts)
    if get_origin(kind) is dict:
        return _table(_plain(get_args(kind)[1]), texts)
    text = texts[-1]
    if kind is float and not _is_duration(key):
        kind = int
    return _scalar(kind, text)


def takes_many(key: Input) -> bool:
    """Whether a flag of this key may be given several times."""
    return get_origin(_plain(key.field.annotation)) in {tuple, dict}


def is_flag(key: Input) -> bool:
    """Whether a key is true or false."""
    return _plain(key.field.annotation) is bool


def parse_flag(text: str) -> bool:
    """Read true or false as Go does. Raises `GivenError`."""
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise GivenError("is neither true nor false")


def place(entry: dict[str, Any], path: Sequence[str], value: Any, *, replace: bool = True) -> None:
    """Put a value at its path in an entry, making the tables on the way."""
    *tables, key = path
    for name in tables:
        entry = entry.setdefault(name, {})
    if replace or key not in entry:
        entry[key] = value


def filled(entry: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with what a template says where the entry says nothing: zero, false and empty are nothing.

    Tables are filled key by key, lists are taken whole. Keys match in any case.
    """
    result = dict(entry)
    spelled = {key.casefold(): key for key in result}
    for key, value in template.items():
        own = spelled.get(key.casefold(), key)
        known = result.get(own)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            result[own] = filled(known, value)
        elif not known:
            result[own] = value
    return result


def _list(key: Input, kind: Any, texts: Sequence[str]) -> Any:
    inner = _plain(get_args(kind)[0])
    if isinstance(inner, type) and issubclass(inner, Table):
        return _json(texts[-1], list)
    if key.path[-1] == "pull_policy":
        return [part.strip() for text in texts for part in text.split(",") if part.strip()]
    return [_scalar(inner, text) for text in texts]


def _table(kind: Any, texts: Sequence[str]) -> dict[str, Any]:
    table = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name:
            raise GivenError("is not key:value")
        table[name] = _scalar(kind, value)
    return table


def _scalar(kind: Any, text: str) -> Any:
    if kind is bool:
        return parse_flag(text)
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise GivenError("is no whole number") from None
    if isinstance(kind, type) and issubclass(kind, Table):
        return _json(text, dict)
    return text


def _json(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise GivenError(f"is no JSON {'object' if kind is dict else 'array'}")
    return value


def _plain(annotation: Any) -> Any:
    """A type without what surrounds it: optional, annotated."""
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        return _plain(next(kind for kind in get_args(annotation) if kind is not type(None)))
    if hasattr(annotation, "__metadata__"):
        return _plain(annotation.__origin__)
    return annotation


def _is_duration(key: Input) -> bool:
    marks = [*key.field.metadata]
    for kind in get_args(key.field.annotation):
        marks += getattr(kind, "__metadata__", ())
    return any(isinstance(mark, Unit) and mark.name == "duration" for mark in marks)
