"""Which tables know a key: for one that stands where nobody reads it."""

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

from runner.config.base import Table
from runner.config.keys import is_array, nested_table, toml_key
from runner.config.model import Config


@cache
def homes() -> Mapping[str, tuple[str, ...]]:
    """Each key in lower case with the headers of the tables that have it, the outer ones first."""
    found: dict[str, list[str]] = {}
    for header, model in _tables(Config, ""):
        for name, field in model.model_fields.items():
            found.setdefault(toml_key(name, field).casefold(), []).append(header)
    return MappingProxyType({key: tuple(headers) for key, headers in found.items()})


def home_of(key: str) -> str:
    """The header of the one table, or the outermost one, that has a key; empty if none has it."""
    headers = homes().get(key.casefold(), ())
    return headers[0] if headers else ""


def _tables(model: type[Table], path: str) -> Iterator[tuple[str, type[Table]]]:
    """Every table by its header, level by level."""
    level = [(path, False, model)]
    while level:
        deeper = []
        for name, is_list, table in level:
            yield (f"[[{name}]]" if is_list else f"[{name}]") if name else "the top of the file", table
            for key, field in table.model_fields.items():
                if nested := nested_table(field):
                    below = f"{name}.{toml_key(key, field)}" if name else toml_key(key, field)
                    deeper.append((below, is_array(field), nested))
        level = deeper
