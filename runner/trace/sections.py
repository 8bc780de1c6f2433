"""Lines of the log that are the runner's own, with the colours and section marks that GitLab's viewer knows.

Law: each function gives the bytes of one line (or mark) and knows nothing of where it will stand. A mark has no
newline: it stands before the line that follows it.
"""

CLEAR = b"\x1b[0K"
CYAN = b"\x1b[36;1m"
GREEN = b"\x1b[32;1m"
YELLOW = b"\x1b[0;33m"
RED = b"\x1b[31;1m"
GREY = b"\x1b[0;37m"
RESET = b"\x1b[0;m"


def plain(text: str) -> bytes:
    """A line without colour."""
    return CLEAR + _bytes(text) + RESET + b"\n"


def green(text: str) -> bytes:
    """A line of good news."""
    return GREEN + _bytes(text) + RESET + b"\n"


def warning(text: str) -> bytes:
    """A line that begins with `WARNING:`."""
    return YELLOW + b"WARNING: " + _bytes(text) + RESET + b"\n"


def error(text: str) -> bytes:
    """A line that begins with `ERROR:`."""
    return RED + b"ERROR: " + _bytes(text) + RESET + b"\n"


def service(text: str) -> bytes:
    """A line of a service's own log."""
    return GREY + _bytes(text) + RESET + b"\n"


def title(text: str) -> bytes:
    """The headline of a section."""
    return CLEAR + CYAN + _bytes(text) + RESET + RESET + b"\n"


def section_start(name: str, at: float) -> bytes:
    """The mark that opens a section; only for jobs whose `features.trace_sections` is set."""
    return _mark(b"section_start", name, at)


def section_end(name: str, at: float) -> bytes:
    """The mark that closes a section."""
    return _mark(b"section_end", name, at)


def _mark(word: bytes, name: str, at: float) -> bytes:
    return b"%b:%d:%b\r" % (word, at, _bytes(name)) + CLEAR


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
