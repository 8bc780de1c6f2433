"""Each key that shapes a pod: a few lines of config.toml, and what they change in the manifest.

The lines are those of `[runners.kubernetes]`, in `runner` those of `[[runners]]`. `db` is a service of the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.podspec.pods import GONE

Difference = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key, or a few that make sense together only."""

    key: str
    toml: str = ""
    runner: str = ""
    before: str = ""
    """The lines of `[runners.kubernetes]` that the first manifest has instead."""
    given: str = ""
    """Further lines of `[[runners]]`, for both."""
    payload: dict[str, Any] = field(default_factory=dict)
    difference: Difference


BUILD, HELPER, DB = "spec.containers.build", "spec.containers.helper", "spec.containers.db"
PERMISSIONS, COLLECTOR = "init-permissions", "init-build-uid-gid-collector"
EVERY = (BUILD, HELPER, DB)
SCRIPTS, LOGS = "/scripts-42-4711", "/logs-42-4711"
PATCHES = "[feature_flags]\nFF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true"
DUMB_INIT = "[feature_flags]\nFF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR = true"
ENTRYPOINT_BY_EXEC = (
    "[feature_flags]\nFF_KUBERNETES_HONOR_ENTRYPOINT = true\nFF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY = true"
)
A_USER = {"image": {"name": "a", "executor_opts": {"kubernetes": {"user": "5:6"}}}}
OUR_MOUNTS = [{"name": "scripts", "mountPath": SCRIPTS}, {"name": "logs", "mountPath": LOGS}]
REPO = {"name": "repo", "mountPath": "/builds"}


def everywhere(field_of_container: str, value: object) -> Difference:
    """The same change of build, helper and service."""
    return {f"{container}.{field_of_container}": value for container in EVERY}


# One line each ---------------------------------------------------------------------------------------------------

