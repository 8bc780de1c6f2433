"""Secrets out of the log: a stream of bytes in, the same stream with `[MASKED]` out.

Law: what comes out depends on the bytes alone, never on how they were cut on the way; and no byte that may belong to a
secret leaves before that is decided. GitLab's three filters stand in its order: phrases (values of masked variables),
URL parameters, token prefixes. Where phrases overlap, all that they cover becomes one mask: never less than GitLab's
own runner masks. Held back are at most the longest secret's length less one byte; a value of any length is swallowed
as it comes.
"""

import copy
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import methodcaller

MASK = b"[MASKED]"
"""What stands in the log where a secret was."""

TOKEN_PREFIXES = (
    b"gloas-",
    b"gldt-",
    b"glrt-",
    b"glcbt-",
    b"glrtr-",
    b"glptt-",
    b"glft-",
    b"glimt-",
    b"glagent-",
    b"glsoat-",
    b"glffct-",
    b"_gitlab_session=",
    b"gltok-",
)
"""GitLab's default token prefixes, masked with FF_MASK_ALL_DEFAULT_TOKENS; `glpat-` is masked without it too."""

_PREFIX_LIMIT = 15  # GitLab's rule: of all prefixes, short ones first, no more count
_ALWAYS = b"glpat-"
_NEVER = rb"(?!)"
_TOKEN = re.compile(rb"[A-Za-z0-9._=-]*")

_PARAMETERS = (
    b"private_token=",
    b"authenticity_token=",
    b"rss_token=",
    b"x-amz-signature=",
    b"x-amz-credential=",
    b"x-amz-security-token=",
    b"x-goog-signature=",  # beyond GitLab's own: what signs for the other stores of caches
    b"x-goog-credential=",
    b"sig=",
)
_PARAMETER_TAIL = max(map(len, _PARAMETERS))  # with its `?` or `&` and without its `=`: the longest beginning
_ANY_PARAMETER = b"(?i:" + b"|".join(map(re.escape, _PARAMETERS)) + b")"
_PARAMETER = re.compile(rb"[?&]" + _ANY_PARAMETER)
_VALUE = re.compile(rb"[^?&\x00-\x20\x7f]*")

# The bytes of build logs from the commonest on; each next one is about a fourteenth rarer. Only speed depends on it.
_COMMON = b" etaoinsrlcdupmhgf.0/b1-y2:w3_v4\nk56789=\"'xT,S()CERIAD[]LPMONBFjU>GWHqzV+K;Y<\x1bXJ@#Z%*|Q&?!"
_FREQUENCY = {byte: 0.12 * 0.93**rank for rank, byte in enumerate(_COMMON)}
_RARE = 0.0002
_SCAN_COST, _CANDIDATE_COST = 0.1, 100.0  # nanoseconds for a byte passed, and for one looked at
_WITNESS_BYTES = 8
_QUICK_TRIES = 16
_BYTES_FOR_A_TRY = 2048
_SHORT_BYTES = 1024


def token_prefixes(more: Iterable[bytes] = (), *, all_defaults: bool = True) -> tuple[bytes, ...]:
    """Give the token prefixes that count: the defaults and `more` (the payload's `features.token_mask_prefixes`).

    As in GitLab's runner all are trimmed, sorted by length, and only the first fifteen count. `all_defaults` is
    FF_MASK_ALL_DEFAULT_TOKENS.
    """
    given = [_ALWAYS, *(TOKEN_PREFIXES if all_defaults else ()), *more]
    known = dict.fromkeys(prefix for prefix in map(bytes.strip, given) if prefix)
    return tuple(sorted(known, key=len)[:_PREFIX_LIMIT])


