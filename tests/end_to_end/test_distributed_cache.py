"""Caches in an S3 that the tests start: what one job saves the next one finds, with nothing but the store in common."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from tests.end_to_end.s3 import ACCESS_KEY, S3, SECRET_KEY, SESSION_TOKEN

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
SAVE = ["mkdir -p vendor && echo lib > vendor/lib"]
USE = ["cat vendor/lib"]


@pytest.fixture
def s3(cluster: Cluster) -> Iterator[S3]:
    """A store where both the manager and the pods reach it."""
    with S3(cluster.host) as server:
        yield server


def entry(key: str = "deps", **over: Any) -> dict[str, Any]:
    """One entry of `cache` as GitLab sends it."""
    plain = {"key": key, "untracked": False, "policy": "pull-push", "paths": ["vendor"], "when": "on_success"}
    return {**plain, **over}


async def run(h: Harness, script: list[str], *caches: dict[str, Any], **variables: Any) -> JobRecord:
    """Run a job that has nothing of the jobs before it but what is in the store."""
    for folder in ("cache", "builds"):
        shutil.rmtree(h.folder / folder, ignore_errors=True)
    extra = variables.pop("variables", {})
    return await h.run(script=script, variables={**NO_SOURCES, **extra}, cache=list(caches), **variables)


def assert_nothing_is_told(job: JobRecord) -> None:
    """No log shows what signs."""
    assert SECRET_KEY not in job.text
    assert ACCESS_KEY not in job.text


async def test_a_cache_in_the_store_is_there_for_the_next_job(cluster: Cluster, s3: S3) -> None:
    """Missing the first time, saved, found the second time; the key stands with the object, no secret in the log."""
    async with cluster.harness(runner={"cache": s3.cache()}) as h:
        first = await run(h, SAVE, entry())
        assert first.state == "success", first.text
        assert "Failed to extract cache" in first.text
        assert "Created cache" in first.text
        second = await run(h, USE, entry(policy="pull"))
        assert second.state == "success", second.text
        assert "Successfully extracted cache" in second.text
        assert "\nlib\n" in second.text
        name = f"runner/{h.config.runners[0].token[5:14]}/project/{first.payload['job_info']['project_id']}/deps"
        assert s3.asked("PUT") == [(name, 200)]
        assert [status for path, status in s3.asked("GET") if path == name] == [404, 200]
        (put,) = (one for one in s3.requests if one.method == "PUT")
        assert put.headers["x-amz-meta-cachekey"] == "deps"
        assert_nothing_is_told(first)
        assert f"Uploading cache.zip to http://{s3.address}/runner-cache/{name} " in first.text


async def test_a_traced_job_shows_no_signature(cluster: Cluster, s3: S3) -> None:
    """CI_DEBUG_TRACE prints each command of the script; what signs is masked, whatever names it."""
    async with cluster.harness(runner={"cache": s3.cache(SessionToken="")}) as h:
        await run(h, SAVE, entry(), variables={"CI_DEBUG_TRACE": "true"})
        job = await run(h, USE, entry(), variables={"CI_DEBUG_TRACE": "true"})
        assert job.state == "success", job.text
        assert "RUNNER_CACHE_LINKS=" in job.text
        assert "X-Amz-Signature=[MASKED]" in job.text
        assert_nothing_is_told(job)


async def test_wrong_credentials_are_a_warning(cluster: Cluster, s3: S3) -> None:
    """The store refuses with its own words, and the job goes on."""
    async with cluster.harness(runner={"cache": s3.cache(SecretKey="an0ther")}) as h:
        job = await run(h, SAVE, entry())
        assert job.state == "success", job.text
        assert "received: 403" in job.text
        assert "SignatureDoesNotMatch" in job.text
        assert "Failed to extract cache" in job.text
        assert "Failed to create cache" in job.text
        assert "an0ther" not in job.text


async def test_a_store_that_is_away_is_a_warning(cluster: Cluster, s3: S3) -> None:
    """Nothing answers at its address."""
    cache = s3.cache()
    cache["s3"]["ServerAddress"] = f"{cluster.host}:1"
    async with cluster.harness(runner={"cache": cache}) as h:
        job = await run(h, SAVE, entry())
        assert job.state == "success", job.text
        assert "Failed to create cache" in job.text


async def test_a_store_that_cannot_be_signed_for_is_told(cluster: Cluster, s3: S3) -> None:
    """A line in the job's log, the reason in the manager's; the stages run as without a store."""
    with structlog.testing.capture_logs() as logs:
        async with cluster.harness(runner={"cache": s3.cache(ServerSideEncryption="rot13")}) as h:
            job = await run(h, SAVE, entry())
    assert job.state == "success", job.text
    assert "could not sign addresses in the cache's store" in job.text
    assert "No URL provided, cache will not be uploaded" in job.text
    reasons = {line["reason"] for line in logs if "reason" in line}
    assert 'ServerSideEncryption "rot13" is none: use S3, KMS or DSSE-KMS' in reasons
    assert s3.requests == []


async def test_fallback_keys_are_tried_in_order(cluster: Cluster, s3: S3) -> None:
    """The entry's own, its fallbacks, the job's; a protected fallback is not asked for."""
    async with cluster.harness(runner={"cache": s3.cache()}) as h:
        await run(h, SAVE, entry("main-protected"))
        await run(h, SAVE, entry("main"))
        s3.requests.clear()
        job = await run(
            h,
            USE,
            entry("branch", fallback_keys=["none", "main"]),
            variables={"CACHE_FALLBACK_KEY": "main-protected"},
        )
        assert job.state == "success", job.text
        assert 'CACHE_FALLBACK_KEY "main-protected" not allowed to end in "-protected"' in job.text
        found = [(path.rpartition("/")[2], status) for path, status in s3.asked("GET")]
        assert found == [("branch", 404), ("none", 404), ("main", 200)]


@pytest.mark.parametrize(("policy", "methods"), [("pull", {"GET", "HEAD"}), ("push", {"PUT"})], ids=["pull", "push"])
async def test_a_policy_asks_the_store_one_way_only(cluster: Cluster, s3: S3, policy: str, methods: set[str]) -> None:
    """What is not fetched, or not sent, is not signed for either."""
    async with cluster.harness(runner={"cache": s3.cache()}) as h:
        job = await run(h, SAVE, entry(policy=policy))
        assert job.state == "success", job.text
        assert {one.method for one in s3.requests} == methods


async def test_hashed_keys_find_what_lies_under_the_plain_name(cluster: Cluster, s3: S3) -> None:
    """FF_HASH_CACHE_KEYS changes the names; the cache of the time before is used until there is one with the new."""
    hashed = hashlib.sha256(b"deps").hexdigest()
    flag = {"variables": {"FF_HASH_CACHE_KEYS": "true"}}
    async with cluster.harness(runner={"cache": {**s3.cache(), "Shared": True, "Path": "ci"}}) as h:
        await run(h, SAVE, entry())
        job = await run(h, USE, entry(), **flag)
        assert job.state == "success", job.text
        assert "Selecting alternate cache URL" in job.text
        folder = f"ci/project/{job.payload['job_info']['project_id']}"
        assert [path for path, _ in s3.asked("PUT")] == [f"{folder}/deps", f"{folder}/{hashed[:2]}/{hashed}"]
        again = await run(h, USE, entry(), **flag)
        assert "Selecting primary cache URL" in again.text


async def test_encryption_is_asked_for_with_each_upload(cluster: Cluster, s3: S3) -> None:
    """As signed headers: the store refuses those that are not."""
    extra = {"ServerSideEncryption": "KMS", "ServerSideEncryptionKeyID": "arn:of:key"}
    async with cluster.harness(runner={"cache": s3.cache(**extra)}) as h:
        job = await run(h, SAVE, entry())
        assert "Created cache" in job.text, job.text
        (put,) = (one for one in s3.requests if one.method == "PUT")
        assert put.status == 200
        assert put.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert put.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "arn:of:key"


async def test_odd_keys_have_their_own_addresses(cluster: Cluster, s3: S3) -> None:
    """Quotes, blanks, letters of other alphabets and slashes; a key that is none between them takes no other's."""
    async with cluster.harness(runner={"cache": s3.cache()}) as h:
        caches = [entry("it's $odd+ü"), entry(".."), entry("second/key")]
        await run(h, SAVE, *caches)
        job = await run(h, USE, *caches)
        assert job.state == "success", job.text
        assert job.text.count("Successfully extracted cache") == 2
        assert {status for _, status in s3.asked("PUT")} == {200}


