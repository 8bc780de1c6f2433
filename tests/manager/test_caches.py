"""Addresses of caches for one stage: which are signed, and what happens when they cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
import structlog

from runner.config.model import RunnerConfig
from runner.job.payload import Job
from runner.manager.caches import CacheLinkMaker, CacheLinksError
from runner.manager.material import Identity, JobMaterial, Place
from runner.shell.cache_links import CacheLinks
from runner.store.base import Loan, Method, SignedRequest, StoreError
from runner.testing.payloads import job_payload

IDENTITY = Identity(name="runner", version="1.2.3", revision="abc", system_id="r_0123456789ab", host="here")
ENTRY = {"key": "k", "untracked": False, "policy": "pull-push", "paths": ["x"], "when": "on_success"}


class Store:
    """Signs by saying what it was asked; or raises, or never answers."""

    def __init__(self, error: Exception | None = None, *, silent: bool = False) -> None:
        self.error = error
        self.loan: Loan | None = None
        self.silent = silent

    async def sign(self, method: Method, name: str, *, expiry: float, metadata: Mapping[str, str]) -> SignedRequest:
        """Do what the test wants."""
        if self.error:
            raise self.error
        if self.silent:
            await anyio.sleep_forever()
        return SignedRequest(f"{method} {name} {expiry:.0f}", dict(metadata))

    async def lend(self, name: str) -> Loan | None:
        """Lend what the test has to lend."""
        return self.loan


def material(*caches: dict[str, Any], **over: Any) -> JobMaterial:
    """The material of a job with caches."""
    runner = RunnerConfig.model_validate(
        {"name": "r", "url": "https://gitlab", "token": "glrt-12345678x", "cache": {"Shared": True}}
    )
    job = Job.parse(job_payload(cache=[{**ENTRY, **entry} for entry in caches], **over))
    return JobMaterial.of(job, runner, identity=IDENTITY, place=Place(), shared=False)


async def test_links_when_caches_are_restored() -> None:
    """To fetch and to ask, under both names, for as long as the job may run."""
    made = material({})
    project, expiry = made.job.job_info.project_id, int(made.job.timeout)
    hashed = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"
    assert await CacheLinkMaker(Store()).links(made, "restore_cache") == {
        "k": CacheLinks(
            f"GET project/{project}/k {expiry}",
            f"HEAD project/{project}/k {expiry}",
            {},
            f"GET project/{project}/82/{hashed} {expiry}",
            f"HEAD project/{project}/82/{hashed} {expiry}",
        )
    }


async def test_links_when_caches_are_saved() -> None:
    """To send, with the key as metadata."""
    made = material({"key": "$CI_JOB_ID/k"})
    key = f"{made.job.id}/k"
    (links,) = (await CacheLinkMaker(Store()).links(made, "archive_cache")).items()
    assert links[0] == key
    assert links[1].url.startswith("PUT ")
    assert links[1].head_url.startswith("HEAD ")
    assert links[1].headers == {"cachekey": key}


async def test_links_when_the_store_lends_for_an_upload() -> None:
    """What is lent goes with the signed address, for uploads alone."""
    store = Store()
    store.loan = Loan("s3://b/k?region=r", {"AWS_ACCESS_KEY_ID": "lent"})
    (links,) = (await CacheLinkMaker(store).links(material({}), "archive_cache")).values()
    assert (links.gocloud_url, links.environment) == ("s3://b/k?region=r", {"AWS_ACCESS_KEY_ID": "lent"})
    assert links.url.startswith("PUT ")
    (fetched,) = (await CacheLinkMaker(store).links(material({}), "restore_cache")).values()
    assert (fetched.gocloud_url, fetched.environment) == ("", {})


@pytest.mark.parametrize("stage", ["get_sources", "step_script", "archive_cache_on_failure"])
async def test_links_when_a_stage_has_no_use_for_them(stage: str) -> None:
    """The store is not asked at all."""
    assert await CacheLinkMaker(Store(StoreError("no"))).links(material({}), stage) == {}


async def test_links_when_there_is_no_store() -> None:
    """Caches stay where the pod keeps them."""
    assert await CacheLinkMaker(None).links(material({}), "restore_cache") == {}


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        (Store(StoreError("the key is gone")), "the key is gone"),
        (Store(silent=True), "no answer in 0.01 s"),
        (Store(ValueError("https://s?X-Amz-Signature=s3cret")), "ValueError"),
    ],
    ids=["refused", "silent", "fault"],
)
async def test_links_when_the_store_cannot_sign(store: Store, reason: str) -> None:
    """The reason is for the manager's log, and no secret with it."""
    with structlog.testing.capture_logs() as logs, pytest.raises(CacheLinksError):
        await CacheLinkMaker(store, timeout=0.01).links(material({}), "restore_cache")
    (line,) = logs
    assert line["log_level"] == "warning"
    assert reason in (line.get("reason"), line.get("fault"))
    assert "s3cret" not in str(line)
