"""The frames of attach and exec: channels in WebSocket messages.

Pure: bytes in, frames out. Kubernetes' rule: the first byte of a binary message is the channel; v5 adds a message that
closes one channel. An exit code comes from a Status on the error channel and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from runner.kube.resources import Manifest

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
"""The channels of remote command streams."""

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
PROTOCOLS = (V5, V4)
"""What we ask for. The server takes the first that it knows: v5 from Kubernetes 1.30 on."""

FRAME_BYTES = 32 * 1024
"""The most that one message carries: what a container runtime copies at a time."""

_CLOSE = 255


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes of one channel."""

    channel: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How the server says that a command, or an attach, ended."""

    code: int | None
    """The exit code; None when no command ran to its end, and then `message` says why."""
    reason: str = ""
    message: str = ""
    status: Manifest = field(default_factory=dict, compare=False, repr=False)
    """The Status object as it came; empty when it could not be read."""


def encode(data: bytes, *, channel: int = STDIN) -> Iterator[bytes]:
    """Cut bytes into messages; no bytes, no message."""
    head = bytes((channel,))
    for at in range(0, len(data), FRAME_BYTES):
        yield head + data[at : at + FRAME_BYTES]


def half_close(protocol: str, *, channel: int = STDIN) -> bytes | None:
    """Return the message that closes one channel, or None when the protocol has none.

    v4 ignores it, and a command that waits for the end of its stdin would wait for ever.
    """
    return bytes((_CLOSE, channel)) if protocol == V5 else None


def resizing(*, columns: int, rows: int) -> bytes:
    """Return the message that tells a TTY its size."""
    return bytes((RESIZE,)) + orjson.dumps({"Width": columns, "Height": rows})


def decode(message: bytes) -> Frame | None:
    """Read a message; None for those without bytes: the server sends an empty one when a channel is connected."""
    return Frame(message[0], bytes(message[1:])) if len(message) > 1 else None


def parse_exit(data: bytes) -> ExitStatus:
    """Read what came on the error channel. Total: any bytes give a status, and only a well-formed one gives a code.

    Kubernetes' rule: `Success`, or `Failure` with reason `NonZeroExitCode` and the code as the message of the cause
    `ExitCode`.
    """
    try:
        status = orjson.loads(data)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict):
        return ExitStatus(None, message=data[:200].decode("utf-8", "replace"))
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    code = 0 if status.get("status") == "Success" else _exit_code(status)
    return ExitStatus(code, reason, message, status)


def _exit_code(status: Manifest) -> int | None:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            text = str(cause.get("message") or "").strip()
            return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    return None
