"""`runner verify`: ask GitLab whether the tokens of config.toml are good, and remove those that are not if told so.

Only GitLab's clear word makes a token bad: a server that is away or in trouble removes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import anyio
import click

from runner import __version__
from runner.cli.entries import Entry, read_entries
from runner.cli.go_flags import GoCommand, bool_flag, config_flag, config_path
from runner.cli.lines import say
from runner.cli.unregister import without
from runner.config.edit import EditError
from runner.gitlab.errors import CoordinatorError
from runner.gitlab.features import ClientInfo
from runner.gitlab.registration import Registrar, Verdict, Verification
from runner.job.variables import short_token
from runner.manager.config_file import ConfigFileError, edit_file
from runner.manager.logging import setup_logging
from runner.manager.system_id import system_id


@click.command("verify", cls=GoCommand)
@config_flag()
@click.option("-n", "--name", default="", help="Only runners of this name.")
@click.option("-t", "--token", default="", help="Or with this token.")
@click.option("-u", "--url", default="", help="And of this GitLab.")
@bool_flag("--delete", help="Remove the runners that GitLab does not accept from the file.")
def command(config: Path | None, name: str, token: str, url: str, delete: bool | None) -> int:
    """Ask GitLab whether the tokens of config.toml are good.

    \b
    Examples:  runner verify
               runner verify --name my-runner --delete

    \b
    Exit codes:  0  GitLab has refused none, or they were removed
                 1  some are refused, or no runner is meant
    """
    setup_logging(level="warning", form="runner")
    path = config_path(config)
    try:
        entries = [entry for entry in read_entries(path) if _is_meant(entry, name=name, token=token, url=url)]
        if not entries:
            say("error", f"No runner of {path} is meant.")
            return 1
        refused = anyio.run(_refused, path, entries)
        if not refused:
            return 0
        if not delete:
            say("error", f"GitLab does not accept {len(refused)} of the runners: say --delete to remove them.")
            return 1
        edit_file(path, functools.partial(without, gone=refused))
        say("info", f"Updated {path}")
    except (ConfigFileError, EditError) as error:
        say("error", f"The configuration cannot be edited: {error}", ConfigFile=path)
        return 1
    return 0


def _is_meant(entry: Entry, *, name: str, token: str, url: str) -> bool:
    if not (name or token or url):
        return True
    here = url in {"", "*"} or entry.is_of(url)
    named = (bool(name) and entry.name == name) or (bool(token) and entry.token == token)
    return here and (named or not (name or token))


async def _refused(path: Path, entries: Sequence[Entry]) -> list[Entry]:
    """Ask for each; returns those whose token GitLab does not accept."""
    manager = system_id(path.parent)
    refused = []
    for entry in entries:
        answer = await _verified(entry, manager)
        shown = short_token(entry.token)
        if answer.verdict is Verdict.VALID:
            say("info", "Verifying runner... is valid", runner=shown)
        elif answer.verdict is Verdict.INVALID:
            say("error", "Verifying runner... is not valid", runner=shown, reason=answer.trouble)
            refused.append(entry)
        else:
            say("error", "Verifying runner... failed", runner=shown, reason=answer.trouble)
    return refused


async def _verified(entry: Entry, manager: str) -> Verification:
    try:
        async with Registrar(entry.url, info=ClientInfo(version=__version__), tls=entry.tls_files()) as registrar:
            return await registrar.verify(entry.token, system_id=manager)
    except CoordinatorError as error:
        return Verification(verdict=Verdict.UNKNOWN, trouble=error)
