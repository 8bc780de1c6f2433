"""Amazon's signature, version 4, in the query of a URL.

Pure: the time is an argument. Written here because libraries that sign without asking the network cannot sign headers,
and a store takes an upload's encryption and metadata only from headers that are signed. The manager signs with it too:
the helper, which stands alone, is where both can have it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlsplit


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """A pair of keys, and the token that makes a passing pair valid."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires_at: float = float("inf")
    """When they end, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is for."""

    region: str
    service: str = "s3"


def presign(
    method: str,
    url: str,
    *,
    credentials: AwsCredentials,
    scope: Scope,
    expiry: float,
    now: datetime,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> str:
    """Give `url`, whose path is encoded and which has no query, with `query` and a signature over `headers`.

    `now` is in UTC. The headers must be sent with the request exactly as they are.
    """
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    parts = urlsplit(url)
    signed = {
        "host": parts.netloc,
        **{name.lower(): " ".join(value.split()) for name, value in (headers or {}).items()},
    }
    names = ";".join(sorted(signed))
    span = f"{day}/{scope.region}/{scope.service}/aws4_request"
    parameters = {
        **(query or {}),
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{span}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(int(expiry)),
        "X-Amz-SignedHeaders": names,
    }
    if credentials.session_token:
        parameters["X-Amz-Security-Token"] = credentials.session_token
    asked = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(parameters.items()))
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(signed.items()))
    # A store is told that the body is not signed, other services that there is none.
    body = "UNSIGNED-PAYLOAD" if scope.service == "s3" else hashlib.sha256(b"").hexdigest()
    request = "\n".join((method, parts.path or "/", asked, lines, names, body))
    text = "\n".join(("AWS4-HMAC-SHA256", moment, span, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for word in (day, scope.region, scope.service, "aws4_request"):
        key = _hmac(key, word)
    return f"{url}?{asked}&X-Amz-Signature={_hmac(key, text).hex()}"


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
