"""Submodules and large files, from the same server with the job's token; and what fails, in words one can act on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from runner.testing.cluster.certificates import Certificates
from runner.testing.gitlab import GitLabServer
from tests.end_to_end.git_jobs import after_sources, kept_builds, seen

if TYPE_CHECKING:
    from runner.testing.gitlab import Repository
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

TOLD = "git could not update the submodules, its reason stands above."


def gitmodules(**urls: str) -> dict[str, str]:
    """The file that names submodules, each at the path of its name."""
    sections = (f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n' for name, url in urls.items())
    return {".gitmodules": "".join(sections)}


async def nested(gitlab: GitLabServer, url: str = "../../lib/outer.git") -> Repository:
    """A project with a submodule `outer` at `url`, in another group, which has a submodule `inner`."""
    inner = await gitlab.create_repository("lib/inner", files={"file": "in\n"})
    outer = await gitlab.create_repository("lib/outer", files={"file": "old\n"})
    await outer.commit({"file": "out\n", **gitmodules(inner="../inner.git")}, submodules={"inner": inner.sha})
    project = await gitlab.create_repository("acme/demo", files=gitmodules(outer=url))
    await project.commit({"file": "top\n"}, submodules={"outer": outer.sha})
    return project


FILES = "for f in file outer/file outer/inner/file; do [ ! -e $f ] || echo @$f=$(cat $f); done"


@pytest.mark.parametrize(
    ("variables", "expected", "told"),
    [
        ({}, {"file": "top"}, "Skipping Git submodules setup"),
        (
            {"GIT_SUBMODULE_STRATEGY": "normal", "GIT_SUBMODULE_DEPTH": "1"},
            {"file": "top", "outer/file": "out", "commits": "1"},
            "Updating/initializing submodules with git depth set to 1...",
        ),
        (
            {"GIT_SUBMODULE_STRATEGY": "recursive"},
            {"file": "top", "outer/file": "out", "outer/inner/file": "in", "commits": "2"},
            "Updating/initializing submodules recursively with git depth set to 20...",
        ),
        (
            {"GIT_SUBMODULE_STRATEGY": "recursive", "GIT_SUBMODULE_PATHS": ":(exclude)outer"},
            {"file": "top"},
            "Updated submodules",
        ),
        (
            {"GIT_SUBMODULE_STRATEGY": "normal", "GIT_SUBMODULE_UPDATE_FLAGS": "--remote --jobs 4"},
            {"file": "top", "outer/file": "newest", "commits": "3"},
            "Updated submodules",
        ),
        (
            {"GIT_SUBMODULE_STRATEGY": "normal", "FF_GIT_URLS_WITHOUT_TOKENS": "true", "GIT_STRATEGY": "clone"},
            {"file": "top", "outer/file": "out", "commits": "2"},
            "Updated submodules",
        ),
    ],
    ids=["none", "normal-shallow", "recursive", "excluded", "remote", "tokenless"],
)
async def test_submodules_come_as_deep_as_asked(
    cluster: Cluster, variables: dict[str, str], expected: dict[str, str], told: str
) -> None:
    """From relative addresses in another group; a second job in the same folder finds them as clean as the first."""
    count = after_sources("[ ! -e outer/.git ] || echo @commits=$(git -C outer rev-list --count HEAD)")
    async with cluster.harness(**kept_builds(cluster)) as h:
        project = await nested(h.gitlab)
        if "GIT_SUBMODULE_UPDATE_FLAGS" in variables:
            # Where the submodule's branch stands does not matter to the others.
            outer = await h.gitlab.create_repository("lib/moving", files={"file": "old\n"})
            recorded = await outer.commit({"file": "out\n"})
            await outer.commit({"file": "newest\n"})
            await project.commit(gitmodules(outer="../../lib/moving.git"), submodules={"outer": recorded})
        for turn in (1, 2):
            job = await h.run(
                repository=project,
                variables=variables,
                hooks=count,
                script=[
                    FILES,
                    "[ ! -e outer/file ] || echo changed > outer/file",
                    "[ ! -e outer/file ] || touch outer/untracked .git/modules/outer/index.lock",
                ],
            )
            assert told in job.text
            assert "Retrying" not in job.text
            assert seen(job) == expected
            assert ("Removing untracked" in job.text) is (
                turn == 2 and "outer/file" in expected and "GIT_STRATEGY" not in variables
            )
        assert h.gitlab.violations == []


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("{server}/lib/outer.git", {}),
        ("git@git.example:lib/outer.git", {"CI_SERVER_SHELL_SSH_HOST": "git.example"}),
        (
            "ssh://git@git.example:2222/lib/outer.git",
            {"CI_SERVER_SHELL_SSH_HOST": "git.example", "CI_SERVER_SHELL_SSH_PORT": "2222"},
        ),
    ],
    ids=["same-server", "ssh", "ssh-port"],
)
async def test_absolute_addresses_get_the_job_s_token(cluster: Cluster, url: str, variables: dict[str, str]) -> None:
    """Of the same server by HTTP, and by SSH where `GIT_SUBMODULE_FORCE_HTTPS` turns it into that."""
    force = {"GIT_SUBMODULE_FORCE_HTTPS": "true"} if variables else {}
    async with cluster.harness() as h:
        project = await nested(h.gitlab, url.format(server=h.gitlab.url))
        job = await h.run(
            repository=project, variables={"GIT_SUBMODULE_STRATEGY": "recursive", **variables, **force}, script=[FILES]
        )
        assert seen(job) == {"file": "top", "outer/file": "out", "outer/inner/file": "in"}


async def test_the_job_s_own_git_has_access_to_submodules(cluster: Cluster) -> None:
    """Their configuration includes the project's credentials."""
    async with cluster.harness() as h:
        job = await h.run(
            repository=await nested(h.gitlab),
            variables={"GIT_SUBMODULE_STRATEGY": "recursive"},
            hooks=after_sources("git -C outer/inner fetch origin && echo @fetched=yes"),
        )
        assert seen(job) == {"fetched": "yes"}


