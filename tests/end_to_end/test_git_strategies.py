"""How the sources come: strategies, depth, refspecs, flags, directories, and what stays of them on a kept volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.testing.faults import FaultRule, Reply
from tests.end_to_end.git_jobs import after_sources, kept_builds, seen

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

LEAVE_A_MESS = [
    "echo changed > hello.txt; touch untracked ignored .git/mark",
    "touch .git/index.lock .git/shallow.lock .git/HEAD.lock .git/config.lock .git/refs/remotes/origin/main.lock",
    "mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch $CI_PROJECT_DIR/hook-ran\\n' | tee .git/hooks/post-checkout"
    " > .git/hooks/reference-transaction; chmod +x .git/hooks/*",
    'printf "[core]\\n\\tfsmonitor = touch $CI_PROJECT_DIR/setting-ran\\n" >> .git/config',
]
LOOK = [
    "echo @hello=$(cat hello.txt 2>&1)",
    "for f in untracked ignored hook-ran setting-ran .git/mark .git/index.lock; do [ ! -e $f ] || echo @$f=there; done",
    "echo @files=$(ls | tr '\\n' ' ')",
    "echo @directory=${CI_PROJECT_DIR#$CI_BUILDS_DIR}",
]
NOT_CLEANED = {"untracked": "there", "ignored": "there"}


@pytest.mark.parametrize(
    ("variables", "told", "expected"),
    [
        ({}, "Reinitialized existing Git repository", {"hello": "two", ".git/mark": "there"}),
        (
            {"GIT_CLEAN_FLAGS": "-ffd"},
            "Reinitialized existing Git repository",
            {"hello": "two", ".git/mark": "there", "ignored": "there"},
        ),
        (
            {"GIT_CLEAN_FLAGS": "none"},
            "Reinitialized existing Git repository",
            {"hello": "two", ".git/mark": "there", **NOT_CLEANED},
        ),
        ({"GIT_STRATEGY": "clone"}, "Created fresh repository.", {"hello": "two"}),
        (
            {"GIT_CHECKOUT": "false"},
            "Skipping Git checkout",
            {"hello": "changed", ".git/mark": "there", **NOT_CLEANED},
        ),
    ],
    ids=["fetch", "clean-flags", "no-clean", "clone", "no-checkout"],
)
async def test_the_second_job_finds_what_the_first_left(
    cluster: Cluster, variables: dict[str, str], told: str, expected: dict[str, str]
) -> None:
    """On a kept volume: locks, hooks and settings of the first are gone, files as far as the job asks."""
    async with cluster.harness(**kept_builds(cluster)) as h:
        repository = await h.gitlab.create_repository(
            "acme/demo", files={"hello.txt": "one\n", ".gitignore": "ignored\n"}
        )
        first = await h.run(script=[*LEAVE_A_MESS, "ls -a"], repository=repository)
        assert first.state == "success", first.text
        assert "Created fresh repository." in first.text
        await repository.commit({"hello.txt": "two\n"})
        second = await h.run(script=LOOK, repository=repository, variables=variables)
        assert told in second.text
        found = seen(second)
        assert {key: found[key] for key in found if key not in {"files", "directory"}} == expected
        assert h.gitlab.violations == []


async def test_none_and_empty_fetch_nothing(cluster: Cluster) -> None:
    """`none` leaves the folder as the first job did; `empty` has a folder of its own with nothing in it."""
    async with cluster.harness(**kept_builds(cluster)) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "one\n"})
        first = await h.run(script=["echo changed > hello.txt; touch untracked", *LOOK[-1:]], repository=repository)
        project = seen(first)["directory"]
        asked = len(h.gitlab.faults.seen("*", "/info/refs"))
        none = await h.run(script=LOOK, repository=repository, variables={"GIT_STRATEGY": "none"})
        assert "Skipping Git repository setup\n" in none.text
        assert seen(none) == {
            "hello": "changed",
            "untracked": "there",
            "files": "hello.txt untracked",
            "directory": project,
        }
        for _ in range(2):
            empty = await h.run(
                script=[*LOOK[2:], "touch left"], repository=repository, variables={"GIT_STRATEGY": "empty"}
            )
            assert "Skipping Git repository setup and creating an empty build directory\n" in empty.text
            assert seen(empty) == {"files": "", "directory": f"{project}-empty"}
        assert len(h.gitlab.faults.seen("*", "/info/refs")) == asked


async def test_depth_limits_history_until_a_job_wants_it_all(cluster: Cluster) -> None:
    """Depth 0 completes a kept repository that is shallow."""
    count = after_sources("echo @commits=$(git rev-list --count HEAD)")
    async with cluster.harness(**kept_builds(cluster)) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"a": "1"})
        for text in ("2", "3"):
            await repository.commit({"a": text})
        shallow = await h.run(repository=repository, hooks=count, git={"depth": 2})
        assert "Fetching changes with git depth set to 2..." in shallow.text
        assert seen(shallow) == {"commits": "2"}
        whole = await h.run(repository=repository, hooks=count, git={"depth": 0})
        assert "Fetching changes..." in whole.text
        assert seen(whole) == {"commits": "3"}


async def test_refspecs_are_fetched_and_nothing_else(cluster: Cluster) -> None:
    """A tag's job gets tags; one of a merge request its ref; no branch comes unasked."""
    async with cluster.harness(**kept_builds(cluster)) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"a": "1"})
        await repository.tag("v1")
        asked = ["+refs/tags/v1:refs/tags/v1", f"+{repository.sha}:refs/pipelines/7"]
        job = await h.run(
            repository=repository,
            git={"refspecs": asked, "ref": "v1", "ref_type": "tag"},
            hooks=after_sources("echo @refs=$(git for-each-ref --format '%(refname)')"),
        )
        assert f"Checking out {repository.sha[:8]} as detached HEAD (ref is v1)..." in job.text
        assert seen(job) == {"refs": "refs/pipelines/7 refs/tags/v1"}


