"""The commands and a GitLab with an authority of its own, and one behind a proxy: as processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runner.testing.gitlab import GitLabServer
from runner.testing.http_proxy import HttpProxy
from tests.cli.commands import CommandLine
from tests.gitlab.authorities import Authority, make_authority

pytestmark = pytest.mark.slow

REGISTER = ("register", "--non-interactive", "--executor", "kubernetes")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who has signed GitLab's certificate."""
    return make_authority(tmp_path / "authority", "Test CA")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that holds the configuration."""
    made = tmp_path / "home"
    made.mkdir()
    return made


async def test_certificate_beside_the_configuration_serves_every_command(authority: Authority, home: Path) -> None:
    """`certs/<host>.crt` beside config.toml: registered, verified, given a new token and removed without a flag."""
    runner = CommandLine(home)
    (home / "certs").mkdir()
    shutil.copy(authority.ca_file, home / "certs" / "127.0.0.1.crt")
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        commands = [
            (*REGISTER, "--url", gitlab.url, "--token", gitlab.token, "--name", "one"),
            ("verify",),
            ("reset-token", "--name", "one"),
            ("unregister", "--name", "one"),
        ]
        done = [await runner(*command) for command in commands]
    assert [(one.code, one.err if one.code else "") for one in done] == [(0, "")] * 4
    assert gitlab.violations == []


async def test_authority_of_a_flag_is_written_down(authority: Authority, home: Path) -> None:
    """`--tls-ca-file` counts for the registration and stands in the entry, where `verify` finds it."""
    runner = CommandLine(home)
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        made = await runner(
            *REGISTER, "--url", gitlab.url, "--token", gitlab.token, "--tls-ca-file", str(authority.ca_file)
        )
        verified = await runner("verify")
    assert (made.code, verified.code) == (0, 0)
    assert f'tls-ca-file = "{authority.ca_file}"' in runner.config.read_text()


async def test_unknown_authority_is_one_sentence_and_nothing_is_written(authority: Authority, home: Path) -> None:
    """The sentence names the host and the key to set; config.toml does not come to be."""
    runner = CommandLine(home)
    async with GitLabServer(tls=authority.server_context()) as gitlab:
        done = await runner(*REGISTER, "--url", gitlab.url, "--token", gitlab.token)
    assert (done.code, runner.config.exists()) == (1, False)
    assert (
        f"The certificate of GitLab at {gitlab.url} is not trusted (unable to get local issuer certificate): "
        "set `tls-ca-file` of this runner to a PEM file with the authority that signed it."
    ) in done.err


async def test_commands_go_through_the_proxy(home: Path) -> None:
    """HTTP_PROXY with a password; the name of GitLab is the proxy's to resolve."""
    runner = CommandLine(home)
    async with GitLabServer() as gitlab:
        port = int(gitlab.url.rpartition(":")[2])
        async with HttpProxy({"gitlab.test": port}, user="ci", password="p@ss") as proxy:
            done = await runner(
                *REGISTER,
                "--url",
                "http://gitlab.test",
                "--token",
                gitlab.token,
                HTTP_PROXY=proxy.url.replace("://", "://ci:p%40ss@"),
            )
    assert (done.code, proxy.asked) == (0, ["POST http://gitlab.test/api/v4/runners/verify HTTP/1.1"])
