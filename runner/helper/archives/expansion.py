"""Shell parameters in `paths:` and `exclude:`, expanded as inside double quotes.

Law: pure, and nothing is run: a text with a command substitution, or with what is not understood, raises
ExpansionError, and the caller leaves it as it is.
"""

import re
from collections.abc import Callable, Mapping

from runner.helper.archives.globs import part_regex_text

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]")
_PARAMETER = re.compile(r"(#?)([A-Za-z_][A-Za-z0-9_]*|[0-9])(.*)", re.DOTALL)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
_OPERATOR = re.compile(r"<<|>>|<=|>=|==|!=|&&|\|\||\*\*|[-+*/%<>&|^~!()]")


class ExpansionError(ValueError):
    """A text that cannot be expanded without a shell."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Expand `$NAME`, `${NAME...}` and `$((...))`. Raises ExpansionError."""
    result, position = [], 0
    while position < len(text):
        character = text[position]
        if character == "`":
            raise ExpansionError("command substitution is not supported")
        if character == "\\" and text[position + 1 : position + 2] in ("$", "`", '"', "\\"):
            result.append(text[position + 1])
            position += 2
        elif character == "$":
            value, position = _dollar(text, position + 1, environ)
            result.append(value)
        else:
            result.append(character)
            position += 1
    return "".join(result)


def _dollar(text: str, position: int, environ: Mapping[str, str]) -> tuple[str, int]:
    if text.startswith("((", position):
        end = _closing(text, position, "(", ")")
        return str(_Arithmetic(text[position + 2 : end - 1], environ).value()), end + 1
    if text.startswith("(", position):
        raise ExpansionError("command substitution is not supported")
    if text.startswith("{", position):
        end = _closing(text, position, "{", "}")
        return _braced(text[position + 1 : end], environ), end + 1
    name = _NAME.match(text, position)
    if name is None:
        return "$", position
    return environ.get(name[0], ""), name.end()


def _closing(text: str, position: int, opening: str, closing: str) -> int:
    depth = 0
    for index in range(position, len(text)):
        if text[index] == opening:
            depth += 1
        elif text[index] == closing:
            depth -= 1
            if not depth:
                return index
    raise ExpansionError(f"{closing} is missing")


def _braced(body: str, environ: Mapping[str, str]) -> str:
    found = _PARAMETER.fullmatch(body)
    if found is None:
        raise ExpansionError(f"${{{body}}} is not supported")
    count, name, operation = found.groups()
    value = environ.get(name)
    if count:
        if operation:
            raise ExpansionError(f"${{{body}}} is not supported")
        return str(len(value or ""))
    for prefix, apply in _OPERATIONS:
        if operation.startswith(prefix):
            return apply(value, operation[len(prefix) :], environ)
    raise ExpansionError(f"${{{body}}} is not supported")


Operation = Callable[[str | None, str, Mapping[str, str]], str]


def _default(value: str | None, word: str, environ: Mapping[str, str]) -> str:
    return value or expand(word, environ)


def _default_if_unset(value: str | None, word: str, environ: Mapping[str, str]) -> str:
    return expand(word, environ) if value is None else value


def _alternative(value: str | None, word: str, environ: Mapping[str, str]) -> str:
    return expand(word, environ) if value else ""


def _alternative_if_set(value: str | None, word: str, environ: Mapping[str, str]) -> str:
    return "" if value is None else expand(word, environ)


def _required(value: str | None, word: str, environ: Mapping[str, str]) -> str:
    if not value:
        raise ExpansionError(expand(word, environ) or "parameter not set")
    return value


def _substring(value: str | None, word: str, environ: Mapping[str, str]) -> str:
    text, (start, _, length) = value or "", word.partition(":")
    first = _Arithmetic(start, environ).value()
    first = max(0, len(text) + first) if first < 0 else first
    if not length:
        return text[first:]
    span = _Arithmetic(length, environ).value()
    return text[first : len(text) + span] if span < 0 else text[first : first + span]


def _without_prefix(value: str | None, word: str, environ: Mapping[str, str], *, longest: bool = False) -> str:
    text, regex = value or "", _pattern(word, environ)
    ends = range(len(text) + 1)
    return next((text[end:] for end in (reversed(ends) if longest else ends) if regex.fullmatch(text[:end])), text)


