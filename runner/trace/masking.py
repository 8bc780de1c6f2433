"""Secrets out of the log: a stream of bytes in, the same stream with `[MASKED]` out.

Law: what comes out depends on the bytes alone, never on how they were cut on the way; and no byte that may belong to a
secret leaves before that is decided. GitLab's three filters stand in its order: phrases (values of masked variables),
URL parameters, token prefixes. Where phrases overlap, all that they cover becomes one mask: never less than GitLab's
own runner masks. Held back are at most the longest secret's length less one byte; a value of any length is swallowed
as it comes.
"""

import copy
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import methodcaller

from runner.trace.needles import NEVER, SHORT_BYTES, Hold, Landmark, Sieve, failures_of

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
        self._periods = {secret: len(secret) - failures_of(secret)[-1] for secret in self._secrets}
        self._sieve = Sieve(self._secrets)
        self._hold = Hold(self._secrets)
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


_QUESTION, _AMPERSAND = (Landmark(byte, b"(?=[pPaArRsSxX])" + _ANY_PARAMETER) for byte in b"?&")


def _parameters() -> _Named:
    return _Named(_PARAMETER, _VALUE, absent=_has_no_parameter, held=_held_parameter)


def _has_no_parameter(text: bytes) -> bool:
    if len(text) < SHORT_BYTES and b"=" not in text:  # which ends each name
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
def _prefix_tables(prefixes: tuple[bytes, ...]) -> "tuple[re.Pattern[bytes], Sieve, Hold]":
    """What is looked for; nearly all jobs share it, and it never changes."""
    # Of two prefixes, one inside the other, the inner one ends no later: the outer one can add nothing.
    least = [prefix for prefix in prefixes if not any(other in prefix for other in prefixes if other != prefix)]
    return re.compile(b"|".join(map(re.escape, least)) or NEVER), Sieve(least), Hold(least)
