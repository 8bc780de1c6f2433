"""Frames of attach and exec."""

import pytest

from runner.kube.channels import (
    FRAME_BYTES,
    STDERR,
    STDIN,
    STDOUT,
    V4,
    V5,
    ExitStatus,
    Frame,
    decode,
    encode,
    half_close,
    parse_exit,
)


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"ls\n", [b"\x00ls\n"], id="one"),
        pytest.param(
            b"a" * FRAME_BYTES + b"b", [b"\x00" + b"a" * FRAME_BYTES, b"\x00b"], id="one byte more than a frame"
        ),
    ],
)
def test_encode_cuts_bytes_into_frames_of_stdin(data: bytes, messages: list[bytes]) -> None:
    """No message is longer than a frame, and no byte is lost between two."""
    assert list(encode(data)) == messages


def test_encode_puts_the_channel_first() -> None:
    """The first byte names the channel."""
    assert list(encode(b"{}", channel=4)) == [b"\x04{}"]


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        pytest.param(b"", None, id="empty"),
        pytest.param(b"\x01", None, id="connected"),
        pytest.param(b"\x01out", Frame(STDOUT, b"out"), id="stdout"),
        pytest.param(b"\x02\xff\x00\xc3", Frame(STDERR, b"\xff\x00\xc3"), id="any bytes"),
        pytest.param(bytearray(b"\x00in"), Frame(STDIN, b"in"), id="a bytearray"),
    ],
)
def test_decode_reads_a_message(message: bytes, frame: Frame | None) -> None:
    """Bytes stay bytes; a message without any is no frame."""
    assert decode(message) == frame


@pytest.mark.parametrize(
    ("protocol", "message"),
    [pytest.param(V5, b"\xff\x00", id="v5"), pytest.param(V4, None, id="v4"), pytest.param("", None, id="none")],
)
def test_half_close_is_a_message_of_v5_alone(protocol: str, message: bytes | None) -> None:
    """A protocol that cannot half-close says so."""
    assert half_close(protocol) == message


_FAILED = b'{"status":"Failure","reason":"NonZeroExitCode","message":"m","details":%s}'


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b'{"metadata":{},"status":"Success"}', ExitStatus(0), id="success"),
        pytest.param(
            _FAILED % b'{"causes":[{"reason":"ExitCode","message":"3"}]}',
            ExitStatus(3, "NonZeroExitCode", "m"),
            id="exit code",
        ),
        pytest.param(
            _FAILED % b'{"causes":[{"reason":"Other","message":"9"},{"reason":"ExitCode","message":"137"}]}',
            ExitStatus(137, "NonZeroExitCode", "m"),
            id="the cause is not the first",
        ),
        pytest.param(_FAILED % b"null", ExitStatus(None, "NonZeroExitCode", "m"), id="no details"),
        pytest.param(_FAILED % b"{}", ExitStatus(None, "NonZeroExitCode", "m"), id="no causes"),
        pytest.param(_FAILED % b'{"causes":null}', ExitStatus(None, "NonZeroExitCode", "m"), id="null causes"),
        pytest.param(_FAILED % b'{"causes":[7,{}]}', ExitStatus(None, "NonZeroExitCode", "m"), id="odd causes"),
        pytest.param(
            _FAILED % b'{"causes":[{"reason":"ExitCode","message":"many"}]}',
            ExitStatus(None, "NonZeroExitCode", "m"),
            id="a code that is no number",
        ),
        pytest.param(
            b'{"status":"Failure","reason":"InternalError","message":"container not found","code":500}',
            ExitStatus(None, "InternalError", "container not found"),
            id="not started",
        ),
        pytest.param(b'{"status":"Fail', ExitStatus(None, "", '{"status":"Fail'), id="cut off"),
        pytest.param(b"[1]", ExitStatus(None, "", "[1]"), id="not an object"),
        pytest.param(b"\xff\xfe", ExitStatus(None, "", "\ufffd\ufffd"), id="not text"),
        pytest.param(b"", ExitStatus(None, "", ""), id="empty"),
        pytest.param(b"{}", ExitStatus(None, "", ""), id="empty object"),
    ],
)
def test_parse_exit_gives_a_code_only_where_one_is_told(data: bytes, expected: ExitStatus) -> None:
    """Any bytes give a status; a code needs a Status that tells it."""
    assert parse_exit(data) == expected
