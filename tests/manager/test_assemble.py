"""What is put together for `runner run`."""

from __future__ import annotations

import anyio
import pytest

from runner.config.model import Config
from runner.gitlab.transport import ClientPool
from runner.manager import assemble as module


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
