"""Keys of `[runners.kubernetes]` about users, privileges and profiles of the pod and its containers."""

from typing import Annotated

from pydantic import Field

from runner.config.base import FILE_ONLY, Given, Table
from runner.config.values import Doubt, Flag, Number, Texts

PROFILE_TYPES = ("RuntimeDefault", "Unconfined", "Localhost")
PROC_MOUNTS = ("Default", "Unmasked")


def _proc_mount_problem(text: str) -> str | None:
    known = text.strip().capitalize() in ("", *PROC_MOUNTS)
    return None if known else "this is neither Default nor Unmasked, and is left out"


def _id_problem(text: str) -> str | None:
    return None if text.strip().isdecimal() else "this is no number, and is left out"


Ids = Annotated[Texts, Doubt("allowed-ids", _id_problem)]


class SecurityProfile(Table):
    """A seccomp or AppArmor profile."""

    type: str = Field("", description="`RuntimeDefault`, `Unconfined` or `Localhost`; empty sends no profile")
    localhost_profile: str = Field("", description="the profile's file on the node, for `Localhost`")

    def doubt(self) -> tuple[str, str] | None:
        """A type is one of three, and a profile of the node needs its file."""
        if self.type not in ("", *PROFILE_TYPES):
            return "profile-not-sent", f"no profile is sent, for its type is none of {', '.join(PROFILE_TYPES)}"
        if self.type == "Localhost" and not self.localhost_profile:
            return "profile-not-sent", "no profile is sent, for Localhost needs localhost_profile"
        return None


class Capabilities(Table):
    """Linux capabilities of one container."""

    add: Texts = Field((), description="capabilities to add; replaces what `cap_add` gives")
    drop: Texts = Field((), description="capabilities to drop; replaces `cap_drop` and the default `NET_RAW`")


class PodSecurityContext(Table):
    """`[runners.kubernetes.pod_security_context]`; sent only if something is set."""

    fs_group: Number | None = Field(None, description="group that owns the pod's volumes")
    run_as_group: Number | None = Field(None, description="group of every container's process")
    run_as_non_root: Flag | None = Field(None, description="refuse containers that would run as root")
    run_as_user: Number | None = Field(None, description="user of every container's process")
    supplemental_groups: Annotated[tuple[Number, ...], Given(env="")] = Field(
        (), description="further groups of every container's process"
    )
    selinux_type: Annotated[str, Given(env="")] = Field("", description="SELinux type")
    seccomp_profile: Annotated[SecurityProfile, FILE_ONLY] = Field(
        SecurityProfile(), description="seccomp profile of the pod"
    )
    app_armor_profile: Annotated[SecurityProfile, FILE_ONLY] = Field(
        SecurityProfile(), description="AppArmor profile of the pod"
    )


class ContainerSecurityContext(Table):
    """Security context of one kind of container; sent only if something is set."""

    run_as_user: Number | None = Field(None, description="user of the container's process")
    run_as_group: Number | None = Field(None, description="group of the container's process")
    run_as_non_root: Flag | None = Field(None, description="refuse to run as root")
    privileged: Flag | None = Field(None, description="wins over the executor's `privileged`")
    allow_privilege_escalation: Flag | None = Field(
        None, description="wins over the executor's `allow_privilege_escalation`"
    )
    read_only_root_filesystem: Flag | None = Field(None, description="mount the image read-only")
    capabilities: Capabilities = Field(Capabilities(), description="Linux capabilities of the container")
    selinux_type: Annotated[str, Given(env="")] = Field("", description="SELinux type")
    proc_mount: Annotated[str, Doubt("proc-mount", _proc_mount_problem)] = Field(
        "", description="`Default` or `Unmasked`"
    )
    seccomp_profile: Annotated[SecurityProfile, FILE_ONLY] = Field(
        SecurityProfile(), description="seccomp profile of the container"
    )
    app_armor_profile: Annotated[SecurityProfile, FILE_ONLY] = Field(
        SecurityProfile(), description="AppArmor profile of the container"
    )


class SecurityKeys(Table):
    """Security."""

    privileged: Flag | None = Field(None, description="run every container privileged")
    allow_privileged: Flag | None = Field(
        None, description="let jobs run privileged that set the variable `privileged` to `true`; a former key"
    )
    allow_privilege_escalation: Flag | None = Field(None, description="let processes gain privileges")
    cap_add: Texts = Field((), description="Linux capabilities that every container gets")
    cap_drop: Texts = Field((), description="Linux capabilities that every container loses; `NET_RAW` always")
    pod_security_context: Annotated[PodSecurityContext, Given(flag="kubernetes-pod-security-context")] = Field(
        PodSecurityContext(), description="security of the whole pod"
    )
    build_container_security_context: ContainerSecurityContext = Field(
        ContainerSecurityContext(), description="security of the build container"
    )
    helper_container_security_context: ContainerSecurityContext = Field(
        ContainerSecurityContext(), description="security of the helper container"
    )
    service_container_security_context: ContainerSecurityContext = Field(
        ContainerSecurityContext(), description="security of the service containers"
    )
    init_permissions_container_security_context: ContainerSecurityContext = Field(
        ContainerSecurityContext(), description="security of the init container, where there is one"
    )
    allowed_users: Ids = Field(
        (), description="user ids that a job may choose for its image; empty: all but 0, which must be listed"
    )
    allowed_groups: Ids = Field(
        (), description="group ids that a job may choose for its image; empty: all but 0, which must be listed"
    )
