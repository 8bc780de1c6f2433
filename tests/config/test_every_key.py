"""Every key of config.toml: its type, its default, a value that is read, and what is said of a wrong one.

The table is `keys.txt`: path, type, default and a good value, as a file spells them. A table that stands in several
places has its rows once.
"""

import json
import tomllib
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.config.base import Table
from runner.config.findings import ConfigError
from runner.config.keys import is_secret, nested_table, toml_key
from runner.config.load import parse_config
from runner.config.model import Config

RUNNER = {"url": '"https://gitlab.example.com"', "token": '"glrt-1"', "executor": '"kubernetes"'}
BESIDE = {"host_aliases": {"ip": '"10.0.0.1"'}, "options": {"name": '"n"'}}
"""What elements of an array need beside the key in question, by the array's name."""
VOLUME = {"name": '"n"', "mount_path": '"/m"'}
NFS = {**VOLUME, "server": '"s"', "path": '"/p"'}
MINUTES = 5400.0
"""1h30m, the good value of each duration, in seconds."""

WRONG = {
    "string": ("3", "Input should be a string (got 3)"),
    "regular expression": ("3", "Input should be a string (got 3)"),
    "quantity": ("3", "Input should be a string (got 3)"),
    "boolean": ('"true"', 'Input should be true or false (got "true")'),
    "integer": ('"7"', 'Input should be an integer (got "7")'),
    "number": ('"7"', 'Input should be a number (got "7")'),
    "seconds": ('"7"', 'Input should be a number of seconds (got "7")'),
    "duration": ('"soon"', 'Input should be a duration such as 1h30m, 15m or 45s (got "soon")'),
    "date and time": ("true", "Input should be a date and time (got true)"),
    "list": ("3", "Input should be an array (got 3)"),
    "string or list": ("3", "Input should be an array (got 3)"),
    "table": ("3", "Input should be a table (got 3)"),
    "table of integers": ("3", "Input should be a table (got 3)"),
    "array of tables": ("3", "Input should be an array (got 3)"),
}
"""A value of another type for each type, and what is said of it."""


class Row(NamedTuple):
    """One line of the table."""

    path: str
    type: str
    default: str
    good: str


ROWS = [Row(*line.split(" | ")) for line in (Path(__file__).parent / "keys.txt").read_text().splitlines()]
every_key = pytest.mark.parametrize("row", ROWS, ids=[row.path for row in ROWS])


def fields(model: type[Table] = Config) -> Iterator[tuple[type[Table], str]]:
    """Every field of every model of the configuration."""
    for name, field in model.model_fields.items():
        yield model, name
        if nested := nested_table(field):
            yield from fields(nested)


def field_of(path: str) -> tuple[type[Table], str]:
    """The model and the field's name behind a path of keys."""
    model: type[Table] = Config
    *tables, key = (part for part in path.split(".") if part != "0")
    for table in tables:
        nested = nested_table(model.model_fields[named(model, table)])
        assert nested is not None
        model = nested
    return model, named(model, key)


def named(model: type[Table], key: str) -> str:
    """The field of a key."""
    return next(name for name, field in model.model_fields.items() if toml_key(name, field) == key)


def text_with(path: str, value: str) -> str:
    """A file in which the last line sets a key."""
    if not path.startswith("runners.0."):
        return f"{path} = {value}\n"
    inner = path.removeprefix("runners.0.")
    needed = [f"  {key} = {good}\n" for key, good in RUNNER.items() if key != inner]
    return "".join(["[[runners]]\n", *needed, f"  {dotted(inner.split('.0.'), value)}\n"])


def dotted(parts: list[str], value: str) -> str:
    """Dotted keys down to the value, with an array of one inline table at each place where the path has an index."""
    first, *rest = parts
    if not rest:
        return f"{first} = {value}"
    name, key = first.rpartition(".")[2], rest[0]
    needed = NFS if name == "nfs" else VOLUME if ".volumes." in first else BESIDE.get(name, {})
    beside = [f"{other} = {good}" for other, good in needed.items() if other != key]
    return f"{first} = [{{ {', '.join([*beside, dotted(rest, value)])} }}]"


def value_in(config: Config, path: str) -> Any:
    """The value at a path of keys."""

    def step(found: Any, key: str) -> Any:
        return found[0] if key == "0" else getattr(found, named(type(found), key))

    return reduce(step, path.split("."), config)


def plain(value: Any) -> Any:
    """A value as TOML has it."""
    return list(value) if isinstance(value, tuple) else value


def test_table_has_every_key_once() -> None:
    """A key that is added gets its row here."""
    rows = [field_of(row.path) for row in ROWS]
    assert len(rows) == len(set(rows))
    assert set(fields()) - set(rows) == {(Config, "runners")}


@every_key
def test_good_value_is_read(row: Row) -> None:
    """The value reaches its field; durations become seconds, lists tuples."""
    config, _ = parse_config(text_with(row.path, row.good))
    value = value_in(config, row.path)
    if isinstance(value, Table) or row.type == "array of tables":
        assert value  # what is in it has rows of its own
    elif row.type == "duration":
        assert value == MINUTES
    else:
        assert plain(value) == tomllib.loads(f"v = {row.good}")["v"]


@every_key
def test_default_holds_where_the_key_is_missing(row: Row) -> None:
    """The original's default, and none where it distinguishes what is not set."""
    model, name = field_of(row.path)
    field = model.model_fields[name]
    if row.default == "required":
        assert field.is_required()
    elif row.default == "-":
        assert field.default == () or not field.default.model_fields_set
    else:
        assert plain(field.default) == (None if row.default == "unset" else json.loads(row.default))


@every_key
def test_wrong_type_is_told_with_its_line(row: Row) -> None:
    """File, line, path and a sentence, without the value where it may be secret."""
    wrong, sentence = WRONG[row.type]
    text = text_with(row.path, wrong)
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    model, name = field_of(row.path)
    said = sentence.partition(" (got")[0] if is_secret(model.model_fields[name]) else sentence
    assert str(caught.value) == f"config.toml:{text.count(chr(10))}: {row.path}: {said}"


def test_types_of_the_table_are_those_of_the_page() -> None:
    """What a reader is told is what the loader takes."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    for row in ROWS:
        key = row.path.rpartition(".")[2]
        assert f"| `{key}` | {row.type} |" in page or key == "allow_privileged"
