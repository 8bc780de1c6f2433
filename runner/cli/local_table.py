"""The tables of `runner local`: the jobs of a pipeline, and how they ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.pipeline.model import LocalJob
from runner.pipeline.order import JobState

_STATE_STYLES = {
    JobState.SUCCESS: "green",
    JobState.FAILED: "bold red",
    JobState.WARNING: "yellow",
    JobState.CANCELED: "yellow",
    JobState.SKIPPED: "bright_black",
    JobState.MANUAL: "bright_black",
}
_STATE_WORDS = {JobState.WARNING: "failed (allowed)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of a job's run."""

    seconds: float = 0.0
    """Of its last try."""
    tries: int = 0
    reason: str = ""


def show_jobs(jobs: Iterable[LocalJob], *, colour: bool) -> None:
    """Print the jobs of a pipeline."""
    table = _table("Job", "Stage", "When", "Needs")
    for job in jobs:
        needs = "" if job.needs is None else ", ".join(job.needs) or "nothing"
        when = f"{job.when}, may fail" if job.allow_failure else job.when
        table.add_row(Text(job.name), Text(job.stage), when, Text(needs))
    _print(table, colour=colour)


def show_results(
    jobs: Iterable[LocalJob], states: Mapping[str, JobState], rows: Mapping[str, Row], *, colour: bool
) -> None:
    """Print how the jobs ended."""
    table = _table("Job", "Stage", "Result", "Duration", "Reason")
    for job in jobs:
        state, row = states[job.name], rows.get(job.name, Row())
        table.add_row(
            Text(job.name),
            Text(job.stage),
            Text(_STATE_WORDS.get(state, state), style=_STATE_STYLES.get(state, "")),
            duration(row.seconds) if row.tries else "",
            Text(_reason(state, row)),
        )
    print()
    _print(table, colour=colour)


def _reason(state: JobState, row: Row) -> str:
    if state is JobState.MANUAL:
        return row.reason or "name it to run it"
    if state is JobState.SUCCESS:
        return "" if row.tries < 2 else f"at try {row.tries}"
    return f"{row.reason} (after {row.tries} tries)" if row.tries > 1 else row.reason


def duration(seconds: float) -> str:
    """Write a duration as people read it: `0.8 s`, `12 s`, `3 min 20 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)


def _print(table: Table, *, colour: bool) -> None:
    """Print a table without the blanks that fill its last column; what is piped is not cut to a terminal's width."""
    console = Console(highlight=False, force_terminal=colour, no_color=not colour)
    if not console.file.isatty():
        console.width = _WIDEST
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.file.write(f"{line.rstrip()}\n")


_WIDEST = 500
