"""`runner lint`: the original's check of a config.toml, by `runner config check`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.go_flags import GoCommand, config_flag, config_path


@click.command("lint", cls=GoCommand)
@config_flag()
def command(config: Path | None) -> int:
    """Tell everything that is wrong or doubtful in config.toml; `runner config check` has more ways to say it.

    \b
    Exit codes:  0  nothing, or notes alone
                 1  warnings or errors, or there is no such file
    """
    from runner.cli.config_check import UnreadableError, check_file

    try:
        return min(check_file(config_path(config)), 1)
    except UnreadableError as error:
        raise click.ClickException(error.message) from None
