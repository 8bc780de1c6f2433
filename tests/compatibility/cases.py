"""What a row of a table is: a file, a job, and what is to be seen of them in the pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.manifests import RUNNER, Made, made


@dataclass(frozen=True)
class Case:
    """One row."""

    toml: str = ""
    """Lines of `[runners.kubernetes]`; tables in them have their whole names."""
    runner: str = ""
    """Lines of `[[runners]]`."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of `tests.manifests.made`."""
    pod: Mapping[str, Any] = field(default_factory=dict)
    """Places in the pod, with their values."""
    notes: tuple[str, ...] = ()
    """Words that the job's log has; each stands in a line."""
    error: str = ""
    """Words of the sentence that ends the job."""

    @property
    def text(self) -> str:
        """The whole file."""
        return f"{RUNNER}{self.runner}\n  [runners.kubernetes]\n{self.toml}\n"

    def made(self) -> Made:
        """What the job becomes."""
        return made(self.text, **self.job)


def seen(case: Case, result: Made) -> dict[str, Any]:
    """The places that a row names, as the pod has them."""
    return {place: result.at(place) for place in case.pod}


def unheard(case: Case, result: Made) -> list[str]:
    """The words of a row that no line of the log has."""
    return [words for words in case.notes if not any(words in note for note in result.notes)]
