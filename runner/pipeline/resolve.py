"""`extends` and `!reference`, in GitLab's order: first every job gets what it extends, then references are put in."""

from __future__ import annotations

from typing import Any

from runner.pipeline.findings import PipelineError
from runner.pipeline.located import Part, Reference, Series, Table, merge
from runner.pipeline.yaml_text import MOST_NODES

MOST_EXTENDS = 11
MOST_REFERENCES = 10


def resolved(tree: Table) -> Table:
    """Give the tree with all jobs extended and all references put in. Raises PipelineError."""
    extended = _Extensions(tree).all()
    return _References(extended).all()


class _Extensions:
    def __init__(self, tree: Table) -> None:
        self._tree = tree
        self._done: dict[str, Table] = {}

    def all(self) -> Table:
        tree = Table(self._tree.place)
        for name, value in self._tree.items():
            job = isinstance(value, Table) and "extends" in value
            tree.put(name, self._extended(name, ()) if job else value, self._tree.place_of(name))
        return tree

    def _extended(self, name: str, through: tuple[str, ...]) -> Table:
        """A job with everything it extends."""
        if name in self._done:
            return self._done[name]
        job: Table = self._tree[name]
        extends = Part(job, job.place, name).get("extends")
        merged = Table(job.place)
        for parent in extends.items() if extends else ():
            merged = merge(merged, self._parent(parent, (*through, name)))
        self._done[name] = merge(merged, job.without("extends"))
        return self._done[name]

    def _parent(self, parent: Part, through: tuple[str, ...]) -> Table:
        name = parent.word()
        if name in through or len(through) > MOST_EXTENDS:
            why = "runs in a circle" if name in through else f"goes through more than {MOST_EXTENDS} jobs"
            raise parent.error(f"{why}: {' -> '.join((*through, name))}.")
        if not isinstance(self._tree.get(name), Table):
            raise parent.error(f"names `{name}`, which is no job here.")
        return self._extended(name, through)


class _References:
    def __init__(self, tree: Table) -> None:
        self._tree = tree
        self._count = 0

    def all(self) -> Table:
        tree = Table(self._tree.place)
        for name, value in self._tree.items():
            tree.put(name, self._resolved(value, 0), self._tree.place_of(name))
        return tree

    def _resolved(self, value: Any, depth: int) -> Any:
        """A value with each reference replaced; a list that is put into a list becomes part of it."""
        self._count += 1
        if isinstance(value, Reference):
            if depth >= MOST_REFERENCES:
                raise PipelineError.at(value.place, f"`!reference` is nested more than {MOST_REFERENCES} times.")
            if self._count > MOST_NODES:
                raise PipelineError.at(value.place, f"`!reference` unfolds to more than {MOST_NODES} values.")
            return self._resolved(self._target(value, depth), depth + 1)
        if isinstance(value, Table):
            table = Table(value.place)
            for key, part in value.items():
                table.put(key, self._resolved(part, depth), value.place_of(key))
            return table
        if isinstance(value, Series):
            return self._series(value, depth)
        return value

    def _series(self, value: Series, depth: int) -> Series:
        series = Series(value.place)
        for part, place in zip(value, value.places, strict=True):
            found = self._resolved(part, depth)
            if isinstance(part, Reference) and isinstance(found, Series):
                for inner, written in zip(found, found.places, strict=True):
                    series.add(inner, written)
            else:
                series.add(found, place)
        return series

    def _target(self, reference: Reference, depth: int) -> Any:
        value: Any = self._tree
        for word in reference.path:
            if isinstance(value, Reference):
                value = self._resolved(value, depth + 1)
            if not isinstance(value, Table) or word not in value:
                path = ", ".join(reference.path)
                raise PipelineError.at(
                    reference.place, f"`!reference [{path}]` names nothing: there is no `{word}` in it."
                )
            value = value[word]
        return value
