"""The rows of `TestSetupBuildPod`: what stands in the pod. Names are those of the table, values are ours."""

from __future__ import annotations

from typing import Any

from runner.podspec.registry import RegistryLogin
from runner.testing.payloads import image
from tests.compatibility.cases import Case
from tests.compatibility.placement_cases import PLACEMENT, K
from tests.manifests import ABSENT

BUILD, HELPER, SERVICE = "spec.containers.build", "spec.containers.helper", "spec.containers.svc-0"
EVERY = (BUILD, HELPER, SERVICE)
ONE_SERVICE = {"services": ["redis:7"]}
LOGIN = (RegistryLogin("registry.example.com", "user", "password"),)
PATCHES = "[runners.feature_flags]\nFF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true"
DUMB_INIT = "[runners.feature_flags]\nFF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR = true"
COLLECTOR = "[runners.feature_flags]\nFF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR = true"


def everywhere(place: str, value: Any) -> dict[str, Any]:
    """The same value in each of the containers."""
    return {f"{container}.{place}": value for container in EVERY}


def service(name: str, **over: Any) -> dict[str, Any]:
    """A service of the job."""
    return image(name, **over)


PORT = [{"number": 8080, "protocol": "http", "name": "web"}]
OTHER_PORT = [{"number": 9090, "protocol": "http", "name": "metrics"}]

ACCESS = {
    "no credentials and no pull secrets": Case(pod={"spec.imagePullSecrets": ABSENT}),
    "configured pull secrets": Case(
        'image_pull_secrets = ["registry-one", "registry-two"]',
        pod={"spec.imagePullSecrets": [{"name": "registry-one"}, {"name": "registry-two"}]},
    ),
    "configured pull secrets before generated credentials": Case(
        'image_pull_secrets = ["registry-one"]',
        job={"logins": LOGIN},
        pod={"spec.imagePullSecrets.0.name": "registry-one", "spec.imagePullSecrets.2": ABSENT},
    ),
    "pull secrets of the service account": Case(
        'image_pull_secrets = ["registry-one"]\nuse_service_account_image_pull_secrets = true',
        job={"logins": LOGIN},
        pod={"spec.imagePullSecrets": ABSENT},
    ),
    "service account": Case('service_account = "builder"', pod={"spec.serviceAccountName": "builder"}),
    "automount of the token unset": Case(pod={"spec.automountServiceAccountToken": ABSENT}),
    "automount of the token on": Case(
        "automount_service_account_token = true", pod={"spec.automountServiceAccountToken": True}
    ),
    "automount of the token off": Case(
        "automount_service_account_token = false", pod={"spec.automountServiceAccountToken": False}
    ),
}