PLACE = (
    Row(key="namespace", toml='namespace = "ci"', difference={"metadata.namespace": "ci"}),
    Row(key="namespace_per_job", toml="namespace_per_job = true", difference={"metadata.namespace": "ci-job-4711"}),
    Row(key="service_account", toml='service_account = "ci"', difference={"spec.serviceAccountName": "ci"}),
    Row(
        key="automount_service_account_token",
        toml="automount_service_account_token = false",
        difference={"spec.automountServiceAccountToken": False},
    ),
    Row(
        key="node_selector",
        toml='[node_selector]\n"kubernetes.io/arch" = "arm64"',
        difference={"spec.nodeSelector": {"kubernetes.io/arch": "arm64"}},
    ),
    Row(
        key="node_tolerations",
        toml='[node_tolerations]\n"a=b" = "NoSchedule"\nc = ""\n"d=" = "NoExecute"',
        difference={
            "spec.tolerations": [
                {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
                {"key": "c", "operator": "Exists"},
                {"key": "d", "operator": "Equal", "value": "", "effect": "NoExecute"},
            ]
        },
    ),
    Row(key="scheduler_name", toml='scheduler_name = "mine"', difference={"spec.schedulerName": "mine"}),
    Row(key="priority_class_name", toml='priority_class_name = "low"', difference={"spec.priorityClassName": "low"}),
    Row(key="runtime_class_name", toml='runtime_class_name = "gvisor"', difference={"spec.runtimeClassName": "gvisor"}),
    Row(
        key="pod_termination_grace_period_seconds",
        toml="pod_termination_grace_period_seconds = 0",
        difference={"spec.terminationGracePeriodSeconds": 0},
    ),
)

IMAGES = (
    Row(
        key="image",
        toml='image = "busybox:$CI_JOB_ID"',
        before='image = "other"',
        payload={"image": None},
        difference={f"{BUILD}.image": "busybox:4711"},
    ),
    Row(key="helper_image", toml='helper_image = "mine:$CI_JOB_ID"', difference={f"{HELPER}.image": "mine:4711"}),
    Row(
        key="helper_image_flavor",
        toml='helper_image_flavor = "ubuntu"',
        difference={
            f"{HELPER}.image": "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:ubuntu-x86_64-latest"
        },
    ),
    Row(
        key="pull_policy",
        toml='pull_policy = ["if-not-present", "always"]',
        difference=everywhere("imagePullPolicy", "IfNotPresent"),
    ),
    Row(
        key="allowed_pull_policies",
        toml='pull_policy = ["if-not-present", "always"]\nallowed_pull_policies = ["always"]',
        difference=everywhere("imagePullPolicy", "Always"),
    ),
    Row(
        key="image_pull_secrets",
        toml='image_pull_secrets = ["a", "b"]',
        difference={"spec.imagePullSecrets": [{"name": "a"}, {"name": "b"}]},
    ),
    Row(
        key="use_service_account_image_pull_secrets",
        toml='image_pull_secrets = ["a"]\nuse_service_account_image_pull_secrets = true',
        before='image_pull_secrets = ["a"]',
        difference={"spec.imagePullSecrets": GONE},
    ),
)

METADATA = (
    Row(
        key="pod_labels",
        toml='[pod_labels]\nteam = "a b-$CI_JOB_ID"',
        difference={"metadata.labels.team": "a_b-4711"},
    ),
    Row(
        key="pod_annotations",
        toml='[pod_annotations]\nteam = "a b-$CI_JOB_ID"\n"job.runner.gitlab.com/name" = "mine"',
        difference={
            "metadata.annotations.team": "a b-4711",
            "metadata.annotations.job.runner.gitlab.com/name": "mine",
        },
    ),
)

NETWORK = (
    Row(
        key="host_aliases",
        toml='[[host_aliases]]\nip = "10.0.0.9"\nhostnames = ["x.example.com", "y"]',
        difference={
            "spec.hostAliases": [
                {"ip": "127.0.0.1", "hostnames": ["postgres", "db"]},
                {"ip": "10.0.0.9", "hostnames": ["x.example.com", "y"]},
            ]
        },
    ),
    Row(key="dns_policy", toml='dns_policy = "default"', difference={"spec.dnsPolicy": "Default"}),
    Row(
        key="dns_config",
        toml="[dns_config]\n"
        'nameservers = ["10.0.0.1"]\n'
        'searches = ["example.com"]\n'
        'options = [{name = "ndots", value = "2"}, {name = "edns0"}]',
        difference={
            "spec.dnsConfig": {
                "nameservers": ["10.0.0.1"],
                "searches": ["example.com"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
            }
        },
    ),
    Row(
        key="services",
        toml="[[services]]\n"
        'name = "redis:$CI_JOB_ID"\n'
        'alias = "cache, store.example.com"\n'
        'entrypoint = ["/start"]\n'
        'command = ["--fast"]\n'
        'environment = ["MODE=$CI_JOB_ID", "nothing"]',
        difference={
            "spec.containers.cache": {
                "name": "cache",
                "image": "redis:4711",
                "command": ["/start"],
                "args": ["--fast"],
                "env": [
                    {"name": "CI_JOB_ID", "value": "4711"},
                    {"name": "CI_PROJECT_NAMESPACE", "value": "acme"},
                    {"name": "MODE", "value": "4711"},
                ],
                "volumeMounts": [REPO],
                "securityContext": {"capabilities": {"drop": ["NET_RAW"]}},
                "stdin": True,
                "stdinOnce": False,
            },
            "spec.hostAliases": [
                {"ip": "127.0.0.1", "hostnames": ["redis", "cache", "store.example.com", "postgres", "db"]}
            ],
        },
    ),
)

DIRECTORIES = (
    Row(
        key="logs_base_dir",
        toml='logs_base_dir = "/var/tmp/"',
        difference={f"{container}.volumeMounts.logs.mountPath": f"/var/tmp{LOGS}" for container in (BUILD, HELPER)}
        | {
            f"{BUILD}.command": ["sh", "-c", "AGENT", "agent", f"/var/tmp{LOGS}", SCRIPTS, "build"],
            f"{HELPER}.command": ["sh", "-c", "AGENT", "agent", f"/var/tmp{LOGS}", SCRIPTS, "helper", "4194304"],
        },
    ),
    Row(
        key="scripts_base_dir",
        toml='scripts_base_dir = "/var/tmp/"',
        difference={
            f"{container}.volumeMounts.scripts.mountPath": f"/var/tmp{SCRIPTS}" for container in (BUILD, HELPER)
        }
        | {
            f"{BUILD}.command": ["sh", "-c", "AGENT", "agent", LOGS, f"/var/tmp{SCRIPTS}", "build"],
            f"{HELPER}.command": ["sh", "-c", "AGENT", "agent", LOGS, f"/var/tmp{SCRIPTS}", "helper", "4194304"],
        },
    ),
)


def resources() -> Iterator[Row]:
    """The 22 keys of amounts; a zero is an amount."""
    where = {"": BUILD, "helper_": HELPER, "service_": DB, "pod_": "spec"}
    amounts = {"cpu": ("cpu", "250m"), "memory": ("memory", "0"), "ephemeral_storage": ("ephemeral-storage", "1Gi")}
    for kind, container in where.items():
        for word, (name, amount) in amounts.items():
            for limit in ("limit", "request"):
                key = f"{kind}{word}_{limit}"
                if key.startswith("pod_ephemeral"):
                    continue
                difference = {f"{container}.resources": {f"{limit}s": {name: amount}}}
                yield Row(key=key, toml=f'{key} = "{amount}"', difference=difference)


# Security --------------------------------------------------------------------------------------------------------

GENERAL_SECURITY = (
    Row(key="privileged", toml="privileged = true", difference=everywhere("securityContext.privileged", True)),
    Row(
        key="allow_privileged",
        toml="allow_privileged = true",
        payload={"variables": {"privileged": "TRUE"}},
        difference=everywhere("securityContext.privileged", True),
    ),
    Row(
        key="allow_privilege_escalation",
        toml="allow_privilege_escalation = false",
        difference=everywhere("securityContext.allowPrivilegeEscalation", False),
    ),
    Row(
        key="cap_add",
        toml='cap_add = ["NET_RAW", "SYS_TIME"]',
        difference=everywhere("securityContext.capabilities.add", ["NET_RAW", "SYS_TIME"])
        | everywhere("securityContext.capabilities.drop", GONE),
    ),
    Row(
        key="cap_drop",
        toml='cap_drop = ["MKNOD"]',
        difference=everywhere("securityContext.capabilities.drop", ["MKNOD", "NET_RAW"]),
    ),
    Row(
        key="allowed_users",
        toml='allowed_users = ["7"]',
        payload=A_USER,
        difference={f"{BUILD}.securityContext.runAsUser": GONE},
    ),
    Row(
        key="allowed_groups",
        toml='allowed_groups = ["7"]',
        payload=A_USER,
        difference={f"{BUILD}.securityContext.runAsGroup": GONE},
    ),
)

_PROFILES = (
    ("seccomp_profile", "seccompProfile"),
    ("app_armor_profile", "appArmorProfile"),
)
_POD_SECURITY: tuple[tuple[str, Difference], ...] = (
    ("fs_group = 5", {"fsGroup": 5}),
    ("run_as_non_root = true", {"runAsNonRoot": True}),
    ("supplemental_groups = [1, 2]", {"supplementalGroups": [1, 2]}),
    ('selinux_type = "spc_t"', {"seLinuxOptions": {"type": "spc_t"}}),
)
_CONTAINER_SECURITY: tuple[tuple[str, Difference], ...] = (
    ("run_as_user = 5", {"runAsUser": 5}),
    ("run_as_group = 0", {"runAsGroup": 0}),
    ("run_as_non_root = true", {"runAsNonRoot": True}),
    ("privileged = false", {"privileged": False}),
    ("allow_privilege_escalation = false", {"allowPrivilegeEscalation": False}),
    ("read_only_root_filesystem = true", {"readOnlyRootFilesystem": True}),
    ('capabilities.add = ["SYS_TIME"]', {"capabilities.add": ["SYS_TIME"]}),
    ('capabilities.drop = ["ALL"]', {"capabilities.drop": ["ALL"]}),
    ('selinux_type = "spc_t"', {"seLinuxOptions": {"type": "spc_t"}}),
    ('proc_mount = " default "', {"procMount": "Default"}),
)
_CONTEXTS = {
    "build_container_security_context": BUILD,
    "helper_container_security_context": HELPER,
    "service_container_security_context": DB,
    "init_permissions_container_security_context": f"spec.initContainers.{PERMISSIONS}",
}


def security() -> Iterator[Row]:
    """The keys of the pod's and the containers' security contexts; a user brings the helper a home."""
    table = "pod_security_context"
    for line, difference in _POD_SECURITY:
        found: Difference = {"spec.securityContext": difference, **_rootless(line)}
        yield Row(key=_key(table, line), toml=f"{table}.{line}", difference=found)
    for word, name in (("user", "runAsUser"), ("group", "runAsGroup")):
        found = {"spec.securityContext": {name: 5}, **everywhere(f"securityContext.{name}", 5)}
        home = {f"{HELPER}.env": [{"name": "HOME", "value": SCRIPTS}]} if word == "user" else {}
        yield Row(key=f"{table}.run_as_{word}", toml=f"{table}.run_as_{word} = 5", difference=found | home)
    for key, name in _PROFILES:
        yield _profile(table, key, {"spec.securityContext": {name: _LOCAL}})
    for table, container in _CONTEXTS.items():
        context, given = f"{container}.securityContext", DUMB_INIT if table.startswith("init") else ""
        for line, changed in _CONTAINER_SECURITY:
            difference = {f"{context}.{path}": value for path, value in changed.items()}
            if table.startswith("helper") and "runAsUser" in changed:
                difference |= {f"{HELPER}.env": [{"name": "HOME", "value": SCRIPTS}]}
            if table.startswith("helper"):
                difference |= _rootless(line)
            yield Row(key=_key(table, line), toml=f"{table}.{line}", given=given, difference=difference)
        for key, name in _PROFILES:
            yield _profile(table, key, {f"{context}.{name}": _LOCAL}, given)


def _rootless(line: str) -> Difference:
    """The helper is not root where root is forbidden to it."""
    return {f"{HELPER}.securityContext.runAsUser": GONE} if line.startswith("run_as_non_root") else {}


_LOCAL = {"type": "Localhost", "localhostProfile": "p.json"}


def _profile(table: str, key: str, difference: Difference, given: str = "") -> Row:
    toml = f'{table}.{key} = {{type = "Localhost", localhost_profile = "p.json"}}'
    return Row(key=f"{table}.{key}", toml=toml, given=given, difference=difference)


def _key(table: str, line: str) -> str:
    return f"{table}.{line.partition(' ')[0]}"


# Volumes ---------------------------------------------------------------------------------------------------------


def _volume(kind: str, lines: str, volume: dict[str, Any], mount: dict[str, Any]) -> Row:
    """A volume of the pod that each of its containers mounts."""
    added = {f"{container}.volumeMounts.v": {"name": "v", **mount} for container in EVERY}
    return Row(
        key=f"volumes.{kind}",
        toml=f"[[volumes.{kind}]]\n{lines}",
        difference={"spec.volumes.v": {"name": "v", **volume}, **added},
    )


_WHERE = 'name = "v"\nmount_path = "/$CI_JOB_ID"\nsub_path = "s/$CI_JOB_ID"\n'
_MOUNT = {"mountPath": "/4711", "subPath": "s/4711"}
_ITEMS = '[volumes.{kind}.items]\na = "b/c"'
VOLUMES = (
    _volume(
        "host_path",
        f'{_WHERE}host_path = "/out"\nread_only = true\nmount_propagation = "HostToContainer"',
        {"hostPath": {"path": "/out"}},
        {**_MOUNT, "readOnly": True, "mountPropagation": "HostToContainer"},
    ),
    _volume(
        "pvc",
        f'{_WHERE}read_only = true\nmount_propagation = "None"',
        {"persistentVolumeClaim": {"claimName": "v"}},
        {**_MOUNT, "readOnly": True, "mountPropagation": "None"},
    ),
    _volume(
        "config_map",
        f"{_WHERE}read_only = true\n{_ITEMS.format(kind='config_map')}",
        {"configMap": {"name": "v", "items": [{"key": "a", "path": "b/c"}]}},
        {**_MOUNT, "readOnly": True},
    ),
    _volume(
        "secret",
        f"{_WHERE}read_only = true\n{_ITEMS.format(kind='secret')}",
        {"secret": {"secretName": "v", "items": [{"key": "a", "path": "b/c"}]}},
        {**_MOUNT, "readOnly": True},
    ),
    _volume(
        "empty_dir",
        f'{_WHERE}medium = "Memory"\nsize_limit = "1Gi"\nmount_propagation = "None"',
        {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {**_MOUNT, "mountPropagation": "None"},
    ),
    _volume(
        "csi",
        f'{_WHERE}driver = "d.example.com"\nfs_type = "ext4"\nread_only = true\nvolume_attributes = {{k = "w"}}',
        {"csi": {"driver": "d.example.com", "fsType": "ext4", "readOnly": True, "volumeAttributes": {"k": "w"}}},
        {**_MOUNT, "readOnly": True},
    ),
    _volume(
        "nfs",
        f'{_WHERE}server = "nas"\npath = "/export"\nread_only = true',
        {"nfs": {"server": "nas", "path": "/export", "readOnly": True}},
        {**_MOUNT, "readOnly": True},
    ),
)

# Affinity --------------------------------------------------------------------------------------------------------

_EXPRESSION = '{key = "k", operator = "In", values = ["v"]}'
_SENT_EXPRESSION = {"key": "k", "operator": "In", "values": ["v"]}
_NODE_TERM = (
    f"{{match_expressions = [{_EXPRESSION}], "
    'match_fields = [{key = "metadata.name", operator = "NotIn", values = ["n"]}]}'
)
_SENT_NODE_TERM = {
    "matchExpressions": [_SENT_EXPRESSION],
    "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}],
}
_POD_TERM = (
    '{topology_key = "zone", namespaces = ["a"], match_label_keys = ["m"], mismatch_label_keys = ["n"], '
    f'label_selector = {{match_labels = {{l = "v"}}, match_expressions = [{_EXPRESSION}]}}, '
    f'namespace_selector = {{match_labels = {{l = "v"}}, match_expressions = [{_EXPRESSION}]}}}}'
)
_SENT_SELECTOR = {"matchLabels": {"l": "v"}, "matchExpressions": [_SENT_EXPRESSION]}
_SENT_POD_TERM = {
    "topologyKey": "zone",
    "namespaces": ["a"],
    "matchLabelKeys": ["m"],
    "mismatchLabelKeys": ["n"],
    "labelSelector": _SENT_SELECTOR,
    "namespaceSelector": _SENT_SELECTOR,
}
_REQUIRED, _PREFERRED = (f"{word}_during_scheduling_ignored_during_execution" for word in ("required", "preferred"))
_SENT_REQUIRED, _SENT_PREFERRED = (
    f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred")
)


def affinity() -> Iterator[Row]:
    """Nodes, pods to be near to, pods to be far from; by all means and by their weight."""
    wish = f"{{weight = 10, preference = {_NODE_TERM}}}"
    nodes: dict[str, tuple[str, Any]] = {
        _REQUIRED: (f"{{node_selector_terms = [{_NODE_TERM}]}}", {"nodeSelectorTerms": [_SENT_NODE_TERM]}),
        _PREFERRED: (f"[{wish}]", [{"weight": 10, "preference": _SENT_NODE_TERM}]),
    }
    pods: dict[str, tuple[str, Any]] = {
        _REQUIRED: (f"[{_POD_TERM}]", [_SENT_POD_TERM]),
        _PREFERRED: (
            f"[{{weight = 100, pod_affinity_term = {_POD_TERM}}}]",
            [{"weight": 100, "podAffinityTerm": _SENT_POD_TERM}],
        ),
    }
    kinds = {"node_affinity": ("nodeAffinity", nodes), "pod_affinity": ("podAffinity", pods)}
    kinds["pod_anti_affinity"] = ("podAntiAffinity", pods)
    sent_as = {_REQUIRED: _SENT_REQUIRED, _PREFERRED: _SENT_PREFERRED}
    for table, (name, rules) in kinds.items():
        for rule, (toml, sent) in rules.items():
            key = f"affinity.{table}.{rule}"
            yield Row(key=key, toml=f"{key} = {toml}", difference={"spec.affinity": {name: {sent_as[rule]: sent}}})


# Hooks -----------------------------------------------------------------------------------------------------------


def hooks() -> Iterator[Row]:
    """Each action in each hook of each container."""
    actions: tuple[tuple[str, str, Difference], ...] = (
        ("exec", '{command = ["touch", "/x"]}', {"exec": {"command": ["touch", "/x"]}}),
        (
            "http_get",
            '{host = "h", port = 80, path = "/p", scheme = "HTTPS", http_headers = [{name = "N", value = "v"}]}',
            {
                "httpGet": {
                    "host": "h",
                    "port": 80,
                    "path": "/p",
                    "scheme": "HTTPS",
                    "httpHeaders": [{"name": "N", "value": "v"}],
                }
            },
        ),
        ("tcp_socket", '{host = "h", port = 80}', {"tcpSocket": {"host": "h", "port": 80}}),
    )
    for hook, name in (("post_start", "postStart"), ("pre_stop", "preStop")):
        for action, toml, sent in actions:
            key = f"container_lifecycle.{hook}.{action}"
            yield Row(key=key, toml=f"{key} = {toml}", difference=everywhere("lifecycle", {name: sent}))


# Patches ---------------------------------------------------------------------------------------------------------

PATCH_ROWS = (
    Row(
        key="pod_spec.patch",
        toml='[[pod_spec]]\npatch = "hostname: box"',
        given=PATCHES,
        difference={"spec.hostname": "box"},
    ),
    Row(
        key="pod_spec.patch_path",
        toml=f'[[pod_spec]]\npatch_path = "{Path(__file__).parent}/hostname.yaml"',
        given=PATCHES,
        difference={"spec.hostname": "box"},
    ),
    Row(
        key="pod_spec.patch_type",
        toml='[[pod_spec]]\npatch_type = "json"\npatch = "[{op: replace, path: /dnsPolicy, value: Default}]"',
        given=PATCHES,
        difference={
            "spec.dnsPolicy": "Default",
            "spec.affinity": {},
            **everywhere("resources", {}),
        },
    ),
)

# Flags and keys of [[runners]] -----------------------------------------------------------------------------------

_MARK = ["sh", "-c", ': >"$1"; shift; exec "$@"', "agent", f"{SCRIPTS}/.started"]
_BUILD_COMMAND = ["sh", "-c", "AGENT", "agent", LOGS, SCRIPTS, "build"]
_HELPER_COMMAND = ["sh", "-c", "AGENT", "agent", LOGS, SCRIPTS, "helper", "4194304"]

PROBE = (
    Row(
        key="poll_interval",
        toml="poll_interval = 7",
        given=ENTRYPOINT_BY_EXEC,
        difference={f"{BUILD}.startupProbe.periodSeconds": 7, f"{BUILD}.startupProbe.failureThreshold": 26},
    ),
    Row(
        key="poll_timeout",
        toml="poll_timeout = 30",
        given=ENTRYPOINT_BY_EXEC,
        difference={f"{BUILD}.startupProbe.failureThreshold": 11},
    ),
)
FLAGS = (
    Row(
        key="FF_KUBERNETES_HONOR_ENTRYPOINT",
        runner="feature_flags.FF_KUBERNETES_HONOR_ENTRYPOINT = true",
        difference={
            f"{BUILD}.command": GONE,
            f"{BUILD}.args": _BUILD_COMMAND,
            f"{HELPER}.command": GONE,
            f"{HELPER}.args": _HELPER_COMMAND,
        },
    ),
    Row(
        key="FF_KUBERNETES_HONOR_ENTRYPOINT with FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY",
        runner=ENTRYPOINT_BY_EXEC,
        difference={
            f"{BUILD}.command": GONE,
            f"{BUILD}.args": [*_MARK, *_BUILD_COMMAND],
            f"{BUILD}.startupProbe": {
                "exec": {"command": ["sh", "-c", '[ -e "$1" ]', "started", f"{SCRIPTS}/.started"]},
                "initialDelaySeconds": 1,
                "periodSeconds": 3,
                "failureThreshold": 61,
                "successThreshold": 1,
            },
            f"{HELPER}.command": GONE,
            f"{HELPER}.args": _HELPER_COMMAND,
        },
    ),
    Row(
        key="FF_USE_POD_ACTIVE_DEADLINE_SECONDS",
        runner="feature_flags.FF_USE_POD_ACTIVE_DEADLINE_SECONDS = false",
        difference={"spec.activeDeadlineSeconds": GONE},
    ),
    Row(
        key="FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR",
        runner=DUMB_INIT,
        difference={
            f"{BUILD}.command": [f"{SCRIPTS}/dumb-init", "--", *_BUILD_COMMAND],
            f"{HELPER}.command": [f"{SCRIPTS}/dumb-init", "--", *_HELPER_COMMAND],
            "spec.initContainers": [
                {
                    "name": PERMISSIONS,
                    "image": "runner:1.0.0",
                    "command": ["sh", "-c", "SCRIPT", PERMISSIONS, f"{SCRIPTS}/dumb-init"],
                    "volumeMounts": [*OUR_MOUNTS, REPO],
                    "securityContext": {"capabilities": {"drop": ["NET_RAW"]}},
                }
            ],
        },
    ),
    Row(
        key="FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR",
        runner="feature_flags.FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR = true",
        difference={
            "spec.initContainers": [
                {
                    "name": COLLECTOR,
                    "image": "alpine:3.20",
                    "command": ["sh", "-c", "SCRIPT", COLLECTOR, "/builds/.gitlab-build-uid-gid"],
                    "volumeMounts": [*OUR_MOUNTS, REPO],
                    "securityContext": {"capabilities": {"drop": ["NET_RAW"]}},
                }
            ],
        },
    ),
)
RUNNER = (
    Row(key="name", runner='name = "a b"', difference={"metadata.labels.manager.runner.gitlab.com/name": "a_b"}),
    Row(
        key="token",
        runner='token = "glrt-zyxwvutsrqponm"',
        difference={"metadata.labels.manager.runner.gitlab.com/id-short": "zyxwvutsr"},
    ),
    Row(
        key="builds_dir",
        runner='builds_dir = "/work"',
        difference={f"{container}.volumeMounts.repo.mountPath": "/work" for container in EVERY},
    ),
    Row(
        key="output_limit",
        runner="output_limit = 1",
        difference={f"{HELPER}.command": [*_HELPER_COMMAND[:-1], "1024"]},
    ),
)

KUBERNETES_ROWS = (
    *PLACE,
    *IMAGES,
    *METADATA,
    *NETWORK,
    *DIRECTORIES,
    *resources(),
    *GENERAL_SECURITY,
    *security(),
    *VOLUMES,
    *affinity(),
    *hooks(),
    *PATCH_ROWS,
    *PROBE,
)
ROWS = (*KUBERNETES_ROWS, *FLAGS, *RUNNER)
