"""What the API server fills in before it stores an object.

Law: pure but for the clock, the uid and the random end of a generated name, which are arguments.
"""

from __future__ import annotations

import base64
import zlib

from runner.testing.cluster.problems import Manifest
from runner.testing.cluster.resources import Resource

GENERATED_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""What generated name ends are made of: no vowels, so no words."""

_GENERATED_LENGTH = 5
_HEALTH = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
_LONGEST_GENERATE_NAME = 63 - _GENERATED_LENGTH
_NOT_READY_TOLERATIONS = tuple(
    {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for trouble in ("not-ready", "unreachable")
)


def with_defaults(resource: Resource, manifest: Manifest, *, ending: str) -> Manifest:
    """Return the object with its defaults; `ending` ends a generated name."""
    metadata = dict(manifest.get("metadata") or {})
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"][:_LONGEST_GENERATE_NAME] + ending
    filled = {"kind": resource.kind, "apiVersion": resource.api_version, **manifest, "metadata": metadata}
    if resource.name == "pods":
        metadata["generation"] = 1
        filled["spec"] = _pod_spec(filled.get("spec") or {})
        filled["status"] = {"phase": "Pending", "qosClass": _quality(filled["spec"])}
    elif resource.name == "secrets":
        filled = _secret(filled)
    elif resource.name == "namespaces":
        filled["spec"] = {"finalizers": ["kubernetes"]}
        filled["status"] = {"phase": "Active"}
        metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata.get("name", "")}
    elif resource.name == "services":
        filled["spec"] = _service_spec(filled.get("spec") or {}, name=metadata.get("name", ""))
        filled["status"] = {"loadBalancer": {}}
    elif resource.name == "poddisruptionbudgets":
        filled["spec"] = filled.get("spec") or {}
        filled["status"] = dict.fromkeys(_HEALTH, 0)
    return filled


def _pod_spec(spec: Manifest) -> Manifest:
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    tolerations = list(spec.get("tolerations") or [])
    keys = {toleration.get("key") for toleration in tolerations}
    filled = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        **spec,
        "serviceAccountName": account,
        "serviceAccount": account,
        "tolerations": tolerations + [row for row in _NOT_READY_TOLERATIONS if row["key"] not in keys],
    }
    # What the real server makes of a negative grace, and of a volume without a source.
    grace = filled["terminationGracePeriodSeconds"]
    filled["terminationGracePeriodSeconds"] = 1 if grace < 0 else grace
    if filled.get("volumes"):
        filled["volumes"] = [volume if len(volume) > 1 else {**volume, "emptyDir": {}} for volume in filled["volumes"]]
    for kind in ("initContainers", "containers"):
        if filled.get(kind):
            filled[kind] = [_container(container) for container in filled[kind]]
    return filled


def _container(container: Manifest) -> Manifest:
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    latest = "@" not in image and tag in ("", "latest")
    filled = {
        "imagePullPolicy": "Always" if latest else "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **container,
    }
    if filled.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **port} for port in filled["ports"]]
    return filled


def _quality(spec: Manifest) -> str:
    resources = [container.get("resources") or {} for container in spec.get("containers") or []]
    if not any(row.get("limits") or row.get("requests") for row in resources):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= set(row.get("limits") or {})
        and (row.get("requests") or row["limits"]).items() <= row["limits"].items()
        for row in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _secret(manifest: Manifest) -> Manifest:
    texts = manifest.get("stringData") or {}
    data = {
        **(manifest.get("data") or {}),
        **{key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
    }
    filled = {key: value for key, value in manifest.items() if key != "stringData"}
    return {**filled, "type": manifest.get("type") or "Opaque", **({"data": data} if data else {})}


def _service_spec(spec: Manifest, *, name: str) -> Manifest:
    ports = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports") or []]
    filled = {"type": "ClusterIP", "sessionAffinity": "None", **spec, "ports": ports}
    if filled["type"] == "ExternalName":
        return filled
    # Nothing answers there; only that there is one can be seen.
    number = zlib.crc32(name.encode()) % 0xFFFE + 1
    address = filled.get("clusterIP") or f"10.96.{number >> 8}.{number & 0xFF}"
    families = {"internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    return {**families, "clusterIP": address, "clusterIPs": [address], **filled}