def _without_suffix(value: str | None, word: str, environ: Mapping[str, str], *, longest: bool = False) -> str:
    text, regex = value or "", _pattern(word, environ)
    starts = range(len(text) + 1)
    order = starts if longest else reversed(starts)
    return next((text[:start] for start in order if regex.fullmatch(text[start:])), text)


def _replaced(value: str | None, word: str, environ: Mapping[str, str], *, every: bool = False) -> str:
    pattern, _, new = word.partition("/")
    if not pattern:
        return value or ""
    replacement = expand(new, environ)
    return _pattern(pattern, environ).sub(lambda _: replacement, value or "", count=0 if every else 1)


def _pattern(word: str, environ: Mapping[str, str]) -> re.Pattern[str]:
    text = part_regex_text(expand(word, environ))
    if text is None:
        raise ExpansionError(f"{word} is no pattern")
    return re.compile(text.replace("[^/]", "."), re.DOTALL)


_OPERATIONS: tuple[tuple[str, Operation], ...] = (
    (":-", _default),
    (":=", _default),
    (":+", _alternative),
    (":?", _required),
    (":", _substring),
    ("-", _default_if_unset),
    ("=", _default_if_unset),
    ("+", _alternative_if_set),
    ("##", lambda value, word, environ: _without_prefix(value, word, environ, longest=True)),
    ("#", _without_prefix),
    ("%%", lambda value, word, environ: _without_suffix(value, word, environ, longest=True)),
    ("%", _without_suffix),
    ("//", lambda value, word, environ: _replaced(value, word, environ, every=True)),
    ("/", _replaced),
    ("", lambda value, word, environ: (value or "") if not word else _unknown(word)),
)


def _unknown(word: str) -> str:
    raise ExpansionError(f"{word} is not supported in a parameter")


_LEVELS: tuple[Mapping[str, Callable[[int, int], int]], ...] = (
    {"||": lambda a, b: int(bool(a) or bool(b))},
    {"&&": lambda a, b: int(bool(a) and bool(b))},
    {"|": lambda a, b: a | b},
    {"^": lambda a, b: a ^ b},
    {"&": lambda a, b: a & b},
    {"==": lambda a, b: int(a == b), "!=": lambda a, b: int(a != b)},
    {
        "<": lambda a, b: int(a < b),
        ">": lambda a, b: int(a > b),
        "<=": lambda a, b: int(a <= b),
        ">=": lambda a, b: int(a >= b),
    },
    {"<<": lambda a, b: a << min(b, 63), ">>": lambda a, b: a >> min(b, 63)},
    {"+": lambda a, b: a + b, "-": lambda a, b: a - b},
    {"*": lambda a, b: a * b, "/": lambda a, b: int(a / b), "%": lambda a, b: a - b * int(a / b)},
)


class _Arithmetic:
    """An expression with whole numbers, without assignments."""

    def __init__(self, text: str, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._tokens = self._split(text)
        self._next = 0

    def value(self) -> int:
        """Evaluate the whole. Raises ExpansionError."""
        if not self._tokens:
            return 0
        try:
            result = self._binary(0)
        except (ZeroDivisionError, ValueError, OverflowError) as error:
            raise ExpansionError(str(error)) from error
        if self._next < len(self._tokens):
            raise ExpansionError("the expression goes on")
        return result

    @staticmethod
    def _split(text: str) -> list[str]:
        tokens, position = [], 0
        while position < len(text):
            if text[position].isspace() or text[position] == "$":
                position += 1
                continue
            found = next(
                (m for regex in (_NUMBER, _OPERATOR, _NAME) if (m := regex.match(text, position)) is not None), None
            )
            if found is None:
                raise ExpansionError("this is no expression")
            tokens.append(found[0])
            position = found.end()
        return tokens

    def _binary(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._peek() in _LEVELS[level]:
            operation = _LEVELS[level][self._take()]
            left = operation(left, self._binary(level + 1))
        return left

    def _unary(self) -> int:
        token = self._take()
        if token in "+-!~":
            inner = self._unary()
            return {"+": inner, "-": -inner, "!": int(not inner), "~": ~inner}[token]
        if token == "(":
            inner = self._binary(0)
            if self._take() != ")":
                raise ExpansionError(") is missing")
            return inner
        text = token if token[0].isdigit() else self._environ.get(token, "").strip() or "0"
        return int(text, 16 if text[:2].lower() == "0x" else 8 if text[0] == "0" and len(text) > 1 else 10)

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        if not token:
            raise ExpansionError("the expression ends early")
        self._next += 1
        return token
