"""Rules about users, privileges and profiles."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes

CASES = [
    Case(
        "escalation-defeated",
        kubernetes("privileged = true\nallow_privilege_escalation = false"),
        (
            (
                "error kubernetes.allow_privilege_escalation: privileged beside allow_privilege_escalation "
                "= false: the API server refuses such a pod"
            ),
        ),
        kubernetes("privileged = true"),
    ),
    Case(
        "escalation-defeated",
        kubernetes("""
            cap_add = ["CAP_SYS_ADMIN"]
            [runners.kubernetes.build_container_security_context]
            allow_privilege_escalation = false
        """),
        (
            (
                "error kubernetes.cap_add: CAP_SYS_ADMIN beside allow_privilege_escalation = false: the API"
                " server refuses such a pod"
            ),
        ),
        kubernetes('cap_add = ["CAP_SYS_ADMIN"]'),
    ),
    Case(
        "root-refused",
        kubernetes("""
            [runners.kubernetes.pod_security_context]
            run_as_non_root = true
            [runners.kubernetes.build_container_security_context]
            run_as_user = 0
        """),
        (
            (
                "error kubernetes.build_container_security_context.run_as_user: run_as_non_root is set and "
                "the user is 0: the kubelet does not start the build container"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.pod_security_context]
            run_as_non_root = true
            run_as_user = 1000
        """),
    ),
    Case(
        "id-out-of-range",
        kubernetes("""
            [runners.kubernetes.pod_security_context]
            fs_group = -1
            supplemental_groups = [5, 2147483648]
        """),
        (
            (
                "error kubernetes.pod_security_context.fs_group: -1 is the number of no user or group: the "
                "API server refuses such a pod"
            ),
            (
                "error kubernetes.pod_security_context.supplemental_groups.1: 2147483648 is the number of "
                "no user or group: the API server refuses such a pod"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.pod_security_context]
            fs_group = 0
            supplemental_groups = [2147483647]
        """),
    ),
    Case(
        "profile-file",
        kubernetes("""
            [runners.kubernetes.pod_security_context.seccomp_profile]
            type = "RuntimeDefault"
            localhost_profile = "a.json"
            [runners.kubernetes.build_container_security_context.seccomp_profile]
            type = "Localhost"
            localhost_profile = "../a.json"
        """),
        (
            (
                "error kubernetes.pod_security_context.seccomp_profile: localhost_profile does nothing "
                "without the type Localhost"
            ),
            (
                'error kubernetes.build_container_security_context.seccomp_profile: "../a.json" leads out '
                "of the kubelet's folder of profiles: the API server refuses such a pod"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.pod_security_context.seccomp_profile]
            type = "Localhost"
            localhost_profile = "profiles/a.json"
        """),
    ),
    Case(
        "proc-mount-unmasked",
        kubernetes("""
            [runners.kubernetes.build_container_security_context]
            proc_mount = "unmasked"
        """),
        (
            (
                'error kubernetes.build_container_security_context.proc_mount: "Unmasked" is for pods with '
                "a user namespace of their own: the API server refuses such a pod"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.build_container_security_context]
            proc_mount = "Unmasked"
            [[runners.kubernetes.pod_spec]]
            patch = "hostUsers: false"
            [runners.kubernetes.helper_container_security_context]
            proc_mount = "Default"
        """),
    ),
    Case(
        "capability-name",
        kubernetes('cap_add = ["CAP_NET_ADMIN", "sys_time"]'),
        (
            (
                'warning kubernetes.cap_add.0: "CAP_NET_ADMIN" is not how Kubernetes spells a capability: '
                "containers may not start"
            ),
            (
                'warning kubernetes.cap_add.1: "sys_time" is not how Kubernetes spells a capability: '
                "containers may not start"
            ),
        ),
        kubernetes('cap_add = ["NET_ADMIN"]\ncap_drop = ["ALL"]'),
    ),
    Case(
        "capability-added-and-dropped",
        kubernetes('cap_add = ["NET_ADMIN"]\ncap_drop = ["NET_ADMIN"]'),
        ('warning kubernetes.cap_add.0: "NET_ADMIN" is in cap_drop too, which wins',),
        kubernetes('cap_add = ["NET_ADMIN"]\ncap_drop = ["NET_RAW"]'),
    ),
    Case(
        "capabilities-of-privileged",
        kubernetes('privileged = true\ncap_drop = ["ALL"]'),
        (
            (
                "warning kubernetes.cap_drop: privileged containers keep every capability, so cap_drop "
                "takes none from them"
            ),
        ),
        kubernetes('cap_drop = ["ALL"]'),
    ),
    Case(
        "allowed-ids-hidden",
        kubernetes("""
            allowed_users = ["1000"]
            [runners.kubernetes.build_container_security_context]
            run_as_user = 1000
        """),
        (
            (
                "warning kubernetes.allowed_users: build_container_security_context sets run_as_user, which"
                " wins over what a job chooses: the list does nothing"
            ),
        ),
        kubernetes("""
            allowed_users = ["1000"]
            [runners.kubernetes.helper_container_security_context]
            run_as_user = 1000
        """),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
