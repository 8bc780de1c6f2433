"""What `register` is told beside the entry itself: flags, and where they are silent the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import click

from runner.cli.go_flags import go_bool
from runner.cli.runner_flags import FlagValueError, variable
from runner.config.given import GivenError, parse_flag
from runner.gitlab.registration import NewRunner

ACCESS_LEVELS = ("", "not_protected", "ref_protected")


class Flag(NamedTuple):
    """One flag of `register` alone."""

    name: str
    """Of the parameter."""
    spellings: tuple[str, ...]
    env: str
    kind: type
    about: str


FLAGS = (
    Flag("non_interactive", ("--non-interactive", "-n"), "REGISTER_NON_INTERACTIVE", bool, "ask nothing"),
    Flag(
        "registration_token",
        ("--registration-token", "-r"),
        "REGISTRATION_TOKEN",
        str,
        "registration token of former times; a glrt- token is taken too",
    ),
    Flag(
        "template_config",
        ("--template-config",),
        "TEMPLATE_CONFIG_FILE",
        str,
        "file whose one runner fills gaps",
    ),
    Flag("leave_runner", ("--leave-runner",), "REGISTER_LEAVE_RUNNER", bool, "keep the runner if a later step fails"),
    Flag("tag_list", ("--tag-list",), "RUNNER_TAG_LIST", str, "tags, separated by commas"),
    Flag("run_untagged", ("--run-untagged",), "REGISTER_RUN_UNTAGGED", bool, "take jobs without tags"),
    Flag("locked", ("--locked",), "REGISTER_LOCKED", bool, "for one project only; true unless said otherwise"),
    Flag("access_level", ("--access-level",), "REGISTER_ACCESS_LEVEL", str, "not_protected or ref_protected"),
    Flag("maximum_timeout", ("--maximum-timeout",), "REGISTER_MAXIMUM_TIMEOUT", int, "longest job, in seconds"),
    Flag("paused", ("--paused",), "REGISTER_PAUSED", bool, "take no jobs yet"),
    Flag("maintenance_note", ("--maintenance-note",), "REGISTER_MAINTENANCE_NOTE", str, "note for administrators"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The values of FLAGS; None where nothing was said."""

    non_interactive: bool | None = None
    registration_token: str | None = None
    template_config: str | None = None
    leave_runner: bool | None = None
    tag_list: str | None = None
    run_untagged: bool | None = None
    locked: bool | None = None
    access_level: str | None = None
    maximum_timeout: int | None = None
    paused: bool | None = None
    maintenance_note: str | None = None

    def new_runner(self, description: str) -> NewRunner:
        """What GitLab is told of a runner that it makes."""
        return NewRunner(
            description=description,
            maintenance_note=self.maintenance_note or "",
            tag_list=self.tag_list or "",
            run_untagged=bool(self.run_untagged),
            locked=self.locked is not False,
            access_level=self.access_level or "",
            maximum_timeout=self.maximum_timeout or 0,
            paused=bool(self.paused),
        )

    def of_the_server(self) -> list[str]:
        """The flags that were given and are GitLab's own business for a runner that was created there."""
        default = NewRunner(run_untagged=False)
        given = self.new_runner("")
        names = ("tag_list", "run_untagged", "locked", "access_level", "maximum_timeout", "paused", "maintenance_note")
        return [f"--{name.replace('_', '-')}" for name in names if getattr(given, name) != getattr(default, name)]


def options() -> list[click.Parameter]:
    """FLAGS for click."""
    return [
        click.Option(
            [*flag.spellings, flag.name],
            type=go_bool if flag.kind is bool else click.STRING,
            metavar="[=true|false]" if flag.kind is bool else "VALUE",
            help=f"{flag.about}  [env: {flag.env}]",
        )
        for flag in FLAGS
    ]


def told(values: Mapping[str, Any]) -> Told:
    """Read the flags and the environment. Raises `FlagValueError`."""
    found = {flag.name: _value(flag, values.get(flag.name)) for flag in FLAGS}
    if (found["access_level"] or "") not in ACCESS_LEVELS:
        raise FlagValueError("The access level is neither not_protected nor ref_protected.")
    return Told(**found)


def _value(flag: Flag, given: Any) -> Any:
    if isinstance(given, bool):
        return given
    text = given or variable(flag.env)
    if not text:
        return None
    try:
        return parse_flag(text) if flag.kind is bool else flag.kind(text)
    except GivenError as error:
        raise FlagValueError(f"The value of {flag.env} {error}.") from None
    except ValueError:
        raise FlagValueError(f"The value of {flag.spellings[0]} is no whole number.") from None
