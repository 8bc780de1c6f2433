"""Hooks: the administrator's and the project's own commands around the sources and the script, in their order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.git_jobs import seen

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
FILES = {"hello.txt": "from git\n"}

WHERE = "; ".join(
    (
        "tool=none; command -v git >/dev/null 2>&1 && tool=git",
        'tree=none; [ -e "$CI_PROJECT_DIR/hello.txt" ] && tree=there',
        'inside=no; [ "$(pwd)" = "$CI_PROJECT_DIR" ] && inside=yes',
        'echo "@$hook=$tool $tree $inside $CI_JOB_STATUS ${left-}"',
    )
)
"""Says whether the container has git, whether the sources are there and are the working directory."""

CONFIGURED = {
    name: f"hook=config_{name}; {WHERE}"
    for name in ("pre_get_sources_script", "post_get_sources_script", "pre_build_script", "post_build_script")
}
CONFIGURED["pre_build_script"] += "; left=by_pre_build"
OWN = [
    {"name": name, "script": [f"hook=own_{name}", WHERE]}
    for name in ("pre_get_sources_script", "post_get_sources_script")
]


async def test_hooks_run_in_their_order_and_place(cluster: Cluster) -> None:
    """The administrator's are the outer ones. Those of the sources run in the helper, the others in the job's shell."""
    build = "none" if cluster.is_real else "git"
    async with cluster.harness(runner=CONFIGURED) as h:
        repository = await h.gitlab.create_repository("acme/demo", files=FILES)
        job = await h.run(
            repository=repository,
            hooks=OWN,
            script=["hook=script", WHERE, "left=by_script"],
            after_script=["hook=after_script", WHERE],
        )
        assert h.gitlab.violations == []
    assert list(seen(job).items()) == [
        ("config_pre_get_sources_script", "git none no running "),
        ("own_pre_get_sources_script", "git none no running "),
        ("own_post_get_sources_script", "git there yes running "),
        ("config_post_get_sources_script", "git there yes running "),
        ("config_pre_build_script", f"{build} there yes running "),
        ("script", f"{build} there yes running by_pre_build"),
        ("config_post_build_script", f"{build} there yes running by_script"),
        ("after_script", f"{build} there yes success "),
    ]
    # Each command is announced, letter for letter.
    assert f"$ {CONFIGURED['pre_get_sources_script']}\n@config_pre_get_sources_script=" in job.text
    assert "$ hook=own_post_get_sources_script\n$ tool=none;" in job.text


@dataclass(frozen=True)
class Failing:
    """A hook that fails, which hooks and scripts have run by the job's end, and its exit code."""

    runner: dict[str, str]
    runs: list[str]
    code: int
    hooks: list[dict[str, Any]] = field(default_factory=list)
    script: str = "echo @script="


def runs(*names: str) -> dict[str, str]:
    """Configured hooks that say that they run."""
    return {name: f"echo @{name}=" for name in names}


FAILINGS = {
    "pre_get_sources_script": Failing(
        {**runs("post_get_sources_script", "pre_build_script"), "pre_get_sources_script": "exit 11"}, [], 11
    ),
    "the project's pre_get_sources_script": Failing(
        runs("pre_get_sources_script", "post_get_sources_script"),
        ["pre_get_sources_script"],
        12,
        hooks=[{"name": "pre_get_sources_script", "script": ["(exit 12)", "echo @never="]}],
    ),
    "post_get_sources_script": Failing(
        {**runs("pre_get_sources_script", "pre_build_script"), "post_get_sources_script": "(exit 13)\necho @never="},
        ["pre_get_sources_script"],
        13,
    ),
    "pre_build_script": Failing({**runs("post_build_script"), "pre_build_script": "exit 14"}, ["after_script"], 14),
    "post_build_script": Failing({"post_build_script": "exit 15"}, ["script", "after_script"], 15),
    "the script, before post_build_script": Failing(
        runs("pre_build_script", "post_build_script"), ["pre_build_script", "after_script"], 16, script="exit 16"
    ),
}


@pytest.mark.parametrize("case", FAILINGS.values(), ids=FAILINGS)
async def test_a_failing_hook_fails_the_job(cluster: Cluster, case: Failing) -> None:
    """With its exit code; around the sources nothing of the job's follows, around the script after_script does."""
    async with cluster.harness(runner=case.runner) as h:
        repository = await h.gitlab.create_repository("acme/demo", files=FILES)
        job = await h.run(
            repository=repository, hooks=case.hooks, script=[case.script], after_script=["echo @after_script="]
        )
    assert (job.state, job.failure_reason, job.exit_code) == ("failed", "script_failure", case.code), job.text
    assert [line[1:-1] for line in job.text.splitlines() if line.startswith("@")] == case.runs, job.text


@pytest.mark.parametrize("strategy", ["none", "empty"])
async def test_hooks_of_the_sources_are_left_out_without_sources(cluster: Cluster, strategy: str) -> None:
    """As in GitLab Runner; those around the script run."""
    async with cluster.harness(runner=CONFIGURED) as h:
        job = await h.run(hooks=OWN, script=["true"], variables={"GIT_STRATEGY": strategy})
    assert list(seen(job)) == ["config_pre_build_script", "config_post_build_script"]


async def test_hooks_of_the_sources_run_at_each_attempt(cluster: Cluster) -> None:
    """What makes the first attempt fail may be what the hook has to repair."""
    again = {"FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY": "false", "GET_SOURCES_ATTEMPTS": "2"}
    once = 'tries="${GITLAB_ENV%/*}/tries"; echo x >> "$tries"; echo "@try_$(wc -l < "$tries" | tr -d " ")="'
    hooks = [{"name": "post_get_sources_script", "script": [once, '[ "$(wc -l < "$tries")" -eq 2 ]']}]
    async with cluster.harness() as h:
        repository = await h.gitlab.create_repository("acme/demo", files=FILES)
        job = await h.run(repository=repository, hooks=hooks, script=["cat hello.txt"], variables=again)
    assert list(seen(job)) == ["try_1", "try_2"]
    assert job.text.count("WARNING: Retrying...") == 1