SECURITY = {
    "security context unset": Case(
        job=ONE_SERVICE,
        pod={
            "spec.securityContext": ABSENT,
            **everywhere("securityContext", {"capabilities": {"drop": ["NET_RAW"]}}),
            "spec.containers.helper.securityContext": {"capabilities": {"drop": ["NET_RAW"]}, "runAsUser": 0},
        },
    ),
    "unprivileged": Case(
        "privileged = false\nallow_privilege_escalation = false",
        job=ONE_SERVICE,
        pod=everywhere("securityContext.privileged", False)
        | everywhere("securityContext.allowPrivilegeEscalation", False),
    ),
    "privileged": Case(
        "privileged = true\nallow_privilege_escalation = true",
        job=ONE_SERVICE,
        pod=everywhere("securityContext.privileged", True)
        | everywhere("securityContext.allowPrivilegeEscalation", True),
    ),
    "privileged in one container alone": Case(
        f"privileged = false\n[{K}.build_container_security_context]\nprivileged = true",
        job=ONE_SERVICE,
        pod={
            f"{BUILD}.securityContext.privileged": True,
            f"{HELPER}.securityContext.privileged": False,
            f"{SERVICE}.securityContext.privileged": False,
        },
    ),
    "security context of the pod": Case(
        f"[{K}.pod_security_context]\nfs_group = 200\nrun_as_group = 200\nrun_as_non_root = true\nrun_as_user = 200\n"
        "supplemental_groups = [200]",
        pod={
            "spec.securityContext": {
                "fsGroup": 200,
                "runAsGroup": 200,
                "runAsNonRoot": True,
                "runAsUser": 200,
                "supplementalGroups": [200],
            }
        },
    ),
    "security context of each container": Case(
        "\n".join(
            f"[{K}.{kind}_container_security_context]\nrun_as_user = {user}\nrun_as_non_root = true\n"
            'seccomp_profile = {type = "RuntimeDefault"}'
            for kind, user in (("build", 1), ("helper", 2), ("service", 3))
        ),
        job=ONE_SERVICE,
        pod={
            **{f"{place}.securityContext.runAsUser": user for place, user in zip(EVERY, (1, 2, 3), strict=True)},
            **everywhere("securityContext.runAsNonRoot", True),
            **everywhere("securityContext.seccompProfile", {"type": "RuntimeDefault"}),
        },
    ),
    "capabilities added": Case(
        'cap_add = ["SYS_TIME"]',
        job=ONE_SERVICE,
        pod=everywhere("securityContext.capabilities", {"add": ["SYS_TIME"], "drop": ["NET_RAW"]}),
    ),
    "capabilities dropped": Case(
        'cap_drop = ["SYS_TIME"]',
        job=ONE_SERVICE,
        pod=everywhere("securityContext.capabilities", {"drop": ["NET_RAW", "SYS_TIME"]}),
    ),
    "capabilities: a default is added again": Case(
        'cap_add = ["NET_RAW"]',
        job=ONE_SERVICE,
        pod=everywhere("securityContext.capabilities", {"add": ["NET_RAW"]}),
    ),
    "capabilities: the same in both is dropped": Case(
        'cap_add = ["SYS_TIME", "NET_RAW"]\ncap_drop = ["SYS_TIME", "NET_RAW"]',
        job=ONE_SERVICE,
        pod=everywhere("securityContext.capabilities", {"drop": ["NET_RAW", "SYS_TIME"]}),
    ),
    "capabilities of a container replace the general ones": Case(
        f'cap_add = ["SYS_TIME"]\ncap_drop = ["MKNOD"]\n'
        f'[{K}.build_container_security_context.capabilities]\nadd = ["CHOWN"]\n'
        f'[{K}.helper_container_security_context.capabilities]\ndrop = ["SETUID"]',
        job=ONE_SERVICE,
        pod={
            f"{BUILD}.securityContext.capabilities": {"add": ["CHOWN"], "drop": ["MKNOD", "NET_RAW"]},
            f"{HELPER}.securityContext.capabilities": {"add": ["SYS_TIME"], "drop": ["SETUID"]},
            f"{SERVICE}.securityContext.capabilities": {"add": ["SYS_TIME"], "drop": ["MKNOD", "NET_RAW"]},
        },
    ),
}

IMAGES = {
    "helper image": Case('helper_image = "custom/helper-image"', pod={f"{HELPER}.image": "custom/helper-image"}),
    "helper image with variables": Case(
        'helper_image = "custom/helper-image:${HELPER_IMAGE_TAG}"',
        job={"variables": {"HELPER_IMAGE_TAG": "v1"}},
        pod={f"{HELPER}.image": "custom/helper-image:v1"},
    ),
    "init containers: none": Case(pod={"spec.initContainers": ABSENT}),
    "init containers: permissions": Case(
        f'helper_cpu_limit = "1"\n[{K}.init_permissions_container_security_context]\nrun_as_user = 0',
        runner=DUMB_INIT,
        pod={
            "spec.initContainers.0.name": "init-permissions",
            "spec.initContainers.0.image": "runner:1.0.0",
            "spec.initContainers.0.resources": {"limits": {"cpu": "1"}},
            "spec.initContainers.0.securityContext.runAsUser": 0,
            "spec.initContainers.1": ABSENT,
        },
    ),
    "init containers: the collector of the build's user": Case(
        f'cpu_limit = "1"\n[{K}.build_container_security_context]\nrun_as_user = 1234',
        runner=COLLECTOR,
        pod={
            "spec.initContainers.0.name": "init-build-uid-gid-collector",
            "spec.initContainers.0.image": "alpine:3.20",
            "spec.initContainers.0.resources": {"limits": {"cpu": "1"}},
            "spec.initContainers.0.securityContext.runAsUser": 1234,
            "spec.initContainers.1": ABSENT,
        },
    ),
    "init containers: both, the collector first": Case(
        runner=f"{DUMB_INIT}\nFF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR = true",
        pod={
            "spec.initContainers.0.name": "init-build-uid-gid-collector",
            "spec.initContainers.1.name": "init-permissions",
        },
    ),
    "pod spec patched": Case(
        f"[[{K}.pod_spec]]\n"
        'name = "host"\npatch_type = "merge"\npatch = "hostname: my-custom-hostname"\n'
        f"[[{K}.pod_spec]]\n"
        'name = "user"\npatch = "containers: [{name: build, securityContext: {runAsUser: 1234}}]"\n'
        f"[[{K}.pod_spec]]\n"
        'name = "node"\npatch_type = "json"\npatch = "[{op: add, path: /nodeSelector, value: {a: b}}]"',
        runner=PATCHES,
        pod={
            "spec.hostname": "my-custom-hostname",
            f"{BUILD}.securityContext.runAsUser": 1234,
            f"{HELPER}.name": "helper",
            "spec.nodeSelector": {"a": "b"},
        },
    ),
    "pod spec not patched without the flag": Case(
        f'[[{K}.pod_spec]]\nname = "host"\npatch_type = "merge"\npatch = "hostname: my-custom-hostname"',
        pod={"spec.hostname": ABSENT},
    ),
}

