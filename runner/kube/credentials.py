"""Who we are, kept fresh: the headers and certificates of a kubernetes_asyncio Configuration.

Law: credentials are renewed by one task at a time, before they expire or after a refusal, and never more often than
every ten seconds. A refresh that fails leaves the old ones in use: the server decides whether they still count. No
secret is logged.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import aiohttp
import anyio
import structlog
import yaml

from runner.kube.errors import ConnectionSettingsError
from runner.kube.library import loaders

if TYPE_CHECKING:
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config.kube_config import KubeConfigLoader

log = structlog.get_logger()

RENEW_PAUSE = 10.0
"""The least time between two renewals."""

REFRESH_INTERVAL = 60.0
"""How often a token file or an OpenID token is looked at; client-go's period."""

PLUGIN_TIMEOUT = 60.0
"""How long a credential plugin may take."""

_EXPIRY_MARGIN = 300.0


class Refresh(Protocol):
    """Brings a Configuration up to date."""

    @property
    def due(self) -> bool:
        """Whether it is time."""

    async def __call__(self) -> None:
        """Load anew, due or not. Raises one of `loader_errors()`."""


class KubeconfigRefresh:
    """Loads the credentials of a kubeconfig's user again: plugin, token file or OpenID provider."""

    def __init__(self, loader: KubeConfigLoader, configuration: Configuration, user: Mapping[str, object]) -> None:
        self._loader = loader
        self._configuration = configuration
        self._plugin = "exec" in user
        self._renewable = self._plugin or "tokenFile" in user or "auth-provider" in user
        self._due_at = -math.inf

    @property
    def due(self) -> bool:
        """Whether it is time: a plugin says when, files and providers are looked at each minute."""
        return time.monotonic() >= self._due_at

    async def __call__(self) -> None:
        """Load anew."""
        # The loader keeps a plugin's answer until the moment of its expiry; without that the plugin is asked. And it
        # keeps the token when the plugin gives a certificate instead.
        for known in ("exec_plugin_expiry", "token"):
            vars(self._loader).pop(known, None)
        self._due_at = time.monotonic() + RENEW_PAUSE
        with anyio.fail_after(PLUGIN_TIMEOUT):
            await self._loader.load_and_set(self._configuration)
        if "token" not in vars(self._loader):
            self._configuration.api_key.pop("BearerToken", None)
        self._due_at = time.monotonic() + self._period()

    def _period(self) -> float:
        if not self._renewable:
            return math.inf
        if not self._plugin:
            return REFRESH_INTERVAL
        expiry = getattr(self._loader, "exec_plugin_expiry", None)
        if not isinstance(expiry, datetime):
            # Such credentials hold until they are refused.
            return math.inf
        # The one place where the clock of the wall counts: a plugin names a moment, and we make a span of it.
        left = (expiry - datetime.now(UTC)).total_seconds()
        return max(left - min(_EXPIRY_MARGIN, left / 5), RENEW_PAUSE)


class ServiceAccountRefresh:
    """Loads a pod's service account again. Never due: the loader's own hook reads the token file every minute."""

    due = False

    def __init__(self, configuration: Configuration, environ: Mapping[str, str], directory: str) -> None:
        self._configuration = configuration
        self._environ = dict(environ)
        self._directory = Path(directory)

    async def __call__(self) -> None:
        """Load anew."""
        self.load()

    def load(self) -> None:
        """Read address, token and CA; the kubelet replaces the token's file before the token expires."""
        loaders().InClusterConfigLoader(
            token_filename=str(self._directory / "token"),
            cert_filename=str(self._directory / "ca.crt"),
            environ=self._environ,
        ).load_and_set(self._configuration)


class ConfigurationCredentials:
    """Credentials of a connection, from a Configuration that a loader filled."""

    def __init__(
        self, configuration: Configuration, *, refresh: Refresh | None, tls: ssl.SSLContext | None, source: str
    ) -> None:
        self._configuration = configuration
        self._refresh = refresh
        self._tls = tls
        self._chain = (configuration.cert_file, configuration.key_file)
        self._log = log.bind(credentials=source)
        self._lock = anyio.Lock()
        self._renewed_at = -math.inf
        self._worked = False
        self._generation = 0

    @property
    def generation(self) -> int:
        """Grows with each renewal."""
        return self._generation

    async def headers(self) -> dict[str, str]:
        """Return the headers of the next request, after the refresh that may be due."""
        if self._refresh is not None and self._refresh.due:
            async with self._lock:
                if self._refresh.due:
                    await self._try(self._refresh)
        return await self._headers()

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Renew what the server has refused, unless somebody has just done so."""
        async with self._lock:
            if self._refresh is None:
                return False
            if refused and await self._headers() != refused:
                return True
            if time.monotonic() - self._renewed_at >= RENEW_PAUSE:
                self._renewed_at = time.monotonic()
                self._worked = await self._try(self._refresh)
                self._generation += self._worked
            # The same token again is of no use; a certificate is not among the headers, and may be new.
            return self._worked and (not refused or await self._headers() != refused)

    async def _try(self, refresh: Refresh) -> bool:
        try:
            await refresh()
            self._show_certificate()
        except loader_errors() as error:
            self._log.warning("credentials not refreshed", error=first_line(error))
            return False
        return True

    async def _headers(self) -> dict[str, str]:
        try:
            # Runs the refresh hook of the in-cluster loader.
            settings = await self._configuration.auth_settings()
        except loader_errors() as error:
            self._log.warning("token not refreshed", error=first_line(error))
            token = self._configuration.api_key.get("BearerToken")
            return {"authorization": token.strip()} if token else {}
        # A token file may end with a newline, which no header may.
        return {entry["key"]: entry["value"].strip() for entry in settings.values() if entry["value"]}

    def _show_certificate(self) -> None:
        """Let new connections show the client certificate that a plugin has made."""
        chain = (self._configuration.cert_file, self._configuration.key_file)
        if self._tls is not None and chain[0] and chain != self._chain:
            _load_chain(self._tls, chain[0], chain[1])
            self._chain = chain


def build_tls(configuration: Configuration, source: str) -> ssl.SSLContext:
    """Make the TLS context that all connections share. Raises ConnectionSettingsError naming the file."""
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    except OSError as error:
        raise ConnectionSettingsError(
            f"The CA file {configuration.ssl_ca_cert} ({source}) cannot be loaded: {_why(error)}"
        ) from error
    # Python 3.13 asks for fields that many a cluster's own CA does not set; Go, and so kubectl, does not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        _load_chain(context, configuration.cert_file, configuration.key_file)
    return context


def loader_errors() -> tuple[type[Exception], ...]:
    """Name what kubernetes_asyncio's loaders raise: they check little of what a file holds before they use it."""
    return (
        loaders().ConfigException,
        ConnectionSettingsError,
        OSError,
        yaml.YAMLError,
        aiohttp.ClientError,
        AssertionError,
        AttributeError,
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
    )


def first_line(error: Exception) -> str:
    """Say what went wrong in one bounded line; a plugin may have written a page."""
    text = str(error).strip().partition("\n")[0][:300].rstrip(".")
    return f"{text or 'something is missing in it'}."


def _why(error: OSError) -> str:
    """The system's words, without the number and the name that stand before them already; OpenSSL's as they are."""
    return first_line(error) if isinstance(error, ssl.SSLError) else f"{(error.strerror or str(error)).lower()}."


def _load_chain(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    try:
        context.load_cert_chain(cert_file, keyfile=key_file)
    except OSError as error:
        raise ConnectionSettingsError(
            f"The client certificate {cert_file} with key {key_file} cannot be loaded: {_why(error)}"
        ) from error
