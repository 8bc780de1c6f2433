"""The gauges that are read from the board when somebody asks for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from runner.status.board import Questions, StatusBoard

Samples: TypeAlias = "Iterable[tuple[tuple[str, ...], float]]"
"""Values of labels, and the value of the series that they name."""


def _jobs(board: StatusBoard) -> Samples:
    """Every known runner has a row of idleness, so that a dashboard shows it before its first job."""
    counted: Counter[tuple[str, ...]] = Counter(
        {(*row.labels.values, "idle", "idle", "idle"): 0 for row in board.runners}
    )
    counted.update((*card.labels.values, card.state, card.stage, card.executor_stage) for card in board.jobs)
    return counted.items()


def _questions(value: Callable[[Questions], int]) -> Callable[[StatusBoard], Samples]:
    def sample(board: StatusBoard) -> Samples:
        # Runners with one token share a series; the original shares their requests too.
        counted: Counter[tuple[str, ...]] = Counter()
        for each in board.questions():
            counted[each.labels.runner, each.labels.system_id] += value(each)
        return counted.items()

    return sample


def _watches(board: StatusBoard) -> Samples:
    standing = sum(watch.watching for watch in board.watches)
    return ((("standing",), standing), (("broken",), len(board.watches) - standing))


def _limits(board: StatusBoard) -> Samples:
    return {row.labels.values: float(row.limit) for row in board.runners}.items()


def _watch_silence(board: StatusBoard) -> Samples:
    heard = [watch.age for watch in board.watches]
    return (((), max(heard)),) if heard else ()


SAMPLES: Mapping[str, Callable[[StatusBoard], Samples]] = MappingProxyType(
    {
        "gitlab_runner_concurrent": lambda board: (((), board.concurrent),),
        "gitlab_runner_limit": _limits,
        "gitlab_runner_jobs": _jobs,
        "gitlab_runner_request_concurrency": _questions(lambda each: each.under_way),
        "gitlab_runner_request_concurrency_hard_limit": _questions(lambda each: each.hard_limit),
        "gitlab_runner_request_concurrency_adaptive_limit": _questions(lambda each: each.adaptive_limit),
        "gitlab_runner_request_concurrency_used_limit": _questions(
            lambda each: min(each.hard_limit, each.adaptive_limit)
        ),
        "gitlab_runner_worker_slots_number": lambda board: (((), board.concurrent),),
        "gitlab_runner_process_state_info": lambda board: (((board.state.value,), 1),),
        "runner_final_states_waiting": lambda board: (((), sum(card.finishing for card in board.jobs)),),
        "runner_removals_under_way": lambda board: (((), sum(card.removing for card in board.jobs)),),
        "runner_gitlab_silence_seconds": lambda board: (
            (labels.values, seconds) for labels, seconds in board.gitlab_silence().items()
        ),
        "runner_pod_watches": _watches,
        "runner_pod_watch_silence_seconds": _watch_silence,
        "runner_configuration_valid": lambda board: (((), float(bool(board.config_ok))),),
        "runner_configuration_loaded_timestamp_seconds": lambda board: (((), board.config_loaded_at),),
    }
)
"""How each sampled family is read."""
