"""Rules about patches of the pod."""

from __future__ import annotations

import pytest

from runner.config.checks.rules import Surroundings
from tests.config.check_cases import Case, check, kubernetes, runner

PATCH = "[[runners.kubernetes.pod_spec]]\n"


def read(name: str) -> str:
    """The text of a file of a small world."""
    return {"/a.yaml": "a: [", "/b.yaml": "a: 1"}[name]


FILES = Surroundings(read_text=read)

CASES = [
    Case(
        "patch-without-flag",
        kubernetes(PATCH + "patch = 'a: 1'"),
        (
            (
                "warning kubernetes.pod_spec: patches count only with "
                "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION, which is off for every job that does not set it"
            ),
        ),
        runner("feature_flags = { FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true }", PATCH + "patch = 'a: 1'"),
    ),
    Case(
        "patch-without-flag",
        runner("feature_flags = { FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = false }", PATCH + "patch = 'a: 1'"),
        (
            (
                "warning kubernetes.pod_spec: patches count only with "
                "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION, which is off for every job that does not set it"
            ),
        ),
        runner('environment = ["FF_USE_ADVANCED_POD_SPEC_CONFIGURATION=1"]', PATCH + "patch = 'a: 1'"),
    ),
    Case(
        "patch-empty",
        kubernetes(PATCH + 'name = "a"'),
        ("warning kubernetes.pod_spec.0: it has neither patch nor patch_path and changes nothing",),
        kubernetes(PATCH + "patch_path = '/a.yaml'"),
    ),
    Case(
        "patch-text",
        kubernetes(PATCH + "patch = 'a: [s3cret'"),
        ("error kubernetes.pod_spec.0.patch: the patch is no YAML at its line 1: every job fails",),
        kubernetes(PATCH + "patch = 'a: [1]'"),
    ),
    Case(
        "patch-text",
        kubernetes(PATCH + "patch = '- a'"),
        (("error kubernetes.pod_spec.0.patch: a strategic patch is a table, and this is none: every job fails"),),
        kubernetes(PATCH + "patch = 'hostNetwork: false'\npatch_type = 'merge'"),
    ),
    Case(
        "patch-text",
        kubernetes(PATCH + "patch = '# nothing'"),
        ("error kubernetes.pod_spec.0.patch: the patch is empty and changes nothing",),
        kubernetes(PATCH + "patch = '{}'"),
    ),
    Case(
        "patch-text",
        kubernetes(PATCH + "patch = 'a: 1'\npatch_type = 'json'"),
        (
            (
                "error kubernetes.pod_spec.0.patch: a json patch is a list of operations, and this is none:"
                " every job fails"
            ),
        ),
        kubernetes(PATCH + "patch = '[]'\npatch_type = 'json'"),
    ),
    Case(
        "patch-text",
        kubernetes(PATCH + "patch = '[{op: put, path: /a}]'\npatch_type = 'json'"),
        ("error kubernetes.pod_spec.0.patch: operation 1 is none: every job fails",),
        kubernetes(PATCH + "patch = '[{op: add, path: /a, value: 1}]'\npatch_type = 'json'"),
    ),
    Case(
        "patch-text",
        kubernetes(PATCH + "patch = 'containers: [{name: build}]'\npatch_type = 'merge'"),
        (
            (
                "error kubernetes.pod_spec.0.patch: a merge patch replaces the whole list of containers, "
                "helper and services too"
            ),
        ),
        kubernetes(PATCH + "patch = 'containers: [{name: build}]'"),
    ),
    Case(
        "patch-text",
        kubernetes(PATCH + "patch_path = '/a.yaml'"),
        ("error kubernetes.pod_spec.0.patch_path: the patch is no YAML at its line 1: every job fails",),
        kubernetes(PATCH + "patch_path = '/b.yaml'"),
        surroundings=FILES,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
