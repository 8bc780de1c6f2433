"""What OpenSSL's errors mean to an operator: one sentence each, that names the host, the file and the way out.

Law: pure. Codes and reasons are OpenSSL's; its own words are kept only where ours would not be plainer.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

_SELF_SIGNED = {18, 19}
_UNKNOWN_ISSUER = {2, 20, 21}
_NOT_YET_VALID = 9
_EXPIRED = 10
_WRONG_HOST = {62, 64}

_FILE_TROUBLES: Mapping[str, str] = {
    "KEY_VALUES_MISMATCH": "the key does not match the certificate",
    "KEY_TYPE_MISMATCH": "the key does not match the certificate",
    "NO_START_LINE": "one of them holds no PEM text of its kind",
    "NO_CERTIFICATE_ASSIGNED": "it holds no certificate",
    "BAD_DECRYPT": "the key has a passphrase, which nobody can enter here",
    "BAD_PASSWORD_READ": "the key has a passphrase, which nobody can enter here",
    "BAD_END_LINE": "it was cut off",
    "CA_MD_TOO_WEAK": "its signature is too weak for this system",
    "EE_KEY_TOO_SMALL": "its key is too short for this system",
}
_ALERTS: Mapping[str, str] = {
    "CERTIFICATE_EXPIRED": "has expired",
    "CERTIFICATE_REVOKED": "was revoked",
    "UNKNOWN_CA": "was signed by an authority that GitLab does not know",
    "BAD_CERTIFICATE": "is not accepted",
    "CERTIFICATE_UNKNOWN": "is not accepted",
    "UNSUPPORTED_CERTIFICATE": "is of a kind that GitLab does not accept",
    "ACCESS_DENIED": "gives no access",
}
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
_OLD_TLS = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE")


def file_trouble(error: Exception) -> str:
    """Say what is wrong with a PEM file that could not be loaded, in a few words."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _FILE_TROUBLES.get(reason) or (reason.lower().replace("_", " ") or "it is not PEM")
    if isinstance(error, OSError):
        return (error.strerror or "unreadable").lower()
    return str(error)


def explain(error: ssl.SSLError, origin: str, ca_file: str, cert_file: str, finding: str) -> str:
    """Say in one sentence why TLS with GitLab at `origin` failed, and which setting helps.

    `ca_file` and `cert_file` are those in use, empty when there are none; `finding` is what was wrong with a file.
    """
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _handshake(error.reason or "", origin, cert_file, finding) or (
            f"TLS with GitLab at {origin} failed: {error.reason or error}."
        )
    code, said = error.verify_code, error.verify_message.rstrip(".")
    if code in _WRONG_HOST:
        return f"The certificate of GitLab at {origin} is for another name: {said}. Correct `url`."
    if code == _EXPIRED:
        return f"The certificate of GitLab at {origin}, or one that signed it, has expired: renew it on the server."
    if code == _NOT_YET_VALID:
        return f"The certificate of GitLab at {origin} is not valid yet: compare the clocks of both machines."
    if code in _SELF_SIGNED | _UNKNOWN_ISSUER:
        way_out = _way_out(ca_file, finding)
        return f"The certificate of GitLab at {origin} is not trusted ({said}): {way_out}"
    return f"The certificate of GitLab at {origin} was not accepted: {said}."


def _handshake(reason: str, origin: str, cert_file: str, finding: str) -> str:
    """A sentence for what the server says in an alert, or for what speaks no TLS; empty when there is none."""
    if any(word in reason for word in _NO_TLS):
        return f"TLS with GitLab at {origin} failed: what answers there does not speak TLS. Correct `url`."
    if any(word in reason for word in _OLD_TLS):
        return f"TLS with GitLab at {origin} failed: it offers nothing newer than TLS 1.1, which is not safe."
    _, alert, name = reason.partition("ALERT_")
    if not alert:
        return ""
    if cert_file and name in _ALERTS:
        return f"Our client certificate `tls-cert-file`, {cert_file}, {_ALERTS[name]}, says GitLab at {origin}."
    if name == "CERTIFICATE_REQUIRED" or (not cert_file and name in {*_ALERTS, "HANDSHAKE_FAILURE"}):
        return finding or (
            f"GitLab at {origin} wants a client certificate: set `tls-cert-file` and `tls-key-file` of this runner."
        )
    return ""


def _way_out(ca_file: str, finding: str) -> str:
    if finding:
        return finding
    if ca_file:
        return f"the authority that signed it is not in `tls-ca-file`, {ca_file}."
    return "set `tls-ca-file` of this runner to a PEM file with the authority that signed it."
