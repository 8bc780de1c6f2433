"""The numbers that concurrent jobs of a runner are told apart by: `CI_CONCURRENT_ID` and `CI_CONCURRENT_PROJECT_ID`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from runner.manager.material import Place


class Places:
    """Gives each running job the lowest free number, per runner and per runner and project, from 0."""

    def __init__(self) -> None:
        self._taken: dict[Hashable, set[int]] = defaultdict(set)

    @contextmanager
    def place(self, runner: Hashable, project_id: int) -> Iterator[Place]:
        """Hold a job's numbers while it runs."""
        mine = self._take(runner), self._take((runner, project_id))
        try:
            yield Place(concurrent_id=mine[0], concurrent_project_id=mine[1])
        finally:
            self._free(runner, mine[0])
            self._free((runner, project_id), mine[1])

    def _take(self, key: Hashable) -> int:
        taken = self._taken[key]
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        taken.add(number)
        return number

    def _free(self, key: Hashable, number: int) -> None:
        self._taken[key].discard(number)
        if not self._taken[key]:
            del self._taken[key]
