"""What is wrong in a config.toml, told with file, line and key.

No text made here holds the value of a field that is marked secret.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell about a configuration.

    An `error` keeps it, or jobs, from working; with a `warning` it works, though perhaps not as its writer thought; a
    `note` is advice.
    """

    severity: Severity
    file: str
    line: int
    path: str
    """Keys and indexes as the file spells them, such as `runners.0.kubernetes.poll_timeout`; empty for the file."""
    message: str
    column: int = 0
    """Counted from 1; 0 where it is not known."""
    rule: str = ""
    """What kind of finding it is, such as `unknown-key`."""
    remedy: str = ""
    """What would be right, where the message does not say it already."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        if self.path:
            return f"{place}: {self.path}: {self.message}"
        return f"{place}:{self.column}: {self.message}" if self.column else f"{place}: {self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used; `findings` holds all there is to tell, warnings too."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings if finding.severity == "error"))
