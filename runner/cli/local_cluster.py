"""Where a cluster's pods reach this machine: the address that it has towards the nodes."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import click

from runner.kube.connect import ConnectionSettings, connect
from runner.kube.errors import ForbiddenError, KubeError, NotFoundError
from runner.kube.retries import RetryPolicy

_REQUEST_TIMEOUT = 10.0


async def own_address(kubeconfig: str, *, host: str | None) -> str:
    """Ask the cluster whether it is there, and find the address at which its pods reach this machine.

    `host` is taken as it is. Raises ClickException with a sentence when there is no cluster, or no such address: a
    cluster whose nodes are behind a load balancer or a tunnel does not show it.
    """
    try:
        client = await connect(
            ConnectionSettings(kubeconfig=kubeconfig), retry=RetryPolicy(limit=1), request_timeout=_REQUEST_TIMEOUT
        )
        try:
            await client.server_version()
            if host:
                return host
            try:
                nodes: Iterable[dict[str, Any]] = await client.list("nodes", "")
            except (ForbiddenError, NotFoundError):
                nodes = ()
            server = urlsplit(client.host).hostname or ""
        finally:
            await client.aclose()
    except KubeError as error:
        raise click.ClickException(f"The cluster of {kubeconfig} gives no answer: {error}") from None
    found = next((own for there in (*_addresses(nodes), server) if (own := _towards(there))), None)
    if found is None:
        raise click.ClickException(
            "It cannot be told at which address pods reach this machine: name one of its addresses with --host."
        )
    return found


def _addresses(nodes: Iterable[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        for address in (node.get("status") or {}).get("addresses") or ():
            if address.get("type") == "InternalIP":
                yield str(address.get("address") or "")


def _towards(address: str) -> str | None:
    """The address that this machine has towards another; None when it is the loopback's, or there is no way."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # A datagram socket sends nothing by this: it only looks up the way.
            probe.connect(target)
            own = str(probe.getsockname()[0])
    except OSError:
        return None
    return None if own.startswith("127.") or own == "::1" else own
