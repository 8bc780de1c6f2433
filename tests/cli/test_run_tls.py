"""`runner run` as a process and a GitLab with an authority of its own: certificates, tokens that expire."""

from __future__ import annotations

import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import orjson
import pytest

from runner.testing.faults import FaultRule, Hold
from runner.testing.gitlab import GitLabServer
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer
from tests.cli.commands import CommandLine
from tests.gitlab.authorities import Authority, make_authority

pytestmark = pytest.mark.slow

CONFIG = """\
concurrent = 2
check_interval = 1
[[runners]]
  name = "test" # ours
  url = "{url}"
  token = "{token}"
  executor = "kubernetes"
  token_obtained_at = {obtained}
  token_expires_at = {expires}
  [runners.kubernetes]
    image = "busybox"
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who has signed GitLab's certificate."""
    return make_authority(tmp_path / "authority", "Test CA")


def moment(days: int) -> str:
    """A date of config.toml so many days from now."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def prepared(home: Path, authority: Authority, gitlab: GitLabServer) -> CommandLine:
    """A home with a certificate beside the configuration, whose token is due."""
    (home / "certs").mkdir(parents=True)
    shutil.copy(authority.ca_file, home / "certs" / "127.0.0.1.crt")
    runner = CommandLine(home)
    values = {"url": gitlab.url, "token": gitlab.token, "obtained": moment(-21), "expires": moment(7)}
    runner.config.write_text(CONFIG.format(**values))
    return runner


def token_in(runner: CommandLine) -> str:
    """The token that the file has."""
    return str(tomllib.loads(runner.config.read_text())["runners"][0]["token"])


async def test_due_token_is_renewed_and_jobs_run_with_it(tmp_path: Path, authority: Authority) -> None:
    """The file has the new token and its comments; the certificate was found beside it."""
    async with (
        GitLabServer(tls=authority.server_context()) as gitlab,
        KubernetesServer(kubelet=ScriptedKubelet()) as cluster,
    ):
        gitlab.runners.token_expires_at = moment(28)
        hold = Hold(after_effect=True)
        gitlab.faults.add(FaultRule("POST", "/reset_authentication_token$", hold))
        runner = prepared(tmp_path / "home", authority, gitlab)
        kubeconfig = str(cluster.kubeconfig(tmp_path / "kubeconfig"))
        async with anyio.create_task_group() as group:
            group.start_soon(runner, "run", "--kubeconfig", kubeconfig, "--max-jobs", "1")
            with anyio.fail_after(30):
                await hold.reached()
                (new,) = gitlab.runners.tokens
                job = gitlab.queue(variables={"GIT_STRATEGY": "none"}, runner=new)
                hold.release()
                await job.wait_finished()
        assert gitlab.violations == []
        asked = [orjson.loads(one.body)["token"] for one in gitlab.requests if one.path.endswith("/jobs/request")]
    assert job.state == "success"
    assert asked[-1] == token_in(runner) == new
    assert '  name = "test" # ours\n' in runner.config.read_text()
