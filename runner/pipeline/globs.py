"""The globs of `include:local` and `rules:exists`, as Ruby's `File.fnmatch` reads them.

`*` and `?` stay within one folder, `**/` is any number of folders, `[a-z]` is one character, `{a,b}` is one of several.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

_WILD = re.compile(r"[*?\[{]")
_TOKEN = re.compile(
    r"""(?P<deep>(?:(?<![^/{,])\*\*/)+)
      | (?P<star>\*+)
      | (?P<one>\?)
      | (?P<set>\[[!^]?[^\]/]+\])
      | (?P<open>\{)
      | (?P<comma>,)
      | (?P<close>\})
      | \\(?P<escaped>.)
      | (?P<plain>.)""",
    re.VERBOSE | re.DOTALL,
)


def is_glob(pattern: str) -> bool:
    """Say whether a path holds wildcards."""
    return _WILD.search(pattern) is not None


def matches(pattern: str, path: str) -> bool:
    """Say whether a glob matches a path from the repository's root. What cannot be read as a glob matches itself."""
    return _compiled(pattern.removeprefix("/")).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    braces = 0
    out = []
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup or "plain"
        text = token[kind]
        if kind == "open":
            braces += 1
            out.append("(?:")
        elif kind == "close" and braces:
            braces -= 1
            out.append(")")
        elif kind == "comma" and braces:
            out.append("|")
        elif kind == "set":
            out.append(_set(text))
        else:
            out.append(_PLAIN.get(kind) or re.escape(text))
    try:
        with warnings.catch_warnings():
            # Sets may look like set operations, which Python means to have one day.
            warnings.simplefilter("ignore")
            return re.compile("".join(out), re.DOTALL)
    except re.error:
        return re.compile(re.escape(pattern))


_PLAIN = {"deep": "(?:[^/]+/)*", "star": "[^/]*", "one": "[^/]"}


def _set(text: str) -> str:
    inner = text[1:-1]
    negated = inner[:1] in ("!", "^")
    chosen = re.sub(r"([\\\[\]&~|^])", r"\\\1", inner[1:] if negated else inner)
    return f"(?!/)[{'^' if negated else ''}{chosen}]"
