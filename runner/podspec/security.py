"""Security contexts of the pod and its containers."""

from collections.abc import Iterable

from runner.config.kubernetes import KubernetesConfig
from runner.config.security import Capabilities, ContainerSecurityContext, PodSecurityContext, SecurityProfile
from runner.podspec.manifest import Manifest, filled
from runner.podspec.users import ContainerUser

DROPPED_BY_DEFAULT = ("NET_RAW",)
"""Raw sockets let a container forge packets of its neighbours; builds have no use for them."""

_PROFILE_TYPES = frozenset({"RuntimeDefault", "Unconfined", "Localhost"})
_PROC_MOUNTS = frozenset({"Default", "Unmasked"})


def build_pod_security_context(context: PodSecurityContext) -> Manifest:
    """Build the pod's security context; empty when nothing is set."""
    return filled(
        {
            "fsGroup": context.fs_group,
            "runAsGroup": context.run_as_group,
            "runAsNonRoot": context.run_as_non_root,
            "runAsUser": context.run_as_user,
            "supplementalGroups": list(context.supplemental_groups),
            "seLinuxOptions": filled({"type": context.selinux_type}),
            "seccompProfile": _profile(context.seccomp_profile),
            "appArmorProfile": _profile(context.app_armor_profile),
        }
    )


def build_container_security_context(
    kubernetes: KubernetesConfig, context: ContainerSecurityContext, user: ContainerUser
) -> Manifest:
    """Build a container's security context: its own table first, the executor's general keys where that is silent."""
    return filled(
        {
            "runAsUser": user.uid,
            "runAsGroup": user.gid,
            "runAsNonRoot": context.run_as_non_root,
            "privileged": _first_set(context.privileged, kubernetes.privileged),
            "allowPrivilegeEscalation": _first_set(
                context.allow_privilege_escalation, kubernetes.allow_privilege_escalation
            ),
            "readOnlyRootFilesystem": context.read_only_root_filesystem,
            "capabilities": _capabilities(kubernetes, context.capabilities),
            "seLinuxOptions": filled({"type": context.selinux_type}),
            "procMount": _proc_mount(context.proc_mount),
            "seccompProfile": _profile(context.seccomp_profile),
            "appArmorProfile": _profile(context.app_armor_profile),
        }
    )


def security_warnings(context: ContainerSecurityContext | PodSecurityContext, where: str) -> tuple[str, ...]:
    """Say which values of a security context are wrong and therefore left out."""
    profiles = {"seccomp_profile": context.seccomp_profile, "app_armor_profile": context.app_armor_profile}
    warnings = [
        f'{where}: {key} "{profile.type}" is left out: it needs one of RuntimeDefault, Unconfined or Localhost, '
        "and for Localhost a localhost_profile."
        for key, profile in profiles.items()
        if profile.type and not _profile(profile)
    ]
    proc_mount = getattr(context, "proc_mount", "")
    if proc_mount.strip() and not _proc_mount(proc_mount):
        warnings.append(f'{where}: proc_mount "{proc_mount}" is left out: it is neither Default nor Unmasked.')
    return tuple(warnings)


def _first_set(own: bool | None, general: bool | None) -> bool | None:
    return general if own is None else own


def _capabilities(kubernetes: KubernetesConfig, own: Capabilities) -> Manifest:
    """Merge capabilities: `cap_drop` beats `cap_add` beats the default; a container's own list replaces ours.

    A container that names what to drop therefore gets NET_RAW back: GitLab Runner does so, and it is how to get it.
    """
    dropped = set(kubernetes.cap_drop) | (set(DROPPED_BY_DEFAULT) - set(kubernetes.cap_add))
    added = set(kubernetes.cap_add) - dropped
    return filled({"add": _sorted(own.add or added), "drop": _sorted(own.drop or dropped)})


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(names))


def _profile(profile: SecurityProfile) -> Manifest:
    if profile.type not in _PROFILE_TYPES or (profile.type == "Localhost" and not profile.localhost_profile):
        return {}
    local = {"localhostProfile": profile.localhost_profile} if profile.type == "Localhost" else {}
    return {"type": profile.type, **local}


def _proc_mount(text: str) -> str:
    """Read `proc_mount` in any case and with blanks around it; empty for what is none."""
    word = text.strip().capitalize()
    return word if word in _PROC_MOUNTS else ""
