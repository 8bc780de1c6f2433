"""`runner reset-token`: exchange the tokens of runners for new ones, and write them down at once.

The old token is void when GitLab answers. If the new one cannot be written, it is said where to get another.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import click

from runner import __version__
from runner.cli.entries import Entry, entries_of, read_entries
from runner.cli.go_flags import GoCommand, bool_flag, config_flag, config_path
from runner.cli.lines import say
from runner.config.edit import EditError, set_runner_keys
from runner.gitlab.errors import CoordinatorError
from runner.gitlab.features import ClientInfo
from runner.gitlab.registration import Credentials, Registrar
from runner.job.variables import short_token
from runner.manager.config_file import ConfigFileError, check_writable, edit_file
from runner.manager.logging import setup_logging

_NO_DATE = datetime(1, 1, 1, tzinfo=UTC)


@click.command("reset-token", cls=GoCommand)
@config_flag()
@click.option("-n", "--name", default="", help="The runner of this name.")
@click.option("-u", "--url", default="", help="The runner of this GitLab, with --id.")
@click.option("-i", "--id", "number", type=int, default=0, help="Its id at GitLab.")
@click.option("--pat", default="", help="Access token of a person, where the runner's own does not do any more.")
@bool_flag("--all-runners", help="All of the file.")
def command(config: Path | None, *, name: str, url: str, number: int, pat: str, all_runners: bool | None) -> int:
    """Give runners new tokens.

    \b
    Examples:  runner reset-token --name my-runner
               runner reset-token --url https://gitlab.example.com --id 12 --pat "$TOKEN"
    """
    setup_logging(level="warning", form="runner")
    path = config_path(config)
    try:
        entries = read_entries(path)
        chosen = entries if all_runners else _chosen(entries, name=name, url=url, number=number)
        if not chosen:
            say("error", f"No runner of {path} is meant: give its --name, or its --url and --id, or say --all-runners.")
            return 1
        check_writable(path)
        failed = sum(not anyio.run(_reset, path, entry, pat) for entry in chosen)
    except (ConfigFileError, EditError) as error:
        say("error", f"The configuration cannot be edited: {error}", ConfigFile=path)
        return 1
    return 1 if failed and not all_runners else 0


def _chosen(entries: Sequence[Entry], *, name: str, url: str, number: int) -> list[Entry]:
    if name:
        return [entry for entry in entries if entry.name == name][:1]
    if url and number:
        return [entry for entry in entries if entry.is_of(url) and entry.id == number][:1]
    return []


async def _reset(path: Path, entry: Entry, pat: str) -> bool:
    """Exchange one token and write the new one down; False when GitLab does not."""
    try:
        async with Registrar(entry.url, info=ClientInfo(version=__version__), tls=entry.tls_files()) as registrar:
            if pat:
                new = await registrar.reset_token_of(entry.id, private_token=pat)
            else:
                new = await registrar.reset_token(entry.token)
    except CoordinatorError as error:
        say("error", "Resetting runner authentication token... failed", runner=short_token(entry.token), reason=error)
        return False
    edit_file(path, functools.partial(_with_token, entry=entry, new=new))
    say("info", "Resetting runner authentication token... succeeded", runner=short_token(new.token))
    return True


def _with_token(text: str, entry: Entry, new: Credentials) -> str:
    values = {
        "token": new.token,
        "token_obtained_at": datetime.now(UTC).replace(microsecond=0),
        "token_expires_at": new.expires_at or _NO_DATE,
    }
    for known in entries_of(text):
        if (known.url, known.token) == (entry.url, entry.token):
            text = set_runner_keys(text, known.index, values)
    return text
