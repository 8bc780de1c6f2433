"""cache-archiver and cache-extractor, against a store that answers as it is told."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helper.commands.conftest import Answer, Run, Server

FILE = ("--file", "../cache/deps/cache.zip")
STORED = Path("../cache/deps/cache.zip")


@pytest.fixture
def packed(run: Run) -> bytes:
    """A cache of one file, in the local store."""
    Path("vendor").mkdir()
    Path("vendor/lib").write_text("lib")
    assert run("cache-archiver", *FILE, "--path", "vendor")[0] == 0
    return STORED.read_bytes()


def _clear() -> None:
    Path("vendor/lib").unlink()
    Path("vendor").rmdir()


def test_a_cache_is_stored_and_extracted_locally(run: Run, packed: bytes) -> None:
    """Without a URL it stays on the volume."""
    _clear()
    code, said = run("cache-extractor", *FILE)
    assert (code, Path("vendor/lib").read_text()) == (0, "lib")
    assert "No URL provided, cache will not be downloaded from shared cache server." in said


def test_a_cache_is_sent_with_its_headers_and_its_metadata(run: Run, server: Server) -> None:
    """The signed headers as they are given, the length known, the host not sent twice, the query not told."""
    Path("lib").write_text("lib")
    server.answers = [Answer(200)]
    code, said = run(
        "cache-archiver",
        *(*FILE, "--path", "lib", "--url", f"{server.url}/bucket/key?signature=abc"),
        *("--header", "X-Amz-Meta-Cachekey: deps", "--header", "Host: elsewhere", "--timeout", "1"),
    )
    assert code == 0, said
    (request,) = server.requests
    assert (request.method, request.path) == ("PUT", "/bucket/key?signature=abc")
    assert request.headers["X-Amz-Meta-Cachekey"] == "deps"
    assert request.headers["Content-Type"] == "application/octet-stream"
    assert request.headers["Host"].startswith("127.0.0.1")
    assert request.body == STORED.read_bytes()
    assert f"Uploading cache.zip to {server.url}/bucket/key" in said
    assert "signature" not in said
    assert json.loads((STORED.parent / "metadata.json").read_text()) == {"cachekey": "deps"}


def test_an_archive_that_is_as_new_is_not_packed_again(run: Run, packed: bytes) -> None:
    """Nothing is sent."""
    os.utime("vendor/lib", (1, 1))
    os.utime("vendor", (1, 1))
    code, said = run("cache-archiver", *FILE, "--path", "vendor")
    assert code == 0
    assert "Archive is up to date!" in said


def test_an_archive_that_is_as_new_is_sent_if_the_store_has_none(run: Run, packed: bytes, server: Server) -> None:
    """With another name for the file, as the script gives, the store is asked."""
    os.utime("vendor/lib", (1, 1))
    os.utime("vendor", (1, 1))
    more = ("--alternate-file", "../cache/x/cache.zip", "--url", f"{server.url}/k", "--check-url", f"{server.url}/k")
    server.answers = [Answer(200)]
    assert "Primary cache already exists remotely" in run("cache-archiver", *FILE, "--path", "vendor", *more)[1]
    server.answers = [Answer(404), Answer(200)]
    assert run("cache-archiver", *FILE, "--path", "vendor", *more)[0] == 0
    assert [request.method for request in server.requests] == ["HEAD", "HEAD", "PUT"]


def test_a_cache_beyond_the_limit_stays_here(run: Run, server: Server) -> None:
    """The log says how large it is."""
    Path("lib").write_bytes(os.urandom(1000))
    code, said = run(
        "cache-archiver", *FILE, "--path", "lib", "--url", server.url, "--max-uploaded-archive-size", "500"
    )
    assert (code, server.requests) == (0, [])
    assert "is too big (Limit is set to 500). Cache will be stored only locally." in said


def test_no_files_are_a_warning(run: Run) -> None:
    """Nothing is stored."""
    code, said = run("cache-archiver", *FILE, "--path", "vendor")
    assert (code, STORED.exists()) == (0, False)
    assert "WARNING: No files to cache." in said


@pytest.mark.parametrize("status", [500, 403])
def test_a_store_that_refuses_is_a_failure_with_its_words(run: Run, server: Server, status: int) -> None:
    """The code and message of S3's XML; only trouble of the server is tried again."""
    Path("lib").write_text("lib")
    error = b"<Error><Code>AccessDenied</Code><Message>No entry</Message></Error>"
    server.answers = [Answer(status, error)] * 3
    code, said = run("cache-archiver", *FILE, "--path", "lib", "--url", server.url)
    assert (code, len(server.requests)) == (1, 3 if status == 500 else 1)
    assert "Request failed with code: AccessDenied, message: No entry" in said
    assert STORED.exists()


