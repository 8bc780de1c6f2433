"""What a store of caches can do, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Method = Literal["GET", "HEAD", "PUT"]

LONGEST_EXPIRY = 7 * 86400.0
"""Seconds that Amazon and Google sign for at most."""


class StoreError(Exception):
    """Nothing can be signed. The message tells what is wrong and names no secret."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """An address that needs no credentials, and the headers that must go with it."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loan:
    """What an upload in parts needs, for which no address can be signed before its parts are known."""

    gocloud_url: str
    """The object's address as GitLab Runner's helper takes it; no secret."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Passing credentials that are good for the upload of this one object."""


class CacheStore(Protocol):
    """One bucket or container."""

    async def sign(self, method: Method, name: str, *, expiry: float, metadata: Mapping[str, str]) -> SignedRequest:
        """Sign a request for the object `name`, good for `expiry` seconds or as long as the store allows.

        A PUT keeps `metadata` with the object where the store's signature can cover it. Raises StoreError.
        """

    async def lend(self, name: str) -> Loan | None:
        """Lend credentials to upload the object `name` in parts; None where the configuration has no role for it.

        Raises StoreError.
        """


def plain_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Leave out what cannot stand in a header."""
    return {key: value for key, value in metadata.items() if value.isascii() and value.isprintable() and value.strip()}
