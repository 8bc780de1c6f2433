"""`runner config`: what can be done with a config.toml without running it."""

from __future__ import annotations

import importlib

import click

SUBCOMMANDS = {
    "check": ("runner.cli.config_check", "Tell everything that is wrong or doubtful in a config.toml."),
}
"""Command name -> module that holds a click command of that name, and its line in the overview."""


class _Group(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = importlib.import_module(SUBCOMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in SUBCOMMANDS.items()])


@click.group("config", cls=_Group)
def command() -> None:
    """Work on config.toml."""
