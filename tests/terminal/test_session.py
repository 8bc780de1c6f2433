"""A session by itself: how many it takes, and that nothing comes in once it has ended."""

from __future__ import annotations

import pytest

from runner.terminal import session
from runner.terminal.session import BusyError, Session


def open_session(ended: list[Session]) -> Session:
    """A session that tells when it is over."""
    return Session(base_url="https://runner:8093", certificate="", timeout=60.0, closed=ended.append)


async def test_visit_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond are refused, and each one that leaves makes place."""
    monkeypatch.setattr(session, "MOST_VISITORS", 2)
    one = open_session([])
    with one.visit():
        with one.visit(), pytest.raises(BusyError), one.visit():
            raise AssertionError
        with one.visit():
            pass


async def test_visit_when_the_session_has_ended() -> None:
    """It is told of once, however often it is closed."""
    ended: list[Session] = []
    one = open_session(ended)
    for _ in range(2):
        await one.aclose()
    assert ended == [one]
    with pytest.raises(BusyError), one.visit():
        raise AssertionError
