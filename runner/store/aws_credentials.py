"""Whose name requests to Amazon's services and their likes are signed in.

Keys of the configuration, or what the environment has, asked for in the order of Amazon's own clients: variables, a
web identity (service accounts of EKS), the shared file, the container's endpoint, the machine's. Passing credentials
are kept until a while before their end. The addresses of container and machine are local to them: no proxy is asked.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import anyio

from runner.helper.transfer.sigv4 import AwsCredentials, Scope, presign
from runner.store.base import StoreError

RENEW_BEFORE = 900.0
"""Seconds before their end at which credentials are asked for anew: what is signed with them ends with them."""

ASK_TIMEOUT = 5.0
METADATA = "http://169.254.169.254"
CONTAINER = "http://169.254.170.2"
_XML = re.compile(r"<(AccessKeyId|SecretAccessKey|SessionToken|Expiration|Code|Message)>([^<]*)</")

Source = Callable[[], Awaitable[AwsCredentials]]


class KeptCredentials:
    """A source that is asked again only when what it gave is about to end; by one caller at a time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: AwsCredentials | None = None
        self._renew_at = 0.0
        self._asking = anyio.Lock()

    async def __call__(self) -> AwsCredentials:
        """Give credentials. Raises StoreError."""
        async with self._asking:
            if self._kept is None or time.monotonic() >= self._renew_at:
                self._kept = await self._source()
                # The one look at the wall's clock: the cloud names a moment, and we make a span of it.
                self._renew_at = time.monotonic() + self._kept.expires_at - time.time() - RENEW_BEFORE
            return self._kept


class EnvironmentCredentials:
    """What the process's environment has."""

    def __init__(self, environ: Mapping[str, str], *, region: str, metadata: str = METADATA) -> None:
        self._environ = environ
        self._region = region
        self._metadata = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata).rstrip("/")

    async def __call__(self) -> AwsCredentials:
        """Give the first credentials that are found. Raises StoreError."""
        environ = self._environ
        if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
            return AwsCredentials(
                environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN", "")
            )
        if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environ.get("AWS_ROLE_ARN"):
            return await self._web_identity()
        if shared := _shared_file(environ):
            return shared
        if "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" in environ or "AWS_CONTAINER_CREDENTIALS_FULL_URI" in environ:
            return await self._container()
        if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
            return await self._machine()
        raise StoreError("the environment has no credentials for S3: set AccessKey and SecretKey, or give it a role")

    async def _web_identity(self) -> AwsCredentials:
        query = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self._environ["AWS_ROLE_ARN"],
            "RoleSessionName": self._environ.get("AWS_ROLE_SESSION_NAME") or _session_name(),
            "WebIdentityToken": _read(self._environ["AWS_WEB_IDENTITY_TOKEN_FILE"]),
        }
        return _of_xml(await _ask("POST", sts_endpoint(self._environ, self._region), data=query, proxies=True))

    async def _container(self) -> AwsCredentials:
        environ = self._environ
        relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
        url = f"{CONTAINER}{relative}" if relative else environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        if environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            token = _read(environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
        return _of_json(await _ask("GET", url, headers={"Authorization": token} if token else {}))

    async def _machine(self) -> AwsCredentials:
        base = f"{self._metadata}/latest"
        asked = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
        try:
            headers = {"X-aws-ec2-metadata-token": await _ask("PUT", f"{base}/api/token", headers=asked)}
            roles = f"{base}/meta-data/iam/security-credentials/"
            role = (await _ask("GET", roles, headers=headers)).split("\n")[0].strip()
            return _of_json(await _ask("GET", roles + role, headers=headers))
        except StoreError as error:
            raise StoreError(
                f"the environment has no credentials for S3, and this machine has no role: {error}"
            ) from error


@dataclass(frozen=True, slots=True)
class RoleCredentials:
    """Credentials of a role, taken on for an hour with those of `base`."""

    arn: str
    base: Source
    url: str
    """Where roles are taken on: `sts_endpoint`."""
    region: str
    limiter: anyio.CapacityLimiter
    """How many are taken on at once, by all who share it."""
    policy: str = ""
    """What the session is bound to, above the role's own limits."""

    def bound_to(self, policy: str) -> RoleCredentials:
        """Give a source of sessions that may do less than the role."""
        return replace(self, policy=policy)

    async def __call__(self) -> AwsCredentials:
        """Take on the role. Raises StoreError."""
        query = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": self.arn,
            "RoleSessionName": _session_name(),
            "DurationSeconds": "3600",
        }
        if self.policy:
            query["Policy"] = self.policy
        async with self.limiter:
            url = presign(
                "GET",
                self.url,
                credentials=await self.base(),
                scope=Scope(self.region, "sts"),
                expiry=60,
                now=datetime.now(UTC),
                query=query,
            )
            return _of_xml(await _ask("GET", url, proxies=True))


def sts_endpoint(environ: Mapping[str, str], region: str) -> str:
    """Where roles are taken on; `AWS_ENDPOINT_URL_STS` names another place, as for Amazon's clients."""
    given = environ.get("AWS_ENDPOINT_URL_STS", "").rstrip("/")
    return (given or f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}") + "/"


def _session_name() -> str:
    return f"gitlab-runner-cache-upload-{secrets.token_hex(8)}"


def _shared_file(environ: Mapping[str, str]) -> AwsCredentials | None:
    path = environ.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(environ.get("HOME", ""), ".aws/credentials")
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        section = parser[environ.get("AWS_PROFILE", "default")]
        return AwsCredentials(
            section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token", "")
        )
    except (OSError, KeyError, ValueError, configparser.Error):
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error


async def _ask(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    data: Mapping[str, str] | None = None,
    proxies: bool = False,
) -> str:
    """Ask and give the answer's text. Raises StoreError; the question may hold secrets and is not told."""
    host = urlsplit(url).netloc
    timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=proxies) as session,
            session.request(method, url, headers=headers, data=data) as reply,
        ):
            text = await reply.text()
            if reply.status == 200:
                return text
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise StoreError(f"{host} is not to be reached ({type(error).__name__})") from error
    told = dict(_XML.findall(text))
    raise StoreError(f"{host} answered {reply.status} {told.get('Code', '')} {told.get('Message', '')[:200]}".rstrip())


def _of_xml(text: str) -> AwsCredentials:
    return _made(dict(_XML.findall(text)), access="AccessKeyId", token="SessionToken")


def _of_json(text: str) -> AwsCredentials:
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    return _made(found if isinstance(found, dict) else {}, access="AccessKeyId", token="Token")


def _made(found: Mapping[str, str], *, access: str, token: str) -> AwsCredentials:
    try:
        until = datetime.fromisoformat(found["Expiration"]).timestamp() if found.get("Expiration") else float("inf")
        return AwsCredentials(found[access], found["SecretAccessKey"], found.get(token, ""), until)
    except (KeyError, ValueError) as error:
        raise StoreError("the answer for credentials holds none") from error
