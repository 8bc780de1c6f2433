"""Rules about images and how they are pulled."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes

CASES = [
    Case(
        "image-missing",
        kubernetes('image = ""'),
        ("note kubernetes.image: no image is set: a job that names none fails",),
        kubernetes('image = "alpine"'),
    ),
    Case(
        "image-not-a-reference",
        kubernetes("""
            image = "Alpine"
            helper_image = "a b"
            [[runners.kubernetes.services]]
            name = "https://a/b"
        """),
        (
            'error kubernetes.image: "Alpine" has capitals: no such image can be pulled',
            'error kubernetes.helper_image: "a b" has a blank in it: no such image can be pulled',
            'error kubernetes.services.0.name: "https://a/b" is an address, not an image',
        ),
        kubernetes("""
            image = "Registry.example:5000/a/b:Tag"
            helper_image = "$CI_REGISTRY/Helper"
        """),
    ),
    Case(
        "service-without-image",
        kubernetes('[[runners.kubernetes.services]]\nalias = "db"'),
        ("warning kubernetes.services.0.name: the service has no image and is left out of every job",),
        kubernetes("""
            [[runners.kubernetes.services]]
            name = "postgres:16"
            alias = "db"
        """),
    ),
    Case(
        "pull-policy-not-allowed",
        kubernetes("""
            pull_policy = ["always", "never"]
            allowed_pull_policies = ["always"]
        """),
        ('warning kubernetes.pull_policy: "never" is left out, for it is not among allowed_pull_policies',),
        kubernetes("""
            pull_policy = ["always"]
            allowed_pull_policies = ["always", "never"]
        """),
    ),
    Case(
        "no-pull-policy-left",
        kubernetes('pull_policy = "never"\nallowed_pull_policies = ["always"]'),
        (
            (
                "error kubernetes.pull_policy: none of it is among allowed_pull_policies: every job fails "
                "that does not choose another one"
            ),
        ),
        kubernetes("""
            pull_policy = ["never", "always"]
            allowed_pull_policies = ["always"]
        """),
    ),
    Case(
        "no-pull-policy-left",
        kubernetes('allowed_pull_policies = ["always", "never"]'),
        (
            (
                "error kubernetes.allowed_pull_policies: there is no pull_policy beside it: every job fails"
                " that does not choose one of these"
            ),
        ),
        kubernetes('pull_policy = "always"'),
    ),
    Case(
        "image-reuse",
        kubernetes('pull_policy = ["if-not-present", "always"]'),
        (
            (
                'note kubernetes.pull_policy: with "if-not-present" a job can use any image that is on its '
                "node, private ones of others too"
            ),
        ),
        kubernetes('pull_policy = ["always", "if-not-present"]'),
    ),
    Case(
        "pull-secrets-unused",
        kubernetes("""
            image_pull_secrets = ["a"]
            use_service_account_image_pull_secrets = true
        """),
        (
            (
                "warning kubernetes.image_pull_secrets: use_service_account_image_pull_secrets is set, so "
                "no registry secret is named in the pod"
            ),
        ),
        kubernetes('image_pull_secrets = ["a"]'),
    ),
    Case(
        "allowed-no-glob",
        kubernetes('allowed_images = ["ruby:*", "node:{18,20"]\nallowed_services = ["[z-a]"]'),
        (
            (
                'error kubernetes.allowed_images.1: "node:{18,20" is no glob, for a brace is never closed: it '
                "allows no image"
            ),
            (
                'error kubernetes.allowed_services.0: "[z-a]" is no glob, for a set of characters in brackets is '
                "empty or runs backwards: it allows no image"
            ),
        ),
        kubernetes('allowed_images = ["registry.example.com/**", "node:{18,20}", "ruby:[23].*"]'),
    ),
    Case(
        "helper-choice-unused",
        kubernetes('helper_image = "a"\nhelper_image_flavor = "ubuntu"'),
        ("warning kubernetes.helper_image_flavor: helper_image is set, so the key does nothing",),
        kubernetes('helper_image_flavor = "ubuntu"'),
    ),
    Case(
        "privileged-for-any-image",
        kubernetes('privileged = true\nallowed_services = ["**"]'),
        (
            (
                "warning kubernetes.privileged: builds run privileged and allowed_images is empty: any job "
                "can take over its node with an image of its own"
            ),
            (
                "warning kubernetes.allowed_services: services run privileged and allowed_services allows "
                "everything: any job can take over its node with an image of its own"
            ),
        ),
        kubernetes("""
            privileged = true
            allowed_images = ["a:*"]
            allowed_services = ["docker:*-dind"]
        """),
    ),
    Case(
        "privileged-for-any-image",
        kubernetes('allow_privileged = true\nallowed_services = ["docker:*-dind"]'),
        (
            (
                "warning kubernetes.allow_privileged: builds may run privileged and allowed_images is "
                "empty: any job can take over its node with an image of its own"
            ),
        ),
        kubernetes("allow_privileged = false"),
    ),
    Case(
        "privileged-for-any-image",
        kubernetes("""
            [runners.kubernetes.build_container_security_context]
            privileged = true
        """),
        (
            (
                "warning kubernetes.build_container_security_context.privileged: builds run privileged and "
                "allowed_images is empty: any job can take over its node with an image of its own"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.helper_container_security_context]
            privileged = true
        """),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
