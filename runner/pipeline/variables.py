"""Variables of a pipeline's file: read, laid over each other, and expanded as GitLab does before a runner sees them.

The order, later over earlier: GitLab's own, the file's global ones, those of `workflow:rules`, the job's, those of its
`parallel:matrix`, those of the rule that took it in, the command line's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from runner.pipeline.located import Part, Table
from runner.pipeline.model import LocalVariable

_REFERENCE = re.compile(r"\$\$|%%|\$([A-Za-z_]\w*)|\$\{([A-Za-z_]\w*)\}|%([A-Za-z_]\w*)%", re.ASCII)
_KEYS = {"value", "description", "options", "expand"}


def read_variables(part: Part | None) -> tuple[LocalVariable, ...]:
    """Read a `variables` mapping: texts, or mappings with `value`, `description`, `options` and `expand`."""
    if part is None:
        return ()
    table = part.table()
    entries = ((key, Part(table[key], table.place_of(key), part.owner, f"{part.keyword}:{key}")) for key in table)
    return tuple(_variable(key, entry) for key, entry in entries)


def _variable(key: str, entry: Part) -> LocalVariable:
    if not isinstance(entry.value, Table):
        return LocalVariable(key=key, value="" if entry.value is None else entry.text())
    unknown = sorted(set(entry.value) - _KEYS)
    if unknown:
        raise entry.error(f"takes {', '.join(sorted(_KEYS))}, not `{unknown[0]}`.")
    value, options, expand = entry.get("value"), entry.get("options"), entry.get("expand")
    text = value.text() if value else ""
    if options and text not in options.texts():
        raise entry.error(f"is {text!r}, which is none of its options: {', '.join(options.texts())}.")
    return LocalVariable(key=key, value=text, raw=expand is not None and not expand.flag())


def environment(
    predefined: Mapping[str, str], variables: Iterable[LocalVariable], extra: Mapping[str, str]
) -> dict[str, str]:
    """What rules see: the values as they are written, the last one of each name."""
    return {**predefined, **{each.key: each.value for each in variables}, **extra}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put variables into a text; unknown ones stay, and so does `$$`, which is the runner's to read."""
    return _REFERENCE.sub(lambda found: variables.get(_name(found), found[0]), text)


def expand_all(variables: Iterable[LocalVariable]) -> tuple[LocalVariable, ...]:
    """Put variables into each other, the last one of each name.

    Their order does not matter. References to raw, unknown and mutually dependent variables stay for the runner, and a
    raw one stays as it is.
    """
    chosen = {each.key: each for each in variables}
    expansion = _Expansion(chosen)
    return tuple(
        each if each.raw else LocalVariable(key=key, value=expansion.value(key)) for key, each in chosen.items()
    )


class _Expansion:
    """Depth first over references; what is being expanded already is left as a reference."""

    def __init__(self, variables: Mapping[str, LocalVariable]) -> None:
        self._variables = variables
        self._done: dict[str, str] = {}
        self._open: set[str] = set()
        self._size = 0

    def value(self, key: str) -> str:
        if key not in self._done:
            self._open.add(key)
            self._done[key] = _REFERENCE.sub(self._replaced, self._variables[key].value)
            self._open.discard(key)
        return self._done[key]

    def _replaced(self, found: re.Match[str]) -> str:
        name = _name(found)
        known = self._variables.get(name)
        if known is None or known.raw or name in self._open or len(self._open) > _MOST_NESTED:
            return found[0]
        value = self.value(name)
        self._size += len(value)
        return value if self._size <= _MOST_CHARACTERS else found[0]


_MOST_NESTED = 100
_MOST_CHARACTERS = 10_000_000
"""A file whose variables double each other must not eat the memory."""


def _name(found: re.Match[str]) -> str:
    return found[1] or found[2] or found[3] or ""
