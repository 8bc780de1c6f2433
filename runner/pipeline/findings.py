"""What there is to say about a pipeline's files: where, and in one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class PipelineWarning:
    """Something that is not understood or not done here."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class PipelineError(ValueError):
    """A pipeline that cannot be run; each message is a sentence with file and line."""

    def __init__(self, messages: Iterable[str]) -> None:
        self.messages = tuple(messages)
        super().__init__("\n".join(self.messages))

    @classmethod
    def at(cls, place: Place, message: str) -> PipelineError:
        """Make the error for one place."""
        return cls([f"{place}: {message}"])


class Warnings:
    """Collects warnings in the order of their finding, each once: copies of a job share their lines."""

    def __init__(self) -> None:
        self._found: dict[PipelineWarning, None] = {}

    def add(self, place: Place, message: str) -> None:
        """Note a warning."""
        self._found[PipelineWarning(place, message)] = None

    def all(self) -> tuple[PipelineWarning, ...]:
        """Give what was found."""
        return tuple(self._found)
