"""`runner register`: get a runner's token checked or made by GitLab, and add the runner to config.toml.

Law: nothing is asked of GitLab before everything else is known to be good, and config.toml changes only when GitLab has
said yes. A runner that GitLab made and that could not be written down is removed there again.
"""

from __future__ import annotations

import dataclasses
import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import click

from runner import __version__
from runner.cli import register_flags
from runner.cli.entries import read_entries
from runner.cli.go_flags import GoCommand, config_flag, config_path
from runner.cli.lines import say
from runner.cli.prompts import AnswerError, ask
from runner.cli.register_flags import Told
from runner.cli.runner_flags import FlagValueError, checked_entry, entry_of, runner_options, template_entry
from runner.config.edit import EditError, append_runner
from runner.config.model import RunnerConfig
from runner.gitlab.errors import CoordinatorError
from runner.gitlab.features import ClientInfo
from runner.gitlab.registration import CREATED_TOKEN_PREFIX, Credentials, Registrar, Verdict
from runner.job.variables import short_token
from runner.manager.certificates import tls_files
from runner.manager.config_file import ConfigFileError, check_writable, edit_file, read_text
from runner.manager.logging import setup_logging
from runner.manager.system_id import system_id

NO_DATE = datetime(1, 1, 1, tzinfo=UTC)
"""How the original writes a date that there is not."""
EXECUTOR = "kubernetes"


class RegisterError(Exception):
    """A registration that cannot be; the message is a sentence."""


@dataclass(slots=True)
class _Registration:
    """What is known so far."""

    path: Path
    told: Told
    entry: dict[str, Any]
    token: str = ""
    by_registration_token: bool = False
    """Whether the token came as a registration token."""

    @property
    def verifies(self) -> bool:
        """Whether the token is a runner's own, and no runner is made with it."""
        return not self.by_registration_token or self.token.startswith(CREATED_TOKEN_PREFIX)


@click.command("register", cls=GoCommand)
@config_flag()
def command(config: Path | None, **values: Any) -> int:
    """Register a runner at GitLab and add it to config.toml.

    \b
    Example:  runner register --non-interactive --url https://gitlab.example.com --token glrt-... \\
                --executor kubernetes --kubernetes-namespace ci

    Without --non-interactive it asks for what is missing. Each flag has an environment variable; flags win.
    """
    setup_logging(level="warning", form="runner")
    path = config_path(config)
    try:
        _register(path, values)
    except (
        AnswerError,
        RegisterError,
        FlagValueError,
        ConfigFileError,
        CoordinatorError,
    ) as error:
        say("error", f"Registering runner... failed: {error}")
        return 1
    except EditError as error:
        say("error", f"Registering runner... failed: the configuration cannot be edited: {error}", ConfigFile=path)
        return 1
    except KeyboardInterrupt:
        say("error", "Registering runner... failed: interrupted, and nothing was written.")
        return 1
    return 0


command.params += [*register_flags.options(), *runner_options()]


def _register(path: Path, values: Mapping[str, Any]) -> None:
    known = _known(path, values)
    _ask_for_token(known)
    if known.verifies:
        _mind_settings_of_the_server(known)
    else:
        _ask_for_settings(known)
    check_writable(path)
    append_runner(read_text(path), {})
    if known.told.non_interactive:
        # Before GitLab is asked: a runner that cannot be written down is not to be made.
        _ask_for_executor(known)
        _checked(known)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    credentials = anyio.run(_obtained, known)
    try:
        if not known.told.non_interactive:
            _ask_for_executor(known)
            _checked(known)
        _write(known, credentials)
    except BaseException:
        if not known.verifies and not known.told.leave_runner:
            anyio.run(_undo, known, credentials)
        raise
    say(
        "info",
        "Runner registered successfully. Feel free to start it, "
        "but if it's running already the config should be automatically reloaded!",
    )
    say("info", f'Configuration (with the authentication token) was saved in "{path}"')


def _known(path: Path, values: Mapping[str, Any]) -> _Registration:
    """What flags, environment and template say."""
    told = register_flags.told(values)
    entry = entry_of(values)
    entry.setdefault("name", platform.node())
    if told.template_config:
        template = Path(told.template_config)
        if not template.is_file():
            raise FlagValueError(f"The template {template} is no file.")
        entry = template_entry(entry, read_text(template), str(template))
    if not told.non_interactive:
        entry["url"] = ask("Enter the GitLab instance URL (for example, https://gitlab.com/)", entry.get("url", ""))
    if not entry.get("url"):
        raise RegisterError("No url was given: say --url or CI_SERVER_URL.")
    return _Registration(path, told, entry)


def _ask_for_token(known: _Registration) -> None:
    token = known.entry.pop("token", "")
    known.token = token or known.told.registration_token or ""
    known.by_registration_token = not token
    if not known.token and not known.told.non_interactive:
        known.token = ask("Enter the registration token", "")
    if not known.token:
        raise RegisterError("No token was given: say --token or CI_SERVER_TOKEN.")


