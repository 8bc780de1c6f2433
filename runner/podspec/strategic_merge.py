"""Kubernetes' strategic merge of a pod's spec: a table is merged key by key, a list by its elements' own key.

The rules are those of `kubectl patch --type strategic`, directives and order included; the literal results in the tests
are kubectl's. Pure: neither document is changed, and the result shares nothing with the patch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from runner.podspec.manifest import Manifest

MERGE_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "containers": "name",
        "initContainers": "name",
        "ephemeralContainers": "name",
        "volumes": "name",
        "imagePullSecrets": "name",
        "schedulingGates": "name",
        "resourceClaims": "name",
        "hostAliases": "ip",
        "topologySpreadConstraints": "topologyKey",
        "env": "name",
        "ports": "containerPort",
        "volumeMounts": "mountPath",
        "volumeDevices": "devicePath",
        "ownerReferences": "uid",
    }
)
"""The `patchMergeKey` of each list in a pod's spec that has one. Every other list is replaced, tolerations among them.

The name alone tells the list: in a pod's spec none of these names stands for two kinds of list.
"""

_SETS = frozenset({"finalizers"})
"""Lists of plain values that are united: those of a claim that is made for the pod."""

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"
_DIRECTIVES = ("delete", "replace", "merge")
_NOTHING_TO_PATCH = ("delete", "replace")
"""Directives that Kubernetes drops together with their table where the spec has no such table."""


class StrategicMergeError(ValueError):
    """A patch that breaks the rules of strategic merge; the message is a sentence without a subject."""


def strategic_merge(original: Manifest, patch: Mapping[str, Any]) -> Manifest:
    """Merge a patch into a spec. Raises StrategicMergeError.

    Kubernetes' surprises are kept: an element that is new stands before those that are not named, `$patch: replace` in
    one element of a list replaces the whole list, and a table with `$patch` is dropped where there is nothing to patch.
    Beyond Kubernetes, `$patch: merge` may say what is done anyway.
    """
    directive = _directive(patch)
    if directive == "replace":
        return dict(_bare(patch))
    if directive == "delete":
        return {}
    result = _retained(original, patch)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            _delete_from(result, key.removeprefix(_DELETE), value)
        elif value is None:
            result.pop(key, None)
        elif not key.startswith("$"):
            _merge_field(result, key, value)
    for key, order in patch.items():
        if key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            _set_order(result, name, order, before=original.get(name))
    return result


def _merge_field(result: Manifest, key: str, value: object) -> None:
    known = result.get(key)
    if isinstance(known, dict) and isinstance(value, dict):
        result[key] = strategic_merge(known, value)
    elif isinstance(known, list) and isinstance(value, list):
        result[key] = _merged_list(key, known, value)
    elif _keeps(value, _NOTHING_TO_PATCH):
        result[key] = _bare(value, _NOTHING_TO_PATCH)


def _directive(patch: Mapping[str, Any]) -> str:
    directive = patch.get(_PATCH, "")
    if directive and directive not in _DIRECTIVES:
        raise StrategicMergeError(f'has "$patch: {directive}", which is none of {", ".join(_DIRECTIVES)}')
    return str(directive)


def _retained(original: Manifest, patch: Mapping[str, Any]) -> Manifest:
    """Copy a table, with `$retainKeys` only the keys named there."""
    if _RETAIN not in patch:
        return dict(original)
    keys = patch[_RETAIN]
    if not isinstance(keys, list):
        raise StrategicMergeError("has a $retainKeys that is no list")
    for key, value in patch.items():
        if value is not None and not key.startswith("$") and key not in keys:
            raise StrategicMergeError(f'sets "{key}", which its $retainKeys does not name')
    return {key: value for key, value in original.items() if key in keys}


def _delete_from(result: Manifest, key: str, values: object) -> None:
    if not isinstance(values, list):
        raise StrategicMergeError(f"has a {_DELETE}{key} that is no list")
    known = result.get(key)
    if isinstance(known, list):
        result[key] = [value for value in known if value not in values]


# Lists -----------------------------------------------------------------------------------------------------------


def _merged_list(key: str, original: list[Any], patch: list[Any]) -> list[Any]:
    if key in _SETS:
        if not all(isinstance(value, str) for value in (*original, *patch)):
            raise StrategicMergeError(f'has or finds something in "{key}" that is no text')
        united = list(dict.fromkeys([*original, *patch]))
        return _ordered(united, patch, original, None)
    merge_key = MERGE_KEYS.get(key)
    if merge_key is None:
        return [_bare(value) for value in patch if not _is_marker(value)]
    if not all(_has_key(element, merge_key) for element in original):
        raise StrategicMergeError(f'finds an element in "{key}" without "{merge_key}"')
    known, elements, replaced = _split(key, original, patch, merge_key)
    if replaced:
        return [_bare(element) for element in elements]
    places = {element.get(merge_key): place for place, element in reversed([*enumerate(known)])}
    merged = list(known)
    for element in elements:
        place = places.get(element[merge_key])
        if place is None:
            places[element[merge_key]] = len(merged)
            merged.append(_bare(element))
        else:
            merged[place] = strategic_merge(merged[place], element)
    return _ordered(merged, elements, known, merge_key)


def _split(
    key: str, original: list[Any], patch: list[Any], merge_key: str
) -> tuple[list[Manifest], list[Manifest], bool]:
    """Obey the directives of a list's elements: what is left of the original, the ordinary elements, whether these
    replace all.
    """
    known, elements, replaced = original, [], False
    for element in patch:
        if not isinstance(element, dict):
            raise StrategicMergeError(f'has an element of "{key}" that is no table')
        directive = _directive(element)
        if directive == "replace":
            replaced = True
        elif not _has_key(element, merge_key):
            if not _is_marker(element):
                raise StrategicMergeError(f'has an element of "{key}" without "{merge_key}", by which it is found')
        elif directive == "delete":
            known = [each for each in known if each.get(merge_key) != element[merge_key]]
        else:
            elements.append({name: value for name, value in element.items() if name != _PATCH})
    return known, elements, replaced


def _has_key(element: object, merge_key: str) -> bool:
    return isinstance(element, dict) and isinstance(element.get(merge_key), str | int)


def _is_marker(value: object) -> bool:
    """True for an element that is nothing but `$patch: replace` or `$patch: merge`."""
    return isinstance(value, dict) and set(value) == {_PATCH} and _directive(value) != "delete"


def _set_order(result: Manifest, key: str, order: object, *, before: object) -> None:
    if not isinstance(order, list):
        raise StrategicMergeError(f"has a {_ORDER}{key} that is no list")
    merge_key = MERGE_KEYS.get(key)
    known = result.get(key)
    if not isinstance(known, list):
        return
    earlier = before if isinstance(before, list) else []
    for element in (*order, *known, *earlier):
        if merge_key and not _has_key(element, merge_key):
            raise StrategicMergeError(f'has or finds an element for {_ORDER}{key} without "{merge_key}"')
        if not merge_key and not isinstance(element, str | int):
            raise StrategicMergeError(f"has or finds an element for {_ORDER}{key} that is no plain value")
    result[key] = _ordered(known, order, earlier, merge_key)


def _ordered(merged: Sequence[Any], wanted: Sequence[Any], before: Sequence[Any], merge_key: str | None) -> list[Any]:
    """Give named elements the order of `wanted`, the others the one they had, and lay the two rows into each other.

    Where both rows have their next element from `before`, the one that was first there comes first; else the named one.
    """

    def places(elements: Iterable[Any]) -> dict[object, int]:
        return {identity(element): place for place, element in reversed([*enumerate(elements)])}

    def identity(element: Any) -> object:
        return element.get(merge_key) if merge_key else element

    named_places, earlier = places(wanted), places(before)
    named = sorted(
        (each for each in merged if identity(each) in named_places), key=lambda each: named_places[identity(each)]
    )
    others = [each for each in merged if identity(each) not in named_places]
    result: list[Any] = []
    for element in named:
        place = earlier.get(identity(element), -1)
        while others and earlier.get(identity(others[0]), place) < place:
            result.append(others.pop(0))
        result.append(element)
    return [*result, *others]


# What is new -----------------------------------------------------------------------------------------------------


def _bare(value: Any, dropped: Sequence[str] = ("delete",)) -> Any:
    """Copy what a patch adds, without directives and nulls, and without the tables whose directive is `dropped`."""
    if isinstance(value, dict):
        return {
            key: _bare(each, dropped)
            for key, each in value.items()
            if each is not None and not key.startswith("$") and _keeps(each, dropped)
        }
    if isinstance(value, list):
        return [_bare(each, dropped) for each in value if _keeps(each, dropped) and not _is_marker(each)]
    return value


def _keeps(value: object, dropped: Sequence[str]) -> bool:
    return not isinstance(value, dict) or _directive(value) not in dropped