def test_a_cache_is_fetched_and_kept(run: Run, packed: bytes, server: Server) -> None:
    """With its store's time, so that the next job of this volume need not fetch it."""
    STORED.unlink()
    _clear()
    when = {"Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT", "ETag": '"9a8b"', "X-Amz-Meta-Cachekey": "deps"}
    server.answers = [Answer(body=packed, headers=when), Answer(body=packed, headers=when)]
    url = ("--url", f"{server.url}/bucket/key?signature=abc")
    code, said = run("cache-extractor", *FILE, *url)
    assert (code, Path("vendor/lib").read_text()) == (0, "lib"), said
    assert STORED.stat().st_mtime == 1735689600
    assert f"Downloading cache.zip from {server.url}/bucket/key" in said
    assert "signature" not in said
    assert "cache.zip is up to date" in run("cache-extractor", *FILE, *url)[1]


@pytest.mark.parametrize(
    ("answers", "said_too"),
    [
        ([Answer(404)], "file does not exist"),
        ([Answer(500)] * 3, "received: 500"),
        ([Answer(body=b"garbage")], "cannot be extracted"),
        ([Answer(body=b"x" * 1000, cut=True)] * 3, "broke off after 500 of 1000 bytes"),
    ],
    ids=["404", "500", "garbage", "cut"],
)
def test_a_cache_that_cannot_be_had_is_exit_code_1_and_leaves_nothing(
    run: Run, server: Server, answers: list[Answer], said_too: str
) -> None:
    """The job's script makes a warning of it."""
    server.answers = list(answers)
    code, said = run("cache-extractor", *FILE, "--url", server.url)
    assert code == 1
    assert said_too in said
    assert list(Path().iterdir()) == []
    assert not STORED.exists()


