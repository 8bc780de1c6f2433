"""Which keywords a job may have, and what is said of those that do nothing here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from runner.pipeline.findings import Warnings
from runner.pipeline.located import Part, Table
from runner.pipeline.needs import nearest

READ = {
    "script", "before_script", "after_script", "stage", "image", "services", "variables", "rules", "only", "except",
    "needs", "dependencies", "when", "start_in", "allow_failure", "parallel", "retry", "timeout", "inherit", "hooks",
    "environment", "resource_group", "artifacts", "cache", "run", "trigger",
}  # fmt: skip
"""Keywords of a job that do something."""

SILENT = {"tags", "interruptible", "coverage", "manual_confirmation", "dast_configuration"}
"""Keywords that a single machine has no use for."""

ELSEWHERE = {
    "secrets": "fetches from a vault, which is not done here: its variables are not set",
    "id_tokens": "needs GitLab to sign them: its variables are not set",
    "identity": "needs GitLab and is left out",
    "release": "needs GitLab: no release is made",
    "pages": "needs GitLab: nothing is published",
    "publish": "needs GitLab: nothing is published",
    "inputs": "needs GitLab and is left out",
}
"""Keywords that only GitLab can carry out."""

DEFAULTS = (
    "image", "services", "before_script", "after_script", "cache", "artifacts", "retry", "timeout", "tags",
    "interruptible", "hooks", "id_tokens", "identity",
)  # fmt: skip
"""What `default` may hold."""

FORMER_DEFAULTS = ("image", "services", "before_script", "after_script", "cache")
"""What may still stand at the top of the file."""

GLOBAL = {"default", "include", "stages", "variables", "workflow", "spec", *FORMER_DEFAULTS}
"""Names at the top of the file that are no jobs."""


def check_keywords(job: Part, warnings: Warnings) -> None:
    """Warn of the keywords of a job that are not understood or not carried out."""
    table: Table = job.table()
    for key, value in table.items():
        if value is None or key in READ or key in SILENT:
            continue
        known = ELSEWHERE.get(key) or f"is not understood and left out{nearest(key, READ | SILENT)}"
        warnings.add(table.place_of(key), f"`{key}` of `{job.owner}` {known}")


def misspelled(keyword: str, keys: Iterable[str]) -> str:
    """Give the key that was probably meant for a keyword which is missing, as the end of a sentence."""
    unknown = [key for key in keys if key not in READ | SILENT | ELSEWHERE.keys()]
    close = difflib.get_close_matches(keyword, unknown, n=1)
    return f"; `{close[0]}` is no keyword" if close else ""


def check_defaults(table: Table, warnings: Warnings) -> None:
    """Warn of what `default` cannot hold."""
    for key in table:
        if key not in DEFAULTS:
            warnings.add(table.place_of(key), f"`default:{key}` is not understood and left out{nearest(key, DEFAULTS)}")
