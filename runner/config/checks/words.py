"""Which texts Kubernetes takes as names, labels and addresses; by its own validation."""

import re
from typing import Final

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LONGEST_SUBDOMAIN = 253

DNS_LABEL: Final = "at most 63 of a-z, 0-9 and -, with a letter or digit at both ends"
DNS_SUBDOMAIN: Final = "at most 253 of a-z, 0-9, - and ., with a letter or digit at both ends of each part"
LABEL_KEY: Final = "an optional domain and /, then at most 63 of letters, digits, -, _ and ."
LABEL_VALUE: Final = "at most 63 of letters, digits, -, _ and ., with a letter or digit at both ends"


def is_dns_label(text: str) -> bool:
    """True for a DNS-1123 label, such as a namespace's name."""
    return _LABEL.fullmatch(text) is not None


def is_dns_subdomain(text: str) -> bool:
    """True for a DNS-1123 subdomain, such as a service account's name: its parts have no bound of their own."""
    return len(text) <= _LONGEST_SUBDOMAIN and _SUBDOMAIN.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """True for the key of a label, an annotation, a taint or a topology."""
    domain, slash, name = text.rpartition("/")
    return _NAME.fullmatch(name) is not None and (not slash or is_dns_subdomain(domain))


def is_label_value(text: str) -> bool:
    """True for the value of a label; an empty one is good."""
    return not text or _NAME.fullmatch(text) is not None


def is_ip_address(text: str) -> bool:
    """True for an IPv4 or IPv6 address."""
    import ipaddress  # here, because few configurations have an address

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_safe_path(text: str) -> bool:
    """True for a path that leads downwards: relative and without `..`."""
    return not text.startswith("/") and ".." not in text.split("/")
