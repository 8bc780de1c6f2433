"""Google Cloud Storage and Azure Blob Storage, signed by obstore.

With keys in the configuration nothing is asked of the network; else the library finds the credentials of the
environment by itself, in threads of its own. Its signatures cover no header but the host, so Google's keep no metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore

from runner.store.base import LONGEST_EXPIRY, Loan, Method, SignedRequest, StoreError, plain_metadata

if TYPE_CHECKING:
    from obstore.store import RetryConfig

    from runner.config.cache import CacheAzureConfig, CacheGcsConfig

_RETRIES: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
_GOOGLE = "googleapis.com"
_AZURE = "blob.core.windows.net"


class GoogleStore:
    """One bucket of Google Cloud Storage."""

    def __init__(self, config: CacheGcsConfig) -> None:
        if not config.bucket_name:
            raise StoreError("[runners.cache.gcs] has no BucketName")
        if config.universe_domain not in ("", _GOOGLE):
            raise StoreError("UniverseDomain cannot be signed for: only Google's public cloud can")
        key = _google_key(config)
        try:
            if key:
                self._store = GCSStore(config.bucket_name, retry_config=_RETRIES, service_account_key=key)
            else:
                self._store = GCSStore(config.bucket_name, retry_config=_RETRIES)
        except (BaseError, ValueError) as error:
            raise StoreError(f"the credentials for Google's store cannot be used: {_reason(error)}") from error

    async def sign(self, method: Method, name: str, *, expiry: float, metadata: Mapping[str, str]) -> SignedRequest:
        """Sign a request. The metadata is not kept. Raises StoreError."""
        return SignedRequest(await _signed(self._store, method, name, min(expiry, LONGEST_EXPIRY)))

    async def lend(self, name: str) -> Loan | None:
        """Lend nothing: Google takes objects of any size in one request."""
        return None


class BlobStore:
    """One container of Azure Blob Storage."""

    def __init__(self, config: CacheAzureConfig) -> None:
        if not config.container_name or not config.account_name:
            raise StoreError("[runners.cache.azure] needs AccountName and ContainerName")
        endpoint = f"https://{config.account_name}.{config.storage_domain or _AZURE}"
        account, container = config.account_name, config.container_name
        try:
            if config.account_key:
                self._store = AzureStore(
                    container,
                    retry_config=_RETRIES,
                    endpoint=endpoint,
                    account_name=account,
                    account_key=config.account_key,
                    credential_type="access_key",
                )
            else:
                self._store = AzureStore(container, retry_config=_RETRIES, endpoint=endpoint, account_name=account)
        except (BaseError, ValueError) as error:
            raise StoreError(f"the credentials for Azure's store cannot be used: {_reason(error)}") from error

    async def sign(self, method: Method, name: str, *, expiry: float, metadata: Mapping[str, str]) -> SignedRequest:
        """Sign a request; an upload's headers say what kind of blob it makes. Raises StoreError."""
        # The library gives a HEAD no right at all; the right to read is what it takes.
        url = await _signed(self._store, "GET" if method == "HEAD" else method, name, expiry)
        if method != "PUT":
            return SignedRequest(url)
        kept = {f"x-ms-meta-{key}": value for key, value in plain_metadata(metadata).items()}
        return SignedRequest(url, {"x-ms-blob-type": "BlockBlob", **kept})

    async def lend(self, name: str) -> Loan | None:
        """Lend nothing: a signed address of Azure is good for each block of its blob."""
        return None


async def _signed(store: GCSStore | AzureStore, method: Method, name: str, expiry: float) -> str:
    try:
        return await obstore.sign_async(store, method, name, timedelta(seconds=max(1, int(expiry))))
    except (BaseError, ValueError) as error:
        raise StoreError(f"the store's address cannot be signed: {_reason(error)}") from error


def _google_key(config: CacheGcsConfig) -> str:
    """A service account's key as the library reads it; empty for what the environment has."""
    if config.credentials_file:
        try:
            found = json.loads(Path(config.credentials_file).read_text(encoding="utf-8"))
        except OSError as error:
            raise StoreError(f"CredentialsFile {config.credentials_file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise StoreError(f"CredentialsFile {config.credentials_file} is no JSON") from error
        if not isinstance(found, dict) or not found.get("private_key"):
            raise StoreError(f"CredentialsFile {config.credentials_file} holds no private_key of a service account")
    elif config.access_id and config.private_key:
        # config.toml holds the line breaks of the key as they stand in Google's JSON.
        found = {"client_email": config.access_id, "private_key": config.private_key.replace("\\n", "\n")}
    else:
        return ""
    return json.dumps({"private_key_id": "", **found})


def _reason(error: BaseException) -> str:
    """The first line of the library's words, without what may stand in a URL's query."""
    return str(error).strip().split("\n")[0].partition("?")[0][:300]
