"""Configurations made from the model: one with every key, and any others.

The keys come from the model itself, so a new key without a value here is an error of the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tomlkit
from hypothesis import strategies as st

from runner.config.base import Table
from runner.config.keys import is_array, nested_table
from runner.config.kubernetes import KubernetesConfig

Json = dict[str, Any]
Key = tuple[str, ...]
"""The way to a key of `[runners.kubernetes]`; an array of tables ends with `[]`."""

IDS = (1000, 0, 65534)
FLAGS = (
    "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION",
    "FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR",
    "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR",
    "FF_KUBERNETES_HONOR_ENTRYPOINT",
    "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY",
    "FF_USE_POD_ACTIVE_DEADLINE_SECONDS",
)
"""Feature flags that change the pod."""

_PATTERNS = (".*", "ci-.*", "")
_BY_NAME: dict[str, tuple[Any, ...]] = {
    # Connection and identity
    "host": ("https://10.0.0.1:6443", ""),
    "context": ("ci",),
    "cert_file": ("/etc/ssl/api.crt",),
    "key_file": ("/etc/ssl/api.key",),
    "ca_file": ("/etc/ssl/ca.crt",),
    "bearer_token": ("t0ken",),
    "namespace": ("ci", ""),
    "service_account": ("builder", ""),
    # Images
    "image": ("busybox:latest", "registry.example.com/busybox@sha256:" + "0" * 64),
    "allowed_images": (["**"], ["busybox:*", "alpine:*"]),
    "allowed_services": (["**"], ["redis:*", "busybox:*"]),
    "pull_policy": (["always", "if-not-present"], "never", ["always", "always"]),
    "allowed_pull_policies": (["always", "if-not-present", "never"], ["always"]),
    "image_pull_secrets": (["registry-one", "registry-two"], []),
    "helper_image": ("registry.example.com/helper:1", ""),
    "helper_image_flavor": ("alpine", "ubuntu"),
    # Placement
    "node_selector": ({"example.com/role": "ci"}, {"role": ""}, {}),
    "node_tolerations": ({"key=value": "NoSchedule", "only": "", "empty=": "NoExecute"}, {"": ""}),
    "scheduler_name": ("default-scheduler",),
    "priority_class_name": ("low",),
    "runtime_class_name": ("gvisor",),
    "weight": (1, 100),
    "key": ("example.com/a", "role"),
    "operator": ("In", "Exists", "DoesNotExist", "NotIn"),
    "values": (["a"], ["a", "b"], []),
    "match_labels": ({"app": "a"}, {}),
    "namespaces": (["ci", "cache"], []),
    "topology_key": ("kubernetes.io/hostname",),
    "match_label_keys": (["team"], []),
    "mismatch_label_keys": (["job.runner.gitlab.com/id"], []),
    # The pod
    "pod_labels": ({"team": "a", "example.com/job": "$CI_JOB_ID"}, {"job.runner.gitlab.com/id": "1"}),
    "pod_annotations": ({"team": "a b", "Example.com/x": "$CI_JOB_ID"},),
    "ip": ("10.0.0.9", "2001:db8::1"),
    "hostnames": (["a.example.com", "b"], []),
    "dns_policy": ("cluster-first", "default", "none", "cluster-first-with-host-net", ""),
    "nameservers": (["10.0.0.10"], []),
    "searches": (["example.com"], []),
    "logs_base_dir": ("/var/tmp/", ""),
    "scripts_base_dir": ("/var/tmp", ""),
    "entrypoint": (["/start"], []),
    "command": (["sleep", "1"], []),
    "environment": (["A=1", "B=$CI_JOB_ID", "nothing"],),
    "alias": ("cache", "cache, store.example.com", ""),
    "suspend_data_path": ("/data",),
    # Security
    "cap_add": (["SYS_TIME", "NET_RAW"], []),
    "cap_drop": (["MKNOD"], ["ALL"]),
    "add": (["CHOWN"], []),
    "drop": (["ALL"], []),
    "supplemental_groups": ([5, 6], []),
    "selinux_type": ("spc_t", ""),
    "proc_mount": ("default", ""),
    "localhost_profile": ("profiles/audit.json",),
    "type": ("RuntimeDefault", "Unconfined", "Localhost"),
    "allowed_users": (["1000", "0"], []),
    "allowed_groups": (["1000", "0"], []),
    # Volumes
    "mount_path": ("/data", "/data/$CI_JOB_ID"),
    "sub_path": ("a/b", ""),
    "host_path": ("/var/tmp", ""),
    "mount_propagation": ("None", "HostToContainer", ""),
    "items": ({"key": "path/of/key"}, {}),
    "medium": ("Memory", ""),
    "size_limit": ("64Mi", "", "much"),
    "driver": ("csi.example.com",),
    "fs_type": ("ext4", ""),
    "volume_attributes": ({"size": "1"}, {}),
    "server": ("nfs.example.com",),
    "path": ("/exports",),
    # Hooks and patches
    "port": (8080, 1),
    "scheme": ("HTTP", "HTTPS", ""),
    "value": ("x", ""),
    "patch_path": ("",),
    "patch_type": ("merge", "strategic"),
    "patch": ("hostname: patched", '{"hostname": "patched"}'),
    # Amounts of time and tries
    "poll_interval": (5, 1),
    "poll_timeout": (360, 10),
    "pod_termination_grace_period_seconds": (10, 0),
    "cleanup_grace_period_seconds": (10, 0),
    "cleanup_resources_timeout": ("10m", "90s"),
    "resource_availability_check_max_attempts": (3, 0),
    "retry_limit": (3, 5),
    "retry_backoff_max": (3000, 1000),
    "retry_limits": ({"connection refused": 10},),
    # Read, and not acted on
    "suspend_pvc_storage_class": ("fast",),
    "max_pause_pods": (3,),
    "pause_pod_image": ("registry.k8s.io/pause:3.10",),
    "pause_pod_priority_class_name": ("idle",),
    "pause_pod_image_pull_secrets": (["registry-one"],),
    "periods": (["* * * * *"],),
    "timezone": ("UTC",),
    "idle_count": (1,),
    "idle_time": ("5m",),
    "scale_factor": (1.5,),
    "scale_factor_limit": (3,),
}
_BY_KEY: dict[str, tuple[Any, ...]] = {
    "services[].name": ("redis:7", "busybox:1"),
    "dns_config.options[].name": ("ndots", "edns0"),
    "pod_spec[].name": ("hostname",),
    "match_fields[].key": ("metadata.name",),
    "match_fields[].operator": ("In", "NotIn"),
    "match_fields[].values": (["node-1"],),
    "volumes.host_path[].host_path": ("/var/tmp", ""),
    "http_headers[].name": ("X-Hook",),
    "http_get.host": ("127.0.0.1", ""),
    "http_get.path": ("/ready", ""),
    "tcp_socket.host": ("127.0.0.1", ""),
    "exec.command": (["true"], ["sh", "-c", "true"]),
}
"""Where a name alone does not say what a key is, the end of its way does."""


def keys(model: type[Table] = KubernetesConfig, way: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every key of the model that holds a value, with its field."""
    for name, field in model.model_fields.items():
        table = nested_table(field)
        if table is None:
            yield (*way, name), field
        else:
            yield from keys(table, (*way, f"{name}[]" if is_array(field) else name))


