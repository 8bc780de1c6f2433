"""The Roles of a configuration as YAML: each rule with what asks for it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.cli.pod_yaml import Layout, yaml_text
from runner.podspec.rbac import (
    EVERYWHERE,
    OF_JOBS,
    SERVICE_LOGS,
    SESSIONS,
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

if TYPE_CHECKING:
    from runner.cli.pod_inputs import ConfigFile
    from runner.config.model import RunnerConfig

_COLUMNS = 110
_OPTIONS = {"ports": "--job-ports", SERVICE_LOGS: "--job-service-logs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the objects are called."""

    role: str
    account: str
    account_namespace: str | None
    """None: the namespace of the first role's jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerNeed:
    """What one entry of the configuration needs."""

    index: int
    runner: RunnerConfig
    need: Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Entries that need rights in the same place of the same cluster."""

    cluster: str
    """Which API server, for people; empty for the one that the process finds by itself."""
    namespace: str
    members: tuple[RunnerNeed, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that all members together need."""
        return rules(right for member in self.members for right in member.need.rights)


def runner_needs(
    file: ConfigFile,
    *,
    name: str | None,
    job_flags: Iterable[str],
    job_ports: bool,
    job_service_logs: bool = False,
) -> tuple[RunnerNeed, ...]:
    """Say what each runner needs; with a name, what that one needs."""
    flags = tuple(job_flags)
    chosen = [file.runner(name)] if name is not None else list(enumerate(file.config.runners))
    return tuple(
        RunnerNeed(
            index=index,
            runner=runner,
            need=needed_rights(
                runner,
                job_flags=flags,
                job_ports=job_ports,
                job_service_logs=job_service_logs,
                sessions=_sessions(file),
            ),
        )
        for index, runner in chosen
    )


def groups(needs: Iterable[RunnerNeed]) -> tuple[Group, ...]:
    """Gather what belongs into one role, in the order of the file; one of a whole cluster covers its namespaces."""
    found: dict[tuple[str, str], list[RunnerNeed]] = {}
    for each in needs:
        found.setdefault((_cluster(each.runner), each.need.namespace), []).append(each)
    made = [
        Group(cluster=cluster, namespace=namespace, members=tuple(members))
        for (cluster, namespace), members in found.items()
    ]
    return tuple(group for group in made if not _is_covered(group, made))


def rbac_text(file: ConfigFile, found: Sequence[Group], names: Names) -> str:
    """Write service account, roles and bindings as YAML documents."""
    return "---\n".join(_documents(file, found, names))


def _documents(file: ConfigFile, found: Sequence[Group], names: Names) -> Iterator[str]:
    first = next((group.namespace for group in found if group.namespace), None)
    place = names.account_namespace or first or found[0].members[0].runner.kubernetes.namespace
    clusters: set[str] = set()
    for group in found:
        if group.cluster not in clusters:
            clusters.add(group.cluster)
            where = f"# Of {group.cluster}.\n" if any(other.cluster != group.cluster for other in found) else ""
            yield where + yaml_text(build_service_account(names.account, place))
        granted = group.rules
        role = build_role(names.role, group.namespace, granted)
        yield _heading(file, group) + yaml_text(role, Layout(above=_rule_comments(file, group, granted), short=True))
        yield yaml_text(build_binding(names.role, group.namespace, account=names.account, account_namespace=place))


def _heading(file: ConfigFile, group: Group) -> str:
    who = ", ".join(f'"{member.runner.name}"' for member in group.members)
    where = f"in the namespace {group.namespace}" if group.namespace else "in all namespaces"
    lines = [f"What {file.name} needs {where}{f' of {group.cluster}' if group.cluster else ''}, for the runner {who}."]
    for member in group.members:
        key = scope_key(member.runner)
        if key:
            reason = "jobs run in namespaces that are not known before"
            lines.append(f"A ClusterRole because of {file.place(('runners', member.index, *key))}: {reason}.")
        if member.runner.kubernetes.bearer_token_overwrite_allowed:
            place = file.place(("runners", member.index, "kubernetes", "bearer_token_overwrite_allowed"))
            lines.append(f"{place}: the accounts whose tokens jobs bring need these rights too.")
    lines += _not_given(group, sessions=_sessions(file))
    return "".join(f"# {line}\n" for text in lines for line in textwrap.wrap(text, _COLUMNS, break_on_hyphens=False))


def _sessions(file: ConfigFile) -> bool:
    return bool(file.config.session_server.listen_address)


def _not_given(group: Group, *, sessions: bool) -> Iterator[str]:
    """Say which jobs need more than the configuration tells, and how to ask for that."""
    given = _verbs(group.rules)
    missing = (
        right
        for member in group.members
        for right in rights_of_jobs(member.runner, sessions=sessions)
        if not _verbs((right,)) <= given
    )
    options = tuple(dict.fromkeys(_option(right) for right in missing))
    if options:
        yield f"Some jobs ask for more by themselves; if yours may, add {', '.join(options)}."


def _option(right: Right) -> str:
    return _OPTIONS.get(right.key[1]) or f"--feature-flag {right.key[1]}"


def _rule_comments(file: ConfigFile, group: Group, granted: Sequence[Rule]) -> dict[tuple[str | int, ...], str]:
    return {
        ("rules", number): "\n".join(
            line
            for text in _reasons(file, group, rule)
            for line in textwrap.wrap(text, _COLUMNS, break_on_hyphens=False)
        )
        for number, rule in enumerate(granted)
    }


def _reasons(file: ConfigFile, group: Group, rule: Rule) -> Iterator[str]:
    """Each reason once, behind the keys that ask for it."""
    reasons: dict[str, dict[str, None]] = {}
    for member in group.members:
        for right in member.need.rights:
            if right in rule.because:
                reasons.setdefault(right.reason, {})[asked_by(file, member, right)] = None
    for reason, keys in reasons.items():
        yield f"{', '.join(keys)}: {reason}."


def asked_by(file: ConfigFile, member: RunnerNeed, right: Right) -> str:
    """Say what asks for a right: a key with its place, a default, a job's variable, or every job."""
    if not right.key:
        return "always"
    if right.key[0] == OF_JOBS:
        return f"jobs with {right.key[1]}"
    if right.key == SESSIONS:
        return file.place(SESSIONS)
    if not _is_set(member.runner, right.key):
        return f"{right.key[-1]}, on by default"
    return file.place(("runners", member.index, *right.key))


def _is_set(table: object, path: Sequence[str]) -> bool:
    """Whether the file says something of a key."""
    for name in path:
        if isinstance(table, dict):
            return name in table
        if name not in getattr(table, "model_fields_set", ()):
            return False
        table = getattr(table, name)
    return True


def _is_covered(group: Group, others: Sequence[Group]) -> bool:
    if group.namespace == EVERYWHERE:
        return False
    wide = (other for other in others if other.cluster == group.cluster and other.namespace == EVERYWHERE)
    return _verbs(group.rules) <= frozenset().union(*(_verbs(other.rules) for other in wide))


def _verbs(granted: Iterable[Rule | Right]) -> frozenset[tuple[str, str, str]]:
    return frozenset((each.group, each.resource, verb) for each in granted for verb in each.verbs)


def _cluster(runner: RunnerConfig) -> str:
    kubernetes = runner.kubernetes
    if kubernetes.host:
        return kubernetes.host
    return f'the context "{kubernetes.context}"' if kubernetes.context else ""
