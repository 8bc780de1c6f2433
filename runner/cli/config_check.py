"""`runner config check`: everything that is wrong or doubtful in a config.toml, with its place and the way out.

Nothing heavy is imported here: editors and pipelines run this often.
"""

from __future__ import annotations

import gc
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from runner.manager.config_path import default_config_path

EXIT_CODES = {"error": 2, "warning": 1, "note": 0}
"""The worst finding decides."""
FORMATS = ("text", "json", "sarif", "junit")

_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
_LARGEST_BYTES = 16 << 20


class UnreadableError(click.ClickException):
    """A configuration that cannot be read at all."""

    exit_code = 2


@click.command("check")
@click.argument("file", required=False, type=click.Path(dir_okay=True))
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="How to tell it.")
@click.option("--files/--no-files", default=True, help="Look at the files that FILE names, such as certificates.")
@click.option("--list-rules", is_flag=True, help="List all kinds of findings, and check nothing.")
def command(file: str | None, form: str, *, files: bool, list_rules: bool) -> int:
    """Tell everything that is wrong or doubtful in a config.toml.

    FILE is by default the one that `runner run` would take; `-` reads standard input.

    \b
    Examples:  runner config check
               runner config check --format sarif config.toml > config.sarif
               kubectl get configmap runner -o jsonpath='{.data.config\\.toml}' | runner config check -

    \b
    Exit codes:  0  nothing, or notes alone
                 1  warnings: it works, though perhaps not as it was meant
                 2  errors: the runner does not start with it, or jobs fail; or there is no such file
    """
    if list_rules:
        return _list_rules()
    with _quick_imports():
        return _check(file, form, files=files)


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Spare what imports cost and a check does not need: a sixth of the whole time.

    Nothing of what they make is garbage, and pydantic's plugins, which it looks for in every installed package, have
    no part in a configuration.
    """
    before = os.environ.get(_PLUGINS)
    os.environ[_PLUGINS] = "__all__"
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if before is None:
            del os.environ[_PLUGINS]
        else:
            os.environ[_PLUGINS] = before


def check_file(path: Path) -> int:
    """Check one file with all there is to look at, tell it as text, and give its exit code. For other commands."""
    with _quick_imports():
        return _check(str(path), "text", files=True)


def _list_rules() -> int:
    from runner.config.checks.check import rule_sentences, rule_severities

    severities = rule_severities()
    for rule, sentence in sorted(rule_sentences().items()):
        click.echo(f"{rule:34} {severities[rule]:8} {sentence}")
    return 0


def _check(file: str | None, form: str, *, files: bool) -> int:
    from runner.cli.config_report import report
    from runner.config.checks.check import check_config
    from runner.config.checks.rules import Surroundings

    path = None if file == "-" else Path(file or os.environ.get("CONFIG_FILE") or default_config_path())
    name = "<stdin>" if path is None else str(path)
    text, mode = _read(path)
    surroundings = Surroundings(mode=mode, read_text=_read_text if files else None, now=datetime.now(UTC))
    findings = check_config(text, file=name, environ=os.environ, surroundings=surroundings)
    colour = form == "text" and _may_colour()
    click.echo(report(form, findings, text=text, file=name, colour=colour), color=colour, nl=False)
    return max((EXIT_CODES[finding.severity] for finding in findings), default=0)


def _read(path: Path | None) -> tuple[str, int | None]:
    """The text, and the permission bits of a file."""
    name = "standard input" if path is None else str(path)
    try:
        if path is None:
            return _decoded(sys.stdin.buffer.read(_LARGEST_BYTES + 1), name), None
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"{name}: {error.strerror}. Name a config.toml, or - for standard input.") from None
    return _decoded(data, name), stat.S_IMODE(mode) if stat.S_ISREG(mode) else None


def _decoded(data: bytes, name: str) -> str:
    if len(data) > _LARGEST_BYTES:
        raise UnreadableError(f"{name}: larger than {_LARGEST_BYTES >> 20} MiB. That is no config.toml.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{name}: not UTF-8 at byte {error.start}. TOML files are.") from None


def _read_text(name: str) -> str:
    """The text of a file that the configuration names; one that is no file is not read."""
    path = Path(name)
    if not path.is_file() and path.exists():
        raise ValueError(f"{name} is no file")
    with path.open("rb") as file:
        return file.read(_LARGEST_BYTES).decode("utf-8")


def _may_colour() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")
