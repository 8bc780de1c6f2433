"""Where registry credentials come from: the variable, docker's files, real helper programs, the payload."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.executor import registries
from runner.executor.registries import find_logins
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.podspec.registry import RegistryLogin

MakeHelper = Callable[[str, str], None]


def auths(**users: str) -> dict[str, Any]:
    """A docker configuration with these users, whose password is `p`."""
    return {
        "auths": {server: {"auth": base64.b64encode(f"{user}:p".encode()).decode()} for server, user in users.items()}
    }


def variable(content: dict[str, Any], **over: Any) -> Variables:
    """A job's variables with this docker configuration."""
    return Variables((Variable("DOCKER_AUTH_CONFIG", json.dumps(content), **over),))


JOB = Job.parse(
    {
        "id": 1,
        "token": "t",
        "credentials": [{"type": "registry", "url": "gitlab", "username": "gitlab-ci-token", "password": "p"}],
    }
)
OWN = RegistryLogin("gitlab", "gitlab-ci-token", "p")


@pytest.fixture
def warnings() -> list[str]:
    """What the job's log is told."""
    return []


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeHelper:
    """Make a credential helper in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name: str, text: str) -> None:
        program = folder / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    return make


async def test_find_logins_when_all_sources_have_some(tmp_path: Path, warnings: list[str]) -> None:
    """Variable, then the manager's file, then the payload; the first to name a registry wins."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps(auths(a="home", b="home", gitlab="home")))
    (tmp_path / ".dockercfg").write_text(json.dumps(auths(c="never read")["auths"]))
    found = await find_logins(JOB, variable(auths(a="variable")), home=str(tmp_path), warn=warnings.append)
    assert found == tuple(
        RegistryLogin(server, user, "p") for server, user in (("a", "variable"), ("b", "home"), ("gitlab", "home"))
    )
    assert warnings == []


async def test_find_logins_when_the_variable_is_a_file(tmp_path: Path, warnings: list[str]) -> None:
    """A file variable means what the file holds; `.dockercfg` is read where there is no newer file."""
    (tmp_path / ".dockercfg").write_text(json.dumps(auths(c="old")["auths"]))
    found = await find_logins(JOB, variable(auths(a="file"), file=True), home=str(tmp_path), warn=warnings.append)
    assert found == (RegistryLogin("a", "file", "p"), RegistryLogin("c", "old", "p"), OWN)


async def test_find_logins_when_there_are_only_the_jobs_own(tmp_path: Path, warnings: list[str]) -> None:
    """No variable, no file, no home folder."""
    assert await find_logins(JOB, Variables(), home="", warn=warnings.append) == (OWN,)
    assert await find_logins(JOB, Variables(), home=str(tmp_path / "none"), warn=warnings.append) == (OWN,)
    assert warnings == []


async def test_find_logins_when_sources_are_broken(tmp_path: Path, warnings: list[str]) -> None:
    """A broken source is named, skipped, and nothing of it is quoted."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_bytes(b"\xff s3cret")
    broken = Variables((Variable("DOCKER_AUTH_CONFIG", "s3cret"),))
    assert await find_logins(JOB, broken, home=str(tmp_path), warn=warnings.append) == (OWN,)
    assert warnings == [
        "The registry credentials of DOCKER_AUTH_CONFIG are left out: it is no JSON.",
        "The registry credentials of ~/.docker/config.json are left out: it cannot be read (UnicodeDecodeError).",
    ]


async def test_find_logins_asks_helpers(helper: MakeHelper, warnings: list[str]) -> None:
    """A server's own helper is asked for it; a store for all it has; both win over `auths`."""
    helper("one", 'read -r server; echo "{\\"Username\\": \\"$1 $server\\", \\"Secret\\": \\"p\\"}"')
    lists = """[ "$1" = list ] && echo '{"x": "u", "y": "u"}' && exit"""
    helper("all", f'{lists}\nread -r s; echo "{{\\"Username\\": \\"all $s\\", \\"Secret\\": \\"p\\"}}"')
    content = {**auths(one="auths", x="auths"), "credsStore": "all", "credHelpers": {"one": "one", "y": ""}}
    found = await find_logins(JOB, variable(content), home="", warn=warnings.append)
    assert found == (
        RegistryLogin("one", "get one", "p"),
        RegistryLogin("x", "all x", "p"),
        RegistryLogin("y", "all y", "p"),
        OWN,
    )
    assert warnings == []


async def test_find_logins_when_helpers_fail(helper: MakeHelper, warnings: list[str]) -> None:
    """Each failing helper is a warning without its words; having nothing for a server is none."""
    helper("exits", "echo s3cret; echo s3cret >&2; exit 3")
    helper("empty", "echo 'credentials not found in native keychain'; exit 1")
    helper("babbles", "echo s3cret")
    content = {"credHelpers": {"a": "missing", "b": "exits", "c": "empty", "d": "babbles"}}
    assert await find_logins(JOB, variable(content), home="", warn=warnings.append) == (OWN,)
    begin = "The registry credentials of docker-credential-"
    assert warnings == [
        f"{begin}missing are left out: it cannot be run (No such file or directory).",
        f"{begin}exits are left out: it ended with exit code 3.",
        f"{begin}babbles are left out: its answer is no JSON.",
    ]


async def test_find_logins_when_a_helper_hangs(
    helper: MakeHelper, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper that never answers is given up, and its process with it."""
    monkeypatch.setattr(registries, "HELPER_TIMEOUT", 0.05)
    helper("hangs", "exec sleep 100")
    assert await find_logins(JOB, variable({"credHelpers": {"a": "hangs"}}), home="", warn=warnings.append) == (OWN,)
    assert len(warnings) == 1
    assert "did not answer" in warnings[0]


async def test_find_logins_when_the_variable_names_very_many_servers(
    helper: MakeHelper, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job cannot keep the manager busy with helpers."""
    monkeypatch.setattr(registries, "MOST_ANSWERS", 2)
    helper("one", 'echo "{\\"Username\\": \\"u\\", \\"Secret\\": \\"p\\"}"')
    content = {"credHelpers": {str(number): "one" for number in range(5)}}
    found = await find_logins(JOB, variable(content), home="", warn=warnings.append)
    assert [login.server for login in found] == ["0", "1", "gitlab"]
    assert warnings == ["More than 2 questions to credential helpers: the rest is left out."]


async def test_find_logins_when_a_helpers_name_is_a_path(warnings: list[str]) -> None:
    """No program outside of PATH is ever run: the job ends."""
    with pytest.raises(JobConfigurationError, match="path separator"):
        await find_logins(JOB, variable({"credHelpers": {"a": "../x"}}), home="", warn=warnings.append)
