"""Who may ask for a job, as one book of slots."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.manager.capacity import Ask, Capacity


def capacity(*, concurrent: int = 2, **runners: tuple[int, int]) -> Capacity:
    """A book with runners given as name=(limit, request_concurrency)."""
    made = Capacity(concurrent=concurrent, check_interval=3.0)
    for name, (limit, request_concurrency) in (runners or {"a": (0, 1)}).items():
        made.set_runner(name, limit=limit, request_concurrency=request_concurrency)
    return made


def busy(book: Capacity, runner: str, *, now: float = 0.0) -> None:
    """Let a runner have had a job just now, which has ended."""
    (ask,) = book.next_asks(now)
    assert ask.runner == runner
    book.answered(ask, now, job=True)
    book.finished(runner)


def test_next_asks_reserves_a_slot_for_each_question() -> None:
    """With two slots and three questions allowed, two are asked, and no third until an answer."""
    book = capacity(concurrent=2, a=(0, 3))
    busy(book, "a")
    assert [ask.runner for ask in book.next_asks(0.0)] == ["a", "a"]
    assert book.next_asks(0.0) == ()
    assert book.next_wakeup(0.0) is None


def test_request_concurrency_bounds_the_questions_of_a_runner() -> None:
    """One question at a time by default, however many slots are free."""
    book = capacity(concurrent=10, a=(0, 1))
    assert len(book.next_asks(0.0)) == 1
    assert book.next_asks(1.0) == ()


def test_limit_counts_jobs_and_questions_of_a_runner() -> None:
    """A runner with limit 1 asks no more while its job runs, and again when it has ended."""
    book = capacity(concurrent=5, a=(1, 5))
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.1, job=True)
    assert book.next_asks(10.0) == ()
    book.finished("a")
    assert len(book.next_asks(10.0)) == 1


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_that_is_none(limit: int) -> None:
    """Zero or less is no limit, as in GitLab Runner."""
    book = capacity(concurrent=5, a=(limit, 1))
    busy(book, "a")
    assert len(book.next_asks(1.0)) == 1


def test_a_quick_no_waits_for_check_interval() -> None:
    """A server that answers at once that there is no job is asked again after `check_interval`."""
    book = capacity()
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.05, job=False)
    assert book.next_asks(1.0) == ()
    assert book.next_wakeup(1.0) == 3.0
    assert len(book.next_asks(3.0)) == 1


def test_a_long_poll_is_asked_again_at_once() -> None:
    """A server that held the question for long costs nothing when it is asked again."""
    book = capacity()
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 50.0, job=False)
    assert len(book.next_asks(50.0)) == 1


def test_a_job_is_followed_by_the_next_question_at_once() -> None:
    """Where there was a job there may be another."""
    book = capacity(concurrent=2)
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.05, job=True)
    assert len(book.next_asks(0.05)) == 1
    assert book.running == 1


def test_strict_check_interval_keeps_its_pace_after_a_job() -> None:
    """`strict_check_interval` waits from question to question, whatever came."""
    book = Capacity(concurrent=2, check_interval=3.0)
    book.set_runner("a", limit=0, request_concurrency=1, strict=True)
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.05, job=True)
    assert book.next_asks(2.9) == ()
    assert len(book.next_asks(3.0)) == 1


def test_the_servers_own_wait_is_kept() -> None:
    """`Retry-After` decides when to ask again."""
    book = capacity()
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.05, job=False, retry_after=60.0)
    assert book.next_asks(59.0) == ()
    assert len(book.next_asks(60.05)) == 1


def test_runners_take_turns_when_slots_are_few() -> None:
    """With one slot and two runners the second one is asked for next, and neither may hold the slot by long polling."""
    book = capacity(concurrent=1, a=(0, 1), b=(0, 1))
    (first,) = book.next_asks(0.0)
    assert not first.long_poll
    book.answered(first, 0.05, job=False, retry_after=0.0)
    (second,) = book.next_asks(0.1)
    assert {first.runner, second.runner} == {"a", "b"}


def test_a_lone_runner_with_room_may_be_held() -> None:
    """Nobody waits for the slot, so the server may hold the question."""
    (ask,) = capacity(concurrent=2).next_asks(0.0)
    assert ask.long_poll


def test_a_runner_that_left_the_configuration_finishes_its_job_and_asks_no_more() -> None:
    """Its slot comes back when the job ends."""
    book = capacity(concurrent=1)
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.1, job=True)
    book.keep_runners([])
    assert book.next_asks(10.0) == ()
    assert book.running == 1
    book.finished("a")
    assert book.reserved == 0


def test_a_runner_without_jobs_asks_once_in_check_interval() -> None:
    """However many questions it may have, the server gets no more of them than from GitLab Runner: one each turn."""
    book = Capacity(concurrent=100, check_interval=10.0)
    for name in "ab":
        book.set_runner(name, limit=0, request_concurrency=10)
    asked = []
    for now in range(60):
        for ask in book.next_asks(float(now)):
            asked.append((now, ask.runner))
            book.answered(ask, now + 0.05, job=False)
    assert asked == [(now, runner) for now in range(0, 60, 10) for runner in "ab"]


def test_a_queue_that_moves_is_asked_again_at_once() -> None:
    """The next question will be held; but a queue that moves all the time gets no more questions than turns."""
    book = capacity(concurrent=5)
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.05, job=False, moved=True)
    (ask,) = book.next_asks(0.05)
    book.answered(ask, 50.0, job=False)
    asked = []
    for step in range(500, 1100):
        now = step / 10
        for ask in book.next_asks(now):
            asked.append(now)
            book.answered(ask, now, job=False, moved=True)
    assert asked[:4] == [50.0, 50.1, 50.2, 50.3]
    assert len(asked) == 60 / 3 + 5


def test_a_queue_that_moves_when_the_interval_is_strict() -> None:
    """Then there are turns alone."""
    book = Capacity(concurrent=2, check_interval=3.0)
    book.set_runner("a", limit=0, request_concurrency=1, strict=True)
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.05, job=False, moved=True)
    assert book.next_wakeup(0.05) == 3.0


def test_questions_that_are_held_grow_one_each_turn() -> None:
    """While GitLab holds all of them, a further one goes out each turn, up to `request_concurrency`."""
    book = capacity(concurrent=100, a=(0, 3))
    assert [now for now in range(30) for _ in book.next_asks(float(now))] == [0, 3, 6]


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        pytest.param("j", 1, id="0 is clamped to 1"),
        pytest.param("jj", 2, id="1.1 is more than 1"),
        pytest.param("j" * 9, 3, id="1.1 to the eighth"),
        pytest.param("j" * 100, 10, id="not above the key"),
        pytest.param("j" * 9 + "n" * 9 + "j", 2, id="less by each answer without a job"),
        pytest.param("j" * 9 + "o" + "j", 2, id="half when the server is overloaded"),
        pytest.param("n" * 9 + "j", 2, id="never below 1"),
    ],
)
def test_request_concurrency_when_it_adapts(answers: str, requests: int) -> None:
    """The bound follows the answers: j is a job, n none, o an overloaded server; then a job makes the runner busy."""
    book = Capacity(concurrent=1000, check_interval=0.0)
    book.set_runner("a", limit=0, request_concurrency=10, adaptive=True)
    now = 0.0
    for answer in answers:
        now += 1.0
        ask, *rest = book.next_asks(now)
        for other in rest:
            book.put_back(other, until=now)
        book.answered(ask, now, job=answer == "j", overloaded=answer == "o")
    assert len(book.next_asks(now + 1.0)) == requests


def test_entries_of_one_token_share_limit_and_requests() -> None:
    """Two entries with one token have its jobs and questions together, each against its own numbers."""
    book = Capacity(concurrent=10, check_interval=3.0)
    for name in "ab":
        book.set_runner(name, limit=1, request_concurrency=1, token="t")
    (ask,) = book.next_asks(0.0)
    assert ask.runner == "a"
    book.answered(ask, 0.1, job=True)
    assert book.next_asks(5.0) == ()
    book.finished("a")
    assert [ask.runner for ask in book.next_asks(5.0)] == ["b"]


def test_every_runner_gets_its_share_when_slots_are_few() -> None:
    """Two slots, five runners of which one always has a job: over ten minutes each asks about as often as alone."""
    book = Capacity(concurrent=2, check_interval=3.0)
    for name in "abcde":
        book.set_runner(name, limit=0, request_concurrency=1)
    asked = dict.fromkeys("abcde", 0)
    ending: list[float] = []
    for step in range(6000):
        now = step / 10
        while ending and ending[0] <= now:
            ending.pop(0)
            book.finished("a")
        for ask in book.next_asks(now):
            asked[str(ask.runner)] += 1
            job = ask.runner == "a"
            book.answered(ask, now, job=job)
            if job:
                ending.append(now + 1.0)
    assert min(asked.values()) >= 180
    assert asked["a"] >= 1000


@pytest.mark.parametrize("concurrent", [1, 5, 19])
def test_no_runner_starves_when_servers_hold_what_they_may(concurrent: int) -> None:
    """Twenty idle runners on fewer slots, for ten minutes: none is without a question for longer than ten seconds.

    The servers hold each question that they may for 50 seconds, one of them hangs with every question.
    """
    book = Capacity(concurrent=concurrent, check_interval=3.0)
    for number in range(20):
        book.set_runner(number, limit=0, request_concurrency=1)
    last: dict[Hashable, float] = dict.fromkeys(range(20), 0.0)
    longest = 0.0
    held: list[tuple[float, Ask]] = []
    for step in range(6000):
        now = step / 10
        called = book.to_call_off(now)
        for entry in [entry for entry in held if entry[0] <= now or entry[1].number in called]:
            held.remove(entry)
            book.answered(entry[1], now, job=False)
            last[entry[1].runner] = now
        for ask in book.next_asks(now):
            hangs = ask.runner == 0
            longest = max(longest, 0.0 if hangs else now - last[ask.runner])
            last[ask.runner] = now
            if hangs or ask.long_poll:
                held.append((now + (600.0 if hangs else 50.0), ask))
            else:
                book.answered(ask, now, job=False)
    # With one slot a hanging question keeps all others waiting for as long as a slow server is given.
    assert longest <= (40.0 if concurrent == 1 else 10.0)


def test_a_held_question_is_called_off_when_another_runner_waits() -> None:
    """Both slots are held by idle runners when a third comes: the one held longest goes, once, and not before it is
    sure that it is held."""
    book = capacity(concurrent=2, a=(0, 1), b=(0, 1))
    first, second = book.next_asks(0.0)
    assert first.long_poll
    assert second.long_poll
    assert book.to_call_off(100.0) == ()
    book.set_runner("c", limit=0, request_concurrency=1)
    assert book.to_call_off(4.0) == ()
    assert book.next_wakeup(4.0) == 5.0
    assert book.to_call_off(5.0) == (first.number,)
    assert book.to_call_off(6.0) == ()
    assert book.next_wakeup(6.0) is None
    book.answered(first, 6.0, job=False)
    (third,) = book.next_asks(6.0)
    assert third.runner == "c"
    assert not third.long_poll


def test_a_question_that_is_not_to_be_held_has_more_time() -> None:
    """A slow server may have a job on its way; one that hangs loses the slot to others in the end."""
    book = capacity(concurrent=1, a=(0, 1), b=(0, 1))
    (first,) = book.next_asks(0.0)
    assert book.to_call_off(29.0) == ()
    assert book.to_call_off(30.0) == (first.number,)


def test_a_place_without_room_is_looked_at_again() -> None:
    """The runner waits, and asks when room has come."""
    book = capacity()
    (ask,) = book.next_asks(0.0)
    book.put_back(ask, until=5.0)
    assert book.reserved == 0
    assert book.next_asks(4.0) == ()
    book.room_came("a", 4.5)
    assert len(book.next_asks(4.5)) == 1


def test_room_that_comes_to_a_runner_that_has_some_changes_nothing() -> None:
    """The end of a job is no reason to ask before the turn."""
    book = capacity()
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.1, job=False)
    book.room_came("a", 1.0)
    assert book.next_asks(1.0) == ()


def test_a_job_that_is_being_reported_holds_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pod is gone: the next job may come, until too many ends wait for GitLab."""
    monkeypatch.setattr("runner.manager.capacity.REPORTS_MAX", 1)
    book = capacity(concurrent=2)
    now = 0.0
    for _ in range(2):
        now += 1.0
        (ask,) = book.next_asks(now)
        book.answered(ask, now, job=True)
        book.finished("a", reporting=True)
    assert (book.running, book.reporting, book.reserved) == (0, 2, 0)
    assert book.next_asks(10.0) == ()
    book.reported("a")
    assert len(book.next_asks(10.0)) == 1


