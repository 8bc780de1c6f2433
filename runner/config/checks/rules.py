"""What a rule is, and what rules look at."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from runner.config.findings import Severity
from runner.config.model import Config
from runner.config.positions import Path

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a rule found."""

    path: Path
    """Fields of the models, from what the rule looks at downwards."""
    message: str
    """What is wrong, and what comes of it."""
    remedy: str
    """What would be right."""


Look = Callable[[T], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """A named look at a configuration, a runner or a runner's `[runners.kubernetes]`."""

    id: str
    """Lower case with hyphens; stays as it is, because people's pipelines name it."""
    severity: Severity
    look: Look[T]

    @property
    def about(self) -> str:
        """One sentence on what the rule looks for."""
        return " ".join((self.look.__doc__ or "").split())


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What there is to know beside the text; with nothing given, the rules that ask for it are silent."""

    mode: int | None = None
    """Permission bits of the configuration's file."""
    read_text: Callable[[str], str] | None = None
    """Gives the text of a file that the configuration names; raises OSError or ValueError."""
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """A configuration with its text's tables and its surroundings."""

    config: Config
    document: Mapping[str, Any]
    spelled: Callable[[Path], Path]
    surroundings: Surroundings = field(default_factory=Surroundings)

    def written(self, path: Path) -> object:
        """The value at a path of fields as the file has it; None where it has none."""
        value: Any = self.document
        try:
            for part in self.spelled(path):
                value = value[part]
        except (LookupError, TypeError):
            return None
        return value


_LONGEST = 60


def quoted(text: str) -> str:
    """A text in quotes, without the credentials of a URL, and not longer than a line bears."""
    text = re.sub(r"//[^/@]*@", "//...@", text)
    return json.dumps(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...", ensure_ascii=False)


def has_variable(text: str) -> bool:
    """Whether a job's variables have a part in a text, so that nothing can be said of it before there is a job."""
    return "$" in text
