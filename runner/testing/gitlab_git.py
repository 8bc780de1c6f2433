"""Repositories of the embedded GitLab: real ones, served by `git http-backend` over smart HTTP.

Law: git itself stores and speaks; nothing here knows an object or a packet. Commits are reproducible: fixed author and
clock.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL

import anyio
from aiohttp import web
from anyio.abc import ByteSendStream

_AUTHOR = "Ada <ada@example.com> 1755856800 +0000"
_CONFIG = """[core]
\trepositoryformatversion = 1
\tbare = true
[extensions]
\tobjectformat = {object_format}
[http]
\treceivepack = false
[uploadpack]
\tallowAnySHA1InWant = true
\tallowFilter = true
"""
_HEAD_BYTES_MAX = 64 * 1024


class Repository:
    """One project's repository. `commit` moves the branch, and with it `sha` and `pipeline_id`."""

    def __init__(
        self, path: str, *, url: str, directory: Path, branch: str, object_format: str = "sha1", private: bool = False
    ) -> None:
        self.path = path
        """The project's path, such as `acme/demo`."""
        self.url = url
        """Where to clone from, without credentials."""
        self.directory = directory
        """The bare repository on disk."""
        self.branch = branch
        self.object_format = object_format
        """`sha1` or `sha256`."""
        self.private = private
        """No job's token opens it, as a project whose access list names nobody: it answers as if it were not there."""
        self.sha = ""
        """The branch's commit."""
        self.pipeline_id = 899
        """Each commit is the head of `refs/pipelines/<pipeline_id>`, as GitLab keeps one for every pipeline."""

    async def commit(
        self,
        files: Mapping[str, str | bytes | None],
        *,
        message: str = "Change",
        executable: Collection[str] = (),
        submodules: Mapping[str, str] | None = None,
    ) -> str:
        """Add or replace files (None deletes one) in a new commit on the branch and return its id.

        `submodules` are paths with the commits that stand there; their `.gitmodules` is a file like others.
        """
        self.pipeline_id += 1
        stream = [
            f"commit refs/heads/{self.branch}\nmark :1\ncommitter {_AUTHOR}\n".encode(),
            _data(message.encode()),
            f"from {self.sha}\n".encode() if self.sha else b"",
        ]
        for name, content in files.items():
            if content is None:
                stream.append(b"D %s\n" % _quoted(name))
                continue
            mode = b"100755" if name in executable else b"100644"
            stream.append(b"M %s inline %s\n" % (mode, _quoted(name)))
            stream.append(_data(content.encode() if isinstance(content, str) else content))
        stream += [b"M 160000 %s %s\n" % (sha.encode(), _quoted(name)) for name, sha in (submodules or {}).items()]
        stream.append(f"reset refs/pipelines/{self.pipeline_id}\nfrom :1\n\nget-mark :1\n".encode())
        self.sha = (await self._git("fast-import", "--quiet", "--cat-blob-fd=1", input=b"".join(stream))).strip()
        return self.sha

    async def tag(self, name: str) -> None:
        """Put a tag on the branch's commit."""
        await self._git("update-ref", f"refs/tags/{name}", self.sha)

    def remove(self) -> None:
        """Delete the repository, as a project's owner does."""
        shutil.rmtree(self.directory)

    async def _git(self, *arguments: str, input: bytes | None = None) -> str:
        done = await anyio.run_process(
            ["git", "-C", str(self.directory), *arguments], input=input, env=_environment(self.directory)
        )
        return done.stdout.decode()


class Repositories:
    """All repositories of one server, in a temporary directory that is made with the first and removed by `close`."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._private: set[str] = set()

    async def create(
        self,
        path: str,
        *,
        url: str,
        files: Mapping[str, str | bytes | None],
        branch: str = "main",
        object_format: str = "sha1",
        private: bool = False,
    ) -> Repository:
        """Make a repository whose first commit has these files."""
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="gitlab-"))
        directory = self._root / f"{path}.git"
        for name in ("objects", "refs/heads"):
            (directory / name).mkdir(parents=True)
        (directory / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
        (directory / "config").write_text(_CONFIG.format(object_format=object_format))
        repository = Repository(
            path, url=url, directory=directory, branch=branch, object_format=object_format, private=private
        )
        if private:
            self._private.add(f"/{path}.git")
        await repository.commit(files, message="Begin")
        return repository

    async def mirror(self, path: str, *, url: str, source: Path, branch: str, sha: str) -> Repository:
        """Serve a copy of an existing repository whose branch stands at `sha`; its objects are shared, not copied."""
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="gitlab-"))
        directory = self._root / f"{path}.git"
        directory.parent.mkdir(parents=True, exist_ok=True)
        await anyio.run_process(["git", "clone", "--quiet", "--bare", "--shared", str(source), str(directory)])
        (directory / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
        (directory / "config").write_text(_CONFIG.format(object_format="sha1"))
        repository = Repository(path, url=url, directory=directory, branch=branch)
        repository.sha = sha
        await repository._git("update-ref", f"refs/heads/{branch}", sha)
        await repository._git("update-ref", f"refs/pipelines/{repository.pipeline_id}", sha)
        return repository

    async def serve(self, request: web.Request, path_info: str) -> web.StreamResponse:
        """Answer a git client's request as a web server with CGI does; the caller has checked who asks."""
        if self._root is None or any(path_info.startswith(f"{path}/") for path in self._private):
            return web.Response(status=404)
        # A fetch's questions are small; the middleware in front may have read this one already. A question that git
        # packed has been unpacked here, so git is not told of it.
        question = await request.read()
        environment = _environment(self._root) | {
            "GIT_PROJECT_ROOT": str(self._root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "PATH_INFO": path_info,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_LENGTH": str(len(question)),
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        async with await anyio.open_process(["git", "http-backend"], env=environment, stderr=DEVNULL) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            async with anyio.create_task_group() as group:
                group.start_soon(_feed, question, process.stdin)
                answer = await _relay(request, process.stdout)
                # A client that has all of the answer hangs up, and that must not fall into the wait for git's end.
                await process.wait()
                group.cancel_scope.cancel()
        if answer.prepared:
            await answer.write_eof()
        return answer

    def close(self) -> None:
        """Remove everything from the disk."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None


async def _feed(question: bytes, stdin: ByteSendStream) -> None:
    # git may know enough before it has read all of the question.
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await stdin.send(question)
        await stdin.aclose()


async def _relay(request: web.Request, stdout: anyio.abc.ByteReceiveStream) -> web.StreamResponse:
    """Pass on what git answers, up to the end that the caller writes."""
    head = b""
    while b"\r\n\r\n" not in head:
        try:
            head += await stdout.receive()
        except anyio.EndOfStream:
            return web.Response(status=502, text="git http-backend gave no answer")
        if len(head) > _HEAD_BYTES_MAX:
            return web.Response(status=502, text="git http-backend gave no end of its headers")
    fields, _, body = head.partition(b"\r\n\r\n")
    answer = web.StreamResponse()
    for line in fields.decode().split("\r\n"):
        name, _, value = line.partition(": ")
        if name == "Status":
            answer.set_status(int(value.split()[0]))
        else:
            answer.headers[name] = value
    await answer.prepare(request)
    await answer.write(body)
    with suppress(anyio.EndOfStream):
        while True:
            await answer.write(await stdout.receive())
    return answer


def _environment(home: Path) -> dict[str, str]:
    """Return an environment in which no configuration of this machine's counts."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _quoted(name: str) -> bytes:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode()
