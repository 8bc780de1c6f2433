"""The rights that the manager needs in a cluster, as its configuration decides them.

One table: a right, what it is for, and the key that asks for it. `runner rbac` prints it as Roles, and a test holds it
against the requests of real jobs: what is not asked for is not here. No wildcard, whatever the configuration.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from runner.config.model import RunnerConfig
from runner.job.feature_flags import resolve_flags
from runner.job.variables import Variables, environment_variables, parse_bool
from runner.podspec.containers import HONOR_ENTRYPOINT_FLAG
from runner.podspec.manifest import Manifest

KeyPath = tuple[str, ...]
"""Fields below `[[runners]]`; empty for what every job needs."""

LEGACY_FLAG = "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY"
OF_JOBS = "jobs"
"""Begins the key of what no key asks for, but jobs do by themselves: a feature flag, `ports`, `CI_DEBUG_SERVICES`."""
SESSIONS: KeyPath = ("session_server", "listen_address")
"""The key that asks for rights of sessions: the process's own, not one below `[[runners]]`."""
SERVICE_LOGS = "CI_DEBUG_SERVICES"
"""The variable by which jobs ask for the logs of their services."""
EVERYWHERE = ""
"""Stands for all namespaces, and for what lies in none."""

_API_GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Verbs on one resource, and why they are needed."""

    resource: str
    """The plural, with its subresource: `pods/attach`."""
    verbs: tuple[str, ...]
    reason: str
    """What they are for, in a few words."""
    group: str = ""
    key: KeyPath = ()
    """The key that asks for them."""


@dataclass(frozen=True, slots=True)
class Need:
    """Rights in one namespace, for the sake of one runner."""

    namespace: str
    """EVERYWHERE where jobs run in namespaces that only they know."""
    rights: tuple[Right, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role: all verbs on one resource, and the rights that they are for."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    because: tuple[Right, ...]


@dataclass(frozen=True, slots=True)
class Jobs:
    """What is known of the jobs that come, beside the configuration."""

    flags: Mapping[str, bool]
    ports: bool
    service_logs: bool
    sessions: bool = False
    """Whether people reach them through a session server."""


Condition = Callable[[RunnerConfig, Jobs], KeyPath | None]
"""Says which key of a runner asks for a right; None if none does."""


def _always(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
    return ()


def _key(name: str) -> Condition:
    def set_in(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
        return ("kubernetes", name) if getattr(runner.kubernetes, name) else None

    return set_in


def _flag(name: str) -> Condition:
    def on(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
        if not jobs.flags[name]:
            return None
        if name in runner.feature_flags:
            return ("feature_flags", name)
        own = any(variable.key == name for variable in environment_variables(runner.environment))
        return ("environment",) if own else (OF_JOBS, name)

    return on


def _account_check(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
    kubernetes = runner.kubernetes
    named = kubernetes.service_account or kubernetes.service_account_overwrite_allowed
    checked = kubernetes.resource_availability_check_max_attempts
    return ("kubernetes", "resource_availability_check_max_attempts") if named and checked else None


def _capacity_aware(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
    kubernetes = runner.kubernetes
    return ("kubernetes", "capacity_aware") if kubernetes.capacity_aware and not kubernetes.namespace_per_job else None


def _ports(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
    return (OF_JOBS, "ports") if jobs.ports else None


def _sessions(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
    return SESSIONS if jobs.sessions else None


def _session_ports(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
    return (OF_JOBS, "ports") if jobs.sessions and jobs.ports else None


def _service_logs(runner: RunnerConfig, jobs: Jobs) -> KeyPath | None:
    if runner.debug_trace_disabled:
        return None
    own = Variables(environment_variables(runner.environment)).get(SERVICE_LOGS)
    if parse_bool(own):
        return ("environment",)
    return (OF_JOBS, SERVICE_LOGS) if jobs.service_logs else None


_WEBSOCKET = ("get", "create")
_OWN = "get recognizes our own after a lost answer"

_TABLE: tuple[tuple[Condition, Right], ...] = (
    (
        _key("namespace_per_job"),
        Right(
            resource="namespaces",
            verbs=("create", "get", "list", "delete"),
            reason=f"a namespace for each job, made before it and removed after; {_OWN}, list finds what a manager "
            "left that was killed",
        ),
    ),
    (
        _key("namespace_per_job"),
        Right(
            resource="serviceaccounts",
            verbs=("get",),
            reason="a new namespace takes pods when it has its default service account",
        ),
    ),
    (
        _account_check,
        Right(resource="serviceaccounts", verbs=("get",), reason="the look for the job's service account"),
    ),
    (
        _always,
        Right(
            resource="pods",
            verbs=("create", "get", "list", "watch", "delete"),
            reason="one pod for each job, one list and watch for all of them; a get where only certainty counts",
        ),
    ),
    (
        _always,
        Right(
            resource="pods/attach",
            verbs=_WEBSOCKET,
            reason="the connection that starts stages and reads the log; a WebSocket is a get, since Kubernetes 1.35 "
            "a create too",
        ),
    ),
    (
        _always,
        Right(
            resource="secrets",
            verbs=("create", "get", "patch", "delete"),
            reason=f"the job's record and its passwords, owned by its pod; {_OWN}, patch gives one its owner, delete "
            "is for those whose pod could not be made",
        ),
    ),
    (
        _key("print_pod_warning_events"),
        Right(
            resource="events",
            verbs=("list",),
            reason="why a pod does not start, in the job's log; without it the log has less to say",
        ),
    ),
    (
        _flag("FF_PRINT_POD_EVENTS"),
        Right(resource="events", verbs=("watch",), reason="the pod's events in the job's log as they come"),
    ),
    (
        _key("pod_disruption_budget"),
        Right(
            group="policy",
            resource="poddisruptionbudgets",
            verbs=("create", "get"),
            reason=f"a budget for each pod, which owns it; {_OWN}",
        ),
    ),
    (
        _capacity_aware,
        Right(resource="resourcequotas", verbs=("list",), reason="the look for room before a job is asked for"),
    ),
    (
        _flag("FF_WAIT_FOR_POD_TO_BE_REACHABLE"),
        Right(resource="pods/log", verbs=("get",), reason="the question whether the pod's node answers"),
    ),
    (
        _flag(HONOR_ENTRYPOINT_FLAG),
        Right(resource="pods/log", verbs=("get",), reason="what the image's entrypoint prints, in the job's log"),
    ),
    (
        _flag(LEGACY_FLAG),
        Right(resource="pods/exec", verbs=_WEBSOCKET, reason="stages by exec; a WebSocket, as above"),
    ),
    (
        _sessions,
        Right(resource="pods/exec", verbs=_WEBSOCKET, reason="the terminal of a job; a WebSocket, as above"),
    ),
    (
        _session_ports,
        Right(
            resource="services/proxy",
            verbs=("get", "create", "update", "patch", "delete"),
            reason="what people ask the ports of a job, each verb for the methods of HTTP that mean it",
        ),
    ),
    (
        _ports,
        Right(
            resource="services",
            verbs=("create", "get"),
            reason=f"a Service for the ports that images name, which the pod owns; {_OWN}",
        ),
    ),
    (
        _service_logs,
        Right(resource="pods/log", verbs=("get",), reason="what services print, in the job's log"),
    ),
)

FLAGS_WITH_RIGHTS = (
    "FF_PRINT_POD_EVENTS",
    "FF_WAIT_FOR_POD_TO_BE_REACHABLE",
    HONOR_ENTRYPOINT_FLAG,
    LEGACY_FLAG,
)
"""Feature flags that need a right of their own."""


def needed_rights(
    runner: RunnerConfig,
    *,
    job_flags: Iterable[str] = (),
    job_ports: bool = False,
    job_service_logs: bool = False,
    sessions: bool = False,
) -> Need:
    """Say which rights the jobs of a runner need, and where.

    Jobs can ask for more than the configuration does: `job_flags` are feature flags that they turn on themselves (one
    that the configuration sets they cannot), `job_ports` says that their images name ports, `job_service_logs` that
    they set `CI_DEBUG_SERVICES`. `sessions` says that the configuration has a session server.
    """
    turned_on = frozenset(job_flags) - runner.feature_flags.keys()
    flags, _ = resolve_flags(runner.feature_flags, environment_variables(runner.environment))
    jobs = Jobs({name: on or name in turned_on for name, on in flags.items()}, job_ports, job_service_logs, sessions)
    found = tuple(
        replace(right, key=key) for condition, right in _TABLE if (key := condition(runner, jobs)) is not None
    )
    return Need(_namespace(runner), found)


def rights_of_jobs(runner: RunnerConfig, *, sessions: bool = False) -> tuple[Right, ...]:
    """The rights that only some jobs need, by what they ask for themselves: the configuration alone gives none."""
    configured = needed_rights(runner, sessions=sessions)
    known = {(right.group, right.resource, verb) for right in configured.rights for verb in right.verbs}
    all_of_them = needed_rights(
        runner, job_flags=FLAGS_WITH_RIGHTS, job_ports=True, job_service_logs=True, sessions=sessions
    )
    return tuple(
        right
        for right in all_of_them.rights
        if right.key[:1] == (OF_JOBS,) and any((right.group, right.resource, verb) not in known for verb in right.verbs)
    )


def scope_key(runner: RunnerConfig) -> KeyPath:
    """The key because of which the rights are needed in all namespaces; empty if one is enough."""
    for name in ("namespace_per_job", "namespace_overwrite_allowed"):
        if getattr(runner.kubernetes, name):
            return ("kubernetes", name)
    return ()


def rules(rights: Iterable[Right]) -> tuple[Rule, ...]:
    """Join rights into the rules of one role: one for each resource, each verb once, with all that asks for them."""
    joined: dict[tuple[str, str], Rule] = {}
    for right in rights:
        place = (right.group, right.resource)
        rule = joined.get(place, Rule(right.group, right.resource, (), ()))
        verbs = tuple(dict.fromkeys((*rule.verbs, *right.verbs)))
        because = rule.because if right in rule.because else (*rule.because, right)
        joined[place] = replace(rule, verbs=verbs, because=because)
    return tuple(joined.values())


def build_role(name: str, namespace: str, granted: Iterable[Rule]) -> Manifest:
    """Build a Role with these rules, or a ClusterRole where the namespace is EVERYWHERE."""
    return {
        "apiVersion": f"{_API_GROUP}/v1",
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": _metadata(name, namespace),
        "rules": [
            {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)} for rule in granted
        ],
    }


def build_binding(name: str, namespace: str, *, account: str, account_namespace: str) -> Manifest:
    """Build the binding of a role of the same name and namespace to a service account."""
    return {
        "apiVersion": f"{_API_GROUP}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": _metadata(name, namespace),
        "roleRef": {"apiGroup": _API_GROUP, "kind": "Role" if namespace else "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}],
    }


def build_service_account(name: str, namespace: str) -> Manifest:
    """Build the account that the manager's pod runs as."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(name, namespace)}


def _metadata(name: str, namespace: str) -> Manifest:
    return {"name": name, "namespace": namespace} if namespace else {"name": name}


def _namespace(runner: RunnerConfig) -> str:
    return EVERYWHERE if scope_key(runner) else runner.kubernetes.namespace
