"""The user and group that a container runs as.

The operator's word comes first: the container's security context, then the pod's, and only then what the job asks
for with `image:kubernetes:user`. What the job asks for is checked; what the operator set is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from runner.config.kubernetes import ContainerSecurityContext, PodSecurityContext


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
    uid, uid_warning = _chosen(users, uid_text.strip(), (context.run_as_user, pod_context.run_as_user))
    gid, gid_warning = _chosen(groups, gid_text.strip(), (context.run_as_group, pod_context.run_as_group))
    return ContainerUser(uid, gid, tuple(text for text in (uid_warning, gid_warning) if text))


def _chosen(limits: _Limits, requested: str, configured: tuple[int | None, int | None]) -> tuple[int | None, str]:
    for number, source in zip(configured, ("container", "pod"), strict=True):
        if number is not None:
            return number, _overruled(limits, requested, f"{number} in the {source} security context")
    if not requested:
        return None, ""
    problem = _problem(limits, requested)
    if not problem:
        return int(requested), ""
    return None, (
        f"Error parsing '{limits.word}' from image options for container \"{limits.container}\", "
        f"using the configured security context: {problem}"
    )


def _overruled(limits: _Limits, requested: str, by: str) -> str:
    if not requested:
        return ""
    kind = "user" if limits.word == "uid" else "group"
    return (
        f'Overriding {kind} for container "{limits.container}" to "{requested}" is not allowed: {kind} is set to {by}'
    )


def _problem(limits: _Limits, requested: str) -> str:
    # isdecimal alone would take digits of other scripts, which int() reads and Kubernetes does not.
    if not (requested.isascii() and requested.isdecimal()) or len(requested) > 10:
        return f'"{requested}" is no number of a user or group'
    number = int(requested)
    numbers = {int(text) for text in limits.allowed if text.isascii() and text.isdecimal()}
    if number == 0 and 0 not in numbers:
        return "0 (root) has to be allowed by name"
    if limits.allowed and number not in numbers:
        return f"{number} is not in the list of allowed ones"
    return ""
