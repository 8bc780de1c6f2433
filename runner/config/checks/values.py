"""Values that are not taken as they are written, and words that nobody reads."""

from collections.abc import Iterator
from typing import Final

from runner.config.base import Table
from runner.config.checks.rules import Problem, Rule, Whole, quoted
from runner.config.keys import nested_table
from runner.config.model import RunnerConfig
from runner.config.positions import Path
from runner.config.values import NANOSECONDS

_LOG_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal", "panic", "")
_LOG_FORMATS = ("runner", "text", "json", "")
_OTHER_EXECUTORS = frozenset(
    {
        "FF_NETWORK_PER_BUILD",
        "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR",
        "FF_USE_INIT_WITH_DOCKER_EXECUTOR",
        "FF_USE_NATIVE_CONTAINER_STOP",
        "FF_USE_DOCKER_AUTOSCALER_DIAL_STDIO",
        "FF_USE_FLEETING_ACQUIRE_HEARTBEATS",
        "FF_USE_WINDOWS_LEGACY_PROCESS_STRATEGY",
        "FF_USE_WINDOWS_JOB_OBJECT",
        "FF_DISABLE_POWERSHELL_STDIN",
    }
)


def _value_replaced(whole: Whole) -> Iterator[Problem]:
    """A number is not taken as it is written."""
    for path, value in _set_numbers(whole.config, ()):
        written = whole.written(path)
        # What `register` writes as 0 is the default, and not worth a word.
        if isinstance(written, bool) or not isinstance(written, int | float) or not written or written == value:
            continue
        if abs(value - written * NANOSECONDS) > NANOSECONDS:
            yield Problem(path, f"{written} is out of range, and {value:g} is taken instead", f"write {value:g}")


def _duration_in_nanoseconds(whole: Whole) -> Iterator[Problem]:
    """A duration without a unit is one of nanoseconds."""
    for path, value in _set_numbers(whole.config, ()):
        written = whole.written(path)
        if isinstance(written, bool) or not isinstance(written, int) or not written or written == value:
            continue
        if abs(value - written * NANOSECONDS) <= NANOSECONDS and value < 1:
            yield Problem(
                path,
                f"a duration without a unit is one of nanoseconds: {written} is no time at all",
                f'write the unit, as in "{written}s" or "{written}m"',
            )


def _set_numbers(table: Table, path: Path) -> Iterator[tuple[Path, float]]:
    """Every number that the file sets, with its path."""
    for name in table.model_fields_set:
        value = getattr(table, name)
        if isinstance(value, Table):
            yield from _set_numbers(value, (*path, name))
        elif isinstance(value, tuple) and nested_table(type(table).model_fields[name]):
            for index, entry in enumerate(value):
                yield from _set_numbers(entry, (*path, name, index))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, name), value


def _logging(whole: Whole) -> Iterator[Problem]:
    """A level or a format of the log is none."""
    known = {"log_level": _LOG_LEVELS, "log_format": _LOG_FORMATS}
    for key, words in known.items():
        word = getattr(whole.config, key)
        if word not in words:
            yield Problem(
                (key,),
                f"{quoted(word)} is no {key.replace('_', ' ')}, and the default is taken",
                f"take one of {', '.join(filter(None, words))}",
            )


def _flag_of_another_executor(runner: RunnerConfig) -> Iterator[Problem]:
    """A feature flag belongs to another executor."""
    for name in runner.feature_flags:
        if name in _OTHER_EXECUTORS:
            yield Problem(
                ("feature_flags", name),
                "the feature flag is one of other executors and does nothing here",
                "take it away",
            )


RULES: Final[tuple[Rule[Whole], ...]] = (
    Rule("value-replaced", "warning", _value_replaced),
    Rule("duration-in-nanoseconds", "warning", _duration_in_nanoseconds),
    Rule("log-words", "warning", _logging),
)
"""All rules of this subject that look at the whole."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("flag-of-another-executor", "warning", _flag_of_another_executor),
)
"""Those that look at `[[runners]]`."""
