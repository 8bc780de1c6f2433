"""Masks hide every occurrence of a secret, however the bytes were cut on their way."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.trace.masking import MASK, Masker, token_prefixes

DEFAULTS = token_prefixes()
PARAMETER = re.compile(
    rb"([?&](?:private_token|authenticity_token|rss_token|x-amz-signature|x-amz-credential|x-amz-security-token"
    rb"|x-goog-signature|x-goog-credential|sig)=)"
    rb"[^?&\x00-\x20\x7f]+",
    re.IGNORECASE,
)


def masked(text: bytes, secrets: Iterable[bytes] = (), prefixes: tuple[bytes, ...] = DEFAULTS) -> bytes:
    """What the rules say about a text as a whole, in the plainest code."""
    spans = []
    for secret in set(secrets):
        start = text.find(secret)
        while start >= 0:
            spans.append((start, start + len(secret)))
            start = text.find(secret, start + 1)
    out, at = b"", 0
    for start, end in sorted(spans):
        if end <= at:
            continue
        if start >= at:
            out += text[at:start] + MASK
        at = end
    out += text[at:]
    out = PARAMETER.sub(rb"\1" + MASK, out)
    return re.sub(b"(" + b"|".join(map(re.escape, prefixes)) + rb")[A-Za-z0-9._=-]+", rb"\1" + MASK, out)


def fed(masker: Masker, pieces: Iterable[bytes]) -> bytes:
    """What comes out when the text goes in like this."""
    return b"".join([*map(masker.feed, pieces), masker.finish()])


CASES = [
    ("phrase", b"the s3cret is s3cret", [b"s3cret"], b"the [MASKED] is [MASKED]"),
    ("value is trimmed", b"the s3cret\n", [b" s3cret\r\n"], b"the [MASKED]\n"),
    ("empty value is none", b"abc", [b"", b"  "], b"abc"),
    ("masked value passes", b"a [MASKED] b", [b"[MASKED]"], b"a [MASKED] b"),
    ("one inside another", b"xabcdefx", [b"cd", b"abcdef"], b"x[MASKED]x"),
    ("overlapping", b"xabcdex", [b"abcd", b"cde"], b"x[MASKED]x"),
    ("overlapping itself", b"xabababx", [b"abab"], b"x[MASKED]x"),
    ("side by side", b"abcdabcd", [b"abcd"], b"[MASKED][MASKED]"),
    ("many lines only literally", b"l1\nl2\nl1 l2", [b"l1\nl2"], b"[MASKED]\nl1 l2"),
    ("begun at the end", b"the s3c", [b"s3cret"], b"the s3c"),
    ("bytes that are no text", b"a\xff\x00\xfeb", [b"\xff\x00\xfe"], b"a[MASKED]b"),
    ("token prefix", b"use glpat-aB3._=-x, please", [], b"use glpat-[MASKED], please"),
    ("prefix at the end", b"use glpat-", [], b"use glpat-"),
    ("prefix without a value", b"glrt- glrtr-x", [], b"glrt- glrtr-[MASKED]"),
    ("prefix inside a value", b"glpat-glrt-x y", [], b"glpat-[MASKED] y"),
    ("session", b"_gitlab_session=abc;", [], b"_gitlab_session=[MASKED];"),
    ("prefix with a phrase behind it", b"glpat-s3cret.", [b"s3cret"], b"glpat-[MASKED]."),
    ("parameter", b"GET /x?private_token=ab/c&y=1", [], b"GET /x?private_token=[MASKED]&y=1"),
    ("parameter in capitals", b"?X-Amz-Signature=1&X-Amz-Date=2\n", [], b"?X-Amz-Signature=[MASKED]&X-Amz-Date=2\n"),
    ("parameters in a row", b"?rss_token=a&rss_token=b?", [], b"?rss_token=[MASKED]&rss_token=[MASKED]?"),
    ("parameter without a value", b"?rss_token=&a", [], b"?rss_token=&a"),
    ("parameter to the end", b"?rss_token=abc", [], b"?rss_token=[MASKED]"),
    ("no parameter", b"private_token=ab ?xprivate_token=c", [], b"private_token=ab ?xprivate_token=c"),
    ("token in a parameter", b"&private_token=glpat-a+b ", [], b"&private_token=[MASKED] "),
    ("text", "naïve café \x1b[0m".encode(), [b"secret"], "naïve café \x1b[0m".encode()),
]


@pytest.mark.parametrize(("text", "secrets", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_mask_is_the_same_when_the_text_comes_byte_by_byte(text: bytes, secrets: list[bytes], expected: bytes) -> None:
    """The text masked as a whole, and byte by byte, is what the rules say."""
    assert fed(Masker(secrets), [text]) == expected
    assert fed(Masker(secrets), [text[i : i + 1] for i in range(len(text))]) == expected


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """The text in pieces, cut at these places."""
    ends = sorted({place % (len(text) + 1) for place in places} | {len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


SMALL_TEXT = st.lists(st.sampled_from([b"a", b"b", b"c", b"ab"]), max_size=60).map(b"".join)
SMALL_SECRETS = st.lists(st.lists(st.sampled_from(b"abc"), min_size=1, max_size=7).map(bytes), max_size=5)
PIECES = [
    b"glpat-",
    b"glpa",
    b"gl",
    b"glrt-",
    b"glrtr-",
    b"_gitlab_session=",
    b"_gitlab",
    b"?",
    b"&",
    b"private_token=",
]
PIECES += [
    b"X-AMZ-Signature=",
    b"x-amz-s",
    b"rss_token",
    b"&sig=",
    b"=",
    b"-",
    b"s3cret",
    b"s3",
    b"cr",
    b" ",
    b"\n",
    b"x",
    b"\xc3\xa9",
]
NAMED_TEXT = st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join)
PLACES = st.lists(st.integers(0, 1000), max_size=12)


@pytest.mark.slow
@given(SMALL_TEXT, SMALL_SECRETS, PLACES)
def test_phrases_are_masked_at_any_split(text: bytes, secrets: list[bytes], places: list[int]) -> None:
    """Overlapping, nested and repeating secrets: every split gives the mask of the whole text."""
    assert fed(Masker(secrets), cut(text, places)) == masked(text, secrets)


@pytest.mark.slow
@given(NAMED_TEXT, PLACES)
def test_names_are_masked_at_any_split(text: bytes, places: list[int]) -> None:
    """Token prefixes, URL parameters and a phrase among each other: every split gives the mask of the whole text."""
    assert fed(Masker([b"s3cret"]), cut(text, places)) == masked(text, [b"s3cret"])


@pytest.mark.slow
@given(NAMED_TEXT, PLACES)
def test_what_is_out_depends_on_what_was_in(text: bytes, places: list[int]) -> None:
    """After the same bytes the same bytes have left, so lines of other origin may be put between them."""
    whole, split = Masker([b"s3cret", b"s3x"]), Masker([b"s3cret", b"s3x"])
    assert whole.feed(text) == b"".join(map(split.feed, cut(text, places)))


@pytest.mark.slow
@given(NAMED_TEXT, PLACES)
def test_stream_goes_on_when_secrets_are_added(text: bytes, places: list[int]) -> None:
    """A masker with more secrets goes on at any byte where the other one stood."""
    masker = Masker([b"s3cret"])
    out = b""
    for piece in cut(text, places):
        out += masker.feed(piece)
        masker = masker.with_secrets([b"unheard of"])
    assert out + masker.finish() == masked(text, [b"s3cret"])


def test_old_masker_is_left_alone_when_secrets_are_added() -> None:
    """The masker that more secrets were added to still stands in its own stream."""
    masker = Masker([b"abcdef"])
    assert masker.feed(b"xabc") == b"x"
    grown = masker.with_secrets([b"abcx"])
    assert grown.feed(b"x") + grown.finish() == b"[MASKED]"
    assert masker.feed(b"def") == b"[MASKED]"


def test_whole_text_is_masked_beside_the_stream() -> None:
    """A note in the middle of a stream neither sees nor ends what the stream holds back."""
    masker = Masker([b"s3cret"])
    assert masker.feed(b"a s3c") == b"a "
    assert masker.whole(b"ret and s3cret, glpat-x") == b"ret and [MASKED], glpat-[MASKED]"
    assert masker.feed(b"ret") == b"[MASKED]"


def test_masker_begins_anew_when_finished() -> None:
    """A stage's end decides what was held back; the next stage's output is no continuation of it."""
    masker = Masker([b"s3cret"])
    assert masker.feed(b"s3c") + masker.finish() == b"s3c"
    assert masker.feed(b"ret glpat-") + masker.finish() == b"ret glpat-"
    assert masker.feed(b"abc?rss_token=") + masker.finish() == b"abc?rss_token="
    assert masker.feed(b"abc") == b"abc"


def test_long_value_is_swallowed_as_it_comes() -> None:
    """A value longer than any buffer has one mask, at once, and nothing of it is kept."""
    masker = Masker([b"secret"])
    assert masker.feed(b"glpat-aaaa") == b"glpat-[MASKED]"
    assert [masker.feed(b"b" * 65536) for _ in range(20)] == [b""] * 20
    assert masker.feed(b" end?private_token=") == b" end?private_token="
    assert [masker.feed(b"/" * 65536) for _ in range(3)] == [MASK, b"", b""]
    assert masker.feed(b"\n") == b"\n"


def test_no_more_is_held_than_the_longest_secret() -> None:
    """Text that begins a secret again and again is held back only as far as the last beginning reaches."""
    masker = Masker([b"a" * 99 + b"b"])
    assert len(masker.feed(b"a" * 10_000)) == 10_000 - 99
    assert masker.feed(b"\n") == b"a" * 99 + b"\n"


@pytest.mark.parametrize("size", [2, 50, 5000])
def test_repeating_secret_is_held_exactly(size: int) -> None:
    """A secret and a text that both repeat themselves do not make the search for the secret's beginning wrong."""
    secret = b"ab" * size + b"c"
    text = secret[:-1] + b"x" + b"ab" * (2 * size) + b"a"
    masker = Masker([secret])
    held = 2 * size - 1
    assert masker.feed(text) == text[:-held]
    assert masker.feed(b"babababc") == b"ababab" + MASK


