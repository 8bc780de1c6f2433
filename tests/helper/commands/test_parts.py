"""A file in parts: how it is cut, and what becomes of the others when one part fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.helper.archives.entries import CHUNK_BYTES
from runner.helper.console import Console
from runner.helper.transfer.http import Body, TransferError
from runner.helper.transfer.meter import Meter, format_bytes
from runner.helper.transfer.parts import Part, Sending, cut, send_parts

MIB = 2**20


@pytest.mark.parametrize(
    ("size", "part_bytes", "most", "parts"),
    [
        pytest.param(0, 5, 10, [], id="an empty file"),
        pytest.param(5, 5, 10, [Part(1, 0, 5)], id="one part"),
        pytest.param(12, 5, 10, [Part(1, 0, 5), Part(2, 5, 5), Part(3, 10, 2)], id="the last one is shorter"),
        pytest.param(
            6 * MIB, MIB, 3, [Part(1, 0, 2 * MIB), Part(2, 2 * MIB, 2 * MIB), Part(3, 4 * MIB, 2 * MIB)], id="too many"
        ),
        pytest.param(
            5 * MIB, MIB, 2, [Part(1, 0, 3 * MIB), Part(2, 3 * MIB, 2 * MIB)], id="too many, in whole mebibytes"
        ),
    ],
)
def test_cut(size: int, part_bytes: int, most: int, parts: list[Part]) -> None:
    """Equal parts, and larger ones than asked for where a store takes no more of them."""
    assert cut(size, part_bytes=part_bytes, most=most) == parts


def _sending(write: Callable[[str], object], *, pause: float = 0.0) -> Sending:
    return Sending(
        part_bytes=2 * CHUNK_BYTES,
        at_once=2,
        tries=2,
        pause=pause,
        timeout=60.0,
        meter=Meter("Uploading", interval=3600.0, write=write),
        console=Console(write=write),
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Two parts of two chunks each."""
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * CHUNK_BYTES))
    return str(path)


PARTS = [Part(1, 0, 2 * CHUNK_BYTES), Part(2, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES)]


def test_others_stop_when_a_part_fails(file: str) -> None:
    """One that waits for its next try has none; what is told is why the other failed."""
    waits = threading.Event()
    sent: list[int] = []

    def send(part: Part, body: Body, left: float) -> None:
        sent.append(part.number)
        if part.number == 2:
            assert waits.wait(10)
            raise TransferError("no", status=403)
        raise TransferError("later", status=500)

    with pytest.raises(TransferError, match="no"):
        send_parts(file, PARTS, send, sending=_sending(lambda text: waits.set(), pause=5.0))
    assert sorted(sent) == [1, 2]


def test_bytes_of_a_part_that_is_sent_again_are_counted_once(file: str) -> None:
    """What the meter told of a try that failed is taken back."""
    said: list[str] = []
    failed: list[int] = []

    def send(part: Part, body: Body, left: float) -> int:
        passed: list[bytes] = []

        def write(data: bytes) -> None:
            if passed and part.number not in failed:
                failed.append(part.number)
                raise TransferError("broken", status=0)
            passed.append(data)

        body.write(write)
        return sum(map(len, passed))

    sending = _sending(said.append)
    assert send_parts(file, PARTS, send, sending=sending) == [part.size for part in PARTS]
    sending.meter.finish()
    assert sorted(failed) == [1, 2]
    assert said[-1].startswith(f"\rUploading {format_bytes(4 * CHUNK_BYTES)} (")
