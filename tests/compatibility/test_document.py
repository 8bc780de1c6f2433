"""docs/compatibility.md is true: every test that it names is there, and none of the tables' rows is missing in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.collected import collected
from tests.documents import ROOT

PAGE = ROOT / "docs" / "compatibility.md"
UPSTREAM = Path(__file__).parent / "upstream.txt"
_SPAN = re.compile(r"`((?:tests/[\w/]+\.py)?(?:::[^`]+)?)`")
_FILE = re.compile(r"^In `(tests/[\w/]+\.py)`\.$")


def named() -> list[str]:
    """Every test and file that the page names, in full."""
    found: list[str] = []
    file = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            file = ""
        elif place := _FILE.match(line):
            file = place[1]
        found += [f"{file}{name}" if name.startswith("::") else name for name in _SPAN.findall(line) if name]
    return found


def test_every_test_of_the_original_is_on_the_page() -> None:
    """`upstream.txt` has the names of its integration tests and of its main tables."""
    page = PAGE.read_text(encoding="utf-8")
    names = UPSTREAM.read_text(encoding="utf-8").split()
    assert len(names) > 90
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


@pytest.mark.slow
def test_every_test_that_the_page_names_is_there() -> None:
    """By its file, its name and, where it has one, its case; and each case of `tests/compatibility/` has its row."""
    names = [name for name in named() if "::" in name]
    assert len(names) > 250
    tests = collected({name.partition("::")[0] for name in names})
    known = tests | {test.partition("[")[0] for test in tests}
    assert [name for name in names if name not in known] == []
    ours = {test for test in tests if test.startswith("tests/compatibility/") and "dry_run" not in test}
    assert sorted(test for test in ours if test not in names) == []


def test_every_file_that_the_page_names_is_there() -> None:
    """A file stands for all of its tests."""
    files = {name.partition("::")[0] for name in named()}
    assert [file for file in sorted(files) if not Path(ROOT / file).is_file()] == []
