"""From the text of a config.toml to its models, with everything there is to say about it.

A configuration is used whole or not at all: any error and `parse_config` raises, so that a broken reload keeps what
ran before. What an older or newer version would have understood is a warning, with the line and the nearest name.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from runner.config.doubts import doubts
from runner.config.findings import ConfigError, Finding, Severity
from runner.config.former_cache import with_moved_keys
from runner.config.keys import FieldNames, nearest
from runner.config.model import MOST_LABELS, Config
from runner.config.positions import Path, place_of, positions
from runner.job.feature_flags import FLAGS
from runner.job.variables import expand_text

EXECUTOR = "kubernetes"
"""The one executor there is; entries with another are left out."""


def parse_config(
    text: str, *, file: str = "config.toml", environ: Mapping[str, str] = {}
) -> tuple[Config, tuple[Finding, ...]]:
    """Read a configuration; returns it with its warnings in the order of lines.

    `environ` fills `$VAR` in `url` and `token`, and nothing else, as the original does. Raises `ConfigError` with all
    findings if there is an error among them.
    """
    reading = read_config(text, file=file, environ=environ)
    if reading.config is None:
        raise ConfigError(reading.findings)
    return reading.config, reading.findings


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a text says: the configuration, what there is to tell of it, and the way back to the text."""

    config: Config | None
    """None if there is an error among the findings."""
    findings: tuple[Finding, ...]
    document: Mapping[str, Any]
    """The tables as TOML has them, with the keys as they are spelled."""
    spelled: Callable[[Path], Path]
    """Gives a path of the models' fields as the file spells it, as far as the file has it."""


def read_config(text: str, *, file: str = "config.toml", environ: Mapping[str, str] = {}) -> Reading:
    """Read a configuration with what is needed to say more about it. Raises `ConfigError` if the text is no TOML."""
    text = text.removeprefix("\ufeff")
    document = _document(text, file)
    report = _Report(text, file)
    names = FieldNames(report.warning)
    arranged, moved = with_moved_keys(document)
    for place in moved:
        report.warning(place, "former-key", "the key is of former times; write it in [runners.cache.s3]")
    values = names.translate(Config, arranged)
    kept = _keep_runners(values, names, report)
    for position, index in enumerate(kept):
        _prepare(values["runners"][position], index, names, report, environ)
    kept = _without_blank_tokens(values, kept, names, report)
    config: Config | None = None
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = _original(detail["loc"], kept)
            report.error(names.spelled(path), "invalid-value", _reason(detail, path, names, document))
    else:
        _check(config, kept, names, report, document)
    findings = report.findings()
    usable = None if any(finding.severity == "error" for finding in findings) else config
    return Reading(usable, findings, document, lambda path: names.spelled(_original(path, kept)))


class _Report:
    """Gathers what is to be told; looks up lines only if there is something."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._told: list[tuple[Severity, Path, str, str]] = []

    def warning(self, path: Path, rule: str, message: str) -> None:
        self._told.append(("warning", path, rule, message))

    def error(self, path: Path, rule: str, message: str) -> None:
        self._told.append(("error", path, rule, message))

    def drop_below(self, path: Path) -> None:
        """Forget what was told of a table that is left out."""
        self._told = [told for told in self._told if told[1][: len(path)] != path]

    def findings(self) -> tuple[Finding, ...]:
        places = positions(self._text) if self._told else {}
        findings = []
        for severity, path, rule, message in self._told:
            line, column = place_of(places, path)
            name = ".".join(map(str, path))
            findings.append(Finding(severity, self._file, line, name, message, column=column, rule=rule))
        return tuple(sorted(findings, key=lambda finding: finding.line))


_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


def _document(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        sentence = str(error)
    except RecursionError:
        sentence = "Tables or arrays are nested too deeply"
    place = _PLACE.search(sentence)
    line, column = _end(text)
    if place is None:
        column = 0
    elif place["line"]:
        line, column = int(place["line"]), int(place["column"])
    reason = sentence[: place.start()] if place else sentence
    # Raised out here: the text of the error above, as its context, would be all of the file in newer Pythons.
    what = reason + _quotation(text, line, column)
    raise ConfigError([Finding("error", file, line, "", what, column=column, rule="toml-syntax")])


def _end(text: str) -> tuple[int, int]:
    """Line and column behind the last character that is more than a blank."""
    lines = text.rstrip().split("\n")
    return len(lines), len(lines[-1]) + 1


_LONGEST_QUOTATION = 120
_SECRET_WORD = re.compile(r"token|secret|password|key|environment|credential", re.IGNORECASE)
_LOOKS_LIKE_KEY = re.compile(r"\s*[\[A-Za-z0-9_-]")


def _quotation(text: str, line: int, column: int) -> str:
    """The line with a mark under the column, as far as it shows no secret.

    The text is no TOML, so nobody knows what is a value in it. A line is shown only if it begins like a key or a table
    and outside of a long string, and only up to a word that announces a secret.
    """
    lines = text.split("\n")
    before = "\n".join(lines[: line - 1])
    shown = lines[line - 1].rstrip("\r").replace("\t", " ")[:_LONGEST_QUOTATION]
    if before.count('"""') % 2 or before.count("'''") % 2 or not _LOOKS_LIKE_KEY.match(shown):
        return ""
    if found := _SECRET_WORD.search(shown):
        shown = shown[: found.end()] + " ..."
    mark = "\n" + " " * (column - 1) + "^" if 0 < column <= len(shown) + 1 else ""
    return f"\n{shown}{mark}"


