"""`list`, `unregister`, `verify`, `reset-token`, `version` as processes, as scripts of the original read them."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

import runner as package
from runner.cli.lines import runner_line
from runner.manager.logging import render_like_runner
from runner.testing.faults import FaultRule, Garbage, Reply
from runner.testing.gitlab import GitLabServer
from tests.cli.commands import CommandLine, Done

pytestmark = pytest.mark.slow

TEXT = """\
# ours
concurrent = 2

# created in GitLab
[[runners]]
  name = "one"
  url = "{url}/ci"
  id = 1
  token = "glrt-one0000000000000000"   # from the vault
  executor = "kubernetes"

# made with a registration token
[[runners]]
  name = "two"
  url = "{url}"
  id = 2
  token = "$TWO"
  executor = "docker"
  [runners.docker]
    image = "x"
"""
TWO = "two0000000000000000-"


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabServer]:
    """A GitLab that knows both runners of the file."""
    async with GitLabServer(tokens=("glrt-one0000000000000000", TWO)) as server:
        yield server
        assert server.violations == []


@pytest.fixture
def runner(tmp_path: Path, gitlab: GitLabServer) -> CommandLine:
    """The command line, with a configuration of two runners."""
    made = CommandLine(tmp_path)
    made.config.write_text(TEXT.format(url=gitlab.url))
    return made


def names(runner: CommandLine) -> list[str]:
    """The runners of the file."""
    return [one["name"] for one in tomllib.loads(runner.config.read_text()).get("runners", [])]


async def test_list_is_what_the_original_prints(runner: CommandLine, gitlab: GitLabServer) -> None:
    """On stderr, byte for byte, with the escapes that make the token the fourth word."""
    done = await runner("list", TWO=TWO)
    assert (done.code, done.out) == (0, "")
    escape = "\x1b[0;m"
    assert done.err == (
        f"{'Listing configured runners':<50}{escape}  ConfigFile{escape}={runner.config}\n"
        f"{'one':<50}{escape}  Executor{escape}=kubernetes Token{escape}=glrt-one0000000000000000"
        f" URL{escape}={gitlab.url}/ci\n"
        f"{'two':<50}{escape}  Executor{escape}=docker Token{escape}={TWO} URL{escape}={gitlab.url}\n"
    )
    assert done.err.splitlines()[-1].split()[3].split("=")[1] == TWO


async def test_list_of_a_broken_file_is_a_warning(runner: CommandLine) -> None:
    """And no failure, as in the original."""
    runner.config.write_text("x = \n")
    done = await runner("list")
    assert done.code == 0
    assert "WARNING: The configuration cannot be read" in done.err


async def test_lines_obey_format_and_level(runner: CommandLine) -> None:
    """By flag before the command or by environment."""
    assert '"Token": "glrt-one0000000000000000"' in (await runner("--log-format", "json", "list")).err
    assert 'msg="one"' in (await runner("list", LOG_FORMAT="text")).err
    assert (await runner("--log-level", "error", "list")).err == ""


def test_lines_are_those_of_the_service() -> None:
    """One form for the whole program."""
    for level in ("debug", "info", "warning", "error"):
        event = {"level": level, "event": "Said", "b": 1, "a": "x"}
        assert runner_line(level, "Said", {"b": 1, "a": "x"}) == render_like_runner(None, "", event)


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        pytest.param(["--name", "one"], ["two"], id="name"),
        pytest.param(["-n", "two"], ["one"], id="another-executor"),
        pytest.param(["-t", "glrt-one0000000000000000"], ["two"], id="token"),
        pytest.param(["-t", TWO, "-n", "two"], ["one"], id="both"),
        pytest.param(["-u", "{url}/", "-n", "one"], ["two"], id="url-and-name"),
        pytest.param(["-u", "{url}"], ["two"], id="first-of-a-url"),
        pytest.param(["--all-runners"], [], id="all"),
    ],
)
async def test_unregistered_runner_is_gone_from_gitlab_and_the_file(
    runner: CommandLine, gitlab: GitLabServer, arguments: list[str], left: list[str]
) -> None:
    """A created one loses this manager, a registered one is removed; the rest of the file stays."""
    assert (await runner("verify", TWO=TWO)).code == 0
    done = await runner("unregister", *(word.format(url=gitlab.url) for word in arguments), TWO=TWO)
    assert done.code == 0, done.err
    assert names(runner) == left
    assert runner.config.read_text().startswith("# ours\nconcurrent = 2\n")
    one, *others = gitlab.runners
    assert bool(one.managers) == ("one" in left)
    assert bool(others) == ("two" in left)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "is meant: give its --name, --token or --url", id="nothing-said"),
        pytest.param(["-n", "three"], "is meant: none has the name three.", id="unknown-name"),
        pytest.param(
            ["-n", "one", "-t", TWO],
            "none has the name one and the token of --token or CI_SERVER_TOKEN.",
            id="name-and-token-of-two-runners",
        ),
    ],
)
async def test_unregister_of_nobody_fails(
    runner: CommandLine, gitlab: GitLabServer, arguments: list[str], words: str
) -> None:
    """With a sentence about all that was given, and without a question to GitLab."""
    before = runner.config.read_text()
    done = await runner("unregister", *arguments, TWO=TWO)
    assert (done.code, runner.config.read_text()) == (1, before)
    assert words in done.err
    assert not gitlab.requests


async def test_runner_that_gitlab_keeps_stays_in_the_file(runner: CommandLine, gitlab: GitLabServer) -> None:
    """One alone fails; of all, those that are kept stay and the rest goes."""
    gitlab.faults.add(FaultRule("DELETE", "/runners/managers$", Reply(403), times=None))
    assert (await runner("unregister", "-n", "one", TWO=TWO)).code == 1
    assert names(runner) == ["one", "two"]
    assert (await runner("unregister", "--all-runners", TWO=TWO)).code == 0
    assert names(runner) == ["one"]


TROUBLES = {
    "refused": FaultRule("*", "/runners", Reply(403), times=None),
    "garbage": FaultRule("*", "/runners", Garbage(), times=None),
    "html": FaultRule("*", "/runners", Reply(200, {"Content-Type": "text/html"}, b"<html>"), times=None),
    "gone": FaultRule("*", "/runners", Reply(404), times=None),
    "broken": FaultRule("*", "/runners", Reply(500), times=None),
    "away": None,
}
"""What may be wrong with a GitLab."""


@pytest.mark.parametrize("case", TROUBLES)
@pytest.mark.parametrize("command", ["unregister", "reset-token"])
async def test_trouble_with_gitlab_is_one_sentence_and_changes_nothing(
    runner: CommandLine, gitlab: GitLabServer, command: str, case: str
) -> None:
    """Exit code 1, and the file to the byte and to its inode."""
    rule = TROUBLES[case]
    if rule is None:
        await gitlab.outage()
    else:
        gitlab.faults.add(rule)
    before, text = runner.config.stat(), runner.config.read_text()
    done = await runner(command, "--name", "one", TWO=TWO)
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    assert len([line for line in done.err.splitlines() if "ERROR" in line]) == 1, done.err
    after = runner.config.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert runner.config.read_text() == text


async def test_verify_removes_only_what_gitlab_refuses(runner: CommandLine, gitlab: GitLabServer) -> None:
    """And only when told so."""
    gitlab.runners.remove({"token": TWO})
    before = runner.config.read_text()
    done = await runner("verify", TWO=TWO)
    assert (done.code, runner.config.read_text()) == (1, before)
    assert "Verifying runner... is not valid" in done.err
    assert (await runner("verify", "--delete", TWO=TWO)).code == 0
    assert names(runner) == ["one"]


async def test_verify_keeps_runners_of_a_server_that_is_away(runner: CommandLine, gitlab: GitLabServer) -> None:
    """It has not said that they are bad."""
    await gitlab.outage()
    done = await runner("verify", "--delete", TWO=TWO)
    assert (done.code, names(runner)) == (0, ["one", "two"])
    assert "Verifying runner... failed" in done.err


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        pytest.param(["--name", "one"], 1, id="name"),
        pytest.param(["--token", TWO], 1, id="token"),
        pytest.param(["--url", "*", "--name", "two"], 1, id="any-url"),
        pytest.param(["--url", "{url}/"], 2, id="url-in-any-of-its-forms"),
        pytest.param(["--url", "{url}", "--name", "one"], 1, id="url-and-name"),
        pytest.param(["--url", "https://elsewhere.example.com", "--name", "one"], 0, id="another-url"),
        pytest.param(["--name", "three"], 0, id="nobody"),
    ],
)
async def test_verify_asks_for_those_that_are_meant(
    runner: CommandLine, gitlab: GitLabServer, arguments: list[str], asked: int
) -> None:
    """Nobody is an error."""
    done = await runner("verify", *(word.format(url=gitlab.url) for word in arguments), TWO=TWO)
    assert done.code == (0 if asked else 1)
    assert len(gitlab.requests) == asked


async def test_reset_token_is_written_down(runner: CommandLine, gitlab: GitLabServer) -> None:
    """In the old one's place; the comment behind it stays."""
    gitlab.runners.token_expires_at = "2031-02-03T04:05:06Z"
    done = await runner("reset-token", "--name", "one", TWO=TWO)
    assert done.code == 0, done.err
    first = tomllib.loads(runner.config.read_text())["runners"][0]
    assert gitlab.runners.find(first["token"]) is not None
    assert str(first["token_expires_at"]) == "2031-02-03 04:05:06+00:00"
    assert f'  token = "{first["token"]}"   # from the vault\n' in runner.config.read_text()
    assert first["token"] not in done.err


