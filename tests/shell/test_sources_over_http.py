"""get_sources against a server that asks for the job's token."""

import base64
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from runner.config.model import RunnerConfig
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.scripts import ScriptContext, script_for

pytestmark = pytest.mark.slow


def basic(user: str) -> str:
    """The header by which `user:password` is told."""
    return "Basic " + base64.b64encode(user.encode()).decode()


EXPECTED = basic("gitlab-ci-token:t0k")


@dataclass(frozen=True)
class Server:
    """A web server with one project, `group/app`, and its submodule, `group/sub`."""

    address: str
    sha: str
    """The project's commit."""
    requests: list[dict[str, str]]
    """The headers of each request so far."""


class _Backend(BaseHTTPRequestHandler):
    """git's own CGI program behind basic authentication; keeps what it was asked."""

    root: ClassVar[Path]
    seen: ClassVar[list[dict[str, str]]]

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, body: bytes) -> None:
        self.seen.append({key.lower(): value for key, value in self.headers.items()})
        if self.headers.get("Authorization") != EXPECTED:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "gitlab-ci-token",
        }
        done = subprocess.run(
            ["git", "http-backend"], env=environment, input=body, capture_output=True, check=True, timeout=60
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            self.send_header(*line.split(": ", 1))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def make_project(root: Path, name: str, files: dict[str, str], *, link: str = "") -> str:
    """Make a bare repository with one commit on main, `link` being the tree's entry of a submodule; the commit's id."""

    def git(*words: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words],
            cwd=work,
            env=environment,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return done.stdout.decode().strip()

    work = root / "work" / name
    work.mkdir(parents=True)
    for file, text in files.items():
        (work / file).write_text(text)
    git("init", "-q", "-b", "main")
    git("add", "-A")
    if link:
        git("update-index", "--add", "--cacheinfo", link)
    git("commit", "-q", "-m", "x")
    git("clone", "-q", "--bare", ".", f"{root}/group/{name}.git")
    return git("rev-parse", "HEAD")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve on loopback while the test runs."""
    sub = make_project(tmp_path, "sub", {"file": "sub"})
    modules = '[submodule "sub"]\n\tpath = sub\n\turl = git@git.example:group/sub.git\n'
    sha = make_project(tmp_path, "app", {"file": "app", ".gitmodules": modules}, link=f"160000,{sub},sub")
    seen: list[dict[str, str]] = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Backend,), {"root": tmp_path, "seen": seen}))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Server(address=f"127.0.0.1:{http.server_address[1]}", sha=sha, requests=seen)
    http.shutdown()
    thread.join(10)
    http.server_close()


def git_of_version(root: Path, version: str) -> Path:
    """Make a git that says to be of this version; the directory for PATH."""
    shim = root / "bin/git"
    shim.parent.mkdir()
    say = f'[ "$*" = version ] && {{ echo "git version {version}"; exit; }}'
    shim.write_text(f'#!/bin/sh\n{say}\nexec {shutil.which("git")} "$@"\n')
    shim.chmod(0o755)
    return shim.parent


def get_sources(root: Path, server: Server, *flags: str) -> tuple[int, str, dict[str, str]]:
    """Run the stage with these flags on: its code, what it wrote, and the files it brought."""
    git = {
        "repo_url": f"http://gitlab-ci-token:t0k@{server.address}/group/app.git",
        "ref": "main",
        "sha": server.sha,
        "refspecs": ["+refs/heads/*:refs/remotes/origin/*"],
        "depth": 1,
    }
    values = {
        **{flag: "true" for flag in flags},
        "CI_RUNNER_VERSION": "1.2",
        "CI_RUNNER_EXECUTABLE_ARCH": "linux/amd64",
        "CI_JOB_TOKEN": "t0k",
        "CI_SERVER_HOST": "git.example",
        "GIT_SUBMODULE_STRATEGY": "normal",
        "GIT_SUBMODULE_FORCE_HTTPS": "true",
        "GIT_STRATEGY": "clone" if "FF_USE_GIT_NATIVE_CLONE" in flags else "fetch",
    }
    context = ScriptContext(
        job=Job.parse({"id": 7, "token": "t0k", "git_info": git}),
        variables=Variables(Variable(key, value) for key, value in values.items()),
        config=RunnerConfig(url=f"http://{server.address}", token="glrt-x"),
        project_dir=f"{root}/builds/app",
        temp_dir=f"{root}/builds/app.tmp",
        builds_dir=f"{root}/builds",
        cache_dir=f"{root}/cache",
        correlation_id="01JCORRELATION",
    )
    script = script_for("get_sources", context)
    assert script is not None
    (root / "stage").write_text(script.text)
    (root / "home").mkdir()
    (root / "home/.gitconfig").write_text("[credential]\n\thelper = store\n")
    path = f"{git_of_version(root, '2.49.0')}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": f"{root}/home", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TRACE": f"{root}/trace"}
    done = subprocess.run(
        ["dash", f"{root}/stage"], env=environment, cwd=root, capture_output=True, check=False, timeout=60
    )
    files = {name: root / "builds/app" / name for name in ("file", "sub/file")}
    texts = {name: path.read_text() for name, path in files.items() if path.exists()}
    return done.returncode, (done.stdout + done.stderr).decode(), texts


@pytest.mark.parametrize(
    "flags",
    [(), ("FF_GIT_URLS_WITHOUT_TOKENS",), ("FF_USE_GIT_PROACTIVE_AUTH",), ("FF_USE_GIT_NATIVE_CLONE",)],
    ids=["from-the-file", "from-the-environment", "proactive", "native-clone"],
)
def test_project_and_submodule_come_with_the_job_s_token(
    tmp_path: Path, server: Server, flags: tuple[str, ...]
) -> None:
    """Both ways of giving git the token work, for an SSH submodule of the same server too, and git says who asks.

    No program that git starts has the token in its arguments.
    """
    code, output, files = get_sources(tmp_path, server, *flags)

    assert (code, files) == (0, {"file": "app", "sub/file": "sub"}), output
    assert "t0k" not in output
    assert "t0k" not in (tmp_path / "builds/app/.git/config").read_text()
    arguments = (tmp_path / "trace").read_text()
    assert "git-remote-http" in arguments
    assert "t0k" not in arguments
    assert {request.get("authorization", "") for request in server.requests} <= {"", EXPECTED}
    assert "gitlab-runner 1.2 linux/amd64" in {request["user-agent"] for request in server.requests}
    assert {request.get("x-gitaly-correlation-id") for request in server.requests} == {"01JCORRELATION"}


def test_token_is_in_no_file_without_tokens_in_urls(tmp_path: Path, server: Server) -> None:
    """With `FF_GIT_URLS_WITHOUT_TOKENS` git asks the environment, in every stage and in the user's own commands.

    Not even a helper that stores credentials, which someone set up for this user, gets to see it.
    """
    get_sources(tmp_path, server, "FF_GIT_URLS_WITHOUT_TOKENS")

    below = [*(tmp_path / "builds").rglob("*"), *(tmp_path / "home").rglob("*")]
    assert [path for path in below if path.is_file() and b"t0k" in path.read_bytes()] == []
    assert not (tmp_path / "home/.git-credentials").exists()
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": f"{tmp_path}/builds/app.tmp/.glr.gconf"}
    done = subprocess.run(
        ["git", "ls-remote", "origin"],
        env={**environment, "CI_JOB_TOKEN": "t0k", "GIT_TERMINAL_PROMPT": "0"},
        cwd=tmp_path / "builds/app",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, b"refs/heads/main" in done.stdout) == (0, True)


def test_another_user_s_password_is_that_user_s(tmp_path: Path, server: Server) -> None:
    """The token is for its own user: who pushes with a token of their own, in the URL or by a helper, uses that one."""
    get_sources(tmp_path, server)
    server.requests.clear()
    environment = {"PATH": os.environ["PATH"], "HOME": f"{tmp_path}/home", "GIT_TERMINAL_PROMPT": "0"}
    (tmp_path / "home/.git-credentials").write_text(f"http://bob:b0b@{server.address.replace(':', '%3a')}\n")
    for user in ("ada:4da", "bob"):
        subprocess.run(
            ["git", "ls-remote", f"http://{user}@{server.address}/group/app.git"],
            env=environment,
            cwd=tmp_path / "builds/app",
            capture_output=True,
            check=False,
            timeout=60,
        )
    used = {request.get("authorization", "") for request in server.requests}
    # curl tries a user of a URL without a password first.
    assert used == {"", basic("ada:4da"), basic("bob:"), basic("bob:b0b")}
