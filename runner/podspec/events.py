"""What a job's log tells of the events of its pod: warnings after a failure, a table while it lives.

Pure. The lines are GitLab Runner's. An event is told once for each time that it happened.
"""

from collections.abc import Iterable

from runner.podspec.manifest import Manifest, read_moment
from runner.podspec.trouble import without_credentials

_PADDING = 3
_MOST_REMEMBERED = 1000
_HEADER = ("Type", "Reason", "Message")


class ToldEvents:
    """Which events have been told. One for each pod; what is kept does not grow with their number."""

    def __init__(self) -> None:
        self._newest = float("-inf")
        self._told: set[tuple[str, int]] = set()

    def news(self, events: Iterable[Manifest]) -> tuple[Manifest, ...]:
        """Take a list of events and return those not told yet, by the time of their last occurrence.

        An event that is older than the newest one told is left out, as in GitLab Runner.
        """
        fresh = {
            key: (at, event)
            for event in events
            if (at := _last_seen(event)) >= self._newest and (key := _key(event)) not in self._told
        }
        if not fresh:
            return ()
        newest = max(at for at, _ in fresh.values())
        # Time stamps are whole seconds: only events of the newest second can come a second time.
        kept = self._told if newest == self._newest else set()
        self._told = kept | {key for key, (at, _) in fresh.items() if at == newest}
        self._newest = newest
        return tuple(event for _, event in sorted(fresh.values(), key=lambda pair: pair[0]))


def warning_line(event: Manifest) -> str:
    """Say a Warning event after something failed."""
    return f"Event retrieved from the cluster: {_message(event)}"


class EventTable:
    """The table of a pod's events, row by row as they come (`FF_PRINT_POD_EVENTS`)."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, int], None] = {}

    def lines(self, event: Manifest) -> tuple[str, ...]:
        """Say an event; the first one comes with the head. A watch that begins anew tells of the same ones again."""
        key = _key(event)
        if key in self._told:
            return ()
        row = (str(event.get("type") or ""), str(event.get("reason") or ""), _message(event))
        rows = (row,) if self._told else (_HEADER, row)
        self._told[key] = None
        if len(self._told) > _MOST_REMEMBERED:
            del self._told[next(iter(self._told))]
        # Nobody knows how wide the rows to come will be, so each is as wide as it is, as in GitLab Runner.
        widths = [max(len(each[column]) for each in rows) + _PADDING for column in (0, 1)]
        return tuple(f"{kind:<{widths[0]}}{reason:<{widths[1]}}{message}" for kind, reason, message in rows)


def _message(event: Manifest) -> str:
    return " ".join(without_credentials(str(event.get("message") or "")).split("\n"))


def _key(event: Manifest) -> tuple[str, int]:
    return str((event.get("metadata") or {}).get("uid") or ""), int(event.get("count") or 0)


def _last_seen(event: Manifest) -> float:
    """The moment of the last occurrence; older kinds of events have it elsewhere."""
    moments = (
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
        (event.get("metadata") or {}).get("creationTimestamp"),
    )
    return next((at for text in moments if (at := read_moment(text)) is not None), 0.0)
