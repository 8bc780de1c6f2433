"""What another manager needs to go on with a job, as Secrets beside its pod.

The payload holds the job's token, so it lives in a Secret, and the Secret belongs to the pod: when the pod is deleted,
by whomever, the garbage collector removes it. Nothing in the pod refers to it, so it is created after the pod.
"""

import base64
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.podspec.labels import object_annotations, object_labels
from runner.podspec.manifest import Manifest
from runner.podspec.request import PodRequest

PART_BYTES = 900 * 1024
"""Most bytes in one Secret: the API server takes 1 MiB."""

PART_LABEL = "job.runner.gitlab.com/part"
"""The number of a Secret of the job, from 0; selects those Secrets."""
_PARTS_ANNOTATION = "job.runner.gitlab.com/parts"
SUM_ANNOTATION = "job.runner.gitlab.com/sha256"
"""The checksum of the whole record, in each of its parts."""
_KEYS = ("plan", "payload")


class JobSecretError(ValueError):
    """Secrets of a job that are not whole; the message says what is missing, nothing of what they hold."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is kept about a job in the cluster."""

    payload: bytes
    """The job as GitLab sent it."""
    plan: bytes
    """What the manager decided before the pod ran; the manager's own format."""


def build_job_secrets(request: PodRequest, record: JobRecord, *, owner: Manifest) -> tuple[Manifest, ...]:
    """Build the Secrets of a job; `owner` is the reference to its pod (`owner_reference`). Most jobs need one."""
    blobs = {"plan": gzip.compress(record.plan, mtime=0), "payload": gzip.compress(record.payload, mtime=0)}
    parts = _parts(blobs)
    annotations = {
        **object_annotations(request),
        _PARTS_ANNOTATION: str(len(parts)),
        SUM_ANNOTATION: _checksum(blobs["plan"], blobs["payload"]),
    }
    return tuple(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": request.names.job_secret(index),
                "namespace": request.pod_namespace,
                "labels": {**object_labels(request), PART_LABEL: str(index)},
                "annotations": annotations,
                "ownerReferences": [owner],
            },
            "type": "Opaque",
            "immutable": True,
            "data": {key: base64.b64encode(data).decode() for key, data in part.items()},
        }
        for index, part in enumerate(parts)
    )


def read_job_secrets(secrets: Iterable[Manifest]) -> JobRecord:
    """Put a job's record together again. Raises JobSecretError if a part is missing or damaged."""
    ordered = sorted(secrets, key=_part_number)
    if not ordered:
        raise JobSecretError("There is no Secret of the job.")
    annotations = ordered[0]["metadata"].get("annotations") or {}
    expected = annotations.get(_PARTS_ANNOTATION)
    if str(len(ordered)) != expected or [_part_number(each) for each in ordered] != list(range(len(ordered))):
        raise JobSecretError(f"There are {len(ordered)} of the job's Secrets, but {expected} are needed.")
    plan, payload = (_joined(key, ordered) for key in _KEYS)
    if _checksum(plan, payload) != annotations.get(SUM_ANNOTATION):
        raise JobSecretError("The job's Secrets do not belong together: their checksum is another one.")
    try:
        return JobRecord(payload=_unpacked(payload), plan=_unpacked(plan))
    except (OSError, EOFError, zlib.error) as error:
        raise JobSecretError("The job's Secrets cannot be unpacked.") from error


def _unpacked(blob: bytes) -> bytes:
    if not blob:  # which the library takes for an archive of nothing
        raise EOFError
    return gzip.decompress(blob)


def _parts(blobs: dict[str, bytes]) -> list[dict[str, bytes]]:
    """Lay the blobs end to end and cut the whole into parts that fit."""
    parts: list[dict[str, bytes]] = [{}]
    room = PART_BYTES
    for key in _KEYS:
        blob = blobs[key]
        while blob:
            if not room:
                parts.append({})
                room = PART_BYTES
            parts[-1][key], blob = blob[:room], blob[room:]
            room -= len(parts[-1][key])
    return parts


def _joined(key: str, secrets: Sequence[Manifest]) -> bytes:
    return b"".join(base64.b64decode((secret.get("data") or {}).get(key, "")) for secret in secrets)


def _part_number(secret: Manifest) -> int:
    text = (secret["metadata"].get("labels") or {}).get(PART_LABEL, "")
    return int(text) if text.isdecimal() else -1


def _checksum(plan: bytes, payload: bytes) -> str:
    return hashlib.sha256(plan + payload).hexdigest()
