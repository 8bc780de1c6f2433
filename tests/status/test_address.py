"""The forms of `listen_address`."""

from __future__ import annotations

import pytest

from runner.status.address import Address, AddressError, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9252", Address("", 9252)),
        (" :9252 ", Address("", 9252)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("localhost:9300", Address("localhost", 9300)),
        ("localhost", Address("localhost", 9252)),
        ("10.0.0.1", Address("10.0.0.1", 9252)),
        ("[::1]:9252", Address("::1", 9252)),
        ("[::1]", Address("::1", 9252)),
        (":0", Address("", 0)),
    ],
)
def test_parse_address_when_it_is_one(text: str, address: Address) -> None:
    """A port that is not named is 9252, a host that is not named is every one."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", " ", "::1", "host:", ":", "host:http", ":65536", ":-1", "[::1", "[]:1", "[::1]9252", "http://host:1", "a:1:2"],
)
def test_parse_address_when_it_is_none(text: str) -> None:
    """The sentence shows what was given and what a good one looks like."""
    with pytest.raises(AddressError, match="is no address to listen at: write host:port, such as :9252"):
        parse_address(text)


@pytest.mark.parametrize("text", [":9252", "localhost:1", "[::1]:9252"])
def test_address_is_written_as_it_is_read(text: str) -> None:
    """The log names it so."""
    assert str(parse_address(text)) == text
