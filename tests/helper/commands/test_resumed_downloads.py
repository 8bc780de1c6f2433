"""A download that is cut goes on where it broke off, or begins anew; what is extracted is one object, whole."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helper.commands.conftest import Answer, Run, Server

STRONG = {"ETag": '"one"'}
DATED = {"Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}

TODAY = {"Last-Modified": "Fri, 01 Jan 2100 00:00:00 GMT"}
"""Not over when the server answers."""
NO_DATE = {"Last-Modified": "yesterday"}


def _zip(text: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a", text)
    return target.getvalue()


BODY = _zip("A" * 1000)
HALF = len(BODY) // 2
OTHER = _zip("B" * 1000)


def _rest(body: bytes = BODY, *, at: int = HALF, headers: Mapping[str, str] = STRONG, **over: bool) -> Answer:
    told = {"Content-Range": f"bytes {at}-{len(body) - 1}/{len(body)}"}
    return Answer(206, body[at:], {**headers, **told}, **over)


CASES = [
    pytest.param([Answer(200, BODY, STRONG, cut=True), _rest()], [HALF], "A", id="an etag"),
    pytest.param([Answer(200, BODY, DATED, cut=True), _rest(headers=DATED)], [HALF], "A", id="a date"),
    pytest.param(
        [Answer(200, BODY, STRONG, cut=True), _rest(cut=True), _rest(at=HALF + (len(BODY) - HALF) // 2)],
        [HALF, HALF + (len(BODY) - HALF) // 2],
        "A",
        id="twice",
    ),
    pytest.param([Answer(200, BODY, STRONG, cut=True), Answer(500), _rest()], [HALF, HALF], "A", id="500 between"),
    pytest.param([Answer(200, BODY, STRONG, cut=True), Answer(200, OTHER)], [HALF], "B", id="ranges ignored"),
    pytest.param(
        [Answer(200, BODY, STRONG, cut=True), _rest(OTHER, headers={"ETag": '"two"'}), Answer(200, OTHER)],
        [HALF, None],
        "B",
        id="the rest of another",
    ),
    pytest.param(
        [Answer(200, BODY, STRONG, cut=True), _rest(at=HALF + 1), Answer(200, BODY)], [HALF, None], "A", id="elsewhere"
    ),
    pytest.param(
        [
            Answer(200, BODY, STRONG, cut=True),
            Answer(206, BODY[HALF + 1 :], {**STRONG, "Content-Range": f"bytes {HALF + 1}-{len(BODY) - 1}/*"}),
            Answer(200, BODY),
        ],
        [HALF, None],
        "A",
        id="elsewhere, of a whole that is not told",
    ),
    pytest.param(
        [Answer(200, BODY, STRONG, cut=True), Answer(206, b"x"), Answer(200, BODY)], [HALF, None], "A", id="no range"
    ),
    pytest.param([Answer(200, BODY, STRONG, cut=True), Answer(416), Answer(200, BODY)], [HALF, None], "A", id="416"),
    pytest.param(
        [Answer(200, BODY, DATED, cut=True), _rest(BODY + b"more", headers=DATED), Answer(200, BODY)],
        [HALF, None],
        "A",
        id="the rest of a longer one",
    ),
    pytest.param([Answer(200, BODY, TODAY, cut=True), Answer(200, BODY)], [None], "A", id="a date that may be now"),
    pytest.param([Answer(200, BODY, NO_DATE, cut=True), Answer(200, BODY)], [None], "A", id="a date that is none"),
    pytest.param([Answer(200, BODY, cut=True), Answer(200, BODY)], [None], "A", id="no mark"),
    pytest.param([Answer(200, BODY, {"ETag": 'W/"1"'}, cut=True), Answer(200, BODY)], [None], "A", id="a weak etag"),
    pytest.param(
        [Answer(200, BODY, {**STRONG, "Accept-Ranges": "none"}, cut=True), Answer(200, BODY)], [None], "A", id="none"
    ),
    pytest.param(
        [
            Answer(200, gzip.compress(BODY), {**STRONG, "Content-Encoding": "gzip"}, cut=True),
            Answer(200, gzip.compress(BODY), {**STRONG, "Content-Encoding": "gzip"}),
        ],
        [None],
        "A",
        id="gzip that nobody asked for",
    ),
]


@pytest.mark.parametrize("command", ["artifacts", "cache"])
@pytest.mark.parametrize(("answers", "asked", "text"), CASES)
def test_a_cut_download_is_whole_in_the_end(
    run: Run, server: Server, *, command: str, answers: list[Answer], asked: list[int | None], text: str
) -> None:
    """The rest is asked for by what the server gave, and only the rest of the same is taken."""
    server.answers = list(answers)
    flags = ["artifacts-downloader", "--url", server.url, "--token", "t", "--id", "7"]
    if command == "cache":
        flags = ["cache-extractor", "--file", "../cache/k/cache.zip", "--url", f"{server.url}/k?sig=s"]
    code, said = run(*flags, "--retry-time", "0s")
    assert code == 0, said
    assert Path("a").read_text() == text * 1000
    ranges = [request.headers.get("Range") for request in server.requests]
    assert ranges == [None, *(None if at is None else f"bytes={at}-" for at in asked)]
    for request in server.requests:
        assert ("If-Range" in request.headers) is ("Range" in request.headers)
        assert request.headers["Accept-Encoding"] == "identity"
    if 206 in [answer.status for answer in answers] and text == "A" and None not in asked:
        assert f"going on at byte {HALF}" in said


def test_nothing_is_extracted_of_a_download_that_stays_cut(run: Run, server: Server) -> None:
    """Three tries, each further than the one before, and none to the end."""
    at = [HALF, HALF + (len(BODY) - HALF) // 2]
    server.answers = [Answer(200, BODY, STRONG, cut=True), _rest(cut=True), _rest(at=at[1], cut=True)]
    code, said = run("artifacts-downloader", "--url", server.url, "--token", "t", "--id", "7", "--retry-time", "0s")
    assert (code, list(Path().iterdir())) == (1, [])
    assert "FATAL: the answer broke off after" in said


def test_a_rest_of_a_wrong_length_is_not_taken(run: Run, server: Server) -> None:
    """What the server says of the whole counts, not what it sends."""
    wrong = Answer(206, BODY[HALF:-5], {**STRONG, "Content-Range": f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}"})
    server.answers = [Answer(200, BODY, STRONG, cut=True), wrong, Answer(200, BODY)]
    code, said = run("artifacts-downloader", "--url", server.url, "--token", "t", "--id", "7", "--retry-time", "0s")
    assert (code, Path("a").read_text()[:1]) == (0, "A"), said
    assert "was to end at byte" in said


def test_the_rest_comes_from_the_object_store_too(run: Run, server: Server, other_server: Server) -> None:
    """GitLab is asked again for its address; the token does not go there, the range does."""
    server.answers = [Answer(302, headers={"Location": f"{other_server.url}/x?sig={number}"}) for number in (1, 2)]
    other_server.answers = [Answer(200, BODY, STRONG, cut=True), _rest()]
    code, said = run("artifacts-downloader", "--url", server.url, "--token", "t", "--id", "7", "--retry-time", "0s")
    assert (code, Path("a").read_text()) == (0, "A" * 1000), said
    assert [request.path for request in other_server.requests] == ["/x?sig=1", "/x?sig=2"]
    assert other_server.requests[1].headers["Range"] == f"bytes={HALF}-"
    assert "JOB-TOKEN" not in other_server.requests[1].headers


def test_nothing_is_left_of_a_longer_one_that_was_begun(run: Run, server: Server) -> None:
    """The file is what the last answer brought, and ends where that did."""
    longer = Answer(200, os.urandom(4 * len(BODY)), STRONG, cut=True)
    server.answers = [longer, Answer(200, BODY)]
    code, said = run("cache-extractor", "--file", "../cache/k/cache.zip", "--url", server.url, "--retry-time", "0s")
    assert code == 0, said
    assert Path("../cache/k/cache.zip").read_bytes() == BODY
