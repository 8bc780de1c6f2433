"""What is wrong in a config.toml, told with file, line and key.

No text made here holds the value of a field that is marked secret.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell about a configuration.

    An `error` keeps it from being used; with a `warning` it works, though perhaps not as its writer thought.
    """

    severity: Literal["error", "warning"]
    file: str
    line: int
    path: str
    """Keys and indexes as the file spells them, such as `runners.0.kubernetes.poll_timeout`; empty for the file."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: "
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used; `findings` holds all there is to tell, warnings too."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings if finding.severity == "error"))
