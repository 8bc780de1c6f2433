"""Amazon S3, and whatever speaks its language: MinIO, Ceph, and others.

With keys in the configuration and a `BucketLocation` nothing is asked of the network.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import anyio

from runner.helper.transfer.s3_place import DEFAULT_REGION, S3Place
from runner.helper.transfer.sigv4 import AwsCredentials, Scope, presign
from runner.store.aws_credentials import (
    EnvironmentCredentials,
    KeptCredentials,
    RoleCredentials,
    Source,
    sts_endpoint,
)
from runner.store.base import LONGEST_EXPIRY, Loan, Method, SignedRequest, StoreError, plain_metadata

if TYPE_CHECKING:
    from runner.config.cache import CacheS3Config

MOST_LOANS = 1000
"""Objects whose passing credentials are kept, as in GitLab Runner."""

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
        limit = config.assume_role_max_concurrency or 5
        self._limiter = anyio.CapacityLimiter(limit if limit > 0 else math.inf)
        self._sources: dict[str, Source] = {}
        self._loans: dict[str, Source] = {}

    async def sign(self, method: Method, name: str, *, expiry: float, metadata: Mapping[str, str]) -> SignedRequest:
        """Sign a request; an upload's encryption and metadata are headers of it. Raises StoreError."""
        credentials = await self._credentials(method)
        await self._find_region()
        headers = {}
        if method == "PUT":
            headers = {f"x-amz-meta-{key}": value for key, value in plain_metadata(metadata).items()}
            headers |= self._encryption
        url = presign(
            method,
            place_of(self._config, self._region).object_address(name),
            credentials=credentials,
            scope=Scope(self._region),
            expiry=max(1.0, min(expiry, LONGEST_EXPIRY)),
            now=datetime.now(UTC),
            headers=headers,
        )
        return SignedRequest(url, headers)

    async def lend(self, name: str) -> Loan | None:
        """Lend an upload role's credentials, bound by a policy to the one object. Raises StoreError."""
        role = self._config.upload_role_arn or self._config.role_arn
        if not role:
            return None
        await self._find_region()
        policy = upload_policy(self._config.bucket_name, name, region=self._region, kms=self._has_kms())
        if name not in self._loans:
            self._loans[name] = self._taken(role, policy)
            while len(self._loans) > MOST_LOANS:
                del self._loans[next(iter(self._loans))]
        self._loans[name] = source = self._loans.pop(name)  # the one that was asked for last goes last
        found = await source()
        url = place_of(self._config, self._region).gocloud_url(name, headers=self._encryption)
        keys = {"AWS_ACCESS_KEY_ID": found.access_key, "AWS_SECRET_ACCESS_KEY": found.secret_key}
        return Loan(url, {**keys, "AWS_SESSION_TOKEN": found.session_token, "AWS_PROFILE": ""})

    def _has_kms(self) -> bool:
        return any(value.startswith("aws:kms") for value in self._encryption.values())

    async def _find_region(self) -> None:
        if not self._region:
            self._region = await self._location(await self._credentials("GET"))

    async def _credentials(self, method: Method) -> AwsCredentials:
        config = self._config
        role = (config.upload_role_arn if method == "PUT" else "") or config.role_arn
        if role not in self._sources:
            self._sources[role] = self._source(role)
        return await self._sources[role]()

    def _source(self, role: str) -> Source:
        if role:
            return self._taken(role)
        if uses_keys(self._config):
            config = self._config
            return _given(AwsCredentials(config.access_key, config.secret_key, config.session_token))
        return KeptCredentials(EnvironmentCredentials(self._environ, region=self._asked_region))

    @property
    def _asked_region(self) -> str:
        """Where credentials are asked for."""
        return self._region or self._environ.get("AWS_REGION") or DEFAULT_REGION

    def _taken(self, role: str, policy: str = "") -> Source:
        """The role's credentials, kept until they are about to end unless the configuration forbids it."""
        if "" not in self._sources:
            self._sources[""] = self._source("")
        region = self._asked_region
        taken = RoleCredentials(
            role, self._sources[""], url=sts_endpoint(self._environ, region), region=region, limiter=self._limiter
        )
        source = taken.bound_to(policy) if policy else taken
        return source if self._config.disable_assume_role_credentials_caching else KeptCredentials(source)

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
    return place_of(config, region).address


def place_of(config: CacheS3Config, region: str) -> S3Place:
    """Say where the bucket is: GitLab Runner's rules."""
    address = config.server_address.rstrip("/")
    custom = bool(address) and _without_port(address, "443") != _AMAZON
    host = _without_port(address, "80" if config.insecure else "443") if custom else ""
    path_style = config.path_style
    if path_style is None:
        path_style = custom and _VIRTUAL_HOSTS.fullmatch(urlsplit(f"//{host}").hostname or "") is None
    return S3Place(
        config.bucket_name,
        region,
        f"{'http' if config.insecure else 'https'}://{host}" if custom else "",
        path_style=path_style,
        dual_stack=config.dual_stack,
        accelerate=config.accelerate,
    )


def upload_policy(bucket: str, name: str, *, region: str, kms: bool) -> str:
    """Give the policy of a session that may do nothing but upload one object, and take an upload back."""
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    # Amazon reads `*` and `?` in a resource as patterns, and `${` as a variable.
    plain = name.replace("${", "${$}{").replace("*", "${*}").replace("?", "${?}")
    statements = [
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": f"arn:{partition}:s3:::{bucket}/{plain}",
        }
    ]
    if kms:
        statements.append({"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"})
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


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
