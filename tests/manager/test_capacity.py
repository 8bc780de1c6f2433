"""Who may ask for a job, as one book of slots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.manager.capacity import Ask, Capacity


def capacity(*, concurrent: int = 2, **runners: tuple[int, int]) -> Capacity:
    """A book with runners given as name=(limit, request_concurrency)."""
    made = Capacity(concurrent=concurrent, check_interval=3.0)
    for name, (limit, request_concurrency) in (runners or {"a": (0, 1)}).items():
        made.set_runner(name, limit=limit, request_concurrency=request_concurrency)
    return made


def test_next_asks_reserves_a_slot_for_each_question() -> None:
    """With two slots and three questions allowed, two are asked, and no third until an answer."""
    book = capacity(concurrent=2, a=(0, 3))
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


def test_a_quick_no_waits_for_check_interval() -> None:
    """A server that answers at once that there is no job is asked again after `check_interval`."""
    book = capacity()
    (ask,) = book.next_asks(0.0)
    book.answered(ask, 0.05, job=False)
    assert book.next_asks(1.0) == ()
    assert book.next_wakeup(1.0) == 3.05
    assert len(book.next_asks(3.05)) == 1


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
    assert book.running_of("a") == 1


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
