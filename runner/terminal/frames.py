"""GitLab's terminal protocols: messages of a WebSocket in, what a person typed out, and back. Pure.

`terminal.gitlab.com` carries bytes in binary messages, `base64.terminal.gitlab.com` carries base64 in text messages.
Neither has a word for the window's size, and GitLab sends none. The kind of message that each protocol has no use for
carries it here, as Kubernetes writes it: `{"Width": 120, "Height": 40}`. Any other message of that kind is input, as in
GitLab Runner.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import orjson

BINARY = "terminal.gitlab.com"
BASE64 = "base64.terminal.gitlab.com"
PROTOCOLS = (BINARY, BASE64)

_LONGEST_SIDE = 65535


@dataclass(frozen=True, slots=True)
class Size:
    """How large a window is."""

    columns: int
    rows: int


class FrameError(ValueError):
    """A message that is none of the protocol's."""


def read_message(protocol: str, data: bytes, *, text: bool) -> bytes | Size:
    """Return what was typed, or the window's new size. FrameError for base64 that is none.

    A client that chose no protocol is read as one that sends bytes.
    """
    if text == (protocol != BASE64) and (size := _size(data)) is not None:
        return size
    if protocol != BASE64:
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise FrameError("A message is not base64.") from None


def written_message(protocol: str, data: bytes) -> bytes | str:
    """Return the message that carries printed bytes: text or binary as the protocol has it."""
    return base64.b64encode(data).decode() if protocol == BASE64 else data


def _size(data: bytes) -> Size | None:
    if not data.startswith(b"{"):
        return None
    try:
        fields = orjson.loads(data)
        size = Size(fields["Width"], fields["Height"])
    except (orjson.JSONDecodeError, KeyError):
        return None
    sides = (size.columns, size.rows)
    return size if all(isinstance(side, int) and 0 < side <= _LONGEST_SIDE for side in sides) else None
