"""The manager's own log in its three forms."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from runner.manager.logging import change_logging, render_like_runner, setup_logging, tell_fault, toggle_debug
from runner.terminal.addresses import split_address


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"level": "info", "event": "job received", "job": 7, "a": "b", "time": "t"},
            "job received" + " " * 38 + "\x1b[0;m  a\x1b[0;m=b job\x1b[0;m=7",
        ),
        ({"level": "error", "event": "bad"}, "\x1b[31;1mERROR: bad" + " " * 40 + "\x1b[0;m "),
        (
            {"level": "warning", "event": "odd", "exception": "Trace"},
            "\x1b[0;33mWARNING: odd" + " " * 38 + "\x1b[0;m \nTrace",
        ),
        (
            {
                "level": "info",
                "event": "a\x1b[2Jb",
                "job": "x\n\x1b[31;1mERROR: \x9b\u2028é",
                "exception": "T\r\n x\x1bc",
            },
            "a\\x1b[2Jb" + " " * 41 + "\x1b[0;m  job\x1b[0;m=x\n    \\x1b[31;1mERROR: \\x9b\\u2028é\nT\n x\\x1bc",
        ),
    ],
    ids=["info", "error", "exception", "foreign text"],
)
def test_render_like_runner(event: dict[str, object], line: str) -> None:
    """Colour, prefix, padded message, fields in alphabetical order, and a traceback below."""
    assert render_like_runner(None, "", event) == line


def test_setup_logging_when_the_form_is_json() -> None:
    """One object a line, with time, level and msg; what is below the level is not written."""
    stream = io.StringIO()
    setup_logging(level="info", form="json", stream=stream)
    log = structlog.get_logger()
    log.debug("not seen")
    log.info("job received", job=7)
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told.pop("time").endswith("Z")
    assert told == {"level": "info", "msg": "job received", "job": 7}


def test_setup_logging_when_the_form_is_text() -> None:
    """time, level and msg, then the fields by name; what is more than a word is quoted, as the original quotes it."""
    stream = io.StringIO()
    setup_logging(level="debug", form="text", stream=stream)
    log = structlog.get_logger()
    log.debug("job received", job=7, b='say "a"\nb', a="x/y.z-1@+^", url="https://x", none="", ok=True)
    log.critical("bad")
    first, second = stream.getvalue().splitlines()
    time, _, rest = first.partition(" ")
    assert re.fullmatch(r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', time)
    assert rest == (r'level=debug msg="job received" a=x/y.z-1@+^ b="say \"a\"\nb" job=7 none= ok=true url="https://x"')
    assert second.endswith(" level=fatal msg=bad")


def test_setup_logging_when_the_line_is_the_last_one() -> None:
    """What the process ends with has the level that the original gives it, in JSON too; keys are sorted."""
    stream = io.StringIO()
    setup_logging(level="debug", form="json", stream=stream)
    structlog.get_logger().critical("bad", z=1, a=2)
    told = json.loads(stream.getvalue())
    assert (told["level"], list(told)) == ("fatal", ["a", "level", "msg", "time", "z"])


def test_setup_logging_when_an_error_is_told() -> None:
    """A traceback shows code, never the values of local variables."""
    stream = io.StringIO()
    setup_logging(level="debug", form="runner", stream=stream)
    token = "glrt-" + "secret"
    try:
        int(token.upper())
    except ValueError:
        structlog.get_logger().exception("broke")
    assert "int(token.upper())" in stream.getvalue()
    assert "glrt-secret" not in stream.getvalue()


def test_change_logging_when_a_logger_was_bound_before() -> None:
    """Loggers of running jobs follow a new level and form as well."""
    stream = io.StringIO()
    setup_logging(level="info", form="runner", stream=stream)
    bound = structlog.get_logger().bind(job=7)
    bound.debug("not seen")
    change_logging(level="debug", form="json")
    bound.debug("seen")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["msg"] == "seen"


def test_toggle_debug_when_the_level_is_configured() -> None:
    """Everything is written, then what the configuration says; a new configuration ends it too."""
    stream = io.StringIO()
    setup_logging(level="error", form="json", stream=stream)
    log = structlog.get_logger()
    for debug in (True, False, True):
        assert toggle_debug() is debug
        log.info("told" if debug else "not told")
    change_logging(level="error", form="json")
    log.info("not told")
    assert [json.loads(line)["msg"] for line in stream.getvalue().splitlines()] == ["told", "told"]


def test_setup_logging_when_lines_are_counted() -> None:
    """Each line that is written is told with its level, and no other."""
    told: list[str] = []
    setup_logging(level="warn", form="json", stream=io.StringIO(), on_line=told.append)
    log = structlog.get_logger()
    log.info("not written")
    log.warning("written")
    log.error("written")
    assert told == ["warning", "error"]


def test_tell_fault_when_its_words_hold_a_secret() -> None:
    """The place is told, the secret is not."""
    stream = io.StringIO()
    setup_logging(level="info", form="runner", stream=stream)
    try:
        int("a secret value")
    except ValueError as error:
        tell_fault(structlog.get_logger(), "broke", error, secrets=(b"secret",))
    told = stream.getvalue()
    assert "test_logging.py" in told
    assert "invalid literal for int() with base 10: 'a [MASKED] value'" in told


def failed(name: str, say: Callable[[], object]) -> logging.LogRecord:
    """A library's line about an error."""
    try:
        say()
    except ValueError:
        return logging.LogRecord(name, logging.ERROR, "x.py", 1, "it went wrong\nwith %s", ("much",), sys.exc_info())
    raise AssertionError


@pytest.mark.parametrize("level", ["info", "debug"])
def test_setup_logging_when_a_library_tells_of_a_stranger(level: str) -> None:
    """What strangers send is worth a line at level debug, and none of its words."""
    stream = io.StringIO()
    setup_logging(level=level, form="json", stream=stream)
    assert logging.lastResort
    logging.lastResort.handle(failed("aiohttp.server", lambda: int("glrt-sent")))
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in told:
        line.pop("time")
    expected = {"level": "debug", "msg": "it went wrong", "logger": "aiohttp.server", "fault": "ValueError"}
    assert told == ([expected] if level == "debug" else [])


def test_setup_logging_when_a_library_tells_of_a_fault_of_ours() -> None:
    """It has its level, and the place where it was."""
    stream = io.StringIO()
    setup_logging(level="info", form="json", stream=stream)
    assert logging.lastResort
    logging.lastResort.handle(failed("asyncio", lambda: split_address("glrt-" + "secret:x/")))
    logging.lastResort.handle(logging.LogRecord("asyncio", logging.WARNING, "x.py", 1, "slow", (), None))
    fault, slow = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (fault["level"], fault["fault"], slow["level"], slow["msg"]) == ("error", "ValueError", "warning", "slow")
    assert "in split_address" in fault["exception"]
    assert "glrt-secret" not in stream.getvalue()
