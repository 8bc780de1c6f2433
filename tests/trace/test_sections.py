"""The runner's own lines look as GitLab's viewer expects them."""

import pytest

from runner.trace import sections

LINES = [
    (sections.plain("Using x"), b"\x1b[0KUsing x\x1b[0;m\n"),
    (sections.green("Job succeeded"), b"\x1b[32;1mJob succeeded\x1b[0;m\n"),
    (sections.warning("late"), b"\x1b[0;33mWARNING: late\x1b[0;m\n"),
    (sections.error("Job failed: x"), b"\x1b[31;1mERROR: Job failed: x\x1b[0;m\n"),
    (sections.title("Preparing environment"), b"\x1b[0K\x1b[36;1mPreparing environment\x1b[0;m\x1b[0;m\n"),
    (sections.section_start("get_sources", 1767323045.9), b"section_start:1767323045:get_sources\r\x1b[0K"),
    (sections.section_end("get_sources", 1767323046.0), b"section_end:1767323046:get_sources\r\x1b[0K"),
    (sections.plain("caf\u00e9 \udcff"), b"\x1b[0Kcaf\xc3\xa9 \xff\x1b[0;m\n"),
    (sections.plain(""), b"\x1b[0K\x1b[0;m\n"),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_line_has_its_colours(line: bytes, expected: bytes) -> None:
    """Each kind of line is these bytes."""
    assert line == expected
