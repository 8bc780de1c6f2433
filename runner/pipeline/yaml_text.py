"""YAML as GitLab reads it, with the line of every value.

Plain data comes out: dicts, lists, scalars, and a `Reference` for each `!reference`. Anchors, aliases and merge keys
are resolved here. Lines are found by path, as `("build", "script", 0)`; a path that a merge key brought in has the
line where it was written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from runner.pipeline.findings import PipelineError, Place

Path = tuple[str | int, ...]

_MOST_NODES = 200_000
"""Nodes after aliases are followed: a file of nested aliases must not eat the memory."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`!reference [job, key, ...]`: another place's value, to be put here."""

    path: tuple[str, ...]
    place: Place


@dataclass(slots=True)
class Document:
    """One file's data and where each part of it stands."""

    file: str
    data: Any
    places: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """The place of a value, or of the nearest one around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.file, 1))


def read_yaml(text: str, *, file: str) -> Document:
    """Read one YAML file. Raises PipelineError with file and line."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise PipelineError([f"{file}:{line}: this is no YAML: {error.problem or error.context}."]) from None
    except yaml.YAMLError as error:
        raise PipelineError([f"{file}:1: this is no YAML: {str(error).splitlines()[0]}."]) from None
    document = Document(file, None)
    if root is not None:
        document.data = _Reader(document).value(root, ())
    return document


class _Reader:
    """Turns nodes into data and notes their places."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = yaml.SafeLoader("")
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        place = Place(self._document.file, node.start_mark.line + 1)
        self._document.places.setdefault(path, place)
        self._count += 1
        if self._count > _MOST_NODES:
            raise PipelineError([f"{place}: the file's aliases unfold to more than {_MOST_NODES} values."])
        if id(node) in self._open:
            raise PipelineError([f"{place}: an anchor contains itself."])
        self._open.add(id(node))
        try:
            if node.tag == "!reference":
                return self._reference(node, place)
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
            return self._scalar(node, place)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = Place(self._document.file, key_node.start_mark.line + 1)
            if key_node.tag == "tag:yaml.org,2002:merge":
                for other in reversed(value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]):
                    part = self.value(other, path)
                    if not isinstance(part, dict):
                        raise PipelineError([f"{place}: `<<` needs a mapping."])
                    merged |= part
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise PipelineError([f"{place}: a key has to be a word."])
            key = key_node.value
            self._document.places[*path, key] = place
            own[key] = self.value(value_node, (*path, key))
        return {**merged, **own}

    def _reference(self, node: yaml.Node, place: Place) -> Reference:
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(n, yaml.ScalarNode) for n in node.value):
            raise PipelineError([f"{place}: `!reference` takes a list of names, such as [.setup, script]."])
        return Reference(tuple(child.value for child in node.value), place)

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        try:
            return self._scalars.construct_object(node, deep=True)
        except yaml.MarkedYAMLError as error:
            raise PipelineError([f"{place}: {error.problem}."]) from None
        except ValueError as error:
            raise PipelineError([f"{place}: {error}."]) from None
