"""`runner rbac --check`: asks the API server, right by right, what the credentials in use may not do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import click

from runner.cli.pod_inputs import Trouble
from runner.cli.rbac_text import asked_by
from runner.kube.connect import connect
from runner.kube.errors import KubeError
from runner.kube.retries import RetryPolicy
from runner.manager.assemble import connection_settings

if TYPE_CHECKING:
    from runner.cli.pod_inputs import ConfigFile
    from runner.cli.rbac_text import Group, RunnerNeed
    from runner.kube.client import KubeClient
    from runner.podspec.rbac import Right

_REQUEST_TIMEOUT = 10.0
_TRIES = 2
_QUESTIONS_AT_ONCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One verb on one resource in one place."""

    namespace: str
    verb: str
    right: Right
    key: str
    """What asks for it, for people."""


def check_rights(file: ConfigFile, found: Sequence[Group], *, kubeconfig: str | None, colour: bool) -> int:
    """Ask about all rights and print those that are missing; 1 if there are some. Raises Trouble."""
    asked = sum(len(rule.verbs) for group in found for rule in group.rules)
    missing: list[Question] = []
    for group in found:
        for member in group.members:
            missing += anyio.run(_refused, member, tuple(_questions(file, member)), kubeconfig)
    if not missing:
        places = ", ".join(dict.fromkeys(_place(group.namespace) for group in found))
        click.echo(f"Nothing is missing: all {asked} rights that {file.name} needs are given, in {places}.")
        return 0
    from runner.cli.local_table import print_table

    rows = tuple(
        dict.fromkeys((_place(each.namespace), each.verb, _resource(each.right), each.key) for each in missing)
    )
    print_table(("Namespace", "Verb", "Resource", "Needed for"), rows, colour=colour)
    click.echo(f"{len(rows)} of {asked} rights are missing; `runner rbac` prints the Roles that give them.", err=True)
    return 1


def _questions(file: ConfigFile, member: RunnerNeed) -> Iterator[Question]:
    for right in member.need.rights:
        for verb in right.verbs:
            yield Question(namespace=member.need.namespace, verb=verb, right=right, key=asked_by(file, member, right))


async def _refused(member: RunnerNeed, questions: Sequence[Question], kubeconfig: str | None) -> tuple[Question, ...]:
    """The questions that the API server answers with no, in their order."""
    allowed: dict[Question, bool] = {}
    slots = anyio.CapacityLimiter(_QUESTIONS_AT_ONCE)
    try:
        client = await connect(
            connection_settings(member.runner, kubeconfig=kubeconfig),
            retry=RetryPolicy(limit=_TRIES),
            request_timeout=_REQUEST_TIMEOUT,
        )
        try:

            async def ask(question: Question) -> None:
                async with slots:
                    allowed[question] = await _is_allowed(client, question)

            async with anyio.create_task_group() as group:
                for question in questions:
                    group.start_soon(ask, question)
        finally:
            await client.aclose()
    # No `except*`: until Python 3.11.4 it puts what is raised in it into a group.
    except (KubeError, BaseExceptionGroup) as error:
        first = _first(error)
        if not isinstance(first, KubeError):
            raise
        raise Trouble(f'The cluster of the runner "{member.runner.name}" does not say: {first}') from None
    return tuple(question for question in questions if not allowed[question])


async def _is_allowed(client: KubeClient, question: Question) -> bool:
    resource, _, subresource = question.right.resource.partition("/")
    return await client.self_subject_access_review(
        question.namespace, question.verb, resource, subresource=subresource, group=question.right.group
    )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _place(namespace: str) -> str:
    return namespace or "all namespaces"


def _resource(right: Right) -> str:
    return f"{right.resource}.{right.group}" if right.group else right.resource
