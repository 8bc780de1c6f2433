"""What a role's session is lent for: one object, one way, and the address that goes with it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web

from runner.helper.transfer.s3_place import S3Place, parse_gocloud_url
from runner.store.base import StoreError
from runner.store.s3 import MOST_LOANS, S3Store, upload_policy
from tests.store.test_s3 import KEYS, config, server, xml


@asynccontextmanager
async def _serving(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _sts(asked: list[dict[str, str]]) -> AbstractAsyncContextManager[str]:
    """A token service that writes down what it is asked for."""

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.Response(text=xml("LENT"))

    return _serving(answer)


SSE = "x-amz-server-side-encryption"


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({}, "s3://b/k?awssdk=v2&dualstack=true&region=us-west-1"),
        ({"ServerAddress": "s3.amazonaws.com"}, "s3://b/k?awssdk=v2&dualstack=true&region=us-west-1"),
        ({"DualStack": False}, "s3://b/k?awssdk=v2&region=us-west-1"),
        ({"Accelerate": True}, "s3://b/k?accelerate=true&awssdk=v2&dualstack=true&region=us-west-1"),
        (
            {"ServerAddress": "minio:9000", "Insecure": True},
            "s3://b/k?awssdk=v2&dualstack=true&endpoint=http%3A%2F%2Fminio%3A9000&hostname_immutable=true"
            "&region=us-west-1&use_path_style=true",
        ),
        (
            {"ServerSideEncryption": "DSSE-KMS", "ServerSideEncryptionKeyID": "id"},
            "s3://b/k?awssdk=v2&dualstack=true&kmskeyid=id&region=us-west-1&ssetype=aws%3Akms%3Adsse",
        ),
    ],
    ids=["amazon", "amazon's name", "single stack", "accelerate", "own server", "kms"],
)
async def test_lend_when_a_role_is_configured(keys: dict[str, Any], url: str) -> None:
    """GitLab Runner's address, and the session's keys as variables."""
    async with server({"GET /": (200, xml("LENT"))}, []) as sts:
        given = {"AccessKey": "a", "SecretKey": "s3cret", "AuthenticationType": "access-key", "UploadRoleARN": "arn"}
        made = config(BucketLocation="us-west-1", **given, **keys)
        loan = await S3Store(made, environ={"AWS_ENDPOINT_URL_STS": sts}).lend("k")
    assert loan is not None
    assert loan.gocloud_url == url
    names = {"AWS_ACCESS_KEY_ID": "LENT", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t", "AWS_PROFILE": ""}
    assert loan.environment == names
    assert "LENT" not in repr(loan)


@pytest.mark.parametrize(
    "place",
    [
        S3Place("b", "eu-west-1", dual_stack=True),
        S3Place("b.c", "cn-north-1"),
        S3Place("b", "r", "http://minio:9000", path_style=True),
        S3Place("b", "us-east-1", accelerate=True, dual_stack=True),
    ],
    ids=["amazon", "dots", "own server", "accelerate"],
)
def test_place_when_it_is_written_and_read(place: S3Place) -> None:
    """The helper asks where the manager says."""
    headers = {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "a:b/c"}
    assert parse_gocloud_url(place.gocloud_url("a b/ü'$", headers=headers)) == (place, "a b/ü'$", headers)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://b/k", "https://b.s3.us-east-1.amazonaws.com/"),
        ("s3://b/k?endpoint=minio:9000&disableSSL=true&s3ForcePathStyle=true&region=r", "http://minio:9000/b/"),
        ("s3://b/k?endpoint=minio&region=r", "https://b.minio/"),
    ],
)
def test_place_when_an_older_runner_writes_it(url: str, address: str) -> None:
    """The names that its library had before."""
    assert parse_gocloud_url(url)[0].address == address


@pytest.mark.parametrize("role", [{}, {"RoleARN": "all"}, {"RoleARN": "all", "UploadRoleARN": "up"}])
async def test_lend_when_roles_differ(role: dict[str, str]) -> None:
    """The upload's own role first; without any there is nothing to lend."""
    asked: list[dict[str, str]] = []

    async with _sts(asked) as sts:
        store = S3Store(config(**KEYS, BucketLocation="r", **role), environ={"AWS_ENDPOINT_URL_STS": sts})
        loan = await store.lend("project/7/k")
    assert (loan is None) is (not role)
    assert [each["RoleArn"] for each in asked] == ([role.get("UploadRoleARN") or role["RoleARN"]] if role else [])
    for each in asked:
        assert each["DurationSeconds"] == "3600"
        assert each["RoleSessionName"].startswith("gitlab-runner-cache-upload-")
        assert json.loads(each["Policy"])["Statement"][0]["Resource"] == "arn:aws:s3:::b/project/7/k"


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
async def test_lend_when_an_object_is_sent_again(kept: bool) -> None:
    """A session for each object, kept for the next job unless the configuration forbids it."""
    asked: list[dict[str, str]] = []
    async with _sts(asked) as sts:
        keys = {**KEYS, "BucketLocation": "r", "RoleARN": "r", "DisableAssumeRoleCredentialsCaching": not kept}
        store = S3Store(config(**keys), environ={"AWS_ENDPOINT_URL_STS": sts})
        for name in ("k", "other", "k"):
            await store.lend(name)
    assert len(asked) == (2 if kept else 3)


