"""From keys as a file spells them to fields of the models.

Keys match in any case, as in the original (`Type` and `type` are one), former names lead to today's fields, and what
is unknown is left out with a warning: a key of another version must not keep a runner from starting. The way back,
from a field to where the file spells it, is kept for messages.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from runner.config.base import Table
from runner.config.positions import Path
from runner.config.values import Secret

Warn = Callable[[Path, str, str], None]
"""Takes a warning: the path as the file spells it, the kind of finding, and the sentence."""


Fields = tuple[str, ...]


def is_secret(field: FieldInfo) -> bool:
    """Whether a field's value must not be shown."""
    return any(isinstance(mark, Secret) for mark in field.metadata)


def nested_table(field: FieldInfo) -> type[Table] | None:
    """The model of a field that is a table or an array of tables."""
    kinds = get_args(field.annotation) or (field.annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Table)), None)


def is_array(field: FieldInfo) -> bool:
    """Whether a field is an array."""
    return get_origin(field.annotation) is tuple


def toml_key(name: str, field: FieldInfo) -> str:
    """The key of a field as the original spells it."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else name


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that asks whether the most similar of these names was meant; empty if none is similar."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


class FieldNames:
    """Translates a whole document; afterwards knows where each field is spelled and which are secret."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._spelled: dict[Path, Path] = {(): ()}
        self._secret: set[Path] = set()

    def translate(self, model: type[Table], table: Mapping[str, object]) -> dict[str, Any]:
        """The document with the models' field names for keys."""
        return self._table(model, table, (), ())

    def spelled(self, path: Path) -> Path:
        """A path of fields as the file spells it; as far as the file has it, the rest as it is."""
        end = len(path)
        while path[:end] not in self._spelled:
            end -= 1
        return (*self._spelled[path[:end]], *path[end:])

    def is_secret(self, path: Path) -> bool:
        """Whether a field on the path is secret."""
        return any(path[:end] in self._secret for end in range(1, len(path) + 1))

    def _table(self, model: type[Table], table: Mapping[str, object], fields: Path, spelled: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, names in self._claims(model, table, spelled):
            place = (*spelled, key)
            if taken := [name for name in names if name in values]:
                self._warn(place, "key-set-twice", f"the key is ignored, for {taken[0]} is set already")
            for name in names:
                if name not in values:
                    values[name] = self._value(model.model_fields[name], table[key], (*fields, name), place)
        return values

    def _value(self, field: FieldInfo, value: object, fields: Path, spelled: Path) -> object:
        self._spelled[fields] = spelled
        if is_secret(field):
            self._secret.add(fields)
        model = nested_table(field)
        if model is None:
            return value
        if isinstance(value, list) and is_array(field):
            return [self._element(model, item, (*fields, i), (*spelled, i)) for i, item in enumerate(value)]
        return self._element(model, value, fields, spelled)

    def _element(self, model: type[Table], value: object, fields: Path, spelled: Path) -> object:
        self._spelled[fields] = spelled
        return self._table(model, value, fields, spelled) if isinstance(value, dict) else value

    def _claims(self, model: type[Table], table: Mapping[str, object], spelled: Path) -> list[tuple[str, Fields]]:
        """Each key of a table with the fields it sets, the ones that win first; warns of keys that set none."""
        names = {toml_key(name, field): name for name, field in model.model_fields.items()}
        names |= {name: name for name in model.model_fields}
        folded = {key.casefold(): name for key, name in names.items()}
        former = {key.casefold(): claim for key, claim in model.FORMER_KEYS.items()}
        claims: list[tuple[int, str, Fields]] = []
        for key in table:
            low = key.casefold()
            # `register` writes guards with empty values and empty tables: they ask for nothing.
            if low in model.NOT_ACTED_ON and table[key]:
                self._warn((*spelled, key), "key-not-acted-on", "this version does not act on the key")
            if key in names:
                claims.append((1, key, (names[key],)))
            elif low in folded:
                claims.append((2, key, (folded[low],)))
            elif low in former:
                today = " and ".join(former[low].fields)
                self._warn((*spelled, key), "former-key", f"the key is a former name; write {today}")
                claims.append((0 if former[low].wins else 3, key, former[low].fields))
            else:
                self._leftover(model, key, (*spelled, key))
        return [(key, fields) for _, key, fields in sorted(claims, key=lambda claim: claim[0])]

    def _leftover(self, model: type[Table], key: str, path: Path) -> None:
        """A key that sets nothing: of another executor, one we cannot act on, or a mistake."""
        low = key.casefold()
        if low in model.KNOWN_BUT_UNUSED | model.NOT_ACTED_ON:
            return
        known = [toml_key(name, field) for name, field in model.model_fields.items()]
        self._warn(path, "unknown-key", "the key is unknown and ignored" + nearest(low, [*known, *model.NOT_ACTED_ON]))
