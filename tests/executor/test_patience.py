"""The same request again until a deadline; which errors pass is a matter of their class."""

from __future__ import annotations

import pytest

from runner.executor import patience
from runner.executor.patience import patiently
from runner.kube.errors import ForbiddenError, KubeError, TooManyRequestsError, UnavailableError


class Requests:
    """Fails with these errors in turn, then succeeds."""

    def __init__(self, *errors: KubeError) -> None:
        self.errors = list(errors)
        self.tries = 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.001,))


async def test_patiently_when_the_server_comes_back() -> None:
    """The first failure is told, once; the answer is the request's."""
    told: list[UnavailableError] = []
    request = Requests(UnavailableError("away"), TooManyRequestsError("busy"))
    assert await patiently(request, timeout=5, waiting=told.append) == "done"
    assert request.tries == 3
    assert [str(error) for error in told] == ["away"]


async def test_patiently_when_the_time_is_over() -> None:
    """The last error is raised."""
    request = Requests(UnavailableError("one"), UnavailableError("two"))
    with pytest.raises(UnavailableError, match="one"):
        await patiently(request, timeout=0)
    assert request.tries == 1


async def test_patiently_when_the_server_asks_for_more_than_there_is() -> None:
    """A pause beyond the deadline is not begun."""
    request = Requests(TooManyRequestsError("busy", retry_after=60.0))
    with pytest.raises(TooManyRequestsError):
        await patiently(request, timeout=5)


async def test_patiently_when_the_refusal_is_final() -> None:
    """Nothing but unavailability is tried again."""
    request = Requests(ForbiddenError("no"))
    with pytest.raises(ForbiddenError):
        await patiently(request, timeout=5)
    assert request.tries == 1
