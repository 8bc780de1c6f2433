"""What is put together for `runner run`."""

from __future__ import annotations

import anyio
import orjson
import pytest

from runner.config.model import Config
from runner.gitlab.transport import ClientPool
from runner.manager import assemble as module
from runner.testing.gitlab import GitLabServer


async def test_connection_max_age_of_the_configuration_reaches_the_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start, and when another configuration is applied."""
    pools: list[ClientPool] = []

    def pool() -> ClientPool:
        pools.append(ClientPool())
        return pools[-1]

    monkeypatch.setattr(module, "ClientPool", pool)
    ages = []
    manager = module.assemble(Config(connection_max_age=7.0), system_id="s_0f1e2d3c4b5a")
    async with anyio.create_task_group() as group:
        await group.start(manager.serve)
        ages.append(pools[0].timeouts.connection_max_age)
        await manager.apply(Config(connection_max_age=0.0))
        ages.append(pools[0].timeouts.connection_max_age)
        manager.drain()
    assert ages == [7.0, 0.0]


async def test_labels_of_the_configuration_reach_gitlab() -> None:
    """Those of all runners and over them the runner's own, also when another configuration is applied."""
    async with GitLabServer(long_poll_timeout=0.0) as gitlab:
        entry = {"name": "r", "url": gitlab.url, "token": gitlab.token, "labels": {"zone": "a"}}

        def config(**labels: str) -> Config:
            values = {"check_interval": 1, "labels": {"zone": "none", **labels}, "runners": [entry]}
            return Config.model_validate(values)

        def told() -> list[dict[str, str]]:
            asked = (one for one in gitlab.requests if one.path.endswith("/jobs/request"))
            return [orjson.loads(one.body)["info"]["labels"] for one in asked]

        manager = module.assemble(config(site="one"), system_id="s_0f1e2d3c4b5a")
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                await group.start(manager.serve)
                await gitlab.faults.wait_seen("POST", "/jobs/request$")
                await manager.apply(config(site="two"))
                while told()[-1]["site"] == "one":
                    await anyio.lowlevel.checkpoint()
                manager.drain()
        assert gitlab.violations == []
        assert (told()[0], told()[-1]) == ({"zone": "a", "site": "one"}, {"zone": "a", "site": "two"})
