"""Values that load and do not work: told when the file is read, not when the first job meets them.

GitLab Runner says nothing of them before a job runs, and some it leaves out then with a line in its log. A file is used
with them, for jobs may never meet them. What a value alone shows is marked on its field with `Doubt`; what several
values show together is said by their table's `doubt`. The kinds of findings are those of `checks`, where what a cluster
would refuse is looked for too.
"""

from collections.abc import Iterable, Iterator
from functools import cache

from runner.config.base import Table
from runner.config.keys import nested_table
from runner.config.positions import Path
from runner.config.values import Doubt


def doubts(table: Table, path: Path = ()) -> Iterator[tuple[Path, str, str]]:
    """What there is to doubt in a table and those within: path of fields, kind of finding, sentence."""
    if said := table.doubt():
        yield path, *said
    marked, nested = _fields(type(table))
    for name, marks in marked:
        for below, text in _texts(getattr(table, name)):
            for mark in marks:
                if sentence := mark.check(text):
                    yield (*path, name, *below), mark.rule, sentence
    for name in nested:
        yield from _within(getattr(table, name), (*path, name))


def _within(value: object, path: Path) -> Iterator[tuple[Path, str, str]]:
    if isinstance(value, Table):
        yield from doubts(value, path)
    elif isinstance(value, tuple):
        for index, element in enumerate(value):
            yield from doubts(element, (*path, index))


def _texts(value: str | tuple[str, ...]) -> Iterable[tuple[Path, str]]:
    if isinstance(value, str):
        return [((), value)] if value else []
    return [((index,), text) for index, text in enumerate(value) if text]


@cache
def _fields(model: type[Table]) -> tuple[tuple[tuple[str, tuple[Doubt, ...]], ...], tuple[str, ...]]:
    """The fields of a model with marks, and those with tables."""
    marks = {
        name: tuple(mark for mark in field.metadata if isinstance(mark, Doubt))
        for name, field in model.model_fields.items()
    }
    nested = tuple(name for name, field in model.model_fields.items() if nested_table(field))
    return tuple((name, found) for name, found in marks.items() if found), nested
