"""Nodes, taints and neighbours of a job's pod; judged as the API server judges them."""

from collections.abc import Iterator
from typing import Final

from runner.config.affinity import (
    LabelSelector,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    SelectorRequirement,
)
from runner.config.checks.rules import Problem, Rule, quoted
from runner.config.checks.words import (
    DNS_SUBDOMAIN,
    LABEL_KEY,
    LABEL_VALUE,
    is_dns_label,
    is_dns_subdomain,
    is_label_key,
    is_label_value,
)
from runner.config.kubernetes import KubernetesConfig
from runner.config.positions import Path

_REFUSED = "the API server refuses such a pod"
_EFFECTS = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "required_during_scheduling_ignored_during_execution"
_PREFERRED = "preferred_during_scheduling_ignored_during_execution"


def _node_selector_form(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A `node_selector` is no label."""
    for key, value in kubernetes.node_selector.items():
        if not is_label_key(key):
            yield Problem(
                ("node_selector", key), f"{quoted(key)} is no key of a label: {_REFUSED}", f"write {LABEL_KEY}"
            )
        if not is_label_value(value):
            yield Problem(
                ("node_selector", key), f"{quoted(value)} is no value of a label: {_REFUSED}", f"write {LABEL_VALUE}"
            )


def _toleration_form(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A toleration has a key, a value or an effect that is none."""
    for taint, effect in kubernetes.node_tolerations.items():
        key, equals, value = taint.partition("=")
        path = ("node_tolerations", taint)
        if effect not in _EFFECTS:
            yield Problem(
                path,
                f"{quoted(effect)} is no effect of a taint: {_REFUSED}",
                "take NoSchedule, PreferNoSchedule or NoExecute, or an empty text for all three",
            )
        if (key or equals) and not is_label_key(key):
            yield Problem(path, f"{quoted(key)} is no key of a taint: {_REFUSED}", f"write {LABEL_KEY}")
        if not is_label_value(value):
            yield Problem(path, f"{quoted(value)} is no value of a taint: {_REFUSED}", f"write {LABEL_VALUE}")


def _tolerates_everything(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A toleration without a key tolerates every taint."""
    if "" in kubernetes.node_tolerations:
        yield Problem(
            ("node_tolerations", ""),
            "a toleration without a key tolerates every taint: jobs run on nodes of the control plane too",
            "name the taint",
        )


def _affinity_form(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An affinity is one that the API server refuses."""
    affinity = kubernetes.affinity
    if nodes := affinity.node_affinity:
        base: Path = ("affinity", "node_affinity")
        if (required := nodes.required_during_scheduling_ignored_during_execution) is not None:
            terms = required.node_selector_terms
            if not terms:
                yield Problem((*base, _REQUIRED), f"there is no node_selector_term: {_REFUSED}", "write one")
            for index, term in enumerate(terms):
                yield from _node_term((*base, _REQUIRED, "node_selector_terms", index), term)
        for index, wish in enumerate(nodes.preferred_during_scheduling_ignored_during_execution):
            yield from _weight((*base, _PREFERRED, index, "weight"), wish.weight)
            yield from _node_term((*base, _PREFERRED, index, "preference"), wish.preference)
    for key in ("pod_affinity", "pod_anti_affinity"):
        if pods := getattr(affinity, key):
            yield from _pod_affinity(("affinity", key), pods)


def _node_term(path: Path, term: NodeSelectorTerm) -> Iterator[Problem]:
    for index, requirement in enumerate(term.match_expressions):
        yield from _requirement((*path, "match_expressions", index), requirement, of_node=True)
    for index, requirement in enumerate(term.match_fields):
        where = (*path, "match_fields", index)
        if requirement.key != "metadata.name":
            yield Problem(
                (*where, "key"), f"{quoted(requirement.key)} is no field of a node: {_REFUSED}", "write metadata.name"
            )
        if requirement.operator not in ("In", "NotIn") or len(requirement.values) != 1:
            yield Problem(where, f"a field needs In or NotIn, and one value: {_REFUSED}", "write it so")
        for number, value in enumerate(requirement.values):
            if not is_dns_subdomain(value):
                what = f"{quoted(value)} is no name of a node: {_REFUSED}"
                yield Problem((*where, "values", number), what, f"write {DNS_SUBDOMAIN}")


def _affinity_of_no_pod(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A term of an affinity to pods selects no pod."""
    for key in ("pod_affinity", "pod_anti_affinity"):
        pods: PodAffinity = getattr(kubernetes.affinity, key) or PodAffinity()
        required = pods.required_during_scheduling_ignored_during_execution
        wished = pods.preferred_during_scheduling_ignored_during_execution
        terms: list[tuple[Path, PodAffinityTerm]] = [
            *(((_REQUIRED, index), term) for index, term in enumerate(required)),
            *(((_PREFERRED, index, "pod_affinity_term"), wish.pod_affinity_term) for index, wish in enumerate(wished)),
        ]
        for path, term in terms:
            if term.label_selector is None:
                yield Problem(
                    ("affinity", key, *path),
                    "there is no label_selector: the term selects no pod",
                    "write a label_selector; one that is empty selects every pod",
                )


def _pod_affinity(path: Path, pods: PodAffinity) -> Iterator[Problem]:
    for index, term in enumerate(pods.required_during_scheduling_ignored_during_execution):
        yield from _pod_term((*path, _REQUIRED, index), term)
    for index, wish in enumerate(pods.preferred_during_scheduling_ignored_during_execution):
        yield from _weight((*path, _PREFERRED, index, "weight"), wish.weight)
        yield from _pod_term((*path, _PREFERRED, index, "pod_affinity_term"), wish.pod_affinity_term)


def _pod_term(path: Path, term: PodAffinityTerm) -> Iterator[Problem]:
    if not is_label_key(term.topology_key):
        what = f"{quoted(term.topology_key)} is no key of a label" if term.topology_key else "there is none"
        yield Problem(
            (*path, "topology_key"), f"{what}: {_REFUSED}", "write a label of nodes, such as kubernetes.io/hostname"
        )
    for key in ("label_selector", "namespace_selector"):
        if selector := getattr(term, key):
            yield from _selector((*path, key), selector)
    for index, namespace in enumerate(term.namespaces):
        if not is_dns_label(namespace):
            yield Problem(
                (*path, "namespaces", index),
                f"{quoted(namespace)} is no name of a namespace: {_REFUSED}",
                "name a namespace",
            )
    yield from _pod_term_keys(path, term)


def _pod_term_keys(path: Path, term: PodAffinityTerm) -> Iterator[Problem]:
    for key in ("match_label_keys", "mismatch_label_keys"):
        if getattr(term, key) and term.label_selector is None:
            yield Problem((*path, key), f"there is no label_selector beside it: {_REFUSED}", "write one")
        for index, label in enumerate(getattr(term, key)):
            if not is_label_key(label):
                what = f"{quoted(label)} is no key of a label: {_REFUSED}"
                yield Problem((*path, key, index), what, f"write {LABEL_KEY}")
    for label in sorted(set(term.match_label_keys) & set(term.mismatch_label_keys)):
        what = f"{quoted(label)} is in match_label_keys too: {_REFUSED}"
        yield Problem((*path, "mismatch_label_keys"), what, "take it out of one of the two")


def _selector(path: Path, selector: LabelSelector) -> Iterator[Problem]:
    for key, value in selector.match_labels.items():
        if not (is_label_key(key) and is_label_value(value)):
            yield Problem((*path, "match_labels", key), f"this is no label: {_REFUSED}", f"write {LABEL_VALUE}")
    for index, requirement in enumerate(selector.match_expressions):
        yield from _requirement((*path, "match_expressions", index), requirement, of_node=False)


def _requirement(path: Path, requirement: SelectorRequirement, *, of_node: bool) -> Iterator[Problem]:
    operator, values = requirement.operator, requirement.values
    if not is_label_key(requirement.key):
        yield Problem(
            (*path, "key"), f"{quoted(requirement.key)} is no key of a label: {_REFUSED}", f"write {LABEL_KEY}"
        )
    known = ("In", "NotIn", "Exists", "DoesNotExist", *(("Gt", "Lt") if of_node else ()))
    if operator not in known:
        yield Problem(
            (*path, "operator"), f"{quoted(operator)} is no operator: {_REFUSED}", f"take one of {', '.join(known)}"
        )
    elif operator in ("In", "NotIn") and not values:
        yield Problem((*path, "values"), f"{operator} needs values: {_REFUSED}", "write some")
    elif operator in ("Exists", "DoesNotExist") and values:
        yield Problem((*path, "values"), f"{operator} takes no values: {_REFUSED}", "take them away")
    elif operator in ("Gt", "Lt") and not (len(values) == 1 and values[0].lstrip("-").isdigit()):
        what = f"{operator} compares with one whole number: no node fulfils this"
        yield Problem((*path, "values"), what, 'write it so, as in ["4"]')
    for index, value in enumerate(values):
        if not is_label_value(value):
            yield Problem(
                (*path, "values", index), f"{quoted(value)} is no value of a label: {_REFUSED}", f"write {LABEL_VALUE}"
            )


def _weight(path: Path, weight: int) -> Iterator[Problem]:
    if not 1 <= weight <= 100:
        yield Problem(path, f"{weight} is no weight: {_REFUSED}", "write a number from 1 to 100")


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("node-selector-form", "error", _node_selector_form),
    Rule("toleration-form", "error", _toleration_form),
    Rule("tolerates-everything", "warning", _tolerates_everything),
    Rule("affinity-form", "error", _affinity_form),
    Rule("affinity-of-no-pod", "warning", _affinity_of_no_pod),
)
"""All rules of this subject."""
