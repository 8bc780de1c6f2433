"""Rules about names, labels, resolver, services and hooks."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes

CASES = [
    Case(
        "metadata-key",
        kubernetes("""
            [runners.kubernetes.pod_labels]
            "my label" = "a"
            "Example.com/b" = "b"
            [runners.kubernetes.pod_annotations]
            "a/b/c" = "x"
            "Example.com/b" = "b"
        """),
        (
            (
                'error kubernetes.pod_labels.my label: "my label" is no key of a label: the API server '
                "refuses such a pod"
            ),
            (
                'error kubernetes.pod_labels.Example.com/b: "Example.com/b" is no key of a label: the API '
                "server refuses such a pod"
            ),
            (
                'error kubernetes.pod_annotations.a/b/c: "a/b/c" is no key of an annotation: the API server'
                " refuses such a pod"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.pod_labels]
            "example.com/team" = "anything at all"
            [runners.kubernetes.pod_annotations]
            "Example.com/b" = "b"
        """),
    ),
    Case(
        "label-reserved",
        kubernetes('[runners.kubernetes.pod_labels]\n"job.runner.gitlab.com/pod" = "x"'),
        (
            (
                "warning kubernetes.pod_labels.job.runner.gitlab.com/pod: labels under runner.gitlab.com "
                "are the runner's own: it finds its pods by them, and leaves this out"
            ),
        ),
        kubernetes('[runners.kubernetes.pod_labels]\n"gitlab.com/pod" = "x"'),
    ),
    Case(
        "object-name",
        kubernetes("""
            namespace = "my.ci"
            service_account = "CI"
            image_pull_secrets = ["a", ""]
        """),
        (
            'error kubernetes.namespace: "my.ci" is no name of a namespace',
            'error kubernetes.service_account: "CI" can be the name of nothing in a cluster',
            'error kubernetes.image_pull_secrets.1: "" can be the name of nothing in a cluster',
        ),
        kubernetes("""
            namespace = "ci-1"
            service_account = "ci.runner"
            image_pull_secrets = ["a.b"]
        """),
    ),
    Case(
        "host-alias",
        kubernetes("""
            [[runners.kubernetes.host_aliases]]
            ip = "300.0.0.1"
            hostnames = ["ok", "not_ok"]
        """),
        (
            ('error kubernetes.host_aliases.0.ip: "300.0.0.1" is no address: the API server refuses such a pod'),
            (
                'error kubernetes.host_aliases.0.hostnames.1: "not_ok" is no host name: the API server '
                "refuses such a pod"
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.host_aliases]]
            ip = "fd00::1"
            hostnames = ["git.example.com"]
        """),
    ),
    Case(
        "dns-policy-without-server",
        kubernetes('dns_policy = "none"'),
        (('error kubernetes.dns_policy: "none" needs a name server in dns_config: the API server refuses such a pod'),),
        kubernetes("""
            dns_policy = "none"
            [runners.kubernetes.dns_config]
            nameservers = ["1.1.1.1"]
        """),
    ),
    Case(
        "dns-config",
        kubernetes("""
            [runners.kubernetes.dns_config]
            nameservers = ["1.1.1.1", "dns", "1.1.1.2", "1.1.1.3"]
            searches = ["Example.com"]
            [[runners.kubernetes.dns_config.options]]
            name = ""
        """),
        (
            ('error kubernetes.dns_config.nameservers.1: "dns" is no address: the API server refuses such a pod'),
            ("error kubernetes.dns_config.nameservers.3: there are more than 3: the API server refuses such a pod"),
            ('error kubernetes.dns_config.searches.0: "Example.com" is no domain: the API server refuses such a pod'),
            "error kubernetes.dns_config.options.0.name: it is empty: the API server refuses such a pod",
        ),
        kubernetes("""
            [runners.kubernetes.dns_config]
            nameservers = ["1.1.1.1"]
            searches = [".", "a_b.example.", "example.com"]
            [[runners.kubernetes.dns_config.options]]
            name = "ndots"
            value = "2"
        """),
    ),
    Case(
        "service-alias-twice",
        kubernetes("""
            [[runners.kubernetes.services]]
            name = "postgres"
            alias = "db"
            [[runners.kubernetes.services]]
            name = "mysql"
            alias = "sql,db"
        """),
        (
            (
                'warning kubernetes.services.1.alias: "db" is an alias of another service too; both are '
                "reached at the pod's own address"
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.services]]
            name = "postgres"
            alias = "db, db"
        """),
    ),
    Case(
        "service-alias",
        kubernetes("""
            [[runners.kubernetes.services]]
            name = "postgres"
            alias = "my_db db"
        """),
        ('error kubernetes.services.0.alias: "my_db" is no host name: every job fails',),
        kubernetes("""
            [[runners.kubernetes.services]]
            name = "postgres"
            alias = "db, db.local"
            [[runners.kubernetes.services]]
            name = "mysql"
            alias = "$ALIAS"
        """),
    ),
    Case(
        "lifecycle-hook",
        kubernetes("""
            [runners.kubernetes.container_lifecycle.post_start.exec]
            command = []
            [runners.kubernetes.container_lifecycle.post_start.tcp_socket]
            port = 80
            [runners.kubernetes.container_lifecycle.pre_stop.exec]
            command = ["sync"]
            [runners.kubernetes.container_lifecycle.pre_stop.tcp_socket]
            port = 0
        """),
        (
            (
                "error kubernetes.container_lifecycle.pre_stop: the hook has exec and tcp_socket: the API "
                "server refuses such a pod"
            ),
            (
                "error kubernetes.container_lifecycle.pre_stop.tcp_socket.port: 0 is no port: the API "
                "server refuses such a pod"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.container_lifecycle.pre_stop.exec]
            command = ["sync"]
        """),
    ),
    Case(
        "lifecycle-hook-of-nothing",
        kubernetes("""
            [runners.kubernetes.container_lifecycle.post_start]
            [runners.kubernetes.container_lifecycle.pre_stop.exec]
            command = []
        """),
        (
            "warning kubernetes.container_lifecycle.post_start: the hook has no action and is left out of every pod",
            "warning kubernetes.container_lifecycle.pre_stop: the hook has no command and is left out of every pod",
        ),
        kubernetes("""
            [runners.kubernetes.container_lifecycle.pre_stop.exec]
            command = ["sync"]
        """),
    ),
    Case(
        "lifecycle-hook",
        kubernetes("""
            [runners.kubernetes.container_lifecycle.post_start.http_get]
            port = 80
            scheme = "ftp"
            http_headers = [{ name = "a b", value = "c" }]
        """),
        (
            (
                'error kubernetes.container_lifecycle.post_start.http_get.scheme: "ftp" is no scheme: the '
                "API server refuses such a pod"
            ),
            (
                'error kubernetes.container_lifecycle.post_start.http_get.http_headers.0.name: "a b" is no '
                "name of a header: the API server refuses such a pod"
            ),
        ),
        kubernetes("""
            [runners.kubernetes.container_lifecycle.post_start.http_get]
            port = 80
            scheme = "HTTPS"
            http_headers = [{ name = "X-A", value = "c" }]
        """),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
