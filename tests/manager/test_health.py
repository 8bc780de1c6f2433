"""How a runner stands with GitLab, by the answers to its questions."""

from __future__ import annotations

import pytest

from runner.gitlab.replies import JobAnswer
from runner.manager.health import Health, News

TROUBLE, UNHEALTHY, RECOVERED = News.TROUBLE, News.UNHEALTHY, News.RECOVERED
ANSWERS = {
    "j": JobAnswer.JOB,
    "n": JobAnswer.NONE,
    "c": JobAnswer.CONFLICT,
    "f": JobAnswer.FORBIDDEN,
    "x": JobAnswer.UNUSABLE,
    "u": JobAnswer.UNAVAILABLE,
    "t": JobAnswer.THROTTLED,
    "g": JobAnswer.GARBAGE,
    "r": JobAnswer.REFUSED,
}


def heard(health: Health, answers: str) -> list[News | None]:
    """Tell the answers by their letters."""
    return [health.heard(ANSWERS[letter], 0.5).news for letter in answers]


@pytest.mark.parametrize(
    ("answers", "news"),
    [
        pytest.param("jnc", [None, None, None], id="fine"),
        pytest.param("ffff", [TROUBLE, None, UNHEALTHY, None], id="refused"),
        pytest.param("xxx", [TROUBLE, None, UNHEALTHY], id="not usable"),
        pytest.param("ffffn", [TROUBLE, None, UNHEALTHY, None, RECOVERED], id="recovered"),
        pytest.param("ffuff", [TROUBLE, None, TROUBLE, TROUBLE, None], id="not in a row"),
        pytest.param("u" * 9 + "j", [TROUBLE, *[None] * 8, RECOVERED], id="an outage is one line"),
        pytest.param("uutg", [TROUBLE, None, TROUBLE, TROUBLE], id="other troubles"),
        pytest.param("rr", [TROUBLE, None], id="an orphaned runner"),
    ],
)
def test_news_when_answers_come(answers: str, news: list[News | None]) -> None:
    """Each change is told once."""
    assert heard(Health(), answers) == news


@pytest.mark.parametrize(
    ("answers", "healthy"),
    [
        ("ff", True),
        ("fff", False),
        ("u" * 20, True),
        ("t" * 20, True),
        ("r" * 20, True),
        ("g" * 20, True),
        ("fffn", True),
        ("fffu", True),
    ],
)
def test_healthy_when_answers_come(answers: str, healthy: bool) -> None:
    """Three refusals in a row make a runner unhealthy; no other trouble does."""
    health = Health()
    heard(health, answers)
    assert health.healthy is healthy


def test_heard_when_refused_for_long() -> None:
    """Waits double from a second to a minute, whatever longer interval the configuration names."""
    health = Health(interval=3600.0)
    waits = [health.heard(JobAnswer.FORBIDDEN, 1.0).retry_after for _ in range(9)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_heard_when_the_interval_is_short() -> None:
    """`unhealthy_interval` bounds the waits."""
    health = Health(interval=5.0)
    assert [health.heard(JobAnswer.FORBIDDEN, 1.0).retry_after for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]


def test_heard_when_the_fraction_is_small() -> None:
    """Waits lie between a half and the whole."""
    assert Health().heard(JobAnswer.FORBIDDEN, 0.0).retry_after == 0.5


def test_heard_when_the_server_says_how_long() -> None:
    """Its own word counts."""
    assert Health().heard(JobAnswer.THROTTLED, 1.0, retry_after=60.0).retry_after == 60.0


def test_heard_when_the_limit_is_one() -> None:
    """`unhealthy_requests_limit`."""
    assert heard(Health(limit=1), "f") == [UNHEALTHY]
