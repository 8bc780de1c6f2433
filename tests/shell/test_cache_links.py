"""Signed addresses of caches on their way to the helper: this project's takes them unseen, GitLab's by flags."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from runner.config.model import RunnerConfig
from runner.helper.gocloud import read_env_file
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.archives import cache_keys
from runner.shell.cache_links import CacheLinks
from runner.shell.scripts import ScriptContext, script_for

HELPERS = {
    "own": ("Version: 1 Cache links:  RUNNER_CACHE_LINKS, env-file", ""),
    "old": ("Version: 13.6.0", "--url --file"),
    "new": ("Version: 19.0.0", "--url --head-url --alternate-url --alternate-head-url --alternate-file --check-url"),
}
"""What a helper says of its version and of its flags."""

LENDING = ("Version: 19.0.0", "--url --alternate-file --check-url --env-file")
"""One that takes a file of variables too."""

GET = CacheLinks("https://s/get?a=1&b=2", "https://s/head", {}, "https://s/other", "https://s/other-head")
PUT = CacheLinks("https://s/put", "https://s/check", {"x-amz-meta-cachekey": "it's k"})
LOAN = replace(PUT, gocloud_url="s3://b/k?region=r", environment={"AWS_ACCESS_KEY_ID": "lent", "ODD": "a\"$'\\b"})
HASH = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"


def make_context(root: Path, *variables: Variable, links: dict[str, CacheLinks], **entry: object) -> ScriptContext:
    """A job with a cache `k` and one `second`, and addresses for some of them."""
    caches = [{"key": "k", "paths": ["x"], **entry}, {"key": "second", "paths": ["x"]}]
    return ScriptContext(
        job=Job.parse({"id": 7, "token": "t0k", "job_info": {"name": "t"}, "git_info": {"ref": "m"}, "cache": caches}),
        variables=Variables(variables),
        config=RunnerConfig.model_validate({"url": "https://git.example", "token": "glrt-x"}),
        project_dir=f"{root}/builds",
        temp_dir=f"{root}/builds.tmp",
        builds_dir=str(root),
        cache_dir=f"{root}/cache",
        helper_command="helper",
        cache_links=links,
    )


def run(
    stage: str, context: ScriptContext, kind: str, shell: str = "dash"
) -> list[tuple[list[str], dict[str, object]]]:
    """The helper's calls: arguments behind `--timeout 10`, and the addresses in its environment."""
    root = Path(context.builds_dir)
    Path(context.project_dir).mkdir()
    version, flags = HELPERS.get(kind, LENDING)
    (root / "helper").write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) echo "{version}"; exit;; *--help*) echo "{flags}" >&2; exit;; esac\n'
        f'for word in "$@"; do case "$word" in *_cache_env) cp "$word" {root}/lent; stat -c %a "$word" >{root}/mode;; '
        "esac; done\n"
        f'printf \'%s\\n\' "$@" "ENV=${{RUNNER_CACHE_LINKS-}}" . >> {root}/calls\n'
    )
    (root / "helper").chmod(0o755)
    script = script_for(stage, context)
    assert script is not None
    (root / "stage").write_text(script.text)
    environment = {"PATH": f"{root}:{os.environ['PATH']}", "HOME": str(root)}
    subprocess.run([*shell.split(), f"{root}/stage"], env=environment, cwd=root, check=True, timeout=60)
    found = []
    for call in (root / "calls").read_text().split("\n.\n"):
        if call:
            *words, variable = call.splitlines()
            found.append((words[words.index("10") + 1 :], json.loads(variable.removeprefix("ENV=") or "{}")))
    return found


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_restore_when_the_helper_is_this_projects(tmp_path: Path, shell: str) -> None:
    """No address is an argument; the entry without addresses gets none of the other's."""
    calls = run("restore_cache", make_context(tmp_path, links={"k": GET}), "own", shell)
    links = {
        "url": "https://s/get?a=1&b=2",
        "head-url": "https://s/head",
        "alternate-url": "https://s/other",
        "alternate-head-url": "https://s/other-head",
    }
    assert calls == [([], links), ([], {})]


def test_restore_when_the_helper_is_gitlabs(tmp_path: Path) -> None:
    """Flags, in GitLab Runner's order."""
    calls = run("restore_cache", make_context(tmp_path, links={"k": GET}), "new")
    words = ["--url", "https://s/get?a=1&b=2", "--head-url", "https://s/head"]
    words += ["--alternate-url", "https://s/other", "--alternate-head-url", "https://s/other-head"]
    assert calls == [(words, {}), ([], {})]


