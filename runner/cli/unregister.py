"""`runner unregister`: remove runners from GitLab, and then from config.toml.

A runner that was created in GitLab stays there and loses this manager; one that was made with a registration token is
removed. What GitLab refuses stays in the file.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import anyio
import click

from runner import __version__
from runner.cli.entries import Entry, entries_of, read_entries
from runner.cli.go_flags import GoCommand, bool_flag, config_flag, config_path
from runner.cli.lines import say
from runner.config.edit import EditError, remove_runners
from runner.gitlab.errors import CoordinatorError
from runner.gitlab.features import ClientInfo
from runner.gitlab.registration import Registrar
from runner.job.variables import short_token
from runner.manager.config_file import ConfigFileError, edit_file
from runner.manager.logging import setup_logging
from runner.manager.system_id import system_id


@click.command("unregister", cls=GoCommand)
@config_flag()
@click.option("-n", "--name", default="", help="Name of the runner in the file.")
@click.option("-t", "--token", default="", envvar="CI_SERVER_TOKEN", show_envvar=True, help="Its token.")
@click.option("-u", "--url", default="", help="Its GitLab.")
@click.option(
    "--tls-ca-file",
    default="",
    envvar="CI_SERVER_TLS_CA_FILE",
    help="Certificates to trust.  [env: CI_SERVER_TLS_CA_FILE]",
)
@click.option(
    "--tls-cert-file",
    default="",
    envvar="CI_SERVER_TLS_CERT_FILE",
    help="Client certificate.  [env: CI_SERVER_TLS_CERT_FILE]",
)
@click.option(
    "--tls-key-file", default="", envvar="CI_SERVER_TLS_KEY_FILE", help="Its key.  [env: CI_SERVER_TLS_KEY_FILE]"
)
@bool_flag("--all-runners", help="All of the file; those that GitLab refuses stay, and the exit code is 0.")
def command(config: Path | None, name: str, token: str, url: str, all_runners: bool | None, **tls: str) -> int:
    """Remove a runner from GitLab and from config.toml.

    \b
    Examples:  runner unregister --name my-runner
               runner unregister --token glrt-... --name my-runner
               runner unregister --all-runners

    All that is given must be the runner's; of several that are meant it is the first.
    """
    setup_logging(level="warning", form="runner")
    path = config_path(config)
    own = tls["tls_ca_file"], tls["tls_cert_file"], tls["tls_key_file"]
    try:
        entries = read_entries(path)
        chosen = entries if all_runners else _chosen(entries, name=name, token=token, url=url)
        if not chosen and not all_runners:
            say("error", _nobody(path, name=name, token=token, url=url))
            return 1
        if all_runners:
            say("warning", "Unregistering all runners")
        gone = anyio.run(_unregister, path, chosen, own)
        if gone:
            edit_file(path, functools.partial(without, gone=gone))
            say("info", f"Updated {path}")
    except (ConfigFileError, EditError) as error:
        say("error", f"The configuration cannot be edited: {error}", ConfigFile=path)
        return 1
    return 0 if all_runners or len(gone) == len(chosen) else 1


def without(text: str, gone: Sequence[Entry]) -> str:
    """The text without some runners, wherever in it they are by now."""
    identities = {(entry.name, entry.url, entry.token) for entry in gone}
    found = (entry for entry in entries_of(text) if (entry.name, entry.url, entry.token) in identities)
    return remove_runners(text, [entry.index for entry in found])


def _chosen(entries: Sequence[Entry], *, name: str, token: str, url: str) -> list[Entry]:
    """The one runner that is meant; with several of one name the first."""
    if not (name or token or url):
        return []
    found = [
        entry
        for entry in entries
        if (not name or entry.name == name) and (not token or entry.token == token) and (not url or entry.is_of(url))
    ]
    return found[:1]


def _nobody(path: Path, *, name: str, token: str, url: str) -> str:
    """Why no runner is meant: a token or a url of the environment counts too, which the command line does not show."""
    given = [
        *([f"the name {name}"] if name else ()),
        *(["the token of --token or CI_SERVER_TOKEN"] if token else ()),
        *([f"the url {url}"] if url else ()),
    ]
    if not given:
        return f"No runner of {path} is meant: give its --name, --token or --url, or say --all-runners."
    return f"No runner of {path} is meant: none has {' and '.join(given)}."


async def _unregister(path: Path, entries: Sequence[Entry], tls: tuple[str, str, str]) -> list[Entry]:
    """Ask GitLab for each; returns those that it has let go."""
    gone = []
    manager = system_id(path.parent) if entries else ""
    for entry in entries:
        shown = short_token(entry.token)
        try:
            files = entry.tls_files(*tls)
            async with Registrar(entry.url, info=ClientInfo(version=__version__), tls=files) as registrar:
                await registrar.unregister(entry.token, system_id=manager)
        except CoordinatorError as error:
            say("error", f"Unregistering runner from GitLab failed: {error}", name=entry.name, runner=shown)
        else:
            say("info", "Unregistering runner from GitLab succeeded", name=entry.name, runner=shown)
            gone.append(entry)
    return gone
