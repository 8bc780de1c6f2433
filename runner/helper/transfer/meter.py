"""How far a transfer is, for who asks for it with `--transfer-meter-frequency`.

The line is the original's and overwrites itself by a carriage return; the last one ends.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

LEAST_INTERVAL = 1.0
"""Seconds; a meter that is asked for more often is off, as in the original."""

_UNIT = 1000
_PREFIXES = "KMGTPE"
_BLANKS = " " * 16  # what is left of a longer line before


class Meter:
    """Counts bytes, from any thread, and tells of them every `interval` seconds. 0 is silent."""

    def __init__(
        self,
        label: str,
        *,
        interval: float,
        total: int | None = None,
        write: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._interval = interval
        self._total = total
        self._write = write or _write_stdout
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._begun_at = self._told_at = clock()

    @property
    def is_on(self) -> bool:
        """Whether it tells anything."""
        return self._interval >= LEAST_INTERVAL

    def begin(self, *, done: int = 0, total: int | None = None) -> None:
        """Begin, or begin anew: `done` bytes are there already."""
        with self._lock:
            self._count, self._total = done, total
            self._begun_at = self._told_at = self._clock()

    def add(self, count: int) -> None:
        """Count bytes that have passed."""
        with self._lock:
            self._count += count
            now = self._clock()
            if self.is_on and now - self._told_at >= self._interval:
                self._told_at = now
                self._tell(now, end="")

    def finish(self) -> None:
        """Tell the whole, and end the line."""
        with self._lock:
            if self.is_on:
                self._tell(self._clock(), end="\n")

    def _tell(self, now: float, *, end: str) -> None:
        total = "" if self._total is None else f"/{format_bytes(self._total)}"
        rate = format_rate(self._count, now - self._begun_at)
        self._write(f"\r{self._label} {format_bytes(self._count)}{total} ({rate}){_BLANKS}{end}")


def format_bytes(count: int) -> str:
    """Write a number of bytes in powers of thousand, with two digits behind the point."""
    value, prefix = _scaled(count)
    return f"{value:.2f} {prefix}B" if prefix else f"{count} B"


def format_rate(count: int, seconds: float) -> str:
    """Write bytes a second, with one digit behind the point."""
    rate = int(count / max(seconds, 1e-9))
    value, prefix = _scaled(rate)
    return f"{value:.1f} {prefix}B/s" if prefix else f"{rate} B/s"


def _scaled(count: int) -> tuple[float, str]:
    if count < _UNIT:
        return float(count), ""
    power = 1
    while power < len(_PREFIXES) and count >= _UNIT ** (power + 1):
        power += 1
    return count / _UNIT**power, _PREFIXES[power - 1]


def _write_stdout(text: str) -> None:
    os.write(sys.stdout.fileno(), text.encode())
