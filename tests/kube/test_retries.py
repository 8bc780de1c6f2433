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


RETRY_LIMITS: dict[str, tuple[tuple[tuple[str, int], ...], KubeError, int]] = {
    "no table": ((), UnavailableError("m: etcdserver: request timed out"), 5),
    "custom limit": ((("etcdserver: request timed out", 3),), UnavailableError("m: etcdserver: request timed out"), 3),
    "custom limit of another error": ((("etcdserver: request timed out", 3),), UnavailableError("m: no leader"), 5),
    "custom limit for a refusal": ((("exceeded quota", 10),), ForbiddenError("m: exceeded quota: q"), 10),
    "custom limit for a reason": ((("NotFound", 2),), NotFoundError("m", reason="NotFound"), 2),
    "the longest words": (
        (("exceeded", 2), ("exceeded quota: q", 4), ("m", 9)),
        ForbiddenError("m: exceeded quota: q"),
        4,
    ),
    "words of the original's client": (
        (("TLS handshake timeout", 7),),
        UnavailableError("m", reason="ConnectTimeout"),
        7,
    ),
    "in other letters": ((("Connection Refused", 7),), UnavailableError("m", reason="ConnectFailed"), 7),
    "none at all": ((("exceeded quota", 0),), ForbiddenError("m: exceeded quota: q"), 1),
    "no words": ((("", 9),), ForbiddenError("m"), 1),
}


@pytest.mark.parametrize(("limits", "error", "tries"), RETRY_LIMITS.values(), ids=RETRY_LIMITS.keys())
def test_tries_as_TestRetryLimits_has_them(  # noqa: N802 -- upstream's name
    limits: tuple[tuple[str, int], ...], error: KubeError, tries: int
) -> None:
    """The operator's table names errors by their words and wins over `retry_limit`, in both directions."""
    policy = RetryPolicy(limit=5, limits=limits)
    pauses = [policy.next_pause(error, tries=done, idempotent=True, spread=0.5) for done in range(1, 20)]
    assert sum(pause is not None for pause in pauses) + 1 == tries


@pytest.mark.parametrize(
    ("error", "repeat"),
    [
        pytest.param(UnavailableError("boom"), False, id="lost on the way"),
        pytest.param(UnavailableError("boom", sent=False), True, id="never sent"),
        pytest.param(ForbiddenError("boom"), True, id="refused"),
    ],
)
def test_the_operators_table_repeats_nothing_that_could_take_effect_twice(error: KubeError, repeat: bool) -> None:
    """Words choose how often, never whether it may do harm."""
    policy = RetryPolicy(limits=(("boom", 3),))
    assert (policy.next_pause(error, tries=1, idempotent=False, spread=0.0) is not None) is repeat
