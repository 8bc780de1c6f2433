"""What jobs may overwrite: the variables, the keys they overwrite, and what Kubernetes takes there.

GitLab Runner's order is the order of the tables here; its first error ends a job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from runner.podspec.names import is_dns_label, is_dns_subdomain
from runner.podspec.quoting import quoted
from runner.podspec.syntax import TAINT_EFFECTS, is_label_value, is_qualified_name

MOST_CHARACTERS = 4096
"""The longest value that is looked at: what Kubernetes takes in these places is far shorter."""
MOST_TABLE_CHARACTERS = 256 * 1024
"""The most characters for all entries of one table, and for one annotation: a pod may carry 256 KiB of those."""

_SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value, with a regular expression as its guard."""

    field: str
    """GitLab Runner's name of it in messages."""
    key: str
    variable: str
    problem: Callable[[str, str], str]
    """What is wrong with a value that the guard, which is given too, has let pass; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class EntryTable:
    """Entries of a table, each from a variable whose name begins with `prefix`; the rest of the name is free."""

    field: str
    key: str
    prefix: str
    problem: Callable[[str, str], str]
    """What is wrong with an entry's key and value that the guard has let pass; empty when nothing is."""
    split: Callable[[str], tuple[str, str] | None]
    """Take a value apart into key and value of the entry; None for one that has no such form."""
    most_characters: int = MOST_CHARACTERS


@dataclass(frozen=True, slots=True)
class Scope:
    """The resources of one kind of container, or of the pod."""

    prefix: Literal["", "service_", "helper_", "pod_"]
    field: str
    word: str


def _namespace_problem(name: str, guard: str) -> str:
    """A pattern such as `.*` means the teams' namespaces, hardly the cluster's own."""
    if not is_dns_label(name):
        return f'{quoted(name)} is no namespace: its name has lower case letters, digits and "-"'
    if name in _SYSTEM_NAMESPACES and name not in guard:
        return f"jobs may choose the namespace {quoted(name)} only where the guard spells its name out"
    return ""


def _service_account_problem(name: str, _guard: str) -> str:
    if is_dns_subdomain(name):
        return ""
    return f'{quoted(name)} is no service account: its name has lower case letters, digits, "-" and "."'


def _split_pair(text: str) -> tuple[str, str] | None:
    key, equals, value = text.partition("=")
    return (key, value) if equals else None


def _split_toleration(text: str) -> tuple[str, str] | None:
    taint, _, effect = text.partition(":")
    return taint, effect


def _key_problem(key: str, _value: str) -> str:
    if is_qualified_name(key):
        return ""
    return f'{quoted(key)} is no key: it has at most 63 letters, digits, "-", "_" and ".", and a domain before a "/"'


def _selector_problem(key: str, value: str) -> str:
    return _key_problem(key, value) or _label_value_problem(value)


def _toleration_problem(taint: str, effect: str) -> str:
    key, equals, value = taint.partition("=")
    if effect not in TAINT_EFFECTS:
        known = ", ".join(sorted(TAINT_EFFECTS - {""}))
        return f"{quoted(effect)} is no effect of a taint: it is one of {known}, or empty for all of them"
    return (_key_problem(key, value) if key or equals else "") or _label_value_problem(value)


def _label_value_problem(value: str) -> str:
    if is_label_value(value):
        return ""
    return f'{quoted(value)} is no value of a label: it has at most 63 letters, digits, "-", "_" and "."'


SCALARS = (
    Scalar("Namespace", "namespace", "KUBERNETES_NAMESPACE_OVERWRITE", _namespace_problem),
    Scalar("ServiceAccount", "service_account", "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE", _service_account_problem),
)
"""What comes before the token."""

TABLES = (
    EntryTable("PodLabels", "pod_labels", "KUBERNETES_POD_LABELS_", _key_problem, _split_pair),
    EntryTable(
        "PodAnnotations",
        "pod_annotations",
        "KUBERNETES_POD_ANNOTATIONS_",
        _key_problem,
        _split_pair,
        MOST_TABLE_CHARACTERS,
    ),
    EntryTable("NodeSelector", "node_selector", "KUBERNETES_NODE_SELECTOR_", _selector_problem, _split_pair),
    EntryTable(
        "NodeTolerations", "node_tolerations", "KUBERNETES_NODE_TOLERATIONS_", _toleration_problem, _split_toleration
    ),
)

SERVICE_SCOPE = Scope("service_", "Service", "service")
SCOPES = (Scope("", "", "build"), SERVICE_SCOPE, Scope("helper_", "Helper", "helper"), Scope("pod_", "Pod", "Pod"))

RESOURCES = {"cpu": "CPU", "memory": "Memory", "ephemeral_storage": "EphemeralStorage"}
"""The resources as keys and messages spell them."""
