"""`--gocloud-url` and `--env-file`: an object by its store's own address, and the credentials that were lent for it.

GitLab Runner gives them for S3 with a role and for Azure; this project's manager for an upload with a role. Credentials
come from the file first, then from the process's environment; nothing else is asked for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from runner.helper.console import HelperError
from runner.helper.transfer.azure import KIND, send_blob
from runner.helper.transfer.parts import Sending
from runner.helper.transfer.s3 import S3Object
from runner.helper.transfer.s3_place import parse_gocloud_url
from runner.helper.transfer.sigv4 import AwsCredentials

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_AZURE_DOMAIN = "blob.core.windows.net"


class StoreObject(Protocol):
    """An object that can be asked for by HTTP, and sent."""

    def signed(self, method: str) -> str:
        """Give an address for GET or HEAD."""

    def send(self, path: str, size: int, sending: Sending) -> None:
        """Send a file. Raises TransferError, OSError."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of Azure by an address that a shared access signature is part of."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def signed(self, _method: str) -> str:
        """Give the address: the signature says what may be done with it."""
        return self.url

    def send(self, path: str, size: int, sending: Sending) -> None:
        """Send a file. Raises TransferError, OSError."""
        send_blob(self.url, path, size, headers={KIND: "BlockBlob", **self.headers}, sending=sending)


def open_object(url: str, environ: Mapping[str, str], *, metadata: Mapping[str, str]) -> StoreObject:
    """Give the object of a `--gocloud-url`; `metadata` is kept with what is sent. Raises HelperError."""
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        return _s3(url, environ, metadata)
    if scheme == "azblob":
        return _azure(url, environ, metadata)
    if scheme == "gs":
        raise HelperError("gs:// is not taken here: Google's store is reached by a signed address, give --url")
    raise HelperError(f"--gocloud-url is of {scheme or 'no scheme'}: s3:// and azblob:// are known")


def read_env_file(path: str) -> dict[str, str]:
    """Read `NAME=value` lines, values in quotes or not. Raises HelperError."""
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HelperError(f"--env-file {path} cannot be read: {getattr(error, 'strerror', '') or error}") from error
    return {found[1]: _unquoted(found[2].strip()) for line in lines if (found := _LINE.fullmatch(line))}


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), text[1:-1])
    return text


def _s3(url: str, environ: Mapping[str, str], metadata: Mapping[str, str]) -> S3Object:
    try:
        place, name, headers = parse_gocloud_url(url, region=environ.get("AWS_REGION", ""))
    except ValueError as error:
        raise HelperError(f"--gocloud-url cannot be used: {error}") from error
    access, secret = environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", "")
    if not (access and secret):
        raise HelperError("--gocloud-url needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from --env-file or around")
    credentials = AwsCredentials(access, secret, environ.get("AWS_SESSION_TOKEN", ""))
    kept = {f"x-amz-meta-{key.lower()}": quote(value, safe=" /") for key, value in metadata.items()}
    return S3Object(place, name, credentials, {**headers, **kept})


def _azure(url: str, environ: Mapping[str, str], metadata: Mapping[str, str]) -> Blob:
    parts = urlsplit(url)
    name = unquote(parts.path).lstrip("/")
    account, token = environ.get("AZURE_STORAGE_ACCOUNT", ""), environ.get("AZURE_STORAGE_SAS_TOKEN", "").lstrip("?")
    if not (parts.netloc and name and account and token):
        raise HelperError(
            "--gocloud-url azblob://CONTAINER/BLOB needs AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_SAS_TOKEN, "
            "from --env-file or around"
        )
    domain = environ.get("AZURE_STORAGE_DOMAIN") or _AZURE_DOMAIN
    server = domain if "://" in domain else f"https://{account}.{domain}"
    address = f"{server}/{parts.netloc}/{quote(name, safe='/-_.~')}?{token}"
    return Blob(address, {f"x-ms-meta-{key.lower()}": quote(value, safe=" /") for key, value in metadata.items()})
