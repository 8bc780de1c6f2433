"""A pipeline as users write one: what a job hands to the next, and how a cancel or a time limit ends it anywhere."""

from __future__ import annotations

import gzip
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from runner.testing.faults import FaultRule, Hold
from runner.testing.payloads import image, variable
from tests.end_to_end.s3 import S3

if TYPE_CHECKING:
    from runner.testing.gitlab import GitLabServer, Repository
    from runner.testing.gitlab_jobs import JobRecord
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

PLAIN = {"GIT_STRATEGY": "none"}
AFTER = ["echo status $CI_JOB_STATUS"]
CLEANUP = "cleanup_file_variables"
CACHE = {"key": "deps", "untracked": False, "policy": "pull-push", "paths": ["vendor"], "when": "on_success"}
VERSION = "$(cat version) with $(cat lib/name) and $(cat model.bin)"


@pytest.fixture
def s3(cluster: Cluster) -> Iterator[S3]:
    """A store for caches where both the manager and the pods reach it."""
    with S3(cluster.host) as server:
        yield server


def sections(job: JobRecord) -> list[str]:
    """The sections of a job's log, in the order in which they begin."""
    return re.findall(r"section_start:\d+:(\w+)", job.trace.decode())


def artifact(*paths: str, **over: Any) -> dict[str, Any]:
    """One entry of `artifacts` as GitLab sends it."""
    plain = {"name": "", "untracked": False, "paths": list(paths), "when": "on_success", "exclude": None}
    return {**plain, "artifact_type": "archive", "artifact_format": "zip", **over}


async def project(gitlab: GitLabServer) -> Repository:
    """A project with a submodule and a large file."""
    pointer = gitlab.large_files.add(b"a large model\n")
    lib = await gitlab.create_repository("acme/lib", files={"name": "a library\n"})
    made = await gitlab.create_repository(
        "acme/app", files={"version": "1.2\n", "model.bin": pointer, ".gitattributes": "*.bin filter=lfs -text\n"}
    )
    modules = '[submodule "lib"]\n\tpath = lib\n\turl = ../lib.git\n'
    await made.commit({".gitmodules": modules}, submodules={"lib": lib.sha})
    return made


