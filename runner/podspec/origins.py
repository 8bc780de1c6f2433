"""Which input gave a field of a manifest its value.

Found by experiment: take one input away, or change it, build again, and see which fields come out differently. So it
needs no bookkeeping in the builders, and cannot be wrong about them. Pure: whoever asks builds the outcomes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runner.podspec.manifest import Manifest

Path = tuple[str | int, ...]
"""Keys and indexes from a document's root to one of its values."""


def origins(
    base: Sequence[Manifest], experiments: Iterable[tuple[str, Iterable[Sequence[Manifest]]]]
) -> dict[Path, tuple[str, ...]]:
    """Map the path of each leaf of `base` to the causes that move it, in the order of the experiments.

    An experiment is a cause and what was built with it changed in one way or another. The first outcome that differs
    counts and the rest of a lazy iterable is never built, unless a whole object or container is missing in it: that
    tells only why the whole is there, on its first leaf, and the next outcome may tell more. A leaf that no cause moves
    is not in the map: it has its value by default.
    """
    found: dict[Path, list[str]] = {}
    for cause, outcomes in experiments:
        for path in _moved_by(list(base), outcomes):
            found.setdefault(path, []).append(cause)
    return {path: tuple(causes) for path, causes in found.items()}


def leaves(node: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Give the values of a document that hold no others, with their paths; an empty table or list is one."""
    children = _children(node)
    if not children:
        yield path, node
    for key, child in children:
        yield from leaves(child, (*path, key))


@dataclass(frozen=True, slots=True)
class Difference:
    """What of a document another one has not, or has otherwise."""

    leaves: frozenset[Path] = frozenset()
    """Without those of missing wholes, but for the first of each."""
    wholes: bool = False
    """Whether an object or a container is missing as a whole."""


def changed(base: object, other: object, path: Path = ()) -> Difference:
    """Compare two documents by the leaves of `base`.

    The items of lists are held to be the same by their names, not by their place: an item that went does not make
    different ones of those behind it.
    """
    if type(base) is type(other) and base == other:
        return Difference()
    if isinstance(base, dict) and isinstance(other, dict) and base:
        pairs: Iterable[tuple[Any, Any]] = ((key, other.get(key, _NOTHING)) for key in base)
    elif isinstance(base, list) and isinstance(other, list) and base:
        pairs = enumerate(_partners(base, other))
    elif other is _NOTHING and _is_whole(base):
        first, _ = next(leaves(base, path))
        return Difference(frozenset({first}), wholes=True)
    else:
        return Difference(frozenset(leaf for leaf, _ in leaves(base, path)))
    parts = [changed(base[key], partner, (*path, key)) for key, partner in pairs]
    return Difference(frozenset().union(*(part.leaves for part in parts)), any(part.wholes for part in parts))


def without(document: Any, path: Path) -> Any:
    """Copy a document and leave out the value at a path."""
    key, *rest = path
    if rest:
        return _replaced(document, key, without(document[key], tuple(rest)))
    if isinstance(document, dict):
        return {name: value for name, value in document.items() if name != key}
    return [value for index, value in enumerate(document) if index != key]


def with_value(document: Any, path: Path, value: object) -> Any:
    """Copy a document with another value at a path."""
    key, *rest = path
    return _replaced(document, key, with_value(document[key], tuple(rest), value) if rest else value)


def alternatives(value: object) -> tuple[object, ...]:
    """Give other values of the same kind, for an input that cannot be left out or equals its own default."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int | float):
        return (value + 1,)
    # At both ends: of some texts only the beginning is used.
    return (f"{value}x", f"x{value}") if isinstance(value, str) else ()


def _moved_by(base: list[Manifest], outcomes: Iterable[Sequence[Manifest]]) -> frozenset[Path]:
    moved: frozenset[Path] = frozenset()
    for outcome in outcomes:
        difference = changed(base, list(outcome))
        moved |= difference.leaves
        if moved and not difference.wholes:
            break
    return moved


def _is_whole(node: object) -> bool:
    """Tell an object or a container: most of what it holds says nothing of why it is there."""
    return isinstance(node, dict) and any(fields <= node.keys() for fields in ({"kind", "metadata"}, {"name", "image"}))


class _Nothing:
    """What a place holds that is not there; no value equals it."""


_NOTHING = _Nothing()


def _children(node: object) -> Sequence[tuple[str | int, object]]:
    if isinstance(node, dict):
        return tuple(node.items())
    return tuple(enumerate(node)) if isinstance(node, list | tuple) else ()


def _replaced(document: Any, key: str | int, value: object) -> Any:
    if isinstance(document, dict):
        return {**document, key: value}
    return [value if index == key else each for index, each in enumerate(document)]


def _partners(base: list[Any], other: list[Any]) -> list[Any]:
    """Find for each item its like in another list: by name, else by place where nothing came or went, else by value."""
    for naming in _NAMINGS:
        names, others = _told_apart(naming(base)), _told_apart(naming(other))
        if names and others:
            return _named_partners(names, dict(zip(others, other, strict=True)))
    if len(base) == len(other):
        return other
    left = list(other)
    partners: list[Any] = []
    for item in base:
        partners.append(item if item in left else _NOTHING)
        if item in left:
            left.remove(item)
    return partners


def _named_partners(names: list[str], others: dict[str, Any]) -> list[Any]:
    partners = [others.pop(name, _NOTHING) for name in names]
    alone = [index for index, partner in enumerate(partners) if partner is _NOTHING]
    if len(alone) == len(others):  # their names changed
        for index, item in zip(alone, others.values(), strict=True):
            partners[index] = item
    return partners


def _told_apart(names: list[str] | None) -> list[str]:
    return names if names and len(set(names)) == len(names) else []


def _roles(items: list[Any]) -> list[str] | None:
    """Name objects by what they are to the job: their names begin with the pod's, which may be another one."""
    if not all(isinstance(item, dict) and "kind" in item and "metadata" in item for item in items):
        return None
    pod = next((str(item["metadata"]["name"]) for item in items if item["kind"] == "Pod"), "")
    return [f"{item['kind']} {str(item['metadata']['name']).removeprefix(pod)}" for item in items]


def _by_fields(*fields: str) -> Callable[[list[Any]], list[str] | None]:
    def names(items: list[Any]) -> list[str] | None:
        if not all(isinstance(item, dict) and all(field in item for field in fields) for item in items):
            return None
        return [" ".join(str(item[field]) for field in fields) for item in items]

    return names


_NAMINGS = (
    _roles,
    _by_fields("name", "mountPath"),
    _by_fields("name"),
    _by_fields("ip"),
    _by_fields("containerPort"),
    _by_fields("key"),
)
"""Ways to tell the items of a list apart; the first that works for both lists is taken."""
