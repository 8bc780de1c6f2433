"""Regular expressions of an operator, by which what comes from jobs is judged: RE2's, as GitLab Runner's are Go's.

Law: linear time and bounded memory, whatever the pattern and the text are.
"""

from functools import lru_cache
from typing import Any

_MEMORY_BYTES = 2 * 1024 * 1024


class PatternError(ValueError):
    """A text that is no regular expression of RE2; the message is RE2's own."""


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:  # re2 has no types
    """Give what searches bytes for the pattern; what is no UTF-8 is replaced, as Go does. Raises PatternError."""
    import re2  # here, because a process without guards and allow lists has no use for it

    options = re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern.encode("utf-8", "replace"), options)
    except re2.error as error:
        reason = error.args[0] if error.args else b"it cannot be read"
        raise PatternError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None
