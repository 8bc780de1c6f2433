"""The control plane: what creating, changing and deleting mean.

Law: synchronous; every method either has its whole effect or raises StatusError. Garbage collection, the end of a
namespace and the removal of finalized objects happen within the call that makes them due: nothing here needs a clock.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from runner.testing.cluster.defaults import GENERATED_ALPHABET, with_defaults
from runner.testing.cluster.kubelet import PodRecord
from runner.testing.cluster.moments import moment
from runner.testing.cluster.ownership import Owners
from runner.testing.cluster.problems import (
    Manifest,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    not_found,
)
from runner.testing.cluster.resources import RESOURCES, Resource
from runner.testing.cluster.selectors import matches_labels
from runner.testing.cluster.store import Key, Store
from runner.testing.cluster.validation import validate, validate_update

_KEEP_EVENTS = 5_000
_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "namespace", "name")


@dataclass(frozen=True, slots=True)
class Deletion:
    """How an object is to be deleted: the DeleteOptions of a request."""

    grace_seconds: int | None = None
    uid: str = ""
    """Only the object of this uid, when given; likewise the next."""
    resource_version: str = ""
    orphan: bool = False
    """Leave dependents alone, and take their owner reference away."""
    dry_run: bool = False


class Cluster:
    """The objects of a cluster and the rules they live by."""

    def __init__(self, *, namespaces: Iterable[str], start_pod: Callable[[PodRecord], None]) -> None:
        self.store = Store()
        self._start_pod = start_pod
        self._owners = Owners()
        self._records: dict[str, PodRecord] = {}
        self._events: deque[Key] = deque()
        self._event_number = 0
        for name in namespaces:
            self.create(RESOURCES["namespaces"], "", {"metadata": {"name": name}})

    # What clients do

    def create(self, resource: Resource, namespace: str, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Store a new object and return it with all that the server fills in; a pod begins its life."""
        self._check_envelope(resource, namespace, manifest)
        filled = with_defaults(resource, manifest, ending="".join(random.choices(GENERATED_ALPHABET, k=5)))
        metadata = {
            **{key: value for key, value in filled["metadata"].items() if key not in _SERVER_OWNED[:4]},
            **({"namespace": namespace} if resource.namespaced else {}),
            "uid": str(uuid.uuid4()),
            "creationTimestamp": moment(),
        }
        created = {**filled, "metadata": metadata}
        validate(resource, created)
        self._admit(resource, namespace, created)
        key = (resource.name, namespace, metadata["name"])
        if self.store.get(key) is not None:
            raise already_exists(resource.qualified_name, metadata["name"])
        if dry_run:
            return created
        stored = self._put(key, created)
        self._begin(resource, stored)
        return stored

    def read(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """Return an object; raises StatusError 404."""
        found = self.store.get((resource.name, namespace, name))
        if found is None:
            raise not_found(resource.qualified_name, name)
        return found

    def replace(
        self, resource: Resource, old: Manifest, new: Manifest, *, subresource: str = "", dry_run: bool = False
    ) -> Manifest:
        """Store a changed object, keeping what its writer may not change; raises 409 for an outdated version."""
        metadata, name = dict(new.get("metadata") or {}), old["metadata"]["name"]
        version = metadata.get("resourceVersion") or old["metadata"]["resourceVersion"]
        if (
            version != old["metadata"]["resourceVersion"]
            or metadata.get("uid", old["metadata"]["uid"]) != (old["metadata"]["uid"])
        ):
            raise conflict(
                resource.qualified_name,
                name,
                "the object has been modified; please apply your changes to the latest version and try again",
            )
        for field in _SERVER_OWNED:
            metadata.pop(field, None)
            if field in old["metadata"]:
                metadata[field] = old["metadata"][field]
        if subresource == "status":
            changed = {**old, "status": new.get("status") or {}}
        else:
            changed = {**new, "metadata": metadata, **({"status": old["status"]} if "status" in old else {})}
            changed = {**changed, "kind": resource.kind, "apiVersion": resource.api_version}
            validate_update(resource, old, changed)
        if dry_run or _same(old, changed):
            return changed if dry_run else old
        key = (resource.name, old["metadata"].get("namespace", ""), name)
        stored = self._put(key, changed)
        if _is_due(stored):
            self._remove(key)
        else:
            self._collect([key])
        return stored

    def delete(self, resource: Resource, namespace: str, name: str, deletion: Deletion) -> Manifest:
        """Delete an object, or begin to: a pod on a node ends by its kubelet, a finalized object by its finalizers."""
        old = self.read(resource, namespace, name)
        _check_preconditions(resource, old["metadata"], deletion)
        if deletion.dry_run:
            return old
        if deletion.orphan:
            self._orphan(old["metadata"]["uid"])
        if resource.name == "namespaces":
            return self._delete_namespace(old)
        grace = _grace(old, deletion.grace_seconds) if resource.name == "pods" else 0
        return self._begin_deletion((resource.name, namespace, name), old, grace)

    def evict(self, namespace: str, name: str, deletion: Deletion) -> None:
        """Evict a pod as `kubectl drain` does: 429 while a PodDisruptionBudget selects it."""
        pod = self.read(RESOURCES["pods"], namespace, name)
        labels = pod["metadata"].get("labels") or {}
        for (resource, place, _), budget in self.store.items():
            wanted = ((budget.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
            if (resource, place) == ("poddisruptionbudgets", namespace) and wanted and matches_labels(wanted, labels):
                raise StatusError(
                    429,
                    "TooManyRequests",
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    details={"causes": [{"reason": "DisruptionBudget", "message": budget["metadata"]["name"]}]},
                )
        self._disrupt(pod)
        self.delete(RESOURCES["pods"], namespace, name, deletion)

    # What kubelets do

    def pod(self, namespace: str, name: str) -> Manifest | None:
        """Return a pod, or None."""
        return self.store.get(("pods", namespace, name))

    def bind_pod(self, record: PodRecord, node: str) -> None:
        """Put a pod on a node."""
        self._change_pod(record, lambda pod: {**pod, "spec": {**pod["spec"], "nodeName": node}})

    def set_pod_status(self, record: PodRecord, status: Manifest) -> None:
        """Store a pod's status; the quality of service that the server decided stays."""
        self._change_pod(
            record, lambda pod: {**pod, "status": {"qosClass": pod["status"].get("qosClass", "BestEffort"), **status}}
        )

    def remove_pod(self, record: PodRecord) -> None:
        """Take away a pod whose containers have ended."""
        pod = self.pod(record.namespace, record.name)
        if pod is not None and pod["metadata"]["uid"] == record.uid:
            self._begin_deletion(("pods", record.namespace, record.name), pod, 0)

    def delete_pod(self, record: PodRecord, grace_seconds: int | None) -> None:
        """Delete a pod as some client would; nothing when it is gone."""
        pod = self.pod(record.namespace, record.name)
        if pod is not None and pod["metadata"]["uid"] == record.uid:
            self.delete(RESOURCES["pods"], record.namespace, record.name, Deletion(grace_seconds=grace_seconds))

    def record_event(self, record: PodRecord, reason: str, message: str, *, kind: str = "Normal") -> None:
        """Store an Event about a pod; the oldest go when there are very many."""
        namespace = self.store.get(("namespaces", "", record.namespace))
        if namespace is None or namespace["status"]["phase"] != "Active":
            return
        # Named after the moment, as real ones: a list of them is in the order in which they happened.
        self._event_number = max(self._event_number + 1, time.time_ns())
        now, name = moment(), f"{record.name}.{self._event_number:x}"
        key = ("events", record.namespace, name)
        manifest: Manifest = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "namespace": record.namespace,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": now,
            },
            "involvedObject": {
                "kind": "Pod",
                "namespace": record.namespace,
                "name": record.name,
                "uid": record.uid,
                "apiVersion": "v1",
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": "kubelet"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self.store.put(key, manifest)
        self._events.append(key)
        if len(self._events) > _KEEP_EVENTS:
            self.store.remove(self._events.popleft())

    # What follows from it

    def _check_envelope(self, resource: Resource, namespace: str, manifest: Manifest) -> None:
        metadata = manifest.get("metadata") or {}
        version, kind = manifest.get("apiVersion", resource.api_version), manifest.get("kind", resource.kind)
        if (version, kind) != (resource.api_version, resource.kind):
            raise bad_request(
                f'{kind} in version "{version}" cannot be handled as a {resource.kind}: no kind "{kind}" is registered '
                f'for version "{version}" there'
            )
        if metadata.get("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")

    def _admit(self, resource: Resource, namespace: str, manifest: Manifest) -> None:
        """Refuse what the admission plugins refuse: a namespace that is not there or goes, an unknown account."""
        if not resource.namespaced:
            return
        name = manifest["metadata"]["name"]
        place = self.store.get(("namespaces", "", namespace))
        if place is None:
            raise not_found("namespaces", namespace)
        if place["status"]["phase"] == "Terminating":
            raise forbidden(
                resource.qualified_name,
                name,
                f"unable to create new content in namespace {namespace} because it is being terminated",
            )
        if resource.name == "pods":
            account = manifest["spec"]["serviceAccountName"]
            if self.store.get(("serviceaccounts", namespace, account)) is None:
                raise forbidden(
                    "pods",
                    name,
                    f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found',
                )

    def _begin(self, resource: Resource, stored: Manifest) -> None:
        """Do what follows a creation."""
        if resource.name == "namespaces":
            name = stored["metadata"]["name"]
            self.create(RESOURCES["serviceaccounts"], name, {"metadata": {"name": "default"}})
            self.create(
                RESOURCES["configmaps"], name, {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ""}}
            )
        elif resource.name == "pods":
            record = PodRecord(self, stored)
            self._records[record.uid] = record
            self._start_pod(record)
        self._collect([(resource.name, stored["metadata"].get("namespace", ""), stored["metadata"]["name"])])

    def _put(self, key: Key, manifest: Manifest) -> Manifest:
        stored = self.store.put(key, manifest)
        self._owners.put(key, stored["metadata"])
        return stored

    def _change_pod(self, record: PodRecord, change: Callable[[Manifest], Manifest]) -> None:
        pod = self.pod(record.namespace, record.name)
        if pod is not None and pod["metadata"]["uid"] == record.uid:
            self._put(("pods", record.namespace, record.name), change(pod))

    def _begin_deletion(self, key: Key, old: Manifest, grace: int) -> Manifest:
        metadata = old["metadata"]
        known = metadata.get("deletionGracePeriodSeconds")
        if known is not None:
            grace = min(grace, known)
        if grace == 0 and not metadata.get("finalizers"):
            return self._remove(key) or old
        if known == grace:
            return old
        # As the real server has it: the moment when the object is to be gone, not when it was asked for.
        marked = {**metadata, "deletionTimestamp": moment(time.time() + grace), "deletionGracePeriodSeconds": grace}
        stored = self._put(key, {**old, "metadata": marked})
        if record := self._records.get(metadata["uid"]):
            record.terminating.set()
        return stored

    def _remove(self, key: Key) -> Manifest | None:
        removed = self.store.remove(key)
        if removed is None:
            return None
        uid = removed["metadata"]["uid"]
        dependents = self._owners.remove(key, uid)
        if record := self._records.pop(uid, None):
            record.terminating.set()
            record.removed.set()
        self._collect(dependents)
        namespace = key[1]
        if namespace and self.store.get(("namespaces", "", namespace)):
            self._finish_namespace(namespace)
        return removed

    def _collect(self, keys: Iterable[Key]) -> None:
        """Delete each of these objects whose owners are all gone."""
        for key in keys:
            found = self.store.get(key)
            if found is not None and self._owners.is_orphan(found["metadata"]):
                self.delete(RESOURCES[key[0]], key[1], key[2], Deletion())

    def _orphan(self, uid: str) -> None:
        for key in self._owners.dependents(uid):
            found = self.store.get(key)
            if found is not None:
                owners = [owner for owner in found["metadata"]["ownerReferences"] if owner["uid"] != uid]
                self._put(key, {**found, "metadata": {**found["metadata"], "ownerReferences": owners}})

    def _delete_namespace(self, old: Manifest) -> Manifest:
        name = old["metadata"]["name"]
        marked = {**old["metadata"], "deletionTimestamp": old["metadata"].get("deletionTimestamp") or moment()}
        stored = self._put(
            ("namespaces", "", name), {**old, "metadata": marked, "status": {**old["status"], "phase": "Terminating"}}
        )
        for (resource, namespace, item), _ in list(self.store.items()):
            if namespace == name and self.store.get((resource, namespace, item)) is not None:
                self.delete(RESOURCES[resource], namespace, item, Deletion())
        self._finish_namespace(name)
        return stored

    def _finish_namespace(self, name: str) -> None:
        """Take a namespace away that is terminating and empty."""
        namespace = self.store.get(("namespaces", "", name))
        if namespace is None or namespace["status"]["phase"] != "Terminating":
            return
        if not any(key[1] == name for key, _ in self.store.items()):
            self.store.remove(("namespaces", "", name))

    def _disrupt(self, pod: Manifest) -> None:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": moment(),
        }
        conditions = [*(pod["status"].get("conditions") or []), condition]
        key = ("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
        self._put(key, {**pod, "status": {**pod["status"], "conditions": conditions}})


def _same(old: Manifest, new: Manifest) -> bool:
    """Tell whether a write changes nothing: such a write makes no new version."""
    ignored = ("resourceVersion",)

    def essence(manifest: Manifest) -> Manifest:
        metadata = {key: value for key, value in manifest["metadata"].items() if key not in ignored}
        return {**manifest, "metadata": metadata}

    return essence(old) == essence(new)


def _is_due(manifest: Manifest) -> bool:
    """Tell whether an object being deleted has lost its last finalizer."""
    metadata = manifest["metadata"]
    return (
        bool(metadata.get("deletionTimestamp"))
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
    )


def _grace(pod: Manifest, asked: int | None) -> int:
    """Return the seconds a pod gets: none when no node has it or all of it has ended."""
    if not pod["spec"].get("nodeName") or pod["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    default: int = pod["spec"].get("terminationGracePeriodSeconds", 30)
    return default if asked is None else max(0, asked)


def _check_preconditions(resource: Resource, metadata: Manifest, deletion: Deletion) -> None:
    if resource.name == "pods" and deletion.uid not in ("", metadata["uid"]):
        raise conflict(
            resource.kind,
            metadata["name"],
            f"the UID in the precondition ({deletion.uid}) does not match the UID in record ({metadata['uid']}). The "
            "object might have been deleted and then recreated",
        )
    for name, wanted, found in (
        ("UID", deletion.uid, metadata["uid"]),
        ("ResourceVersion", deletion.resource_version, metadata["resourceVersion"]),
    ):
        if wanted and wanted != found:
            raise conflict(
                resource.qualified_name,
                metadata["name"],
                f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {found}",
            )
