"""What the loader tells, as a check tells it: with the way out, and as an error where jobs would fail.

The loader lets a value pass that jobs may never meet, with a warning. Whoever checks a file asks whether it is good.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from runner.config.checks.homes import home_of
from runner.config.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Told:
    """A kind of finding of the loader's."""

    about: str
    """One sentence on what it is about."""
    remedy: str = ""
    """What would be right, unless the finding itself says it."""
    severity: Severity | None = None
    """What a check holds it for; None: what the loader says."""
    says_remedy: bool = False
    """Whether the loader's sentence goes on with the way out, behind a semicolon."""


TOLD_BY_LOADER: Final[Mapping[str, Told]] = MappingProxyType(
    {
        "toml-syntax": Told("The text is no TOML.", "correct the line, or the one before it", "error"),
        "invalid-value": Told("A value has a wrong type or form, or a key is missing.", severity="error"),
        "too-many-labels": Told("A runner has more labels than GitLab takes.", "take some away", "error"),
        "former-key": Told("A key has another name today.", says_remedy=True),
        "unknown-key": Told(
            "A key is unknown.", "look it up in docs/configuration.md, or take it away", says_remedy=True
        ),
        "key-set-twice": Told("A key is given twice, under two names.", "take one of the two away"),
        "key-not-acted-on": Told(
            "A key is known, and this version does not act on it.", "take it away, or do without what it asks for"
        ),
        "other-executor": Told(
            "A runner is for an executor that is not here.",
            'write executor = "kubernetes", or leave it to its own service',
        ),
        "no-runner-left": Told("No runner of the file is for this service.", 'add one with executor = "kubernetes"'),
        "table-of-another-executor": Told(
            "A table is of an executor that is not here.", "take it away, or leave the runner to its own service"
        ),
        "blank-token": Told("A runner has no token.", "set the variable that it names, or write the token", "error"),
        "url-without-scheme": Told("A URL has no scheme.", "write the URL with https://"),
        "url-of-former-times": Told("A URL ends in /ci.", "write the URL without /ci"),
        "unknown-feature-flag": Told(
            "A feature flag is unknown.", "take it away, or correct its name", says_remedy=True
        ),
        "shell-unknown": Told("A shell is none that jobs can run in.", 'write "bash", "sh" or "pwsh"', "error"),
        "log-level-unknown": Told("A level of the log is none.", 'write "info", or another of these'),
        "log-format-unknown": Told("A format of the log is none.", 'write "runner", or another of these'),
        "entry-not-variable": Told("An entry of an environment is no variable.", "write it as KEY=value"),
        "guard-not-re2": Told(
            "A guard is no regular expression in RE2's syntax.",
            "correct it; RE2 has neither look-around nor back-references",
            "error",
        ),
        "guard-no-amount": Told("A guard of an amount is no quantity.", "write an amount", "error"),
        "dns-policy": Told("A DNS policy is none.", "take one of these"),
        "mount-propagation": Told("A mount propagation is none.", "take one of these", "error"),
        "empty-dir": Told("The size of an empty_dir is no quantity.", "write an amount such as 1Gi"),
        "proc-mount": Told("A proc_mount is none.", 'write "Default", or take it away'),
        "profile-not-sent": Told("A seccomp or AppArmor profile is not sent.", "correct it, or take it away", "error"),
        "allowed-ids": Told(
            "An entry of allowed_users or allowed_groups is no number.", 'write the number, such as "1000"'
        ),
        "patch-type": Told("A patch is of a type that is none.", 'write "strategic", "merge" or "json"', "error"),
        "patch-source": Told("A patch has two texts.", severity="error", says_remedy=True),
    }
)
"""Every kind of finding that the loader has."""

_OTHER = Told("")
_MISSING = "The key is missing"


def completed(finding: Finding) -> Finding:
    """A finding of the loader's with the way out and a check's severity."""
    told = TOLD_BY_LOADER.get(finding.rule, _OTHER)
    message, _, remedy = finding.message.partition("; ") if told.says_remedy else (finding.message, "", "")
    if finding.rule == "unknown-key" and not remedy and (home := home_of(finding.path.rpartition(".")[2])):
        remedy = f"it is a key of {home}: move it there"
    if finding.rule == "invalid-value" and message == _MISSING:
        remedy = "add it"
    return replace(
        finding,
        severity=told.severity or finding.severity,
        message=message,
        remedy=finding.remedy or remedy or told.remedy,
    )
