"""Whom we trust and who we are on TLS connections to GitLab.

Law: files are read here and nowhere else in this package. A certificate authority that the operator names is added to
the system's, as GitLab Runner does; a file of ours that cannot be used becomes a sentence, never a silent fallback.
What a failure says lies in `tls_trouble.py`.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from runner.gitlab.errors import CoordinatorConfigurationError
from runner.gitlab.tls_trouble import explain, file_trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The three PEM files of one runner; an empty name counts for nothing."""

    ca_file: str = ""
    """`tls-ca-file`: certificate authorities to trust besides the system's."""
    cert_file: str = ""
    """`tls-cert-file`: our own certificate, for servers that want one."""
    key_file: str = ""
    """`tls-key-file`: its key."""
    folders: tuple[str, ...] = ()
    """Where files of the host's name are looked for instead of those without a name; the first that has one counts."""

    def found(self, host: str) -> TlsFiles:
        """Fill what is empty with `<host>.crt`, `<host>.auth.crt` and `<host>.auth.key` where a folder has them now."""

        def first(ending: str) -> str:
            places = (os.path.join(folder, host + ending) for folder in self.folders)
            return next((place for place in places if os.path.exists(place)), "")

        return TlsFiles(
            ca_file=self.ca_file or first(".crt"),
            cert_file=self.cert_file or first(".auth.crt"),
            key_file=self.key_file or first(".auth.key"),
        )

    def fingerprint(self) -> tuple[object, ...]:
        """Return what changes with the files: when this differs, the connection must be made anew."""
        return tuple((name, _state(name)) for name in (self.ca_file, self.cert_file, self.key_file))


class TlsSetup:
    """One SSL context made from `files` for the GitLab at `origin`, and what it learnt.

    Raises CoordinatorConfigurationError when the client certificate or its key cannot be used. A file that is missing
    or a CA file that cannot be read is not fatal, as with GitLab Runner: `finding` says so, and what is there counts.
    """

    def __init__(self, files: TlsFiles, *, origin: str = "https://") -> None:
        self.files = files
        self.finding = ""
        """A sentence about a file that is no use, empty when all is well."""
        self.ca_pem = ""
        """The CA file's text: what jobs get as CI_SERVER_TLS_CA_FILE."""
        self.cert_pem = ""
        """The client certificate's text, for jobs' CI_SERVER_TLS_CERT_FILE; empty without its key."""
        self.key_pem = ""
        """The text of its key, for jobs' CI_SERVER_TLS_KEY_FILE."""
        self._origin = origin
        self.context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 rejects authorities without all of RFC 5280's extensions; no other client of GitLab does.
        self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if origin.startswith("https:"):  # the system's authorities take 20 ms, and plain http has no use for them
            self.context.origin = urlsplit(origin).hostname or ""
            self.context.load_default_certs()
            self._add_authorities()
            self._add_client_certificate()

    def chain_pem(self) -> str:
        """Return what lets a job trust this GitLab: the CA file, else the chain verified last, leaf first.

        Empty before the first connection, and where this Python does not tell the chain. The chain ends with the
        authority that the system trusts, so FF_RESOLVE_FULL_TLS_CHAIN has nothing to add.
        """
        return self.ca_pem or self.context.chain_pem()

    def explain(self, error: ssl.SSLError) -> str:
        """Say in one sentence why TLS with GitLab failed, and which setting or file helps."""
        return explain(error, self._origin, self.files.ca_file if self.ca_pem else "", self._own(), self.finding)

    def _own(self) -> str:
        return self.files.cert_file if self.cert_pem else ""

    def _add_authorities(self) -> None:
        name = self.files.ca_file
        if not name:
            return
        try:
            text = _text(name)
            self.context.load_verify_locations(cadata=_certificates(text))
        except (OSError, ValueError, ssl.SSLError) as error:
            self.finding = f"`tls-ca-file`, {name}, cannot be used for GitLab at {self._origin}: {file_trouble(error)}."
        else:
            self.ca_pem = text

    def _add_client_certificate(self) -> None:
        certificate, key = self.files.cert_file, self.files.key_file
        if not (certificate or key):
            return
        lacking = next((name for name in (certificate, key) if not os.path.exists(name)), None)
        if lacking is not None:
            what = f"{lacking} does not exist" if lacking else "`tls-cert-file` and `tls-key-file` belong together"
            self.finding = self.finding or f"GitLab at {self._origin} is shown no client certificate: {what}."
            return
        try:
            # An empty password, or OpenSSL asks for one on the terminal.
            self.context.load_cert_chain(certificate, key, password="")
            self.cert_pem, self.key_pem = (_text(name) for name in (certificate, key))
        except (OSError, ValueError) as error:
            raise CoordinatorConfigurationError(
                f"The client certificate `tls-cert-file`, {certificate}, with the key `tls-key-file`, {key}, "
                f"cannot be used for GitLab at {self._origin}: {file_trouble(error)}."
            ) from error


class _Context(ssl.SSLContext):
    """A context that remembers the chain of its last good connection with `origin`."""

    origin: str = ""
    """GitLab's host: a proxy may have a certificate too, which is none of a job's business."""
    _last: ssl.SSLObject | None = None
    _chain: str = ""

    def wrap_bio(self, *args: object, **options: object) -> ssl.SSLObject:
        # asyncio makes every TLS connection through this; there is no other public way to the chain of a client's
        # connection.
        made = super().wrap_bio(*args, **options)  # type: ignore[arg-type]
        if made.server_hostname == self.origin:
            self.chain_pem()  # of the connection before, as this one has yet to be verified
            self._last = made
        return made

    def chain_pem(self) -> str:
        if self._last is not None:
            self._chain = "".join(dict.fromkeys(_verified_chain(self._last))) or self._chain
        return self._chain


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


def _text(name: str) -> str:
    return Path(name).read_text(encoding="ascii", errors="replace")


def _state(name: str) -> tuple[int, ...]:
    """What tells a file's content from what it was: a ConfigMap's times may go back, its files are others."""
    try:
        known = os.stat(name) if name else None
    except OSError:
        known = None
    return (known.st_mtime_ns, known.st_size, known.st_ino) if known else ()
