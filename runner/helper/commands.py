"""Command lines from the manager, read out of a stream that may break off anywhere.

Law: pure; a line counts only when its length is the one it names, so a line that died with a connection does nothing.
"""

LINE_CHARACTERS = 32768
"""The longest line that is read; the rest of a longer one is thrown away."""

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


def is_attempt(name: str) -> bool:
    """Whether this is `<stage>-<n>`, which is safe as a file's name."""
    stage, _, number = name.rpartition("-")
    return bool(stage) and _NAME.issuperset(stage) and number.isascii() and number.isdecimal()


class CommandReader:
    """Bytes in, commands as lists of words out."""

    def __init__(self) -> None:
        self._part = bytearray()

    def feed(self, data: bytes) -> list[list[str]]:
        """Take the next bytes and give the commands that are whole now."""
        self._part += data
        if b"\n" not in data:
            if len(self._part) > LINE_CHARACTERS:
                self._part[:] = b"!"  # no length, whatever follows
            return []
        *lines, rest = bytes(self._part).split(b"\n")
        self._part = bytearray(rest)
        return [words for line in lines if (words := _words(line))]


def _words(line: bytes) -> list[str]:
    length, _, command = line.partition(b" ")
    if not line.isascii() or str(len(command)).encode() != length:
        return []
    return command.decode("ascii").split(" ")
