"""What can happen to a request, as KubeErrors: refusals, broken connections, answers that are none.

Law: decided by an error's class and the answer's status, never by its text.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import orjson

from runner.kube.errors import KubeError, UnavailableError, error_from_answer

if TYPE_CHECKING:
    from runner.kube.resources import Manifest
    from runner.kube.transport import Request

_ERROR_BODY_BYTES = 64 * 1024


class RefusedError(Exception):
    """An answer that is no success, with its body: between the session's check and the sentence about the request."""

    def __init__(self, status: int, retry_after: str, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self._retry_after = retry_after
        self._body = body

    def error(self, request: Request) -> KubeError:
        """The error of this request; what a server says about a secret is not repeated."""
        return error_from_answer(
            self.status,
            self._body,
            subject=request.sentence,
            retry_after=self._retry_after,
            withhold=request.resource == "secrets",
        )


async def refuse(response: aiohttp.ClientResponse) -> None:
    """Raise for every answer but 101 and 2xx. aiohttp asks this before it throws the body of a failed upgrade away."""
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    body = b""
    try:
        while len(body) < _ERROR_BODY_BYTES and (part := await response.content.readany()):
            body += part
    finally:
        # Nothing happens to a connection whose body was read to its end: it is back in the pool.
        response.close()
    raise RefusedError(response.status, response.headers.get("Retry-After", ""), body)


@contextmanager
def translated(request: Request, host: str) -> Iterator[None]:
    """Turn what a connection can do to us into UnavailableError, and an address that is none into KubeError."""
    try:
        yield
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise bad_address(request, host) from error
    except (aiohttp.ClientError, OSError, EOFError) as error:
        # OSError covers TimeoutError, resolver and TLS errors.
        reason, words, sent = _trouble(error)
        raise UnavailableError(f"{request.sentence}: {host} {words}.", reason=reason, sent=sent) from error


def bad_address(request: Request, host: str) -> KubeError:
    """An error for a host, or a path on it, that makes no URL."""
    return KubeError(f"{request.sentence}: {host} is no address of an API server.", reason="InvalidAddress")


def _trouble(error: Exception) -> tuple[str, str, bool]:
    """Say what happened to a connection: reason, words, and whether the request may have arrived."""
    for kind, reason, words, sent in _TROUBLES:
        if isinstance(error, kind):
            return reason, words.format(_cause(error)), sent
    return "ConnectionLost", f"ended the connection ({type(error).__name__})", True


# The first kind that fits; aiohttp's classes overlap.
_TROUBLES: tuple[tuple[type[Exception], str, str, bool], ...] = (
    (aiohttp.ClientConnectorCertificateError, "CertificateInvalid", "shows a certificate we do not trust ({})", False),
    (aiohttp.ClientProxyConnectionError, "ProxyFailed", "cannot be reached, nor can the proxy ({})", False),
    (aiohttp.ClientHttpProxyError, "ProxyFailed", "cannot be reached, the proxy refuses ({})", False),
    (aiohttp.ClientConnectorError, "ConnectFailed", "cannot be reached ({})", False),
    (aiohttp.ConnectionTimeoutError, "ConnectTimeout", "did not take the connection in time", False),
    (TimeoutError, "Timeout", "did not answer in time", True),
    (aiohttp.WSServerHandshakeError, "UpgradeFailed", "did not upgrade the connection ({})", True),
)


def _cause(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        case aiohttp.ClientConnectorError():
            return _words_of(error.os_error)
        case aiohttp.ClientResponseError():
            return f"{error.status} {error.message}"
    return type(error).__name__


def _words_of(error: OSError) -> str:
    """The system's own words: asyncio writes the address into them, which stands before them already."""
    known = error.errno and error.errno > 0 and not isinstance(error, socket.gaierror)
    return (os.strerror(error.errno or 0) if known else error.strerror or str(error)).lower()


def parse_object(body: bytes, request: Request, status: int) -> Manifest:
    """Return the object in an answer. UnavailableError for what is none."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        # A proxy's page under status 200. Whether the API server was asked nobody knows.
        raise UnavailableError(
            f"{request.sentence}: the answer ({status}) is no JSON object.", status=status, reason="NotJSON"
        )
    return parsed
