"""Certificate authorities of tests, made with openssl: none is trusted by any system."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = "ec_paramgen_curve:prime256v1"


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in a directory, and what it has signed."""

    directory: Path

    @property
    def ca_file(self) -> Path:
        """Its own certificate."""
        return self.directory / "ca.pem"

    def issue(
        self, name: str, *, subject_names: str = "IP:127.0.0.1,DNS:localhost", days: int = 2
    ) -> tuple[Path, Path]:
        """Sign a certificate and return it and its key."""
        certificate, key, request = (self.directory / f"{name}.{kind}" for kind in ("crt", "key", "csr"))
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={subject_names}\n")
        _openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            _CURVE,
            "-nodes",
            "-keyout",
            key,
            "-out",
            request,
            "-subj",
            f"/CN={name}",
        )
        validity = ("-days", str(days)) if days > 0 else ("-days", "-1")
        _openssl(
            *(
                "x509",
                "-req",
                "-in",
                request,
                "-CA",
                self.ca_file,
                "-CAkey",
                self.directory / "ca.key",
                "-CAcreateserial",
            ),
            *("-out", certificate, "-extfile", extensions, *validity),
        )
        return certificate, key

    def server_context(self, *, want_client: bool = False, **issue: str | int) -> ssl.SSLContext:
        """Return what a server of this authority serves with."""
        certificate, key = self.issue("server", **issue)  # type: ignore[arg-type]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if want_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        return context


def make_authority(directory: Path, name: str) -> Authority:
    """Make an authority of its own."""
    directory.mkdir(parents=True)
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", _CURVE, "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", directory / "ca.key", "-out", directory / "ca.pem"),
    )
    return Authority(directory)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
