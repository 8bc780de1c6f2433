"""The rights that a configuration needs: which key asks for which, and never more than that."""

from __future__ import annotations

from typing import Any

import pytest

from runner.config.kubernetes import KubernetesConfig
from runner.config.model import RunnerConfig
from runner.podspec.rbac import (
    EVERYWHERE,
    FLAGS_WITH_RIGHTS,
    LEGACY_FLAG,
    Need,
    Right,
    Rule,
    build_binding,
    build_role,
    build_service_account,
    needed_rights,
    rights_of_jobs,
    rules,
    scope_key,
)

Verbs = set[tuple[str, str]]

ALWAYS: Verbs = {
    *(("pods", verb) for verb in ("create", "get", "list", "watch", "delete")),
    *(("pods/attach", verb) for verb in ("get", "create")),
    *(("secrets", verb) for verb in ("create", "get", "patch", "delete")),
    ("events", "list"),
}


def runner(kubernetes: dict[str, Any] | None = None, **over: Any) -> RunnerConfig:
    """A runner with these keys."""
    return RunnerConfig.model_validate(
        {"url": "https://gitlab.example.com", "token": "t", "kubernetes": kubernetes or {}, **over}
    )


def verbs(need: Need) -> Verbs:
    """All verbs with their resources."""
    return {(right.resource, verb) for right in need.rights for verb in right.verbs}


def test_empty_configuration_needs_what_every_job_does() -> None:
    """In the namespace `default`, and without a wildcard."""
    need = needed_rights(runner())
    assert need.namespace == "default"
    assert verbs(need) == ALWAYS


NEEDS: dict[str, tuple[dict[str, Any], Verbs, tuple[str, ...]]] = {
    "a budget": (
        {"pod_disruption_budget": True},
        {("poddisruptionbudgets", "create"), ("poddisruptionbudgets", "get")},
        ("kubernetes", "pod_disruption_budget"),
    ),
    "a checked account": (
        {"service_account": "builder", "resource_availability_check_max_attempts": 2},
        {("serviceaccounts", "get")},
        ("kubernetes", "resource_availability_check_max_attempts"),
    ),
    "a checked account of the job's choice": (
        {"service_account_overwrite_allowed": ".*", "resource_availability_check_max_attempts": 2},
        {("serviceaccounts", "get")},
        ("kubernetes", "resource_availability_check_max_attempts"),
    ),
    "a look for room": (
        {"capacity_aware": True},
        {("resourcequotas", "list")},
        ("kubernetes", "capacity_aware"),
    ),
    "a namespace for each job": (
        {"namespace_per_job": True},
        {*(("namespaces", verb) for verb in ("create", "get", "list", "delete")), ("serviceaccounts", "get")},
        ("kubernetes", "namespace_per_job"),
    ),
}


@pytest.mark.parametrize(("keys", "more", "key"), NEEDS.values(), ids=NEEDS)
def test_key_asks_for_its_rights(keys: dict[str, Any], more: Verbs, key: tuple[str, ...]) -> None:
    """What a key adds, and that it is named with it."""
    need = needed_rights(runner(keys))
    assert verbs(need) == ALWAYS | more
    assert {right.key for right in need.rights if right.key and right.key[1] != "print_pod_warning_events"} == {key}


@pytest.mark.parametrize(
    "keys",
    [
        {"service_account": "builder"},
        {"resource_availability_check_max_attempts": 3},
        {"image_pull_secrets": ["a"], "resource_availability_check_max_attempts": 3},
        {"privileged": True, "priority_class_name": "high", "runtime_class_name": "gvisor"},
        {"namespace": "ci", "bearer_token_overwrite_allowed": True},
    ],
    ids=lambda keys: " ".join(keys),
)
def test_keys_that_ask_for_nothing_more(keys: dict[str, Any]) -> None:
    """To name something in a pod is no right of its own; a look for registry secrets is one that there is already."""
    assert verbs(needed_rights(runner(keys))) == ALWAYS


def test_events_are_not_listed_where_they_are_not_wanted() -> None:
    """Without `print_pod_warning_events` the right to list events goes."""
    assert verbs(needed_rights(runner({"print_pod_warning_events": False}))) == ALWAYS - {("events", "list")}


FLAGS = {
    "FF_PRINT_POD_EVENTS": {("events", "watch")},
    "FF_WAIT_FOR_POD_TO_BE_REACHABLE": {("pods/log", "get")},
    "FF_KUBERNETES_HONOR_ENTRYPOINT": {("pods/log", "get")},
    LEGACY_FLAG: {("pods/exec", "get"), ("pods/exec", "create")},
}


def test_table_of_flags_is_complete() -> None:
    """The flags with rights are those of this table."""
    assert set(FLAGS) == set(FLAGS_WITH_RIGHTS)


@pytest.mark.parametrize(("flag", "more"), FLAGS.items())
def test_flag_asks_for_its_rights(flag: str, more: Verbs) -> None:
    """From the configuration, the runner's environment or a job; one that the configuration sets no job changes."""
    configured = needed_rights(runner(feature_flags={flag: True}))
    assert verbs(configured) == ALWAYS | more
    assert [right.key for right in configured.rights if (right.resource, right.verbs[0]) in more] == [
        ("feature_flags", flag)
    ]
    environment = needed_rights(runner(environment=[f"{flag}=true"]))
    assert verbs(environment) == ALWAYS | more
    assert ("environment",) in {right.key for right in environment.rights}
    assert verbs(needed_rights(runner(), job_flags=[flag])) == ALWAYS | more
    assert verbs(needed_rights(runner(feature_flags={flag: False}), job_flags=[flag])) == ALWAYS


