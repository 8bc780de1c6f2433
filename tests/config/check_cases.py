"""Cases for the rules of a configuration's check: one text in which a rule speaks, one in which it is silent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from runner.config.checks.check import check_config
from runner.config.checks.rules import Surroundings
from runner.config.findings import Finding

TOKEN = "glrt-s3cretS3cretS3cret"
GLOBAL = {"concurrent": "10"}
RUNNER = {
    "name": '"blue"',
    "url": '"https://gitlab.example.com"',
    "token": f'"{TOKEN}"',
    "executor": '"kubernetes"',
}
KUBERNETES = {"namespace": '"ci"', "image": '"alpine:3"', "memory_limit": '"1Gi"'}


@dataclass(frozen=True)
class Case:
    """A rule, what it says of one text, and a text of which it says nothing."""

    rule: str
    fires: str
    said: tuple[str, ...]
    """Each finding of the rule: severity, path without `runners.0`, message."""
    silent: str
    surroundings: Surroundings = field(default_factory=Surroundings)
    quiet_surroundings: Surroundings | None = None
    """Of the silent text, where they differ."""

    def __str__(self) -> str:
        return self.rule


def runner(keys: str = "", kubernetes: str = "", *, top: str = "") -> str:
    """A configuration without findings, and keys that come to it or replace its own."""
    return "\n".join(
        [
            *_table(GLOBAL, top),
            "[[runners]]",
            *_table(RUNNER, keys),
            "[runners.kubernetes]",
            *_table(KUBERNETES, kubernetes),
            "",
        ]
    )


def kubernetes(keys: str) -> str:
    """A configuration without findings, and keys that come to its `[runners.kubernetes]` or replace them."""
    return runner(kubernetes=keys)


def top(keys: str) -> str:
    """A configuration without findings, and global keys that come to it or replace its own."""
    return runner(top=keys)


def _table(own: dict[str, str], more: str) -> list[str]:
    keys = set(re.findall(r"^\s*([\w-]+)\s*=", more, re.MULTILINE))
    return [*(f"{key} = {value}" for key, value in own.items() if key not in keys), *more.strip().splitlines()]


def told(text: str, rule: str, surroundings: Surroundings) -> list[Finding]:
    """What one rule says of a text."""
    return [found for found in check_config(text, surroundings=surroundings) if found.rule == rule]


def line(found: Finding) -> str:
    """A finding as the tables have it."""
    return f"{found.severity} {found.path.removeprefix('runners.0.')}: {found.message}"


def check(case: Case) -> None:
    """Assert that the rule says what the case expects, and nothing of the other text."""
    found = told(case.fires, case.rule, case.surroundings)
    assert tuple(map(line, found)) == case.said
    assert all(each.remedy for each in found if each.rule != "invalid-value")
    assert told(case.silent, case.rule, case.quiet_surroundings or case.surroundings) == []
