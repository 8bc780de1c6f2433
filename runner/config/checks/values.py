"""Values that are not taken as they are written, and words that nobody reads."""

from collections.abc import Iterator
from typing import Final

from runner.config.base import Table
from runner.config.checks.rules import Problem, Rule, Whole
from runner.config.keys import nested_table
from runner.config.model import RunnerConfig
from runner.config.positions import Path
from runner.config.values import NANOSECONDS

_PLAIN_KEYS = ("namespace", "image", "privileged")
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


def _flag_of_another_executor(runner: RunnerConfig) -> Iterator[Problem]:
    """A feature flag belongs to another executor."""
    for name in runner.feature_flags:
        if name in _OTHER_EXECUTORS:
            yield Problem(
                ("feature_flags", name),
                "the feature flag is one of other executors and does nothing here",
                "take it away",
            )


def _key_among_texts(runner: RunnerConfig) -> Iterator[Problem]:
    """A key of `[runners.kubernetes]` stands in a table of labels, where it is a label."""
    kubernetes = runner.kubernetes
    for table in ("node_selector", "pod_labels", "pod_annotations", "node_tolerations"):
        for key in getattr(kubernetes, table):
            if key in _PLAIN_KEYS or ("_" in key and key in type(kubernetes).model_fields):
                yield Problem(
                    ("kubernetes", table, key),
                    f"{key} is a key of [runners.kubernetes], and here it is only one of {table}",
                    f"move it above [runners.kubernetes.{table}]",
                )


RULES: Final[tuple[Rule[Whole], ...]] = (
    Rule("value-replaced", "warning", _value_replaced),
    Rule("duration-in-nanoseconds", "warning", _duration_in_nanoseconds),
)
"""All rules of this subject that look at the whole."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("key-among-texts", "warning", _key_among_texts),
    Rule("flag-of-another-executor", "warning", _flag_of_another_executor),
)
"""Those that look at `[[runners]]`."""
