"""Stages and results: which stages a job's end lets run, what they are told, and what GitLab hears."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from runner.testing.payloads import step

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

PLAIN = {"GIT_STRATEGY": "none"}
EXEC = {**PLAIN, "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": "true"}
BEFORE = ["prepare_executor", "prepare_script", "get_sources"]
CLEANUP = "cleanup_file_variables"
AFTER = ["echo status $CI_JOB_STATUS"]
FOREVER = ["echo begun", "sleep 600", "echo ended by itself"]
SOON = {"FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY": "false"}


def sections(job: JobRecord) -> list[str]:
    """The sections of a job's log, in the order in which they begin."""
    return re.findall(r"section_start:\d+:(\w+)", job.trace.decode())


def upload(name: str, when: str) -> dict[str, Any]:
    """Artifacts of the whole project directory's file `out`."""
    return {"name": name, "paths": ["out"], "when": when, "artifact_type": "archive", "artifact_format": "zip"}


def names(h: Harness, job: JobRecord) -> list[str]:
    """The archives that GitLab got of a job."""
    return [each.filename for each in h.gitlab.artifacts.of(job.id)]


# Several steps


@dataclass(frozen=True)
class Steps:
    """Commands of a job with several steps, and how it goes."""

    script: str
    release: str
    runs: list[str]
    end: tuple[str, str | None, int]
    status: str


STEPS = {
    "all well": Steps("true", "true", ["step_script", "step_release"], ("success", None, 0), "success"),
    "script fails": Steps("exit 3", "true", ["step_script"], ("failed", "script_failure", 3), "failed"),
    "release fails": Steps(
        "true", "exit 4", ["step_script", "step_release"], ("failed", "script_failure", 4), "failed"
    ),
}


@pytest.mark.parametrize("variables", [PLAIN, EXEC], ids=["attach", "exec"])
@pytest.mark.parametrize("case", STEPS.values(), ids=STEPS)
async def test_testKubernetesMultistepRun(  # noqa: N802 -- upstream's name
    cluster: Cluster, case: Steps, variables: dict[str, str]
) -> None:
    """Steps run until one fails, after_script always, and the cleanup last."""
    steps = [
        step("script", [case.script]),
        step("release", [case.release]),
        step("after_script", AFTER, when="always", allow_failure=True),
    ]
    async with cluster.harness() as h:
        job = await h.run(steps=steps, variables=variables)
    assert (job.state, job.failure_reason, job.exit_code) == case.end, job.text
    assert sections(job) == [*BEFORE, *case.runs, "after_script", CLEANUP]
    assert f"\nstatus {case.status}\n" in job.text


async def test_testKubernetesBuildPassingEnvsMultistep(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """Lines of the GITLAB_ENV file are variables of all later stages, as they are written and not as a shell reads."""
    write = [
        "echo 'HELLO=$(echo world) `id` $HOME' >> $GITLAB_ENV",
        "echo 'FOLDER=kept' >> $GITLAB_ENV",
        "mkdir kept && echo in the cache > kept/file",
    ]
    steps = [
        step("script", write),
        step("second", ['echo "second: $HELLO"', "echo 'HELLO=again' >> $GITLAB_ENV"]),
        step("after_script", ['echo "after: $HELLO"'], when="always", allow_failure=True),
    ]
    cache = {"key": "k", "paths": ["$FOLDER/*"], "policy": "push", "when": "on_success", "untracked": False}
    async with cluster.harness() as h:
        job = await h.run(steps=steps, variables=PLAIN, cache=[cache])
    assert job.state == "success", job.text
    assert "\nsecond: $(echo world) `id` $HOME\n" in job.text
    assert "\nafter: again\n" in job.text
    assert "kept/*: found 1 matching artifact files and directories" in job.text


# Exit codes


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 42", 42), ("exit 255", 255), ("kill -9 $$", 137), ("no-such-command", 127)],
    ids=["of its own", "the largest", "killed", "not found"],
)
async def test_exit_code_is_reported_for_allow_failure(cluster: Cluster, script: str, code: int) -> None:
    """GitLab compares it with `allow_failure:exit_codes`; the runner says that it reports them."""
    async with cluster.harness() as h:
        job = await h.run(script=[script], variables=PLAIN)
    assert (job.state, job.failure_reason, job.exit_code) == ("failed", "script_failure", code), job.text
    assert job.request["info"]["features"]["return_exit_code"] is True


@pytest.mark.parametrize(
    ("name", "value", "end"),
    [
        ("AFTER_SCRIPT_IGNORE_ERRORS", None, ("success", 0)),
        ("AFTER_SCRIPT_IGNORE_ERRORS", "false", ("failed", 7)),
        ("RUNNER_AFTER_SCRIPT_IGNORE_ERRORS", "false", ("failed", 7)),
    ],
    ids=["ignored", "not ignored", "not ignored by its other name"],
)
async def test_failed_after_script(cluster: Cluster, name: str, value: str | None, end: tuple[str, int]) -> None:
    """It is a warning, unless the job wants its errors; then the endings are those of a failed job too."""
    variables = PLAIN if value is None else {**PLAIN, name: value}
    uploads = [upload("good", "on_success"), upload("bad", "on_failure")]
    async with cluster.harness() as h:
        job = await h.run(script=["echo x > out"], after_script=["exit 7"], variables=variables, artifacts=uploads)
        assert (job.state, job.exit_code) == end, job.text
        assert names(h, job) == ["good.zip" if value is None else "bad.zip"]
    warning = "WARNING: after_script failed, but job will continue unaffected: command terminated with exit code 7"
    assert (warning in job.text) == (value is None)