async def test_fetch_flags_replace_the_usual_ones(cluster: Cluster) -> None:
    """`GIT_FETCH_EXTRA_FLAGS` stands in for `--prune --quiet`, so git speaks; `none` leaves none."""
    async with cluster.harness() as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"a": "1"})
        plain, asked, none = [
            await h.run(repository=repository, variables={"GIT_STRATEGY": "clone", **variables})
            for variables in ({}, {"GIT_FETCH_EXTRA_FLAGS": "--no-tags --verbose"}, {"GIT_FETCH_EXTRA_FLAGS": "none"})
        ]
        assert "[new " not in plain.text
        assert "POST git-upload-pack" in asked.text
        assert "[new " in none.text
        assert "POST git-upload-pack" not in none.text


async def test_an_old_git_fetches_where_it_was_to_clone(cluster: Cluster) -> None:
    """`FF_USE_GIT_NATIVE_CLONE` is a wish; the sources come either way, with the job's flags."""
    variables = {
        "GIT_STRATEGY": "clone",
        "FF_USE_GIT_NATIVE_CLONE": "true",
        "GIT_CLONE_EXTRA_FLAGS": "--config core.mine=yes",
    }
    async with cluster.harness() as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "one\n"})
        job = await h.run(
            repository=repository,
            variables=variables,
            script=LOOK[:1],
            hooks=after_sources("git config core.mine || :"),
        )
        assert seen(job) == {"hello": "one"}
        cloned = 'Git version at least "2.49"' in job.text
        assert ("\nyes\n" in job.text) is cloned
        assert ("Fetching changes with git depth set to 20..." in job.text) is not cloned


async def test_clone_path_puts_the_project_elsewhere(cluster: Cluster) -> None:
    """With its temporary directory, inside of the builds directory."""
    async with cluster.harness() as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "one\n"})
        job = await h.run(
            repository=repository,
            script=["echo @here=${PWD#$CI_BUILDS_DIR}", *LOOK],
            variables={"GIT_CLONE_PATH": "$CI_BUILDS_DIR/else/$CI_CONCURRENT_ID/../where"},
        )
        found = seen(job)
        assert (found["here"], found["directory"], found["hello"]) == ("/else/where", "/else/where", "one")


@pytest.mark.parametrize(
    ("runner", "path", "sentence"),
    [
        ({}, "/opt/where", 'the GIT_CLONE_PATH="/opt/where" has to be within "'),
        (
            {"custom_build_dir": {"enabled": False}},
            "$CI_BUILDS_DIR/where",
            "setting GIT_CLONE_PATH is not allowed, enable `custom_build_dir` feature",
        ),
    ],
    ids=["outside", "not-allowed"],
)
async def test_clone_path_outside_or_not_allowed_fails_the_job(
    cluster: Cluster, runner: dict[str, Any], path: str, sentence: str
) -> None:
    """Before there is a pod."""
    async with cluster.harness(runner=runner) as h:
        job = await h.run(variables={"GIT_CLONE_PATH": path})
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
        assert sentence in job.text


async def test_sha256_repository_is_fetched_twice(cluster: Cluster) -> None:
    """Its format is named when the repository is made."""
    async with cluster.harness(**kept_builds(cluster)) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "one\n"}, object_format="sha256")
        for text in ("one", "two"):
            assert len(await repository.commit({"hello.txt": f"{text}\n"})) == 64
            job = await h.run(repository=repository, script=LOOK[:1])
            assert seen(job) == {"hello": text}


