"""artifacts-uploader and artifacts-downloader, against a server that answers as it is told."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.helper.commands.conftest import Answer, Run, Server


def _job(server: Server, *more: str) -> tuple[str, ...]:
    return ("--url", server.url, "--token", "glcbt-secret-token", "--id", "7", *more)


def _zip(**files: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return target.getvalue()


def test_an_upload_is_a_form_with_the_archive(run: Run, server: Server) -> None:
    """With the query that GitLab reads, and the token in a header alone."""
    Path("a.txt").write_text("A")
    server.answers = [Answer(201)]
    code, said = run("artifacts-uploader", *_job(server), "--path", "*.txt", "--name", "x/y", "--expire-in", "1 day")
    assert code == 0, said
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/v4/jobs/7/artifacts?expire_in=1+day")
    assert request.headers["JOB-TOKEN"] == "glcbt-secret-token"
    assert b'name="file"; filename="y.zip"' in request.body
    archive = request.body.split(b"\r\n\r\n", 1)[1].rpartition(b"\r\n--")[0]
    assert zipfile.ZipFile(io.BytesIO(archive)).read("a.txt") == b"A"
    assert "201 Created" in said
    assert "glcbt-secret-token" not in said


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("$CI_JOB_NAME-$CI_COMMIT_REF_NAME", "topic.zip"),
        ("${CI_JOB_NAME}_$((1 + 1))", "build_2.zip"),
        ("$NOTHING", "default.zip"),
        ("$(id)", "$(id).zip"),
    ],
    ids=["the part behind a slash", "as in double quotes", "nothing is left", "no command runs"],
)
def test_the_name_of_an_archive_is_expanded(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    """By the helper, from its environment, as the paths are."""
    monkeypatch.setenv("CI_JOB_NAME", "build")
    monkeypatch.setenv("CI_COMMIT_REF_NAME", "feature/topic")
    Path("a").write_text("A")
    server.answers = [Answer(201)]
    code, said = run("artifacts-uploader", *_job(server), "--path", "a", "--name", name)
    assert code == 0, said
    assert f'filename="{file}"'.encode() in server.requests[0].body
    assert ("$(id): used as it is" in said) is (name == "$(id)")


def test_no_files_are_an_error_in_the_log_and_no_failure(run: Run, server: Server) -> None:
    """As in the original: the exit code is 0 and GitLab is not asked."""
    code, said = run("artifacts-uploader", *_job(server), "--path", "*.txt")
    assert (code, server.requests) == (0, [])
    assert "ERROR: No files to upload" in said


@pytest.mark.parametrize(
    ("statuses", "tries", "code"),
    [
        ([201], 1, 0),
        ([500, 201], 2, 0),
        ([500, 500, 201], 3, 0),
        ([500, 500, 500], 3, 1),
        ([503, 503, 503, 503, 503, 201], 6, 0),
        ([503] * 6, 6, 1),
        ([413], 1, 1),
        ([403], 1, 1),
        ([400], 1, 1),
    ],
)
def test_how_often_an_upload_is_tried(run: Run, server: Server, statuses: list[int], tries: int, code: int) -> None:
    """By the class of the answer."""
    Path("a").write_text("A")
    server.answers = [Answer(status) for status in statuses]
    found, said = run("artifacts-uploader", *_job(server), "--path", "a")
    assert (found, len(server.requests)) == (code, tries), said
    assert ("FATAL: " in said) is (code == 1)


def test_a_redirect_of_an_upload_names_another_host(run: Run, server: Server, other_server: Server) -> None:
    """307 with a Location: the same request goes there."""
    Path("a").write_text("A")
    server.answers = [Answer(307, headers={"Location": f"{other_server.url}/elsewhere"})]
    other_server.answers = [Answer(201)]
    code, said = run("artifacts-uploader", *_job(server), "--path", "a")
    assert code == 0, said
    assert other_server.requests[0].path == "/api/v4/jobs/7/artifacts"


def test_a_download_is_extracted(run: Run, server: Server) -> None:
    """Into the working directory."""
    server.answers = [Answer(body=_zip(a="A"))]
    code, said = run("artifacts-downloader", *_job(server))
    assert (code, Path("a").read_text()) == (0, "A")
    assert server.requests[0].path == "/api/v4/jobs/7/artifacts"
    assert "Downloading artifacts from coordinator... ok" in said


def test_a_token_is_not_taken_to_another_host(run: Run, server: Server, other_server: Server) -> None:
    """The object store's address is signed; the token is for GitLab alone."""
    server.answers = [Answer(302, headers={"Location": f"{other_server.url}/bucket/x?signature=abc"})]
    other_server.answers = [Answer(body=_zip(a="A"))]
    code, said = run("artifacts-downloader", *_job(server, "--direct-download"))
    assert code == 0, said
    assert server.requests[0].path.endswith("?direct_download=true")
    assert "JOB-TOKEN" not in other_server.requests[0].headers
    assert "signature" not in said


@pytest.mark.parametrize(
    ("answers", "tries", "code"),
    [
        ([Answer(500), Answer(body=_zip(a="A"))], 2, 0),
        ([Answer(body=_zip(a="A" * 1000), cut=True), Answer(body=_zip(a="A"))], 2, 0),
        ([Answer(500)] * 3, 3, 1),
        ([Answer(404)], 1, 1),
        ([Answer(401)], 1, 1),
        ([Answer(body=b"no archive")], 1, 1),
    ],
    ids=["500", "cut", "always 500", "404", "401", "garbage"],
)
def test_how_often_a_download_is_tried(run: Run, server: Server, answers: list[Answer], tries: int, code: int) -> None:
    """A cut is as good as no answer; a broken archive stays broken."""
    server.answers = list(answers)
    found, said = run("artifacts-downloader", *_job(server))
    assert (found, len(server.requests)) == (code, tries), said
    assert [path.name for path in Path().iterdir()] == (["a"] if code == 0 else [])


@pytest.mark.parametrize("command", ["artifacts-uploader", "artifacts-downloader"])
def test_what_is_missing_is_named(run: Run, command: str) -> None:
    """Each flag that the command cannot do without."""
    code, said = run(command, "--id", "7")
    assert code == 1
    assert "FATAL: Incomplete arguments: --url, --token missing" in said


def test_a_server_that_is_away_is_told_without_a_traceback(run: Run) -> None:
    """One line with the reason."""
    Path("a").write_text("A")
    code, said = run("artifacts-uploader", "--url", "http://127.0.0.1:1", "--token", "t", "--id", "1", "--path", "a")
    assert code == 1
    assert "is not to be reached: Connection refused" in said
    assert "Traceback" not in said


def test_where_artifacts_come_from_lies_beside_them(run: Run, server: Server) -> None:
    """A statement with the sums of the files and the names of the variables."""
    Path("a.txt").write_text("A")
    server.answers = [Answer(201)]
    code, said = run(
        "artifacts-uploader",
        *_job(server),
        *("--path", "a.txt", "--artifact-format", "zip", "--generate-artifacts-metadata", "--job-name", "build"),
        *("--metadata-parameter", "CI_JOB_NAME", "--runner-id", "5", "--name", "bin"),
    )
    assert code == 0, said
    assert b"bin-metadata.json" in server.requests[0].body
    statement = Path("bin-metadata.json").read_text()
    assert '"sha256": "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd"' in statement
    assert '"CI_JOB_NAME": ""' in statement