def _keep_runners(values: dict[str, Any], names: FieldNames, report: _Report) -> list[int]:
    """Leave out runners of other executors; the indexes of those that stay."""
    runners = values.get("runners")
    if not isinstance(runners, list):
        return []
    kept: list[int] = []
    for index, runner in enumerate(runners):
        executor = runner.get("executor", "") if isinstance(runner, dict) else EXECUTOR
        if executor == EXECUTOR or not isinstance(executor, str):
            kept.append(index)
            continue
        report.drop_below(names.spelled(("runners", index)))
        what = f"there is no executor {_quoted(executor)} here" if executor else "no executor is named"
        report.warning(
            names.spelled(("runners", index, "executor")),
            "other-executor",
            f'{what}; the runner is left out (this service has executor = "{EXECUTOR}")',
        )
    if runners and not kept:
        what = "none of the runners is for this service: it starts, and takes no jobs until one is added"
        report.warning(names.spelled(("runners",)), "no-runner-left", what)
    values["runners"] = [runners[index] for index in kept]
    return kept


def _without_blank_tokens(values: dict[str, Any], kept: list[int], names: FieldNames, report: _Report) -> list[int]:
    """Leave out runners whose token is empty, so that they do not stop the others; without others it is an error."""
    runners = values["runners"] if kept else []
    blank = [index for index, runner in zip(kept, runners, strict=True) if _has_blank_token(runner)]
    if not blank or len(blank) == len(kept):
        return kept
    for index in blank:
        report.drop_below(names.spelled(("runners", index)))
        what = "the token is empty, or the environment has no value for it; the runner is left out"
        report.warning(names.spelled(("runners", index, "token")), "blank-token", what)
    values["runners"] = [runner for runner in runners if not _has_blank_token(runner)]
    return [index for index in kept if index not in blank]


def _has_blank_token(runner: object) -> bool:
    return isinstance(runner, dict) and isinstance(token := runner.get("token"), str) and not token.strip()


_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?(?:/.*)?")


def _prepare(runner: object, index: int, names: FieldNames, report: _Report, environ: Mapping[str, str]) -> None:
    """Fill in the environment, and read a `url` as it was meant in former times."""
    if not isinstance(runner, dict):
        return
    for key in ("url", "token"):
        if isinstance(runner.get(key), str):
            runner[key] = expand_text(runner[key], lambda name: environ.get(name, ""))
    url = runner.get("url")
    if not isinstance(url, str):
        return
    place = names.spelled(("runners", index, "url"))
    if _HOST.fullmatch(url):
        runner["url"] = f"https://{url}"
        report.warning(place, "url-without-scheme", "the URL has no scheme; https:// is taken")
    if url.rstrip("/").endswith("/ci"):
        report.warning(place, "url-of-former-times", "the /ci at the end of the URL is of former times and is dropped")


def _original(loc: Path, kept: list[int]) -> Path:
    """The path of a field in the whole document, where the runners that were left out count too."""
    match loc:
        case ("runners", int(position), *rest):
            return ("runners", kept[position], *rest)
    return loc


_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "The key is missing",
        "string_type": "Input should be a string",
        "bool_type": "Input should be true or false",
        "int_type": "Input should be an integer",
        "float_type": "Input should be a number",
        "dict_type": "Input should be a table",
        "model_type": "Input should be a table",
        "datetime_type": "Input should be a date and time",
    }
)
_NOTHING = object()


def _reason(detail: ErrorDetails, path: Path, names: FieldNames, document: Mapping[str, Any]) -> str:
    """Say what is wrong with a value, and what was got unless it is secret."""
    value = _value_at(document, names.spelled(path))
    reason = _REASONS.get(detail["type"], detail["msg"])
    if detail["type"] == "tuple_type":
        reason = "Input should be an array" + (" of tables, as [[...]] makes it" if isinstance(value, dict) else "")
    if detail["type"] == "empty" and value:
        return f"{reason}: the environment has no value for it"
    return reason if value is _NOTHING or names.is_secret(path) else f"{reason} (got {_got(value)})"


def _with_value(sentence: str, path: Path, names: FieldNames, document: Mapping[str, Any]) -> str:
    value = _value_at(document, names.spelled(path))
    return f"{sentence} (got {_got(value)})" if isinstance(value, str) and not names.is_secret(path) else sentence


def _value_at(document: Mapping[str, Any], path: Path) -> object:
    value: Any = document
    try:
        for part in path:
            value = value[part]
    except (LookupError, TypeError):
        return _NOTHING
    return value


def _got(value: object) -> str:
    """A value as TOML shows it; of a table or an array only what it is, for anything may be inside."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return _quoted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    """A text in quotes, without the credentials of a URL, and not longer than a line bears."""
    text = re.sub(r"//[^/@]*@", "//...@", text)
    return json.dumps(text if len(text) <= 60 else f"{text[:60]}...", ensure_ascii=False)


def _check(config: Config, kept: list[int], names: FieldNames, report: _Report, document: Mapping[str, Any]) -> None:
    """What the models alone cannot see: values that will not work, flags that nobody knows, labels of two tables."""
    for path, rule, sentence in doubts(config):
        field = _original(path, kept)
        report.warning(names.spelled(field), rule, _with_value(sentence, field, names, document))
    for index, runner in zip(kept, config.runners, strict=True):
        for name in runner.feature_flags:
            if name not in FLAGS:
                place = names.spelled(("runners", index, "feature_flags", name))
                what = "the feature flag is unknown and ignored" + nearest(name, FLAGS)
                report.warning(place, "unknown-feature-flag", what)
        if len({**config.labels, **runner.labels}) > MOST_LABELS:
            place = names.spelled(("runners", index, "labels"))
            what = f"A runner should have at most {MOST_LABELS} labels, the global ones included"
            report.error(place, "too-many-labels", what)
