"""What Kubernetes takes as the key and the value of a label, an annotation, a taint.

The API server says the same of a whole pod and names a field of it; said before, it can name the variable.
"""

import re

from runner.podspec.names import is_dns_subdomain

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

TAINT_EFFECTS = frozenset({"", "NoSchedule", "PreferNoSchedule", "NoExecute"})
"""What a taint does to pods that do not bear it; empty in a toleration means all of them."""


def is_qualified_name(text: str) -> bool:
    """True for the key of a label, annotation or taint: a name, or a DNS subdomain, `/` and a name."""
    prefix, slash, name = text.rpartition("/")
    return _NAME.fullmatch(name) is not None and (not slash or is_dns_subdomain(prefix))


def is_label_value(text: str) -> bool:
    """True for the value of a label or a taint, which may be empty."""
    return not text or _NAME.fullmatch(text) is not None
