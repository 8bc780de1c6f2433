"""Whom we trust and who we are on TLS connections to GitLab.

Law: files are read here and nowhere else in this package. A certificate authority that the operator names is added to
the system's, as GitLab Runner does; a file of ours that cannot be used becomes a sentence, never a silent fallback.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from runner.gitlab.errors import CoordinatorConfigurationError

_SELF_SIGNED = {18, 19}
_UNKNOWN_ISSUER = {2, 20, 21}
_EXPIRED = 10
_WRONG_HOST = {62, 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The three PEM files of one runner; an empty name or a file that is not there counts for nothing."""

    ca_file: str = ""
    """`tls-ca-file`: certificate authorities to trust besides the system's."""
    cert_file: str = ""
    """`tls-cert-file`: our own certificate, for servers that want one."""
    key_file: str = ""
    """`tls-key-file`: its key."""

    def or_found(self, host: str, directory: str) -> TlsFiles:
        """Fill what is empty with `<host>.crt`, `<host>.auth.crt` and `<host>.auth.key` of the directory."""
        base = Path(directory) / host
        return TlsFiles(
            ca_file=self.ca_file or f"{base}.crt",
            cert_file=self.cert_file or f"{base}.auth.crt",
            key_file=self.key_file or f"{base}.auth.key",
        )

    def fingerprint(self) -> tuple[int, ...]:
        """Return the files' times of change: when this differs, the connection must be made anew."""
        return tuple(_changed_at(name) for name in (self.ca_file, self.cert_file, self.key_file))


class TlsSetup:
    """One SSL context made from `files`, and what it learnt.

    Raises CoordinatorConfigurationError when the client certificate or its key cannot be used. A CA file that cannot be
    read is not fatal, as with GitLab Runner: `finding` says so, and only the system's authorities are trusted.
    """

    def __init__(self, files: TlsFiles, *, https: bool = True) -> None:
        self.files = files
        self.finding = ""
        """A sentence about a CA file that is no use, empty when all is well."""
        self.ca_pem = ""
        """The CA file's text: what jobs get as CI_SERVER_TLS_CA_FILE."""
        self.context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 rejects authorities without all of RFC 5280's extensions; no other client of GitLab does.
        self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if https:  # the system's authorities take 20 ms, and plain http has no use for them
            self.context.load_default_certs()
            self._add_authorities()
            self._add_client_certificate()

    def chain_pem(self) -> str:
        """Return what lets a job trust this GitLab: the CA file, else the chain verified last, leaf first.

        Empty before the first connection, and where this Python does not tell the chain.
        """
        return self.ca_pem or self.context.chain_pem()

    def explain(self, error: ssl.SSLError, origin: str) -> str:
        """Say in one sentence why TLS with `origin` failed, and which setting helps."""
        if not isinstance(error, ssl.SSLCertVerificationError):
            return f"TLS with GitLab at {origin} failed: {error.reason or error}."
        code = error.verify_code
        if code in _WRONG_HOST:
            return f"The certificate of GitLab at {origin} is for another name: {error.verify_message}. Correct `url`."
        if code == _EXPIRED:
            return f"The certificate of GitLab at {origin} has expired: renew it on the server."
        if code in _SELF_SIGNED | _UNKNOWN_ISSUER:
            return f"The certificate of GitLab at {origin} is not trusted ({error.verify_message}): {self._way_out()}"
        return f"The certificate of GitLab at {origin} was not accepted: {error.verify_message}."

    def _way_out(self) -> str:
        if self.finding:
            return self.finding
        if self.ca_pem:
            return f"the authority that signed it is not in `tls-ca-file`, {self.files.ca_file}."
        return "set `tls-ca-file` of this runner to a PEM file with the authority that signed it."

    def _add_authorities(self) -> None:
        name = self.files.ca_file
        if not name or not _exists(name):
            return
        try:
            text = Path(name).read_text(encoding="ascii", errors="replace")
            self.context.load_verify_locations(cadata=_certificates(text))
        except (OSError, ValueError, ssl.SSLError) as error:
            self.finding = f"`tls-ca-file`, {name}, holds no usable PEM certificate ({_kind(error)})."
        else:
            self.ca_pem = text

    def _add_client_certificate(self) -> None:
        certificate, key = self.files.cert_file, self.files.key_file
        if not (certificate and key and _exists(certificate) and _exists(key)):
            return
        try:
            # An empty password, or OpenSSL asks for one on the terminal.
            self.context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError) as error:
            raise CoordinatorConfigurationError(
                f"The client certificate `tls-cert-file`, {certificate}, with the key `tls-key-file`, {key}, "
                f"cannot be used ({_kind(error)})."
            ) from error


class _Context(ssl.SSLContext):
    """A context that remembers its last connection, for the chain that was verified on it."""

    _last: ssl.SSLObject | None = None

    def wrap_bio(self, *args: object, **options: object) -> ssl.SSLObject:
        # asyncio makes every TLS connection through this; there is no other public way to the chain of a client's
        # connection.
        made = super().wrap_bio(*args, **options)  # type: ignore[arg-type]
        self._last = made
        return made

    def chain_pem(self) -> str:
        if self._last is None:
            return ""
        return "".join(dict.fromkeys(_verified_chain(self._last)))


def _verified_chain(connection: ssl.SSLObject) -> list[str]:
    """Return the verified chain as PEM texts, leaf first."""
    if hasattr(connection, "get_verified_chain"):  # from Python 3.13 on
        return [ssl.DER_cert_to_PEM_cert(der) for der in connection.get_verified_chain()]
    # In 3.11 and 3.12 only the object behind the public one knows it.
    inner = getattr(connection, "_sslobj", None)
    if inner is None or not hasattr(inner, "get_verified_chain"):
        return []
    return [certificate.public_bytes() for certificate in inner.get_verified_chain() or ()]


def _certificates(text: str) -> str:
    """Keep the certificates of a PEM text: what stands around them, a key or a comment, is no reason to reject it."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    blocks = [block.partition(end)[0] for block in text.split(begin)[1:]]
    if not blocks:
        raise ValueError("no certificate")
    return "\n".join(f"{begin}{block}{end}" for block in blocks) + "\n"


def _kind(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not PEM"
    return error.strerror or "unreadable" if isinstance(error, OSError) else str(error)


def _exists(name: str) -> bool:
    return os.path.exists(name)


def _changed_at(name: str) -> int:
    try:
        return os.stat(name).st_mtime_ns if name else 0
    except OSError:
        return 0