def _mind_settings_of_the_server(known: _Registration) -> None:
    """GitLab has the settings of a runner that was created there."""
    if given := known.told.of_the_server():
        names = ", ".join(given)
        if known.token.startswith(CREATED_TOKEN_PREFIX) and not known.by_registration_token:
            raise RegisterError(f"{names} cannot be given with a glrt- token: set this in GitLab.")
        say("warning", f"{names} has no effect with this token: set this in GitLab")
    if not known.token.startswith(CREATED_TOKEN_PREFIX):
        say("warning", "A runner's own token was given: no new runner is made")
    elif not known.told.non_interactive:
        known.entry["name"] = ask("Enter a name for the runner", known.entry.get("name", ""))


def _ask_for_settings(known: _Registration) -> None:
    if known.told.non_interactive:
        return
    told = known.told
    known.entry["name"] = ask("Enter a description for the runner", known.entry.get("name", ""))
    known.told = dataclasses.replace(
        told,
        tag_list=ask("Enter tags for the runner (comma-separated)", told.tag_list or "", needed=False),
        maintenance_note=ask(
            "Enter optional maintenance note for the runner", told.maintenance_note or "", needed=False
        ),
    )


def _ask_for_executor(known: _Registration) -> None:
    executor = known.entry.get("executor", "")
    if not known.told.non_interactive:
        executor = ask(f"Enter an executor: {EXECUTOR}", executor or EXECUTOR)
        while executor != EXECUTOR:
            executor = ask(f"There is no executor {executor!r} here. Enter an executor: {EXECUTOR}", EXECUTOR)
    if not executor:
        raise RegisterError("No executor was given: say --executor kubernetes or RUNNER_EXECUTOR=kubernetes.")
    known.entry["executor"] = executor


def _checked(known: _Registration) -> RunnerConfig:
    """The runner that the entry gives. Raises `FlagValueError`."""
    return checked_entry({**known.entry, "token": "glrt-not-yet"})


def _registrar(known: _Registration) -> Registrar:
    # Before the executor is known, so that the model can read the URL.
    runner = checked_entry(
        {key: known.entry[key] for key in ("url", "tls-ca-file", "tls-cert-file", "tls-key-file") if key in known.entry}
        | {"token": "glrt-not-yet", "executor": EXECUTOR},
        warn=False,
    )
    return Registrar(runner.url, info=ClientInfo(version=__version__), tls=tls_files(runner, known.path))


async def _obtained(known: _Registration) -> Credentials:
    """Ask GitLab. Raises `CoordinatorError` or `RegisterError`."""
    shown = short_token(known.token)
    async with _registrar(known) as registrar:
        if not known.verifies:
            made = await registrar.register(known.token, known.told.new_runner(str(known.entry.get("name", ""))))
            say("info", "Registering runner... succeeded", runner=shown)
            return made
        answer = await registrar.verify(known.token, system_id=system_id(known.path.parent))
    if answer.trouble is not None:
        raise answer.trouble
    if answer.verdict is not Verdict.VALID or answer.credentials is None or not answer.credentials.id:
        raise RegisterError("GitLab did not say whose token it is: it must be 15 or newer for this.")
    say("info", "Verifying runner... is valid", runner=shown)
    return answer.credentials


async def _undo(known: _Registration, credentials: Credentials) -> None:
    try:
        with anyio.CancelScope(shield=True):
            async with _registrar(known) as registrar:
                await registrar.unregister(credentials.token, system_id=system_id(known.path.parent))
    except CoordinatorError as error:
        say("warning", "The new runner stays at GitLab: remove it there", runner_id=credentials.id, reason=error)


def _write(known: _Registration, credentials: Credentials) -> None:
    token = known.token if known.verifies else credentials.token
    entry = {
        "name": known.entry.get("name", ""),
        "url": known.entry["url"],
        "id": credentials.id,
        "token": token,
        "token_obtained_at": datetime.now(UTC).replace(microsecond=0),
        "token_expires_at": credentials.expires_at or NO_DATE,
    }
    entry |= {key: value for key, value in known.entry.items() if key not in entry}
    if any(other.token == token for other in read_entries(known.path)):
        say("warning", "A runner with this token is in the file already", runner=short_token(token))
    text = edit_file(known.path, functools.partial(append_runner, entry=entry))
    _tell_of_bounds(text, entry)


def _tell_of_bounds(text: str, entry: Mapping[str, Any]) -> None:
    """Say when `concurrent` keeps the runner from what it may."""
    import tomllib

    concurrent = tomllib.loads(text.removeprefix("\ufeff")).get("concurrent", 1)
    for key in ("limit", "request_concurrency"):
        wanted = entry.get(key)
        if isinstance(concurrent, int) and isinstance(wanted, int) and concurrent < wanted:
            say("warning", f"The file's concurrent = {concurrent} is less than this runner's {key} = {wanted}")