async def test_an_upload_with_a_role_goes_in_parts(cluster: Cluster, s3: S3) -> None:
    """The session may upload this one object; its keys are in no log, traced or not; the next job finds all parts."""
    roles = {"AWS_ENDPOINT_URL_STS": f"http://{s3.address}"}
    script = ["mkdir -p vendor && head -c 12000000 /dev/urandom > vendor/lib", "md5sum < vendor/lib > sum"]
    entries = [entry(paths=["vendor", "sum"])]
    variables = {"CI_DEBUG_TRACE": "true", "CACHE_CHUNK_SIZE": "1", "CACHE_COMPRESSION_LEVEL": "fastest"}
    async with cluster.harness(runner={"cache": s3.cache(UploadRoleARN="arn:aws:iam::1:role/up")}, environ=roles) as h:
        first = await run(h, script, *entries, variables=variables)
        assert first.state == "success", first.text
        assert "Created cache" in first.text
        name = f"runner/{h.config.runners[0].token[5:14]}/project/{first.payload['job_info']['project_id']}/deps"
        assert [status for path, status in s3.asked("PUT") if path == name] == [200, 200, 200]
        assert [status for path, status in s3.asked("POST") if path == name] == [200, 200]
        assert s3.uploads() == 0
        assert f'"Resource": "arn:aws:s3:::runner-cache/{name}"' in s3.policies[-1]
        second = await run(h, ['[ "$(md5sum < vendor/lib)" = "$(cat sum)" ]'], *entries)
        assert second.state == "success", second.text
        for job in (first, second):
            assert_nothing_is_told(job)
            assert SESSION_TOKEN not in job.text


