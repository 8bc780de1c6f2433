"""Archives of caches by a store's own address: in parts, with nothing left behind, and back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from tests.end_to_end.s3 import ACCESS_KEY, BUCKET, REGION, S3, SECRET_KEY, SESSION_TOKEN
from tests.helper.commands.conftest import Answer, Run, Server

FILE = ("--file", "../cache/deps/cache.zip")
STORED = Path("../cache/deps/cache.zip")
PARTS = ("--chunk-size", "1", "--retry-time", "0s", "--compression-level", "fastest")
"""The smallest parts that S3 takes, of an archive that is as long as its file."""

MIB = 2**20

PEAK = """
from runner.helper.__main__ import main
assert main() == 0
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
"""Runs a command and prints the most KiB that it had: the process alone, not what it was forked from."""


@pytest.fixture
def s3() -> Iterator[S3]:
    """A store."""
    with S3() as server:
        yield server


@pytest.fixture
def lent(run: Run, s3: S3) -> tuple[str, ...]:
    """The flags by which a store's own address and what is lent for it come."""
    Path("lent.env").write_text(
        f'AWS_ACCESS_KEY_ID="{ACCESS_KEY}"\nAWS_SECRET_ACCESS_KEY="{SECRET_KEY}"\n'
        f'AWS_SESSION_TOKEN={SESSION_TOKEN}\nAWS_PROFILE=""\nCACHE_METADATA=\'{{"cachekey":"the key"}}\'\n'
    )
    endpoint = quote(f"http://{s3.address}", safe="")
    url = f"s3://{BUCKET}/project/7/deps?awssdk=v2&endpoint={endpoint}&region={REGION}&use_path_style=true"
    return ("--gocloud-url", url, "--env-file", "lent.env")


def test_an_archive_of_one_part_is_one_request(run: Run, s3: S3, lent: tuple[str, ...]) -> None:
    """With the metadata that came by the file of variables."""
    Path("lib").write_text("lib")
    code, said = run("cache-archiver", *FILE, "--path", "lib", *lent)
    assert code == 0, said
    (put,) = s3.requests
    assert (put.method, put.status, put.headers["x-amz-meta-cachekey"]) == ("PUT", 200, "the key")
    assert s3.object("project/7/deps") == STORED.read_bytes()
    assert SECRET_KEY not in said
    assert "Uploading cache.zip to s3://runner-cache/project/7/deps" in said


def test_an_archive_of_many_parts_is_put_together(run: Run, s3: S3, lent: tuple[str, ...]) -> None:
    """Three parts, in their order though they go at once; the next job has it back."""
    Path("lib").write_bytes(os.urandom(12 * MIB))
    code, said = run("cache-archiver", *FILE, "--path", "lib", *lent, *PARTS)
    assert code == 0, said
    assert [one.method for one in s3.requests] == ["POST", "PUT", "PUT", "PUT", "POST"]
    assert s3.requests[0].headers["x-amz-meta-cachekey"] == "the key"
    assert s3.object("project/7/deps") == STORED.read_bytes()
    assert s3.uploads() == 0
    whole = Path("lib").read_bytes()
    STORED.unlink()
    Path("lib").unlink()
    code, said = run("cache-extractor", *FILE, *lent)
    assert (code, Path("lib").read_bytes()) == (0, whole), said


@pytest.mark.parametrize(
    ("refused", "code", "words"),
    [
        ("partNumber=2", 0, "WARNING: Retrying..."),
        ("partNumber=2 always", 1, "FATAL: received: 503"),
        ("complete always", 1, "FATAL: received: 503"),
    ],
    ids=["a part once", "a part", "the end"],
)
def test_a_part_that_is_refused_is_sent_again_and_what_fails_is_taken_back(
    run: Run, s3: S3, lent: tuple[str, ...], *, refused: str, code: int, words: str
) -> None:
    """A store in trouble costs tries of one part; an upload that fails leaves no parts in the bucket."""
    seen: list[str] = []

    def refuse(method: str, query: str) -> int:
        wanted = method == "POST" and "uploadId" in query if "complete" in refused else refused.split()[0] in query
        if not wanted or (seen and "always" not in refused):
            return 0
        seen.append(query)
        return 503

    s3.refuse = refuse
    Path("lib").write_bytes(os.urandom(12 * MIB))
    found, said = run("cache-archiver", *FILE, "--path", "lib", *lent, *PARTS)
    assert (found, words in said) == (code, True), said
    assert s3.uploads() == 0
    assert STORED.exists()
    assert [one.status for one in s3.requests if one.method == "DELETE"] == ([204] if code else [])


def test_parts_that_cannot_be_taken_back_are_told(run: Run, s3: S3, lent: tuple[str, ...]) -> None:
    """They cost money until somebody removes them."""
    s3.refuse = lambda method, query: 403 if "partNumber" in query or method == "DELETE" else 0
    Path("lib").write_bytes(os.urandom(6 * MIB))
    code, said = run("cache-archiver", *FILE, "--path", "lib", *lent, *PARTS)
    assert code == 1
    assert "WARNING: the parts of the upload that failed may still be in the bucket" in said
    assert "FATAL: received: 403" in said


def test_an_upload_that_is_terminated_is_taken_back(run: Run, s3: S3, lent: tuple[str, ...]) -> None:
    """A job that is canceled while its cache goes up."""
    Path("lib").write_bytes(os.urandom(12 * MIB))

    def refuse(method: str, query: str) -> int:
        if "partNumber=3" in query:
            helper.send_signal(signal.SIGTERM)
            return 503
        return 0

    s3.refuse = refuse
    command = [sys.executable, "-m", "runner.helper", "cache-archiver", *FILE, "--path", "lib", *lent, *PARTS]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([*command, "--retry", "9", "--retry-time", "10s"], env=environment) as helper:
        assert helper.wait(timeout=60) == 130
    assert s3.uploads() == 0
    assert "DELETE" in [one.method for one in s3.requests]


