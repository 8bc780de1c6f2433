"""Values that load and do not work, told when the file is read."""

import pytest

from runner.config.base import Table
from runner.config.doubts import doubts
from runner.config.load import parse_config
from runner.config.model import Config, RunnerConfig
from runner.config.security import SecurityProfile

RUNNER = """\
[[runners]]
  url = "https://gitlab.example.com"
  token = "glrt-s3cret"
  executor = "kubernetes"
"""


def warnings(line: str) -> list[str]:
    """What is told of a runner with this line, which is the fifth."""
    return [str(finding).removeprefix("config.toml:5: runners.0.") for finding in parse_config(RUNNER + line)[1]]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            'kubernetes.namespace_overwrite_allowed = "ci-("',
            "kubernetes.namespace_overwrite_allowed: this is no regular expression of RE2 (missing ): ci-(): "
            'jobs that set the variable fail (got "ci-(")',
        ),
        (
            'kubernetes.pod_labels_overwrite_allowed = "(?=a)"',
            "kubernetes.pod_labels_overwrite_allowed: this is no regular expression of RE2 "
            '(invalid perl operator: (?=): jobs that set the variable fail (got "(?=a)")',
        ),
        (
            'kubernetes.cpu_limit_overwrite_max_allowed = "a lot"',
            "kubernetes.cpu_limit_overwrite_max_allowed: this is not a Kubernetes quantity such as 500m, 1.5 or 256Mi: "
            'jobs that set the variable fail (got "a lot")',
        ),
        (
            'kubernetes.dns_policy = "ClusterFirst"',
            "kubernetes.dns_policy: this is not none, default, cluster-first or cluster-first-with-host-net: "
            'it is left out (got "ClusterFirst")',
        ),
        (
            'kubernetes.pod_security_context.seccomp_profile.type = "runtimedefault"',
            "kubernetes.pod_security_context.seccomp_profile: no profile is sent, for its type is none of "
            "RuntimeDefault, Unconfined, Localhost",
        ),
        (
            'kubernetes.build_container_security_context.app_armor_profile.type = "Localhost"',
            "kubernetes.build_container_security_context.app_armor_profile: no profile is sent, for Localhost needs "
            "localhost_profile",
        ),
        (
            'kubernetes.helper_container_security_context.proc_mount = "Masked"',
            "kubernetes.helper_container_security_context.proc_mount: this is neither Default nor Unmasked, "
            'and is left out (got "Masked")',
        ),
        (
            'kubernetes.allowed_users = ["1000", "root"]',
            'kubernetes.allowed_users.1: this is no number, and is left out (got "root")',
        ),
        (
            'kubernetes.services = [{ name = "a", environment = ["A=1", "s3cret"] }]',
            "kubernetes.services.0.environment.1: the entry is left out, for it is not KEY=value",
        ),
        ('environment = ["=s3cret"]', "environment.0: the entry is left out, for it is not KEY=value"),
        (
            'kubernetes.volumes.pvc = [{ name = "n", mount_path = "/m", mount_propagation = "Both" }]',
            "kubernetes.volumes.pvc.0.mount_propagation: this is not None, HostToContainer or Bidirectional: "
            'the API server refuses the pod (got "Both")',
        ),
        (
            'kubernetes.volumes.empty_dir = [{ name = "n", mount_path = "/m", size_limit = "1 GB" }]',
            "kubernetes.volumes.empty_dir.0.size_limit: this is not a Kubernetes quantity such as 500m, 1.5 or 256Mi, "
            'and is left out (got "1 GB")',
        ),
        (
            'kubernetes.pod_spec = [{ patch = "{}", patch_type = "yaml" }]',
            'kubernetes.pod_spec.0.patch_type: this is not strategic, merge or json: jobs fail (got "yaml")',
        ),
        (
            'kubernetes.pod_spec = [{ patch = "{}", patch_path = "/p" }]',
            "kubernetes.pod_spec.0: patch and patch_path are both set: jobs fail; take one away",
        ),
        ('shell = "cmd"', 'shell: this is not bash, sh, pwsh or powershell: jobs fail (got "cmd")'),
    ],
    ids=lambda value: value.partition(" =")[0] if " = " in value else "",
)
def test_value_that_will_not_work_is_a_warning_with_line_and_sentence(line: str, told: str) -> None:
    """The file is used, for jobs may never meet the value; a secret is not shown."""
    assert warnings(line) == [told]


@pytest.mark.parametrize(
    "line",
    [
        'kubernetes.namespace_overwrite_allowed = ""',
        r"kubernetes.namespace_overwrite_allowed = '^ci-[a-z]+\z'",
        'kubernetes.cpu_limit_overwrite_max_allowed = ""',
        'kubernetes.dns_policy = "cluster-first"',
        'kubernetes.build_container_security_context.proc_mount = " unmasked "',
        'kubernetes.pod_security_context.seccomp_profile = { type = "Localhost", localhost_profile = "p.json" }',
        'kubernetes.allowed_groups = ["0", "1000"]',
        'kubernetes.volumes.empty_dir = [{ name = "n", mount_path = "/m", size_limit = " " }]',
        'kubernetes.volumes.empty_dir = [{ name = "n", mount_path = "/m", size_limit = "1Gi" }]',
        'kubernetes.pod_spec = [{ patch_path = "/p", patch_type = "" }]',
        'environment = ["A=", "B==", "C=a=b"]',
        'shell = ""',
    ],
)
def test_value_that_works_is_not_told(line: str) -> None:
    """Empty values ask for nothing, and what is forgiven later is forgiven here."""
    assert warnings(line) == []


def test_doubts_of_the_process_are_at_their_lines() -> None:
    """What the log cannot be is told, and what is taken instead."""
    findings = parse_config('log_level = "loud"\nlog_format = "xml"\n')[1]
    assert [str(finding) for finding in findings] == [
        "config.toml:1: log_level: this is not debug, info, warn, warning, error, fatal or panic: info is taken "
        '(got "loud")',
        'config.toml:2: log_format: this is not runner, text or json: runner is taken (got "xml")',
    ]


def test_doubts_of_a_runner_keep_their_place_when_another_is_left_out() -> None:
    """Indexes are those of the file."""
    text = "[[runners]]\n  executor = 'docker'\n" + RUNNER + '  kubernetes.dns_policy = "x"\n'
    assert [(finding.line, finding.path, finding.rule) for finding in parse_config(text)[1]] == [
        (2, "runners.0.executor", "other-executor"),
        (7, "runners.1.kubernetes.dns_policy", "dns-policy"),
    ]


def test_former_name_is_where_its_doubt_is() -> None:
    """Whoever reads the finding looks for what the file says."""
    text = 'metrics_server = ":9100"\n' + RUNNER + '  Shell = "csh"\n'
    assert [finding.path for finding in parse_config(text)[1]] == ["metrics_server", "runners.0.Shell"]


def test_every_table_within_is_looked_at() -> None:
    """Tables in tables and in arrays are reached by the path of their fields."""
    config = Config(runners=(RunnerConfig(url="https://x", token="t", environment=("A",)),))
    assert [path for path, _, _ in doubts(config)] == [("runners", 0, "environment", 0)]


def test_nothing_is_doubted_in_defaults() -> None:
    """An empty file is a good one, and so is a runner that says what it must."""
    tables: list[Table] = [Config(), RunnerConfig(url="https://x", token="t"), SecurityProfile()]
    assert [found for table in tables for found in doubts(table)] == []
