"""From keys as a file spells them to fields of the models.

Keys match in any case, as in the original (`Type` and `type` are one), former names lead to today's fields, and what
is unknown is left out with a warning: a key of another version must not keep a runner from starting. The way back,
from a field to where the file spells it, is kept for messages.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from runner.config.base import FormerKey, Table
from runner.config.positions import Path
from runner.config.values import Secret

Warn = Callable[[Path, str, str], None]
"""Takes a warning: the path as the file spells it, the kind of finding, and the sentence."""


Claims = tuple[tuple[str, str], ...]
"""The fields that a key sets, each with the field that, being set already, keeps it from that."""


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


def by_subject(model: type[Table]) -> list[tuple[str, dict[str, FieldInfo]]]:
    """The fields of a model under the titles of the tables that it is put together from.

    A model that is not put together from several has one group without a title. Keys of former times that have a field
    are left out.
    """
    parts = [base for base in model.__bases__ if issubclass(base, Table)]
    groups = [(_title(part), part) for part in parts] if len(parts) > 1 else [("", model)]
    former = model.FORMER_KEYS
    return [
        (title, {name: field for name, field in part.model_fields.items() if name not in former})
        for title, part in groups
    ]


def _title(model: type[Table]) -> str:
    return (model.__doc__ or "").partition(".")[0]


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
        setters: dict[str, str] = {}
        for key, claims in self._claims(model, table, spelled):
            place = (*spelled, key)
            # A former key steps in for today's one that is empty.
            taken = [rival for _, rival in claims if values.get(rival, "") != ""]
            if taken:
                self._warn(place, "key-set-twice", f"the key is ignored, for {setters[taken[0]]} is set already")
            for name, rival in claims:
                if rival not in taken:
                    values[name] = self._value(model.model_fields[name], table[key], (*fields, name), place)
                    setters[name] = key
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

    def _claims(self, model: type[Table], table: Mapping[str, object], spelled: Path) -> list[tuple[str, Claims]]:
        """Each key of a table with the fields it sets, the ones that win first; warns of keys that set none."""
        names = {toml_key(name, field): name for name, field in model.model_fields.items()}
        names |= {name: name for name in model.model_fields}
        folded = {key.casefold(): name for key, name in names.items()}
        former = {key.casefold(): (key, claim) for key, claim in model.FORMER_KEYS.items()}
        ranked: list[tuple[int, str, Claims]] = []
        for key in table:
            low = key.casefold()
            # `register` writes guards with empty values and empty tables: they ask for nothing.
            if low in model.NOT_ACTED_ON and table[key]:
                self._warn((*spelled, key), "key-not-acted-on", "this version does not act on the key")
            if low in former:
                rank, claims = self._former(*former[low], (*spelled, key))
                ranked.append((rank, key, claims))
            elif key in names:
                ranked.append((1, key, ((names[key], names[key]),)))
            elif low in folded:
                ranked.append((2, key, ((folded[low], folded[low]),)))
            else:
                self._leftover(model, key, table[key], (*spelled, key))
        return [(key, claims) for _, key, claims in sorted(ranked, key=lambda claim: claim[0])]

    def _former(self, key: str, claim: FormerKey, place: Path) -> tuple[int, Claims]:
        """The rank and the fields of a key of former times, of which a warning tells."""
        if claim.meant:
            self._warn(place, "former-key", f"the key is of former times: {claim.meant}")
            return 3, tuple((key, field) for field in claim.fields)
        self._warn(place, "former-key", f"the key is a former name; write {' and '.join(claim.fields)}")
        return 0 if claim.wins else 3, tuple((field, field) for field in claim.fields)

    def _leftover(self, model: type[Table], key: str, value: object, path: Path) -> None:
        """A key that sets nothing: of another executor, one we cannot act on, or a mistake."""
        low = key.casefold()
        if low in model.KNOWN_BUT_UNUSED and value and isinstance(value, dict):
            self._warn(path, "table-of-another-executor", "the table is of an executor that is not here: not supported")
        if low in model.KNOWN_BUT_UNUSED | model.NOT_ACTED_ON:
            return
        known = [toml_key(name, field) for name, field in model.model_fields.items()]
        self._warn(path, "unknown-key", "the key is unknown and ignored" + nearest(low, [*known, *model.NOT_ACTED_ON]))
