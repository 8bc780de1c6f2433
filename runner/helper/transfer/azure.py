"""Blobs of Azure, sent in blocks once they are large.

One shared access signature is good for each request of a blob, so blocks need nothing but the address of the whole. A
blob is there when its list of blocks is; blocks of an upload that failed are removed by Azure itself, after a week.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote

from runner.helper.transfer.http import Body, request
from runner.helper.transfer.parts import Part, Sending, cut, send_parts
from runner.helper.transfer.refusals import refusal

MOST_BLOCKS = 50_000
KIND = "x-ms-blob-type"
"""The header by which an upload of Azure is known: each has it."""


def send_blob(url: str, path: str, size: int, *, headers: Mapping[str, str], sending: Sending) -> None:
    """Send a file to a signed address. Raises TransferError, OSError."""
    parts = cut(size, part_bytes=sending.part_bytes, most=MOST_BLOCKS)
    if len(parts) < 2:
        whole = parts or [Part(1, 0, 0)]
        send_parts(path, whole, lambda _, body, left: _put(url, headers, body, left), sending=sending)
        return

    def put(part: Part, body: Body, left: float) -> str:
        name = b64encode(b"%08d" % part.number).decode()
        _put(f"{url}&comp=block&blockid={quote(name, safe='')}", {}, body, left)
        return name

    names = send_parts(path, parts, put, sending=sending)
    listed = "".join(f"<Latest>{name}</Latest>" for name in names)
    text = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
    kept = {name: value for name, value in headers.items() if name.lower() != KIND}
    _put(f"{url}&comp=blocklist", kept, Body(lambda write: write(text), len(text)), sending.timeout)


def _put(url: str, headers: Mapping[str, str], body: Body, timeout: float) -> None:
    with request("PUT", url, headers=headers, body=body, timeout=timeout) as reply:
        if not 200 <= reply.status < 300:
            raise refusal(reply)
