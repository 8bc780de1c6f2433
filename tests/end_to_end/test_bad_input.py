"""What a job can get wrong, or find broken: a sentence that names the thing and the way out, and nothing lost.

One row each; how git and services fail in more ways stands in `test_git_submodules` and `test_service_health`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from runner.testing.faults import FaultRule, Reply
from tests.end_to_end.test_artifacts_and_cache import artifact, dependency

if TYPE_CHECKING:
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
NEVER = {"script": ["echo never"], "variables": NO_SOURCES}
FAILED = ("failed", "script_failure")
WELL = ("success", None)

Prepare = Callable[["Harness"], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Bad:
    """One kind of bad input."""

    prepare: Prepare
    """Sets the scene and gives the job's keywords."""
    told: list[str]
    """What the log says, in these words."""
    end: tuple[str, str | None] = FAILED
    never: list[str] = field(default_factory=lambda: ["\nnever"])
    """What it must not say."""
    artifacts: int = 0
    """How many archives GitLab has in the end."""


async def _made(h: Harness, data: bytes | None = None) -> Any:
    """A job whose artifacts are there, and then are what the test makes of them."""
    made = await h.run(script=["echo one > one"], variables=NO_SOURCES, artifacts=[artifact("one")])
    assert made.state == "success", made.text
    upload = h.gitlab.artifacts.archive(made.id)
    assert upload is not None
    if data is not None:
        upload.path.write_bytes(data)
    return made