@pytest.mark.parametrize("skips", [False, True], ids=["pulled", "skipped"])
async def test_large_files_come_with_the_job_s_token(cluster: Cluster, skips: bool) -> None:
    """The project's and its submodules'; with `GIT_LFS_SKIP_SMUDGE` the pointers stay."""
    if not cluster.is_real and shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    attributes = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    async with cluster.harness() as h:
        pointers = [h.gitlab.large_files.add(content) for content in (b"large\n", b"larger\n")]
        sub = await h.gitlab.create_repository("acme/sub", files={"b.bin": pointers[1], **attributes})
        project = await h.gitlab.create_repository("acme/demo", files={"a.bin": pointers[0], **attributes})
        await project.commit(gitmodules(sub="../sub.git"), submodules={"sub": sub.sha})
        variables = {"GIT_SUBMODULE_STRATEGY": "normal", **({"GIT_LFS_SKIP_SMUDGE": "true"} if skips else {})}
        job = await h.run(
            repository=project,
            variables=variables,
            script=["echo @a=$(head -n 1 a.bin)", "echo @b=$(head -n 1 sub/b.bin)"],
            hooks=[
                {"name": "pre_get_sources_script", "script": ["git lfs version || echo @no-lfs"]},
                *after_sources("git config --get-regexp 'lfs.*' || :"),
            ],
        )
        if "\n@no-lfs" in job.text:
            pytest.skip("the helper image has no git-lfs")
        version = "version https://git-lfs.github.com/spec/v1"
        assert seen(job) == ({"a": version, "b": version} if skips else {"a": "large", "b": "larger"})
        assert job.token not in job.text


@pytest.mark.parametrize("case", ["private", "gone", "commit"])
async def test_a_submodule_that_cannot_be_had_fails_with_the_way_out(cluster: Cluster, case: str) -> None:
    """After a second try: no access, not there, a commit that is not there."""
    await submodule_fails(cluster, case)


