"""The table of metrics of docs/monitoring.md: `python -m runner.status.reference` writes it."""

from __future__ import annotations

from collections.abc import Iterable

from runner.status.families import NOT_HERE, ORIGINAL, OWN, Family


def metrics_page() -> str:
    """Write the chapters of docs/monitoring.md that name every metric."""
    return "\n".join(
        (
            "## Metrics with the original's names",
            "",
            *_table(ORIGINAL),
            "",
            "Of the original's these are missing:",
            "",
            "| metric | why |",
            "|---|---|",
            *(f"| `{name}` | {reason} |" for name, reason in NOT_HERE),
            "",
            "## Metrics of this project",
            "",
            *_table(OWN),
            "",
            "`process_*` and `python_*` are those of prometheus-client.",
            "",
        )
    )


def _table(families: Iterable[Family]) -> Iterable[str]:
    yield "| metric | type | labels | what it tells |"
    yield "|---|---|---|---|"
    for family in families:
        labels = " ".join(f"`{label}`" for label in family.labels)
        buckets = f" Buckets: {', '.join(f'{bound:g}' for bound in family.buckets)}." if family.buckets else ""
        yield f"| `{family.name}` | {family.type} | {labels} | {family.help}{buckets} |"


if __name__ == "__main__":
    print(metrics_page(), end="")
