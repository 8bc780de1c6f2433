"""`[runners.cache]` as it was written before version 12: the store's keys in that table itself.

Law: pure; what is given is left as it is, and what is set in `[runners.cache.s3]` too counts as it stands there.
"""

from collections.abc import Mapping
from typing import Any

from runner.config.positions import Path

_MOVED = {"serveraddress", "accesskey", "secretkey", "bucketname", "bucketlocation", "insecure"}


def with_moved_keys(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """The document with these keys in `[runners.cache.s3]`, and where each of them stands."""
    moved: list[Path] = []
    result = dict(document)
    for key, runners in document.items():
        if key.casefold() == "runners" and isinstance(runners, list):
            result[key] = [_runner(runner, (key, index), moved) for index, runner in enumerate(runners)]
    return result, moved


def _runner(runner: object, path: Path, moved: list[Path]) -> object:
    if not isinstance(runner, dict):
        return runner
    return {
        key: _cache(value, (*path, key), moved) if key.casefold() == "cache" and isinstance(value, dict) else value
        for key, value in runner.items()
    }


def _cache(cache: dict[str, Any], path: Path, moved: list[Path]) -> dict[str, Any]:
    old = {key: value for key, value in cache.items() if key.casefold() in _MOVED}
    name = next((key for key in cache if key.casefold() == "s3"), "s3")
    table = cache.get(name, {})
    if not old or not isinstance(table, dict):
        return cache
    moved += [(*path, key) for key in old]
    known = {key.casefold() for key in table}
    kept = {key: value for key, value in cache.items() if key not in old}
    return {**kept, name: {**{key: value for key, value in old.items() if key.casefold() not in known}, **table}}
