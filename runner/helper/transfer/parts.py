"""A file sent in parts, several at once.

Law: memory is a chunk for each part on its way, whatever the size of parts and file. When one part fails for good the
others stop at their next chunk, and the first failure is told.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from runner.helper.archives.entries import CHUNK_BYTES
from runner.helper.console import Console
from runner.helper.transfer.attempts import attempts
from runner.helper.transfer.http import Body, TransferError, Write
from runner.helper.transfer.meter import Meter

T = TypeVar("T")

_MOST_AT_ONCE = 16
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a file."""

    number: int
    """From 1."""
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Sending:
    """How a file is sent."""

    part_bytes: int
    at_once: int
    tries: int
    pause: float
    """Seconds between tries."""
    timeout: float
    """Seconds for the whole."""
    meter: Meter
    console: Console


class StoppedError(Exception):
    """Another part failed; this one is not sent on."""


def cut(size: int, *, part_bytes: int, most: int) -> list[Part]:
    """Cut a file into equal parts, larger ones than asked for if there would be more than `most`."""
    step = max(part_bytes, -(-size // most))
    step = -(-step // _MIB) * _MIB if step > part_bytes else step
    return [Part(number, at, min(step, size - at)) for number, at in enumerate(range(0, size, step), 1)]


def send_parts(
    path: str, parts: Sequence[Part], send: Callable[[Part, Body, float], T], *, sending: Sending
) -> list[T]:
    """Send each part with `send(part, body, seconds left)`, tried again by itself; what it gives, in order.

    Raises TransferError, OSError, and whatever interrupts the caller; nothing is on its way any more then.
    """
    stop = threading.Event()
    deadline = time.monotonic() + sending.timeout
    with open(path, "rb", buffering=0) as file:

        def one(part: Part) -> T:
            def once(_: int) -> T:
                if stop.is_set():
                    raise StoppedError
                body = Body(lambda write: _pass(file.fileno(), part, write, stop=stop, meter=sending.meter), part.size)
                return send(part, body, max(0.001, deadline - time.monotonic()))

            try:
                return attempts(
                    once,
                    tries=sending.tries,
                    console=sending.console,
                    pause=lambda _: sending.pause,
                    again=lambda error: error.retriable and not stop.is_set(),
                    sleep=stop.wait,
                )
            except BaseException:
                stop.set()
                raise

        workers = max(1, min(sending.at_once, _MOST_AT_ONCE, len(parts)))
        with ThreadPoolExecutor(workers, thread_name_prefix="part") as pool:
            try:
                futures = [pool.submit(one, part) for part in parts]
                return [future.result() for future in futures]
            except StoppedError:
                raise _first_failure([future.exception() for future in futures]) from None
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)


def _first_failure(found: Sequence[BaseException | None]) -> BaseException:
    """What made the others stop."""
    return next(error for error in found if error is not None and not isinstance(error, StoppedError))


def _pass(descriptor: int, part: Part, write: Write, *, stop: threading.Event, meter: Meter) -> None:
    passed = 0
    try:
        for data in _chunks(descriptor, part, stop):
            write(data)
            passed += len(data)
            meter.add(len(data))
    except BaseException:
        meter.add(-passed)  # the part will be sent again from its beginning
        raise


def _chunks(descriptor: int, part: Part, stop: threading.Event) -> Iterator[bytes]:
    at, end = part.offset, part.offset + part.size
    while at < end:
        if stop.is_set():
            raise StoppedError
        data = os.pread(descriptor, min(CHUNK_BYTES, end - at), at)
        if not data:
            raise TransferError("the file became shorter while it was sent", status=400)
        yield data
        at += len(data)
