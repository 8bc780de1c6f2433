"""`runner register` as a process: what it writes, what it asks, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import stat
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.testing.faults import Action, FaultRule, Garbage, Reply
from runner.testing.gitlab import GitLabServer
from tests.cli.commands import CommandLine

pytestmark = pytest.mark.slow

SECRET = "GR1348941topsecretvalue"
HAND_WRITTEN = """\
# ours
concurrent   =  3     # three

[[runners]]   # the first
name="old"
"""


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabServer]:
    """A GitLab that knows one runner and one registration token."""
    async with GitLabServer(registration_tokens=(SECRET,)) as server:
        yield server
        assert server.violations == []


@pytest.fixture
def runner(tmp_path: Path) -> CommandLine:
    """The command line."""
    return CommandLine(tmp_path)


def entry(runner: CommandLine, index: int = -1) -> dict[str, Any]:
    """One runner of the file, without the date that no test can know."""
    found: dict[str, Any] = tomllib.loads(runner.config.read_text())["runners"][index]
    assert found.pop("token_obtained_at")
    return found


def arguments(gitlab: GitLabServer, *more: str) -> list[str]:
    """A registration with a runner's own token, and more flags."""
    own = ["--url", gitlab.url, "--token", gitlab.token, "--executor", "kubernetes", "--name", "a"]
    return ["register", "--non-interactive", *own, *more]


async def test_runner_is_added_with_its_own_token(gitlab: GitLabServer, runner: CommandLine) -> None:
    """Verified, not made; every kind of flag reaches its key."""
    flags = (
        "--kubernetes-namespace=ci --kubernetes-privileged --kubernetes-poll-timeout 360 -limit 2 --env A=1 --env B=2"
    )
    more = "--kubernetes-node-selector zone:a:b --kubernetes-pull-policy always,never --unhealthy-interval 5m"
    done = await runner(*arguments(gitlab, *flags.split(), *more.split(), "--feature-flags", "FF_TIMESTAMPS:false"))
    assert done.code == 0, done.err
    found = entry(runner)
    assert str(found.pop("token_expires_at")) == "0001-01-01 00:00:00+00:00"
    assert found == {
        "name": "a",
        "url": gitlab.url,
        "id": 1,
        "token": gitlab.token,
        "limit": 2,
        "unhealthy_interval": "5m",
        "executor": "kubernetes",
        "environment": ["A=1", "B=2"],
        "feature_flags": {"FF_TIMESTAMPS": False},
        "kubernetes": {
            "namespace": "ci",
            "pull_policy": ["always", "never"],
            "privileged": True,
            "node_selector": {"zone": "a:b"},
            "poll_timeout": 360,
        },
    }
    assert stat.S_IMODE(runner.config.stat().st_mode) == 0o600
    assert gitlab.token not in done.err + done.out
    assert "Verifying runner... is valid                      \x1b[0;m  runner\x1b[0;m=Ab3dEfGh1\n" in done.err


async def test_runner_is_made_with_a_registration_token(gitlab: GitLabServer, runner: CommandLine) -> None:
    """GitLab hears of its tags and bounds; the file gets the token that GitLab has made."""
    done = await runner(
        "register",
        "-r",
        SECRET,
        REGISTER_NON_INTERACTIVE="true",
        CI_SERVER_URL=f"{gitlab.url}/ci",
        RUNNER_EXECUTOR="kubernetes",
        RUNNER_NAME="named",
        RUNNER_TAG_LIST="x,y",
        REGISTER_LOCKED="false",
        REGISTER_PAUSED="1",
        REGISTER_MAXIMUM_TIMEOUT="600",
        REGISTER_ACCESS_LEVEL="ref_protected",
        KUBERNETES_CPU_LIMIT="",
    )
    assert done.code == 0, done.err
    made = gitlab.runners.find(entry(runner)["token"])
    assert made is not None
    assert made.settings == {
        "description": "named",
        "tag_list": "x,y",
        "run_untagged": False,
        "locked": False,
        "paused": True,
        "maximum_timeout": 600,
        "access_level": "ref_protected",
    }
    assert "Registering runner... succeeded" in done.err
    assert made.token not in done.err
    assert "kubernetes" not in entry(runner)


