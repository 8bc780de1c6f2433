"""Security contexts: who wins, what is left out."""

from typing import Any

import pytest

from runner.config.kubernetes import KubernetesConfig
from runner.config.security import ContainerSecurityContext, PodSecurityContext
from runner.podspec.security import build_container_security_context, build_pod_security_context, security_warnings
from runner.podspec.users import ContainerUser


def context(kubernetes: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The security context of a container of the image's own user."""
    return build_container_security_context(
        KubernetesConfig.model_validate(kubernetes), ContainerSecurityContext.model_validate(own), ContainerUser()
    )


@pytest.mark.parametrize(
    ("kubernetes", "own", "capabilities"),
    [
        ({}, {}, {"drop": ["NET_RAW"]}),
        ({"cap_add": ["SYS_PTRACE", "CHOWN"]}, {}, {"add": ["CHOWN", "SYS_PTRACE"], "drop": ["NET_RAW"]}),
        ({"cap_drop": ["CHOWN"]}, {}, {"drop": ["CHOWN", "NET_RAW"]}),
        ({"cap_add": ["NET_RAW"]}, {}, {"add": ["NET_RAW"]}),
        ({"cap_add": ["CHOWN"], "cap_drop": ["CHOWN"]}, {}, {"drop": ["CHOWN", "NET_RAW"]}),
        ({}, {"add": ["SYS_TIME"]}, {"add": ["SYS_TIME"], "drop": ["NET_RAW"]}),
        ({"cap_add": ["CHOWN"]}, {"add": ["SYS_TIME"]}, {"add": ["SYS_TIME"], "drop": ["NET_RAW"]}),
        ({"cap_add": ["CHOWN"]}, {"drop": ["ALL"]}, {"add": ["CHOWN"], "drop": ["ALL"]}),
    ],
    ids=[
        "default",
        "added",
        "dropped",
        "default overridden",
        "drop beats add",
        "container adds",
        "container's add replaces",
        "container's drop replaces",
    ],
)
def test_capabilities_when(kubernetes: dict[str, Any], own: dict[str, Any], capabilities: dict[str, Any]) -> None:
    """NET_RAW goes unless somebody says otherwise; the lists are sorted so that equal requests give equal pods."""
    assert context(kubernetes, {"capabilities": own})["capabilities"] == capabilities


@pytest.mark.parametrize(
    ("kubernetes", "own", "expected"),
    [
        ({"privileged": True}, {}, {"privileged": True}),
        ({"privileged": True}, {"privileged": False}, {"privileged": False}),
        (
            {"allow_privilege_escalation": True},
            {"allow_privilege_escalation": False},
            {"allowPrivilegeEscalation": False},
        ),
        ({}, {"read_only_root_filesystem": True, "run_as_non_root": False}, {"readOnlyRootFilesystem": True}),
        ({}, {"selinux_type": "spc_t"}, {"seLinuxOptions": {"type": "spc_t"}}),
        ({}, {"proc_mount": " unMASKED "}, {"procMount": "Unmasked"}),
        (
            {},
            {"seccomp_profile": {"type": "Localhost", "localhost_profile": "p.json"}},
            {"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}},
        ),
        (
            {},
            {"app_armor_profile": {"type": "RuntimeDefault", "localhost_profile": "x"}},
            {"appArmorProfile": {"type": "RuntimeDefault"}},
        ),
    ],
    ids=["privileged", "container wins", "escalation", "flags", "selinux", "proc mount", "local profile", "app armor"],
)
def test_container_security_context_when(
    kubernetes: dict[str, Any], own: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The container's own table comes before the general keys."""
    built = context(kubernetes, own)

    assert {key: built[key] for key in expected} == expected


@pytest.mark.parametrize(
    "own",
    [
        {"proc_mount": "hidden"},
        {"seccomp_profile": {"type": "runtimedefault"}},
        {"app_armor_profile": {"type": "Localhost"}},
    ],
    ids=["proc mount", "case of the type", "no local file"],
)
def test_wrong_values_are_left_out_with_a_warning_when_known(own: dict[str, Any]) -> None:
    """The API server would refuse the pod for them."""
    assert context({}, own) == {"capabilities": {"drop": ["NET_RAW"]}}
    assert len(security_warnings(ContainerSecurityContext.model_validate(own), "build")) == 1


def test_pod_security_context_when_empty_or_full() -> None:
    """Nothing set, nothing sent; zero and false are set."""
    assert build_pod_security_context(PodSecurityContext()) == {}
    assert build_pod_security_context(
        PodSecurityContext.model_validate(
            {
                "fs_group": 0,
                "run_as_user": 1,
                "run_as_group": 2,
                "run_as_non_root": False,
                "supplemental_groups": [3],
                "selinux_type": "t",
                "seccomp_profile": {"type": "Unconfined"},
            }
        )
    ) == {
        "fsGroup": 0,
        "runAsUser": 1,
        "runAsGroup": 2,
        "runAsNonRoot": False,
        "supplementalGroups": [3],
        "seLinuxOptions": {"type": "t"},
        "seccompProfile": {"type": "Unconfined"},
    }
