"""Where the status server listens: the original's forms of `listen_address`."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PORT = 9252


class AddressError(ValueError):
    """A text is no address to listen at; the message is a sentence."""


class ListenError(Exception):
    """The status server cannot listen; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen at."""

    host: str
    """Empty: every address of this machine."""
    port: int
    """0: any that is free."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `:9252`, `host:9252`, `host`, `[::1]:9252` or `[::1]`; without a port it is 9252.

    Raises AddressError.
    """
    given = text.strip()
    if given.startswith("["):
        host, bracket, rest = given[1:].partition("]")
        if not bracket or not host or (rest and not rest.startswith(":")):
            raise _error(text)
    else:
        host, colon, port = given.partition(":")
        if ":" in port:
            raise _error(text, " An IPv6 address stands in brackets: [::1]:9252.")
        rest = colon + port
    if not host and not rest:
        raise _error(text)
    if any(character in host for character in "/@[] "):
        raise _error(text)
    return Address(host, _port(rest.removeprefix(":"), text) if rest else DEFAULT_PORT)


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdecimal()) or int(digits) > 65535:
        raise _error(text)
    return int(digits)


def _error(text: str, more: str = "") -> AddressError:
    return AddressError(f"{text!r} is no address to listen at: write host:port, such as :{DEFAULT_PORT}.{more}")
