"""The command line's root: commands are imported only when they are asked for, so that `runner --help` is quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from runner import __version__

COMMANDS = {
    "run": ("runner.cli.run", "Take jobs from GitLab and run them in Kubernetes."),
    "local": ("runner.cli.local", "Run the jobs of a .gitlab-ci.yml here, without GitLab or a cluster."),
    "config": ("runner.cli.config", "Check a config.toml: what is wrong, where, and what would be right."),
    "pod": ("runner.cli.pod", "Print the pod that a job and a config.toml give, without a cluster."),
    "rbac": ("runner.cli.rbac", "Print the least Role that a config.toml needs, or check it."),
}
"""Command name -> module that holds a click command of that name, and its line in the overview."""


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table, so that it imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Signals to `run`: QUIT lets the running jobs end, TERM ends them; a second one insists.",
)
@click.version_option(__version__, "-v", "--version", prog_name="runner")
def root() -> None:
    """GitLab Runner's Kubernetes executor.

    \b
    Try it in a repository with a .gitlab-ci.yml:  runner local
    Serve a GitLab:                                runner run --config config.toml
    """


def main(arguments: Sequence[str]) -> int:
    """Run a command and give its exit code; what is wrong goes to stderr as one sentence."""
    try:
        result = root.main(args=list(arguments), prog_name="runner", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    return result if isinstance(result, int) else 0
