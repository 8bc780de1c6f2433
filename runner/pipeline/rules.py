"""The expressions of `rules:if` and `workflow:rules`: GitLab's small language over variables.

`$NAME`, "text", 'text', `null`, `/pattern/flags`, `== != =~ !~`, `&& ||` and parentheses; `&&` binds closer than `||`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<op>==|!=|=~|!~|&&|\|\||\(|\))
     |\$(?P<var>[A-Za-z_][A-Za-z0-9_]*)|\$\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}
     |"(?P<double>[^"]*)"|'(?P<single>[^']*)'
     |/(?P<pattern>(?:\\.|[^/\\])+)/(?P<flags>[ismU]*)
     |(?P<null>null)\b
    )""",
    re.VERBOSE,
)


class ExpressionError(ValueError):
    """An expression that cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str
    flags: str


_Value = str | None | _Pattern


def evaluate(expression: str, variables: Mapping[str, str]) -> bool:
    """Say whether an expression holds. Raises ExpressionError."""
    return _Evaluation(expression, variables).result()


class _Evaluation:
    """One pass of recursive descent; both sides are always read, so that a mistake is found whatever the variables."""

    def __init__(self, expression: str, variables: Mapping[str, str]) -> None:
        self._text = expression
        self._variables = variables
        self._at = 0

    def result(self) -> bool:
        value = self._either()
        if self._text[self._at :].strip():
            raise self._wrong()
        return value

    def _either(self) -> bool:
        value = self._both()
        while self._takes("||"):
            right = self._both()
            value = value or right
        return value

    def _both(self) -> bool:
        value = self._comparison()
        while self._takes("&&"):
            right = self._comparison()
            value = value and right
        return value

    def _comparison(self) -> bool:
        if self._takes("("):
            value = self._either()
            if not self._takes(")"):
                raise self._wrong()
            return value
        left = self._operand()
        for operator in ("==", "!=", "=~", "!~"):
            if self._takes(operator):
                return _compare(left, operator, self._operand())
        return bool(left)

    def _operand(self) -> _Value:
        match = _TOKEN.match(self._text, self._at)
        if not match or match["op"]:
            raise self._wrong()
        self._at = match.end()
        if match["pattern"] is not None:
            return _Pattern(match["pattern"], match["flags"])
        name = match["var"] or match["braced"]
        if name:
            return self._variables.get(name)
        if match["null"]:
            return None
        return match["double"] if match["double"] is not None else match["single"]

    def _takes(self, operator: str) -> bool:
        match = _TOKEN.match(self._text, self._at)
        if not match or match["op"] != operator:
            return False
        self._at = match.end()
        return True

    def _wrong(self) -> ExpressionError:
        rest = self._text[self._at :].strip() or "its end"
        return ExpressionError(f"the expression {self._text!r} cannot be read at {rest!r}")


def _compare(left: _Value, operator: str, right: _Value) -> bool:
    if operator in ("==", "!="):
        return (left == right) is (operator == "==")
    pattern = right if isinstance(right, _Pattern) else _pattern_in(right)
    found = bool(pattern and isinstance(left, str) and _matches(pattern, left))
    return found is (operator == "=~")


def _pattern_in(value: _Value) -> _Pattern | None:
    """A variable may hold a pattern, written with its slashes."""
    match = _TOKEN.fullmatch(value) if isinstance(value, str) else None
    return _Pattern(match["pattern"], match["flags"]) if match and match["pattern"] else None


def _matches(pattern: _Pattern, text: str) -> bool:
    flags = {"i": re.IGNORECASE, "s": re.DOTALL, "m": re.MULTILINE}
    chosen = re.RegexFlag(0)
    for flag in pattern.flags:
        chosen |= flags.get(flag, re.RegexFlag(0))
    try:
        return re.search(pattern.text.replace(r"\/", "/").replace(r"\z", r"\Z"), text, chosen) is not None
    except re.error as error:
        raise ExpressionError(f"the pattern /{pattern.text}/ cannot be read: {error}") from None
