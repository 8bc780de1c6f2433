"""Where a bucket is, and what is signed for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from runner.config.cache import CacheS3Config
from runner.store.base import StoreError
from runner.store.s3 import S3Store, endpoint, uses_keys

KEYS = {"ServerAddress": "minio:9000", "AccessKey": "a", "SecretKey": "s3cret"}


def config(**keys: Any) -> CacheS3Config:
    """A `[runners.cache.s3]` with a bucket."""
    return CacheS3Config.model_validate({"BucketName": "b", **keys})


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({}, "https://b.s3.dualstack.eu-west-1.amazonaws.com/"),
        ({"DualStack": False}, "https://b.s3.eu-west-1.amazonaws.com/"),
        ({"Accelerate": True}, "https://b.s3-accelerate.dualstack.amazonaws.com/"),
        ({"ServerAddress": "s3.amazonaws.com", "DualStack": False}, "https://b.s3.eu-west-1.amazonaws.com/"),
        ({"BucketName": "a.b"}, "https://s3.dualstack.eu-west-1.amazonaws.com/a.b/"),
        ({"PathStyle": True}, "https://s3.dualstack.eu-west-1.amazonaws.com/b/"),
        ({"ServerAddress": "minio:9000"}, "https://minio:9000/b/"),
        ({"ServerAddress": "minio:443"}, "https://minio/b/"),
        ({"ServerAddress": "minio:80", "Insecure": True}, "http://minio/b/"),
        ({"ServerAddress": "minio:443", "Insecure": True}, "http://minio:443/b/"),
        ({"ServerAddress": "minio:9000", "PathStyle": False}, "https://b.minio:9000/"),
        ({"ServerAddress": "s3.eu-west-1.amazonaws.com"}, "https://b.s3.eu-west-1.amazonaws.com/"),
        ({"ServerAddress": "storage.googleapis.com"}, "https://b.storage.googleapis.com/"),
        ({"ServerAddress": "notamazonaws.com"}, "https://notamazonaws.com/b/"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_endpoint_when_keys_choose_it(keys: dict[str, Any], url: str) -> None:
    """GitLab Runner's rules."""
    assert endpoint(config(**keys), "eu-west-1") == url


def test_endpoint_when_the_region_is_chinese() -> None:
    """Amazon's other cloud has a domain of its own."""
    assert endpoint(config(DualStack=False), "cn-north-1") == "https://b.s3.cn-north-1.amazonaws.com.cn/"


@pytest.mark.parametrize(
    ("keys", "uses"),
    [
        (KEYS, True),
        ({"AccessKey": "a", "SecretKey": "b"}, False),
        ({"AccessKey": "a", "SecretKey": "b", "AuthenticationType": "access-key"}, True),
        ({**KEYS, "AuthenticationType": "iam"}, False),
        ({}, False),
    ],
    ids=["all", "no server", "asked for", "iam", "none"],
)
def test_keys_when_they_are_used(keys: dict[str, Any], uses: bool) -> None:
    """By what is asked for, else by what is there."""
    assert uses_keys(config(**keys)) is uses


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"BucketName": ""}, "has no BucketName"),
        ({"ServerSideEncryption": "rot13"}, 'ServerSideEncryption "rot13" is none'),
    ],
    ids=["bucket", "encryption"],
)
def test_store_when_it_cannot_work(keys: dict[str, Any], words: str) -> None:
    """The sentence names the key."""
    with pytest.raises(StoreError, match=words):
        S3Store(config(**keys), environ={})


async def test_sign_when_keys_are_given() -> None:
    """Name, expiry and headers; at most seven days, without a question to anyone."""
    store = S3Store(config(**KEYS, BucketLocation="EU", SessionToken="t0ken", ServerSideEncryption="S3"), environ={})
    put = await store.sign("PUT", "project/7/a b", expiry=10**9, metadata={"cachekey": "a b", "odd": "ü"})
    parts, query = urlsplit(put.url), parse_qs(urlsplit(put.url).query)
    assert (parts.netloc, parts.path) == ("minio:9000", "/b/project/7/a%20b")
    assert query["X-Amz-Expires"] == ["604800"]
    assert query["X-Amz-Credential"][0].split("/")[0::2] == ["a", "eu-west-1", "aws4_request"]
    assert query["X-Amz-Security-Token"] == ["t0ken"]
    assert query["X-Amz-SignedHeaders"] == ["host;x-amz-meta-cachekey;x-amz-server-side-encryption"]
    assert put.headers == {"x-amz-meta-cachekey": "a b", "x-amz-server-side-encryption": "AES256"}
    assert "s3cret" not in put.url
    assert "minio" not in repr(put)


Answers = dict[str, tuple[int, str]]


