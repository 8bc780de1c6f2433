"""One object of S3, asked for and sent in the name of credentials that were lent for it.

Law: an object is there whole or not at all, and an upload that fails leaves no parts behind: they would be paid for.
Each request is signed in its query, as the manager's are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from xml.sax.saxutils import escape, unescape

from runner.helper.transfer.attempts import attempts
from runner.helper.transfer.http import Body, Reply, TransferError, request
from runner.helper.transfer.parts import Part, Sending, cut, send_parts
from runner.helper.transfer.refusals import refusal
from runner.helper.transfer.s3_place import S3Place
from runner.helper.transfer.sigv4 import AwsCredentials, Scope, presign

LEAST_PART_BYTES = 5 * 2**20
MOST_PARTS = 10_000
"""Both are S3's."""

SIGNED_FOR = 3600.0
COMPLETE_TIMEOUT = 600.0
"""Seconds for a store to put the parts together."""

ABORT_TIMEOUT = 30.0
T = TypeVar("T")

_UPLOAD_ID = re.compile(r"<UploadId>([^<]+)</UploadId>")


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object by its bucket and name."""

    place: S3Place
    name: str
    credentials: AwsCredentials = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    """What goes with an upload: encryption, metadata."""

    def signed(
        self, method: str, *, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        """Give an address for one method; the headers must be sent with it."""
        return presign(
            method,
            self.place.object_address(self.name),
            credentials=self.credentials,
            scope=Scope(self.place.region),
            expiry=SIGNED_FOR,
            now=datetime.now(UTC),
            headers=headers,
            query=query,
        )

    def send(self, path: str, size: int, sending: Sending) -> None:
        """Send a file, in parts if it has more than one. Raises TransferError, OSError."""
        part_bytes = max(sending.part_bytes, LEAST_PART_BYTES)
        parts = cut(size, part_bytes=part_bytes, most=MOST_PARTS)
        if len(parts) > 1:
            self._send_parts(path, parts, sending)
        else:
            send_parts(path, parts or [Part(1, 0, 0)], self._put, sending=sending)

    def _put(self, _part: Part, body: Body, timeout: float) -> None:
        with self._ask("PUT", headers=self.headers, body=body, timeout=timeout):
            return

    def _send_parts(self, path: str, parts: list[Part], sending: Sending) -> None:
        deadline = time.monotonic() + sending.timeout
        upload = self._again(lambda: self._begin(sending), sending)
        try:
            marks = send_parts(
                path, parts, lambda part, body, left: self._put_part(upload, part, body, left), sending=sending
            )
            self._again(lambda: self._complete(upload, marks, max(1.0, deadline - time.monotonic())), sending)
        except BaseException:
            self._abort(upload, sending)
            raise

    def _begin(self, sending: Sending) -> str:
        with self._ask("POST", query={"uploads": ""}, headers=self.headers, timeout=sending.timeout) as reply:
            found = _UPLOAD_ID.search(reply.text())
        if found is None:
            raise TransferError("the store began no upload in parts: its answer has no UploadId", status=502)
        return unescape(found[1])

    def _put_part(self, upload: str, part: Part, body: Body, timeout: float) -> str:
        query = {"partNumber": str(part.number), "uploadId": upload}
        with self._ask("PUT", query=query, body=body, timeout=timeout) as reply:
            mark = reply.headers.get("ETag", "")
        if not mark:
            raise TransferError(f"the store gave no ETag for part {part.number}", status=502)
        return mark

    def _complete(self, upload: str, marks: list[str], timeout: float) -> None:
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(mark)}</ETag></Part>"
            for number, mark in enumerate(marks, 1)
        )
        text = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        body = Body(lambda write: write(text), len(text))
        with self._ask("POST", query={"uploadId": upload}, body=body, timeout=min(timeout, COMPLETE_TIMEOUT)) as reply:
            said = reply.text()
        if "<Error>" in said:  # S3 answers 200 before it knows
            raise refusal(reply, said)

    def _again(self, action: Callable[[], T], sending: Sending) -> T:
        return attempts(lambda _: action(), tries=sending.tries, console=sending.console, pause=lambda _: sending.pause)

    def _abort(self, upload: str, sending: Sending) -> None:
        problem = ""
        for _ in range(2):
            try:
                with self._ask("DELETE", query={"uploadId": upload}, timeout=ABORT_TIMEOUT):
                    return
            except TransferError as error:
                problem = str(error)
                if error.status == 404:
                    return
        sending.console.warning(
            "the parts of the upload that failed may still be in the bucket, a lifecycle rule can remove them",
            reason=problem,
        )

    @contextmanager
    def _ask(
        self,
        method: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        timeout: float,
    ) -> Iterator[Reply]:
        url = self.signed(method, query=query, headers=headers)
        with request(
            method, url, headers=headers, body=body, timeout=timeout, header_timeout=COMPLETE_TIMEOUT
        ) as reply:
            if not 200 <= reply.status < 300:
                raise refusal(reply)
            yield reply