async def test_flag_wins_over_the_environment(gitlab: GitLabServer, runner: CommandLine) -> None:
    """As everywhere."""
    done = await runner(
        *arguments(gitlab, "--kubernetes-namespace", "flag"), KUBERNETES_NAMESPACE="env", RUNNER_NAME="e"
    )
    assert done.code == 0, done.err
    assert (entry(runner)["name"], entry(runner)["kubernetes"]) == ("a", {"namespace": "flag"})


async def test_variable_of_former_times_is_written_as_its_successor(gitlab: GitLabServer, runner: CommandLine) -> None:
    """Unless the successor was given too."""
    old = {"KUBERNETES_TERMINATIONGRACEPERIODSECONDS": "10", "KUBERNETES_CPUS": "2", "KUBERNETES_CPU_LIMIT": "1"}
    done = await runner(*arguments(gitlab), **old)
    assert done.code == 0, done.err
    assert entry(runner)["kubernetes"] == {
        "cpu_limit": "1",
        "pod_termination_grace_period_seconds": 10,
        "cleanup_grace_period_seconds": 10,
    }


async def test_rest_of_the_file_stays(gitlab: GitLabServer, runner: CommandLine) -> None:
    """Comments, blanks and mode; several runs append."""
    runner.config.write_text(HAND_WRITTEN)
    runner.config.chmod(0o644)
    for _ in range(2):
        assert (await runner(*arguments(gitlab))).code == 0
    text = runner.config.read_text()
    assert text.startswith(HAND_WRITTEN + "\n[[runners]]\n")
    assert [one["name"] for one in tomllib.loads(text)["runners"]] == ["old", "a", "a"]
    assert stat.S_IMODE(runner.config.stat().st_mode) == 0o644


async def test_two_at_once_lose_none(gitlab: GitLabServer, runner: CommandLine) -> None:
    """Each sees what the other has written."""
    async with anyio.create_task_group() as group:
        for name in "bcd":
            group.start_soon(runner, *arguments(gitlab, "--name", name))
    assert sorted(one["name"] for one in tomllib.loads(runner.config.read_text())["runners"]) == ["b", "c", "d"]


async def test_template_fills_what_flags_leave_open(gitlab: GitLabServer, runner: CommandLine) -> None:
    """Tables key by key; its token is nobody's."""
    template = runner.home / "template.toml"
    template.write_text(
        '[[runners]]\ntoken = "no"\nlimit = 7\n[runners.docker]\nimage = "x"\n'
        '[runners.kubernetes]\nnamespace = "template"\nimage = "alpine"\n[runners.kubernetes.node_selector]\na = "b"\n'
    )
    flags = ["--template-config", str(template), "--kubernetes-namespace", "flag"]
    done = await runner(*arguments(gitlab, *flags, "--kubernetes-node-selector", "c:d"))
    assert done.code == 0, done.err
    found = entry(runner)
    assert found["token"] == gitlab.token
    assert found["limit"] == 7
    assert "docker" not in found
    expected = {"namespace": "flag", "image": "alpine", "node_selector": {"a": "b", "c": "d"}}
    assert found["kubernetes"] == expected


@pytest.mark.parametrize("text", ["", "[[runners]]\n[[runners]]\n", "x =", "runners = 1"])
async def test_template_without_exactly_one_runner_is_refused(
    gitlab: GitLabServer, runner: CommandLine, text: str
) -> None:
    """Before GitLab hears of it."""
    template = runner.home / "template.toml"
    template.write_text(text)
    done = await runner(*arguments(gitlab, "--template-config", str(template)))
    assert done.code == 1
    assert "template" in done.err
    assert not gitlab.requests


