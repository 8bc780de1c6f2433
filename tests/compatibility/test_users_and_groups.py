"""GitLab Runner's seven tables of users and groups: who a container runs as, and what the log says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from runner.testing.payloads import image
from tests.manifests import ABSENT, KUBERNETES, Made, made

CONTAINERS = {"build": "build", "helper": "helper", "service": "svc-0"}


@dataclass(frozen=True)
class Row:
    """What is set where, for users and groups alike, and what comes of it."""

    container: int | None = None
    pod: int | None = None
    job: str = ""
    allowed: tuple[str, ...] = ()
    chosen: int | None = None
    """For build and service."""
    helper: int | None = None
    """The helper never takes what a job asks for; where nothing is configured it is root here, as a user."""
    warning: str = ""
    another: str = ""
    """A second line of the log."""


ROWS: dict[str, Row] = {
    "nothing is set": Row(),
    "the container's": Row(container=1000, chosen=1000, helper=1000),
    "the pod's": Row(pod=2000, chosen=2000, helper=2000),
    "the container's before the pod's": Row(container=1000, pod=2000, chosen=1000, helper=1000),
    "root of the container before the pod's": Row(container=0, pod=2000, chosen=0, helper=0),
    "the job's": Row(job="3000", chosen=3000),
    "the container's before the job's": Row(
        container=1000, job="3000", chosen=1000, helper=1000, warning="is set to 1000 in the container security context"
    ),
    "the pod's before the job's": Row(
        pod=2000, job="3000", chosen=2000, helper=2000, warning="is set to 2000 in the pod security context"
    ),
    "the same in the container and the job": Row(
        container=3000, job="3000", chosen=3000, helper=3000, warning="is set to 3000 in the container security context"
    ),
    "the job's, on the list": Row(job="3000", allowed=("1000", "3000"), chosen=3000),
    "the job's, on the list in other digits": Row(job="3000", allowed=("03000",), chosen=3000),
    "the job's, not on the list": Row(job="3000", allowed=("1000",), warning="3000 is not in the list of allowed ones"),
    "the container's, not on the list": Row(container=1000, allowed=("1",), chosen=1000, helper=1000),
    "the pod's, not on the list": Row(pod=2000, allowed=("1",), chosen=2000, helper=2000),
    "root of the job without a list": Row(job="0", warning="0 (root) has to be allowed by name"),
    "root of the job with a list without root": Row(
        job="0", allowed=("1000",), warning="0 (root) has to be allowed by name"
    ),
    "root of the job with root on the list": Row(job="0", allowed=("0",), chosen=0),
    "root of the container without a list": Row(container=0, chosen=0, helper=0),
    "a word": Row(job="root", warning='"root" is no number of a user or group'),
    "less than nothing": Row(job="-1", warning='"-1" is no number of a user or group'),
    "a fraction": Row(job="1.5", warning='"1.5" is no number of a user or group'),
    "a list with a word": Row(job="3000", allowed=("root", "3000"), chosen=3000, warning='"root" is left out'),
    "a list of words alone": Row(
        job="3000", allowed=("root",), warning="3000 is not in the list of allowed ones", another='"root" is left out'
    ),
}


def result_of(row: Row, *, group: bool) -> Made:
    """The pod of a job with one service; both ask for the same."""
    key, plural = ("run_as_group", "allowed_groups") if group else ("run_as_user", "allowed_users")
    lines = [f"{plural} = [{', '.join(map(repr, row.allowed))}]"]
    if row.pod is not None:
        lines += ["[runners.kubernetes.pod_security_context]", f"{key} = {row.pod}"]
    if row.container is not None:
        for kind in CONTAINERS:
            lines += [f"[runners.kubernetes.{kind}_container_security_context]", f"{key} = {row.container}"]
    asked = f":{row.job}" if group and row.job else row.job
    options: dict[str, Any] = {"executor_opts": {"kubernetes": {"user": asked}}} if asked else {}
    return made(KUBERNETES + "\n".join(lines), image=image("ruby:3", **options), services=[image("redis:7", **options)])


@pytest.mark.parametrize("group", [False, True], ids=["user", "group"])
@pytest.mark.parametrize("name", ROWS)
def test_users_and_groups(name: str, group: bool) -> None:
    """The operator's word comes before the job's, and the list bounds the job alone."""
    row = ROWS[name]
    result = result_of(row, group=group)
    field = "runAsGroup" if group else "runAsUser"
    place = "spec.containers.{}.securityContext." + field
    found = {kind: result.at(place.format(container)) for kind, container in CONTAINERS.items()}
    helper = 0 if row.helper is None and not group else row.helper
    expected = {"build": row.chosen, "helper": helper, "service": row.chosen}
    assert found == {kind: ABSENT if number is None else number for kind, number in expected.items()}


@pytest.mark.parametrize("group", [False, True], ids=["user", "group"])
@pytest.mark.parametrize("name", ROWS)
def test_users_and_groups_warn(name: str, group: bool) -> None:
    """What a job asks for in vain is told once for each container that it asked for; all else is silent."""
    row = ROWS[name]
    notes = result_of(row, group=group).notes
    wanted = [words for words in (row.warning, row.another) if words]
    assert [words for words in wanted if not any(words in note for note in notes)] == []
    assert [note for note in notes if not any(words in note for words in wanted)] == []


def test_user_and_group_of_one_text() -> None:
    """`uid:gid` is both, and each is judged by its own list."""
    options = {"executor_opts": {"kubernetes": {"user": "1000:2000"}}}
    result = made(KUBERNETES + 'allowed_users = ["1000"]\nallowed_groups = ["1"]', image=image("ruby:3", **options))
    assert result.at("spec.containers.build.securityContext.runAsUser") == 1000
    assert result.at("spec.containers.build.securityContext.runAsGroup") == ABSENT


def test_user_of_a_variable() -> None:
    """The text is expanded before it is read."""
    options = {"executor_opts": {"kubernetes": {"user": "$WHO:$WHO"}}}
    result = made(KUBERNETES, image=image("ruby:3", **options), variables={"WHO": "1234"})
    assert result.at("spec.containers.build.securityContext.runAsUser") == 1234
    assert result.at("spec.containers.build.securityContext.runAsGroup") == 1234
