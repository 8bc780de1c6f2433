"""Whoever the image's user is: the helper keeps what the job made, and git in the job takes what the helper brought."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.inside import seen
from tests.end_to_end.test_artifacts_and_cache import artifact, dependency
from tests.end_to_end.test_git_submodules import nested

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("real")]

USERS: dict[str, dict[str, Any]] = {
    "nobody says who": {},
    "the build is another": {"build_container_security_context": {"run_as_user": 1000}},
    "both are another": {"pod_security_context": {"run_as_user": 1000}},
    "two others": {
        "build_container_security_context": {"run_as_user": 1000},
        "helper_container_security_context": {"run_as_user": 2000},
    },
}


@pytest.mark.parametrize("name", ["nobody says who", "the build is another", "both are another"])
async def test_files_for_their_owner_alone_are_kept(cluster: Cluster, name: str) -> None:
    """In artifacts and caches; tools write caches and keys with a umask of their own."""
    script = ["umask 077", "mkdir -p out/deep", "echo secret > out/deep/file"]
    entry = {"key": "k", "untracked": False, "policy": "push", "paths": ["out"], "when": "on_success"}
    async with cluster.harness(kubernetes=USERS[name]) as h:
        job = await h.run(script=script, variables={"GIT_STRATEGY": "none"}, artifacts=[artifact("out")], cache=[entry])
        assert job.state == "success", job.text
        assert job.text.count("out: found 3 matching artifact files and directories") == 2
        upload = h.gitlab.artifacts.archive(job.id)
        assert upload is not None
        assert zipfile.ZipFile(io.BytesIO(upload.data)).namelist() == ["out/", "out/deep/", "out/deep/file"]


@pytest.mark.parametrize("submodules", ["none", "recursive"])
@pytest.mark.parametrize("name", USERS)
async def test_git_of_the_job_takes_the_sources(cluster: Cluster, name: str, submodules: str) -> None:
    """And has the job's access to the server."""
    script = [
        "echo @status=$(git status --porcelain | wc -l)",
        "git fetch origin && echo @fetched=yes",
        "[ ! -e outer/.git ] || echo @inner=$(git -C outer/inner log -1 --format=%s)",
    ]
    async with cluster.harness(kubernetes=USERS[name]) as h:
        job = await h.run(
            repository=await nested(h.gitlab),
            script=script,
            after_script=["git log -1 --format=@after=%s"],
            image=cluster.debian_image,
            variables={"GIT_SUBMODULE_STRATEGY": submodules},
        )
    assert job.state == "success", job.text
    inner = {"inner": "Begin"} if submodules == "recursive" else {}
    assert seen(job) == {"status": "0", "fetched": "yes", "after": "Change", **inner}


async def test_what_a_user_made_is_that_users_in_the_next_job(cluster: Cluster) -> None:
    """From the cache and from artifacts, so that the next job can change it."""
    entry = {"key": "k", "untracked": False, "policy": "pull-push", "paths": ["cached"], "when": "on_success"}
    use = ["for f in cached/deep made/deep; do [ ! -e $f ] || { echo 2 >> $f/file; touch $f/new; }; done"]
    users = {**cluster.cache_volume()["kubernetes"], **USERS["the build is another"]}
    async with cluster.harness(kubernetes=users) as h:
        first = await h.run(
            script=["mkdir -p cached/deep made/deep", "echo 1 | tee cached/deep/file > made/deep/file"],
            variables={"GIT_STRATEGY": "none"},
            cache=[entry],
            artifacts=[artifact("made")],
        )
        assert first.state == "success", first.text
        second = await h.run(
            script=[*use, "cat cached/deep/file made/deep/file", "ls -d cached/deep/new made/deep/new"],
            variables={"GIT_STRATEGY": "none"},
            cache=[entry],
            dependencies=[dependency(first)],
        )
    assert second.state == "success", second.text
    assert "\n1\n2\n1\n2\n" in second.text