async def test_person_is_asked(gitlab: GitLabServer, runner: CommandLine) -> None:
    """For URL, token, description, tags, note and executor; what is unknown is asked again."""
    answers = [gitlab.url, SECRET, "mine", "a,b", "", "docker", ""]
    done = await runner("register", stdin="".join(f"{answer}\n" for answer in answers))
    assert done.code == 0, done.err
    made = gitlab.runners.find(entry(runner)["token"])
    assert made is not None
    assert (made.settings["description"], made.settings["tag_list"]) == ("mine", "a,b")
    assert entry(runner)["executor"] == "kubernetes"
    assert done.out == ""
    assert SECRET not in done.err


async def test_runner_that_is_not_written_down_is_removed_again(gitlab: GitLabServer, runner: CommandLine) -> None:
    """A person who leaves after GitLab has made the runner leaves none behind, unless told so."""
    for flags, left in ([], 1), (["--leave-runner"], 2):
        stdin = f"{gitlab.url}\n{SECRET}\nmine\n\n\n"
        done = await runner("register", *flags, stdin=stdin)
        assert done.code == 1
        assert "stdin has ended" in done.err
        assert len(gitlab.runners.tokens) == left
    assert not runner.config.exists()


FAILURES = {
    "refused": ([FaultRule("POST", "/verify$", Reply(403))], "token is wrong"),
    "garbage": ([FaultRule("POST", "/verify$", Garbage())], "GitLab"),
    "html": ([FaultRule("POST", "/verify$", Reply(200, {"Content-Type": "text/html"}, b"<html>"))], "no GitLab's"),
    "old-server": ([FaultRule("POST", "/verify$", Reply(200, {"Content-Type": "text/plain"}, b"200"))], "15 or newer"),
    "gone": ([FaultRule("POST", "/verify$", Reply(404))], "Check the url"),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_failure_is_one_sentence_and_changes_nothing(
    gitlab: GitLabServer, runner: CommandLine, case: str
) -> None:
    """Exit code 1, the file to the byte and to its inode."""
    rules, words = FAILURES[case]
    for rule in rules:
        gitlab.faults.add(rule)
    await unchanged(runner, arguments(gitlab), words)


REFUSALS: dict[str, tuple[Action, str]] = {
    "refused": (Reply(403), "Check the registration token."),
    "no-registration-tokens": (Reply(410), "create the runner there"),
    "invalid": (Reply(400, {"Content-Type": "application/json"}, b'{"message":{"tags":["too long"]}}'), "400"),
    "broken": (Reply(500), "500"),
    "garbage": (Garbage(), "GitLab"),
    "html": (Reply(201, {"Content-Type": "text/html"}, b"<html>"), "no GitLab's"),
    "nothing-in-it": (Reply(201, {"Content-Type": "application/json"}, b"{}"), "without the runner's id"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_runner_that_gitlab_does_not_make_changes_nothing(
    gitlab: GitLabServer, runner: CommandLine, case: str
) -> None:
    """With a registration token the same; and what could make two runners is asked once."""
    answer, words = REFUSALS[case]
    gitlab.faults.add(FaultRule("POST", "/runners$", answer, times=None))
    own = ["register", "--non-interactive", "-u", gitlab.url, "-r", SECRET, "--executor", "kubernetes"]
    await unchanged(runner, own, words)
    assert len(gitlab.requests) == 1


async def test_interrupt_takes_a_made_runner_back(gitlab: GitLabServer, runner: CommandLine) -> None:
    """Ctrl-C at the last question: the runner is removed at GitLab, nothing is written, and the exit code is 1."""
    command = [sys.executable, "-m", "runner", "register"]
    async with await anyio.open_process(command, env=runner.environment(), cwd=runner.home) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        await process.stdin.send(f"{gitlab.url}\n{SECRET}\nmine\n\n\n".encode())
        text = b""
        with anyio.fail_after(60):
            while b"Enter an executor" not in text:
                text += await process.stderr.receive()
            assert len(gitlab.runners.tokens) == 2
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 1
    assert len(gitlab.runners.tokens) == 1
    assert not runner.config.exists()


async def test_own_token_of_former_times_asks_for_the_executor_alone(runner: CommandLine) -> None:
    """The runner has its settings, and its name is the host's unless a flag says another."""
    token = "former-token-000000"
    async with GitLabServer(tokens=(token,)) as gitlab:
        done = await runner("register", "-t", token, "--name", "kept", stdin=f"{gitlab.url}\nkubernetes\n")
    assert done.code == 0, done.err
    assert (entry(runner)["name"], entry(runner)["token"]) == ("kept", token)


async def test_server_that_is_away_changes_nothing(gitlab: GitLabServer, runner: CommandLine) -> None:
    """The same."""
    await gitlab.outage()
    await unchanged(runner, arguments(gitlab), "was not reached: connection refused")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(["--executor", "docker"], "no executor 'docker'", id="executor"),
        pytest.param(["--kubernetes-cpu-limit", "many"], "kubernetes.cpu_limit", id="quantity"),
        pytest.param(["--limit", "many"], "no whole number", id="number"),
        pytest.param(["--url", "ftp://example.com"], "url: ", id="url"),
        pytest.param(["--url", "http://example.com:port"], "no address of a GitLab", id="no-address"),
        pytest.param(["--locked=false"], "--locked", id="server-side"),
        pytest.param(["--access-level", "all"], "access level", id="access-level"),
        pytest.param(["--kubernetes-node-selector", "x"], "key:value", id="no-pair"),
        pytest.param(["--kubernetes-privileged=maybe"], "neither true nor false", id="no-bool"),
        pytest.param(["--no-such-flag"], "--no-such-flag", id="flag"),
        pytest.param(["--template-config", "/no/such/file"], "is no file", id="no-template"),
    ],
)
async def test_what_cannot_be_is_told_before_gitlab_is_asked(
    gitlab: GitLabServer, runner: CommandLine, flags: list[str], words: str
) -> None:
    """Exit code 1 and nothing changed."""
    await unchanged(runner, arguments(gitlab, *flags), words)
    assert not gitlab.requests


async def test_broken_file_is_not_touched(gitlab: GitLabServer, runner: CommandLine) -> None:
    """Nor is GitLab asked; the sentence names the file."""
    runner.config.write_text("concurrent = \n")
    done = await runner(*arguments(gitlab))
    assert (done.code, runner.config.read_text()) == (1, "concurrent = \n")
    assert f"={runner.config}" in done.err
    assert not gitlab.requests


@pytest.mark.parametrize("missing", ["--url", "--token", "--executor"])
async def test_missing_flag_is_named(gitlab: GitLabServer, runner: CommandLine, missing: str) -> None:
    """With what to say."""
    words = arguments(gitlab)
    place = words.index(missing)
    done = await runner(*words[:place], *words[place + 2 :])
    assert done.code == 1
    assert missing in done.err


async def test_settings_of_the_server_beside_a_registration_token_flag_are_left_out(
    gitlab: GitLabServer, runner: CommandLine
) -> None:
    """Old scripts give the new token where the old one was, with all their variables."""
    done = await runner(
        "register", "-n", "-r", gitlab.token, "-u", gitlab.url, "--executor", "kubernetes", REGISTER_LOCKED="false"
    )
    assert done.code == 0, done.err
    assert "--locked has no effect" in done.err
    assert len(gitlab.runners.tokens) == 1


async def unchanged(runner: CommandLine, words: list[str], sentence: str) -> None:
    """Run a registration that fails."""
    runner.config.write_text(HAND_WRITTEN)
    before = os.stat(runner.config)
    done = await runner(*words)
    assert done.code == 1, done.err
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert len([line for line in done.err.splitlines() if "ERROR" in line or "Error" in line]) == 1, done.err
    after = os.stat(runner.config)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert runner.config.read_text() == HAND_WRITTEN
