"""What the API server refuses to store, all kinds but the pod's spec.

Law: pure. Every complaint about one object is collected, as the real server does, and raised as one 422. The rules are
those that a CI runner can break; the real-cluster tests cover the rest.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping

from runner.testing.cluster import rules
from runner.testing.cluster.pod_validation import pod_causes, pod_update_causes
from runner.testing.cluster.problems import (
    Cause,
    Manifest,
    bad_request,
    duplicate,
    invalid,
    invalid_object,
    required,
)
from runner.testing.cluster.resources import Resource

_ANNOTATIONS_BYTES = 256 * 1024
_DATA_BYTES = 1024 * 1024
_SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/ssh-auth": "ssh-privatekey",
}


def validate(resource: Resource, manifest: Manifest) -> None:
    """Raise StatusError 422 with every complaint about a new object; 400 for data that is not base64."""
    causes = [*_metadata_causes(resource, manifest["metadata"]), *_kind_causes(resource, manifest)]
    if causes:
        raise invalid_object(resource.kind, manifest["metadata"].get("name", ""), causes)


def validate_update(resource: Resource, old: Manifest, new: Manifest) -> None:
    """Raise StatusError 422 for a changed object that is wrong, or changes what may not change."""
    validate(resource, new)
    causes: list[Cause] = []
    if resource.name == "pods":
        causes = list(pod_update_causes(old.get("spec", {}), new.get("spec", {})))
    elif old.get("immutable") and any(
        old.get(field) != new.get(field) for field in ("data", "binaryData", "immutable")
    ):
        causes = [Cause("data", "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set")]
    if causes:
        raise invalid_object(resource.kind, new["metadata"]["name"], causes)


def _metadata_causes(resource: Resource, metadata: Manifest) -> Iterator[Cause]:
    name = metadata.get("name", "")
    checks: dict[str, Callable[[str], str | None]] = {
        "services": rules.dns_1035_label,
        "namespaces": rules.dns_label,
    }
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif complaint := checks.get(resource.name, rules.dns_subdomain)(name):
        yield invalid("metadata.name", name, complaint)
    for key, value in (metadata.get("labels") or {}).items():
        if complaint := rules.qualified_name(key):
            yield invalid("metadata.labels", key, complaint)
        if complaint := rules.label_value(value):
            yield invalid("metadata.labels", value, complaint)
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        if complaint := rules.qualified_name(key.lower()):
            yield invalid("metadata.annotations", key, complaint)
    if sum(len(key) + len(value.encode()) for key, value in annotations.items()) > _ANNOTATIONS_BYTES:
        yield Cause("metadata.annotations", "FieldValueTooLong", "Too long: may not be more than 262144 bytes")
    yield from _owner_causes(metadata.get("ownerReferences") or [])


def _owner_causes(owners: list[Manifest]) -> Iterator[Cause]:
    for owner in owners:
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                text = "version must not be empty" if field == "apiVersion" else "must not be empty"
                yield invalid(f"metadata.ownerReferences.{field}", "", text)


def _kind_causes(resource: Resource, manifest: Manifest) -> Iterator[Cause]:
    if resource.name == "pods":
        yield from pod_causes(manifest)
    elif resource.name == "secrets":
        yield from _secret_causes(manifest)
    elif resource.name == "configmaps":
        yield from _data_causes(manifest.get("data") or {}, "data")
    elif resource.name == "services":
        yield from _service_causes(manifest.get("spec") or {})
    elif resource.name == "poddisruptionbudgets":
        yield from _budget_causes(manifest.get("spec") or {})


def _secret_causes(manifest: Manifest) -> Iterator[Cause]:
    data = manifest.get("data") or {}
    for value in data.values():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise bad_request(
                'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'
            ) from error
    yield from _data_causes(data, "data")
    wanted = _SECRET_KEYS.get(manifest.get("type", ""))
    if wanted and wanted not in data:
        yield required(f"data[{wanted}]")


def _data_causes(data: Mapping[str, str], field: str) -> Iterator[Cause]:
    for key in data:
        if complaint := rules.config_key(key):
            yield invalid(f"{field}[{key}]", key, complaint)
    if sum(len(value) for value in data.values()) > _DATA_BYTES:
        yield Cause(field, "FieldValueTooLong", f"Too long: may not be more than {_DATA_BYTES} bytes")


def _budget_causes(spec: Manifest) -> Iterator[Cause]:
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield invalid("spec", "", "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        amount = spec.get(field)
        if isinstance(amount, int) and amount < 0:
            yield invalid(f"spec.{field}", amount, "must be greater than or equal to 0")


def _service_causes(spec: Manifest) -> Iterator[Cause]:
    ports = spec.get("ports") or []
    if not ports and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    names: set[str] = set()
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        name = port.get("name", "")
        if len(ports) > 1 and not name:
            yield required(f"{field}.name")
        elif name and (complaint := rules.dns_label(name)):
            yield invalid(f"{field}.name", name, complaint)
        if name and name in names:
            yield duplicate(f"{field}.name", name)
        names.add(name)
        if not 1 <= port.get("port", 0) <= 65535:
            yield invalid(f"{field}.port", port.get("port", 0), "must be between 1 and 65535, inclusive")