def test_rights_that_jobs_may_ask_for_by_themselves() -> None:
    """Those of flags and ports; a flag that the configuration sets, either way, is no wish of a job."""
    assert [right.key for right in rights_of_jobs(runner())] == [
        ("jobs", "FF_PRINT_POD_EVENTS"),
        ("jobs", "FF_WAIT_FOR_POD_TO_BE_REACHABLE"),
        ("jobs", "FF_KUBERNETES_HONOR_ENTRYPOINT"),
        ("jobs", LEGACY_FLAG),
        ("jobs", "ports"),
        ("jobs", "CI_DEBUG_SERVICES"),
    ]
    some = runner(feature_flags={**dict.fromkeys(FLAGS, False), LEGACY_FLAG: True})
    assert [right.key[1] for right in rights_of_jobs(some)] == ["ports", "CI_DEBUG_SERVICES"]


def test_service_logs_ask_for_their_right() -> None:
    """From the runner's environment or a job, and not where the runner forbids debug output."""
    assert verbs(needed_rights(runner(), job_service_logs=True)) == ALWAYS | {("pods/log", "get")}
    configured = needed_rights(runner(environment=["CI_DEBUG_SERVICES=1"]))
    assert verbs(configured) == ALWAYS | {("pods/log", "get")}
    assert ("environment",) in {right.key for right in configured.rights}
    forbidden = runner(environment=["CI_DEBUG_SERVICES=1"], debug_trace_disabled=True)
    assert verbs(needed_rights(forbidden, job_service_logs=True)) == ALWAYS


def test_sessions_ask_for_their_rights() -> None:
    """exec for the terminal of every job, the proxy for jobs with ports, neither without a session server."""
    terminal: Verbs = {("pods/exec", "get"), ("pods/exec", "create")}
    ports = {("services", verb) for verb in ("create", "get")}
    proxy = {("services/proxy", verb) for verb in ("get", "create", "update", "patch", "delete")}
    assert verbs(needed_rights(runner(), sessions=True)) == ALWAYS | terminal
    assert verbs(needed_rights(runner(), sessions=True, job_ports=True)) == ALWAYS | terminal | ports | proxy
    assert verbs(needed_rights(runner(), job_ports=True)) == ALWAYS | ports
    asking = {right.resource: right.key for right in rights_of_jobs(runner(), sessions=True)}
    assert asking["services/proxy"] == ("jobs", "ports")
    assert "pods/exec" not in asking


@pytest.mark.parametrize(
    ("keys", "namespace", "key"),
    [
        ({"namespace": "ci"}, "ci", ()),
        ({"namespace_overwrite_allowed": "ci-.*"}, EVERYWHERE, ("kubernetes", "namespace_overwrite_allowed")),
        ({"namespace": "ci", "namespace_per_job": True}, EVERYWHERE, ("kubernetes", "namespace_per_job")),
    ],
    ids=["one", "of the job's choice", "one for each job"],
)
def test_place_of_the_rights(keys: dict[str, Any], namespace: str, key: tuple[str, ...]) -> None:
    """One namespace, or all where jobs run in ones that are not known before; then the key says why."""
    assert needed_rights(runner(keys)).namespace == namespace
    assert scope_key(runner(keys)) == key


def test_no_configuration_needs_a_wildcard() -> None:
    """With every switch on, no verb, resource or group stands for all of them."""
    switches = {
        name: True for name, each in KubernetesConfig.model_fields.items() if each.annotation in (bool, bool | None)
    }
    every = needed_rights(
        runner({**switches, "namespace_overwrite_allowed": ".*"}), job_flags=FLAGS_WITH_RIGHTS, job_ports=True
    )
    assert "*" not in "".join(f"{right.group} {right.resource} {' '.join(right.verbs)}" for right in every.rights)


def test_rights_on_one_resource_make_one_rule() -> None:
    """Each verb once, in the order in which they come, with all that asks for them."""
    first = Right(resource="events", verbs=("list",), reason="one")
    second = Right(resource="events", verbs=("watch", "list"), reason="two")
    third = Right(group="policy", resource="poddisruptionbudgets", verbs=("create",), reason="three")
    assert rules([first, third, second, first]) == (
        Rule("", "events", ("list", "watch"), (first, second)),
        Rule("policy", "poddisruptionbudgets", ("create",), (third,)),
    )


def test_role_in_a_namespace() -> None:
    """A Role with its rules, bound to the account wherever that is."""
    granted = rules([Right(resource="pods/attach", verbs=("get", "create"), reason="")])
    assert build_role("runner", "ci", granted) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "runner", "namespace": "ci"},
        "rules": [{"apiGroups": [""], "resources": ["pods/attach"], "verbs": ["get", "create"]}],
    }
    assert build_binding("runner", "ci", account="manager", account_namespace="gitlab") == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "runner", "namespace": "ci"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "runner"},
        "subjects": [{"kind": "ServiceAccount", "name": "manager", "namespace": "gitlab"}],
    }
    assert build_service_account("manager", "gitlab") == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "manager", "namespace": "gitlab"},
    }


def test_role_of_all_namespaces() -> None:
    """A ClusterRole and its binding, which lie in no namespace."""
    role = build_role("runner", EVERYWHERE, ())
    binding = build_binding("runner", EVERYWHERE, account="runner", account_namespace="ci")
    assert (role["kind"], role["metadata"]) == ("ClusterRole", {"name": "runner"})
    assert (binding["kind"], binding["metadata"]) == ("ClusterRoleBinding", {"name": "runner"})
    assert binding["roleRef"]["kind"] == "ClusterRole"