# Limits on time


async def test_script_timeout_leaves_time_for_the_rest(cluster: Cluster) -> None:
    """The script is stopped; after_script and what follows a failure run, artifacts with `when: always` go up."""
    variables = {**PLAIN, "RUNNER_SCRIPT_TIMEOUT": "2s"}
    uploads = [upload("good", "on_success"), upload("bad", "on_failure"), upload("any", "always")]
    steps = [
        step("script", ["echo part > out", *FOREVER]),
        step("release", ["true"]),
        step("after_script", AFTER, when="always", allow_failure=True),
    ]
    async with cluster.harness() as h:
        job = await h.run(steps=steps, variables=variables, artifacts=uploads, within=60)
        assert sorted(names(h, job)) == ["any.zip", "bad.zip"], job.text
    assert (job.state, job.failure_reason) == ("failed", "job_execution_timeout"), job.text
    assert sections(job) == [*BEFORE, "step_script", "after_script", "upload_artifacts_on_failure", CLEANUP]
    assert "\nstatus timedout\n" in job.text
    assert "WARNING: step_script could not run to completion because the timeout was exceeded." in job.text
    assert "ERROR: Job failed: script timeout: context deadline exceeded" in job.text
    assert "\nended by itself" not in job.text


async def test_after_script_timeout_leaves_the_result(cluster: Cluster) -> None:
    """A good script stays good; the endings run."""
    variables = {**PLAIN, "RUNNER_AFTER_SCRIPT_TIMEOUT": "2s"}
    async with cluster.harness() as h:
        job = await h.run(after_script=FOREVER, variables=variables, within=60)
    assert job.state == "success", job.text
    assert sections(job)[-2:] == ["after_script", CLEANUP]
    assert "WARNING: after_script could not run to completion because the timeout was exceeded." in job.text
    assert "WARNING: after_script failed, but job will continue unaffected: context deadline exceeded" in job.text
    assert "\nended by itself" not in job.text


async def test_sources_timeout_ends_the_job(cluster: Cluster) -> None:
    """Nothing follows it, not even a cleanup."""
    runner = {"get_sources_timeout": "2s", "pre_get_sources_script": "sleep 600"}
    async with cluster.harness(runner=runner) as h:
        job = await h.run(after_script=AFTER, artifacts=[upload("any", "always")], within=60)
        await h.wait_until_empty()
    assert (job.state, job.failure_reason) == ("failed", "job_execution_timeout"), job.text
    assert sections(job) == BEFORE
    assert "ERROR: Job failed: get sources timeout: exceeded timeout of 2s" in job.text


@pytest.mark.only_on("embedded")
async def test_limits_that_cannot_be_are_told(cluster: Cluster) -> None:
    """Each with its value, and the job runs without them."""
    variables = {**PLAIN, "RUNNER_SCRIPT_TIMEOUT": "soon", "RUNNER_AFTER_SCRIPT_TIMEOUT": "-3m"}
    async with cluster.harness() as h:
        job = await h.run(variables=variables)
        longer = await h.run(variables={**PLAIN, "RUNNER_SCRIPT_TIMEOUT": "2h"})
    assert (job.state, longer.state) == ("success", "success")
    assert "WARNING: Ignoring malformed RUNNER_SCRIPT_TIMEOUT timeout: soon" in job.text
    assert "WARNING: Ignoring relative RUNNER_AFTER_SCRIPT_TIMEOUT timeout: -3m" in job.text
    told = "WARNING: RUNNER_SCRIPT_TIMEOUT timeout: 2h is longer than job timeout. Setting to job timeout"
    assert told in longer.text


# Attempts


async def test_sources_are_fetched_again(cluster: Cluster) -> None:
    """Before the second attempt the worktree is cleared, and each attempt is a section of its own."""
    fails_twice = 'tries="${GITLAB_ENV%/*}/tries"; echo x >> "$tries"; test "$(wc -l < "$tries")" -eq 3'
    variables = {**SOON, "GET_SOURCES_ATTEMPTS": "3"}
    async with cluster.harness(runner={"pre_get_sources_script": fails_twice}) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "from git\n"})
        job = await h.run(script=["cat hello.txt"], variables=variables, repository=repository)
    assert job.state == "success", job.text
    again = ["get_sources", "clear_worktree", "get_sources", "get_sources"]
    assert sections(job) == [*BEFORE[:2], *again, "step_script", CLEANUP]
    assert job.text.count("WARNING: Retrying...") == 2


