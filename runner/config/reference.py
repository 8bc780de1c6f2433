"""The reference of config.toml, made from the models.

`docs/configuration.md` is this module's output and a test holds the two together; write it anew with
`python -m runner.config.reference > docs/configuration.md`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType, UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from runner.config.base import Table
from runner.config.keys import is_array, nested_table, toml_key
from runner.config.model import Config
from runner.config.values import Unit
from runner.job.durations import format_duration

_INTRODUCTION = """\
# Configuration

The service reads GitLab Runner's `config.toml`; a file written for the original works unchanged.

- Keys match in any case. A key that is unknown is ignored, with a warning that names its line and the nearest key.
- A value of a wrong type is an error that names file, line and key, and the file is not used.
- A *duration* is text such as `1h30m`, `15m` or `45s`, or an integer of nanoseconds. *Seconds* are a number.
- A *quantity* is Kubernetes' way to write amounts: `500m`, `1.5`, `256Mi`.
- `$VAR` and `${VAR}` in `url` and `token` are filled from the environment.
- Entries of other executors are left out with a warning; the other runners run.
- Former names of keys still work, with a warning; what this version does not act on is listed at the end.

This page is made from the source.
"""

_TYPE_NAMES: Mapping[object, str] = MappingProxyType(
    {str: "string", bool: "boolean", int: "integer", datetime: "date and time", tuple: "list", dict: "table"}
)


def reference() -> str:
    """The whole page, in Markdown."""
    tables = _tables()
    sections = [_section(model, headers) for model, headers in tables.items()]
    return "\n".join([_INTRODUCTION, *filter(None, sections), _former_keys(tables), _not_acted_on(tables)])


def _tables() -> dict[type[Table], list[str]]:
    """Every model with the headers under which a file holds it, in the order of the file."""
    found: dict[type[Table], list[str]] = {Config: ["Global keys"]}
    for model, header in _below(Config, ""):
        found.setdefault(model, []).append(header)
    return found


def _below(model: type[Table], path: str) -> Iterator[tuple[type[Table], str]]:
    for name, field in model.model_fields.items():
        nested = nested_table(field)
        if nested is None:
            continue
        inner = f"{path}.{toml_key(name, field)}".lstrip(".")
        yield nested, f"[[{inner}]]" if is_array(field) else f"[{inner}]"
        yield from _below(nested, inner)


def _section(model: type[Table], headers: list[str]) -> str:
    first, *others = headers
    title = f"## `{first}`" if first.startswith("[") else f"## {first}"
    also = ["", "Also " + ", ".join(f"`{header}`" for header in others) + "."] if others else []
    rows = [
        f"| `{toml_key(name, field)}` | {_type(field)} | {_default(field)} | {field.description} |"
        for name, field in model.model_fields.items()
        if nested_table(field) is None
    ]
    head = ["", "| key | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([title, *also, *head, *rows, ""]) if rows else ""


def _former_keys(tables: dict[type[Table], list[str]]) -> str:
    rows = [
        f"| `{key}` | {headers[0]} | {', '.join(f'`{name}`' for name in former.fields)} |"
        for model, headers in tables.items()
        for key, former in model.FORMER_KEYS.items()
    ]
    return "\n".join(["## Former names", "", "| key | table | today |", "|---|---|---|", *rows, ""])


def _not_acted_on(tables: dict[type[Table], list[str]]) -> str:
    rows = [
        f"- {headers[0]}: {', '.join(f'`{key}`' for key in sorted(model.NOT_ACTED_ON))}"
        for model, headers in tables.items()
        if model.NOT_ACTED_ON
    ]
    about = "GitLab Runner has these keys; here they are accepted with a warning and do nothing."
    return "\n".join(["## Not acted on", "", about, "", *rows, ""])


def _type(field: FieldInfo) -> str:
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
    if value in ("", (), {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{format_duration(value)}`" if _type(field) == "duration" else f"`{value:g}`"
    return f"`{value}`" if isinstance(value, int) else f'`"{value}"`'


if __name__ == "__main__":
    print(reference(), end="")
