"""Large files of the embedded GitLab: what `git lfs pull` asks for, downloads alone.

Law: an object is known by the SHA-256 of its content, and a repository's files hold pointers to it, as the
specification of Git LFS has them. The caller has checked who asks.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from aiohttp import web

_MEDIA_TYPE = "application/vnd.git-lfs+json"


class LargeFiles:
    """All large files of one server, in memory, whichever project they belong to."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def add(self, content: bytes) -> str:
        """Keep an object; returns the pointer that stands in its place in the repository."""
        oid = hashlib.sha256(content).hexdigest()
        self._objects[oid] = content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"

    async def batch(self, request: web.Request) -> web.Response:
        """Tell where to download objects, each at an address beside the one that was asked."""
        base = str(request.url.with_path(request.path.removesuffix("/info/lfs/objects/batch")))
        asked = orjson.loads(await request.read())["objects"]
        body = {"transfer": "basic", "objects": [self._entry(base, entry["oid"]) for entry in asked]}
        return web.Response(body=orjson.dumps(body), content_type=_MEDIA_TYPE)

    async def send(self, request: web.Request) -> web.Response:
        """Send one object."""
        content = self._objects.get(request.match_info["oid"])
        return web.Response(status=404) if content is None else web.Response(body=content)

    def _entry(self, base: str, oid: str) -> dict[str, Any]:
        content = self._objects.get(oid)
        if content is None:
            return {"oid": oid, "size": 0, "error": {"code": 404, "message": "Object does not exist"}}
        actions = {"download": {"href": f"{base}/gitlab-lfs/objects/{oid}"}}
        return {"oid": oid, "size": len(content), "actions": actions}
