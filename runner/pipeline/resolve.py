"""From files to one tree: local includes, `default`, `extends` and `!reference` as GitLab resolves them.

What is merged: mappings key by key, everything else is replaced. Included files come first, in their order; the
including file wins. `extends` is resolved after all files are one, `!reference` after that.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Callable
from typing import Any

from runner.pipeline.findings import PipelineError, PipelineWarning, Place
from runner.pipeline.yaml_text import Document, Path, Reference, read_yaml

ReadFile = Callable[[str], str | None]
"""Gives the text of a file by its path from the repository's root, None when there is none."""

MOST_FILES = 100
MOST_EXTENDS = 11
MOST_REFERENCES = 10


class Tree:
    """The merged files: data, the place of every part, and what was left out."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.places: dict[Path, Place] = {}
        self.warnings: list[PipelineWarning] = []

    def place(self, *path: str | int) -> Place:
        """Where a part was written, or the nearest part around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.places.get((), Place(".gitlab-ci.yml", 1))

    def warn(self, message: str, *path: str | int) -> None:
        """Say that a part is not understood and left out."""
        self.warnings.append(PipelineWarning(self.place(*path), message))

    def error(self, message: str, *path: str | int) -> PipelineError:
        """Make the error for a part that cannot be run."""
        return PipelineError([f"{self.place(*path)}: {message}"])


def read_tree(file: str, read: ReadFile) -> Tree:
    """Read a pipeline's file and what it includes, and resolve everything. Raises PipelineError."""
    tree = Tree()
    _Includes(tree, read).add(file, None)
    for name in list(tree.data):
        if isinstance(tree.data[name], dict) and "extends" in tree.data[name]:
            tree.data[name] = _extended(tree, name, ())
    tree.data = {key: _referenced(tree, value, (key,), 0) for key, value in tree.data.items()}
    return tree


class _Includes:
    """Adds files to a tree, the included ones before the one that includes them."""

    def __init__(self, tree: Tree, read: ReadFile) -> None:
        self._tree = tree
        self._read = read
        self._open: list[str] = []
        self._count = 0

    def add(self, file: str, asked_at: Place | None) -> None:
        self._count += 1
        if file in self._open or self._count > MOST_FILES:
            raise PipelineError([f"{asked_at}: {file} includes itself, or there are more than {MOST_FILES} files."])
        text = self._read(file)
        if text is None:
            where = f"{asked_at}: the included file" if asked_at else "There is no"
            raise PipelineError(
                [f"{where} {file}{' is not there' if asked_at else ': run this in a repository that has one'}."]
            )
        document = read_yaml(text, file=file)
        if document.data is None:
            document.data = {}
        if not isinstance(document.data, dict):
            raise PipelineError(
                [f"{file}:1: a pipeline is a mapping of jobs, this is a {type(document.data).__name__}."]
            )
        self._open.append(file)
        for entry, path in _entries(document.data.pop("include", None)):
            self._include(entry, document, ("include", *path))
        self._open.pop()
        _merge_into(self._tree, document)

    def _include(self, entry: Any, document: Document, path: Path) -> None:
        place = document.place(path)
        if isinstance(entry, str):
            entry = {"remote" if entry.startswith(("http://", "https://")) else "local": entry}
        if not isinstance(entry, dict):
            raise PipelineError([f"{place}: `include` takes files or mappings such as `local: path`."])
        if "rules" in entry:
            self._tree.warnings.append(
                PipelineWarning(place, "`include:rules` are not evaluated, the file is included")
            )
        if isinstance(entry.get("local"), str):
            self.add(posixpath.normpath(entry["local"].lstrip("/")), place)
            return
        kind = next((key for key in ("project", "remote", "template", "component") if key in entry), "?")
        self._tree.warnings.append(
            PipelineWarning(place, f"`include:{kind}` needs GitLab and is left out: {entry.get(kind, entry)}")
        )


def _entries(value: Any) -> list[tuple[Any, Path]]:
    if value is None:
        return []
    return [(entry, (index,)) for index, entry in enumerate(value)] if isinstance(value, list) else [(value, ())]


def _merge_into(tree: Tree, document: Document) -> None:
    """Lay a document over the tree; the places of what it replaces are replaced too."""
    tree.data = deep_merge(tree.data, document.data)
    tree.places |= {path: place for path, place in document.places.items() if path[:1] != ("include",)}


def deep_merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge mappings key by key; everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = deep_merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _extended(tree: Tree, name: str, through: tuple[str, ...]) -> dict[str, Any]:
    """A job with everything it extends."""
    job = tree.data.get(name)
    if not isinstance(job, dict):
        raise tree.error(f"`{through[-1]}` extends `{name}`, which is no job here.", through[-1], "extends")
    if name in through or len(through) > MOST_EXTENDS:
        raise tree.error(f"`extends` runs in a circle: {' -> '.join((*through, name))}.", through[-1], "extends")
    parents = job.get("extends", [])
    merged: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        above = _extended(tree, str(parent), (*through, name))
        merged = deep_merge(merged, above)
        _borrow_places(tree, str(parent), name)
    own = {key: value for key, value in job.items() if key != "extends"}
    return copy.deepcopy(deep_merge(merged, own))


def _borrow_places(tree: Tree, parent: str, child: str) -> None:
    """What a job inherits stands where its parent wrote it."""
    inherited = {
        (child, *path[1:]): place for path, place in tree.places.items() if len(path) > 1 and path[0] == parent
    }
    tree.places = {**inherited, **tree.places}


def _referenced(tree: Tree, value: Any, path: Path, depth: int) -> Any:
    """A value with each `!reference` replaced; a list that is put into a list becomes part of it."""
    if isinstance(value, Reference):
        if depth >= MOST_REFERENCES:
            raise PipelineError([f"{value.place}: `!reference` is nested more than {MOST_REFERENCES} times."])
        return _referenced(tree, _target(tree, value), path, depth + 1)
    if isinstance(value, dict):
        return {key: _referenced(tree, part, (*path, key), depth) for key, part in value.items()}
    if isinstance(value, list):
        flat: list[Any] = []
        for index, part in enumerate(value):
            found = _referenced(tree, part, (*path, index), depth)
            flat.extend(found if isinstance(part, Reference) and isinstance(found, list) else [found])
        return flat
    return value


def _target(tree: Tree, reference: Reference) -> Any:
    value: Any = tree.data
    for word in reference.path:
        if not isinstance(value, dict) or word not in value:
            path = ", ".join(reference.path)
            raise PipelineError([f"{reference.place}: `!reference [{path}]` names nothing: there is no `{word}`."])
        value = value[word]
    return value
