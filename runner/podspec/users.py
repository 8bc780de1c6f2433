"""The user and group that a container runs as.

The operator's word comes first: the container's security context, then the pod's, and only then what the job asks
for with `image:kubernetes:user`. What the job asks for is checked; what the operator set is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from runner.config.security import ContainerSecurityContext, PodSecurityContext
from runner.podspec.quoting import quoted

MOST = 2**31 - 1
"""The highest number that Kubernetes takes for a user or a group."""


@dataclass(frozen=True, slots=True)
class ContainerUser:
    """Whom a container runs as; None leaves it to the image. `warnings` are for the job log."""

    uid: int | None = None
    gid: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Limits:
    container: str
    word: str
    """`uid` or `gid`."""
    allowed: tuple[str, ...]


def container_user(
    container: str,
    *,
    context: ContainerSecurityContext,
    pod_context: PodSecurityContext,
    requested: str = "",
    allowed_users: Iterable[str] = (),
    allowed_groups: Iterable[str] = (),
) -> ContainerUser:
    """Choose user and group of a container; `requested` is the job's `uid` or `uid:gid`.

    A value that the job may not have is left out with a warning and the job goes on, as in GitLab Runner. Root has to
    be allowed by name even where no list restricts the rest.
    """
    uid_text, _, gid_text = requested.partition(":")
    users = _Limits(container, "uid", tuple(allowed_users))
    groups = _Limits(container, "gid", tuple(allowed_groups))
    uid, uid_warnings = _chosen(users, uid_text.strip(), (context.run_as_user, pod_context.run_as_user))
    gid, gid_warnings = _chosen(groups, gid_text.strip(), (context.run_as_group, pod_context.run_as_group))
    return ContainerUser(uid, gid, uid_warnings + gid_warnings)


def _chosen(
    limits: _Limits, requested: str, configured: tuple[int | None, int | None]
) -> tuple[int | None, tuple[str, ...]]:
    for number, source in zip(configured, ("container", "pod"), strict=True):
        if number is not None:
            return number, _overruled(limits, requested, f"{number} in the {source} security context")
    if not requested:
        return None, ()
    numbers, skipped = _numbers(limits)
    problem = _problem(requested, numbers, limited=bool(limits.allowed))
    if not problem:
        return int(requested), skipped
    return None, (
        *skipped,
        f"Error parsing '{limits.word}' from image options for container {quoted(limits.container)}, "
        f"using the configured security context: {problem}",
    )


def _overruled(limits: _Limits, requested: str, by: str) -> tuple[str, ...]:
    if not requested:
        return ()
    kind = "user" if limits.word == "uid" else "group"
    container = quoted(limits.container)
    return (
        f"Overriding {kind} for container {container} to {quoted(requested)} is not allowed: {kind} is set to {by}",
    )


def _numbers(limits: _Limits) -> tuple[frozenset[int], tuple[str, ...]]:
    """The numbers of the list, and a warning for each entry that is none: it allows nobody."""
    key = "allowed_users" if limits.word == "uid" else "allowed_groups"
    wrong = [text for text in limits.allowed if not _is_number(text)]
    return (
        frozenset(int(text) for text in limits.allowed if _is_number(text)),
        tuple(f"{key}: {quoted(text)} is left out, it is no number of a user or group" for text in wrong),
    )


def _is_number(text: str) -> bool:
    # isdecimal alone would take digits of other scripts, which int() reads and Kubernetes does not.
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= MOST


def _problem(requested: str, allowed: frozenset[int], *, limited: bool) -> str:
    if not _is_number(requested):
        return f"{quoted(requested)} is no number of a user or group"
    number = int(requested)
    if number == 0 and 0 not in allowed:
        return "0 (root) has to be allowed by name"
    if limited and number not in allowed:
        return f"{number} is not in the list of allowed ones"
    return ""