class Masker:
    """One stream's masks. Feed it the stream in pieces of any size, and `finish` at its end."""

    __slots__ = ("_parameters", "_phrases", "_tokens")

    def __init__(self, secrets: Iterable[bytes], prefixes: Iterable[bytes] | None = None) -> None:
        """Mask `secrets` wherever they occur, and what follows `prefixes` (None: the default `token_prefixes`).

        Secrets are trimmed, empty ones dropped; a value that is `[MASKED]` already is no secret. One of many lines
        matches only literally.
        """
        self._phrases = _Phrases(secrets)
        self._parameters = _parameters()
        self._tokens = _tokens(token_prefixes() if prefixes is None else tuple(filter(None, prefixes)))

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and give those that are decided."""
        return self._tokens.feed(self._parameters.feed(self._phrases.feed(data)))

    def finish(self) -> bytes:
        """Give what was held back: the stream ends here, so it was no secret. The masker then begins anew."""
        data = self._parameters.feed(self._phrases.feed(b"", final=True), final=True)
        return self._tokens.feed(data, final=True)

    def with_secrets(self, more: Iterable[bytes]) -> "Masker":
        """Give a masker that knows more secrets and goes on in the middle of this one's stream, in its place."""
        grown = copy.copy(self)
        grown._phrases = self._phrases.grown(more)
        grown._parameters = copy.copy(self._parameters)
        grown._tokens = copy.copy(self._tokens)
        return grown

    def fresh(self) -> "Masker":
        """Give a masker with the same secrets for another stream."""
        other = self.with_secrets(())
        other.finish()
        return other

    def whole(self, text: bytes) -> bytes:
        """Mask a text that is whole in itself; the stream is not touched."""
        if self._phrases.absent(text) and self._parameters.absent(text) and self._tokens.absent(text):
            return text
        other = self.fresh()
        return other.feed(text) + other.finish()


class _Phrases:
    """Masks the union of all occurrences of all secrets."""

    __slots__ = ("_carry", "_covered", "_hold", "_periods", "_secrets", "_sieve")

    def __init__(self, secrets: Iterable[bytes]) -> None:
        known = {secret.strip() for secret in secrets} - {b"", MASK}
        self._secrets = tuple(sorted(known, key=lambda secret: (-len(secret), secret)))
        self._periods = {secret: len(secret) - _failures(secret)[-1] for secret in self._secrets}
        self._sieve = _Sieve(self._secrets)
        self._hold = _Hold(self._secrets)
        self._carry = b""
        self._covered = 0  # so many bytes of the carry lie under a mask that is out already

    def grown(self, more: Iterable[bytes]) -> "_Phrases":
        more = tuple(more)
        grown = _Phrases((*self._secrets, *more)) if more else copy.copy(self)
        grown._carry, grown._covered = self._carry, self._covered
        return grown

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        text = self._carry + data if self._carry else data
        cut = len(text) if final else len(text) - self._hold.length(text)
        spans = self._spans(text)
        if not spans and not self._covered:
            self._carry = text[cut:]
            return text[:cut]
        out: list[bytes] = []
        at = self._covered
        for start, end in spans:
            if start >= cut:
                break  # found again when its beginning leaves the carry
            if end <= at:
                continue
            if start >= at:
                out += (text[at:start], MASK)
            at = end
        if at < cut:
            out.append(text[at:cut])
            at = cut
        self._carry, self._covered = text[cut:], at - cut
        return b"".join(out)

    def absent(self, text: bytes) -> bool:
        """Say quickly, and never wrongly, that no secret is in a text."""
        return not self._sieve.suspects(text)

    def _spans(self, text: bytes) -> list[tuple[int, int]]:
        suspects = self._sieve.suspects(text)
        if not suspects:
            return []
        spans = []
        for secret in suspects:
            size, step = len(secret), self._periods[secret]
            start = text.find(secret)
            while start >= 0:
                spans.append((start, start + size))
                start = text.find(secret, start + step)
        spans.sort()
        return spans


class _Named:
    """Masks the values behind names: one mask for each, however long the value is and in how many pieces it comes."""

    __slots__ = ("_begun", "_carry", "_held", "_name", "_open", "_value", "absent")

    def __init__(
        self,
        name: re.Pattern[bytes],
        value: re.Pattern[bytes],
        *,
        absent: Callable[[bytes], bool],
        held: Callable[[bytes], int],
    ) -> None:
        """Mask each `value` behind a `name`. `absent` says quickly that no name is in a text; `held`, how much of a
        name may have begun at its end."""
        self._name = name
        self._value = value
        self.absent = absent
        self._held = held
        self._carry = b""
        self._open = False  # a name is out, the end of its value has not been seen
        self._begun = False  # and the value has its mask

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        text = self._carry + data if self._carry else data
        out: list[bytes] = []
        if self._open or not self.absent(text):
            text = text[self._mask(text, out) :]
        hold = 0 if final else self._held(text)
        out.append(text[: len(text) - hold])
        self._carry = text[len(text) - hold :]
        if final:
            self._open = self._begun = False
        return b"".join(out)

    def _mask(self, text: bytes, out: list[bytes]) -> int:
        """Put out what is decided, up to and without the returned place: behind it no name is whole."""
        at = 0
        while True:
            if self._open:
                value = self._value.match(text, at)
                assert value  # both patterns match the empty text
                if value[0] and not self._begun:
                    out.append(MASK)
                    self._begun = True
                at = value.end()
                if at == len(text):
                    return at
                self._open = self._begun = False
            name = self._name.search(text, at)
            if not name:
                return at
            out.append(text[at : name.end()])
            at = name.end()
            self._open = True


