"""JSON patches (RFC 6902) of a pod's spec, as Kubernetes and GitLab Runner apply them.

The library does the operations. Around it stands what makes it the same as theirs: an index such as -1 counts from a
list's end, and `replace` adds what a table does not have. Pure: neither document is changed, and what a patch does not
touch is not copied.
"""

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import jsonpatch

_TROUBLE = (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, LookupError, ValueError)
"""What the library raises for operations that are none, and for those that do not apply."""

_FROM_END = re.compile(r"-[1-9][0-9]{0,8}")


class JsonPatchError(ValueError):
    """A patch that does not apply; the message is a sentence without a subject and names the operation."""


def json_patch(document: Any, operations: Iterable[Any]) -> Any:
    """Apply operations one after the other. Raises JsonPatchError for the first that does not apply."""
    for number, operation in enumerate(operations, 1):
        try:
            document = _applied(document, operation)
        except _TROUBLE as error:
            what = f"{operation.get('op')} {operation.get('path')}" if isinstance(operation, dict) else "no table"
            raise JsonPatchError(f"does not apply: operation {number} ({what}): {error}") from error
    return document


def _applied(document: Any, operation: Any) -> Any:
    jsonpatch.JsonPatch([operation])  # looks whether it is one
    step: dict[str, Any] = deepcopy(operation)
    if isinstance(step.get("from"), str):
        document, step["from"], _ = _own_way(document, step["from"], adds=False)
    document, step["path"], is_there = _own_way(document, step["path"], adds=step["op"] == "add")
    if step["op"] == "replace" and not is_there:
        step["op"] = "add"
    return jsonpatch.JsonPatch([step]).apply(document, in_place=True)


def _own_way(document: Any, path: str, *, adds: bool) -> tuple[Any, str, bool]:
    """Copy the tables and lists on the way to a place, so that a change there is nobody else's.

    Returns the copy, the path with plain indexes, and false if a table has not the last key. What else is wrong with
    the path the operation itself tells.
    """
    here = copy = _copy(document)
    parts = path.split("/")
    for at, part in enumerate(parts[1:], 1):
        is_last = at == len(parts) - 1
        key: Any = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list):
            if _FROM_END.fullmatch(key):
                parts[at] = key = str(len(here) + (adds and is_last) + int(key))
            key = int(key) if key.isdecimal() else None
        elif isinstance(here, dict) and is_last and key not in here:
            return copy, "/".join(parts), False
        try:
            here[key] = below = _copy(here[key])
        except (LookupError, TypeError):
            break
        here = below
    return copy, "/".join(parts), True


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value
