"""`runner list`: the runners of config.toml, in the original's lines and columns, tokens included."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.entries import read_entries
from runner.cli.go_flags import GoCommand, config_flag, config_path
from runner.cli.lines import say
from runner.config.edit import EditError
from runner.manager.config_file import ConfigFileError


@click.command("list", cls=GoCommand)
@config_flag()
def command(config: Path | None) -> int:
    """List the runners of config.toml, with their tokens, on stderr.

    \b
    Example:  runner list 2>&1 | tail -n1 | awk '{print $4}' | cut -d= -f2
    """
    path = config_path(config)
    try:
        entries = read_entries(path)
    except (ConfigFileError, EditError) as error:
        say("warning", "The configuration cannot be read", ConfigFile=path, reason=error)
        return 0
    say("info", "Listing configured runners", ConfigFile=path)
    for entry in entries:
        say("info", entry.name, Executor=entry.executor, Token=entry.token, URL=entry.url)
    return 0
