"""The repository's files as the ground sees them: callables that the caller gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


def _none() -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Files:
    """How to get at the repository. All paths are relative to its root, with `/` between their parts."""

    read: Callable[[str], str | None]
    """The text of a file, None when there is none. Raises PipelineError for one that cannot be read."""
    names: Callable[[], Iterable[str]] = _none
    """The files that `read` knows, for `include:local` with wildcards."""
    committed: Callable[[], Iterable[str]] = _none
    """The files that jobs see, for `rules:exists`."""
