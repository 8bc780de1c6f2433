"""Kubernetes objects as plain dicts, and the few things that every builder of them needs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Manifest = dict[str, Any]
"""A Kubernetes object, or a part of one, as JSON has it."""

_HOLDERS = (str, list, dict, tuple)
"""What says nothing when it is empty."""


def filled(fields: Mapping[str, object]) -> Manifest:
    """Keep the fields that say something: no None, no empty text, list or table. False and 0 do say something.

    What is not set must not be sent, so that the cluster's own defaults and policies decide.
    """
    return {key: value for key, value in fields.items() if value or not (value is None or isinstance(value, _HOLDERS))}


def owner_reference(pod: Manifest) -> Manifest:
    """Refer to a pod as owner of another object: the garbage collector removes the object with the pod."""
    metadata = pod["metadata"]
    return {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}


def read_moment(text: object) -> float | None:
    """Read a time stamp of the API server as seconds since the epoch; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Without a zone it would be read in this machine's, and a manager's clock must not move a pod's history.
    return moment.timestamp() if moment.tzinfo else None
