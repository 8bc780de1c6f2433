"""Pull policies: what is tried for each container, what is allowed, what the job's log says."""

from typing import Any

import pytest

from runner.job.outcome import JobConfigurationError
from runner.podspec.pull import (
    PullPolicies,
    effective_policies,
    next_attempt_line,
    pull_failure_line,
    pull_policies,
    pull_policy,
)

PREPARE = {
    "no pull policies": ([], {}, ("",)),
    "configured": ([], {"pull_policy": "always"}, ("always",)),
    "a configured list": ([], {"pull_policy": ["always", "if-not-present"]}, ("always", "if-not-present")),
    "the job's among the configured": (
        ["if-not-present"],
        {"pull_policy": ["always", "if-not-present"]},
        ("if-not-present",),
    ),
    "the job's among the allowed": (
        ["never", "always"],
        {"pull_policy": "always", "allowed_pull_policies": ["always", "never"]},
        ("never", "always"),
    ),
    "some of the job's are allowed": (
        ["never", "always"],
        {"pull_policy": "always", "allowed_pull_policies": ["always"]},
        ("always",),
    ),
    "some of the configured are allowed": (
        [],
        {"pull_policy": ["never", "always"], "allowed_pull_policies": ["always"]},
        ("always",),
    ),
    "the same twice": ([], {"pull_policy": ["always", "always"]}, ("always", "always")),
}


@pytest.mark.parametrize(("asked", "kubernetes", "expected"), PREPARE.values(), ids=PREPARE.keys())
def test_effective_policies_as_TestPrepare_and_TestContainerPullPolicies_have_them(  # noqa: N802 -- upstream's names
    make_request: Any, asked: list[str], kubernetes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """What the job asks for, else what is configured, as far as it is allowed, in that order."""
    request = make_request(job={"image": {"name": "x", "pull_policy": asked}}, kubernetes=kubernetes)
    assert effective_policies("build", request) == expected


CONFLICTS = {
    "allowed config and image pull policies": (
        ["if-not-present"],
        {"pull_policy": "always", "allowed_pull_policies": ["always", "never"]},
        "pull_policy ([IfNotPresent]) defined in GitLab pipeline config "
        "is not one of the allowed_pull_policies ([Always Never])",
    ),
    "allowed config and no pull policy": (
        [],
        {"allowed_pull_policies": ["always"]},
        "pull_policy ([]) defined in Runner config (default) is not one of the allowed_pull_policies ([Always])",
    ),
    "config and image pull policies": (
        ["always"],
        {"pull_policy": "if-not-present"},
        "pull_policy ([Always]) defined in GitLab pipeline config "
        "is not one of the allowed_pull_policies ([IfNotPresent])",
    ),
    "allowed config and config": (
        [],
        {"pull_policy": ["never"], "allowed_pull_policies": ["always", "if-not-present"]},
        "pull_policy ([Never]) defined in Runner config "
        "is not one of the allowed_pull_policies ([Always IfNotPresent])",
    ),
    "a job's policy without any runner's": (
        ["always"],
        {},
        "pull_policy ([Always]) defined in GitLab pipeline config is not one of the allowed_pull_policies ([])",
    ),
}


@pytest.mark.parametrize(("asked", "kubernetes", "words"), CONFLICTS.values(), ids=CONFLICTS.keys())
def test_effective_policies_as_TestConflictingPullPolicies_has_them(  # noqa: N802 -- upstream's name
    make_request: Any, asked: list[str], kubernetes: dict[str, Any], words: str
) -> None:
    """A policy that is not allowed fails the job, which is told where the policy comes from."""
    request = make_request(job={"image": {"name": "x", "pull_policy": asked}}, kubernetes=kubernetes)
    with pytest.raises(JobConfigurationError) as caught:
        effective_policies("build", request)
    assert caught.value.message == f'invalid pull policy for container "build": {words}'


def test_effective_policies_when_the_word_is_none(make_request: Any) -> None:
    """A job's own word for a policy is refused by name."""
    request = make_request(job={"image": {"name": "x", "pull_policy": ["sometimes"]}})
    with pytest.raises(JobConfigurationError, match='container "build": "sometimes" is none of always, if-not-present'):
        effective_policies("build", request)


@pytest.mark.parametrize(
    ("kubernetes", "policies", "expected"),
    [
        ({}, {}, ("", "", "", "")),
        ({"pull_policy": ["always", "never"]}, {}, ("Always", "Always", "Always", "Always")),
        (
            {"pull_policy": "always", "allowed_pull_policies": ["always", "never", "if-not-present"]},
            {"helper": "if-not-present"},
            ("Always", "IfNotPresent", "Always", "Never"),
        ),
    ],
    ids=["the cluster decides", "configured", "chosen for this try; the service's own"],
)
def test_pull_policy_when(
    make_request: Any, kubernetes: dict[str, Any], policies: dict[str, str], expected: tuple[str, ...]
) -> None:
    """All but services follow the build's image; what the fallback chose wins over all."""
    own = ["never"] if "allowed_pull_policies" in kubernetes else []
    services = [{"name": "db", "alias": "db", "pull_policy": own}]
    request = make_request(job={"services": services}, kubernetes=kubernetes, pull_policies=policies)
    names = ("build", "helper", "init-permissions", "db")
    assert tuple(pull_policy(name, request) for name in names) == expected


def test_a_failure_moves_one_container_alone() -> None:
    """Cursors are per container; the last policy's failure is final."""
    first = PullPolicies({"build": ("always", "if-not-present"), "helper": ("always", "always")}, {})
    second = first.after_failure("build")
    assert second is not None
    assert second.current() == {"build": "if-not-present", "helper": "always"}
    assert second.after_failure("build") is None
    third = second.after_failure("helper")
    assert third is not None
    assert third.current() == {"build": "if-not-present", "helper": "always"}
    assert third.after_failure("helper") is None
    assert first.after_failure("a stranger") is None


def test_announcements_name_every_container(make_request: Any) -> None:
    """One line for each container, with Kubernetes' words; nothing configured is an empty list."""
    request = make_request(kubernetes={"pull_policy": ["always", "if-not-present"]})
    assert pull_policies(request, ("build", "helper")).announcements() == (
        "Using effective pull policy of [Always IfNotPresent] for container build",
        "Using effective pull policy of [Always IfNotPresent] for container helper",
    )
    assert pull_policies(make_request(), ("build",)).announcements() == (
        "Using effective pull policy of [] for container build",
    )


def test_the_lines_of_a_fallback_are_the_originals() -> None:
    """A warning for what failed, a notice for what comes next."""
    assert pull_failure_line(image="x:1", container="build", policy="always", message="image pull failed: no") == (
        'Failed to pull image "x:1" for container "build" with policy "Always": image pull failed: no'
    )
    assert next_attempt_line(attempt=2, image="x:1", container="build", policy="if-not-present") == (
        'Attempt #2: Trying "IfNotPresent" pull policy for "x:1" image for container "build"'
    )
