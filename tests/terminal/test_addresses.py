"""Addresses as the configuration writes them."""

import pytest

from runner.terminal.addresses import join_address, split_address


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        pytest.param("0.0.0.0:8093", ("0.0.0.0", 8093), id="IPv4"),
        pytest.param("[::]:8093", ("::", 8093), id="IPv6"),
        pytest.param("[::1]", ("::1", 443), id="IPv6 without a port"),
        pytest.param("::1", ("::1", 443), id="IPv6 without brackets"),
        pytest.param(":8093", ("", 8093), id="port alone"),
        pytest.param("runner.example.com:8093", ("runner.example.com", 8093), id="name"),
        pytest.param("runner.example.com", ("runner.example.com", 443), id="name without a port"),
    ],
)
def test_split_address_when_it_is_one(address: str, parts: tuple[str, int]) -> None:
    """Host and port; that of HTTPS where there is none."""
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["https://runner:8093", "runner:http", "runner:70000", "runner/x:80", "runner:"])
def test_split_address_is_refused_when_it_is_none(address: str) -> None:
    """The sentence names it and says how it is written."""
    with pytest.raises(ValueError, match="is no address: write it as host:port, without a scheme"):
        split_address(address)


def test_join_address_brackets_ipv6() -> None:
    """As a URL has it."""
    assert (join_address("::1", 8093), join_address("runner", 443)) == ("[::1]:8093", "runner:443")