KEYS = dict(keys())


_BY_END: dict[str, tuple[Any, ...]] = {
    "_max_allowed": ("2", "4Gi", ""),
    "bearer_token_overwrite_allowed": (True, False),
    "_overwrite_allowed": _PATTERNS,
    "pod_cpu_limit": ("8", ""),
    "pod_cpu_request": ("4", ""),
    "pod_memory_limit": ("8Gi", ""),
    "pod_memory_request": ("4Gi", ""),
    "cpu_limit": ("1", "500m", ""),
    "cpu_request": ("100m", "0.25", "0"),
    "_limit": ("1Gi", "512M", ""),
    "_request": ("64Mi", "1e6", "0"),
    "_size": ("20Gi",),
    "run_as_user": IDS,
    "run_as_group": IDS,
    "fs_group": IDS,
}
"""By the end of a key's name; the first that fits."""


def good_values(key: Key) -> tuple[Any, ...]:
    """Values that make sense for a key, the most ordinary first."""
    whole, name = ".".join(key), key[-1]
    if whole.startswith("volumes.") and name == "name":
        return ("v",)
    ways = (
        *(values for end, values in _BY_KEY.items() if whole.endswith(end)),
        *(values for known, values in _BY_NAME.items() if name == known),
        *(values for end, values in _BY_END.items() if name.endswith(end)),
        *([(True, False)] if "bool" in str(KEYS[key].annotation) else []),
    )
    if not ways:
        raise KeyError(f"{whole} has no values here: give it some.")
    return ways[0]


def set_at(table: Json, key: Key, value: Any, *, index: int = 0) -> None:
    """Put a value where its key says; arrays grow to the index."""
    for name in key[:-1]:
        if name.endswith("[]"):
            entries = table.setdefault(name[:-2], [])
            while len(entries) <= index:
                entries.append({})
            table = entries[index]
        else:
            table = table.setdefault(name, {})
    table[key[-1]] = value


def one_of_everything() -> Json:
    """`[runners.kubernetes]` with every key; of what rules out each other, the first."""
    table: Json = {}
    for key in KEYS:
        if key[-1] in {"patch_path"} or ("container_lifecycle" in key and _second_action(key)):
            continue
        set_at(table, key, good_values(key)[0])
    for kind, entries in table["volumes"].items():
        entries[0] |= {"name": kind.replace("_", "-"), "mount_path": f"/data/{kind}"}
    _complete(table, KubernetesConfig, ())
    return table


def _second_action(key: Key) -> bool:
    """Whether a key belongs to an action beside the one that its hook has: a command after start, a request before."""
    wanted = {"post_start": "exec", "pre_stop": "http_get"}
    return key[2] != wanted[key[1]]