@pytest.mark.only_on("embedded")  # on this machine alone the server is to be had under two names
async def test_a_submodule_of_a_foreign_server_fails_with_the_way_out(cluster: Cluster) -> None:
    """It wants other credentials."""
    await submodule_fails(cluster, "foreign")


async def submodule_fails(cluster: Cluster, case: str) -> None:
    """Run a job whose submodule cannot be had, and read why."""
    async with cluster.harness() as h:
        sub = await h.gitlab.create_repository("acme/sub", files={"a": "1"}, private=case == "private")
        other = h.gitlab.url.replace("127.0.0.1", "localhost") if not cluster.is_real else h.gitlab.url
        url = f"{other}/acme/sub.git" if case == "foreign" else "../sub.git"
        project = await h.gitlab.create_repository("acme/demo", files=gitmodules(sub=url))
        await project.commit({}, submodules={"sub": "1" * 40 if case == "commit" else sub.sha})
        if case == "gone":
            sub.remove()
        job = await h.run(repository=project, variables={"GIT_SUBMODULE_STRATEGY": "normal"}, script=["echo never"])
        assert (job.state, job.exit_code) == ("failed", 128 if case == "commit" else 1), job.text
        reason = {
            "private": "/acme/sub.git/' not found",
            "gone": "/acme/sub.git/' not found",
            "foreign": "could not read Username for 'http://localhost",
            "commit": "1" * 40,
        }[case]
        assert reason in job.text
        assert "Updating submodules failed. Retrying..." in job.text
        assert TOLD in job.text
        assert "\nnever" not in job.text


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        ("gone", "/acme/demo.git/' not found", "ERROR: git could not fetch from {url}, its reason stands above."),
        ("private", "/acme/demo.git/' not found", "ERROR: git could not fetch from {url}, its reason stands above."),
        (
            "commit",
            "4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a4f5e",
            "ERROR: git could not check out the commit 4f5e6d7c, its reason stands above. If the commit is not there, "
            "main has been rewritten or deleted since the pipeline was made: run a new pipeline.",
        ),
    ],
)
async def test_sources_that_cannot_be_had_fail_with_the_way_out(
    cluster: Cluster, change: str, reason: str, told: str
) -> None:
    """git's words, then what to do."""
    over: dict[str, Any] = {"git": {"sha": "4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a4f5e"}} if change == "commit" else {}
    async with cluster.harness() as h:
        project = await h.gitlab.create_repository("acme/demo", files={"a": "1"}, private=change == "private")
        if change == "gone":
            project.remove()
        job = await h.run(repository=project, script=["echo never"], **over)
        assert (job.state, job.failure_reason, job.exit_code) == ("failed", "script_failure", 128), job.text
        assert reason in job.text
        assert told.format(url=project.url) in job.text
        assert job.token not in job.text
        assert "\nnever" not in job.text


async def test_a_certificate_of_one_s_own_is_trusted_everywhere(cluster: Cluster) -> None:
    """With `tls-ca-file`: by the hooks before the sources, by git, in submodules, and by git behind them."""
    certificates = Certificates((cluster.host,))
    try:
        gitlab = GitLabServer(host=cluster.host, tls=certificates.server_context())
        async with gitlab, cluster.harness(gitlab=gitlab, runner={"tls-ca-file": str(certificates.authority)}) as h:
            project = await nested(gitlab, f"{gitlab.url}/lib/outer.git")
            before = f"git ls-remote https://gitlab-ci-token:$CI_JOB_TOKEN@{gitlab.url[8:]}/acme/demo.git HEAD | wc -l"
            job = await h.run(
                repository=project,
                variables={"GIT_SUBMODULE_STRATEGY": "recursive"},
                hooks=[
                    {"name": "pre_get_sources_script", "script": [f"echo @before=$({before})"]},
                    *after_sources("git -C outer/inner fetch origin && echo @after=yes"),
                ],
                script=[FILES],
            )
            assert seen(job) == {
                "before": "1",
                "after": "yes",
                "file": "top",
                "outer/file": "out",
                "outer/inner/file": "in",
            }
    finally:
        certificates.remove()
