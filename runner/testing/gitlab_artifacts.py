"""The artifacts that jobs have sent to the embedded GitLab, and its object store.

Law: files lie on disk, so that large ones need no memory. With `direct_download` and `object_store` GitLab redirects to
its store, whose addresses need no token, as GitLab.com does.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, web

_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file that a job has sent."""

    filename: str
    type: str
    """`archive`, `junit` ...; as GitLab defaults it."""
    format: str
    expire_in: str
    path: Path
    """Where its bytes lie until the server is closed."""

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()


class ArtifactStore:
    """The uploads of all jobs."""

    def __init__(self, *, limit_bytes: int = 5 << 30, object_store: bool = False) -> None:
        self.limit_bytes = limit_bytes
        """A longer upload is answered 413."""
        self.object_store = object_store
        """Whether a direct download is redirected to a store."""
        self._uploads: dict[int, list[Upload]] = {}
        self._signed: dict[str, Path] = {}
        self._folder: Path | None = None

    def of(self, job: int) -> tuple[Upload, ...]:
        """What a job has sent, in order."""
        return tuple(self._uploads.get(job, ()))

    def archive(self, job: int) -> Upload | None:
        """The archive that other jobs get; the last one counts."""
        return next((each for each in reversed(self.of(job)) if each.type == "archive"), None)

    def close(self) -> None:
        """Remove the files."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def receive(self, job: int, request: web.Request) -> web.Response:
        """Take the one part of a form."""
        part = await (await request.multipart()).next()
        if not isinstance(part, BodyPartReader) or part.name != "file":
            return web.json_response({"error": "file is missing"}, status=400)
        path = self._place()
        size = 0
        with path.open("wb") as file:
            while data := await part.read_chunk(_CHUNK_BYTES):
                size += len(data)
                if size > self.limit_bytes:
                    return web.json_response({"message": "413 Request Entity Too Large"}, status=413)
                file.write(data)
        query = request.query
        upload = Upload(
            filename=part.filename or "",
            type=query.get("artifact_type", "archive"),
            format=query.get("artifact_format", "zip"),
            expire_in=query.get("expire_in", ""),
            path=path,
        )
        self._uploads.setdefault(job, []).append(upload)
        return web.json_response({"message": "201 Created"}, status=201)

    def send(self, job: int, request: web.Request) -> web.StreamResponse:
        """Give another job's archive, or the address where it lies."""
        upload = self.archive(job)
        if upload is None:
            return web.json_response({"message": "404 Not Found"}, status=404)
        if self.object_store and request.query.get("direct_download") == "true":
            key = secrets.token_hex(16)
            self._signed[key] = upload.path
            return web.Response(status=302, headers={"Location": f"/-/object-store/{key}?signature={key[::-1]}"})
        return web.FileResponse(upload.path)

    def send_signed(self, request: web.Request) -> web.StreamResponse:
        """The object store, for who has a signed address."""
        path = self._signed.get(request.match_info["key"])
        if path is None:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        return web.FileResponse(path)

    def _place(self) -> Path:
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="gitlab-artifacts-"))
        return self._folder / secrets.token_hex(8)
