"""A certificate authority made on the fly, and a server certificate for loopback, by the `openssl` program.

Law: keys live in one temporary folder that `remove` takes away; nothing is trusted but by who is given the authority.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = "2"
_OPENSSL_TIMEOUT = 30.0


class Certificates:
    """An authority and one server certificate in a temporary folder.

    Raises RuntimeError when `openssl` is missing or fails. `hosts` are IP addresses or names.
    """

    def __init__(self, hosts: tuple[str, ...] = ("127.0.0.1", "::1", "localhost")) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="embedded-kubernetes-tls-"))
        try:
            self._make(hosts)
        except BaseException:
            self.remove()
            raise

    @property
    def authority(self) -> Path:
        """The authority's certificate, for the client's `certificate-authority`."""
        return self._folder / "ca.crt"

    def server_context(self) -> ssl.SSLContext:
        """Return the server's side."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._folder / "server.crt", self._folder / "server.key")
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's side that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.authority))

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make(self, hosts: tuple[str, ...]) -> None:
        names = ",".join(f"{'IP' if host[:1].isdigit() or ':' in host else 'DNS'}:{host}" for host in hosts)
        (self._folder / "server.ext").write_text(
            f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        self._openssl(
            *("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", _DAYS, "-subj", "/CN=embedded-ca"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        self._openssl("req", "-new", *_KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=embedded")
        self._openssl(
            *("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", "server.crt", "-days", _DAYS, "-extfile", "server.ext"),
        )

    def _openssl(self, *arguments: str) -> None:
        program = shutil.which("openssl")
        if program is None:
            raise RuntimeError("The program openssl is not there: serve without TLS, or install it.")
        done = subprocess.run(
            (program, *arguments), cwd=self._folder, capture_output=True, timeout=_OPENSSL_TIMEOUT, check=False
        )
        if done.returncode:
            raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()[-500:]}")