def test_a_runner_that_left_is_kept_until_its_last_report() -> None:
    """Its key is known until GitLab has taken everything."""
    book = capacity()
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.1, job=True)
    book.keep_runners([])
    book.finished("a", reporting=True)
    assert book.reporting == 1
    book.reported("a")
    assert book.reporting == 0


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=4),
    st.lists(st.integers(0, 99), max_size=60),
)
def test_the_book_never_holds_more_than_allowed(
    concurrent: int, runners: list[tuple[int, int]], moves: list[int]
) -> None:
    """Whatever happens in whatever order: never more than `concurrent` and `limit`, and every slot comes back."""
    book = Capacity(concurrent=concurrent, check_interval=3.0)
    limits = dict(enumerate(runners))
    for key, (limit, requests) in limits.items():
        book.set_runner(key, limit=limit, request_concurrency=requests)
    open_asks: list[Ask] = []
    running: list[int] = []
    for now, move in enumerate(moves):
        open_asks.extend(book.next_asks(float(now)))
        if open_asks and move % 3:
            ask = open_asks.pop(move % len(open_asks))
            job = move % 3 == 1
            book.answered(ask, now + 0.5, job=job)
            if job:
                assert isinstance(ask.runner, int)
                running.append(ask.runner)
        elif running:
            book.finished(running.pop(move % len(running)))
        assert book.running == len(running)
        assert book.reserved == len(running) + len(open_asks) <= concurrent
        for key, (limit, requests) in limits.items():
            asking = sum(ask.runner == key for ask in open_asks)
            assert asking <= requests
            assert not limit or running.count(key) + asking <= limit
    for ask in open_asks:
        book.answered(ask, 1000.0, job=False)
    for key in running:
        book.finished(key)
    assert book.reserved == 0


def test_in_excess_when_limits_are_lowered() -> None:
    """Questions have no slot any more, the last ones first; each is named once, and none that still has one."""
    book = capacity(concurrent=5, a=(0, 1), b=(0, 1), c=(0, 1))
    first, second, third = book.next_asks(0.0)
    book.answered(first, 0.0, job=True)
    (again,) = book.next_asks(0.0)
    assert (again.runner, book.in_excess()) == ("a", ())
    book.set_runner("a", limit=1, request_concurrency=1)
    assert book.in_excess() == (again.number,)
    assert book.in_excess() == ()
    book.concurrent = 2
    assert book.in_excess() == (third.number,)
    book.concurrent = 1
    assert book.in_excess() == (second.number,)


def test_questions_of_when_a_runner_has_left() -> None:
    """Its question is known until it is answered, and then the runner is not."""
    book = capacity(a=(0, 1))
    (ask,) = book.next_asks(0.0)
    book.keep_runners(())
    assert (book.questions_of("a"), book.knows("a")) == ((ask.number,), True)
    book.answered(ask, 0.0, job=False)
    assert (book.questions_of("a"), book.knows("a")) == ((), False)
