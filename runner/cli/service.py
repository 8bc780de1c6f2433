"""`install`, `start`, `stop`, `restart`, `status`, `uninstall`: the original's words for a service of the host.

This program installs no service: in a cluster the chart keeps it running, on a host a unit of systemd does. So these
commands say what to do instead; `status` looks for the process itself, so that a health check written for the original
works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from runner.cli.command_word import command_word
from runner.cli.go_flags import GoCommand, go_bool

_PROGRAMS = {"runner", "gitlab-runner", "gitlab-ci-multi-runner"}
_INSTEAD = (
    "is not done here, for this program manages no services. In a cluster install the chart (charts/runner); "
    "on a host let a systemd unit run `runner run`, as docs/running.md shows."
)


def service_command(name: str) -> click.Command:
    """One of the six commands; each takes the original's flags."""
    return _status() if name == "status" else _refusing(name)


def is_running(processes: Path = Path("/proc")) -> bool:
    """Whether some process is `runner run`, under any of its names; false where processes cannot be listed."""
    return any(_is_run(words) for words in _command_lines(processes))


def _refusing(name: str) -> click.Command:
    @click.command(name, cls=GoCommand, help=f"Does nothing: the original's `{name}` is for a service of the host.")
    @_flags
    def command(service: str) -> int:
        click.echo(f"{service}: `{name}` {_INSTEAD}", err=True)
        return 1

    return command


def _status() -> click.Command:
    @click.command("status", cls=GoCommand)
    @_flags
    def command(service: str) -> int:
        """Tell whether a `runner run` is at work in this container or on this host.

        \b
        Exit codes:  0  there is one
                     1  there is none
        """
        if is_running():
            click.echo(f"{service}: Service is running")
            return 0
        click.echo(f"{service}: Service has stopped", err=True)
        return 1

    return command


def _flags(function: Callable[..., int]) -> Callable[..., int]:
    """The flags of all six in the original; but for the name they say nothing here."""
    ignored: dict[str, Any] = {"expose_value": False, "hidden": True}
    options = [
        click.option("-n", "--service", default="gitlab-runner", show_default=True, help="Name of the service."),
        click.option("--user-service", type=go_bool, **ignored),
        click.option("-d", "--working-directory", **ignored),
        click.option("-c", "--config", **ignored),
        click.option("-u", "--user", **ignored),
        click.option("--syslog", type=go_bool, **ignored),
        click.option("-i", "--init-user", type=go_bool, **ignored),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _command_lines(processes: Path) -> Iterator[list[str]]:
    for entry in processes.glob("[0-9]*"):
        try:
            yield (entry / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
        except OSError:
            continue  # it has ended, or is another's


def _is_run(words: list[str]) -> bool:
    """Whether a command line is `[python [-m]] runner [options] run [flags]`."""
    for index, word in enumerate(words[:4]):
        if word.rpartition("/")[2] in _PROGRAMS:
            return command_word(words[index + 1 :]) == "run"
    return False
