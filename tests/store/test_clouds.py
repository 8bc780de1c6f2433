"""Google's and Azure's addresses, signed without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from runner.config.cache import CacheConfig
from runner.store.base import CacheStore, StoreError
from runner.store.stores import open_store

PEM = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)


def store(kind: str, **keys: Any) -> CacheStore:
    """The store of a `[runners.cache]`."""
    made = open_store(CacheConfig.model_validate({"Type": kind, kind: keys}), environ={})
    assert made
    return made


@pytest.mark.parametrize("given", ["keys", "keys of one line", "file"])
async def test_google_when_a_service_account_signs(tmp_path: Path, given: str) -> None:
    """Signature of version 4 over the host, seven days at most."""
    if given == "file":
        (tmp_path / "account.json").write_text(json.dumps({"client_email": "a@b.c", "private_key": PEM, "type": "x"}))
        google = store("gcs", BucketName="b", CredentialsFile=str(tmp_path / "account.json"))
    else:
        key = PEM if given == "keys" else PEM.replace("\n", "\\n")
        google = store("gcs", BucketName="b", AccessID="a@b.c", PrivateKey=key)
    put = await google.sign("PUT", "project/7/a b", expiry=10**7, metadata={"cachekey": "k"})
    parts, query = urlsplit(put.url), parse_qs(urlsplit(put.url).query)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "storage.googleapis.com", "/b/project/7/a%20b")
    assert query["X-Goog-Algorithm"] == ["GOOG4-RSA-SHA256"]
    assert query["X-Goog-Credential"][0].startswith("a@b.c/")
    assert query["X-Goog-Expires"] == ["604800"]
    assert put.headers == {}


@pytest.mark.parametrize(("method", "right"), [("GET", "r"), ("HEAD", "r"), ("PUT", "w")])
async def test_azure_when_an_account_key_signs(method: Any, right: str) -> None:
    """A right for one blob; an upload says what kind it makes."""
    azure = store("azure", ContainerName="c", AccountName="acct", AccountKey="czNjcmV0")
    made = await azure.sign(method, "project/7/k", expiry=3600, metadata={"cachekey": "k"})
    parts, query = urlsplit(made.url), parse_qs(urlsplit(made.url).query)
    assert (parts.netloc, parts.path) == ("acct.blob.core.windows.net", "/c/project/7/k")
    assert (query["sp"], query["sr"]) == ([right], ["b"])
    assert made.headers == ({"x-ms-blob-type": "BlockBlob", "x-ms-meta-cachekey": "k"} if method == "PUT" else {})


async def test_azure_when_it_is_another_cloud() -> None:
    """The storage domain names it."""
    keys = {"ContainerName": "c", "AccountName": "acct", "AccountKey": "czNjcmV0"}
    azure = store("azure", **keys, StorageDomain="blob.core.chinacloudapi.cn")
    made = await azure.sign("GET", "k", expiry=60, metadata={})
    assert urlsplit(made.url).netloc == "acct.blob.core.chinacloudapi.cn"


@pytest.mark.parametrize(
    ("kind", "keys", "words"),
    [
        ("gcs", {}, "has no BucketName"),
        ("gcs", {"BucketName": "b", "CredentialsFile": "/nowhere"}, "/nowhere cannot be read: No such file"),
        ("gcs", {"BucketName": "b", "UniverseDomain": "x.cloud"}, "UniverseDomain cannot be signed for"),
        ("gcs", {"BucketName": "b", "AccessID": "a", "PrivateKey": "s3cret"}, "cannot be used"),
        ("azure", {"ContainerName": "c"}, "needs AccountName and ContainerName"),
        ("azure", {"ContainerName": "c", "AccountName": "a", "AccountKey": "!s3cret"}, "cannot be used"),
        ("swift", {}, 'Type "swift" is none'),
    ],
    ids=["no bucket", "no file", "universe", "no key", "no account", "broken key", "no type"],
)
def test_store_when_it_cannot_work(kind: str, keys: dict[str, str], words: str) -> None:
    """A sentence without the secret."""
    table = {kind: keys} if kind != "swift" else {}
    with pytest.raises(StoreError, match=words) as caught:
        open_store(CacheConfig.model_validate({"Type": kind, **table}), environ={})
    assert "s3cret" not in str(caught.value)


def test_store_when_there_is_none() -> None:
    """Without a type jobs have no distributed cache."""
    assert open_store(CacheConfig(), environ={}) is None
