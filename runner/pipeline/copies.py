"""`parallel`: how many copies of a job run, their names and what tells them apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.pipeline.located import Part, Series, Table
from runner.pipeline.model import LocalVariable

MOST_COPIES = 200


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a job."""

    suffix: str
    """What its name has behind the job's: ` 1/3` or `: [a, b]`."""
    variables: tuple[LocalVariable, ...]
    matrix: Mapping[str, str]


def read_copies(part: Part | None) -> tuple[Copy, ...]:
    """The copies that `parallel` asks for, one without a suffix when there is none."""
    if part is None:
        return (Copy("", (), {}),)
    if not isinstance(part.value, Table):
        total = part.integer(1, MOST_COPIES)
        return tuple(Copy(f" {index}/{total}", _numbers(index, total), {}) for index in range(1, total + 1))
    matrix = part.get("matrix")
    if matrix is None:
        raise part.error(f"is a number from 1 to {MOST_COPIES} or a `matrix`.")
    rows = read_matrix(matrix)
    return tuple(
        Copy(
            matrix_suffix(row),
            (*(LocalVariable(key=key, value=value) for key, value in row.items()), *_numbers(index, len(rows))),
            row,
        )
        for index, row in enumerate(rows, 1)
    )


def read_matrix(matrix: Part) -> list[dict[str, str]]:
    """All rows of a matrix: each entry of the list is the product of its values."""
    rows: list[dict[str, str]] = []
    for entry in matrix.items():
        table = entry.table()
        columns = [_values(entry, key) for key in table]
        if len(rows) + math.prod(len(column) for column in columns) > MOST_COPIES:
            raise matrix.error(f"makes more than {MOST_COPIES} jobs.")
        rows.extend(dict(zip(table, values, strict=True)) for values in itertools.product(*columns))
    if not rows:
        raise matrix.error("has no values.")
    return rows


def _values(entry: Part, key: str) -> Sequence[str]:
    value = entry.get(key)
    texts = value.texts() if value else ()
    if not texts or not value or (isinstance(value.value, Series) and any(isinstance(v, list) for v in value.value)):
        raise (value or entry).error(f"needs values for `{key}`: a text or a list of texts.")
    return texts


def matrix_suffix(row: Mapping[str, str]) -> str:
    """What the name of a matrix' copy ends with."""
    return f": [{', '.join(row.values())}]"


def _numbers(index: int, total: int) -> tuple[LocalVariable, ...]:
    return (
        LocalVariable(key="CI_NODE_INDEX", value=str(index)),
        LocalVariable(key="CI_NODE_TOTAL", value=str(total)),
    )
