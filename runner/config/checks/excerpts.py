"""The line of a configuration that a finding is about, as it may be shown to anyone.

A file holds secrets, and a finding often stands beside one. So a line is shown up to the value at most, unless the
model knows each key in it, holds none of the values for a secret, and no word of a key announces one. Comments are
never shown, nor what is left of a text that began on another line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from runner.config.base import Table
from runner.config.keys import is_secret, nested_table, toml_key
from runner.config.model import Config
from runner.config.positions import Path, Place

_NEVER: Final = frozenset(
    {"patch", "pod_annotations", "volume_attributes", "http_headers", "command", "entrypoint", "environment"}
)
_SECRET_WORD = re.compile(r"token|secret|passw|credential|key$|script$", re.IGNORECASE)
_NO_SECRET_WORD = re.compile(r"image_pull_secrets|overwrite|[-_](file|at)$", re.IGNORECASE)
_HEADER = re.compile(r"\s*\[\[?[^\[\]=]+\]\]?\s*(#.*)?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*'|.")
_PIECE = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|[^"\'#]+|.')
_LONGEST: Final = 160


@dataclass(frozen=True, slots=True)
class Excerpt:
    """One line, and what in it is meant."""

    text: str
    start: int
    """Offset of what is meant."""
    length: int


def excerpt(text: str, places: Mapping[Path, Place], place: Place) -> Excerpt | None:
    """The line at a place as it may be shown; None for one that may not.

    `places` are those of the whole text.
    """
    lines = text.split("\n")
    if not 0 < place.line <= len(lines):
        return None
    line = lines[place.line - 1].rstrip("\r")
    here = {path: where.column for path, where in places.items() if where.line == place.line and path}
    first, start = min(here.values(), default=0), place.column - 1
    named = any(isinstance(path[-1], str) for path in here)
    if not (named and _HEADER.fullmatch(line)):
        if not first or line[: first - 1].strip():
            return None
        if not all(map(_may_be_shown, here)):
            if not named:
                return None  # an element alone has no key to show
            key = line.partition("=")[0].rstrip()
            line, start = f"{key} = ...", start if start < len(key) else first - 1
    shown = _without_comment(line).replace("\t", " ")[:_LONGEST]
    meant = _TOKEN.match(shown, start)
    return Excerpt(re.sub(r"//[^/@\s]*@", "//...@", shown), start, len(meant[0])) if meant else None


def _may_be_shown(path: Path) -> bool:
    """Whether the value at a path, spelled as in a file, is known to be no secret."""
    model: type[Table] = Config
    for part in path:
        if isinstance(part, int):
            continue
        name = _names(model).get(part.casefold(), "")
        if not name or name in _NEVER or is_secret(model.model_fields[name]):
            return False
        nested = nested_table(model.model_fields[name])
        if nested is None:
            return _SECRET_WORD.search(name) is None or _NO_SECRET_WORD.search(name) is not None
        model = nested
    return True


@cache
def _names(model: type[Table]) -> Mapping[str, str]:
    """Every key of a table in lower case, former ones too, with its field."""
    names = {name.casefold(): name for name in model.model_fields}
    names |= {toml_key(name, field).casefold(): name for name, field in model.model_fields.items()}
    return {**{key.casefold(): former.fields[0] for key, former in model.FORMER_KEYS.items()}, **names}


def _without_comment(line: str) -> str:
    """The line up to its comment, or to a text that goes on behind its end."""
    kept = ""
    for piece in _PIECE.findall(line):
        if piece == "#":
            break
        kept += piece
        if piece in ('"""', "'''"):
            return f"{kept}..."
    return kept.rstrip()
