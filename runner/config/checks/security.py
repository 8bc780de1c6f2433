"""Users, privileges, capabilities and profiles of the pod and its containers."""

from collections.abc import Iterator, Mapping
from typing import Final

from runner.config.checks.rules import Problem, Rule, quoted
from runner.config.checks.words import is_safe_path
from runner.config.kubernetes import KubernetesConfig
from runner.config.positions import Path
from runner.config.security import ContainerSecurityContext, PodSecurityContext, SecurityProfile

_LARGEST_ID = 2**31 - 1
_CONTAINERS = ("build", "helper", "service", "init_permissions")


def contexts(kubernetes: KubernetesConfig) -> Mapping[str, ContainerSecurityContext]:
    """The security context of each kind of container, by its key."""
    keys = (f"{kind}_container_security_context" for kind in _CONTAINERS)
    return {key: getattr(kubernetes, key) for key in keys}


def is_privileged(kubernetes: KubernetesConfig, context: ContainerSecurityContext) -> bool:
    """Whether a container with this context is privileged."""
    own = context.privileged
    return bool(kubernetes.privileged if own is None else own)


def _escalation_defeated(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A container is to be privileged and not to gain privileges."""
    told = False
    for key, context in contexts(kubernetes).items():
        own = context.allow_privilege_escalation
        forbidden = (kubernetes.allow_privilege_escalation if own is None else own) is False
        if not forbidden:
            continue
        general = context.privileged is None and own is None
        if is_privileged(kubernetes, context) and not (general and told):
            told = told or general
            yield Problem(
                ("allow_privilege_escalation",) if general else (key, "allow_privilege_escalation"),
                "privileged beside allow_privilege_escalation = false: the API server refuses such a pod",
                "give up privileged, or allow_privilege_escalation = false",
            )
        elif "CAP_SYS_ADMIN" in (context.capabilities.add or kubernetes.cap_add):
            yield Problem(
                (key, "capabilities", "add") if context.capabilities.add else ("cap_add",),
                "CAP_SYS_ADMIN beside allow_privilege_escalation = false: the API server refuses such a pod",
                "give up the one or the other",
            )


def _root_refused(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A container is to run as root and must not."""
    pod = kubernetes.pod_security_context
    for key, context in contexts(kubernetes).items():
        non_root = pod.run_as_non_root if context.run_as_non_root is None else context.run_as_non_root
        user = pod.run_as_user if context.run_as_user is None else context.run_as_user
        if non_root and user == 0:
            where = "pod_security_context" if context.run_as_user is None else key
            whose = key.removesuffix("_container_security_context").replace("_", " ")
            yield Problem(
                (where, "run_as_user"),
                f"run_as_non_root is set and the user is 0: the kubelet does not start the {whose} container",
                "choose a user other than 0, or give up run_as_non_root",
            )
            return


def _id_out_of_range(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A number of a user or group is one that no Linux has."""
    pod = kubernetes.pod_security_context
    numbers: dict[Path, int | None] = {
        ("pod_security_context", key): getattr(pod, key) for key in ("fs_group", "run_as_group", "run_as_user")
    }
    for index, group in enumerate(pod.supplemental_groups):
        numbers["pod_security_context", "supplemental_groups", index] = group
    for where, context in contexts(kubernetes).items():
        numbers |= {(where, key): getattr(context, key) for key in ("run_as_group", "run_as_user")}
    for path, number in numbers.items():
        if number is not None and not 0 <= number <= _LARGEST_ID:
            yield Problem(
                path,
                f"{number} is the number of no user or group: the API server refuses such a pod",
                f"write a number from 0 to {_LARGEST_ID}",
            )


def _profile_file(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """The file of a seccomp or AppArmor profile does nothing, or leads out of the kubelet's folder."""
    tables: dict[str, PodSecurityContext | ContainerSecurityContext] = {
        "pod_security_context": kubernetes.pod_security_context,
        **contexts(kubernetes),
    }
    for where, context in tables.items():
        profiles = {"seccomp_profile": context.seccomp_profile, "app_armor_profile": context.app_armor_profile}
        for key, profile in profiles.items():
            if reason := _profile_problem(profile):
                message, remedy = reason
                yield Problem((where, key), message, remedy)


def _profile_problem(profile: SecurityProfile) -> tuple[str, str] | None:
    kind, file = profile.type, profile.localhost_profile
    if file and kind != "Localhost":
        return ("localhost_profile does nothing without the type Localhost", 'set type = "Localhost"')
    if file and not is_safe_path(file):
        return (
            f"{quoted(file)} leads out of the kubelet's folder of profiles: the API server refuses such a pod",
            "write a path below that folder, without / at its beginning and without ..",
        )
    return None


def _proc_mount(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A `proc_mount` is one that clusters refuse without a user namespace."""
    if any("hostUsers" in patch.patch or patch.patch_path for patch in kubernetes.pod_spec):
        return
    for where, context in contexts(kubernetes).items():
        if context.proc_mount.strip().capitalize() == "Unmasked":
            yield Problem(
                (where, "proc_mount"),
                '"Unmasked" is for pods with a user namespace of their own: the API server refuses such a pod',
                "take it away, or patch hostUsers: false into the pod with pod_spec",
            )


def _capability_name(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A capability is not spelled as Kubernetes spells it."""
    lists: dict[Path, tuple[str, ...]] = {("cap_add",): kubernetes.cap_add, ("cap_drop",): kubernetes.cap_drop}
    for where, context in contexts(kubernetes).items():
        lists[where, "capabilities", "add"] = context.capabilities.add
        lists[where, "capabilities", "drop"] = context.capabilities.drop
    for path, names in lists.items():
        for index, name in enumerate(names):
            right = name.strip().upper().removeprefix("CAP_")
            if name != right:
                yield Problem(
                    (*path, index),
                    f"{quoted(name)} is not how Kubernetes spells a capability: containers may not start",
                    f"write {quoted(right)}" if right else "take it out",
                )


def _capability_added_and_dropped(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A capability is added and dropped."""
    for index, name in enumerate(kubernetes.cap_add):
        if name in kubernetes.cap_drop:
            yield Problem(
                ("cap_add", index),
                f"{quoted(name)} is in cap_drop too, which wins",
                "take it out of one of the two",
            )


def _capabilities_of_privileged(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Capabilities are dropped from privileged containers, which have them all."""
    if kubernetes.privileged and kubernetes.cap_drop:
        yield Problem(
            ("cap_drop",),
            "privileged containers keep every capability, so cap_drop takes none from them",
            "give up privileged and add the capabilities that are needed, or take cap_drop away",
        )


def _allowed_ids_hidden(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Jobs may choose among users, and the configuration chooses for them."""
    for key, field in (("allowed_users", "run_as_user"), ("allowed_groups", "run_as_group")):
        own = getattr(kubernetes.build_container_security_context, field)
        where = "build_container_security_context" if own is not None else "pod_security_context"
        fixed = own if own is not None else getattr(kubernetes.pod_security_context, field)
        if getattr(kubernetes, key) and fixed is not None:
            yield Problem(
                (key,),
                f"{where} sets {field}, which wins over what a job chooses: the list does nothing",
                f"take {key} or {field} away",
            )


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("escalation-defeated", "error", _escalation_defeated),
    Rule("root-refused", "error", _root_refused),
    Rule("id-out-of-range", "error", _id_out_of_range),
    Rule("profile-file", "error", _profile_file),
    Rule("proc-mount-unmasked", "error", _proc_mount),
    Rule("capability-name", "warning", _capability_name),
    Rule("capability-added-and-dropped", "warning", _capability_added_and_dropped),
    Rule("capabilities-of-privileged", "warning", _capabilities_of_privileged),
    Rule("allowed-ids-hidden", "warning", _allowed_ids_hidden),
)
"""All rules of this subject."""
