"""Addresses of caches, signed right before the stage that uses them.

The law: a cache never breaks a job, and never keeps one waiting for long. What cannot be signed is a warning in this
process's log and a line in the job's; the stage goes on without addresses. An address is told to the script alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from runner.job.stages import Stage
from runner.shell.archives import cache_keys
from runner.shell.cache_links import CacheLinks
from runner.store.base import CacheStore, StoreError
from runner.store.objects import object_name

if TYPE_CHECKING:
    from runner.manager.material import JobMaterial
    from runner.shell.archives import CacheKey
    from runner.shell.context import ScriptContext
    from runner.store.base import Method

log = structlog.get_logger()

SIGN_TIMEOUT = 20.0
"""Seconds for all addresses of a stage: credentials of the environment may have to be asked for."""

_STAGES = frozenset({Stage.RESTORE_CACHE, Stage.ARCHIVE_CACHE, Stage.ARCHIVE_CACHE_ON_FAILURE})


class CacheLinksError(Exception):
    """A stage has no addresses for its caches; its reader is told, and the reason stands in this process's log."""


class LinkMaker(Protocol):
    """Signs what a stage needs."""

    async def links(self, material: JobMaterial, stage: str) -> Mapping[str, CacheLinks]:
        """Give the addresses by the path of a cache's key. Raises CacheLinksError."""


class CacheLinkMaker:
    """The addresses of one runner's store; None: it has none."""

    def __init__(self, store: CacheStore | None, *, timeout: float = SIGN_TIMEOUT) -> None:
        self._store = store
        self._timeout = timeout

    async def links(self, material: JobMaterial, stage: str) -> Mapping[str, CacheLinks]:
        """Give the addresses by the path of a cache's key. Raises CacheLinksError."""
        if self._store is None or stage not in _STAGES:
            return {}
        context = material.script_context(job_status="running").expanded()
        keys = cache_keys(stage, context)
        if not keys:
            return {}
        try:
            with anyio.fail_after(self._timeout):
                signer = _Signer(self._store, material, context, upload=stage != Stage.RESTORE_CACHE)
                return {key.path: links for key in keys if (links := await signer.of(key))}
        except StoreError as error:
            log.warning("caches have no address in their store", stage=stage, reason=str(error))
        except TimeoutError:
            log.warning("caches have no address in their store", stage=stage, reason=f"no answer in {self._timeout} s")
        except Exception as error:  # noqa: BLE001 -- a cache never breaks a job; the words may hold what is signed
            fault = type(error).__name__
            log.warning("a fault of this program left caches without an address", stage=stage, fault=fault)
        raise CacheLinksError


class _Signer:
    """Signs for one stage of one job."""

    def __init__(self, store: CacheStore, material: JobMaterial, context: ScriptContext, *, upload: bool) -> None:
        self._store = store
        self._runner = material.runner
        self._project = material.job.job_info.project_id
        self._expiry = float(material.job.timeout)
        self._hashed = context.flag("FF_HASH_CACHE_KEYS")
        self._upload = upload

    async def of(self, key: CacheKey) -> CacheLinks | None:
        """The addresses of one cache; None for a key whose object would not be the project's own."""
        name = self._name(key.path, hashed=self._hashed)
        if not name:
            log.warning("a cache's key leads out of its project's folder", key=key.shown)
            return None
        head = await self._url("HEAD", name)
        if self._upload:
            request = await self._store.sign("PUT", name, expiry=self._expiry, metadata={"cachekey": key.shown})
            loan = await self._store.lend(name)
            links = CacheLinks(request.url, head, request.headers)
            return replace(links, gocloud_url=loan.gocloud_url, environment=loan.environment) if loan else links
        other = self._name(key.alternate(hashed=self._hashed), hashed=not self._hashed)
        return CacheLinks(
            await self._url("GET", name),
            head,
            alternate_url=await self._url("GET", other) if other else "",
            alternate_head_url=await self._url("HEAD", other) if other else "",
        )

    def _name(self, path: str, *, hashed: bool) -> str:
        return object_name(self._runner, project_id=self._project, key=path, hashed=hashed)

    async def _url(self, method: Method, name: str) -> str:
        return (await self._store.sign(method, name, expiry=self._expiry, metadata={})).url