def _zip(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return target.getvalue()


def _device() -> bytes:
    """A zip with a device between two files, as Info-ZIP writes one."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a", "x")
        item = zipfile.ZipInfo("null")
        item.create_system = 3
        item.external_attr = 0o020666 << 16
        archive.writestr(item, "")
        archive.writestr("b", "x")
    return target.getvalue()


def _uses(data: bytes) -> Prepare:
    async def prepare(h: Harness) -> dict[str, Any]:
        return {**NEVER, "dependencies": [dependency(await _made(h, data))]}

    return prepare


async def missing_dependency(h: Harness) -> dict[str, Any]:
    gone = await h.run(script=["true"], variables=NO_SOURCES)
    return {**NEVER, "dependencies": [dependency(gone)]}


async def refused_dependency(h: Harness) -> dict[str, Any]:
    return {**NEVER, "dependencies": [{**dependency(await _made(h)), "token": "another"}]}


async def too_large(h: Harness) -> dict[str, Any]:
    h.gitlab.artifacts.limit_bytes = 1000
    return {"script": ["head -c 200000 /dev/urandom > blob"], "variables": NO_SOURCES, "artifacts": [artifact("blob")]}


def _answered(*statuses: int) -> Prepare:
    async def prepare(h: Harness) -> dict[str, Any]:
        for status in statuses:
            h.gitlab.faults.add(FaultRule("POST", "/artifacts", Reply(status)))
        return {"script": ["echo one > one"], "variables": NO_SOURCES, "artifacts": [artifact("one")]}

    return prepare


def _paths(*paths: str) -> Prepare:
    async def prepare(_h: Harness) -> dict[str, Any]:
        return {"script": ["echo one > one"], "variables": NO_SOURCES, "artifacts": [artifact("one", *paths)]}

    return prepare


async def pipe(_h: Harness) -> dict[str, Any]:
    script = ["echo one > one", "mkfifo pipe"]
    return {"script": script, "variables": NO_SOURCES, "artifacts": [artifact("one", "pipe")]}


async def repository_gone(h: Harness) -> dict[str, Any]:
    project = await h.gitlab.create_repository("acme/demo", files={"a": "1"})
    project.remove()
    return {"script": ["echo never"], "repository": project}


async def commit_gone(h: Harness) -> dict[str, Any]:
    project = await h.gitlab.create_repository("acme/demo", files={"a": "1"})
    return {"script": ["echo never"], "repository": project, "git": {"sha": "4f5e6d7c" * 5}}


async def private_submodule(h: Harness) -> dict[str, Any]:
    sub = await h.gitlab.create_repository("acme/sub", files={"b": "2"}, private=True)
    project = await h.gitlab.create_repository("acme/demo", files={"a": "1"})
    text = '[submodule "sub"]\n\tpath = sub\n\turl = ../sub.git\n'
    await project.commit({".gitmodules": text}, submodules={"sub": sub.sha})
    variables = {"GIT_SUBMODULE_STRATEGY": "normal"}
    return {"script": ["echo never"], "repository": project, "variables": variables}


def _variables(*names: str) -> Prepare:
    async def prepare(_h: Harness) -> dict[str, Any]:
        script = ['echo "these:$(env | sed -n \'s/^\\(if\\|while\\|function\\|time\\)=/&/p\' | sort | tr "\\n" " ")"']
        return {"script": script, "variables": {**NO_SOURCES, **dict.fromkeys(names, "word")}}

    return prepare


async def silent_service(h: Harness) -> dict[str, Any]:
    service = {"name": h.build_image, "alias": "silent", "entrypoint": ["sleep"], "command": ["600"]}
    return {"script": ["echo begun"], "variables": NO_SOURCES, "services": [service]}


CASES = {
    "missing dependency": Bad(
        missing_dependency,
        ["FATAL: file does not exist: the artifacts of job ", " have expired or were erased, run that job again"],
    ),
    "refused token": Bad(
        refused_dependency,
        [
            "FATAL: permission denied: GitLab does not let this job read the artifacts of job ",
            "look at the other project's job token permissions",
        ],
    ),
    "artifacts over the limit": Bad(
        too_large,
        [
            "413 Request Entity Too Large",
            "FATAL: too large: GitLab takes no archive as large as this one (413 Request Entity Too Large). "
            'Its limit is "Maximum artifacts size" of the instance, the group or the project',
        ],
        never=["Retrying"],
    ),
    "500 until the last try": Bad(
        _answered(500, 500),
        ["WARNING: Retrying...", 'Uploading artifacts as "archive" to coordinator... 201 Created'],
        end=WELL,
        never=["FATAL"],
        artifacts=1,
    ),
    "500 always": Bad(
        _answered(500, 500, 500),
        [
            "FATAL: invalid argument: GitLab answers 500 Internal Server Error. Its log has the reason, "
            "search it for the correlation id"
        ],
    ),
    "refused upload": Bad(
        _answered(403),
        ["FATAL: permission denied: GitLab does not take the token of job ", "which is over or was canceled"],
        never=["Retrying"],
    ),
    "corrupt archive": Bad(
        _uses(_zip("a", "b")[:-30] + b"garbage"),
        ["cannot be extracted: the zip archive is broken: ", ". If they are broken, run that job again"],
    ),
    "no archive": Bad(_uses(b"<html>sign in</html>"), ["cannot be extracted: the zip archive is broken: "]),
    "absolute path in an archive": Bad(
        _uses(_zip("fine", "/etc/evil")), ['"/etc/evil" is no path below the directory: nothing was extracted']
    ),
    "path that leaves, in an archive": Bad(
        _uses(_zip("fine", "../evil")), ['"../evil" is no path below the directory: nothing was extracted']
    ),
    "device in an archive": Bad(
        _uses(_device()), ["WARNING: null: no file, folder or link, passed over", "\nnever"], end=WELL, never=["FATAL"]
    ),
    "paths that leave": Bad(
        _paths("/etc/passwd", "../../x"),
        [
            "WARNING: processPath: artifact path is not a subpath of project directory: /etc/passwd",
            "WARNING: processPath: artifact path is not a subpath of project directory: ../../x",
        ],
        end=WELL,
        artifacts=1,
    ),
    "pipe": Bad(pipe, ["WARNING: pipe: no file, folder or link, passed over"], end=WELL, artifacts=1),
    "repository that is gone": Bad(
        repository_gone, ["/acme/demo.git/' not found", "ERROR: git could not fetch from ", "its reason stands above."]
    ),
    "sha that is not there": Bad(
        commit_gone,
        [
            "ERROR: git could not check out the commit 4f5e6d7c, its reason stands above. If the commit is not there, "
            "main has been rewritten or deleted since the pipeline was made: run a new pipeline."
        ],
    ),
    "submodule without its credentials": Bad(
        private_submodule, ["/acme/sub.git/' not found", "ERROR: git could not update the submodules"]
    ),
    "variables named like keywords": Bad(
        _variables("if", "while", "function", "time"),
        ["these:function=word if=word time=word while=word"],
        end=WELL,
    ),
    "service without a port": Bad(silent_service, ["\nbegun"], end=WELL, never=["probably didn't start properly"]),
}


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_is_told_with_the_way_out(cluster: Cluster, name: str) -> None:
    """The job ends as it must, and its log has the sentence."""
    case = CASES[name]
    async with cluster.harness() as h:
        job = await h.run(**await case.prepare(h))
        assert (job.state, job.failure_reason) == case.end, job.text
        for words in case.told:
            assert words in job.text
        for words in case.never:
            assert words not in job.text
        assert len(h.gitlab.artifacts.of(job.id)) == case.artifacts
        assert "Traceback" not in job.text
        assert job.token not in job.text


@pytest.mark.only_on("real")
async def test_a_full_disk_is_told_and_no_cache_fails_a_job(cluster: Cluster) -> None:
    """The volume of the caches takes 4 MiB: the cache is lost with a reason, the job and its artifacts are not."""
    small = {"name": "small", "mount_path": "/cache", "medium": "Memory", "size_limit": "4Mi"}
    entry = {"key": "deps", "untracked": False, "policy": "push", "paths": ["blob"], "when": "on_success"}
    async with cluster.harness(kubernetes={"volumes": {"empty_dir": [small]}}) as h:
        job = await h.run(
            script=["head -c 16000000 /dev/urandom > blob", "echo one > one"],
            variables=NO_SOURCES,
            cache=[entry],
            artifacts=[artifact("one")],
        )
        assert job.state == "success", job.text
        assert "FATAL: the cache cannot be archived: " in job.text
        assert "No space left on device. Keep less there, or give the pod a larger volume" in job.text
        assert "Failed to create cache" in job.text
        assert h.gitlab.artifacts.archive(job.id) is not None