def web(cluster: Cluster) -> tuple[dict[str, Any], int]:
    """A service that serves a page, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["sh", "-c", f"echo served > /tmp/index.html; exec httpd -f -p {port} -h /tmp"]
    if not cluster.is_real:  # its containers share this machine's programs
        command = ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    waits = [variable("HEALTHCHECK_TCP_PORT", str(port))]
    return image(cluster.busybox_image, alias="web", entrypoint=command, variables=waits), port


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
async def test_a_pipeline(cluster: Cluster, s3: S3) -> None:
    """Sources with submodules and large files, cache, artifacts, dotenv, a service; after_script after a failure."""
    async with cluster.harness(runner={"cache": s3.cache()}) as h:
        sources = await project(h.gitlab)
        variables = {"GIT_SUBMODULE_STRATEGY": "recursive"}
        built = await h.run(
            name="build",
            repository=sources,
            variables=variables,
            cache=[CACHE],
            script=[
                "[ ! -e vendor ] && mkdir vendor && echo vendored > vendor/one",
                f'mkdir dist && echo "{VERSION}" > dist/app',
                "echo VERSION=$(cat version) > build.env",
            ],
            artifacts=[
                artifact("dist"),
                artifact("build.env", name="build.env", artifact_type="dotenv", artifact_format="gzip", when="always"),
            ],
        )
        assert built.state == "success", built.text
        assert "Failed to extract cache" in built.text
        assert "Created cache" in built.text
        uploads = {each.type: each for each in h.gitlab.artifacts.of(built.id)}
        assert gzip.decompress(uploads["dotenv"].data) == b"VERSION=1.2\n"

        for folder in ("cache", "builds"):
            shutil.rmtree(h.folder / folder, ignore_errors=True)
        # As GitLab has it: the dotenv report of one job is variables of the next.
        name, value = gzip.decompress(uploads["dotenv"].data).decode().strip().split("=")
        file = {"filename": "artifacts.zip", "size": 1}
        service, port = web(cluster)
        tested = await h.run(
            name="test",
            repository=sources,
            variables={**variables, name: value},
            cache=[{**CACHE, "policy": "pull"}],
            dependencies=[{"id": built.id, "name": "build", "token": built.token, "artifacts_file": file}],
            services=[service],
            script=[
                'echo "app $VERSION: $(cat dist/app) $(cat vendor/one)"',
                f"wget -q -O /dev/null http://web:{port}/ || wget -q -O /dev/null http://127.0.0.1:{port}/",
                "echo the service answers",
                "exit 3",
            ],
            after_script=AFTER,
            artifacts=[artifact("dist", name="kept", when="on_failure")],
        )
    assert (tested.state, tested.failure_reason, tested.exit_code) == ("failed", "script_failure", 3), tested.text
    assert "Successfully extracted cache" in tested.text
    assert "\napp 1.2: 1.2 with a library and a large model vendored\n" in tested.text
    assert "\nthe service answers\n" in tested.text
    assert "\nstatus failed\n" in tested.text
    assert sections(tested) == [
        *["prepare_executor", "health_check", "prepare_script", "get_sources", "restore_cache", "download_artifacts"],
        *["step_script", "after_script", "upload_artifacts_on_failure", CLEANUP],
    ]
    assert h.gitlab.violations == []


# Cancel


@dataclass(frozen=True)
class Held:
    """A job that stands still in one of its stages, and what runs until its end when it is canceled there."""

    waits_for: str
    """A line of the log that says that the stage has begun."""
    runs: tuple[str, ...]
    over: dict[str, Any] = field(default_factory=dict)
    runner: dict[str, str] = field(default_factory=dict)
    status: str = ""
    """What after_script is told, where it runs."""
    goes_on: bool = False
    """The cancel stops nothing any more: the stage has to be let go."""


WAITING = "sleep 600"
BEFORE = ("prepare_executor", "prepare_script", "get_sources")
SCRIPT = (*BEFORE, "restore_cache", "step_script", "after_script")
UPLOADED = (*SCRIPT, "archive_cache", "upload_artifacts_on_success", CLEANUP)
PUSH = {"cache": [{**CACHE, "policy": "push", "when": "always"}]}
STAGES = {
    "prepare": Held(
        'Waiting for service "never"',
        ("prepare_executor", "health_check"),
        {"services": [image("", alias="never", variables=[variable("HEALTHCHECK_TCP_PORT", "9")])]},
    ),
    "get_sources": Held(
        "begun", BEFORE, {"variables": {}}, runner={"pre_get_sources_script": f"echo begun; {WAITING}"}
    ),
    "restore_cache": Held(
        "Checking cache for deps...", (*BEFORE, "restore_cache"), {"cache": [{**CACHE, "policy": "pull"}]}
    ),
    "download_artifacts": Held(
        "Downloading artifacts for gone (99)...",
        (*BEFORE, "download_artifacts"),
        {"dependencies": [{"id": 99, "name": "gone", "token": "t", "artifacts_file": {"filename": "a", "size": 1}}]},
    ),
    "script": Held(
        "begun",
        (*SCRIPT, "archive_cache_on_failure", "upload_artifacts_on_failure", CLEANUP),
        {"script": ["mkdir vendor", "echo begun", WAITING], **PUSH},
        status="canceled",
    ),
    "after_script": Held(
        "begun",
        UPLOADED,
        {
            "after_script": ["echo begun", "sleep 3", *AFTER],
            **PUSH,
        },
        status="success",
        goes_on=True,
    ),
    "archive": Held("Creating cache deps...", UPLOADED, PUSH, status="success", goes_on=True),
    "upload": Held("Uploading artifacts...", UPLOADED, PUSH, status="success", goes_on=True),
}


@pytest.mark.parametrize("forced", [False, True], ids=["gently", "by force"])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancel_in_every_stage(cluster: Cluster, s3: S3, stage: str, forced: bool) -> None:
    """Before the scripts it ends the job; a script is stopped, and what follows a failure runs; later the job goes on.

    By force it ends the job wherever it is, and nothing follows. No pod is left.
    """
    case = STAGES[stage]
    go, hold = threading.Event(), Hold()
    asks = {"restore_cache": "GET", "archive": "PUT"}.get(stage, "")
    s3.refuse = lambda method, _query: 0 if method != asks or go.wait(60) else 503
    runner = {"cache": s3.cache(), **case.runner}
    job_keys: dict[str, Any] = {"script": ["mkdir vendor"], "after_script": AFTER, "variables": PLAIN, **case.over}
    for service in job_keys.get("services", ()):
        service.update(name=cluster.busybox_image, entrypoint=["sh", "-c", WAITING])
    try:
        async with cluster.harness(keep_alive_interval=0.2, runner=runner) as h:
            asked = {"download_artifacts": "GET", "upload": "POST"}.get(stage)
            if asked:
                h.gitlab.faults.add(FaultRule(asked, "/artifacts", hold, times=None))
            job = h.queue(artifacts=[artifact("vendor", when="always")], **job_keys)
            told = case.waits_for
            await job.wait(lambda record: any(line.startswith(told) for line in record.text.splitlines()), timeout=60)
            job.cancel(force=forced)
            if case.goes_on and not forced:
                go.set()
                hold.release()
            await job.wait_finished(timeout=60)
            await h.wait_until_empty()
            assert h.gitlab.violations == []
    finally:
        go.set()
        hold.release()
    assert job.state == "canceled", job.text
    ran = sections(job)
    if forced:
        assert ran == list(case.runs[: len(ran)]) or stage == "script"
        assert CLEANUP not in ran
        return
    assert ran == list(case.runs), job.text
    assert (f"\nstatus {case.status}\n" in job.text) == bool(case.status)


# Time


async def test_a_jobs_own_timeout_ends_it_wherever_it_is(cluster: Cluster) -> None:
    """Nothing follows it, as GitLab counts no second more: no after_script, no artifacts, no cleanup; no pod stays."""
    timeout = 15 if cluster.is_real else 6
    async with cluster.harness() as h:
        job = await h.run(
            script=["echo begun", WAITING],
            after_script=AFTER,
            variables=PLAIN,
            artifacts=[artifact("out", when="always")],
            timeout=timeout,
            within=60,
        )
        await h.wait_until_empty()
        assert h.gitlab.artifacts.of(job.id) == ()
    assert (job.state, job.failure_reason) == ("failed", "job_execution_timeout"), job.text
    assert "\nbegun\n" in job.text
    assert sections(job) == [*BEFORE, "step_script"]
    assert job.text.rstrip().endswith(f"ERROR: Job failed: execution took longer than {timeout}s seconds")
