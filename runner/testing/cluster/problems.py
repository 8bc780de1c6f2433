"""What the API server refuses, as the Status object that a client reads.

Law: every refusal is a `StatusError`; its code, reason, message and details are those of the real server, because
clients decide by code and reason and people read the message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, Any]
"""A Kubernetes object as plain JSON. Once stored it is never changed in place: a change makes a new one."""


class StatusError(Exception):
    """A request that the API server answers with a Status of kind Failure."""

    def __init__(self, code: int, reason: str, message: str, *, details: Manifest | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    @property
    def body(self) -> Manifest:
        """The Status object."""
        body: Manifest = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            body["details"] = self.details
        return body | {"code": self.code}


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that is wrong: its path, what kind of wrong, and the sentence behind the path."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def required(field: str, message: str = "") -> Cause:
    """Return the cause for a field that is missing."""
    return Cause(field, "FieldValueRequired", f"Required value{': ' + message if message else ''}")


def invalid(field: str, value: object, message: str) -> Cause:
    """Return the cause for a value that breaks a rule."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {message}")


def duplicate(field: str, value: object) -> Cause:
    """Return the cause for a value that stands twice where each must be its own."""
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {_shown(value)}")


def unsupported(field: str, value: object, known: Iterable[str]) -> Cause:
    """Return the cause for a value that is none of the known ones, which are named in their order."""
    names = ", ".join(f'"{name}"' for name in known)
    return Cause(field, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {names}")


def not_found_value(field: str, value: object) -> Cause:
    """Return the cause for a name that names nothing in the same object."""
    return Cause(field, "FieldValueNotFound", f"Not found: {_shown(value)}")


def invalid_object(kind: str, name: str, causes: Iterable[Cause]) -> StatusError:
    """Return 422 Invalid with all causes."""
    found = list(causes)
    text = str(found[0]) if len(found) == 1 else f"[{', '.join(str(cause) for cause in found)}]"
    return StatusError(
        422,
        "Invalid",
        f'{kind} "{name}" is invalid: {text}',
        details={
            "name": name,
            "kind": kind,
            "causes": [{"reason": c.reason, "message": c.message, "field": c.field} for c in found],
        },
    )


def not_found(resource: str, name: str) -> StatusError:
    """Return 404 NotFound for one object."""
    return StatusError(
        404, "NotFound", f'{resource} "{name}" not found', details={"name": name, "kind": resource.partition(".")[0]}
    )


def no_such_path() -> StatusError:
    """Return 404 for a path that no resource is served at."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, name: str) -> StatusError:
    """Return 409 AlreadyExists."""
    return StatusError(
        409, "AlreadyExists", f'{resource} "{name}" already exists', details={"name": name, "kind": resource}
    )


def conflict(resource: str, name: str, message: str) -> StatusError:
    """Return 409 Conflict: the caller knew an older object, or another one."""
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource} "{name}": {message}',
        details={"name": name, "kind": resource},
    )


def bad_request(message: str) -> StatusError:
    """Return 400 BadRequest."""
    return StatusError(400, "BadRequest", message)


def expired(asked: int, oldest: int) -> StatusError:
    """Return 410 Expired: the history does not reach back to the asked version."""
    return StatusError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def forbidden(resource: str, name: str, message: str) -> StatusError:
    """Return 403 Forbidden."""
    shown = f' "{name}"' if name else ""
    return StatusError(
        403, "Forbidden", f"{resource}{shown} is forbidden: {message}", details={"name": name, "kind": resource}
    )


def internal_error(message: str) -> StatusError:
    """Return 500 InternalError, as the server reports what its kubelet said."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