async def test_failed_sources_let_only_endings_of_a_failure_run(cluster: Cluster) -> None:
    """Neither script nor after_script; the code is that of the last attempt."""
    variables = {**SOON, "GET_SOURCES_ATTEMPTS": "2"}
    uploads = [upload("bad", "on_failure")]
    async with cluster.harness(runner={"pre_get_sources_script": "exit 5"}) as h:
        job = await h.run(after_script=AFTER, variables=variables, artifacts=uploads)
    assert (job.state, job.failure_reason, job.exit_code) == ("failed", "script_failure", 5), job.text
    again = ["clear_worktree", "get_sources"]
    assert sections(job) == [*BEFORE, *again, "upload_artifacts_on_failure", CLEANUP]


async def test_artifacts_are_downloaded_again(cluster: Cluster) -> None:
    """As often as the job says; then it fails before its script."""
    gone = {"id": 99, "name": "gone", "token": "none", "artifacts_file": {"filename": "artifacts.zip", "size": 1}}
    variables = {**PLAIN, **SOON, "ARTIFACT_DOWNLOAD_ATTEMPTS": "2"}
    async with cluster.harness() as h:
        job = await h.run(after_script=AFTER, variables=variables, dependencies=[gone])
    assert (job.state, job.exit_code) == ("failed", 1), job.text
    assert sections(job) == [*BEFORE, "download_artifacts", "download_artifacts", CLEANUP]


async def test_caches_are_restored_again(cluster: Cluster) -> None:
    """A cache that is not there is no failure; a stage that cannot run is tried as often as the job says."""
    gone = [{"name": "post_get_sources_script", "script": ['cd / && rm -rf "$CI_PROJECT_DIR"']}]
    cache = [{"key": "k", "untracked": False, "policy": "pull", "paths": ["x"], "when": "on_success"}]
    variables = {**SOON, "RESTORE_CACHE_ATTEMPTS": "3"}
    async with cluster.harness() as h:
        project = await h.gitlab.create_repository("acme/demo", files={"a": "1"})
        job = await h.run(repository=project, script=["true"], hooks=gone, variables=variables, cache=cache)
    assert job.state == "failed", job.text
    assert sections(job).count("restore_cache") == 3
    assert "step_script" not in sections(job)


# Sections of scripts


async def test_TestBuildScriptSections(cluster: Cluster) -> None:  # noqa: N802 -- upstream's name
    """With FF_SCRIPT_SECTIONS a command of several lines stands in a collapsed section; its output follows."""
    script = ["echo one", "for word in two three; do\n  echo $word\ndone"]
    async with cluster.harness() as h:
        job = await h.run(script=script, variables={**PLAIN, "FF_SCRIPT_SECTIONS": "true"})
        plain = await h.run(script=script, variables=PLAIN)
    assert job.state == "success", job.text
    mark = r"section_start:\d{9,}:section_script_step_1\[hide_duration=true,collapsed=true\]\r"
    raw = job.trace.decode()
    assert len(re.findall(mark, raw)) == 1, raw
    assert len(re.findall(r"section_end:\d{9,}:section_script_step_1\r", raw)) == 1
    assert raw.index("section_end", re.search(mark, raw).start()) < raw.index("O two\n")  # type: ignore[union-attr]
    assert "section_script_step_0" not in raw
    assert "$ for word in two three; do # collapsed multi-line command\ntwo\nthree\n" in plain.text


# Cancel


@dataclass(frozen=True)
class Cancel:
    """A job that is canceled in one of its stages, where it waits, and what runs afterwards."""

    over: dict[str, Any]
    runs: list[str]
    status: str = ""
    state: str = "canceled"
    runner: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=lambda: PLAIN)


CANCELS = {
    "get_sources": Cancel(
        {"after_script": AFTER}, BEFORE, runner={"pre_get_sources_script": "echo begun; sleep 600"}, variables={}
    ),
    "step_script": Cancel(
        {"script": FOREVER, "after_script": AFTER},
        [*BEFORE, "step_script", "after_script", "upload_artifacts_on_failure", CLEANUP],
        status="canceled",
    ),
    "after_script": Cancel(
        {"after_script": ["echo begun", "sleep 2", *AFTER]},
        [*BEFORE, "step_script", "after_script", "upload_artifacts_on_success", CLEANUP],
        status="success",
    ),
}


@pytest.mark.parametrize("case", CANCELS.values(), ids=CANCELS)
async def test_testKubernetesBuildCancel(cluster: Cluster, case: Cancel) -> None:  # noqa: N802 -- upstream's name
    """Before the scripts it ends all; a script is stopped and after_script runs; what follows scripts goes on."""
    async with cluster.harness(keep_alive_interval=0.2, runner=case.runner) as h:
        job = h.queue(variables=case.variables, artifacts=[upload("any", "always")], **case.over)
        await job.wait(lambda record: "begun" in record.text.splitlines(), timeout=60)
        job.cancel()
        await job.wait_finished(timeout=60)
        await h.wait_until_empty()
    assert job.state == case.state, job.text
    assert sections(job) == case.runs
    assert (f"\nstatus {case.status}\n" in job.text) == bool(case.status)
    assert "\nended by itself" not in job.text
