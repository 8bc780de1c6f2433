"""How far a transfer is, in the original's words."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.helper.transfer.meter import Meter, format_bytes, format_rate
from tests.helper.commands.conftest import Answer, Run, Server


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 B"),
        (999, "999 B"),
        (1100, "1.10 KB"),
        (1110000, "1.11 MB"),
        (1111000000, "1.11 GB"),
        (1111110000000000000, "1.11 EB"),
    ],
)
def test_bytes_are_in_powers_of_thousand(count: int, text: str) -> None:
    """With two digits behind the point."""
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("count", "seconds", "text"), [(10, 1, "10 B/s"), (10, 2, "5 B/s"), (10, 0, "10.0 GB/s"), (1300, 1, "1.3 KB/s")]
)
def test_rates_have_one_digit(count: int, seconds: float, text: str) -> None:
    """And no time at all is a nanosecond."""
    assert format_rate(count, seconds) == text


def _clock(*moments: float) -> Callable[[], float]:
    left = list(moments)
    return lambda: left.pop(0)


def test_a_meter_tells_every_so_often_and_at_the_end() -> None:
    """Each line over the one before, the last one ended; the total where it is known."""
    said: list[str] = []
    meter = Meter("Uploading cache", interval=2.0, total=4000, write=said.append, clock=_clock(0, 1, 2, 3, 4))
    for _ in range(3):
        meter.add(1000)
    meter.finish()
    blanks = " " * 16
    assert said == [
        f"\rUploading cache 2.00 KB/4.00 KB (1.0 KB/s){blanks}",
        f"\rUploading cache 3.00 KB/4.00 KB (750 B/s){blanks}\n",
    ]


@pytest.mark.parametrize("interval", [0.0, 0.5])
def test_a_meter_below_a_second_is_silent(interval: float) -> None:
    """As in the original."""
    said: list[str] = []
    meter = Meter("x", interval=interval, write=said.append, clock=_clock(0, 9, 10))
    meter.add(1)
    meter.finish()
    assert said == []


def _zip() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a", "A")
    return target.getvalue()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("artifacts-uploader", "--token", "t", "--id", "7", "--path", "f"), "\rUploading artifacts 1"),
        (("artifacts-downloader", "--token", "t", "--id", "7"), f"\rDownloading artifacts {len(_zip())} B/"),
        (("cache-archiver", "--file", "c/cache.zip", "--path", "f"), "\rUploading cache 1"),
        (("cache-extractor", "--file", "c/cache.zip"), f"\rDownloading cache {len(_zip())} B/{len(_zip())} B ("),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_each_transfer_has_a_meter(run: Run, server: Server, command: tuple[str, ...], words: str) -> None:
    """Asked for by a flag, or by the variable of its name."""
    Path("f").write_text("f")
    server.answers = [Answer(201 if "uploader" in command[0] else 200, _zip())] * 2
    code, said = run(*command, "--url", server.url, "--transfer-meter-frequency", "1h")
    assert code == 0, said
    assert words in said
    assert run(*command, "--url", server.url)[1].count("\r") == 0
