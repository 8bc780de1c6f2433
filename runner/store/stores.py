"""Which store a runner's configuration names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from runner.store.base import CacheStore, Loan, Method, SignedRequest, StoreError
from runner.store.s3 import S3Store

if TYPE_CHECKING:
    from runner.config.cache import CacheConfig


class BrokenStore:
    """A store that cannot be used as it is configured: each stage that wants it hears why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def sign(self, method: Method, name: str, *, expiry: float, metadata: Mapping[str, str]) -> SignedRequest:
        """Raise StoreError."""
        raise StoreError(self._reason)

    async def lend(self, name: str) -> Loan | None:
        """Raise StoreError."""
        raise StoreError(self._reason)


def open_store(cache: CacheConfig, *, environ: Mapping[str, str] = os.environ) -> CacheStore | None:
    """Make the store of a `[runners.cache]`; None if there is none. Asks nothing. Raises StoreError."""
    kind = cache.type.lower()
    if not kind:
        return None
    if kind in ("s3", "s3v2"):
        return S3Store(cache.s3, environ=environ)
    if kind in ("gcs", "gcsv2", "azure"):
        # Loaded by those alone who need it: it is 16 MB of another language's code.
        from runner.store.clouds import BlobStore, GoogleStore

        return BlobStore(cache.azure) if kind == "azure" else GoogleStore(cache.gcs)
    raise StoreError(f'the cache\'s Type "{cache.type}" is none: use s3, gcs or azure')
