"""Label and field selectors: text in, a yes or no for a manifest out.

Law: pure. What cannot be read is refused as the real server refuses it (400), never ignored: a selector that selects
everything by mistake is how a client deletes what is not its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.testing.cluster.problems import Manifest, bad_request

_SET = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")
_COMPARISON = re.compile(r"([^=!]+?)\s*(==|=|!=)\s*(.*)")
_KEY = re.compile(r"!?\s*[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?")

_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"),
    "secrets": ("type",),
    "namespaces": ("status.phase",),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}

Labels = Mapping[str, str]
_Test = Callable[[Labels], bool]


@dataclass(frozen=True, slots=True)
class Selector:
    """Both selectors of a list or watch request."""

    labels: tuple[_Test, ...] = ()
    fields: tuple[tuple[str, bool, str], ...] = ()
    """Path, whether it must be equal, value."""

    def matches(self, manifest: Manifest) -> bool:
        """Tell whether the object is one of those asked for."""
        labels: Labels = manifest["metadata"].get("labels") or {}
        if not all(test(labels) for test in self.labels):
            return False
        return all((_value(manifest, path) == value) is equal for path, equal, value in self.fields)


def parse_selector(resource: str, labels: str, fields: str) -> Selector:
    """Read `labelSelector` and `fieldSelector`; raises StatusError 400 for what the real server does not know."""
    return Selector(
        labels=tuple(_label_test(part.strip()) for part in _split(labels)),
        fields=tuple(_field_test(resource, part.strip()) for part in fields.split(",") if part.strip()),
    )


def matches_labels(match_labels: Labels, labels: Labels) -> bool:
    """Tell whether every wanted label is there: the selector of a Service."""
    return all(labels.get(key) == value for key, value in match_labels.items())


def _split(text: str) -> list[str]:
    """Split at commas that stand outside of parentheses."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _label_test(part: str) -> _Test:
    if found := _SET.fullmatch(part):
        key, operator, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _COMPARISON.fullmatch(part):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if not _KEY.fullmatch(part):
        raise bad_request(f'unable to parse requirement: found "{part}"')
    if part.startswith("!"):
        return lambda labels: part[1:].strip() not in labels
    return lambda labels: part in labels


def _field_test(resource: str, part: str) -> tuple[str, bool, str]:
    found = _COMPARISON.fullmatch(part)
    if not found:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    path, operator, value = found.groups()
    if path not in ("metadata.name", "metadata.namespace", *_FIELDS.get(resource, ())):
        raise bad_request(f"field label not supported: {path}")
    return path, operator != "!=", value


def _value(manifest: Manifest, path: str) -> str:
    value: object = manifest
    for word in path.split("."):
        value = value.get(word) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
