"""When a request is sent again."""

import pytest

from runner.kube.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    KubeError,
    NotFoundError,
    TooManyRequestsError,
    UnavailableError,
)
from runner.kube.retries import RETRY_AFTER_MAX, RetryPolicy, may_repeat


@pytest.mark.parametrize(
    ("error", "idempotent", "creating", "repeat"),
    [
        pytest.param(UnavailableError("m"), True, False, True, id="lost, harmless"),
        pytest.param(UnavailableError("m"), False, True, False, id="lost, harmful"),
        pytest.param(UnavailableError("m", sent=False), False, True, True, id="never sent"),
        pytest.param(TooManyRequestsError("m"), False, True, True, id="refused unread"),
        pytest.param(ConflictError("m", reason="AlreadyExists"), True, True, False, id="name taken"),
        pytest.param(ConflictError("m", reason="Conflict"), False, True, True, id="two pods raced for a quota"),
        pytest.param(ConflictError("m", reason="Conflict"), True, False, False, id="precondition failed"),
        pytest.param(NotFoundError("m"), True, False, False, id="not there"),
        pytest.param(ForbiddenError("exceeded quota: q"), True, True, False, id="quota"),
        pytest.param(BadRequestError("connection reset by peer"), True, False, False, id="words decide nothing"),
    ],
)
def test_may_repeat_goes_by_class_and_verb(error: KubeError, idempotent: bool, creating: bool, repeat: bool) -> None:
    """A request is repeated when it can succeed and cannot take effect twice."""
    assert may_repeat(error, idempotent=idempotent, creating=creating) is repeat


def test_pauses_double_up_to_the_ceiling() -> None:
    """GitLab Runner's rule: from half a second, doubling, at most `retry_backoff_max`."""
    policy = RetryPolicy(limit=6, backoff_max=2.0)
    error = UnavailableError("m")
    pauses = [policy.next_pause(error, tries=tries, idempotent=True, spread=1.0) for tries in range(1, 7)]
    assert pauses == [0.5, 1.0, 2.0, 2.0, 2.0, None]


def test_half_of_a_pause_is_left_to_chance() -> None:
    """Clients that failed together do not come back together."""
    pause = RetryPolicy().next_pause(UnavailableError("m"), tries=1, idempotent=True, spread=0.0)
    assert pause == 0.25


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        pytest.param(3.0, 3.5, id="asked"),
        pytest.param(RETRY_AFTER_MAX, 60.5, id="the most that is waited"),
        pytest.param(RETRY_AFTER_MAX + 1, None, id="too long"),
    ],
)
def test_what_the_server_asks_for_is_never_cut_short(asked: float, pause: float | None) -> None:
    """Wait as long as asked, or hand the matter to the caller."""
    error = TooManyRequestsError("m", retry_after=asked)
    assert RetryPolicy().next_pause(error, tries=1, idempotent=True, spread=1.0) == pause


def test_a_high_number_of_tries_does_not_overflow() -> None:
    """Doubling stops long before floats do."""
    assert RetryPolicy(limit=10_000).next_pause(UnavailableError("m"), tries=9_999, idempotent=True, spread=1.0) == 2.0