async def test_lend_when_there_are_many_objects() -> None:
    """The sessions that were not asked for the longest are forgotten."""
    async with _sts([]) as sts:
        store = S3Store(config(**KEYS, BucketLocation="r", RoleARN="r"), environ={"AWS_ENDPOINT_URL_STS": sts})
        for number in range(3):
            await store.lend(f"k{number}")
        kept = vars(store)["_loans"]
        kept.update({f"old{number}": kept["k1"] for number in range(MOST_LOANS - 3)})
        await store.lend("k0")
        await store.lend("new")
    assert len(kept) == MOST_LOANS
    assert "k0" in kept
    assert "k1" not in kept


@pytest.mark.parametrize(("limit", "most"), [(2, 2), (-1, 6), (0, 5)], ids=["two", "any number", "default"])
async def test_lend_when_many_ask_at_once(limit: int, most: int) -> None:
    """No more roles are taken on at once than the configuration says."""
    there, highest, full = 0, 0, anyio.Event()

    async def answer(_request: web.Request) -> web.Response:
        nonlocal there, highest
        there += 1
        highest = max(highest, there)
        if highest >= most:
            full.set()
        await full.wait()
        there -= 1
        return web.Response(text=xml("LENT"))

    async with _serving(answer) as sts:
        keys = {**KEYS, "BucketLocation": "r", "RoleARN": "r", "AssumeRoleMaxConcurrency": limit}
        store = S3Store(config(**keys), environ={"AWS_ENDPOINT_URL_STS": sts})
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number in range(6):
                    tasks.start_soon(store.lend, f"k{number}")
    assert highest == most


async def test_lend_when_the_role_is_refused() -> None:
    """The reason is the service's, without a key."""
    async with server({"GET /": (403, "<Code>AccessDenied</Code><Message>not you</Message>")}, []) as sts:
        store = S3Store(config(**KEYS, BucketLocation="r", RoleARN="r"), environ={"AWS_ENDPOINT_URL_STS": sts})
        with pytest.raises(StoreError, match="answered 403 AccessDenied not you"):
            await store.lend("k")


def test_policy_when_a_name_is_odd() -> None:
    """A star in a key is that one object's, not all objects'."""
    policy = json.loads(upload_policy("b", "p/*?${x}", region="cn-north-1", kms=True))
    upload, kms = policy["Statement"]
    assert upload["Resource"] == "arn:aws-cn:s3:::b/p/${*}${?}${$}{x}"
    assert upload["Action"] == ["s3:PutObject", "s3:AbortMultipartUpload"]
    assert kms["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
