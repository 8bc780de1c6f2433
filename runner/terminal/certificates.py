"""The certificate of the session server: made at the start, signed by itself, known to GitLab through each request.

Law: the private key is in memory alone; it never reaches a disk. `cryptography` is imported here and when it is needed.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.terminal.addresses import ip_of

KEY_BITS = 2048
LIFETIME = timedelta(days=730)
ORGANIZATION = "GitLab Runner"


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate and what serves with it."""

    pem: str
    """The certificate, for those who are to trust it."""
    context: ssl.SSLContext = field(repr=False)


def make_certificate(host: str, *, now: datetime | None = None) -> ServerCertificate:
    """Make a key and a certificate for a host name or address, as GitLab Runner has them: RSA 2048, two years.

    Takes a tenth of a second: call it in a thread. `now` is the beginning of its life.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)])
    begin = now or datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + LIFETIME)
        # It is its own authority: a client that is told to trust it has nothing else to go by.
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_key_usage(x509), critical=True)
    )
    if host:
        address = ip_of(host)
        subject = x509.IPAddress(address) if address else x509.DNSName(host)
        builder = builder.add_extension(x509.SubjectAlternativeName([subject]), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ServerCertificate(certificate.decode(), _context(certificate + private))


def _key_usage(x509: Any) -> Any:
    wanted = {"digital_signature", "key_encipherment", "key_cert_sign"}
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in wanted for name in names})


def _context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The library reads keys from files alone; this one is memory.
    descriptor = os.memfd_create("session", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
