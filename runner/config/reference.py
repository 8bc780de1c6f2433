"""The reference of config.toml, made from the models.

`docs/configuration.md` is this module's output and a test holds the two together; write it anew with
`python -m runner.config.reference > docs/configuration.md`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import takewhile
from types import MappingProxyType, UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from runner.config.base import Table
from runner.config.inputs import Input, inputs
from runner.config.keys import by_subject, is_array, nested_table, toml_key
from runner.config.model import Config
from runner.config.values import Unit
from runner.job.durations import format_duration

_INTRODUCTION = """\
# Configuration

The service reads GitLab Runner's `config.toml`; a file written for the original works unchanged.

- Keys match in any case. A key that is unknown is ignored, with a warning that names its line and the nearest key.
- A value of a wrong type is an error that names file, line and key, and the file is not used.
- A value that loads and cannot work, such as a pattern that is none, is a warning with file, line and key.
- A *duration* is text such as `1h30m`, `15m` or `45s`, or an integer of nanoseconds. *Seconds* are a number.
- A *quantity* is Kubernetes' way to write amounts: `500m`, `1.5`, `256Mi`.
- A *regular expression* is RE2's, and is searched in the value, not anchored.
- `$VAR` and `${VAR}` in `url` and `token` are filled from the environment.
- Entries of other executors are left out with a warning; the other runners run.
- Former names of keys still work, with a warning; what this version does not act on is listed at the end.
- *Environment* and *flag* are the names under which GitLab Runner's `register` takes a key. The service reads the file
  alone. Where a table stands in several places, `...` is where their names differ.