@asynccontextmanager
async def server(answers: Answers, seen: list[str]) -> AsyncIterator[str]:
    """An HTTP server with an answer for each `METHOD /path`; it writes down what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        action = (await request.post()).get("Action") or request.query.get("Action")
        seen.append(f"{request.method} {request.path} {action if isinstance(action, str) else ''}".rstrip())
        status, text = answers.get(f"{request.method} {request.path}", (404, ""))
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def xml(name: str) -> str:
    """Credentials as Amazon's token service gives them."""
    return (
        f"<R><Credentials><AccessKeyId>{name}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        "<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></R>"
    )


JSON = '{"AccessKeyId": "NAME", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}'
MACHINE: Answers = {
    "PUT /latest/api/token": (200, "token"),
    "GET /latest/meta-data/iam/security-credentials/": (200, "role"),
    "GET /latest/meta-data/iam/security-credentials/role": (200, JSON.replace("NAME", "MACHINE")),
}


async def signer(store: S3Store, method: Any = "GET") -> str:
    """In whose name a store signs."""
    url = (await store.sign(method, "k", expiry=60, metadata={})).url
    return parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[0]


async def test_sign_when_the_environment_has_keys() -> None:
    """Variables go first."""
    environ = {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "s"}
    assert await signer(S3Store(config(BucketLocation="r"), environ=environ)) == "ENV"


async def test_sign_when_a_service_account_has_a_role(tmp_path: Any) -> None:
    """The token in the file is given for the role's keys, once for many addresses."""
    (tmp_path / "token").write_text("jwt")
    seen: list[str] = []
    async with server({"POST /": (200, xml("WEB"))}, seen) as url:
        environ = {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "arn",
            "AWS_ENDPOINT_URL_STS": url,
        }
        store = S3Store(config(BucketLocation="r"), environ=environ)
        assert [await signer(store), await signer(store, "PUT")] == ["WEB", "WEB"]
    assert seen == ["POST / AssumeRoleWithWebIdentity"]


async def test_sign_when_there_is_a_shared_file(tmp_path: Any) -> None:
    """The profile that the environment names."""
    (tmp_path / "c").write_text("[ci]\naws_access_key_id = FILE\naws_secret_access_key = s\n")
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "c"), "AWS_PROFILE": "ci"}
    assert await signer(S3Store(config(BucketLocation="r"), environ=environ)) == "FILE"


async def test_sign_when_the_container_or_the_machine_has_a_role() -> None:
    """By the addresses that are local to them."""
    seen: list[str] = []
    async with server({"GET /c": (200, JSON.replace("NAME", "CONTAINER")), **MACHINE}, seen) as url:
        inside = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/c"}
        assert await signer(S3Store(config(BucketLocation="r"), environ=inside)) == "CONTAINER"
        machine = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}
        assert await signer(S3Store(config(BucketLocation="r"), environ=machine)) == "MACHINE"


async def test_sign_when_nothing_has_a_role() -> None:
    """The sentence names the way out and where it was asked."""
    async with server({}, []) as url:
        store = S3Store(config(BucketLocation="r"), environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})
        with pytest.raises(StoreError, match=r"no credentials for S3, and this machine has no role: .* answered 404"):
            await signer(store)


async def test_sign_when_uploads_have_a_role_of_their_own() -> None:
    """It signs for uploads alone; kept unless each address shall have its own session."""
    seen: list[str] = []
    async with server({"GET /": (200, xml("ROLE"))}, seen) as url:
        for kept in (True, False):
            keys = {
                **KEYS,
                "BucketLocation": "r",
                "UploadRoleARN": "arn",
                "DisableAssumeRoleCredentialsCaching": not kept,
            }
            store = S3Store(config(**keys), environ={"AWS_ENDPOINT_URL_STS": url})
            assert [await signer(store), await signer(store, "PUT"), await signer(store, "PUT")] == [
                "a",
                "ROLE",
                "ROLE",
            ]
            assert seen == ["GET / AssumeRole"] * (1 if kept else 2)
            seen.clear()


@pytest.mark.parametrize(
    ("answer", "region"),
    [
        ((200, "<LocationConstraint>ap-south-1</LocationConstraint>"), "ap-south-1"),
        ((200, "<LocationConstraint>EU</LocationConstraint>"), "eu-west-1"),
        ((200, "<LocationConstraint/>"), "us-east-1"),
        ((403, ""), "us-east-1"),
    ],
    ids=["named", "old name", "empty", "refused"],
)
async def test_sign_when_the_region_is_not_given(answer: tuple[int, str], region: str) -> None:
    """The bucket is asked once."""
    seen: list[str] = []
    async with server({"GET /b/": answer}, seen) as url:
        keys = {**KEYS, "ServerAddress": url.removeprefix("http://"), "Insecure": True}
        store = S3Store(config(**keys), environ={})
        for _ in range(2):
            signed = await store.sign("GET", "k", expiry=60, metadata={})
            assert parse_qs(urlsplit(signed.url).query)["X-Amz-Credential"][0].split("/")[2] == region
    assert seen == ["GET /b/"]