def test_a_cache_that_is_not_there_by_its_stores_address_is_a_miss(run: Run, s3: S3, lent: tuple[str, ...]) -> None:
    """As in the original: the local archive is looked for."""
    code, said = run("cache-extractor", *FILE, *lent)
    assert (code, "FATAL: Cache file does not exist" in said) == (1, True), said


def test_the_newer_of_two_stores_addresses_is_fetched(run: Run, s3: S3, lent: tuple[str, ...]) -> None:
    """Only the other name is there."""
    Path("lib").write_text("lib")
    assert run("cache-archiver", *FILE, "--path", "lib", *lent)[0] == 0
    STORED.unlink()
    Path("lib").unlink()
    missing = lent[1].replace("deps", "other")
    code, said = run("cache-extractor", *FILE, "--gocloud-url", missing, "--alternate-gocloud-url", *lent[1:])
    assert (code, Path("lib").read_text()) == (0, "lib"), said
    assert "Selecting alternate cache URL: s3://" not in said
    assert "Selecting alternate cache URL: http://" in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://bucket/key", "needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from --env-file or around"),
        ("s3://bucket", "an address of S3 is s3://BUCKET/OBJECT"),
        ("azblob://box/key", "needs AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_SAS_TOKEN"),
        ("gs://bucket/key", "Google's store is reached by a signed address, give --url"),
        ("ftp://bucket/key", "--gocloud-url is of ftp: s3:// and azblob:// are known"),
    ],
)
def test_an_address_that_cannot_be_used_says_what_it_needs(run: Run, url: str, words: str) -> None:
    """A failure of the command, which the job's script makes a warning of."""
    Path("lib").write_text("lib")
    code, said = run("cache-archiver", *FILE, "--path", "lib", "--gocloud-url", url)
    assert (code, words in said) == (1, True), said


def test_a_file_of_variables_that_is_not_there_is_named(run: Run) -> None:
    """Before anything is packed or asked."""
    Path("lib").write_text("lib")
    code, said = run("cache-archiver", *FILE, "--path", "lib", "--gocloud-url", "s3://b/k", "--env-file", "none")
    assert (code, "--env-file none cannot be read: No such file or directory" in said) == (1, True), said


def _asked(server: Server) -> list[dict[str, str]]:
    found = [
        {name: values[0] for name, values in parse_qs(urlsplit(one.path).query).items()} for one in server.requests
    ]
    return [{key: query[key] for key in ("comp", "sig") if key in query} for query in found]


@pytest.mark.parametrize("given", ["signed", "gocloud"])
def test_azure_takes_blocks_of_a_large_archive(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Each with the signature of the whole; the list names them in their order, and has the metadata."""
    Path("lib").write_bytes(os.urandom(5 * MIB))
    server.answers = [Answer(201) for _ in range(9)]
    more = ["--url", f"{server.url}/box/a%20b?sv=1&sig=s", "--header", "x-ms-blob-type: BlockBlob"]
    more += ["--header", "x-ms-meta-cachekey: k"]
    if given == "gocloud":
        variables = {"ACCOUNT": "acct", "DOMAIN": server.url, "SAS_TOKEN": "sv=1&sig=s"}
        for name, value in variables.items():
            monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
        more = ["--gocloud-url", "azblob://box/a%20b", "--metadata", '{"cachekey": "k"}']
    sizes = ("--chunk-size", str(2 * MIB), "--concurrency", "1", "--compression-level", "fastest")
    code, said = run("cache-archiver", *FILE, "--path", "lib", *more, *sizes)
    assert code == 0, said
    assert {urlsplit(one.path).path for one in server.requests} == {"/box/a%20b"}
    assert _asked(server) == [{"comp": "block", "sig": "s"}] * 3 + [{"comp": "blocklist", "sig": "s"}]
    *blocks, listed = server.requests
    assert b"".join(block.body for block in blocks) == STORED.read_bytes()
    names = [unquote(parse_qs(urlsplit(block.path).query)["blockid"][0]) for block in blocks]
    assert listed.body.decode().split("<BlockList>")[1] == (
        "".join(f"<Latest>{name}</Latest>" for name in names) + "</BlockList>"
    )
    assert listed.headers["x-ms-meta-cachekey"] == "k"
    assert "x-ms-blob-type" not in listed.headers
    assert "sig=s" not in said


def test_azure_takes_a_small_archive_as_it_is(run: Run, server: Server) -> None:
    """One request, with the kind of blob."""
    Path("lib").write_text("lib")
    server.answers = [Answer(201)]
    signed = ("--url", f"{server.url}/box/k?sig=s", "--header", "x-ms-blob-type: BlockBlob")
    assert run("cache-archiver", *FILE, "--path", "lib", *signed)[0] == 0
    (put,) = server.requests
    assert put.headers["x-ms-blob-type"] == "BlockBlob"
    assert put.body == STORED.read_bytes()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_parts(run: Run, s3: S3, lent: tuple[str, ...]) -> None:
    """A window of chunks, whatever is sent: 96 MiB in 16 parts at once."""
    with Path("lib").open("wb") as file:
        for _ in range(96):
            file.write(os.urandom(MIB))
    command = [sys.executable, "-c", PEAK, "cache-archiver", *FILE, "--path", "lib", *lent, *PARTS]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, env=environment, check=True, timeout=100, capture_output=True, text=True)
    assert int(done.stdout.split()[-2]) <= 76 * 1024
    assert s3.uploads() == 0
