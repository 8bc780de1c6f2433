"""From connection settings to a client: explicit host, in a pod, or by kubeconfig.

Law: kubernetes_asyncio serves for what it is good at (kubeconfig, credential plugins, token refresh), and is imported
when somebody connects. Every error is a sentence that names the file, context or host.
"""

from __future__ import annotations

import asyncio.sslproto
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.config.proxies import proxy_for, split_proxy
from runner.kube.client import USER_AGENT, KubeClient
from runner.kube.credentials import (
    ConfigurationCredentials,
    KubeconfigRefresh,
    ServiceAccountRefresh,
    build_tls,
    first_line,
    loader_errors,
)
from runner.kube.errors import ConnectionSettingsError
from runner.kube.library import loaders
from runner.kube.transport import Connection

if TYPE_CHECKING:
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config.kube_config import KubeConfigLoader

    from runner.kube.credentials import Refresh
    from runner.kube.retries import RetryPolicy
    from runner.kube.transport import Observer

SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds the token and CA of its service account."""

_TLS_BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """How to find the API server, in the words of `[runners.kubernetes]`.

    `host` decides: with it everything else is taken from here. Without it a process in a pod uses its service account;
    any other uses a kubeconfig. GitLab Runner's order, but that a `kubeconfig` named here goes before the pod's own
    account.
    """

    host: str = ""
    context: str = ""
    """The kubeconfig's context; empty for its current one."""
    cert_file: str = ""
    """Client certificate for `host`; needs `key_file` and `ca_file`."""
    key_file: str = ""
    ca_file: str = ""
    bearer_token: str = field(default="", repr=False)
    """Used with any way of connecting. A token that was asked for must not be passed over for a stronger one."""
    kubeconfig: str | None = None
    """A kubeconfig file, or several joined as in KUBECONFIG; None for KUBECONFIG and then ~/.kube/config."""


async def connect(
    settings: ConnectionSettings,
    *,
    retry: RetryPolicy | None = None,
    request_timeout: float = 30.0,
    observe: Observer | None = None,
    retried: Callable[[str, str], None] | None = None,
    user_agent: str = USER_AGENT,
    environ: Mapping[str, str] | None = None,
    service_account_dir: str = SERVICE_ACCOUNT_DIR,
) -> KubeClient:
    """Make a client; close it with `aclose`. Raises ConnectionSettingsError, and asks the API server nothing yet."""
    connection = await find_connection(
        settings, environ=os.environ if environ is None else environ, service_account_dir=service_account_dir
    )
    _shrink_tls_buffers()
    return KubeClient(
        connection,
        retry=retry,
        request_timeout=request_timeout,
        observe=observe,
        retried=retried,
        user_agent=user_agent,
    )


async def find_connection(
    settings: ConnectionSettings, *, environ: Mapping[str, str], service_account_dir: str = SERVICE_ACCOUNT_DIR
) -> Connection:
    """Find the way to the API server that the settings, the pod or a kubeconfig describe."""
    # A fresh one, never the process-wide default: an embedder may have set that for another cluster.
    configuration = loaders().Configuration()
    refresh: Refresh | None = None
    if settings.host:
        source = f"host {settings.host}"
        _use_settings(settings, configuration)
    elif settings.kubeconfig is None and _in_pod(environ, service_account_dir):
        source = "the pod's service account"
        refresh = _use_service_account(configuration, environ, service_account_dir)
    else:
        files = _kubeconfig_files(settings, environ)
        source = f"kubeconfig {os.pathsep.join(files)}"
        refresh = await _use_kubeconfig(files, settings.context, configuration)
    if settings.bearer_token:
        if not settings.host:
            # An API server that knows a certificate's owner does not look at the token.
            configuration.cert_file = configuration.key_file = None
        configuration.api_key["BearerToken"] = f"Bearer {settings.bearer_token}"
        configuration.refresh_api_key_hook = refresh = None
    return _connection(configuration, refresh, source, environ)


def _use_settings(settings: ConnectionSettings, configuration: Configuration) -> None:
    if settings.cert_file and not (settings.key_file and settings.ca_file):
        raise ConnectionSettingsError("cert_file is set, so key_file and ca_file must be set as well.")
    host = settings.host
    if "://" not in host:
        # Go's rule for a host without a scheme: https when TLS is spoken of.
        host = f"{'https' if settings.ca_file or settings.cert_file else 'http'}://{host}"
    configuration.host = host
    configuration.ssl_ca_cert = settings.ca_file or None
    if settings.cert_file:
        configuration.cert_file, configuration.key_file = settings.cert_file, settings.key_file


