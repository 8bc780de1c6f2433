"""Whom a container runs as: the operator first, the job within bounds."""

from typing import Any

import pytest

from runner.config.security import ContainerSecurityContext, PodSecurityContext
from runner.podspec.users import ContainerUser, container_user

PARSING = "Error parsing '{}' from image options for container \"build\", using the configured security context: {}"


def choose(
    requested: str, *, own: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, **allowed: tuple[str, ...]
) -> ContainerUser:
    """Choose the user of `build`."""
    return container_user(
        "build",
        context=ContainerSecurityContext.model_validate(own or {}),
        pod_context=PodSecurityContext.model_validate(pod or {}),
        requested=requested,
        allowed_users=allowed.get("users", ()),
        allowed_groups=allowed.get("groups", ()),
    )


@pytest.mark.parametrize(
    ("requested", "own", "pod", "uid", "gid"),
    [
        ("", {}, {}, None, None),
        ("", {"run_as_user": 1}, {"run_as_user": 2, "run_as_group": 3}, 1, 3),
        ("1000", {}, {}, 1000, None),
        ("1000:1001", {}, {}, 1000, 1001),
        (":1001", {}, {}, None, 1001),
        (" 5 : 6 ", {}, {}, 5, 6),
    ],
    ids=["image's", "container before pod", "user", "user and group", "group alone", "blanks"],
)
def test_user_is_chosen_when(
    requested: str, own: dict[str, int], pod: dict[str, int], uid: int | None, gid: int | None
) -> None:
    """User and group are found independently of each other."""
    assert choose(requested, own=own, pod=pod) == ContainerUser(uid, gid)


@pytest.mark.parametrize(
    ("requested", "users", "groups", "problem"),
    [
        ("0", (), (), ("uid", "0 (root) has to be allowed by name")),
        ("00", (), (), ("uid", "0 (root) has to be allowed by name")),
        ("5", ("6", "07"), (), ("uid", "5 is not in the list of allowed ones")),
        ("me", (), (), ("uid", '"me" is no number of a user or group')),
        ("-1", (), (), ("uid", '"-1" is no number of a user or group')),
        ("0x0", (), (), ("uid", '"0x0" is no number of a user or group')),
        ("٠", (), (), ("uid", '"٠" is no number of a user or group')),
        ("9" * 5000, (), (), ("uid", f'"{"9" * 200}..." is no number of a user or group')),
        (f"{2**31}", (), (), ("uid", '"2147483648" is no number of a user or group')),
        ("1\nERROR", (), (), ("uid", '"1\\nERROR" is no number of a user or group')),
        (":0", (), ("5",), ("gid", "0 (root) has to be allowed by name")),
    ],
    ids=[
        "root",
        "root in disguise",
        "not listed",
        "name",
        "negative",
        "hex",
        "other digits",
        "absurd",
        "beyond",
        "line",
        "root group",
    ],
)
def test_job_is_refused_with_a_warning_when(
    requested: str, users: tuple[str, ...], groups: tuple[str, ...], problem: tuple[str, str]
) -> None:
    """The job goes on as the image's user."""
    assert choose(requested, users=users, groups=groups) == ContainerUser(None, None, (PARSING.format(*problem),))


def test_job_gets_root_when_it_is_allowed_by_name() -> None:
    """Listing a number is comparing numbers, not texts."""
    assert choose("0:07", users=("0",), groups=("7",)) == ContainerUser(0, 7)


def test_entries_of_the_list_are_left_out_with_a_warning_when_they_are_no_numbers() -> None:
    """They allow nobody, and a list of nothing else allows nobody at all."""
    left_out = 'allowed_users: "root" is left out, it is no number of a user or group'
    assert choose("5", users=("root", "5")) == ContainerUser(5, None, (left_out,))
    assert choose("0", users=("root",)) == ContainerUser(
        None, None, (left_out, PARSING.format("uid", "0 (root) has to be allowed by name"))
    )
    assert choose("5", users=("root",)).uid is None
    assert choose("", users=("root",)) == ContainerUser()


def test_job_is_overruled_with_a_notice_when_the_operator_decided() -> None:
    """The operator's own value is not checked against any list."""
    assert choose("5:6", own={"run_as_user": 0}, pod={"run_as_group": 9}, users=("5",)) == ContainerUser(
        0,
        9,
        (
            'Overriding user for container "build" to "5" is not allowed: '
            "user is set to 0 in the container security context",
            'Overriding group for container "build" to "6" is not allowed: '
            "group is set to 9 in the pod security context",
        ),
    )
