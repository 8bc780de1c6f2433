"""Merge patch (RFC 7386) and JSON patch (RFC 6902) on manifests.

Law: pure; the given manifest is never changed. A strategic merge patch is treated as a merge patch: lists are replaced
whole, and its `$` directives are dropped. That is enough for labels, annotations, owner references and finalizers.
"""

from __future__ import annotations

from typing import Any

import orjson

from runner.testing.cluster.problems import Manifest, StatusError, bad_request

MERGE_TYPES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
JSON_TYPE = "application/json-patch+json"


def apply_patch(manifest: Manifest, patch: Any, content_type: str) -> Manifest:
    """Return the patched copy; raises StatusError 415 for an unknown kind of patch, 400 or 422 for a broken one."""
    if content_type in MERGE_TYPES:
        if not isinstance(patch, dict):
            raise bad_request("a merge patch must be an object")
        merged: Manifest = _merge(manifest, patch)
        return merged
    if content_type == JSON_TYPE:
        if not isinstance(patch, list):
            raise bad_request("a JSON patch must be a list of operations")
        document: Any = orjson.loads(orjson.dumps(manifest))
        for operation in patch:
            document = _operate(document, operation)
        patched: Manifest = document
        return patched
    known = ", ".join((JSON_TYPE, *MERGE_TYPES))
    raise StatusError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {known}",
    )


def _merge(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _operate(document: Any, operation: Any) -> Any:
    """Apply one operation of a JSON patch to a document that is ours to change."""
    try:
        name, path = operation["op"], _pointer(operation["path"])
        if name in ("move", "copy"):
            source = _pointer(operation["from"])
            value = orjson.loads(orjson.dumps(_read(document, source)))
            if name == "move":
                document = _change(document, source, "remove", None)
            return _change(document, path, "add", value)
        if name == "test":
            if _read(document, path) != operation["value"]:
                raise StatusError(
                    422, "Invalid", f"testing value {operation['path']} failed: the server rejected our request"
                )
            return document
        if name not in ("add", "remove", "replace"):
            raise bad_request(f'unexpected kind of patch operation: "{name}"')
        return _change(document, path, name, operation.get("value"))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise StatusError(
            422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
        ) from error


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"the pointer {text} does not begin with a slash")
    return [word.replace("~1", "/").replace("~0", "~") for word in text.split("/")[1:]]


def _read(document: Any, path: list[str]) -> Any:
    for word in path:
        document = document[int(word)] if isinstance(document, list) else document[word]
    return document


def _change(document: Any, path: list[str], name: str, value: Any) -> Any:
    if not path:
        return None if name == "remove" else value
    parent, last = _read(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        _change_list(parent, last, name, value)
    elif name == "remove":
        del parent[last]
    elif name == "replace" and last not in parent:
        raise KeyError(last)
    else:
        parent[last] = value
    return document


def _change_list(items: list[Any], last: str, name: str, value: Any) -> None:
    index = len(items) if last == "-" else int(last)
    if name == "add":
        if index > len(items):
            raise IndexError(f"index {index} is beyond the list")
        items.insert(index, value)
    elif name == "remove":
        del items[index]
    else:
        items[index] = value
