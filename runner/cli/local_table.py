"""Tables on a terminal: the jobs of a pipeline, and how they ended.

rich is imported when a table is printed: the first line of a log must not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    rows = []
    for job in jobs:
        needs = "" if job.needs is None else ", ".join(job.needs) or "nothing"
        when = f"{job.when}, may fail" if job.allow_failure else job.when
        rows.append((job.name, job.stage, when, needs))
    print_table(("Job", "Stage", "When", "Needs"), rows, colour=colour)


def show_results(
    jobs: Iterable[LocalJob], states: Mapping[str, JobState], rows: Mapping[str, Row], *, colour: bool
) -> None:
    """Print how the jobs ended."""
    cells = []
    styles = []
    for job in jobs:
        state, row = states[job.name], rows.get(job.name, Row())
        word = _STATE_WORDS.get(state, str(state))
        took = duration(row.seconds) if row.tries else ""
        cells.append((job.name, job.stage, word, took, _reason(state, row)))
        styles.append(_STATE_STYLES.get(state, ""))
    print()
    print_table(("Job", "Stage", "Result", "Duration", "Reason"), cells, colour=colour, styles=styles)


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


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, colour: bool, styles: Sequence[str] = ()
) -> None:
    """Print a table; `styles` are those of the third column. What is piped is not cut to a terminal's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for index, row in enumerate(rows):
        style = styles[index] if styles else ""
        table.add_row(*(Text(cell, style=style if column == 2 else "") for column, cell in enumerate(row)))
    console = Console(highlight=False, force_terminal=colour, no_color=not colour)
    if not console.file.isatty():
        console.width = _WIDEST
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        # The last column is filled with blanks.
        console.file.write(f"{line.rstrip()}\n")


_WIDEST = 500
