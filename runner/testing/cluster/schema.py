"""Which fields a kind has and of which type, read from the generated Kubernetes models.

Law: pure, and the only place here that knows the client library; of it only the tables of fields are read. A manifest
is pruned as the real server prunes it: what the kind does not know is dropped, named in a warning, or refused when the
client asks for `fieldValidation=Strict`. A wrong JSON type is always refused.
"""

from __future__ import annotations

from typing import Any

from kubernetes_asyncio.client import models

from runner.testing.cluster.problems import Manifest, bad_request
from runner.testing.cluster.resources import Resource
from runner.testing.cluster.rules import quantity

_QUANTITIES = frozenset({"limits", "requests", "overhead", "capacity", "sizeLimit", "divisor", "hard"})
"""Fields that hold quantities: the server takes numbers there too."""

_NO_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

_SCALARS = {"str": (str, "string"), "int": (int, "int64"), "bool": (bool, "bool"), "datetime": (str, "v1.Time")}


def decode(resource: Resource, manifest: Manifest) -> tuple[Manifest, tuple[str, ...]]:
    """Return a copy without unknown fields, and the paths of those; raises StatusError 400 for a wrong JSON type."""
    unknown: list[str] = []
    model = _model("CoreV1Event" if resource.kind == "Event" else f"V1{resource.kind}")
    try:
        decoded = _Decoder(unknown).fields(model, manifest, ())
    except _WrongTypeError as error:
        raise bad_request(f"{prefix(resource)}: {error}") from error
    return decoded, tuple(unknown)


def prefix(resource: Resource) -> str:
    """Return how the real server begins its decoding errors."""
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


class _WrongTypeError(ValueError):
    """A value has a JSON type that its field cannot take."""


class _Decoder:
    """One walk over a manifest; collects the unknown fields."""

    def __init__(self, unknown: list[str]) -> None:
        self._unknown = unknown

    def fields(self, model: Any, value: Manifest, path: tuple[str, ...]) -> Manifest:
        known = {field: attribute for attribute, field in model.attribute_map.items()}
        decoded: Manifest = {}
        for field, item in value.items():
            if field not in known:
                self._unknown.append(_shown((*path, field)))
            elif item is not None:
                owner = model.__name__.removeprefix("Core").removeprefix("V1")
                decoded[field] = self._value(model.openapi_types[known[field]], item, (*path, field), owner)
        return decoded

    def _value(self, kind: str, value: Any, path: tuple[str, ...], owner: str) -> Any:
        if kind == "object":
            return value
        if kind.startswith("list["):
            _expect(value, list, path, owner, kind)
            inner = kind[len("list[") : -1]
            return [
                self._value(inner, item, (*path[:-1], f"{path[-1]}[{index}]"), owner)
                for index, item in enumerate(value)
            ]
        if kind.startswith("dict("):
            _expect(value, dict, path, owner, kind)
            inner = kind.partition(", ")[2][:-1]
            return {key: self._value(inner, item, path, owner) for key, item in value.items()}
        if kind in _SCALARS:
            return self._scalar(kind, value, path, owner)
        _expect(value, dict, path, owner, kind)
        return self.fields(_model(kind), value, path)

    def _scalar(self, kind: str, value: Any, path: tuple[str, ...], owner: str) -> Any:
        if path[-1] in _QUANTITIES:
            text = str(value)
            if quantity(text) is None:
                raise _WrongTypeError(_NO_QUANTITY)
            return text
        expected, name = _SCALARS[kind]
        if not isinstance(value, expected) or (kind == "int" and isinstance(value, bool)):
            raise _WrongTypeError(_wrong(value, path, owner, name))
        return value


def _model(name: str) -> Any:
    return getattr(models, name)


def _expect(value: Any, kind: type, path: tuple[str, ...], owner: str, name: str) -> None:
    if not isinstance(value, kind):
        raise _WrongTypeError(_wrong(value, path, owner, name))


def _wrong(value: Any, path: tuple[str, ...], owner: str, name: str) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    place = ".".join(word.partition("[")[0] for word in path)
    return f"json: cannot unmarshal {kinds[type(value)]} into Go struct field {owner}.{place} of type {name}"


def _shown(path: tuple[str, ...]) -> str:
    return ".".join(path)
