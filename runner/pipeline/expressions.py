"""The expressions of `rules:if`, `workflow:rules` and `only:variables`: GitLab's small language over variables.

`$NAME`, "text", 'text', `null`, `/pattern/flags`, `== != =~ !~`, `&& ||` and parentheses; `&&` binds closer than `||`.
What GitLab does not read, such as `${NAME}` and `!`, is not read here either.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<op>==|!=|=~|!~|&&|\|\||\(|\))
     |\$(?P<var>\w+)
     |"(?P<double>[^"]*)"|'(?P<single>[^']*)'
     |/(?P<pattern>(?:\\.|[^/\\])+)/(?P<flags>[ismU]*)
     |(?P<null>null)\b
    )""",
    re.VERBOSE | re.DOTALL,
)
_POSIX = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "xdigit": "0-9a-fA-F",
    "word": r"\w",
    "punct": r"!-/:-@\[-`{-~",
}
_MOST_BRACKETS = 50


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
        self._level = 0

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
            self._level += 1
            if self._level > _MOST_BRACKETS:
                raise ExpressionError(f"the expression has more than {_MOST_BRACKETS} brackets inside each other")
            value = self._either()
            self._level -= 1
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
        if match["var"]:
            return self._variables.get(match["var"])
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
        rest = self._text[self._at :].strip()
        where = f"at `{rest}`" if rest else "at its end"
        quotes = "; texts stand in quotes" if rest[:1].isalnum() else ""
        return ExpressionError(f"the expression `{self._text.strip()}` cannot be read {where}{quotes}")


def _compare(left: _Value, operator: str, right: _Value) -> bool:
    if operator in ("==", "!="):
        return (left == right) is (operator == "==")
    pattern = right if isinstance(right, _Pattern) else _pattern_in(right)
    found = pattern is not None and matches_pattern(pattern.text, pattern.flags, left if isinstance(left, str) else "")
    return found is (operator == "=~")


def _pattern_in(value: str | None) -> _Pattern | None:
    """A variable may hold a pattern, written with its slashes."""
    match = _TOKEN.fullmatch(value) if value else None
    return _Pattern(match["pattern"], match["flags"]) if match and match["pattern"] else None


def matches_pattern(pattern: str, flags: str, text: str) -> bool:
    """Say whether a pattern between slashes is found in a text; flags are RE2's `i`, `s` and `m`.

    Raises ExpressionError.
    """
    chosen = re.RegexFlag(0)
    for flag in flags:
        chosen |= {"i": re.IGNORECASE, "s": re.DOTALL, "m": re.MULTILINE}.get(flag, re.RegexFlag(0))
    # RE2 knows these, Python writes them otherwise.
    python = pattern.replace(r"\/", "/").replace(r"\z", r"\Z").replace(r"\h", "[ \t]")
    python = re.sub(r"\[:(\w+):\]", lambda found: _POSIX.get(found[1], found[0]), python)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.search(python, text, chosen) is not None
    except (re.error, OverflowError, RecursionError) as error:
        raise ExpressionError(f"the pattern /{pattern}/ cannot be read: {error}") from None