async def test_hooks_enclose_the_sources(cluster: Cluster) -> None:
    """The administrator's is the outer one on both sides."""
    hooks = [
        {"name": "pre_get_sources_script", "script": ["echo 2 job, $(ls hello.txt 2>/dev/null || echo no sources)"]},
        {"name": "post_get_sources_script", "script": ["echo 3 job, $(cat hello.txt)"]},
    ]
    runner = {"pre_get_sources_script": "echo 1 runner", "post_get_sources_script": "echo 4 runner"}
    async with cluster.harness(runner=runner) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "one\n"})
        job = await h.run(repository=repository, hooks=hooks)
        assert job.state == "success", job.text
        lines = [line for line in job.text.splitlines() if line[:2] in {"1 ", "2 ", "3 ", "4 "}]
        assert lines == ["1 runner", "2 job, no sources", "3 job, one", "4 runner"]


async def test_the_token_is_nowhere_when_the_job_is_over(cluster: Cluster) -> None:
    """Neither in the remote's URL while it runs, nor in any file of the builds folder afterwards."""
    async with cluster.harness(**kept_builds(cluster)) as h:
        sub = await h.gitlab.create_repository("acme/sub", files={"a": "1"})
        modules = '[submodule "sub"]\n\tpath = sub\n\turl = ../sub.git\n'
        repository = await h.gitlab.create_repository("acme/demo", files={".gitmodules": modules})
        await repository.commit({}, submodules={"sub": sub.sha})
        first = await h.run(
            repository=repository,
            variables={"GIT_SUBMODULE_STRATEGY": "normal"},
            script=["echo @remote=$(sed -n 's/.*url = //p' .git/config | tr '\\n' ' ')", "cat sub/a"],
            hooks=after_sources("echo @holding=$(grep -rl $CI_JOB_TOKEN .git | wc -l)", "git fetch -q origin"),
        )
        assert seen(first) == {"remote": f"{repository.url} {sub.url}", "holding": "0"}
        second = await h.run(
            variables={"GIT_STRATEGY": "none", "EARLIER": first.token},
            script=[
                "cd $CI_BUILDS_DIR",
                "echo @files=$(find . -type f | wc -l)",
                "echo @holding=$(grep -rl -e $EARLIER . | tr '\\n' ' ')",
                "echo @own=$(grep -rl -e $CI_JOB_TOKEN . | wc -l)",
            ],
        )
        found = seen(second)
        assert int(found["files"]) > 20
        assert (found["holding"], found["own"]) == ("", "0")


async def test_sources_are_tried_again(cluster: Cluster) -> None:
    """With `GET_SOURCES_ATTEMPTS`: the work tree is emptied before the second attempt, only then."""
    variables = {"GET_SOURCES_ATTEMPTS": "3", "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY": "false"}
    async with cluster.harness(**kept_builds(cluster)) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "one\n"})
        seen(await h.run(repository=repository, script=["touch untracked"]))
        h.gitlab.faults.add(FaultRule("GET", "/info/refs", Reply(500), times=2))
        job = await h.run(repository=repository, script=LOOK[:3], variables=variables)
        assert seen(job) == {"hello": "one", "files": "hello.txt"}
        assert job.text.count("Fetching changes with git depth set to 20...") == 3
        assert job.text.count("WARNING: Retrying...") == 2
        assert job.text.count("Deleting tracked and untracked files...") == 1
        assert job.text.count("Deleting all tracked and untracked files due to source fetch failure") == 1


@pytest.mark.parametrize(("strategy", "left"), [("fetch", ".git hello.txt"), ("clone", "")], ids=["fetch", "clone"])
async def test_the_project_is_cleaned_at_the_end_when_asked(cluster: Cluster, strategy: str, left: str) -> None:
    """`FF_ENABLE_JOB_CLEANUP` leaves on a kept volume what the strategy's next job wants."""
    variables = {"FF_ENABLE_JOB_CLEANUP": "true", "GIT_STRATEGY": strategy}
    async with cluster.harness(**kept_builds(cluster)) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "one\n"})
        script = ["echo changed > hello.txt; mkdir deep; touch deep/untracked; chmod -w deep"]
        seen(await h.run(repository=repository, script=script, variables=variables))
        # `none` makes the directory that `clone` has removed.
        job = await h.run(script=["echo @left=$(ls -A | tr '\\n' ' ')"], variables={"GIT_STRATEGY": "none"})
        assert seen(job) == {"left": left}