class _Hold:
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


class _Landmark:
    """A place that is quick to find: one byte, and what must follow it."""

    __slots__ = ("_byte", "_match", "_search", "pattern")

    def __init__(self, byte: int, pattern: bytes) -> None:
        self._byte = bytes((byte,))
        self.pattern = re.escape(self._byte) + b"(?=" + pattern + b")"
        expression = re.compile(self.pattern)
        self._match, self._search = expression.match, expression.search

    def is_in(self, text: bytes) -> bool:
        # bytes.find passes what is not the byte ten times faster than a pattern does, but costs more where the byte is:
        # so it goes first, and where the byte turns out to be common the pattern does the rest.
        at = text.find(self._byte)
        for _ in range(len(text) // _BYTES_FOR_A_TRY):
            if at < 0 or self._match(text, at):
                break
            at = text.find(self._byte, at + 1)
        return at >= 0 and self._search(text, at) is not None


def _any_of(landmarks: "Iterable[_Landmark]") -> "Callable[[bytes], re.Match[bytes] | None]":
    return re.compile(b"|".join(landmark.pattern for landmark in landmarks) or _NEVER).search


class _Sieve:
    """Says quickly, and never wrongly, that byte strings do not occur in a text; or which of them may.

    A secret cannot be there without each of its bytes, so a few bytes are chosen such that each secret has one of them,
    rare ones in the first place. Looking for such a byte and what follows it in the secrets costs a fraction of looking
    for twenty secrets.
    """

    __slots__ = ("_any", "_groups")

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._groups: list[tuple[_Landmark, tuple[bytes, ...]]] = []
        left = set(needles)
        while left:
            byte = _cheapest(left)
            group = tuple(sorted(needle for needle in left if byte in _anchors(needle)))
            left.difference_update(group)
            self._groups.append((_Landmark(byte, _alternatives({_witness(needle, byte) for needle in group})), group))
        # For a short text one call that looks for all at once costs less than a call for each.
        self._any = _any_of(landmark for landmark, _ in self._groups)

    def suspects(self, text: bytes) -> list[bytes]:
        """Those that may occur in the text; all others do not."""
        if len(text) < _SHORT_BYTES and not self._any(text):
            return []
        found: list[bytes] = []
        for landmark, group in self._groups:
            if landmark.is_in(text):
                found += group
        return found


_QUESTION, _AMPERSAND = (_Landmark(byte, b"(?=[pPaArRsSxX])" + _ANY_PARAMETER) for byte in b"?&")


def _parameters() -> _Named:
    return _Named(_PARAMETER, _VALUE, absent=_has_no_parameter, held=_held_parameter)


def _has_no_parameter(text: bytes) -> bool:
    if len(text) < _SHORT_BYTES and b"=" not in text:  # which ends each name
        return True
    return not _QUESTION.is_in(text) and not _AMPERSAND.is_in(text)


def _held_parameter(text: bytes) -> int:
    # A name holds neither `?` nor `&`: only the last of these can begin one that is not whole yet.
    first = len(text) - _PARAMETER_TAIL if len(text) > _PARAMETER_TAIL else 0
    at = max(text.rfind(b"?", first), text.rfind(b"&", first))
    if at < 0 or not any(map(methodcaller("startswith", text[at + 1 :].lower()), _PARAMETERS)):
        return 0
    return len(text) - at


def _tokens(prefixes: tuple[bytes, ...]) -> _Named:
    name, sieve, hold = _prefix_tables(prefixes)
    return _Named(name, _TOKEN, absent=lambda text: not sieve.suspects(text), held=hold.length)


@lru_cache(maxsize=16)
def _prefix_tables(prefixes: tuple[bytes, ...]) -> "tuple[re.Pattern[bytes], _Sieve, _Hold]":
    """What is looked for; nearly all jobs share it, and it never changes."""
    # Of two prefixes, one inside the other, the inner one ends no later: the outer one can add nothing.
    least = [prefix for prefix in prefixes if not any(other in prefix for other in prefixes if other != prefix)]
    return re.compile(b"|".join(map(re.escape, least)) or _NEVER), _Sieve(least), _Hold(least)


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
    failures = _failures(needle)
    length = 0
    for byte in tail:
        while length and needle[length] != byte:
            length = failures[length - 1]
        length += needle[length] == byte
    return length


def _failures(needle: bytes) -> Sequence[int]:
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
