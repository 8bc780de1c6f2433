"""The command line's root: commands are imported only when they are asked for, so that `runner --help` is quick."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

COMMANDS = {
    "run": ("runner.cli.run", "Take jobs from GitLab and run them in Kubernetes."),
    "local": ("runner.cli.local", "Run the jobs of a .gitlab-ci.yml here, without GitLab or a cluster."),
    "config": ("runner.cli.config", "Check a config.toml: what is wrong, where, and what would be right."),
    "pod": ("runner.cli.pod", "Print the pod that a job and a config.toml give, without a cluster."),
    "register": ("runner.cli.register", "Register a runner at GitLab and add it to config.toml."),
    "unregister": ("runner.cli.unregister", "Remove runners from GitLab and from config.toml."),
    "list": ("runner.cli.listing", "List the runners of config.toml."),
    "verify": ("runner.cli.verify", "Ask GitLab whether the tokens of config.toml are good."),
    "reset-token": ("runner.cli.reset_token", "Give runners new tokens."),
    "run-single": ("runner.cli.run_single", "Take jobs for one runner that flags describe, without a config.toml."),
    "health-check": ("runner.cli.health_check", "Wait until a service answers; for helper containers."),
    "lint": ("runner.cli.lint", "Check config.toml, under the original's name for it."),
    "version": ("runner.cli.version", "Print the version."),
    "rbac": ("runner.cli.rbac", "Print the least Role that a config.toml needs, or check it."),
}
"""Command name -> module that holds a click command of that name, and its line in the overview."""


SERVICE_COMMANDS = ("install", "uninstall", "start", "stop", "restart", "status")
"""The original's commands for a service of the host: `runner.cli.service`."""

GONE = {
    "exec": "`runner local` runs the jobs of a .gitlab-ci.yml",
    "fleeting": "there are no plugins, for Kubernetes scales by itself",
    "wrapper": "TERM, QUIT and `--on-sigterm` of `runner run` do what it was for",
    "steps": "jobs with `run:` need a step runner in their own image",
    "proxy-exec": "`proxy_exec` is not supported",
}
"""The original's commands that are not here, and what is instead."""


LEVELS = ("debug", "info", "warn", "warning", "error", "fatal", "panic")
FORMATS = ("runner", "text", "json")


class UnknownCommandError(click.UsageError):
    """A command that there is not."""

    exit_code = 1


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands in the order of the table."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; that there is none ends with 1, as in the original."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            instead = GONE.get(args[0])
            message = f"There is no command {args[0]!r} here: {instead}." if instead else error.message
            raise UnknownCommandError(message, ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name in SERVICE_COMMANDS:
            from runner.cli.service import service_command

            return service_command(cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table, so that it imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from runner.cli.version import version_text

        click.echo(version_text())
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Signals to `run`: QUIT lets the running jobs end, TERM ends them; a second one insists.",
)
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
@click.option("--debug", is_flag=True, help="Log everything.  [env: RUNNER_DEBUG]")
@click.option("-l", "--log-level", help="How much is logged.  [env: LOG_LEVEL]")
@click.option("--log-format", help="runner, text or json.  [env: LOG_FORMAT]")
@click.option("--cpuprofile", hidden=True, help="Accepted for scripts of the original; nothing is written.")
def root(debug: bool, log_level: str | None, log_format: str | None, cpuprofile: str | None) -> None:
    """GitLab Runner's Kubernetes executor.

    \b
    Try it in a repository with a .gitlab-ci.yml:  runner local
    Serve a GitLab:                                runner run --config config.toml
    """
    if debug or os.environ.get("RUNNER_DEBUG", "").lower() in {"1", "t", "true"}:
        log_level = "debug"
    _check_choice("--log-level", log_level, LEVELS)
    _check_choice("--log-format", log_format, FORMATS)
    # Commands have these flags too, and theirs win: so both look into the environment.
    if log_level:
        os.environ["LOG_LEVEL"] = log_level
    if log_format:
        os.environ["LOG_FORMAT"] = log_format


def _check_choice(flag: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value and value.lower() not in choices:
        raise click.ClickException(f"{flag} takes one of {', '.join(choices)}.")


def main(arguments: Sequence[str]) -> int:
    """Run a command and give its exit code; what is wrong goes to stderr as one sentence."""
    words = list(arguments)
    if words[:1] in (["help"], ["h"]):
        words = [*words[1:2], "--help"]
    try:
        result = root.main(args=words, prog_name="runner", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    return result if isinstance(result, int) else 0
