"""Amazon S3, and whatever speaks its language: MinIO, Ceph, and others.

With keys in the configuration and a `BucketLocation` nothing is asked of the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import aiohttp

from runner.store.aws_credentials import EnvironmentCredentials, KeptCredentials, RoleCredentials, Source
from runner.store.base import LONGEST_EXPIRY, Method, SignedRequest, StoreError, plain_metadata
from runner.store.sigv4 import AwsCredentials, Scope, presign

if TYPE_CHECKING:
    from runner.config.cache import CacheS3Config

DEFAULT_REGION = "us-east-1"
LOCATION_TIMEOUT = 5.0
"""Seconds to ask a bucket for its region."""

_AMAZON = "s3.amazonaws.com"
_VIRTUAL_HOSTS = re.compile(r"(.*\.)?(amazonaws\.com(\.cn)?|storage\.googleapis\.com)")
"""Servers where each bucket is a host."""

_ENCRYPTIONS = {"S3": "AES256", "AES256": "AES256", "KMS": "aws:kms", "AWS:KMS": "aws:kms"}
_ENCRYPTIONS |= {"DSSE-KMS": "aws:kms:dsse", "AWS:KMS:DSSE": "aws:kms:dsse"}


class S3Store:
    """One bucket."""

    def __init__(self, config: CacheS3Config, *, environ: Mapping[str, str] = os.environ) -> None:
        if not config.bucket_name:
            raise StoreError("[runners.cache.s3] has no BucketName")
        self._config = config
        self._encryption = _encryption(config)
        self._region = _region_of(config.bucket_location)
        self._environ = environ
        self._sources: dict[str, Source] = {}

    async def sign(self, method: Method, name: str, *, expiry: float, metadata: Mapping[str, str]) -> SignedRequest:
        """Sign a request; an upload's encryption and metadata are headers of it. Raises StoreError."""
        credentials = await self._credentials(method)
        if not self._region:
            self._region = await self._location(await self._credentials("GET"))
        headers = {}
        if method == "PUT":
            headers = {f"x-amz-meta-{key}": value for key, value in plain_metadata(metadata).items()}
            headers |= self._encryption
        url = presign(
            method,
            endpoint(self._config, self._region) + quote(name, safe="/-_.~"),
            credentials=credentials,
            scope=Scope(self._region),
            expiry=max(1.0, min(expiry, LONGEST_EXPIRY)),
            now=datetime.now(UTC),
            headers=headers,
        )
        return SignedRequest(url, headers)

    async def _credentials(self, method: Method) -> AwsCredentials:
        config = self._config
        role = (config.upload_role_arn if method == "PUT" else "") or config.role_arn
        if role not in self._sources:
            self._sources[role] = self._source(role)
        return await self._sources[role]()

    def _source(self, role: str) -> Source:
        config = self._config
        region = self._region or self._environ.get("AWS_REGION") or DEFAULT_REGION
        if uses_keys(config):
            base: Source = _given(AwsCredentials(config.access_key, config.secret_key, config.session_token))
        else:
            base = KeptCredentials(EnvironmentCredentials(self._environ, region=region))
        if not role:
            return base
        limit = config.assume_role_max_concurrency
        taken = RoleCredentials(role, base, environ=self._environ, region=region, limit=limit or 5)
        return taken if config.disable_assume_role_credentials_caching else KeptCredentials(taken)

    async def _location(self, credentials: AwsCredentials) -> str:
        """Ask the bucket where it is. One that does not answer is taken for one of the oldest region."""
        url = presign(
            "GET",
            endpoint(self._config, DEFAULT_REGION),
            credentials=credentials,
            scope=Scope(DEFAULT_REGION),
            expiry=60,
            now=datetime.now(UTC),
            query={"location": ""},
        )
        timeout = aiohttp.ClientTimeout(total=LOCATION_TIMEOUT)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.get(url, allow_redirects=False) as reply,
            ):
                told = reply.headers.get("x-amz-bucket-region")  # Amazon says it in refusals too
                found = re.search(r"<LocationConstraint[^>]*>([^<]+)<", await reply.text())
        except (aiohttp.ClientError, OSError, ValueError):
            return DEFAULT_REGION
        return told or _region_of(found[1] if found else "") or DEFAULT_REGION


@dataclass(frozen=True, slots=True)
class _Given:
    credentials: AwsCredentials

    async def __call__(self) -> AwsCredentials:
        return self.credentials


def _given(credentials: AwsCredentials) -> Source:
    return _Given(credentials)


def uses_keys(config: CacheS3Config) -> bool:
    """Say whether the configuration's keys sign, and not what the environment has.

    GitLab Runner's rule: by `AuthenticationType`, else by whether server and both keys are named. Raises StoreError.
    """
    kind = config.authentication_type.lower()
    if kind not in ("", "access-key", "iam"):
        raise StoreError(f'AuthenticationType "{kind}" is none: use "access-key" or "iam"')
    if kind == "access-key" and not (config.access_key and config.secret_key):
        raise StoreError("AuthenticationType is access-key, and AccessKey or SecretKey is not set")
    return kind == "access-key" or (
        not kind and bool(config.server_address and config.access_key and config.secret_key)
    )


def endpoint(config: CacheS3Config, region: str) -> str:
    """Give the bucket's address, with a slash at its end."""
    address, bucket = config.server_address.rstrip("/"), config.bucket_name
    custom = bool(address) and _without_port(address, "443") != _AMAZON
    scheme = "http" if config.insecure and custom else "https"
    host = _without_port(address, "80" if config.insecure else "443") if custom else _amazon_host(config, region)
    path_style = config.path_style
    if path_style is None:
        path_style = custom and _VIRTUAL_HOSTS.fullmatch(urlsplit(f"//{host}").hostname or "") is None
    # No certificate is for a host with dots in the bucket's name.
    if path_style or (not custom and "." in bucket and not config.accelerate):
        return f"{scheme}://{host}/{quote(bucket, safe='-_.~')}/"
    return f"{scheme}://{bucket}.{host}/"


def _amazon_host(config: CacheS3Config, region: str) -> str:
    words = ["s3-accelerate"] if config.accelerate else ["s3"]
    words += ["dualstack"] if config.dual_stack else []
    words += [] if config.accelerate else [region]
    return ".".join(words) + (".amazonaws.com.cn" if region.startswith("cn-") else ".amazonaws.com")


def _without_port(address: str, port: str) -> str:
    return address.removesuffix(f":{port}")


def _region_of(location: str) -> str:
    return "eu-west-1" if location == "EU" else location


def _encryption(config: CacheS3Config) -> dict[str, str]:
    given = config.server_side_encryption
    if not given:
        return {}
    kind = _ENCRYPTIONS.get(given.upper())
    if kind is None:
        raise StoreError(f'ServerSideEncryption "{given}" is none: use S3, KMS or DSSE-KMS')
    headers = {"x-amz-server-side-encryption": kind}
    if kind != "AES256" and config.server_side_encryption_key_id:
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = config.server_side_encryption_key_id
    return headers