WILD_TEXTS = (
    *(
        "",
        " ",
        "a" * 64,
        "a" * 254,
        "A_B",
        "ä",
        "/",
        "../up",
        "a/../b",
        "$CI_JOB_ID",
        "${",
        "-1",
        "-a",
        "a-",
        "a.",
        ".a",
    ),
    *(
        "a b",
        "x\ny",
        "0",
        "1e400",
        "9" * 30,
        "1n",
        "1.5Gi",
        "5e-9",
        "a:b",
        "a,b",
        "a=b",
        "key=",
        "=value",
        "/builds",
        "/a:b",
    ),
    *(
        "example.com/a",
        "example.com/",
        "/a",
        "a/b/c",
        "kubernetes.io/os",
        "10.0.0.1",
        "::1",
        "10.0.0.256",
        "repo",
        "build",
    ),
)
WILD_NUMBERS = (-1, 0, 1, 101, 65536, 2**31 - 1, 2**31, 2**63 - 1)


def _wild(value: Any) -> st.SearchStrategy[Any]:
    """Another value of the same type, mostly one that nobody means."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.sampled_from(WILD_NUMBERS)
    if isinstance(value, str):
        return st.sampled_from(WILD_TEXTS)
    if isinstance(value, dict):
        return st.dictionaries(st.sampled_from(WILD_TEXTS), st.sampled_from(WILD_TEXTS), max_size=2)
    if isinstance(value, list):
        inner = WILD_NUMBERS if value and isinstance(value[0], int) else WILD_TEXTS
        return st.lists(st.sampled_from(inner), max_size=2)
    return st.just(value)


SECTIONS = {section: [key for key in KEYS if key[0] == section] for section in dict.fromkeys(key[0] for key in KEYS)}
"""Keys by the first word of their way, so that a large table is not named more often than a single key."""


@st.composite
def keys_with_values(draw: st.DrawFn) -> Json:
    """Some keys with values, all of them good but for one at most; what a table needs to be one is there."""
    table: Json = {}
    key = st.sampled_from(sorted(SECTIONS)).flatmap(lambda section: st.sampled_from(SECTIONS[section]))
    chosen = draw(st.lists(key, max_size=10, unique=True))
    strange = draw(st.integers(-2 * len(chosen), len(chosen) - 1)) if chosen else -1
    for number, each in enumerate(chosen):
        values = good_values(each)
        value = draw(_wild(values[0]) if number == strange else st.sampled_from(values))
        set_at(table, each, value, index=draw(st.integers(0, 1)) if "[]" in "".join(each) else 0)
    _complete(table, KubernetesConfig, ())
    return table


_BELONG_TOGETHER = {
    "cert_file": ("host", "key_file", "ca_file"),
    "key_file": ("host", "cert_file", "ca_file"),
    "patch_type": ("patch",),
    "allowed_pull_policies": ("pull_policy",),
}
"""Keys of one table of which one makes little sense without the others."""
_ALWAYS = frozenset(
    {"command", "driver", "hostnames", "ip", "key", "mount_path", "name", "operator", "port", "topology_key"}
    | {"values", "weight"}
)
"""Keys of nested tables that no such table makes sense without."""


def _complete(table: Json, model: type[Table], way: Key, number: int = 0) -> None:
    """Fill in what a table cannot be without, and most of what it makes no sense without."""
    fields = model.model_fields
    together = {name for key in table for name in _BELONG_TOGETHER.get(key, ())}
    for name, field in fields.items():
        needed = field.is_required() or name in together or (bool(way) and name in _ALWAYS)
        if needed and name not in table and nested_table(field) is None:
            value = good_values((*way, name))[0]
            # Two volumes have two names and two places.
            table[name] = f"{value}-{way[1][:-2].replace('_', '-')}-{number}" if way[:1] == ("volumes",) else value
    if "localhost_profile" in table:
        table["type"] = "Localhost"
    elif table.get("type") == "Localhost":
        table["localhost_profile"] = "profiles/audit.json"
    for name, field in fields.items():
        inner = nested_table(field)
        if inner is None or name not in table:
            continue
        array = is_array(field)
        for index, each in enumerate(table[name] if array else [table[name]]):
            _complete(each, inner, (*way, f"{name}[]" if array else name), index)


def some_flags() -> st.SearchStrategy[dict[str, bool]]:
    """A few feature flags, on or off."""
    return st.dictionaries(st.sampled_from(FLAGS), st.booleans(), max_size=2)


def config_toml(kubernetes: Json, *, flags: dict[str, bool] | None = None) -> str:
    """A config.toml with these keys of `[runners.kubernetes]` and these feature flags."""
    runner = {
        "name": "blue",
        "url": "https://gitlab.example.com",
        "token": "glrt-abcdefghijklmnop",
        "executor": "kubernetes",
        "feature_flags": flags or {},
        "kubernetes": kubernetes,
    }
    return tomlkit.dumps({"concurrent": 4, "runners": [runner]})
