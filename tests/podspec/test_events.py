"""Lines about the events of a pod."""

from typing import Any

from runner.podspec.events import EventTable, ToldEvents, warning_line


def event(uid: str, at: str = "2026-01-01T00:00:05Z", **over: Any) -> dict[str, Any]:
    """An event as the API server sends it."""
    return {
        "metadata": {"uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "type": "Warning",
        "reason": "Failed",
        "message": f"event {uid}",
        "lastTimestamp": at,
        "count": 1,
        **over,
    }


def uids(events: tuple[dict[str, Any], ...]) -> list[str]:
    """Which events these are."""
    return [each["metadata"]["uid"] for each in events]


def test_news_are_told_once_and_in_the_order_of_time() -> None:
    """Again when it happened again, never when it is older than what was told."""
    told = ToldEvents()
    late, early = event("late", "2026-01-01T00:00:09Z"), event("early", "2026-01-01T00:00:03Z")
    assert uids(told.news((late, early))) == ["early", "late"]
    assert told.news((late, early)) == ()
    again = event("early", "2026-01-01T00:00:09Z", count=2)
    assert uids(told.news((late, again, event("before", "2026-01-01T00:00:08Z")))) == ["early"]
    assert told.news((late, again)) == ()
    assert uids(told.news((late, again, event("now", "2026-01-01T00:00:10Z")))) == ["now"]
    assert told.news((late, again)) == ()


def test_news_know_all_the_places_of_the_time() -> None:
    """Newer kinds of events have a series or an event time, the rest their creation."""
    moments: list[dict[str, Any]] = [
        {"lastTimestamp": None, "metadata": {"uid": "1", "creationTimestamp": "2026-01-01T00:00:01Z"}},
        {"lastTimestamp": None, "firstTimestamp": "2026-01-01T00:00:02Z"},
        {"lastTimestamp": None, "eventTime": "2026-01-01T00:00:03.000000Z"},
        {"lastTimestamp": "2026-01-01T00:00:04Z"},
        {"series": {"lastObservedTime": "2026-01-01T00:00:05.000000Z"}, "lastTimestamp": None},
    ]
    events = [{**event(str(number)), **over} for number, over in enumerate(moments, start=1)]
    assert uids(ToldEvents().news(reversed(events))) == ["1", "2", "3", "4", "5"]


def test_warning_line_is_the_originals() -> None:
    """On one line, without passwords."""
    said = event("x", message='Failed to pull image "x": Get\nhttps://u:p@r.example.com: no')
    assert warning_line(said) == (
        'Event retrieved from the cluster: Failed to pull image "x": Get https://[MASKED]@r.example.com: no'
    )


def test_table_lines_stand_under_their_head() -> None:
    """Three spaces between columns; a later row is as wide as it is, because nobody knows what comes."""
    table = EventTable()
    assert table.lines(event("x", type="Normal", reason="Scheduled", message="assigned")) == (
        "Type     Reason      Message",
        "Normal   Scheduled   assigned",
    )
    assert table.lines(event("y", reason="BackOff", message="m")) == ("Warning   BackOff   m",)


def test_a_row_is_told_once_for_each_time_it_happened() -> None:
    """A watch tells of the same events again when it begins anew; what is remembered is bounded."""
    table = EventTable()
    assert len(table.lines(event("x"))) == 2
    assert table.lines(event("x")) == ()
    assert len(table.lines(event("x", count=2))) == 1
    assert all(len(table.lines(event(str(number)))) == 1 for number in range(2000))
