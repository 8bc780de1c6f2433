"""Trying again what may go better the next time."""

import time
from collections.abc import Callable
from typing import TypeVar

from runner.helper.console import Console
from runner.helper.transfer.http import TransferError

T = TypeVar("T")


def attempts(
    action: Callable[[int], T],
    *,
    tries: int,
    console: Console,
    pause: Callable[[int], float],
    again: Callable[[TransferError], bool] = lambda error: error.retriable,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Do it, and once more after a TransferError that `again` takes for curable. Raises the last one."""
    for number in range(1, tries + 1):
        try:
            return action(number)
        except TransferError as error:
            if number == tries or not again(error):
                raise
            console.warning("Retrying...", error=str(error))
            sleep(pause(number))
    raise ValueError("there must be a try at least")
