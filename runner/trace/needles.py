"""Looking for byte strings, needles, in a stream's text: quick answers that are never wrong.

Law: what is quick here decides only where not to look; a needle that is there is never denied.
"""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

NEVER = rb"(?!)"
"""A pattern that matches nothing."""

# The bytes of build logs from the commonest on; each next one is about a fourteenth rarer. Only speed depends on it.
_COMMON = b" etaoinsrlcdupmhgf.0/b1-y2:w3_v4\nk56789=\"'xT,S()CERIAD[]LPMONBFjU>GWHqzV+K;Y<\x1bXJ@#Z%*|Q&?!"
_FREQUENCY = {byte: 0.12 * 0.93**rank for rank, byte in enumerate(_COMMON)}
_RARE = 0.0002
_SCAN_COST, _CANDIDATE_COST = 0.1, 100.0  # nanoseconds for a byte passed, and for one looked at
_WITNESS_BYTES = 8
_QUICK_TRIES = 16
_BYTES_FOR_A_TRY = 2048
SHORT_BYTES = 1024
"""Below this a call costs more than the bytes that it passes."""


class Hold:
    """How many bytes at a text's end may be the beginning of something that is looked for."""

    __slots__ = ("_inner", "_marks", "_needles", "_ones", "_twos")

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._needles = sorted(needles, key=len, reverse=True)
        self._ones = frozenset(needle[0] for needle in needles if len(needle) > 1)
        self._twos = frozenset(needle[:2] for needle in needles if len(needle) > 2)
        self._inner = frozenset(byte for needle in needles for byte in needle[:-1])
        # A bit for each three bytes inside a needle: text that ends in none of them, as nearly all text does, is done
        # without looking at a single needle. 8 KiB, however long the needles are.
        self._marks = bytearray(8192)
        for needle in needles:
            for at in range(len(needle) - 3):
                mark = _mark(needle[at], needle[at + 1], needle[at + 2])
                self._marks[mark >> 3] |= 1 << (mark & 7)

    def length(self, text: bytes) -> int:
        """The longest end of the text that is a beginning, but not the whole, of one of them."""
        if not text or text[-1] not in self._inner:
            return 0  # most pieces of a log end with a line
        longest = 0
        if len(text) > 2:
            mark = _mark(text[-3], text[-2], text[-1])
            if self._marks[mark >> 3] >> (mark & 7) & 1:
                for needle in self._needles:
                    if len(needle) - 1 <= longest:
                        break
                    longest = max(longest, _overlap(needle, text))
        if longest > 2:
            return longest
        return 2 if text[-2:] in self._twos else int(text[-1] in self._ones)


def _mark(first: int, second: int, third: int) -> int:
    return ((first * 251 + second) * 251 + third) & 0xFFFF


class Landmark:
    """A place that is quick to find: one byte, and what must follow it."""

    __slots__ = ("_byte", "_match", "_search", "pattern")

    def __init__(self, byte: int, pattern: bytes) -> None:
        self._byte = bytes((byte,))
        self.pattern = re.escape(self._byte) + b"(?=" + pattern + b")"
        expression = re.compile(self.pattern)
        self._match, self._search = expression.match, expression.search

    def is_in(self, text: bytes) -> bool:
        """Tell whether the text has such a place."""
        # bytes.find passes what is not the byte ten times faster than a pattern does, but costs more where the byte is:
        # so it goes first, and where the byte turns out to be common the pattern does the rest.
        at = text.find(self._byte)
        for _ in range(len(text) // _BYTES_FOR_A_TRY):
            if at < 0 or self._match(text, at):
                break
            at = text.find(self._byte, at + 1)
        return at >= 0 and self._search(text, at) is not None


def _any_of(landmarks: Iterable[Landmark]) -> Callable[[bytes], re.Match[bytes] | None]:
    return re.compile(b"|".join(landmark.pattern for landmark in landmarks) or NEVER).search


class Sieve:
    """Says quickly, and never wrongly, that byte strings do not occur in a text; or which of them may.

    A secret cannot be there without each of its bytes, so a few bytes are chosen such that each secret has one of them,
    rare ones in the first place. Looking for such a byte and what follows it in the secrets costs a fraction of looking
    for twenty secrets.
    """

    __slots__ = ("_any", "_groups")

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._groups: list[tuple[Landmark, tuple[bytes, ...]]] = []
        left = set(needles)
        while left:
            byte = _cheapest(left)
            group = tuple(sorted(needle for needle in left if byte in _anchors(needle)))
            left.difference_update(group)
            self._groups.append((Landmark(byte, _alternatives({_witness(needle, byte) for needle in group})), group))
        # For a short text one call that looks for all at once costs less than a call for each.
        self._any = _any_of(landmark for landmark, _ in self._groups)

    def suspects(self, text: bytes) -> list[bytes]:
        """Those that may occur in the text; all others do not."""
        if len(text) < SHORT_BYTES and not self._any(text):
            return []
        found: list[bytes] = []
        for landmark, group in self._groups:
            if landmark.is_in(text):
                found += group
        return found


def _cheapest(needles: set[bytes]) -> int:
    """The byte that serves the most needles for the least time."""
    served = Counter(byte for needle in needles for byte in set(_anchors(needle)))
    return min(sorted(served), key=lambda byte: (_SCAN_COST + _CANDIDATE_COST * _frequency(byte)) / served[byte])


def _frequency(byte: int) -> float:
    return _FREQUENCY.get(byte, _RARE)


def _anchors(needle: bytes) -> bytes:
    """The bytes behind which enough of the needle follows to tell it from other text."""
    return needle[: max(1, len(needle) - _WITNESS_BYTES // 2)]


def _witness(needle: bytes, byte: int) -> bytes:
    start = needle.index(byte) + 1
    return needle[start : start + _WITNESS_BYTES]


def _alternatives(words: set[bytes]) -> bytes:
    """A pattern for the words in which each byte is looked at once; a word that begins another stands for both."""
    if b"" in words:
        return b""
    heads = sorted({word[:1] for word in words})
    tails = [re.escape(head) + _alternatives({word[1:] for word in words if word[:1] == head}) for head in heads]
    return tails[0] if len(tails) == 1 else b"(?:" + b"|".join(tails) + b")"


def _overlap(needle: bytes, text: bytes) -> int:
    """The longest end of the text that begins the needle and is shorter than it."""
    start = text.find(needle[:2], max(0, len(text) - len(needle) + 1))
    for _ in range(_QUICK_TRIES):
        if start < 0:
            return int(text[-1:] == needle[:1] and len(needle) > 1)
        if needle.startswith(text[start:]):
            return len(text) - start
        start = text.find(needle[:2], start + 1)
    # Text and needle both repeat themselves: what looks like a beginning again and again is decided in one pass.
    return _automaton_overlap(needle, text[max(0, len(text) - len(needle) + 1) :])


def _automaton_overlap(needle: bytes, tail: bytes) -> int:
    failures = failures_of(needle)
    length = 0
    for byte in tail:
        while length and needle[length] != byte:
            length = failures[length - 1]
        length += needle[length] == byte
    return length


def failures_of(needle: bytes) -> Sequence[int]:
    """For each beginning of the needle, the length of its longest end that is also its beginning (Knuth, Morris,
    Pratt)."""
    failures = array("I", [0]) * len(needle)
    length = 0
    for index in range(1, len(needle)):
        while length and needle[index] != needle[length]:
            length = failures[length - 1]
        length += needle[index] == needle[length]
        failures[index] = length
    return failures