def _in_pod(environ: Mapping[str, str], service_account_dir: str) -> bool:
    named = environ.get("KUBERNETES_SERVICE_HOST") and environ.get("KUBERNETES_SERVICE_PORT")
    return bool(named) and Path(service_account_dir, "token").is_file()


def _use_service_account(configuration: Configuration, environ: Mapping[str, str], service_account_dir: str) -> Refresh:
    refresh = ServiceAccountRefresh(configuration, environ, service_account_dir)
    try:
        refresh.load()
    except loader_errors() as error:
        raise ConnectionSettingsError(
            f"The service account in {service_account_dir} is of no use: {first_line(error)}"
        ) from error
    return refresh


def _kubeconfig_files(settings: ConnectionSettings, environ: Mapping[str, str]) -> list[str]:
    home = environ.get("HOME") or str(Path.home())
    named = settings.kubeconfig or environ.get("KUBECONFIG") or str(Path(home, ".kube", "config"))
    files = [str(Path(name).expanduser()) for name in named.split(os.pathsep) if name]
    found = [name for name in files if Path(name).is_file()]
    if not found:
        raise ConnectionSettingsError(
            f"No API server is known: host is empty, this process has no service account of a pod, and {named} is no"
            " file. Set host, or KUBECONFIG to a kubeconfig."
        )
    return found


async def _use_kubeconfig(files: list[str], context: str, configuration: Configuration) -> Refresh:
    where = f"The kubeconfig {os.pathsep.join(files)}" + (f" with context {context}" if context else "")
    try:
        merged = loaders().KubeConfigMerger(os.pathsep.join(files)).config
        # A base path of None means: certificate files are named relative to the kubeconfig. Nothing is written back to
        # it.
        loader = loaders().KubeConfigLoader(merged, active_context=context or None, config_base_path=None)
        refresh = KubeconfigRefresh(loader, configuration, _user(merged, loader))
        await refresh()
    except loader_errors() as error:
        raise ConnectionSettingsError(f"{where} cannot be used: {first_line(error)}") from error
    if not hasattr(loader, "host"):
        raise ConnectionSettingsError(f"{where} names no server.")
    return refresh


def _user(merged: Any, loader: KubeConfigLoader) -> Mapping[str, object]:  # the loader's node type is untyped
    name = (loader.current_context or {}).get("context", {}).get("user")
    node = merged["users"].get_with_name(name, safe=True) if name else None
    return dict(node.value.get("user") or {}) if node else {}


def _connection(
    configuration: Configuration, refresh: Refresh | None, source: str, environ: Mapping[str, str]
) -> Connection:
    host = str(configuration.host).rstrip("/")
    if not _is_url(host):
        raise ConnectionSettingsError(f"{host} ({source}) is no http or https URL.")
    tls = build_tls(configuration, source) if host.startswith("https:") else None
    proxy = str(configuration.proxy or "") or proxy_for(host, environ)
    headers: dict[str, str] = {}
    if proxy:
        try:
            proxy, headers = split_proxy(proxy)
        except ValueError as error:
            raise ConnectionSettingsError(f"The proxy for {host} cannot be used: {error}.") from error
    return Connection(
        host=host,
        credentials=ConfigurationCredentials(configuration, refresh=refresh, tls=tls, source=source),
        tls=tls,
        server_hostname=configuration.tls_server_name or None,
        proxy=proxy,
        proxy_headers=headers,
    )


def _is_url(host: str) -> bool:
    try:
        parts = urlsplit(host)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _shrink_tls_buffers() -> None:
    """Let asyncio's TLS connections keep 64 KiB to read into instead of 256.

    Each connection holds such a buffer for its whole life, and a manager holds one or two per job: 315 KB become 120,
    as fast as before. There is no other place to say so; it is for the whole process, and never makes a buffer larger.
    """
    protocol = asyncio.sslproto.SSLProtocol
    protocol.max_size = min(protocol.max_size, _TLS_BUFFER_BYTES)
