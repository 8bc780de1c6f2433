"""How caches are named in their bucket."""

from __future__ import annotations

from typing import Any

import pytest

from runner.config.model import RunnerConfig
from runner.store.objects import object_name


def name(key: str, *, hashed: bool = False, **cache: Any) -> str:
    """The object's name for project 7."""
    runner = RunnerConfig.model_validate({"url": "https://g", "token": "glrt-12345678xyz", "cache": cache})
    return object_name(runner, project_id=7, key=key, hashed=hashed)


@pytest.mark.parametrize(
    ("cache", "hashed", "expected"),
    [
        ({}, False, "runner/12345678x/project/7/ab/c"),
        ({"Shared": True}, False, "project/7/ab/c"),
        ({"Path": "/ci//x/"}, False, "ci/x/runner/12345678x/project/7/ab/c"),
        ({"Path": "p", "Shared": True}, True, "p/project/7/ab/ab/c"),
    ],
    ids=["plain", "shared", "path", "hashed"],
)
def test_name_when_the_configuration_shapes_it(cache: dict[str, Any], hashed: bool, expected: str) -> None:
    """GitLab Runner's names, so that both find the same caches."""
    assert name("ab/c", hashed=hashed, **cache) == expected


@pytest.mark.parametrize("key", ["", ".", "..", "../8/k", "a/../../8/k"])
def test_name_when_a_key_leaves_the_project(key: str) -> None:
    """There is none."""
    assert name(key) == ""
