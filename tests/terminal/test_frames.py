"""GitLab's terminal protocols, message by message."""

import pytest

from runner.terminal.frames import BASE64, BINARY, FrameError, Size, read_message, written_message

SIZE = b'{"Width":120,"Height":40}'


@pytest.mark.parametrize(
    ("protocol", "data", "text", "read"),
    [
        pytest.param(BINARY, b"ls\n", False, b"ls\n", id="bytes"),
        pytest.param(BINARY, b"\xc3", False, b"\xc3", id="half a character"),
        pytest.param(BINARY, b"ls\n", True, b"ls\n", id="text where bytes are meant"),
        pytest.param(BINARY, SIZE, True, Size(120, 40), id="size"),
        pytest.param(BINARY, SIZE, False, SIZE, id="a size that was typed"),
        pytest.param(BINARY, b"{}", True, b"{}", id="no size"),
        pytest.param(BINARY, b'{"Width":0,"Height":40}', True, b'{"Width":0,"Height":40}', id="no columns"),
        pytest.param(BINARY, b'{"Width":"9","Height":1}', True, b'{"Width":"9","Height":1}', id="columns in words"),
        pytest.param(BASE64, b"bHMK", True, b"ls\n", id="base64"),
        pytest.param(BASE64, b"bHMK", False, b"ls\n", id="base64 in a binary message"),
        pytest.param(BASE64, SIZE, False, Size(120, 40), id="size beside base64"),
        pytest.param("", b"ls\n", False, b"ls\n", id="no protocol"),
    ],
)
def test_read_message_gives_what_was_typed_or_the_size(
    protocol: str, data: bytes, text: bool, read: bytes | Size
) -> None:
    """Sizes come in the kind of message that the protocol does not use."""
    assert read_message(protocol, data, text=text) == read


@pytest.mark.parametrize("data", [b"b#", b"{", SIZE])
def test_read_message_is_refused_when_base64_is_none(data: bytes) -> None:
    """The connection ends with it."""
    with pytest.raises(FrameError):
        read_message(BASE64, data, text=True)


def test_written_message_when_bytes_are_no_text() -> None:
    """Bytes stay bytes, or become base64."""
    assert (written_message(BINARY, b"\xff"), written_message(BASE64, b"\xff")) == (b"\xff", "/w==")
