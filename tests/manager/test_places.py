"""The numbers of concurrent jobs."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from runner.manager.material import Place
from runner.manager.places import Places


def test_place_gives_the_lowest_free_numbers() -> None:
    """A number that a job gives back is the next one's; projects count for themselves."""
    places = Places()
    with ExitStack() as others:
        assert others.enter_context(places.place("a", 1)) == Place(concurrent_id=0, concurrent_project_id=0)
        with places.place("a", 1) as second:
            assert second == Place(concurrent_id=1, concurrent_project_id=1)
            assert others.enter_context(places.place("a", 2)) == Place(concurrent_id=2, concurrent_project_id=0)
        with places.place("a", 2) as again:
            assert again == Place(concurrent_id=1, concurrent_project_id=1)
        with places.place("b", 1) as other_runner:
            assert other_runner == Place(concurrent_id=0, concurrent_project_id=0)


def test_place_is_given_back_when_the_job_fails() -> None:
    """An error in the job does not keep its number."""
    places = Places()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), places.place("a", 1) as place:
            _ = 1 / place.concurrent_id
