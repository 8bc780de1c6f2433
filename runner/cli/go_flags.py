"""Flags as the original's command line reads them, so that scripts written for it need no change.

`--flag value` and `--flag=value`, one dash or two; a flag of true or false takes a value only behind `=`. What is wrong
with the command line ends it with 1. Empty environment variables are as good as none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from runner.cli.lines import say
from runner.manager.config_path import default_config_path


class FlagError(click.UsageError):
    """A command line that cannot be followed."""

    exit_code = 1


class GoCommand(click.Command):
    """A click command with the original's flag syntax."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Bring the arguments into click's form, and leave out words that are no flags."""
        try:
            flags, words = _normalized(self._known(ctx), args)
            if words:
                say("warning", f"Ignored, for they are no flags: {' '.join(words)}")
            return super().parse_args(ctx, flags)
        except click.UsageError as error:
            raise FlagError(error.format_message(), ctx) from None

    def _known(self, ctx: click.Context) -> dict[str, bool]:
        """Each flag with its dashes, and whether it is one of true or false."""
        known = {}
        for parameter in self.get_params(ctx):
            for name in parameter.opts:
                known[name] = isinstance(parameter, click.Option) and (parameter.is_flag or _is_bool(parameter))
        return known


def bool_flag(*names: str, help: str, default: bool | None = None) -> Callable[[Any], Any]:
    """A flag that is true when it is given, or says so behind `=`."""
    return click.option(*names, type=go_bool, default=default, metavar="[=true|false]", help=help)


def config_flag() -> Callable[[Any], Any]:
    """`--config`, as every command has it; the value is a path."""
    return click.option("-c", "--config", type=Path, metavar="FILE", help="Configuration file.  [env: CONFIG_FILE]")


def config_path(given: Path | None) -> Path:
    """The configuration to work on: the flag's, CONFIG_FILE's, or where the original keeps it."""
    return given or Path(os.environ.get("CONFIG_FILE") or default_config_path())


def go_bool(value: str | bool) -> bool:
    """Read true or false in Go's spellings; a type for click."""
    if isinstance(value, bool):
        return value
    if value not in _BOOLEANS:
        raise click.BadParameter("it is neither true nor false.")
    return _BOOLEANS[value]


_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def _is_bool(option: click.Option) -> bool:
    return getattr(option.type, "func", None) is go_bool


def _normalized(known: dict[str, bool], args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags as `--flag=value`, click's help flags as they are, and the words that belong to no flag."""
    flags: list[str] = []
    words: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            words += rest
            break
        if not arg.startswith("-") or arg == "-":
            words.append(arg)
            continue
        name, equals, value = arg.partition("=")
        name = _spelled(name, known)
        if name in {"-h", "--help"}:
            flags.append(name)
            continue
        if name not in known:
            raise FlagError(f"There is no flag {name}.")
        if not equals:
            value = "true" if known[name] else _next(rest, name)
        flags += [f"{name}={value}"] if name.startswith("--") else [name, value]
    return flags, words


def _spelled(name: str, known: dict[str, bool]) -> str:
    """A flag with the dashes that it is known by."""
    if name in known:
        return name
    bare = name.lstrip("-")
    return next((spelled for spelled in (f"--{bare}", f"-{bare}") if spelled in known), name)


def _next(rest: Any, name: str) -> str:
    value = next(rest, None)
    if value is None:
        raise FlagError(f"The flag {name} needs a value.")
    return str(value)
