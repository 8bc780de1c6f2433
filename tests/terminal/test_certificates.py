"""The session server's certificate."""

import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from runner.terminal.certificates import make_certificate

NOW = datetime(2027, 1, 15, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        pytest.param("runner.example.com", ["runner.example.com"], id="name"),
        pytest.param("10.1.2.3", ["10.1.2.3"], id="IPv4"),
        pytest.param("::1", ["::1"], id="IPv6"),
        pytest.param("", [], id="all addresses"),
    ],
)
def test_certificate_is_as_gitlab_runners(host: str, names: list[str]) -> None:
    """RSA 2048, two years, the organization, and the host as name or address."""
    made = make_certificate(host, now=NOW)

    certificate = x509.load_pem_x509_certificate(made.pem.encode())
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    assert certificate.not_valid_before_utc == NOW
    assert (certificate.not_valid_after_utc - NOW).days == 730
    assert certificate.subject.rfc4514_string() == "O=GitLab Runner"
    found = [
        str(name.value)
        for extension in certificate.extensions
        if isinstance(extension.value, x509.SubjectAlternativeName)
        for name in extension.value
    ]
    assert found == names


def test_certificate_serves_no_old_tls() -> None:
    """TLS 1.2 is the least, and the private key is in no text of it."""
    made = make_certificate("runner")

    assert made.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert "PRIVATE" not in made.pem
