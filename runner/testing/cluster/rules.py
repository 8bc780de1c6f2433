"""The syntax rules of names, labels, quantities and environment: one value in, a complaint or None out.

Law: pure; the messages are those of the API server, so that people find them in its documentation.
"""

from __future__ import annotations

import re
from decimal import Decimal

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE]|)")
_ENVIRONMENT = re.compile(r"[\x20-\x3c\x3e-\x7e]+")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")

_SCALES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def dns_label(value: str) -> str | None:
    """Complain about what is no RFC 1123 label: container and volume names."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    if _LABEL.fullmatch(value):
        return None
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )


def dns_subdomain(value: str) -> str | None:
    """Complain about what is no RFC 1123 subdomain: names of most objects."""
    if len(value) > 253:
        return "must be no more than 253 characters"
    if _SUBDOMAIN.fullmatch(value):
        return None
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )


def dns_1035_label(value: str) -> str | None:
    """Complain about what is no RFC 1035 label: names of Services."""
    if len(value) <= 63 and _LABEL_1035.fullmatch(value):
        return None
    return (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
        "is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    )


def qualified_name(value: str) -> str | None:
    """Complain about what is no key of a label or annotation."""
    parts = value.split("/")
    if len(parts) > 2:
        return "a qualified name must consist of an optional DNS subdomain prefix, a '/' and a name"
    if len(parts) == 2 and (complaint := dns_subdomain(parts[0])):
        return f"prefix part {complaint}"
    if len(parts[-1]) > 63:
        return "name part must be no more than 63 characters"
    if _QUALIFIED.fullmatch(parts[-1]):
        return None
    return (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )


def label_value(value: str) -> str | None:
    """Complain about what is no value of a label."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    if not value or _QUALIFIED.fullmatch(value):
        return None
    return (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
        "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )


def environment_name(value: str) -> str | None:
    """Complain about what cannot name an environment variable."""
    if _ENVIRONMENT.fullmatch(value):
        return None
    return "a valid environment variable name must consist only of printable ASCII characters other than '='"


def config_key(value: str) -> str | None:
    """Complain about what cannot be a key of a Secret or ConfigMap."""
    if value not in (".", "..") and len(value) <= 253 and _CONFIG_KEY.fullmatch(value):
        return None
    return (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
        " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )


def quantity(value: str) -> Decimal | None:
    """Return the amount a quantity stands for, or None when it is none."""
    found = _QUANTITY.fullmatch(value)
    if not found:
        return None
    number, suffix = found.groups()
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Decimal(number) * Decimal(10) ** int(suffix[1:])
    return Decimal(number) * _SCALES[suffix]
