"""The Roles of a configuration as YAML: each rule with what asks for it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.cli.pod_yaml import Layout, yaml_text
from runner.podspec.rbac import (
    EVERYWHERE,
    JOB_VARIABLE,
    Need,
    Right,
    Rule,
    build_binding,
    build_role,
    build_service_account,
    needed_rights,
    rules,
    scope_key,
)

if TYPE_CHECKING:
    from runner.cli.pod_inputs import ConfigFile
    from runner.config.model import RunnerConfig

_COLUMNS = 110


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


def runner_needs(file: ConfigFile, *, name: str | None, job_flags: Iterable[str]) -> tuple[RunnerNeed, ...]:
    """Say what each runner needs; with a name, what that one needs."""
    flags = tuple(job_flags)
    chosen = [file.runner(name)] if name is not None else list(enumerate(file.config.runners))
    return tuple(
        RunnerNeed(index=index, runner=runner, need=needed_rights(runner, job_flags=flags)) for index, runner in chosen
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
            yield yaml_text(build_service_account(names.account, place))
        granted = group.rules
        role = build_role(names.role, group.namespace, granted)
        yield _heading(file, group) + yaml_text(
            role, Layout(above=_rule_comments(file, group, granted), short=True)
        )
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
    return "".join(f"# {line}\n" for text in lines for line in textwrap.wrap(text, _COLUMNS))


def _rule_comments(file: ConfigFile, group: Group, granted: Sequence[Rule]) -> dict[tuple[str | int, ...], str]:
    return {
        ("rules", number): "\n".join(
            line for text in _reasons(file, group, rule) for line in textwrap.wrap(text, _COLUMNS)
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
    if right.key[0] == JOB_VARIABLE:
        return f"jobs with {right.key[1]}"
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
    wide = {
        (rule.group, rule.resource, verb)
        for other in others
        if other.cluster == group.cluster and other.namespace == EVERYWHERE
        for rule in other.rules
        for verb in rule.verbs
    }
    return all((rule.group, rule.resource, verb) in wide for rule in group.rules for verb in rule.verbs)


def _cluster(runner: RunnerConfig) -> str:
    kubernetes = runner.kubernetes
    if kubernetes.host:
        return kubernetes.host
    return f'the context "{kubernetes.context}"' if kubernetes.context else ""
