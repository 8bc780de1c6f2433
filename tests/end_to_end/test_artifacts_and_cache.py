"""Artifacts between jobs, reports, and the cache, as a job's log and GitLab show them."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from runner.testing.faults import FaultRule, Handler, Reply

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
MAKE = [
    "rm -rf dist && mkdir -p dist/sub",
    "echo one > dist/one",
    "echo two > dist/sub/two",
    "ln -s one dist/link",
    "echo no > dist/no.map",
]


def artifact(*paths: str, **over: Any) -> dict[str, Any]:
    """One entry of `artifacts` as GitLab sends it."""
    plain = {"name": "", "untracked": False, "paths": list(paths), "when": "on_success", "expire_in": "1 week"}
    return {**plain, "exclude": None, "artifact_type": "archive", "artifact_format": "zip", **over}


def dependency(job: JobRecord) -> dict[str, Any]:
    """One entry of `dependencies` on a job's artifacts."""
    file = {"filename": "artifacts.zip", "size": 1}
    return {"id": job.id, "name": "compile", "token": job.token, "artifacts_file": file}


async def test_artifacts_pass_from_one_job_to_the_next(cluster: Cluster) -> None:
    """With links and without what is excluded; the log names what was found and how GitLab answered."""
    async with cluster.harness() as h:
        made = await h.run(
            script=MAKE, variables=NO_SOURCES, artifacts=[artifact("dist", exclude=["dist/*.map"], name="built")]
        )
        assert made.state == "success", made.text
        assert "dist: found 5 matching artifact files and directories" in made.text
        assert "dist/*.map: excluded 1 files" in made.text
        assert 'Uploading artifacts as "archive" to coordinator... 201 Created' in made.text
        upload = h.gitlab.artifacts.archive(made.id)
        assert upload is not None
        assert (upload.filename, upload.expire_in) == ("built.zip", "1 week")
        assert sorted(zipfile.ZipFile(io.BytesIO(upload.data)).namelist()) == [
            "dist/",
            "dist/link",
            "dist/one",
            "dist/sub/",
            "dist/sub/two",
        ]
        used = await h.run(
            script=["cat dist/one dist/sub/two dist/link"], variables=NO_SOURCES, dependencies=[dependency(made)]
        )
        assert used.state == "success", used.text
        assert f"Downloading artifacts for compile ({made.id})..." in used.text
        assert "Downloading artifacts from coordinator... ok" in used.text
        assert "\none\ntwo\none\n" in used.text
        assert h.gitlab.violations == []


@pytest.mark.parametrize(("asked", "has"), [("true", True), ("false", False)])
async def test_a_statement_of_where_artifacts_come_from(cluster: Cluster, asked: str, has: bool) -> None:
    """Beside the files of a zip, when the job asks for it; with names of variables, no values."""
    variables = {
        **NO_SOURCES,
        "RUNNER_GENERATE_ARTIFACTS_METADATA": asked,
        "SLSA_PROVENANCE_SCHEMA_VERSION": "v1",
        "DEPLOY_KEY": "s3cret-value",
    }
    async with cluster.harness() as h:
        job = await h.run(script=MAKE, variables=variables, artifacts=[artifact("dist/one")])
        assert job.state == "success", job.text
        upload = h.gitlab.artifacts.archive(job.id)
        assert upload is not None
        archive = zipfile.ZipFile(io.BytesIO(upload.data))
        assert ("artifacts-metadata.json" in archive.namelist()) is has
        if not has:
            return
        statement = json.loads(archive.read("artifacts-metadata.json"))
        assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
        assert [subject["name"] for subject in statement["subject"]] == ["dist/one"]
        made = statement["predicate"]["buildDefinition"]
        assert made["internalParameters"]["executor"] == "kubernetes"
        assert made["externalParameters"]["DEPLOY_KEY"] == ""
        assert "@" not in made["externalParameters"]["source"]
        assert re.fullmatch(r"[0-9T:Z-]{20}", statement["predicate"]["runDetails"]["metadata"]["finishedOn"])
        assert "s3cret-value" not in json.dumps(statement)


async def test_a_direct_download_comes_from_the_object_store(cluster: Cluster) -> None:
    """GitLab redirects; the signed address is not told."""
    async with cluster.harness() as h:
        h.gitlab.artifacts.object_store = True
        made = await h.run(script=MAKE, variables=NO_SOURCES, artifacts=[artifact("dist/one")])
        used = await h.run(script=["cat dist/one"], variables=NO_SOURCES, dependencies=[dependency(made)])
        assert used.state == "success", used.text
        assert "Direct download from " in used.text
        assert "signature" not in used.text


async def test_a_missing_dependency_fails_the_job_before_its_script(cluster: Cluster) -> None:
    """404 is GitLab's last word."""
    async with cluster.harness() as h:
        gone = await h.run(script=["true"], variables=NO_SOURCES)
        job = await h.run(script=["echo never"], variables=NO_SOURCES, dependencies=[dependency(gone)])
        assert (job.state, job.failure_reason) == ("failed", "script_failure"), job.text
        assert "Downloading artifacts from coordinator... not found" in job.text
        assert "FATAL: file does not exist" in job.text
        assert "\nnever" not in job.text


