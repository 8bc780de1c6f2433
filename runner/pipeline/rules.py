"""Lists of rules, of jobs, of `workflow` and of `include`: the first one that holds decides.

`if` and `exists` are evaluated. What changed since an earlier pipeline is not known here, so `changes` is taken as
true, as GitLab takes it for a new branch; a warning says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.pipeline.expressions import ExpressionError, evaluate
from runner.pipeline.files import Files
from runner.pipeline.findings import Warnings
from runner.pipeline.globs import is_glob, matches
from runner.pipeline.located import Part, Table, kind
from runner.pipeline.variables import expand

WHENS = ("on_success", "on_failure", "always", "manual", "delayed", "never")

_KEYS = {
    "if", "changes", "exists", "when", "start_in", "allow_failure", "variables", "needs", "interruptible",
    "auto_cancel",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that holds."""

    part: Part
    when: str | None
    """One of `WHENS`; None when the rule does not say."""

    def get(self, key: str) -> Part | None:
        """What the rule says of a keyword."""
        return self.part.get(key)


class Rules:
    """One list of rules."""

    def __init__(self, part: Part, files: Files, warnings: Warnings) -> None:
        self._part = part
        self._files = files
        self._warnings = warnings

    def first(self, variables: Mapping[str, str]) -> Rule | None:
        """The first rule that holds. All that stand before it are read, so a mistake in one of them is an error."""
        if not isinstance(self._part.value, list):
            raise self._part.error(f"has to be a list, not {kind(self._part.value)}.")
        for rule in self._part.items():
            when = read_when(rule.get("when"))
            self._check_keys(rule)
            if self._holds(rule, variables):
                return Rule(rule, when)
        return None

    def _check_keys(self, rule: Part) -> None:
        for key in rule.table():
            if key not in _KEYS:
                self._warnings.add(rule.table().place_of(key), f"`{rule.keyword}:{key}` is not understood and left out")

    def _holds(self, rule: Part, variables: Mapping[str, str]) -> bool:
        condition = rule.get("if")
        if condition and not holds(condition, variables):
            return False
        exists = rule.get("exists")
        if exists and not self._exists(exists, variables):
            return False
        changes = rule.get("changes")
        if changes:
            self._warnings.add(changes.place, f"`{changes.keyword}` is taken as true: what changed is not known here")
        return True

    def _exists(self, exists: Part, variables: Mapping[str, str]) -> bool:
        paths: Part | None = exists
        if isinstance(exists.value, Table):
            if exists.get("project"):
                self._warnings.add(exists.place, f"`{exists.keyword}:project` is taken as true: it needs GitLab")
                return True
            paths = exists.get("paths")
        if paths is None:
            return False
        known = frozenset(self._files.committed())
        globs = [expand(text, variables).removeprefix("./") for text in paths.texts()]
        return any(glob in known if not is_glob(glob) else any(matches(glob, path) for path in known) for glob in globs)


def holds(condition: Part, variables: Mapping[str, str]) -> bool:
    """Evaluate an expression."""
    try:
        return evaluate(condition.word(), variables)
    except ExpressionError as error:
        raise condition.error(f"cannot be evaluated: {error}.") from None


def read_when(part: Part | None) -> str | None:
    """Read a `when`."""
    if part is None:
        return None
    if part.value not in WHENS:
        raise part.error(f"is `{part.text()}`, which is none of {', '.join(WHENS)}.")
    return str(part.value)
