"""A file that is downloaded, in several tries if need be.

Law: what is in the file is of one object. A try goes on where the last one broke off only if the server says that the
object is the same: it gave a strong ETag or a date that was over by then, is asked with `If-Range`, and answers 206
from that byte on, of as many bytes in all. Any other answer begins the file anew, so a server that knows nothing of
ranges costs time, never bytes.
"""

import re
import zlib
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import BinaryIO

from runner.helper.archives.entries import write_all
from runner.helper.transfer.http import Reply, TransferError
from runner.helper.transfer.meter import Meter

_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")
_GZIP = ("gzip", "x-gzip")


class Download:
    """What is there of one file, and what to ask for next."""

    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        self._file = file
        self._meter = meter
        self._size = 0
        self._mark = ""
        self._total: int | None = None

    @property
    def is_begun(self) -> bool:
        """Whether the next request asks for the rest."""
        return bool(self._mark and self._size)

    @property
    def size(self) -> int:
        """How many bytes are in the file."""
        return self._size

    def headers(self) -> dict[str, str]:
        """What to ask with: for the rest, or for the whole; never packed, the rest of which nobody could unpack."""
        plain = {"Accept-Encoding": "identity"}
        return {**plain, "Range": f"bytes={self._size}-", "If-Range": self._mark} if self.is_begun else plain

    def forget(self) -> None:
        """Begin anew with the next try."""
        self._size, self._mark = 0, ""
        self._file.seek(0)
        self._file.truncate()

    def take(self, reply: Reply) -> None:
        """Take the body of a 200, or the rest of one as a 206. Raises TransferError, OSError.

        416, and a 206 that is not the rest, are errors that the next try begins anew after.
        """
        whole = self._whole(reply)
        if whole < 0:
            total = reply.length
            self.forget()
            self._mark, self._total = _mark(reply), total
        else:
            total = whole or None
        self._meter.begin(done=self._size, total=total)
        self._file.seek(self._size)
        for data in _plain(reply):
            write_all(self._file, data)
            self._size += len(data)
            self._meter.add(len(data))
        self._file.flush()
        if whole > 0 and self._size != whole:
            self.forget()
            raise TransferError(f"the answer was to end at byte {whole} and ended elsewhere")
        self._meter.finish()

    def _whole(self, reply: Reply) -> int:
        """The length of the whole of which this is the rest, 0 if it is not told; -1: this is no rest."""
        if reply.status not in (206, 416):
            return -1
        found = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        same = reply.headers.get("ETag", self._mark) == self._mark or not self._mark.startswith('"')
        if not self.is_begun or found is None or int(found[1]) != self._size or not same:
            raise self._no_rest()
        whole = 0 if found[3] == "*" else int(found[3])
        if whole and self._total and whole != self._total:
            raise self._no_rest()
        return whole

    def _no_rest(self) -> TransferError:
        self.forget()
        return TransferError("the rest of what was begun is not to be had: from the beginning")


def _mark(reply: Reply) -> str:
    """By what the server knows this object again; empty if it does not, or if its bytes are not the file's."""
    if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
        return ""
    if reply.headers.get("Accept-Ranges", "").lower() == "none":
        return ""
    etag: str = reply.headers.get("ETag", "")
    if etag:
        return etag if etag.startswith('"') else ""  # a weak one is not of bytes
    date: str = reply.headers.get("Last-Modified", "")
    return date if _was_over(date, reply.headers.get("Date", "")) else ""


def _was_over(changed: str, answered: str) -> bool:
    """Whether the second of the change was over when the server answered: within it there may be two objects."""
    try:
        return parsedate_to_datetime(answered) - parsedate_to_datetime(changed) >= timedelta(seconds=1)
    except (ValueError, TypeError):
        return False


def _plain(reply: Reply) -> Iterator[bytes]:
    """The body, unpacked where a server packs it though it was not asked to."""
    if reply.headers.get("Content-Encoding", "").lower() not in _GZIP:
        yield from reply.read()
        return
    unpacker = zlib.decompressobj(31)
    try:
        for packed in reply.read():
            rest = packed
            while rest:
                yield unpacker.decompress(rest, len(packed))
                rest = unpacker.unconsumed_tail
    except zlib.error as error:
        raise TransferError("the answer is said to be gzip and is not") from error
    if not unpacker.eof:
        raise TransferError("the answer broke off: its gzip has no end")