async def test_a_role_that_is_refused_is_a_warning(cluster: Cluster, s3: S3) -> None:
    """As a store that cannot be signed for."""
    roles = {"AWS_ENDPOINT_URL_STS": f"http://{cluster.host}:1"}
    async with cluster.harness(runner={"cache": s3.cache(UploadRoleARN="arn:aws:iam::1:role/up")}, environ=roles) as h:
        job = await run(h, SAVE, entry())
        assert job.state == "success", job.text
        assert "could not sign addresses in the cache's store" in job.text


@pytest.mark.parametrize("broken", [b"garbage", b"PK\x03\x04 and no end", b""], ids=["garbage", "cut", "empty"])
async def test_a_broken_archive_in_the_store_breaks_no_job(cluster: Cluster, s3: S3, broken: bytes) -> None:
    """A warning; the job's own cache takes its place, and the next job has it."""
    async with cluster.harness(runner={"cache": s3.cache()}) as h:
        await run(h, SAVE, entry())
        (name,) = (path for path, _ in s3.asked("PUT"))
        s3.put(name, broken)
        second = await run(h, ["ls vendor || echo none there", *SAVE], entry())
        assert second.state == "success", second.text
        assert "none there" in second.text
        assert "the cache cannot be extracted: " in second.text
        assert "Created cache" in second.text
        third = await run(h, USE, entry(policy="pull"))
        assert "Successfully extracted cache" in third.text
        assert third.state == "success", third.text


async def test_a_cache_that_did_not_change_is_not_sent_again(cluster: Cluster, s3: S3) -> None:
    """The archive that was fetched is as new as its files, and the store has it."""
    async with cluster.harness(runner={"cache": s3.cache()}) as h:
        await run(h, SAVE, entry())
        again = await run(h, USE, entry())
        assert again.state == "success", again.text
        assert len(s3.asked("PUT")) == 1, again.text
        assert "Primary cache already exists remotely, skipping upload" in again.text