async def test_token_is_reset_with_a_persons_token(runner: CommandLine, gitlab: GitLabServer) -> None:
    """For the runner of a GitLab and an id."""
    gitlab.runners.private_tokens.add("glpat-x")
    done = await runner("reset-token", "-u", gitlab.url, "-i", "2", "--pat", "glpat-x")
    assert done.code == 0, done.err
    assert TWO not in gitlab.runners.tokens
    assert "$TWO" not in runner.config.read_text()


async def test_token_that_is_not_reset_stays(runner: CommandLine, gitlab: GitLabServer) -> None:
    """Exit code 1."""
    gitlab.runners.remove({"token": TWO})
    before = runner.config.read_text()
    assert (await runner("reset-token", "-n", "two", TWO=TWO)).code == 1
    assert runner.config.read_text() == before


async def test_version_and_unknown_commands(runner: CommandLine) -> None:
    """On stdout, and 1."""
    done = await runner("version")
    assert (done.code, done.out.splitlines()[0].split()) == (0, ["Version:", package.__version__])
    assert (await runner("no-such-command")).code == 1


async def test_quick_commands_import_little(runner: CommandLine) -> None:
    """Neither models nor clients nor the log: that is what keeps `list` and `--help` quick."""
    heavy = ("pydantic", "structlog", "aiohttp", "httpx", "anyio", "asyncio")
    for words in (["list"], ["--help"]):
        loaded = f"print([name for name in {heavy!r} if name in sys.modules])"
        code = f"import sys; from runner.cli.main import main; main({words!r}); {loaded}"
        with anyio.fail_after(60):
            done = await anyio.run_process([sys.executable, "-c", code], cwd=runner.home, env=runner.environment())
        assert done.stdout.decode().splitlines()[-1] == "[]"


async def test_commands_at_once_lose_nothing(runner: CommandLine, gitlab: GitLabServer) -> None:
    """One goes, two come, one has a new token, and what stands around them stays, to the comment."""
    gitlab.runners.registration_tokens.add("GR1348941all-at-once")
    add = ["register", "-n", "-u", gitlab.url, "-r", "GR1348941all-at-once", "--executor", "kubernetes", "--name"]
    done: list[Done] = []

    async def run(words: list[str]) -> None:
        done.append(await runner(*words, TWO=TWO))

    async with anyio.create_task_group() as group:
        for words in ([*add, "three"], ["reset-token", "-n", "one"], [*add, "four"], ["unregister", "-n", "two"]):
            group.start_soon(run, words)
    assert [one.code for one in done] == [0] * 4, done
    assert sorted(names(runner)) == ["four", "one", "three"]
    text = runner.config.read_text()
    assert text.startswith("# ours\nconcurrent = 2\n")
    assert "# created in GitLab" in text
    assert "# made with a registration token" not in text
    assert {one["token"] for one in tomllib.loads(text)["runners"]} == gitlab.runners.tokens
