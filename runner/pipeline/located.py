"""Data that knows where it was written: the mappings and lists that the reader of YAML makes, and a view of them.

Law: nothing here changes what it was given; merging makes new mappings and takes the places along. So whatever is
merged, extended or referenced, a finding names the line where the value stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runner.pipeline.findings import PipelineError, Place


class Table(dict[str, Any]):
    """A mapping with the place of each key."""

    __slots__ = ("place", "places")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.places: dict[str, Place] = {}

    def put(self, key: str, value: Any, place: Place) -> None:
        """Set a key that was written at a place."""
        self[key] = value
        self.places[key] = place

    def place_of(self, key: str) -> Place:
        """Where a key was written."""
        return self.places.get(key, self.place)

    def take(self, other: Table) -> None:
        """Take all keys of another mapping over this one's, with their places."""
        self.update(other)
        self.places |= other.places

    def without(self, *keys: str) -> Table:
        """Give a copy that lacks some keys."""
        copy = Table(self.place)
        copy.take(self)
        for key in keys:
            copy.pop(key, None)
        return copy


class Series(list[Any]):
    """A list with the place of each entry."""

    __slots__ = ("place", "places")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.places: list[Place] = []

    def add(self, value: Any, place: Place) -> None:
        """Append an entry that was written at a place."""
        self.append(value)
        self.places.append(place)


@dataclass(frozen=True, slots=True)
class Reference:
    """`!reference [job, key, ...]`: another place's value, to be put here."""

    path: tuple[str, ...]
    place: Place


def merge(below: Table, above: Table) -> Table:
    """Merge mappings key by key, as GitLab merges files and what jobs extend; everything else is replaced."""
    merged = Table(above.place)
    merged.take(below)
    for key, value in above.items():
        known = merged.get(key)
        if isinstance(known, Table) and isinstance(value, Table):
            merged.put(key, merge(known, value), above.place_of(key))
        else:
            merged.put(key, value, above.place_of(key))
    return merged


@dataclass(frozen=True, slots=True)
class Part:
    """One value with its place and its name in sentences: `retry:max` of `build`."""

    value: Any
    place: Place
    owner: str = ""
    """The job, empty at the top of the file."""
    keyword: str = ""

    @property
    def name(self) -> str:
        """The value's name as sentences give it."""
        if not self.keyword:
            return f"`{self.owner}`" if self.owner else "the file"
        return f"`{self.keyword}` of `{self.owner}`" if self.owner else f"`{self.keyword}`"

    def error(self, what: str) -> PipelineError:
        """Make the error that says something of this value."""
        return PipelineError.at(self.place, f"{self.name} {what}")

    def get(self, key: str) -> Part | None:
        """The value below a key of this mapping; None when there is none or it is null, which GitLab does not tell
        apart."""
        table = self.table()
        if table.get(key) is None:
            return None
        keyword = f"{self.keyword}:{key}" if self.keyword else key
        return Part(table[key], table.place_of(key), self.owner, keyword)

    def table(self) -> Table:
        """This value as a mapping."""
        if not isinstance(self.value, Table):
            raise self.error(f"has to be a mapping, not {kind(self.value)}.")
        return self.value

    def items(self) -> Iterator[Part]:
        """The entries of this list; a value that is no list is its own only entry. Lists in the list are laid flat, as
        GitLab does where `!reference` and anchors put them."""
        if not isinstance(self.value, Series):
            yield self
            return
        for value, place in zip(self.value, self.value.places, strict=True):
            if value is not None:
                yield from Part(value, place, self.owner, self.keyword).items()

    def texts(self) -> tuple[str, ...]:
        """The entries as texts."""
        return tuple(item.text() for item in self.items())

    def text(self) -> str:
        """This value as one text; numbers and booleans are written as GitLab writes them."""
        if isinstance(self.value, (dict, list)) or self.value is None:
            raise self.error(f"has to be a text, not {kind(self.value)}.")
        return plain_text(self.value)

    def word(self) -> str:
        """This value as a text that was written as one: `stage: 1` is no name of a stage."""
        if not isinstance(self.value, str) or not self.value:
            raise self.error(f"has to be a text, not {kind(self.value)}.")
        return self.value

    def flag(self) -> bool:
        """This value as true or false."""
        if not isinstance(self.value, bool):
            raise self.error(f"has to be true or false, not {kind(self.value)}.")
        return self.value

    def integer(self, least: int, most: int) -> int:
        """This value as a whole number within bounds."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not least <= self.value <= most:
            shown = self.value if type(self.value) in (int, float, str) else kind(self.value)
            raise self.error(f"has to be a whole number from {least} to {most}, not {shown}.")
        return self.value


def kind(value: Any) -> str:
    """Name the kind of a value in a sentence."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    named = {dict: "a mapping", list: "a list", str: "a text"}
    return next((name for type_, name in named.items() if isinstance(value, type_)), "a number")


def plain_text(value: Any) -> str:
    """Write a scalar as GitLab puts it into a variable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