@pytest.mark.parametrize(
    ("primary", "alternate", "chosen"),
    [
        (Answer(200, headers={"Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}), Answer(404), "/p"),
        (Answer(404), Answer(200, headers={"Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}), "/a"),
        (
            Answer(200, headers={"Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}),
            Answer(200, headers={"Last-Modified": "Thu, 02 Jan 2025 00:00:00 GMT"}),
            "/a",
        ),
        (Answer(404), Answer(404), "/p"),
    ],
    ids=["primary alone", "alternate alone", "alternate newer", "none"],
)
def test_the_newer_of_two_names_is_fetched(
    run: Run, packed: bytes, server: Server, *, primary: Answer, alternate: Answer, chosen: str
) -> None:
    """While a runner changes how it names caches."""
    STORED.unlink()
    server.answers = [primary, alternate, Answer(body=packed)]
    run(
        "cache-extractor",
        *(*FILE, "--url", f"{server.url}/p", "--head-url", f"{server.url}/p"),
        *("--alternate-url", f"{server.url}/a", "--alternate-head-url", f"{server.url}/a"),
    )
    assert server.requests[-1].path == chosen


def test_addresses_are_taken_from_the_environment(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch, packed: bytes
) -> None:
    """Both commands know them as their flags, and each takes what is its own."""
    server.answers = [Answer(404), Answer(200), Answer(200, packed)]
    there = {"url": f"{server.url}/put?s=1", "header": ["A: 1", "B: 2"], "check-url": f"{server.url}/check"}
    monkeypatch.setenv("RUNNER_CACHE_LINKS", json.dumps({**there, "alternate-file": "../cache/other/cache.zip"}))
    assert run("cache-archiver", *FILE, "--path", "vendor")[0] == 0
    STORED.unlink()
    monkeypatch.setenv("RUNNER_CACHE_LINKS", json.dumps({"url": f"{server.url}/get?s=1"}))
    assert run("cache-extractor", *FILE)[0] == 0
    asked = [(request.method, request.path) for request in server.requests]
    assert asked == [("HEAD", "/check"), ("PUT", "/put?s=1"), ("GET", "/get?s=1")]
    assert (server.requests[1].headers["A"], server.requests[1].headers["B"]) == ("1", "2")


def test_a_variable_turns_no_command_round(run: Run, monkeypatch: pytest.MonkeyPatch, packed: bytes) -> None:
    """A job may set one of that name: only addresses and what belongs to them are taken from it."""
    _clear()
    monkeypatch.setenv("RUNNER_CACHE_LINKS", json.dumps({"file": "/elsewhere", "env-file": "/etc/passwd"}))
    assert run("cache-extractor", *FILE)[0] == 0
    assert Path("vendor/lib").read_text() == "lib"


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"url": 7}'])
def test_a_variable_that_holds_no_addresses_is_told(run: Run, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Without its value."""
    monkeypatch.setenv("RUNNER_CACHE_LINKS", text)
    code, said = run("cache-extractor", *FILE)
    assert code == 1
    assert "the variable RUNNER_CACHE_LINKS cannot be read" in said


def _on_a_small_disk(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that may write no file longer than 64 KiB, which is how a full disk looks to who writes it."""
    limited = f"import resource, runner.helper.__main__ as m; resource.setrlimit({resource.RLIMIT_FSIZE}, (65536,) * 2)"
    return subprocess.run(
        [sys.executable, "-c", f"{limited}; raise SystemExit(m.main({list(words)!r}))"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("form", ["zip", "tarzstd", "zipzstd"])
def test_a_disk_that_fills_while_files_are_extracted(run: Run, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """The archive is small, the file in it is not: it is not extracted half."""
    monkeypatch.setenv("CACHE_COMPRESSION_FORMAT", form)
    Path("vendor").mkdir()
    Path("vendor/lib").write_bytes(b"x" * 200_000)
    assert run("cache-archiver", *FILE, "--path", "vendor")[0] == 0
    _clear()
    done = _on_a_small_disk("cache-extractor", *FILE)
    assert done.returncode == 1, done.stderr
    assert "File too large. Keep less there, or give the pod a larger volume" in done.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", ["cache-archiver", "cache-extractor", "artifacts-downloader"])
def test_a_full_disk_is_told_and_leaves_nothing(run: Run, packed: bytes, server: Server, command: str) -> None:
    """And what was there before is."""
    Path("vendor/lib").write_bytes(os.urandom(200_000))
    assert run("cache-archiver", *FILE, "--path", "vendor")[0] == 0
    whole = STORED.read_bytes()
    before = sorted(STORED.parent.iterdir())
    os.utime(STORED, (1, 1))
    server.answers = [Answer(body=whole)]
    flags = {
        "cache-archiver": [*FILE, "--path", "vendor"],
        "cache-extractor": [*FILE, "--url", server.url],
        "artifacts-downloader": ["--url", server.url, "--token", "t", "--id", "7", "--archiver-staging-dir", ".."],
    }[command]
    done = _on_a_small_disk(command, *flags)
    assert done.returncode == 1, done.stderr
    assert "File too large. Keep less there, or give the pod a larger volume" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(STORED.parent.iterdir()) == before
    assert STORED.read_bytes() == whole
    assert sorted(path.name for path in Path("..").iterdir() if path.is_file()) == []
