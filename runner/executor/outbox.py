"""Commands that an agent has not confirmed yet.

An attach has no acknowledgement of its own: a command counts as delivered when the journal or an answer says so.
Until then it stays here, in order, and all of it is sent again after a reconnect; every command is made so that a
repeat does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

Key = tuple[str, str]
"""What confirms a command: its kind and its subject, as `("note", "3")` or `("begin", "step_script-1")`."""


class Outbox:
    """Unconfirmed commands in the order of posting.

    Bounded by what one job posts: a few for each stage and one for each note.
    """

    def __init__(self) -> None:
        self._waiting: dict[Key, tuple[bytes, ...]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: Key) -> bool:
        return key in self._waiting

    def post(self, key: Key, lines: tuple[bytes, ...]) -> None:
        """Keep these lines until `key` is confirmed."""
        self._waiting[key] = lines

    def confirm(self, key: Key) -> None:
        """Forget a command that has been carried out.

        An unknown key is no error: confirmations repeat after a reconnect.
        """
        self._waiting.pop(key, None)

    def lines(self, key: Key) -> tuple[bytes, ...]:
        """The lines of one command, empty when it is no longer waiting."""
        return self._waiting.get(key, ())

    def __iter__(self) -> Iterator[bytes]:
        for lines in tuple(self._waiting.values()):
            yield from lines