async def test_reports_are_sent_also_after_a_failure(cluster: Cluster) -> None:
    """Each entry by its `when`; a report is gzip with its name."""
    async with cluster.harness() as h:
        job = await h.run(
            script=["echo '<testsuite/>' > report.xml", "exit 1"],
            variables=NO_SOURCES,
            artifacts=[
                artifact("report.xml", when="always", artifact_type="junit", artifact_format="gzip", name="junit.xml"),
                artifact("report.xml", when="on_success"),
                artifact("nothing", when="on_failure"),
            ],
        )
        assert (job.state, job.exit_code) == ("failed", 1), job.text
        (upload,) = h.gitlab.artifacts.of(job.id)
        assert (upload.type, upload.format, upload.filename) == ("junit", "gzip", "junit.xml.gz")
        assert upload.data[:2] == b"\x1f\x8b"
        assert "No files to upload" in job.text


async def test_too_large_an_upload_fails_the_job_at_once(cluster: Cluster) -> None:
    """413 is not tried again."""
    async with cluster.harness() as h:
        h.gitlab.artifacts.limit_bytes = 1000
        job = await h.run(
            script=["head -c 3000000 /dev/urandom > blob"], variables=NO_SOURCES, artifacts=[artifact("blob")]
        )
        assert (job.state, job.failure_reason) == ("failed", "script_failure"), job.text
        assert "413" in job.text
        assert "FATAL: too large" in job.text
        assert "Retrying" not in job.text


async def test_an_upload_is_tried_again_when_gitlab_is_in_trouble(cluster: Cluster) -> None:
    """500 once, and the artifacts are there."""
    async with cluster.harness() as h:
        h.gitlab.faults.add(FaultRule("POST", "/artifacts", Reply(500)))
        job = await h.run(script=MAKE, variables=NO_SOURCES, artifacts=[artifact("dist")])
        assert job.state == "success", job.text
        assert "WARNING: Retrying..." in job.text
        assert h.gitlab.artifacts.archive(job.id) is not None


async def test_a_cache_on_a_volume_is_there_for_the_next_job(cluster: Cluster) -> None:
    """Missing the first time, extracted the second; the script's own word is unchanged."""
    entry = {"key": "deps", "untracked": False, "policy": "pull-push", "paths": ["vendor"], "when": "on_success"}
    async with cluster.harness(**cluster.cache_volume()) as h:
        first = await h.run(
            script=["mkdir vendor", "echo lib > vendor/lib"],
            after_script=["rm -rf empty"],
            variables=NO_SOURCES,
            cache=[entry],
        )
        assert first.state == "success", first.text
        assert "Checking cache for deps..." in first.text
        assert "Cache file does not exist" in first.text
        assert "Created cache" in first.text
        second = await h.run(script=["cat vendor/lib"], variables=NO_SOURCES, cache=[{**entry, "policy": "pull"}])
        assert second.state == "success", second.text
        assert "Successfully extracted cache" in second.text
        assert "Not uploading cache deps due to policy" in second.text
        assert "\nlib\n" in second.text


@dataclass(frozen=True)
class Cut:
    """Sends the first bytes of a file, and closes the connection."""

    path: Path
    length: int

    async def __call__(self, request: web.Request, _handler: Handler, /) -> web.StreamResponse:
        """Answer as a server of files does."""
        found = self.path.stat()
        # The whole second behind the file's own: what it is asked for again with is not older than the file.
        changed = formatdate(int(found.st_mtime) + 1, usegmt=True)
        answer = web.StreamResponse(headers={"Last-Modified": changed, "Content-Length": str(found.st_size)})
        await answer.prepare(request)
        await answer.write(self.path.read_bytes()[: self.length])
        assert request.transport is not None
        request.transport.close()
        return answer


async def test_a_download_that_is_cut_goes_on(cluster: Cluster) -> None:
    """Within one try of the stage; the next job has every byte."""
    async with cluster.harness() as h:
        script = ["head -c 3000000 /dev/urandom > blob", "md5sum < blob > sum"]
        made = await h.run(script=script, variables=NO_SOURCES, artifacts=[artifact("blob", "sum")])
        upload = h.gitlab.artifacts.archive(made.id)
        assert upload is not None
        os.utime(upload.path, (1_700_000_000, 1_700_000_000))  # a date that was over when it is given
        h.gitlab.faults.add(FaultRule("GET", "/artifacts", Cut(upload.path, 2_097_152)))
        check = ['[ "$(md5sum < blob)" = "$(cat sum)" ] && echo "all of it"']
        used = await h.run(script=check, variables=NO_SOURCES, dependencies=[dependency(made)])
        assert used.state == "success", used.text
        assert "WARNING: Retrying..." in used.text
        # How much of it arrives before the connection is seen to be lost is the network's.
        went_on = re.search(r"going on at byte (\d+)", used.text)
        assert went_on is not None, used.text
        assert 0 < int(went_on[1]) <= 2_097_152
        assert "\nall of it" in used.text


async def test_a_stage_is_tried_again_as_often_as_the_job_says(cluster: Cluster) -> None:
    """Three tries of the first stage are in vain, the second stage finds GitLab well again."""
    variables = {**NO_SOURCES, "ARTIFACT_DOWNLOAD_ATTEMPTS": "2", "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY": "false"}
    async with cluster.harness() as h:
        made = await h.run(script=MAKE, variables=NO_SOURCES, artifacts=[artifact("dist/one")])
        h.gitlab.faults.add(FaultRule("GET", "/artifacts", Reply(500), times=3))
        used = await h.run(script=["cat dist/one"], variables=variables, dependencies=[dependency(made)])
        assert used.state == "success", used.text
        assert "FATAL: GitLab answers 500 Internal Server Error" in used.text
        assert used.trace.count(b":download_artifacts\r") == 4, used.text
