"""What the loader tells, as a check tells it."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes, runner, top

CASES = [
    Case(
        "invalid-value",
        kubernetes('cpu_limit = "1 core"'),
        (
            (
                "error kubernetes.cpu_limit: Input should be a Kubernetes quantity such as 500m, 1.5 or "
                '256Mi (got "1 core")'
            ),
        ),
        kubernetes('cpu_limit = "1"'),
    ),
    Case(
        "former-key",
        kubernetes('cpus = "1"'),
        ("warning kubernetes.cpus: the key is a former name",),
        kubernetes('cpu_limit = "1"'),
    ),
    Case(
        "unknown-key",
        kubernetes('cpu_limt = "1"\nwhat_is_this = 1'),
        (
            "warning kubernetes.cpu_limt: the key is unknown and ignored",
            "warning kubernetes.what_is_this: the key is unknown and ignored",
        ),
        kubernetes('cpu_limit = "1"'),
    ),
    Case(
        "unknown-key",
        runner('cpu_limit = "1"', top="poll_timeout = 3"),
        (
            "warning poll_timeout: the key is unknown and ignored",
            "warning cpu_limit: the key is unknown and ignored",
        ),
        kubernetes('cpu_limit = "1"'),
    ),
    Case(
        "key-set-twice",
        kubernetes('cpus = "1"\ncpu_limit = "2"'),
        ("warning kubernetes.cpus: the key is ignored, for cpu_limit is set already",),
        kubernetes('cpu_limit = "2"'),
    ),
    Case(
        "key-not-acted-on",
        top('sentry_dsn = "https://s3cret@example.com"'),
        ("warning sentry_dsn: this version does not act on the key",),
        top('sentry_dsn = ""'),
    ),
    Case(
        "other-executor",
        runner('executor = "docker"'),
        (
            (
                'warning executor: there is no executor "docker" here; the runner is left out (this service'
                ' has executor = "kubernetes")'
            ),
        ),
        runner(),
    ),
    Case(
        "no-runner-left",
        runner('executor = "docker"'),
        ("warning runners: none of the runners is for this service: it starts, and takes no jobs until one is added",),
        runner('executor = "docker"') + runner().partition("\n")[2],
    ),
    Case(
        "blank-token",
        runner('token = ""') + runner().partition("\n")[2],
        ("error token: the token is empty, or the environment has no value for it; the runner is left out",),
        runner(),
    ),
    Case(
        "table-of-another-executor",
        runner('[runners.docker]\nimage = "ruby"'),
        ("warning docker: the table is of an executor that is not here: not supported",),
        runner("[runners.docker]"),
    ),
    Case(
        "url-without-scheme",
        runner('url = "gitlab.example.com"'),
        ("warning url: the URL has no scheme; https:// is taken",),
        runner(),
    ),
    Case(
        "url-of-former-times",
        runner('url = "https://gitlab.example.com/ci"'),
        ("warning url: the /ci at the end of the URL is of former times and is dropped",),
        runner(),
    ),
    Case(
        "unknown-feature-flag",
        runner("feature_flags = { FF_TIMESTAMP = true, FF_X = true }"),
        (
            "warning feature_flags.FF_TIMESTAMP: the feature flag is unknown and ignored",
            "warning feature_flags.FF_X: the feature flag is unknown and ignored",
        ),
        runner("feature_flags = { FF_TIMESTAMPS = true }"),
    ),
    Case(
        "shell-unknown",
        runner('shell = "fish"'),
        ('error shell: this is not bash, sh, pwsh or powershell: jobs fail (got "fish")',),
        runner('shell = "sh"'),
    ),
    Case(
        "log-level-unknown",
        top('log_level = "loud"'),
        (
            (
                "warning log_level: this is not debug, info, warn, warning, error, fatal or panic: info is "
                'taken (got "loud")'
            ),
        ),
        top('log_level = "debug"'),
    ),
    Case(
        "log-format-unknown",
        top('log_format = "xml"'),
        ('warning log_format: this is not runner, text or json: runner is taken (got "xml")',),
        top('log_format = "json"'),
    ),
    Case(
        "entry-not-variable",
        runner('environment = ["s3cret"]'),
        ("warning environment.0: the entry is left out, for it is not KEY=value",),
        runner('environment = ["A="]'),
    ),
    Case(
        "guard-not-re2",
        kubernetes('pod_labels_overwrite_allowed = "(?=a)"'),
        (
            (
                "error kubernetes.pod_labels_overwrite_allowed: this is no regular expression of RE2 "
                '(invalid perl operator: (?=): jobs that set the variable fail (got "(?=a)")'
            ),
        ),
        kubernetes('pod_labels_overwrite_allowed = "(?:a)"'),
    ),
    Case(
        "guard-no-amount",
        kubernetes('cpu_limit_overwrite_max_allowed = "two"'),
        (
            (
                "error kubernetes.cpu_limit_overwrite_max_allowed: this is not a Kubernetes quantity such "
                'as 500m, 1.5 or 256Mi: jobs that set the variable fail (got "two")'
            ),
        ),
        kubernetes('cpu_limit_overwrite_max_allowed = "2"'),
    ),
    Case(
        "dns-policy",
        kubernetes('dns_policy = "ClusterFirst"'),
        (
            (
                "warning kubernetes.dns_policy: this is not none, default, cluster-first or cluster-first-"
                'with-host-net: it is left out (got "ClusterFirst")'
            ),
        ),
        kubernetes('dns_policy = "cluster-first"'),
    ),
    Case(
        "mount-propagation",
        kubernetes("""
            [[runners.kubernetes.volumes.host_path]]
            name = "a"
            mount_path = "/a"
            mount_propagation = "Shared"
        """),
        (
            (
                "error kubernetes.volumes.host_path.0.mount_propagation: this is not None, HostToContainer "
                'or Bidirectional: the API server refuses the pod (got "Shared")'
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.host_path]]
            name = "a"
            mount_path = "/a"
            mount_propagation = "HostToContainer"
        """),
    ),
    Case(
        "empty-dir",
        kubernetes("""
            [[runners.kubernetes.volumes.empty_dir]]
            name = "a"
            mount_path = "/a"
            size_limit = "big"
        """),
        (
            (
                "warning kubernetes.volumes.empty_dir.0.size_limit: this is not a Kubernetes quantity such "
                'as 500m, 1.5 or 256Mi, and is left out (got "big")'
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.empty_dir]]
            name = "a"
            mount_path = "/a"
            size_limit = "1Gi"
        """),
    ),
    Case(
        "proc-mount",
        kubernetes("""
            [runners.kubernetes.build_container_security_context]
            proc_mount = "Masked"
        """),
        (
            (
                "warning kubernetes.build_container_security_context.proc_mount: this is neither Default "
                'nor Unmasked, and is left out (got "Masked")'
            ),
        ),
        kubernetes("""
            [runners.kubernetes.build_container_security_context]
            proc_mount = "default"
        """),
    ),
    Case(
        "profile-not-sent",
        kubernetes("""
            [runners.kubernetes.build_container_security_context.seccomp_profile]
            type = "Strict"
        """),
        (
            (
                "error kubernetes.build_container_security_context.seccomp_profile: no profile is sent, for"
                " its type is none of RuntimeDefault, Unconfined, Localhost"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.build_container_security_context.seccomp_profile]
            type = "RuntimeDefault"
        """),
    ),
    Case(
        "allowed-ids",
        kubernetes('allowed_users = ["root"]'),
        ('warning kubernetes.allowed_users.0: this is no number, and is left out (got "root")',),
        kubernetes('allowed_users = ["0"]'),
    ),
    Case(
        "patch-type",
        kubernetes("""
            [[runners.kubernetes.pod_spec]]
            patch = 'a: 1'
            patch_type = 'yaml'
        """),
        (('error kubernetes.pod_spec.0.patch_type: this is not strategic, merge or json: jobs fail (got "yaml")'),),
        kubernetes("[[runners.kubernetes.pod_spec]]\npatch = 'a: 1'"),
    ),
    Case(
        "patch-source",
        kubernetes("""
            [[runners.kubernetes.pod_spec]]
            patch = 'a: 1'
            patch_path = '/a'
        """),
        ("error kubernetes.pod_spec.0: patch and patch_path are both set: jobs fail",),
        kubernetes("[[runners.kubernetes.pod_spec]]\npatch_path = '/a'"),
    ),
    Case(
        "too-many-labels",
        runner("labels = { " + ", ".join(f'key{n} = "a"' for n in range(33)) + " }"),
        ("error labels: A runner should have at most 32 labels, the global ones included",),
        runner('labels = { key = "a" }'),
    ),
    Case(
        "toml-syntax",
        top("concurrent = "),
        ("error : Invalid value\nconcurrent =\n            ^",),
        top("concurrent = 10"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
