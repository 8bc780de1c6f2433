"""`runner run-single`: take jobs for one runner that flags and environment describe, one after the other."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from runner.cli.go_flags import GoCommand, config_flag, config_path
from runner.cli.lines import say
from runner.cli.runner_flags import FlagValueError, checked_entry, entry_of, runner_options
from runner.config.edit import EditError, runner_tables
from runner.config.given import filled
from runner.config.model import Config, RunnerConfig
from runner.manager.assemble import assemble
from runner.manager.config_file import ConfigFileError, read_text
from runner.manager.logging import setup_logging
from runner.manager.manager import RunnerManager
from runner.manager.signals import obey

_IDLE_POLL_INTERVAL = 0.2


@click.command("run-single", cls=GoCommand)
@config_flag()
@click.option("-r", "--runner", default="", help="Fill up from the runner of this name in config.toml.")
@click.option("--wait-timeout", type=click.FloatRange(min=0), default=0, help="Leave after this long without a job.")
@click.option("--max-builds", type=click.IntRange(min=0), default=0, help="Leave after this many jobs.")
@click.option("--kubeconfig", help="Kubeconfig, where the runner names no `host`.")
def command(
    config: Path | None, *, runner: str, wait_timeout: float, max_builds: int, kubeconfig: str | None, **values: Any
) -> int:
    """Take jobs for one runner, without a config.toml.

    \b
    Example:  runner run-single --url https://gitlab.example.com --token glrt-... --executor kubernetes \\
                --max-builds 1 --wait-timeout 300

    QUIT lets the running job end, TERM and INT end it; a second signal insists.
    """
    setup_logging(level=os.environ.get("LOG_LEVEL", "info"), form=os.environ.get("LOG_FORMAT", "runner"))
    path = config_path(config)
    try:
        single = _single(values, runner, path)
    except (FlagValueError, ConfigFileError, EditError) as error:
        say("fatal", str(error))
        return 1
    say("info", "Starting runner", runner=single.name, url=single.url)
    return anyio.run(_serve, single, path, kubeconfig, wait_timeout, max_builds)


command.params += runner_options()


def _single(values: Mapping[str, Any], name: str, path: Path) -> RunnerConfig:
    entry = entry_of(values)
    if name:
        known = [table for table in runner_tables(read_text(path)) if table.get("name") == name]
        if not known:
            raise FlagValueError(f"{path} has no runner of the name {name}.")
        entry = filled(entry, known[0])
    missing = [f"--{key}" for key in ("url", "token", "executor") if not entry.get(key)]
    if missing:
        raise FlagValueError(f"What is missing: {', '.join(missing)}.")
    return checked_entry(entry)


async def _serve(single: RunnerConfig, path: Path, kubeconfig: str | None, wait_timeout: float, max_builds: int) -> int:
    manager = assemble(
        Config(concurrent=1, runners=(single,)),
        # Nothing is kept between two runs, so each is a manager of its own.
        system_id=f"r_{secrets.token_hex(6)}",
        kubeconfig=kubeconfig,
        max_jobs=max_builds or None,
        config_file=path,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(partial(obey, manager, on_sigterm="abort"), name="signals")
        if wait_timeout:
            group.start_soon(_leave_when_idle, manager, wait_timeout)
        await manager.serve()
        group.cancel_scope.cancel()
    return 1 if manager.left_behind else 0


async def _leave_when_idle(manager: RunnerManager, wait_timeout: float) -> None:
    idle_since = anyio.current_time()
    while anyio.current_time() - idle_since < wait_timeout:
        await anyio.sleep(min(_IDLE_POLL_INTERVAL, wait_timeout))
        if manager.running:
            idle_since = anyio.current_time()
    manager.drain()