def test_restore_when_there_is_no_other_name(tmp_path: Path) -> None:
    """Then there is nothing to choose from, and nothing to ask for."""
    links = CacheLinks("https://s/get", "https://s/head")
    assert run("restore_cache", make_context(tmp_path, links={"k": links}), "new")[0] == (
        ["--url", "https://s/get"],
        {},
    )


def test_restore_when_the_helper_is_old(tmp_path: Path) -> None:
    """A flag that it does not know would be no cache at all."""
    calls = run("restore_cache", make_context(tmp_path, links={"k": GET, "second": GET}), "old")
    assert calls == [(["--url", "https://s/get?a=1&b=2"], {})] * 2


@pytest.mark.parametrize("kind", HELPERS)
def test_archive_when_the_helper_is_of_a_kind(tmp_path: Path, kind: str) -> None:
    """Headers go with the address; the other local name and the check are for those who know them."""
    ((words, links), (_, none)) = run("archive_cache", make_context(tmp_path, links={"k": PUT}), kind)
    header, file = "x-amz-meta-cachekey: it's k", f"../cache/{HASH}/cache.zip"
    if kind == "own":
        assert words == ["--path", "x"]
        assert links == {
            "url": "https://s/put",
            "header": [header],
            "alternate-file": file,
            "check-url": "https://s/check",
        }
    else:
        newer = ["--alternate-file", file, "--check-url", "https://s/check"] if kind == "new" else []
        assert words == ["--path", "x", "--url", "https://s/put", "--header", header, *newer]
    assert none == {}


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
@pytest.mark.parametrize("kind", [*HELPERS, "lending"])
def test_archive_when_credentials_are_lent(
    tmp_path: Path, kind: str, shell: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file of variables for a helper that knows them: in no argument, in no trace, and gone behind the call."""
    context = make_context(tmp_path, Variable("CI_DEBUG_TRACE", "true"), links={"k": LOAN})
    (tmp_path / "builds.tmp").mkdir()
    ((words, _), (_, none)) = run("archive_cache", context, kind, shell)
    file = f"{tmp_path}/builds.tmp/gitlab_runner_cache_env"
    lent = ["--gocloud-url", "s3://b/k?region=r", "--env-file", file]
    assert (words[-4:] == lent) is (kind in ("own", "lending"))
    assert none == {}
    read = read_env_file(str(tmp_path / "lent")) if kind in ("own", "lending") else LOAN.environment
    assert read == LOAN.environment
    assert not Path(file).exists()
    if kind in ("own", "lending"):
        assert (tmp_path / "mode").read_text() == "600\n"
    said = capfd.readouterr()
    assert "CI_DEBUG_TRACE" in said.err
    assert "lent" not in (said.out + said.err).replace(f"{tmp_path}", "")


@pytest.mark.parametrize(
    ("stage", "entry", "keys"),
    [
        ("restore_cache", {}, ["k", "f", "last", "second"]),
        ("restore_cache", {"policy": "push"}, ["second", "last"]),
        ("archive_cache", {}, ["k", "second"]),
        ("archive_cache", {"policy": "$POLICY"}, ["second"]),
        ("archive_cache", {"when": "on_failure"}, ["second"]),
        ("archive_cache_on_failure", {"when": "on_failure"}, ["k"]),
        ("archive_cache", {"key": ".."}, ["second"]),
        ("get_sources", {}, []),
    ],
    ids=["restore", "push", "archive", "pull", "when", "failed", "no key", "other stage"],
)
def test_keys_when_a_stage_uses_them(tmp_path: Path, stage: str, entry: dict[str, object], keys: list[str]) -> None:
    """No address is signed that no command uses."""
    variables = (Variable("POLICY", "pull"), Variable("CACHE_FALLBACK_KEY", "last"))
    context = make_context(tmp_path, *variables, links={}, **{"fallback_keys": ["f"], **entry})
    assert [key.path for key in cache_keys(stage, context.expanded())] == keys


def test_keys_when_the_last_fallback_is_protected(tmp_path: Path) -> None:
    """It is not signed for: a job of an unprotected branch must not read it."""
    context = make_context(tmp_path, Variable("CACHE_FALLBACK_KEY", "x-protected"), links={})
    assert [key.path for key in cache_keys("restore_cache", context)] == ["k", "second"]


def test_context_when_it_is_shown(tmp_path: Path) -> None:
    """An address is in no representation."""
    context = replace(make_context(tmp_path, links={"k": GET}))
    assert "https://s/" not in repr(context)
    assert "https://s/" not in repr(GET)