_OURS = {
    "job.runner.gitlab.com/id": "4711",
    "job.runner.gitlab.com/url": "https://gitlab.example.com/acme/demo/-/jobs/4711",
    "job.runner.gitlab.com/sha": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
    "job.runner.gitlab.com/before_sha": "0" * 40,
    "job.runner.gitlab.com/ref": "main",
    "job.runner.gitlab.com/name": "hello",
    "job.runner.gitlab.com/timeout": "1h0m0s",
    "project.runner.gitlab.com/id": "42",
}

METADATA = {
    "default labels": Case(
        pod={
            f"metadata.labels[{name}]": value
            for name, value in {
                "pod": "runner-abcdefghi-project-42-concurrent-0",
                "job.runner.gitlab.com/pod": "runner-abcdefghi-project-42-concurrent-0",
                "project.runner.gitlab.com/id": "42",
                "project.runner.gitlab.com/name": "demo",
                "project.runner.gitlab.com/namespace": "acme",
                "project.runner.gitlab.com/namespace-id": "",
                "project.runner.gitlab.com/root-namespace": "",
                "project.runner.gitlab.com/root-namespace-id": "7",
                "manager.runner.gitlab.com/name": "blue",
                "manager.runner.gitlab.com/id-short": "abcdefghi",
            }.items()
        }
    ),
    "labels expanded": Case(
        f'[{K}.pod_labels]\ntest = "label"\nanother = "$test/-label"\nvar = "sometestvar: $CI_JOB_ID"',
        pod={
            "metadata.labels.test": "label",
            "metadata.labels.another": "label",
            "metadata.labels.var": "sometestvar__4711",
        },
    ),
    "labels overwritten": Case(
        f'pod_labels_overwrite_allowed = ".*"\n[{K}.pod_labels]\ntest = "label"',
        job={"variables": {"KUBERNETES_POD_LABELS_1": "test=other", "KUBERNETES_POD_LABELS_2": "new=$CI_JOB_ID"}},
        pod={"metadata.labels.test": "other", "metadata.labels.new": "4711"},
    ),
    "labels of the runner's own domain refused": Case(
        f'[{K}.pod_labels]\n"job.runner.gitlab.com/id" = "1"\n"My.RUNNER.gitlab.com/x" = "2"\n'
        '"runner.gitlab.com" = "3"\npod = "4"',
        pod={
            "metadata.labels[job.runner.gitlab.com/id]": "4711",
            "metadata.labels[My.RUNNER.gitlab.com/x]": ABSENT,
            "metadata.labels[runner.gitlab.com]": ABSENT,
            "metadata.labels.pod": "runner-abcdefghi-project-42-concurrent-0",
        },
    ),
    "default annotations": Case(pod={f"metadata.annotations[{name}]": value for name, value in _OURS.items()}),
    "annotations expanded": Case(
        f'[{K}.pod_annotations]\ntest = "annotation"\nvar = "sometestvar: $CI_JOB_ID"',
        pod={"metadata.annotations.test": "annotation", "metadata.annotations.var": "sometestvar: 4711"},
    ),
    "annotations overwritten": Case(
        f'pod_annotations_overwrite_allowed = ".*"\n[{K}.pod_annotations]\ntest = "annotation"',
        job={"variables": {"KUBERNETES_POD_ANNOTATIONS_1": "test=a=b", "KUBERNETES_POD_ANNOTATIONS_x": "new="}},
        pod={"metadata.annotations.test": "a=b", "metadata.annotations.new": ""},
    ),
    "default annotations replaced": Case(
        f'[{K}.pod_annotations]\n"job.runner.gitlab.com/name" = "mine"',
        pod={"metadata.annotations[job.runner.gitlab.com/name]": "mine"},
    ),
}