@pytest.mark.parametrize(("between", "after"), [(60, 30), (20, 3), (98, 98), (98, 0)])
def test_beginning_is_found_behind_many_that_are_none(between: int, after: int) -> None:
    """Where every place looks like a beginning, the right one is still found."""
    masker = Masker([b"a" * 99 + b"b"])
    text = b"a" * between + b"x" + b"a" * after
    assert masker.feed(text) == text[: len(text) - after]
    assert masker.feed(b"a" * (99 - after) + b"b") == MASK


def test_prefixes_are_merged() -> None:
    """Short prefixes first, no more than fifteen, each once and trimmed; `glpat-` always."""
    assert token_prefixes((), all_defaults=False) == (b"glpat-",)
    assert token_prefixes([b" my- ", b"glpat-", b""], all_defaults=False) == (b"my-", b"glpat-")
    assert len(DEFAULTS) == 14
    assert b"_gitlab_session=" in DEFAULTS
    many = token_prefixes([b"a-", b"b-", b"c-", b"longest-of-all-prefixes-"])
    assert len(many) == 15
    assert many[:3] == (b"a-", b"b-", b"c-")
    assert b"_gitlab_session=" not in many
    assert b"longest-of-all-prefixes-" not in many


def test_only_some_prefixes_are_masked_when_the_flag_is_off() -> None:
    """FF_MASK_ALL_DEFAULT_TOKENS off leaves `glpat-` and what GitLab asks for."""
    masker = Masker([], token_prefixes([b"my-"], all_defaults=False))
    assert fed(masker, [b"glpat-a my-b glrt-c"]) == b"glpat-[MASKED] my-[MASKED] glrt-c"


def test_no_token_is_masked_when_there_is_no_prefix() -> None:
    """Without prefixes only phrases and parameters are masked."""
    masker = Masker([b"s3cret"], [])
    assert fed(masker, [b"glpat-a s3cret ?rss_token=x"]) == b"glpat-a [MASKED] ?rss_token=[MASKED]"


def test_shorter_prefix_wins_when_it_lies_in_a_longer_one() -> None:
    """What follows the prefix that is complete first is masked: never less."""
    assert fed(Masker([], token_prefixes([b"gl", b"mygl"])), [b"glpat-x mygl1 "]) == b"gl[MASKED] mygl[MASKED] "


def test_every_secret_is_found_among_many() -> None:
    """The quick look that spares most of the work misses no secret, whatever bytes it is made of."""
    secrets = [bytes([a, b]) * n for a in range(0, 256, 5) for b, n in ((a ^ 1, 1), (255 - a, 2), (7, 4))]
    masker = Masker(secrets)
    for secret in secrets:
        text = b"<" + secret + b">"
        assert masker.whole(text) == masked(text, {secret.strip() for secret in secrets} - {b""})
