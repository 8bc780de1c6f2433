"""Waits at GitLab that an operator does not accept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from runner.config.model import Config, RunnerConfig
from runner.config.unfollowed import Monitoring
from runner.job.payload import Job
from runner.status.board import StatusBoard
from runner.status.metrics import Metrics
from runner.status.queuing import in_period, waited_too_long
from runner.testing.payloads import job_payload

TUESDAY = datetime(2026, 11, 24, 9, 30, 15, tzinfo=UTC)
SUNDAY = datetime(2026, 11, 22, 3, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "tuesday", "sunday"),
    [
        ("* * * * * * *", True, True),
        ("* * * * *", True, True),
        ("* * 9-17 * * mon-fri *", True, False),
        ("* 9-17 * * mon-fri", True, False),
        ("* * * * * 7 *", False, True),
        ("* * * * * SUNDAY *", False, True),
        ("0 */30 * * * * *", False, True),
        ("15 30/10 9 * nov * 2026", True, False),
        ("* * * 22 * * *", False, True),
        ("* * * 22 * tue *", True, True),
        ("* * 1,2,3 * * * 2026-2030", False, True),
        ("* * * * 1-10 * *", False, False),
    ],
)
def test_in_period(period: str, tuesday: bool, sunday: bool) -> None:
    """Seconds, minutes, hours, days, months, days of the week, years; the first and the last may be left out."""
    assert (in_period(period, TUESDAY), in_period(period, SUNDAY)) == (tuesday, sunday)


@pytest.mark.parametrize("period", ["", "* *", "60 * * * * * *", "* * * * * someday *", "* * L * *", "a * * * *"])
def test_in_period_when_it_is_none(period: str) -> None:
    """What is not understood is an error, not a match."""
    with pytest.raises(ValueError, match=r"."):
        in_period(period, TUESDAY)


def monitoring(*entries: Mapping[str, object]) -> Monitoring:
    """The table of a runner."""
    return Monitoring.model_validate({"job_queuing_durations": entries})


OFFICE = {"periods": ["* * 9-17 * * mon-fri *"], "timezone": "UTC", "threshold": "1m"}
ALWAYS = {"periods": ["* * * * * * *"], "threshold": "5m"}


@pytest.mark.parametrize(
    ("table", "seconds", "running", "too_long"),
    [
        (monitoring(ALWAYS, OFFICE), 61, "0", True),
        (monitoring(ALWAYS, OFFICE), 60, "0", False),
        (monitoring(OFFICE, ALWAYS), 61, "0", False),
        (monitoring({**OFFICE, "timezone": "Asia/Tokyo"}), 61, "0", False),
        (monitoring({**OFFICE, "jobs_running_for_project": "^(0|[1-9])$"}), 61, "4", True),
        (monitoring({**OFFICE, "jobs_running_for_project": "^(0|[1-9])$"}), 61, "+Inf", False),
        (monitoring({**OFFICE, "jobs_running_for_project": "("}), 61, "0", False),
        (monitoring({**OFFICE, "threshold": 0}), 61, "0", False),
        (monitoring({**OFFICE, "periods": ["nonsense"]}), 61, "0", False),
        (monitoring({**ALWAYS, "timezone": "No/Where"}), 301, "0", True),
        (monitoring(), 1e9, "0", False),
    ],
)
def test_waited_too_long(table: Monitoring, seconds: float, running: str, too_long: bool) -> None:
    """The last entry whose period it is decides, in its own time zone and for the projects that it names."""
    assert waited_too_long(table, seconds=seconds, running=running, now=TUESDAY) is too_long


def test_jobs_that_waited_too_long_are_counted() -> None:
    """Once for each job, from 0."""
    metrics = Metrics()
    board = StatusBoard(meter=metrics)
    entry = {
        "name": "r",
        "url": "https://gitlab.example.com",
        "token": "glrt-Ab3dEfGh1JkLmNoPqRsT",
        "monitoring": {"job_queuing_durations": [ALWAYS]},
    }
    board.configured(Config.model_validate({"runners": [entry]}))
    labels = {"runner": "Ab3dEfGh1", "runner_name": "r", "system_id": ""}
    name = "gitlab_runner_acceptable_job_queuing_duration_exceeded_total"
    counted = [metrics.registry.get_sample_value(name, labels)]
    for seconds in (299, 301):
        payload = job_payload()
        payload["job_info"]["time_in_queue_seconds"] = seconds
        board.job(RunnerConfig.model_validate(entry), Job.parse(payload))
        counted.append(metrics.registry.get_sample_value(name, labels))
    assert counted == [0, 0, 1]