SERVICES = {
    "service: entrypoint and command": Case(
        job={"services": [service("redis:7", entrypoint=["/start", "now"], command=["--fast", "-v"])]},
        pod={f"{SERVICE}.command": ["/start", "now"], f"{SERVICE}.args": ["--fast", "-v"]},
    ),
    "service: entrypoint alone": Case(
        job={"services": [service("redis:7", entrypoint=["/start"])]},
        pod={f"{SERVICE}.command": ["/start"], f"{SERVICE}.args": ABSENT},
    ),
    "service: command alone": Case(
        job={"services": [service("redis:7", command=["--fast"])]},
        pod={f"{SERVICE}.command": ABSENT, f"{SERVICE}.args": ["--fast"]},
    ),
    "service: neither": Case(job=ONE_SERVICE, pod={f"{SERVICE}.command": ABSENT, f"{SERVICE}.args": ABSENT}),
    "service: entrypoint and command with dumb-init": Case(
        runner=DUMB_INIT,
        job={"services": [service("redis:7", entrypoint=["/start"], command=["--fast"])]},
        pod={
            f"{SERVICE}.command": ["/start"],
            f"{SERVICE}.args": ["--fast"],
            f"{BUILD}.command.0": "/scripts-42-4711/dumb-init",
            f"{BUILD}.command.1": "--",
        },
    ),
    "host aliases: services first": Case(
        f'[[{K}.host_aliases]]\nip = "127.0.0.2"\nhostnames = ["redis", "google"]\n'
        f'[[{K}.host_aliases]]\nip = "8.8.8.8"\nhostnames = ["dns1", "dns2"]',
        job={"services": [service("test-service"), service("svc-alias:1", alias="alias, second.alias")]},
        pod={
            "spec.hostAliases": [
                {"ip": "127.0.0.1", "hostnames": ["test-service", "svc-alias", "alias", "second.alias"]},
                {"ip": "127.0.0.2", "hostnames": ["redis", "google"]},
                {"ip": "8.8.8.8", "hostnames": ["dns1", "dns2"]},
            ]
        },
    ),
    "host aliases: a service with ports has none": Case(
        job={"services": [service("test-service", ports=PORT)]}, pod={"spec.hostAliases": ABSENT}
    ),
    "host aliases: a name of an image that is none is left out": Case(
        job={"services": [service("registry.example.com:5000/group/My_Image:1")]}, pod={"spec.hostAliases": ABSENT}
    ),
    "host aliases: none without services": Case(pod={"spec.hostAliases": ABSENT}),
    "ports of images": Case(
        job={"image": image("ruby:3", ports=PORT), "services": [service("redis:7", ports=OTHER_PORT)]},
        pod={f"{BUILD}.ports": [{"containerPort": 8080}], f"{SERVICE}.ports": [{"containerPort": 9090}]},
    ),
}

NETWORK = {
    **{
        f"DNS policy: {name or 'default'}": Case(f'dns_policy = "{name}"', pod={"spec.dnsPolicy": policy})
        for name, policy in {
            "": "ClusterFirst",
            "default": "Default",
            "cluster-first": "ClusterFirst",
            "cluster-first-with-host-net": "ClusterFirstWithHostNet",
        }.items()
    },
    "DNS policy: none": Case(
        f'dns_policy = "none"\n[{K}.dns_config]\nnameservers = ["1.2.3.4"]', pod={"spec.dnsPolicy": "None"}
    ),
    "DNS policy: invalid": Case(
        'dns_policy = "some-invalid-policy"',
        pod={"spec.dnsPolicy": ABSENT},
        notes=('dns_policy "some-invalid-policy"',),
    ),
    "DNS config": Case(
        f'[{K}.dns_config]\nnameservers = ["1.2.3.4"]\nsearches = ["ns1.svc.cluster-domain.example", '
        f'"my.dns.search.suffix"]\n[[{K}.dns_config.options]]\nname = "ndots"\nvalue = "2"\n'
        f'[[{K}.dns_config.options]]\nname = "edns0"',
        pod={
            "spec.dnsConfig": {
                "nameservers": ["1.2.3.4"],
                "searches": ["ns1.svc.cluster-domain.example", "my.dns.search.suffix"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
            }
        },
    ),
    "DNS config: unset": Case(pod={"spec.dnsConfig": ABSENT}),
}

POD_CASES: dict[str, Case] = {**PLACEMENT, **ACCESS, **SECURITY, **IMAGES, **METADATA, **SERVICES, **NETWORK}
