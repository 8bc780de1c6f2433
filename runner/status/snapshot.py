"""The board as one document of names and numbers: what the status page is drawn from, and the list of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner import __version__
from runner.job.durations import format_duration

if TYPE_CHECKING:
    from runner.status.board import StatusBoard
    from runner.status.card import JobCard

VERSION = 1
"""Grows when a key changes its meaning."""


def snapshot(board: StatusBoard) -> dict[str, Any]:
    """Write the board as JSON has it; moments are seconds before now."""
    now = board.clock()
    running: dict[tuple[str, str, str], int] = {}
    for card in board.jobs:
        running[card.labels.values] = running.get(card.labels.values, 0) + 1
    silence = board.gitlab_silence()
    return {
        "schema": VERSION,
        "version": __version__,
        "system_id": board.system_id,
        "state": board.state.value,
        "uptime": round(now - board.started_at, 1),
        "concurrent": board.concurrent,
        "config_ok": bool(board.config_ok),
        "watches": {
            "standing": sum(watch.watching for watch in board.watches),
            "broken": sum(not watch.watching for watch in board.watches),
        },
        "runners": [
            {
                "runner": row.labels.runner,
                "name": row.labels.runner_name,
                "limit": row.limit,
                "running": running.get(row.labels.values, 0),
                "silence": round(silence.get(row.labels, 0.0), 1),
            }
            for row in board.runners
        ],
        "jobs": [_job(card, now) for card in board.jobs],
        "recent": [_job(card, now) for card in reversed(board.recent)],
    }


def _job(card: JobCard, now: float) -> dict[str, Any]:
    return {
        "id": card.id,
        "name": card.name,
        "project": card.project,
        "url": card.url,
        "runner": card.labels.runner_name,
        "state": card.state,
        "reason": card.reason,
        "stage": card.stage,
        "place": card.place,
        "began": round(now - card.began_at, 3),
        "duration": round(card.duration, 3),
        "phases": [
            {
                "name": phase.name,
                "began": round(now - phase.began_at, 3),
                "seconds": round((now if phase.ended_at is None else phase.ended_at) - phase.began_at, 3),
                "over": phase.ended_at is not None,
            }
            for phase in card.phases
        ],
    }


def job_list(board: StatusBoard) -> str:
    """Write the running jobs as the original's `/debug/jobs/list` does, one a line."""
    return "".join(
        f"url={card.url} state={card.state} stage={card.stage} executor_stage={card.executor_stage}"
        f" duration={format_duration(card.duration)}\n"
        for card in board.jobs
    )
