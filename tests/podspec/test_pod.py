"""The pod's manifest: whole for a plain job, and part by part for what configuration adds."""

import math
from typing import Any

import pytest

from runner.config.patches import PodPatch
from runner.job.outcome import JobConfigurationError
from runner.podspec.patches import BETA_WARNING, SpecPatch, read_patches
from runner.podspec.pod import build_pod, pod_warnings

POD = "runner-abcdefghi-project-77-concurrent-0-q1w2e3r4"
SLOT = "runner-abcdefghi-project-77-concurrent-0"


def test_build_pod_for_a_plain_job(make_request: Any) -> None:
    """Two containers, three emptyDirs, no init container, nothing secret: the whole manifest, literally."""
    mounts = [
        {"name": "scripts", "mountPath": "/scripts-77-4711"},
        {"name": "logs", "mountPath": "/logs-77-4711"},
        {"name": "repo", "mountPath": "/builds"},
    ]
    security = {"capabilities": {"drop": ["NET_RAW"]}}

    assert build_pod(make_request()) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": POD,
            "namespace": "ci",
            "labels": {
                "pod": SLOT,
                "job.runner.gitlab.com/pod": SLOT,
                "job.runner.gitlab.com/pod-name": POD,
                "job.runner.gitlab.com/id": "4711",
                "project.runner.gitlab.com/id": "77",
                "project.runner.gitlab.com/name": "web_shop",
                "project.runner.gitlab.com/namespace": "shop",
                "project.runner.gitlab.com/namespace-id": "9",
                "project.runner.gitlab.com/root-namespace": "shop",
                "project.runner.gitlab.com/root-namespace-id": "9",
                "manager.runner.gitlab.com/name": "shop_runner",
                "manager.runner.gitlab.com/system-id": "s_0123456789ab",
                "manager.runner.gitlab.com/id-short": "abcdefghi",
            },
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                "karpenter.sh/do-not-disrupt": "true",
                "job.runner.gitlab.com/id": "4711",
                "job.runner.gitlab.com/url": "https://gitlab.example.com/shop/web/-/jobs/4711",
                "job.runner.gitlab.com/sha": "f0e1",
                "job.runner.gitlab.com/before_sha": "a2b3",
                "job.runner.gitlab.com/ref": "main",
                "job.runner.gitlab.com/name": "unit tests",
                "job.runner.gitlab.com/timeout": "1h0m0s",
                "job.runner.gitlab.com/expires-at": "2027-01-15T10:00:00Z",
                "project.runner.gitlab.com/id": "77",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "activeDeadlineSeconds": 3601,
            "dnsPolicy": "ClusterFirst",
            "volumes": [
                {"name": "repo", "emptyDir": {}},
                {"name": "scripts", "emptyDir": {}},
                {"name": "logs", "emptyDir": {}},
            ],
            "containers": [
                {
                    "name": "build",
                    "image": "busybox:latest",
                    "command": ["sh", "-c", "build agent"],
                    "env": [
                        {"name": "CI_PROJECT_NAMESPACE", "value": "shop"},
                        {"name": "CI_PROJECT_NAMESPACE_ID", "value": "9"},
                        {"name": "CI_PROJECT_ROOT_NAMESPACE", "value": "shop"},
                    ],
                    "volumeMounts": mounts,
                    "securityContext": security,
                    "stdin": True,
                    "stdinOnce": False,
                },
                {
                    "name": "helper",
                    "image": "registry.example.com/helper:1",
                    "command": ["sh", "-c", "helper agent"],
                    "volumeMounts": mounts,
                    "securityContext": {**security, "runAsUser": 0},
                    "stdin": True,
                    "stdinOnce": False,
                },
            ],
        },
    }


def test_build_pod_holds_no_secret_when_the_configuration_asks_for_it(make_request: Any) -> None:
    """A masked value stays out of labels, annotations, environments and everything else of the manifest."""
    request = make_request(
        job={
            "services": [
                {"name": "db", "variables": [{"key": "PW", "value": "$DB_PASSWORD"}, {"key": "T", "value": "$TEAM"}]}
            ]
        },
        kubernetes={
            "pod_labels": {"leak": "$DB_PASSWORD"},
            "pod_annotations": {"leak": "token $CI_JOB_TOKEN"},
            "services": [{"name": "cache", "environment": ["PW=x${DB_PASSWORD}x"]}],
        },
    )

    text = str(build_pod(request))

    assert "hunter2hunter2" not in text
    assert "glcbt-64_abcdefghijklmnopqrst" not in text
    assert "checkout" not in text


