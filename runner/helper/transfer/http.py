"""One HTTP request at a time, streamed both ways, through the proxies of the environment.

Bodies are written by a function, so that an archive goes out as it is made. A server may answer before it has read all,
as with 413: its answer is read even when it no longer takes ours.
"""

import http.client
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from urllib.parse import SplitResult, urlsplit, urlunsplit

from runner.helper.archives.entries import CHUNK_BYTES

CONNECT_TIMEOUT = 30.0
READ_TIMEOUT = 300.0
"""How long a server may be silent in the middle of a body."""

Write = Callable[[bytes], object]


class TransferError(Exception):
    """A request that got no answer, or one that says no."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """HTTP's; 0 if there was no answer."""

    @property
    def retriable(self) -> bool:
        """Whether another try may help: there was no answer, or the server had trouble of its own."""
        return not self.status or self.status >= 500


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent."""

    write: Callable[[Write], object]
    """Writes it, piece by piece."""
    length: int | None = None
    """Bytes; None sends it in chunks."""


@dataclass(slots=True)
class Reply:
    """An answer whose body has not been read yet."""

    status: int
    reason: str
    headers: Message
    _response: http.client.HTTPResponse
    _deadline: float

    @property
    def length(self) -> int | None:
        """Bytes that the body will have; None if the server does not say."""
        return self._response.length

    def read(self) -> Iterator[bytes]:
        """Read the body. Raises TransferError if it ends before its length, or time runs out."""
        expected = self._response.length
        received = 0
        try:
            while data := self._response.read(CHUNK_BYTES):
                received += len(data)
                _check_time(self._deadline)
                yield data
        except (OSError, http.client.HTTPException) as error:
            raise TransferError(f"the answer broke off after {received} bytes: {_words(error)}") from error
        if expected is not None and received < expected:
            raise TransferError(f"the answer broke off after {received} of {expected} bytes")

    def text(self, limit: int = 64 * 1024) -> str:
        """Read the beginning of a short body; empty if it cannot be read."""
        try:
            return self._response.read(limit).decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return ""


@contextmanager
def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Body | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = 3600.0,
    header_timeout: float = 30.0,
) -> Iterator[Reply]:
    """Send a request and give its answer. Raises TransferError; what `body` raises otherwise passes through.

    `timeout` bounds the whole, `header_timeout` the wait for the answer to begin.
    """
    deadline = time.monotonic() + timeout
    connection, target = _connect(urlsplit(url), tls)
    try:
        _send(connection, method, target, headers=headers or {}, body=body, deadline=deadline)
        connection.sock.settimeout(min(header_timeout, _left(deadline)))
        response = _answer(connection, url)
        if connection.sock is not None:
            connection.sock.settimeout(min(READ_TIMEOUT, _left(deadline)))
        yield Reply(response.status, response.reason, response.headers, response, deadline)
    finally:
        connection.close()


def shown(url: str) -> str:
    """Give a URL as it may be told: without user and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def tls_context(*, ca_file: str = "", cert_file: str = "", key_file: str = "") -> ssl.SSLContext:
    """Make what connections are checked with: the system's authorities and one's own. Raises TransferError."""
    context = ssl.create_default_context()
    # Fields that many a company's own authority does not set, and Go does not ask for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
        if cert_file:
            context.load_cert_chain(cert_file, key_file or None)
    except OSError as error:
        raise TransferError(f"the certificates in {ca_file or cert_file} cannot be used: {_words(error)}") from error
    return context


def _connect(url: SplitResult, tls: ssl.SSLContext | None) -> tuple[http.client.HTTPConnection, str]:
    from urllib.request import getproxies, proxy_bypass

    if url.scheme not in ("http", "https") or not url.hostname:
        raise TransferError(f"{shown(url.geturl())} is no URL of http or https")
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    target = urlunsplit(("", "", url.path or "/", url.query, ""))
    proxies = getproxies()
    proxy = "" if proxy_bypass(f"{url.hostname}:{port}") else proxies.get(url.scheme, "")
    via = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
    host, at = (via.hostname or "", via.port or 80) if via else (url.hostname, port)
    if secure:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, at, timeout=CONNECT_TIMEOUT, context=tls or tls_context()
        )
    else:
        connection = http.client.HTTPConnection(host, at, timeout=CONNECT_TIMEOUT)
    if via and secure:
        connection.set_tunnel(url.hostname, port, headers=_authorization(via))
    return connection, url.geturl() if via and not secure else target


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    from base64 import b64encode
    from urllib.parse import unquote

    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str],
    body: Body | None,
    deadline: float,
) -> None:
    given = {name.lower() for name in headers}
    try:
        connection.connect()
        connection.putrequest(method, target, skip_host="host" in given, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is None:
            if method in ("PUT", "POST"):
                connection.putheader("Content-Length", "0")
        elif body.length is None:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", str(body.length))
        connection.endheaders()
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(f"{connection.host} is not to be reached: {_words(error)}") from error
    if body is not None:
        _send_body(connection, body, deadline)


class _StoppedReadingError(Exception):
    """The server takes no more; its answer says why."""


def _send_body(connection: http.client.HTTPConnection, body: Body, deadline: float) -> None:
    chunked = body.length is None

    def send(data: bytes) -> None:
        _check_time(deadline)
        try:
            connection.send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        except TimeoutError as error:
            raise TransferError(f"{connection.host} took no data for {READ_TIMEOUT:.0f} s") from error
        except OSError as error:
            raise _StoppedReadingError from error

    connection.sock.settimeout(READ_TIMEOUT)
    try:
        body.write(lambda data: send(data) if data else None)
        if chunked:
            connection.send(b"0\r\n\r\n")
    except _StoppedReadingError:
        pass
    except OSError as error:
        if error.filename is not None:
            raise  # a file of the archive, not the connection
        # The connection ended with the last bytes: its answer may be there all the same.


def _answer(connection: http.client.HTTPConnection, url: str) -> http.client.HTTPResponse:
    try:
        return connection.getresponse()
    except TimeoutError as error:
        raise TransferError(f"{shown(url)} did not answer in time") from error
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(f"{shown(url)} gave no answer: {_words(error)}") from error


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TransferError("the time for it is over")


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
