"""What is kept about a job: packed, cut, and put together again."""

import base64
import random
from hashlib import sha256
from typing import Any

import pytest

from runner.podspec.manifest import owner_reference
from runner.podspec.secret import PART_BYTES, JobRecord, JobSecretError, build_job_secrets, read_job_secrets

OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "runner-1", "uid": "9f"}


def test_one_secret_belongs_to_the_pod_when_the_job_is_small(make_request: Any) -> None:
    """Labels find it, the owner takes it along, and what is kept comes back as it was."""
    record = JobRecord(payload=b'{"id": 4711}', plan=b'{"version": 1}')

    (secret,) = build_job_secrets(make_request(namespace="team"), record, owner=OWNER)

    data = secret.pop("data")
    assert secret == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "runner-abcdefghi-project-77-concurrent-0-q1w2e3r4-job-0",
            "namespace": "team",
            "labels": {
                "job.runner.gitlab.com/id": "4711",
                "job.runner.gitlab.com/part": "0",
                "job.runner.gitlab.com/pod-name": "runner-abcdefghi-project-77-concurrent-0-q1w2e3r4",
                "manager.runner.gitlab.com/system-id": "s_0123456789ab",
                "manager.runner.gitlab.com/id-short": "abcdefghi",
            },
            "annotations": {
                "job.runner.gitlab.com/expires-at": "2027-01-15T10:00:00Z",
                "job.runner.gitlab.com/parts": "1",
                "job.runner.gitlab.com/sha256": secret["metadata"]["annotations"]["job.runner.gitlab.com/sha256"],
            },
            "ownerReferences": [OWNER],
        },
        "type": "Opaque",
        "immutable": True,
    }
    assert sorted(data) == ["payload", "plan"]
    assert read_job_secrets([{**secret, "data": data}]) == record


@pytest.mark.parametrize("size", [PART_BYTES - 100, PART_BYTES, 2 * PART_BYTES + 1])
def test_secrets_are_cut_when_the_job_is_large(make_request: Any, size: int) -> None:
    """Each part fits into a Secret, and they come back in any order."""
    record = JobRecord(payload=random.Random(1).randbytes(size), plan=b"{}")

    secrets = build_job_secrets(make_request(), record, owner=OWNER)

    sizes = [sum(len(base64.b64decode(value)) for value in each["data"].values()) for each in secrets]
    assert len(secrets) == -(-sum(sizes) // PART_BYTES)
    assert max(sizes) <= PART_BYTES
    assert read_job_secrets(reversed(secrets)) == record


def test_secrets_are_the_same_when_built_again(make_request: Any) -> None:
    """A create that is repeated after a lost answer sends the same bytes."""
    record = JobRecord(payload=b"x" * 1000, plan=b"{}")

    assert build_job_secrets(make_request(), record, owner=OWNER) == build_job_secrets(
        make_request(), record, owner=OWNER
    )


def test_record_is_refused_when_a_part_is_missing(make_request: Any) -> None:
    """Half a payload is no payload."""
    record = JobRecord(payload=random.Random(1).randbytes(PART_BYTES + 1), plan=b"{}")
    first, second = build_job_secrets(make_request(), record, owner=OWNER)

    for parts, message in (
        ([first], "There are 1 of the job's Secrets, but 2 are needed"),
        ([second], "There are 1 of the job's Secrets, but 2 are needed"),
        ([first, first], "There are 2 of the job's Secrets, but 2 are needed"),
        ([], "There is no Secret of the job"),
    ):
        with pytest.raises(JobSecretError, match=message):
            read_job_secrets(parts)


def test_record_is_refused_when_a_part_was_changed(make_request: Any) -> None:
    """The checksum is over all parts, so that those of two jobs are never mixed."""
    (secret,) = build_job_secrets(make_request(), JobRecord(b"one", b"{}"), owner=OWNER)
    (other,) = build_job_secrets(make_request(), JobRecord(b"two", b"{}"), owner=OWNER)

    with pytest.raises(JobSecretError, match="their checksum is another one"):
        read_job_secrets([{**secret, "data": other["data"]}])


@pytest.mark.parametrize("blob", [b"", b"rubbish", b"\x1f\x8b\x08\x00"], ids=["empty", "no gzip", "cut off"])
def test_record_is_refused_when_it_cannot_be_unpacked(make_request: Any, blob: bytes) -> None:
    """A checksum that somebody made over rubbish does not make it a job."""
    (secret,) = build_job_secrets(make_request(), JobRecord(b"one", b"{}"), owner=OWNER)
    annotations = {**secret["metadata"]["annotations"], "job.runner.gitlab.com/sha256": sha256(blob).hexdigest()}
    damaged = {
        "metadata": {**secret["metadata"], "annotations": annotations},
        "data": {"payload": base64.b64encode(blob).decode()},
    }

    with pytest.raises(JobSecretError, match="cannot be unpacked"):
        read_job_secrets([damaged])


def test_owner_reference_names_the_pod_when_it_exists() -> None:
    """Without `blockOwnerDeletion`, which needs a right on finalizers."""
    assert owner_reference({"metadata": {"name": "runner-1", "uid": "9f", "labels": {}}}) == OWNER
