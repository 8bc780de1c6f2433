"""Which proxy leads to an address, by the environment's rules.

Pure. Go's rules, which GitLab Runner and kubectl follow, and not urllib's: NO_PROXY may hold networks (`10.0.0.0/8`),
and a loopback address never takes a proxy. In a pod the API server is an address in such a network.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the proxy that the environment names for a URL, or None."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if _is_local(host) or any(_excludes(entry, host, port) for entry in _variable(environ, "no_proxy").split(",")):
        return None
    proxy = _variable(environ, f"{parts.scheme}_proxy").strip()
    return (proxy if "://" in proxy else f"http://{proxy}") if proxy else None


def split_proxy(proxy: str) -> tuple[str, dict[str, str]]:
    """Take the user and password out of a proxy's URL; they become a header. ValueError for a kind we cannot use."""
    parts = urlsplit(proxy)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"a proxy must be an http or https URL, not {parts.scheme or 'without a scheme'}")
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.username is None:
        return bare, {}
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return bare, {"Proxy-Authorization": f"Basic {b64encode(user.encode()).decode('ascii')}"}


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _excludes(entry: str, host: str, port: int) -> bool:
    """Tell whether one entry of NO_PROXY is about this address."""
    entry = entry.strip().lower()
    if entry in {"", "*"}:
        return entry == "*"
    try:
        address = ip_address(host)
    except ValueError:
        name, _, only_port = entry.partition(":")
        if only_port and only_port != str(port):
            return False
        bare = name.removeprefix("*").removeprefix(".")
        return host.endswith(f".{bare}") or (host == bare and not name.startswith((".", "*.")))
    bare, _, only_port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
    try:
        return address in ip_network(bare.strip("[]"), strict=False) and only_port in {"", str(port)}
    except ValueError:
        return False
