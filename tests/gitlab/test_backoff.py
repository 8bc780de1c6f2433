"""How long to wait: GitLab's word before ours, and never for ever."""

from email.utils import formatdate

import pytest

from runner.gitlab.backoff import RETRY_AFTER_MAX, Backoff, is_retriable, jittered, server_delay

NOW = 1_787_392_800.0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *[(status, True) for status in (408, 429, 500, 502, 503, 504, 512, 520, 599)],
        *[(status, False) for status in (200, 201, 204, 400, 403, 404, 409, 416, 422, 501, 505, 511)],
    ],
)
def test_status_says_whether_to_try_again(status: int, expected: bool) -> None:
    """Exactly GitLab Runner's list of statuses is worth another try."""
    assert is_retriable(status) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"Retry-After": "7"}, 7.0, id="seconds"),
        pytest.param({"Retry-After": " 7 "}, 7.0, id="seconds-with-blanks"),
        pytest.param({"Retry-After": "0"}, None, id="zero"),
        pytest.param({"Retry-After": "-5"}, None, id="negative"),
        pytest.param({"Retry-After": "soon"}, None, id="garbage"),
        pytest.param({"Retry-After": "٣"}, None, id="digits-of-another-script"),
        pytest.param({"Retry-After": formatdate(NOW + 9, usegmt=True)}, 9.0, id="date"),
        pytest.param({"Retry-After": formatdate(NOW - 9, usegmt=True)}, None, id="date-in-the-past"),
        pytest.param({"Retry-After": "86400"}, RETRY_AFTER_MAX, id="a-day"),
        pytest.param({"Retry-After": "9" * 400}, RETRY_AFTER_MAX, id="more-than-a-number-holds"),
        pytest.param({"RateLimit-ResetTime": formatdate(NOW + 30, usegmt=True)}, 30.0, id="reset-time"),
        pytest.param(
            {"RateLimit-ResetTime": formatdate(NOW + 30, usegmt=True), "Retry-After": "7"}, 30.0, id="reset-time-first"
        ),
        pytest.param(
            {"RateLimit-ResetTime": formatdate(NOW - 30, usegmt=True), "Retry-After": "7"}, 7.0, id="reset-time-over"
        ),
        pytest.param({"RateLimit-ResetTime": "Sat, 99 Foo", "Retry-After": "7"}, 7.0, id="reset-time-garbage"),
        pytest.param({"RateLimit-Reset": f"{NOW + 20:.0f}"}, 20.0, id="reset-alone"),
        pytest.param({"RateLimit-Reset": f"{NOW + 20:.0f}", "Retry-After": "7"}, 7.0, id="reset-last"),
        pytest.param({"RateLimit-Reset": f"{NOW + 20:.0f}", "Retry-After": "0"}, 20.0, id="reset-when-all-else-fails"),
        pytest.param({"RateLimit-Reset": "60"}, None, id="reset-that-is-no-moment"),
        pytest.param({"RateLimit-Reset": "9" * 400}, RETRY_AFTER_MAX, id="reset-more-than-a-number-holds"),
        pytest.param({"RateLimit-ResetTime": "Sat, 22 Aug 99999 10:05:00 GMT"}, None, id="reset-time-beyond-dates"),
    ],
)
def test_server_names_the_wait(headers: dict[str, str], expected: float | None) -> None:
    """ResetTime, then Retry-After in both forms, then Reset; garbage and the past count for nothing; a bound holds."""
    assert server_delay(headers, NOW) == expected


@pytest.mark.parametrize(
    ("attempt", "fraction", "expected"),
    [(1, 1.0, 0.1), (2, 1.0, 0.2), (4, 0.5, 0.4), (30, 1.0, 60.0), (5000, 1.0, 60.0), (3, 0.0, 0.0)],
)
def test_jittered_wait_doubles_up_to_its_limit(attempt: int, fraction: float, expected: float) -> None:
    """100 ms, doubled each time, at most a minute, times the random fraction."""
    assert jittered(attempt, fraction) == pytest.approx(expected)


def test_backoff_doubles_and_begins_anew_after_a_success() -> None:
    """Whatever an outage lasts, the next question comes within half a minute, and a success forgets the failures."""
    backoff = Backoff(initial=1.0, limit=30.0)
    assert [backoff.failed(1.0) for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    backoff.succeeded()
    assert [backoff.failed(0.0) for _ in range(2)] == [0.5, 1.0]
