"""`runner run`: take jobs from GitLab until told to stop."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click
import structlog
from pydantic import ValidationError

from runner import __version__
from runner.cli.go_flags import FlagError, GoCommand, config_flag, go_bool
from runner.cli.main import FORMATS, LEVELS
from runner.config.findings import ConfigError
from runner.config.model import Config
from runner.job.outcome import leaf_errors
from runner.manager.config_file import ConfigFileError
from runner.manager.logging import change_logging, setup_logging
from runner.manager.reload import ConfigWatch
from runner.manager.settings import REVISION, ProcessSettings
from runner.manager.signals import obey
from runner.status.address import ListenError
from runner.terminal.addresses import SessionServerError

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from runner.config.findings import Finding
    from runner.manager.manager import RunnerManager
    from runner.manager.runners import Change
    from runner.status.opening import Status

log = structlog.get_logger()


@click.command("run", cls=GoCommand)
@config_flag()
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Kubeconfig for runners that name no `host`.")
@click.option(
    "--log-level", "-l", type=click.Choice(LEVELS, case_sensitive=False), help="How much is logged.  [env: LOG_LEVEL]"
)
@click.option(
    "--log-format", type=click.Choice(FORMATS, case_sensitive=False), help="How lines are written.  [env: LOG_FORMAT]"
)
@click.option(
    "--on-sigterm",
    type=click.Choice(["drain", "abort"]),
    help="What the first TERM does: let jobs end, or end them.  [env: RUNNER_ON_SIGTERM]",
)
@click.option("--max-jobs", type=click.IntRange(min=1), help="Leave after this many jobs.  [env: RUNNER_MAX_JOBS]")
@click.option("--listen-address", metavar="ADDRESS", help="Where metrics and probes are served.  [env: LISTEN_ADDRESS]")
@click.option("--metrics-server", metavar="ADDRESS", hidden=True, help="Former name of --listen-address.")
@click.option("-n", "--service", expose_value=False, help="Name of the service; a label, it chooses no runner.")
@click.option("-u", "--user", expose_value=False, hidden=True, help="Of the original's shell executor.")
@click.option("--syslog", type=go_bool, expose_value=False, hidden=True, help="Of the original; the log is on stderr.")
@click.option("-d", "--working-directory", type=click.Path(file_okay=False, exists=True), help="Where to run.")
def command(kubeconfig: str | None, working_directory: str | None, **flags: Any) -> int:
    """Take jobs from GitLab and run each in a Kubernetes pod.

    \b
    Example:  runner run --config config.toml --kubeconfig ~/.kube/config

    QUIT lets the running jobs end; TERM and INT end them (in the image TERM lets them end too); a second signal
    insists. HUP reads config.toml at once; a change is seen within seconds anyway.
    """
    if working_directory:
        os.chdir(working_directory)
    if kubeconfig and not any(Path(file).is_file() for file in kubeconfig.split(os.pathsep)):
        raise click.ClickException(f"{kubeconfig} is not there. Name a kubeconfig with --kubeconfig.")
    settings = _settings(flags)
    watch = ConfigWatch(settings.config)
    config, warnings = _read_config(watch)
    return anyio.run(_serve, config, warnings, watch, settings, kubeconfig)


def _settings(flags: dict[str, Any]) -> ProcessSettings:
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return ProcessSettings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise FlagError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}.") from None


def _read_config(watch: ConfigWatch) -> tuple[Config, tuple[Finding, ...]]:
    """Read the configuration and what there is to warn of; errors go to stderr line by line, and end it with 1."""
    try:
        return watch.first()
    except ConfigFileError as error:
        raise click.ClickException(str(error)) from None
    except ConfigError as error:
        for finding in error.findings:
            click.echo(f"{finding.severity}: {finding}", err=True)
        sys.exit(1)


def _address(settings: ProcessSettings, config: Config) -> str:
    """Where metrics are served: flag, environment, config.toml, and last the names of former times."""
    if settings.metrics_server:
        log.warning("--metrics-server and METRICS_SERVER are deprecated: use --listen-address or LISTEN_ADDRESS")
    return settings.listen_address or config.listen_address or settings.metrics_server


async def _serve(
    config: Config,
    warnings: tuple[Finding, ...],
    watch: ConfigWatch,
    settings: ProcessSettings,
    kubeconfig: str | None,
) -> int:
    from runner.manager.assemble import assemble, registrar_for
    from runner.manager.collector import settle
    from runner.manager.system_id import system_id
    from runner.manager.token_renewal import TokenRenewal

    this = system_id(settings.config.parent)
    status = _open_status(settings, config, system_id=this)
    _tell_start(settings, config, warnings, waiting=watch.waiting, system_id=this)
    manager = assemble(
        config,
        system_id=this,
        kubeconfig=kubeconfig,
        final_update_timeout=settings.final_update_timeout,
        max_jobs=settings.max_jobs,
        board=status.board,
        config_file=settings.config,
    )
    renewal = TokenRenewal(
        settings.config,
        registrar_for=registrar_for(settings.config, board=status.board),
        renewed=manager.renew,
        saved=lambda done: status.board.meter.config_saved(ok=done),
    )

    async def apply(present: Config) -> Change:
        level, form = _log_settings(settings, present)
        change_logging(level=level, form=form)
        return await manager.apply(renewal.adopt(present))

    settle()
    renewal.adopt(config)
    async with anyio.create_task_group() as group:
        if not await _show(status, group):
            return 1
        group.start_soon(partial(obey, manager, on_sigterm=settings.on_sigterm, reload=watch.check_now), name="signals")
        group.start_soon(renewal.run, name="token renewal")
        group.start_soon(partial(watch.run, apply, refused=status.board.config_refused), name="configuration")
        served = await _until_ended(manager)
        group.cancel_scope.cancel()
    return 0 if served and not manager.left_behind else 1


def _open_status(settings: ProcessSettings, config: Config, *, system_id: str) -> Status:
    """Set up the log, whose lines are counted from the moment when there is a board."""
    from runner.status.opening import open_status

    level, form = _log_settings(settings, config)
    setup_logging(level=level, form=form)
    status = open_status(_address(settings, config), system_id=system_id, revision=REVISION)
    setup_logging(level=level, form=form, on_line=status.board.meter.logged)
    return status


def _tell_start(
    settings: ProcessSettings, config: Config, warnings: tuple[Finding, ...], *, waiting: str, system_id: str
) -> None:
    log.info(
        "starting",
        version=__version__,
        revision=REVISION,
        config=str(settings.config),
        runners=len(config.runners),
        system_id=system_id,
    )
    for finding in warnings:
        log.warning(str(finding))
    if waiting:
        log.error(waiting)


async def _show(status: Status, group: TaskGroup) -> bool:
    """Begin to serve what shows the board, if anything does; false when it cannot listen."""
    if status.server:
        try:
            await group.start(status.server.serve)
        except ListenError as error:
            log.critical(str(error))
            return False
    return True


async def _until_ended(manager: RunnerManager) -> bool:
    """Serve until told to stop; false when that could not begin."""
    begun = True
    try:
        await manager.serve()
    except* SessionServerError as error:
        log.critical(str(next(leaf_errors(error))))
        begun = False
    return begun


def _log_settings(settings: ProcessSettings, config: Config) -> tuple[str, str]:
    """Level and form of the log: flag or environment, else config.toml."""
    return settings.log_level or config.log_level, settings.log_format or config.log_format
