"""Commands until they are confirmed."""

from __future__ import annotations

from runner.executor.outbox import Outbox


def test_outbox_keeps_the_order_of_posting() -> None:
    """All unconfirmed lines, in the order in which they were posted."""
    outbox = Outbox()
    outbox.post(("file", "a-1"), (b"1", b"2"))
    outbox.post(("begin", "a-1"), (b"3",))
    assert list(outbox) == [b"1", b"2", b"3"]
    assert ("begin", "a-1") in outbox


def test_a_confirmed_command_is_forgotten() -> None:
    """And a confirmation that comes again, as after a reconnect, is no error."""
    outbox = Outbox()
    outbox.post(("note", "1"), (b"1",))
    outbox.post(("note", "2"), (b"2",))
    outbox.confirm(("note", "1"))
    outbox.confirm(("note", "1"))
    assert list(outbox) == [b"2"]
    assert outbox.lines(("note", "1")) == ()
    assert outbox.lines(("note", "2")) == (b"2",)
    assert len(outbox) == 1