This page is made from the source.
"""

_TYPE_NAMES: Mapping[object, str] = MappingProxyType(
    {str: "string", bool: "boolean", int: "integer", datetime: "date and time", tuple: "list", dict: "table"}
)

_MOST_HEADERS = 4

_Inputs = Mapping[tuple[str, ...], Input]


def reference() -> str:
    """The whole page, in Markdown."""
    tables = _tables()
    names = {("runners", *given.path): given for given in inputs()}
    sections = [_section(model, places, names) for model, places in tables.items()]
    return "\n".join([_INTRODUCTION, *sections, _former_keys(tables, names), _not_acted_on(tables)])


class _Place:
    """Where a file holds a table: its keys, and the header that opens it there."""

    def __init__(self, path: tuple[str, ...], *, array: bool) -> None:
        self.path = path
        name = ".".join(path)
        self.header = f"[[{name}]]" if array else f"[{name}]"

    def key(self, name: str) -> tuple[str, ...]:
        """The path of a key of the table."""
        return (*self.path, name)


_Tables = Mapping[type[Table], list[_Place]]


def _tables() -> _Tables:
    """Every model with the places where a file holds it, in the order of the file."""
    found: dict[type[Table], list[_Place]] = {Config: []}
    for model, place in _below(Config, ()):
        found.setdefault(model, []).append(place)
    return found


def _below(model: type[Table], path: tuple[str, ...]) -> Iterator[tuple[type[Table], _Place]]:
    for _, fields in by_subject(model):
        for name, field in fields.items():
            nested = nested_table(field)
            if nested is None:
                continue
            inner = (*path, toml_key(name, field))
            yield nested, _Place(inner, array=is_array(field))
            yield from _below(nested, inner)


def _section(model: type[Table], places: list[_Place], names: _Inputs) -> str:
    others = [f"`{place.header}`" for place in places[1:]]
    if len(others) > _MOST_HEADERS:
        others[_MOST_HEADERS:] = [f"and {len(others) - _MOST_HEADERS} more tables of this kind"]
    also = ["", f"Also {', '.join(others)}."] if others else []
    groups = [_group(model, subject, fields, places, names) for subject, fields in by_subject(model)]
    return "\n".join([f"## {_header(places)}", *also, *(line for group in groups for line in group), ""])


def _header(places: list[_Place]) -> str:
    return f"`{places[0].header}`" if places else "Global keys"


def _group(
    model: type[Table], subject: str, fields: Mapping[str, FieldInfo], places: list[_Place], names: _Inputs
) -> list[str]:
    keys = {toml_key(name, field): field for name, field in fields.items()}
    given = {key: [names[place.key(key)] for place in places if place.key(key) in names] for key in keys}
    columns = ["key", "type", "default", "meaning"]
    if any(given.values()):
        columns += ["environment", "flag"]
    rows = [
        [f"`{key}`", _type(field), _default(field), _meaning(key, field, model), *_names(given[key])]
        for key, field in keys.items()
    ]
    head = ["", *([f"### {subject}", ""] if subject else []), _row(columns), "|" + "---|" * len(columns)]
    return [*head, *(_row(row[: len(columns)]) for row in rows)]


def _meaning(key: str, field: FieldInfo, model: type[Table]) -> str:
    return f"{field.description}{'; not acted on' if key in model.NOT_ACTED_ON else ''}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _names(given: list[Input]) -> list[str]:
    """Environment name and flag of a key, in all places where its table stands."""
    environment, flag = _shared([one.env for one in given]), _shared([one.flag for one in given])
    return [f"`{environment}`" if environment else "", f"`--{flag}`" if flag else ""]


def _shared(names: list[str]) -> str:
    """What names have in common at their beginnings and ends, with dots between."""
    if len(set(names)) < 2:
        return names[0] if names else ""
    return "...".join([_beginning(names), _beginning([name[::-1] for name in names])[::-1]])


def _beginning(names: list[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same)


def _former_keys(tables: _Tables, names: _Inputs) -> str:
    rows = [_former_row(model, key, places, names) for model, places in tables.items() for key in model.FORMER_KEYS]
    about = (
        "While both are set, today's key counts, unless the table says otherwise. Before version 12 the keys of\n"
        "`[runners.cache.s3]` stood in `[runners.cache]` itself; they are taken there too."
    )
    columns = ["key", "table", "today", "environment"]
    return "\n".join(["## Former names", "", about, "", _row(columns), "|" + "---|" * len(columns), *rows, ""])


def _former_row(model: type[Table], key: str, places: list[_Place], names: _Inputs) -> str:
    former = model.FORMER_KEYS[key]
    today = " and ".join(f"`{name}`" for name in former.fields)
    if former.meant:
        today += f": {former.meant}"
    if former.wins:
        today += "; wins over both" if len(former.fields) > 1 else "; wins over it"
    given = [names[place.key(key)] for place in places if place.key(key) in names]
    return _row([f"`{key}`", _header(places), today, _names(given)[0]])


def _not_acted_on(tables: _Tables) -> str:
    rows = [
        f"- {_header(places)}: {', '.join(f'`{key}`' for key in sorted(model.NOT_ACTED_ON))}"
        for model, places in tables.items()
        if model.NOT_ACTED_ON
    ]
    about = "GitLab Runner has these keys; here they are accepted with a warning and do nothing."
    others = [
        f"- {_header(places)}: {', '.join(f'`{key}`' for key in sorted(model.KNOWN_BUT_UNUSED))}"
        for model, places in tables.items()
        if model.KNOWN_BUT_UNUSED
    ]
    also = "Keys of other executors are left alone; a table that holds something is named with its line."
    return "\n".join(["## Not acted on", "", about, "", *rows, "", also, "", *others, ""])


def _type(field: FieldInfo) -> str:
    if nested_table(field):
        return "array of tables" if is_array(field) else "table"
    return _unit(field.metadata) or _type_name(field.annotation)


def _type_name(annotation: object) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _unit(arguments[1:]) or _type_name(arguments[0])
    if origin in (UnionType, Union):
        return _type_name(arguments[0])
    return _TYPE_NAMES[origin or annotation]


def _unit(marks: Iterable[object]) -> str | None:
    return next((mark.name for mark in marks if isinstance(mark, Unit)), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "unset"
    if value in ("", (), {}) or isinstance(value, Table):
        return ""
    if isinstance(value, float):
        return f"`{format_duration(value)}`" if _type(field) == "duration" else f"`{value:g}`"
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    print(reference(), end="")
