"""The flags and environment variables of one `[[runners]]` entry, for `register` and `run-single`.

Both come from the configuration's models by way of `runner.config.inputs`: a key that the models gain is a flag here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from runner.cli.go_flags import go_bool
from runner.cli.lines import say
from runner.config.findings import ConfigError
from runner.config.given import GivenError, filled, given_value, is_flag, place, takes_many
from runner.config.inputs import Input, inputs
from runner.config.load import parse_config
from runner.config.model import RunnerConfig

__all__ = ["FlagValueError", "checked_entry", "entry_of", "runner_options", "template_entry", "variable"]

ALSO = {
    "url": ["-u"],
    "token": ["-t"],
    "name": ["--description"],
    "cache.Path": ["--cache-s3-cache-path"],
    "cache.Shared": ["--cache-cache-shared"],
}
"""Other spellings of a flag; those of the cache are of versions before 12."""


class FlagValueError(Exception):
    """A flag, a variable or a template with a value that no runner can have; the message is a sentence."""


def variable(name: str) -> str:
    """An environment variable; one that is empty is as good as none."""
    return os.environ.get(name, "")


def runner_options() -> list[click.Parameter]:
    """A click option for each key that has a flag; their parameters are named `key_0`, `key_1` ..."""
    return [_option(number, key) for number, key in enumerate(inputs()) if key.flag]


def entry_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entry that flags, and where they are silent the environment, describe. Raises `FlagValueError`.

    A key of former times is written as the one that replaced it, unless that was given too.
    """
    entry: dict[str, Any] = {}
    keys = [(number, key) for number, key in enumerate(inputs())]
    for number, key in sorted(keys, key=lambda pair: bool(pair[1].today)):
        texts, source = _texts(key, values.get(f"key_{number}"))
        if not texts:
            continue
        try:
            value = given_value(key, texts)
        except GivenError as error:
            raise FlagValueError(f"The value of {source} {error}.") from None
        if key.today:
            say("warning", f"{source} is a former name of {' and '.join(key.today)}")
        for name in key.today or key.path[-1:]:
            place(entry, (*key.path[:-1], name), value, replace=not key.today)
    return entry


def checked_entry(entry: Mapping[str, Any], *, warn: bool = True) -> RunnerConfig:
    """The runner that an entry gives, with its variables filled in. Raises `FlagValueError` with the first error."""
    from runner.config.edit import append_runner

    try:
        config, warnings = parse_config(append_runner("concurrent = 1\n", entry), environ=os.environ)
    except ConfigError as error:
        finding = next(finding for finding in error.findings if finding.severity == "error")
        raise FlagValueError(f"{finding.path.removeprefix('runners.0.')}: {finding.message}.") from None
    if not config.runners:
        raise FlagValueError(f"There is no executor {entry.get('executor')!r} here: this service has kubernetes.")
    for finding in warnings if warn else ():
        say("warning", f"{finding.path.removeprefix('runners.0.')}: {finding.message}")
    return config.runners[0]


def template_entry(entry: Mapping[str, Any], text: str, file: str) -> dict[str, Any]:
    """An entry filled up from the one runner of a template, whose token counts for nothing."""
    from runner.config.edit import EditError, runner_tables

    try:
        runners = runner_tables(text)
    except EditError as error:
        raise FlagValueError(f"The template {file} cannot be used: {error}") from None
    if len(runners) != 1:
        raise FlagValueError(f"The template {file} has {len(runners)} [[runners]] and must have exactly one.")
    template = {key: value for key, value in runners[0].items() if key.casefold() not in _NOT_FROM_TEMPLATES}
    return filled(entry, template)


_NOT_FROM_TEMPLATES = {"token", "id", "token_obtained_at", "token_expires_at", "referees"} | set(
    RunnerConfig.KNOWN_BUT_UNUSED
)


def _option(number: int, key: Input) -> click.Option:
    many = takes_many(key)
    about = key.field.description or ""
    env = f"  [env: {key.env}]" if key.env else ""
    return click.Option(
        [f"--{key.flag}", *ALSO.get(".".join(key.path), []), f"key_{number}"],
        type=go_bool if is_flag(key) else click.STRING,
        multiple=many,
        metavar="[=true|false]" if is_flag(key) else "VALUE",
        help=f"{about}{env}",
    )


def _texts(key: Input, flag: Any) -> tuple[list[str], str]:
    """What was said of a key, and where; nothing when it was not."""
    if flag is not None and flag != ():
        given = flag if isinstance(flag, tuple) else (flag,)
        texts = [str(text).lower() if isinstance(text, bool) else str(text) for text in given]
        return ([] if texts == [""] else texts), f"--{key.flag}"
    text = variable(key.env) if key.env else ""
    if not text and key.former_env and (text := variable(key.former_env)):
        say("warning", f"{key.former_env} is a former name of {key.env}")
        return [text], key.former_env
    return ([text] if text else []), key.env