@pytest.mark.parametrize(
    ("kubernetes", "expected"),
    [
        pytest.param(
            {
                "node_selector": {"kubernetes.io/arch": "arm64"},
                "scheduler_name": "mine",
                "priority_class_name": "low",
                "runtime_class_name": "gvisor",
            },
            {
                "nodeSelector": {"kubernetes.io/arch": "arm64"},
                "schedulerName": "mine",
                "priorityClassName": "low",
                "runtimeClassName": "gvisor",
            },
            id="placement",
        ),
        pytest.param(
            {"node_tolerations": {"a=b": "NoSchedule", "c": "", "d=": "NoExecute", "e=f=g": "", "": ""}},
            {
                "tolerations": [
                    {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "Equal", "value": "", "effect": "NoExecute"},
                    {"key": "e", "operator": "Equal", "value": "f=g"},
                    {"operator": "Exists"},
                ]
            },
            id="tolerations",
        ),
        pytest.param(
            {"service_account": "ci", "automount_service_account_token": False, "image_pull_secrets": ["a", "b"]},
            {
                "serviceAccountName": "ci",
                "automountServiceAccountToken": False,
                "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
            },
            id="access",
        ),
        pytest.param(
            {
                "host_aliases": [{"ip": "10.0.0.9", "hostnames": ["x.example.com", "y"]}],
                "dns_policy": "none",
                "dns_config": {
                    "nameservers": ["10.0.0.1"],
                    "searches": ["example.com"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            {
                "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["x.example.com", "y"]}],
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["10.0.0.1"],
                    "searches": ["example.com"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            id="network",
        ),
        pytest.param(
            {"dns_policy": "cluster-first-with-host-net"}, {"dnsPolicy": "ClusterFirstWithHostNet"}, id="dns policy"
        ),
        pytest.param(
            {"pod_termination_grace_period_seconds": 0}, {"terminationGracePeriodSeconds": 0}, id="grace period"
        ),
        pytest.param(
            {"pod_cpu_limit": "4", "pod_memory_request": "1Gi"},
            {"resources": {"limits": {"cpu": "4"}, "requests": {"memory": "1Gi"}}},
            id="resources of the pod",
        ),
        pytest.param(
            {"pod_security_context": {"run_as_user": 0, "fs_group": 5, "supplemental_groups": [1, 2]}},
            {"securityContext": {"runAsUser": 0, "fsGroup": 5, "supplementalGroups": [1, 2]}},
            id="security of the pod",
        ),
    ],
)
def test_build_pod_when_configured(make_request: Any, kubernetes: dict[str, Any], expected: dict[str, Any]) -> None:
    """A key of the configuration becomes the field of the pod's spec that it names."""
    spec = build_pod(make_request(kubernetes=kubernetes))["spec"]

    assert {key: spec[key] for key in expected} == expected


def test_build_pod_names_the_services_first_when_there_are_host_aliases(make_request: Any) -> None:
    """Services are on the pod's own loopback; a service with ports is not named."""
    request = make_request(
        job={
            "services": [
                {"name": "registry.tld:5000/a/b:1", "alias": "db, db.example.com"},
                {"name": "web", "alias": "front", "ports": [{"number": 80}]},
                {"name": "redis"},
            ]
        },
        kubernetes={"host_aliases": [{"ip": "10.0.0.9", "hostnames": ["x"]}]},
    )

    assert build_pod(request)["spec"]["hostAliases"] == [
        {"ip": "127.0.0.1", "hostnames": ["registry.tld-a-b", "db", "db.example.com", "redis"]},
        {"ip": "10.0.0.9", "hostnames": ["x"]},
    ]


def test_build_pod_refuses_when_an_alias_is_no_host_name(make_request: Any) -> None:
    """The job named it, so the job is told, and not a failure of the system."""
    request = make_request(job={"services": [{"name": "postgres:16", "alias": "my_db"}]})

    with pytest.raises(JobConfigurationError, match=r'the alias "my_db" of service "postgres:16" is no host name'):
        build_pod(request)


@pytest.mark.parametrize(
    ("timeout", "flags", "deadline"),
    [
        (60, {}, 61),
        (0, {}, 7201),
        (1.5, {"FF_USE_POD_ACTIVE_DEADLINE_SECONDS": True}, math.ceil(1.5) + 1),
        (60, {"FF_USE_POD_ACTIVE_DEADLINE_SECONDS": False}, None),
    ],
    ids=["default on", "no timeout is two hours", "whole seconds", "flag off"],
)
def test_active_deadline_when(make_request: Any, timeout: float, flags: dict[str, bool], deadline: int | None) -> None:
    """The pod ends one second after the job's own time, so a dead manager leaves nothing that runs for ever."""
    request = make_request(job={"runner_info": {"timeout": timeout}}, feature_flags=flags)

    assert build_pod(request)["spec"].get("activeDeadlineSeconds") == deadline


def test_build_pod_uses_the_given_namespace_and_secrets_when_the_job_has_its_own(make_request: Any) -> None:
    """An overwritten namespace wins, and generated registry secrets follow the configured ones."""
    pod = build_pod(
        make_request(kubernetes={"image_pull_secrets": ["a"]}, namespace="team", pull_secrets=("made", "a"))
    )

    assert pod["metadata"]["namespace"] == "team"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "made"}]


def test_build_pod_names_no_registry_secret_when_the_service_accounts_own_apply(make_request: Any) -> None:
    """With use_service_account_image_pull_secrets the list stays empty, as in TestSetupBuildPod."""
    kubernetes = {"image_pull_secrets": ["a"], "use_service_account_image_pull_secrets": True}

    assert "imagePullSecrets" not in build_pod(make_request(kubernetes=kubernetes, pull_secrets=("made",)))["spec"]


def test_pod_warnings_when_configuration_is_half_wrong(make_request: Any) -> None:
    """What was left out of the pod is said in the job log, one line each."""
    request = make_request(
        job={
            "image": {"name": "x", "executor_opts": {"kubernetes": {"user": "0"}}},
            "services": [{"name": "db", "executor_opts": {"kubernetes": {"user": "me"}}}],
        },
        kubernetes={
            "dns_policy": "ClusterFirst",
            "volumes": {"empty_dir": [{"name": "tmp", "mount_path": "/tmp", "size_limit": "big"}]},
            "pod_security_context": {"seccomp_profile": {"type": "Localhost"}},
            "build_container_security_context": {"proc_mount": "hidden"},
        },
    )

    assert pod_warnings(request) == (
        "Error parsing 'uid' from image options for container \"build\", using the configured security context: "
        "0 (root) has to be allowed by name",
        "Error parsing 'uid' from image options for container \"svc-0\", using the configured security context: "
        '"me" is no number of a user or group',
        'Size limit "big" of the empty_dir volume "tmp" is no quantity and is left out.',
        'pod_security_context: seccomp_profile "Localhost" is left out: it needs one of RuntimeDefault, Unconfined '
        "or Localhost, and for Localhost a localhost_profile.",
        'build_container_security_context: proc_mount "hidden" is left out: it is neither Default nor Unmasked.',
        'dns_policy "ClusterFirst" is left out: it is none of none, default, cluster-first, '
        "cluster-first-with-host-net.",
    )
    assert "dnsPolicy" not in build_pod(request)["spec"]


def test_pod_warnings_are_none_when_all_is_well(make_request: Any) -> None:
    """A clean job has a clean log."""
    assert pod_warnings(make_request()) == ()


def patches(*texts: str) -> tuple[SpecPatch, ...]:
    """Strategic patches of these texts."""
    return read_patches([PodPatch(patch=text) for text in texts], str)


def test_patches_change_the_spec_alone_when_there_are_some(make_request: Any) -> None:
    """They come last, in their order; metadata and the log's first line say nothing of what they do."""
    request = make_request(patches=patches("{hostname: a, metadata: {name: x}}", "hostname: b"))
    plain, patched = build_pod(make_request()), build_pod(request)

    assert patched["metadata"] == plain["metadata"]
    assert patched["spec"] == {**plain["spec"], "hostname": "b", "metadata": {"name": "x"}}
    assert pod_warnings(request) == (BETA_WARNING,)


def test_build_pod_refuses_when_a_patch_does_not_apply(make_request: Any) -> None:
    """Before anything is created, with the patch's number."""
    request = make_request(patches=patches("hostname: a", "containers: [{image: x}]"))

    with pytest.raises(JobConfigurationError, match=r'the pod_spec patch number 2 has an element of "containers"'):
        build_pod(request)


def test_pod_warnings_name_the_init_containers_context_when_it_is_wrong(make_request: Any) -> None:
    """The fifth security context is looked at like the others."""
    request = make_request(kubernetes={"init_permissions_container_security_context": {"proc_mount": "x"}})

    assert pod_warnings(request) == (
        'init_permissions_container_security_context: proc_mount "x" is left out: it is neither Default nor Unmasked.',
    )
