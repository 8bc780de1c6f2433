"""Addresses of the session server: where it listens, and what GitLab is told. Pure."""

from __future__ import annotations

import ipaddress

HTTPS_PORT = 443


class SessionServerError(Exception):
    """The session server cannot be started; the sentence says why and what to do."""


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`, `[host]:port`, `:port` or `host`; without a port it is that of HTTPS.

    ValueError with a sentence for what is none of them.
    """
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or port.endswith("]"):
        host, port = address, str(HTTPS_PORT)
    if not (port.isascii() and port.isdigit() and int(port) <= 65535) or "/" in host:
        raise ValueError(f"{address} is no address: write it as host:port, without a scheme and a path.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def join_address(host: str, port: int) -> str:
    """Join host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
