"""What the API server refuses in a pod's spec.

Law: pure; a generator of causes for each part of the spec. Fields that a CI runner never sets are not looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from runner.testing.cluster import rules
from runner.testing.cluster.problems import (
    Cause,
    Manifest,
    duplicate,
    invalid,
    not_found_value,
    required,
    unsupported,
)

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_TOLERATION_OPERATORS = ("Equal", "Exists")
_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName", "schedulingGates")


def pod_causes(manifest: Manifest) -> Iterator[Cause]:
    """Yield every complaint about a pod's spec, defaults already filled in."""
    spec = manifest.get("spec") or {}
    volumes = {volume.get("name", "") for volume in spec.get("volumes") or []}
    yield from _volumes(spec.get("volumes") or [])
    if not spec.get("containers"):
        yield required("spec.containers")
    names: set[str] = set()
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or []):
            yield from _container(container, f"spec.{kind}[{index}]", names, volumes)
    yield from _enumeration("spec.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES)
    yield from _enumeration("spec.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    yield from _numbers(spec)
    yield from _host_aliases(spec.get("hostAliases") or [])
    yield from _tolerations(spec.get("tolerations") or [])
    yield from _names(spec)
    yield from _resources(spec.get("resources") or {}, "spec.resources")


def pod_update_causes(old: Manifest, new: Manifest) -> Iterator[Cause]:
    """Yield the complaint about an update that changes more of a spec than the few fields that may change."""
    if _fixed_part(old) != _fixed_part(new):
        yield Cause(
            "spec",
            "FieldValueForbidden",
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
            "negative)",
        )


def _fixed_part(spec: Manifest) -> Manifest:
    fixed = {key: value for key, value in spec.items() if key not in _MUTABLE}
    for kind in ("initContainers", "containers"):
        fixed[kind] = [
            {key: value for key, value in container.items() if key != "image"} for container in spec.get(kind) or []
        ]
    return fixed


def _enumeration(field: str, value: object, known: tuple[str, ...]) -> Iterator[Cause]:
    if value is not None and value not in known:
        yield unsupported(field, value, known)


def _numbers(spec: Manifest) -> Iterator[Cause]:
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        yield invalid("spec.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")


def _names(spec: Manifest) -> Iterator[Cause]:
    account = spec.get("serviceAccountName")
    if account and (complaint := rules.dns_subdomain(account)):
        yield invalid("spec.serviceAccountName", account, complaint)
    for key, value in (spec.get("nodeSelector") or {}).items():
        if complaint := rules.qualified_name(key):
            yield invalid("spec.nodeSelector", key, complaint)
        if complaint := rules.label_value(value):
            yield invalid("spec.nodeSelector", value, complaint)
    if spec.get("dnsPolicy") == "None":
        if "dnsConfig" not in spec:
            yield required("spec.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not spec["dnsConfig"].get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required("spec.dnsConfig.nameservers", text)


def _volumes(volumes: list[Manifest]) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        field, name = f"spec.volumes[{index}]", volume.get("name", "")
        yield from _own_label(f"{field}.name", name, seen)
        sources = [key for key in volume if key != "name"]
        if len(sources) > 1:
            yield Cause(
                f"{field}.{sources[1]}", "FieldValueForbidden", "Forbidden: may not specify more than 1 volume type"
            )
        yield from _volume_source(volume, field)


def _volume_source(volume: Manifest, field: str) -> Iterator[Cause]:
    wanted = {
        "hostPath": "path",
        "secret": "secretName",
        "configMap": "name",
        "persistentVolumeClaim": "claimName",
        "csi": "driver",
        "nfs": "server",
    }
    for source, key in wanted.items():
        if source in volume and not volume[source].get(key):
            yield required(f"{field}.{source}.{key}")


def _own_label(field: str, name: str, seen: set[str]) -> Iterator[Cause]:
    """Check a name that must be there, be a label, and stand once; remember it."""
    if not name:
        yield required(field)
    elif complaint := rules.dns_label(name):
        yield invalid(field, name, complaint)
    if name and name in seen:
        yield duplicate(field, name)
    seen.add(name)


def _container(container: Manifest, field: str, names: set[str], volumes: set[str]) -> Iterator[Cause]:
    yield from _own_label(f"{field}.name", container.get("name", ""), names)
    image = container.get("image", "")
    if not image:
        yield required(f"{field}.image")
    elif image != image.strip():
        yield invalid(f"{field}.image", image, "must not have leading or trailing whitespace")
    yield from _enumeration(f"{field}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)
    for index, variable in enumerate(container.get("env") or []):
        yield from _variable(variable, f"{field}.env[{index}]")
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        yield from _mount(mount, f"{field}.volumeMounts[{index}]", paths, volumes)
    yield from _ports(container.get("ports") or [], field)
    yield from _resources(container.get("resources") or {}, f"{field}.resources")


def _variable(variable: Manifest, field: str) -> Iterator[Cause]:
    name = variable.get("name", "")
    if not name:
        yield required(f"{field}.name")
    elif complaint := rules.environment_name(name):
        yield invalid(f"{field}.name", name, complaint)
    if variable.get("value") and variable.get("valueFrom"):
        yield invalid(f"{field}.valueFrom", "", "may not be specified when `value` is not empty")


def _mount(mount: Manifest, field: str, paths: set[str], volumes: set[str]) -> Iterator[Cause]:
    name, path = mount.get("name", ""), mount.get("mountPath", "")
    if not name:
        yield required(f"{field}.name")
    elif name not in volumes:
        yield not_found_value(f"{field}.name", name)
    if not path:
        yield required(f"{field}.mountPath")
    elif path in paths:
        yield invalid(f"{field}.mountPath", path, "must be unique")
    paths.add(path)
    sub_path = mount.get("subPath", "")
    if sub_path.startswith("/"):
        yield invalid(f"{field}.subPath", sub_path, "must be a relative path")
    if ".." in sub_path.split("/"):
        yield invalid(f"{field}.subPath", sub_path, "must not contain '..'")


def _ports(ports: list[Manifest], field: str) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        name, number = port.get("name", ""), port.get("containerPort", 0)
        if len(name) > 15:
            yield invalid(f"{field}.ports[{index}].name", name, "must be no more than 15 characters")
        if name and name in names:
            yield duplicate(f"{field}.ports[{index}].name", name)
        names.add(name)
        if not number:
            yield required(f"{field}.ports[{index}].containerPort")
        elif not 1 <= number <= 65535:
            yield invalid(f"{field}.ports[{index}].containerPort", number, "must be between 1 and 65535, inclusive")


def _resources(resources: Manifest, field: str) -> Iterator[Cause]:
    limits = resources.get("limits") or {}
    for kind in ("limits", "requests"):
        for name, value in (resources.get(kind) or {}).items():
            amount = rules.quantity(value)
            if amount is not None and amount < 0:
                yield invalid(f"{field}.{kind}[{name}]", value, "must be greater than or equal to 0")
    for name, value in (resources.get("requests") or {}).items():
        asked, limit = rules.quantity(value), rules.quantity(limits.get(name, ""))
        if asked is not None and limit is not None and asked > limit:
            yield invalid(f"{field}.requests", value, f"must be less than or equal to {name} limit of {limits[name]}")


def _host_aliases(aliases: list[Manifest]) -> Iterator[Cause]:
    for index, alias in enumerate(aliases):
        field, address = f"spec.hostAliases[{index}]", alias.get("ip", "")
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield invalid(f"{field}.ip", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
        for name in alias.get("hostnames") or []:
            if complaint := rules.dns_subdomain(name):
                yield invalid(f"{field}.hostnames", name, complaint)


def _tolerations(tolerations: list[Manifest]) -> Iterator[Cause]:
    for index, toleration in enumerate(tolerations):
        field = f"spec.tolerations[{index}]"
        operator = toleration.get("operator") or "Equal"
        yield from _enumeration(f"{field}.operator", operator, _TOLERATION_OPERATORS)
        yield from _enumeration(f"{field}.effect", toleration.get("effect") or None, _EFFECTS)
        key = toleration.get("key", "")
        if key and (complaint := rules.qualified_name(key)):
            yield invalid(f"{field}.key", key, complaint)
        if not key and operator != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{field}.operator", toleration.get("operator", ""), text)
        if operator == "Exists" and toleration.get("value"):
            yield invalid(f"{field}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'")
