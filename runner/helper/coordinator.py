"""What the artifact commands share: whose artifacts, at which GitLab, and how it is trusted."""

import os
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from runner.helper.console import HelperError
from runner.helper.flags import Flag, Given
from runner.helper.transfer.http import TransferError, tls_context

FLAGS = (
    Flag("url", env="CI_SERVER_URL"),
    Flag("token", env="CI_JOB_TOKEN"),
    Flag("id", kind="number", env="CI_JOB_ID", default=0),
    Flag("tls-ca-file", env="CI_SERVER_TLS_CA_FILE"),
    Flag("tls-cert-file", env="CI_SERVER_TLS_CERT_FILE"),
    Flag("tls-key-file", env="CI_SERVER_TLS_KEY_FILE"),
)


@dataclass(frozen=True, slots=True)
class JobArtifacts:
    """The artifacts of one job at its GitLab."""

    url: str
    token: str
    job: int
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, given: Given, environ: Mapping[str, str]) -> "JobArtifacts":
        """Read them from the flags. Raises HelperError if one is missing."""
        url, token, job = given.text("url"), given.text("token"), given.number("id")
        if not (url and token and job > 0):
            missing = [name for name, there in (("--url", url), ("--token", token), ("--id", job > 0)) if not there]
            raise HelperError(f"Incomplete arguments: {', '.join(missing)} missing")
        return cls(url.rstrip("/").removesuffix("/ci"), token, job, _tls(given, url, environ))

    @property
    def address(self) -> str:
        """GitLab's address of the artifacts."""
        return f"{self.url}/api/v4/jobs/{self.job}/artifacts"

    def headers(self) -> dict[str, str]:
        """Who asks, and a mark by which GitLab's own log can be searched for the request."""
        return {"JOB-TOKEN": self.token, "X-Request-ID": secrets.token_hex(16), "User-Agent": "gitlab-runner-helper"}


def status_words(status: int, reason: str) -> str:
    """How the log names an answer."""
    return f"{status} {reason}".strip()


def _tls(given: Given, url: str, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    if urlsplit(url).scheme != "https":
        return None
    host = urlsplit(url).hostname or ""
    try:
        return tls_context(
            ca_file=given.text("tls-ca-file") or _beside_config(f"{host}.crt", environ),
            cert_file=given.text("tls-cert-file") or _beside_config(f"{host}.auth.crt", environ),
            key_file=given.text("tls-key-file") or _beside_config(f"{host}.auth.key", environ),
        )
    except TransferError as error:
        raise HelperError(str(error)) from error


def _beside_config(name: str, environ: Mapping[str, str]) -> str:
    """A certificate of that name where the original keeps them, if there is one."""
    folder = "/etc/gitlab-runner" if os.geteuid() == 0 else f"{environ.get('HOME', '/')}/.gitlab-runner"
    path = f"{folder}/certs/{name}"
    return path if os.path.isfile(path) else ""
