"""Rules about volumes and directories."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, kubernetes, runner

CASES = [
    Case(
        "mount-path-twice",
        kubernetes("""
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/a"
            [[runners.kubernetes.volumes.secret]]
            name = "b"
            mount_path = "/a"
        """),
        (
            (
                'error kubernetes.volumes.pvc.0.mount_path: "/a" is where the volume "b" is mounted: the '
                "API server refuses such a pod"
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/a"
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/b"
        """),
    ),
    Case(
        "mount-path-form",
        kubernetes("""
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "a"
            [[runners.kubernetes.volumes.pvc]]
            name = "b"
            mount_path = "/a:/b"
            [[runners.kubernetes.volumes.pvc]]
            name = "c"
            mount_path = ""
        """),
        (
            (
                'error kubernetes.volumes.pvc.0.mount_path: "a" is relative, and what to is the container '
                "engine's choice"
            ),
            'error kubernetes.volumes.pvc.1.mount_path: "/a:/b" has a colon in it',
            "error kubernetes.volumes.pvc.2.mount_path: the path to mount at is empty",
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "$CI_PROJECT_DIR/a"
            [[runners.kubernetes.volumes.pvc]]
            name = "b"
            mount_path = "C:/b"
        """),
    ),
    Case(
        "mount-below-ours",
        kubernetes("""
            scripts_base_dir = "/data/scripts"
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/builds/cache"
            [[runners.kubernetes.volumes.pvc]]
            name = "b"
            mount_path = "/data"
        """),
        (
            (
                'warning kubernetes.volumes.pvc.0.mount_path: "/builds/cache" lies in builds_dir, '
                '"/builds": it may be in the way of a project, and git clean empties it'
            ),
            (
                "warning kubernetes.volumes.pvc.1.mount_path: the volume is mounted at or above "
                'scripts_base_dir, "/data/scripts": the runner\'s own directories in it would belong to root'
            ),
        ),
        kubernetes("""
            scripts_base_dir = "/data"
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/builds"
            [[runners.kubernetes.volumes.pvc]]
            name = "b"
            mount_path = "/data/other"
        """),
    ),
    Case(
        "directory-form",
        runner('builds_dir = "builds"', 'logs_base_dir = "logs"'),
        (
            'error builds_dir: "builds" is relative: jobs cannot start there',
            'error kubernetes.logs_base_dir: "logs" is relative: jobs cannot start there',
        ),
        runner('builds_dir = "/b"'),
    ),
    Case(
        "volume-name",
        kubernetes("""
            [[runners.kubernetes.volumes.host_path]]
            name = "My_Volume"
            mount_path = "/a"
            read_only = true
            [[runners.kubernetes.volumes.empty_dir]]
            name = "repo"
            mount_path = "/b"
        """),
        (
            (
                'error kubernetes.volumes.host_path.0.name: "My_Volume" is no name of a volume: the API '
                "server refuses such a pod"
            ),
            ('error kubernetes.volumes.empty_dir.0.name: "repo" is the name of a volume that every job\'s pod has'),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.pvc]]
            name = "claim-$CI_CONCURRENT_ID"
            mount_path = "/a"
        """),
    ),
    Case(
        "volume-name-twice",
        kubernetes("""
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/a"
            [[runners.kubernetes.volumes.secret]]
            name = "a"
            mount_path = "/b"
            [[runners.kubernetes.volumes.host_path]]
            name = "h"
            mount_path = "/c"
            [[runners.kubernetes.volumes.host_path]]
            name = "h"
            mount_path = "/d"
        """),
        (
            (
                'error kubernetes.volumes.pvc.0.name: another volume is called "a" too: the API server '
                "refuses such a pod"
            ),
            (
                'error kubernetes.volumes.host_path.1.name: another volume is called "h" too: the API '
                "server refuses such a pod"
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/a"
            [[runners.kubernetes.volumes.pvc]]
            name = "a"
            mount_path = "/b"
            sub_path = "b"
            read_only = true
        """),
    ),
    Case(
        "mount-propagation-unprivileged",
        kubernetes("""
            [[runners.kubernetes.volumes.host_path]]
            name = "a"
            mount_path = "/a"
            mount_propagation = "Bidirectional"
        """),
        (
            (
                "error kubernetes.volumes.host_path.0.mount_propagation: Bidirectional is for privileged "
                "containers alone, and every container mounts the volume: the API server refuses such a pod"
            ),
        ),
        kubernetes("""
            privileged = true
            [[runners.kubernetes.volumes.host_path]]
            name = "a"
            mount_path = "/a"
            mount_propagation = "Bidirectional"
        """),
    ),
    Case(
        "path-leads-out",
        kubernetes("""
            [[runners.kubernetes.volumes.secret]]
            name = "a"
            mount_path = "/a"
            sub_path = "../b"
            [runners.kubernetes.volumes.secret.items]
            key = "/etc/key"
            empty = ""
        """),
        (
            (
                'error kubernetes.volumes.secret.0.sub_path: "../b" is no path below the volume: the API '
                "server refuses such a pod"
            ),
            (
                'error kubernetes.volumes.secret.0.items.key: "/etc/key" is no path below the volume: the '
                "API server refuses such a pod"
            ),
            (
                'error kubernetes.volumes.secret.0.items.empty: "" is no path below the volume: the API '
                "server refuses such a pod"
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.secret]]
            name = "a"
            mount_path = "/a"
            sub_path = "$CI_JOB_ID"
            [runners.kubernetes.volumes.secret.items]
            key = "etc/key"
        """),
    ),
    Case(
        "host-path-of-the-node",
        kubernetes("""
            [[runners.kubernetes.volumes.host_path]]
            name = "a"
            mount_path = "/var/run/docker.sock"
            [[runners.kubernetes.volumes.host_path]]
            name = "b"
            mount_path = "/etc-of-node"
            host_path = "/etc/"
        """),
        (
            (
                'warning kubernetes.volumes.host_path.0.mount_path: "/var/run/docker.sock" is the node\'s '
                "container engine: every job can take over the node"
            ),
            (
                'warning kubernetes.volumes.host_path.1.host_path: "/etc/" belongs to the node\'s system, '
                "and every job may write to it"
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.host_path]]
            name = "b"
            mount_path = "/certs"
            host_path = "/etc/ssl/certs"
            read_only = true
            [[runners.kubernetes.volumes.host_path]]
            name = "c"
            mount_path = "/scratch"
        """),
    ),
    Case(
        "host-path-form",
        kubernetes("""
            [[runners.kubernetes.volumes.host_path]]
            name = "b"
            mount_path = "/a"
            host_path = "/srv/../data"
        """),
        (
            (
                'error kubernetes.volumes.host_path.0.host_path: "/srv/../data" has .. in it: the API '
                "server refuses such a pod"
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.host_path]]
            name = "b"
            mount_path = "/a"
            host_path = "/srv/..data"
        """),
    ),
    Case(
        "empty-dir-form",
        kubernetes("""
            [[runners.kubernetes.volumes.empty_dir]]
            name = "a"
            mount_path = "/a"
            medium = "memory"
            size_limit = "-1Gi"
        """),
        (
            'error kubernetes.volumes.empty_dir.0.medium: "memory" is no medium: the pod does not start',
            (
                'error kubernetes.volumes.empty_dir.0.size_limit: "-1Gi" is less than nothing: the API '
                "server refuses such a pod"
            ),
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.empty_dir]]
            name = "a"
            mount_path = "/a"
            medium = "Memory"
            size_limit = "1Gi"
        """),
    ),
    Case(
        "memory-volume-without-limit",
        kubernetes("""
            memory_limit = ""
            [[runners.kubernetes.volumes.empty_dir]]
            name = "a"
            mount_path = "/a"
            medium = "Memory"
        """),
        (
            (
                "warning kubernetes.volumes.empty_dir.0.size_limit: the volume is in memory and has no "
                "size: a job can fill its node's memory with files"
            ),
        ),
        kubernetes("""
            memory_limit = ""
            [[runners.kubernetes.volumes.empty_dir]]
            name = "a"
            mount_path = "/a"
            medium = "Memory"
            size_limit = "1Gi"
        """),
    ),
    Case(
        "volume-driver",
        kubernetes("""
            [[runners.kubernetes.volumes.csi]]
            name = "a"
            mount_path = "/a"
            [[runners.kubernetes.volumes.nfs]]
            name = "b"
            mount_path = "/b"
            server = "nfs"
            path = "export"
        """),
        (
            ('error kubernetes.volumes.csi.0.driver: "" is no storage driver: the API server refuses such a pod'),
            'error kubernetes.volumes.nfs.0.path: "export" is relative: the API server refuses such a pod',
        ),
        kubernetes("""
            [[runners.kubernetes.volumes.csi]]
            name = "a"
            mount_path = "/a"
            driver = "secrets-store.csi.k8s.io"
            [[runners.kubernetes.volumes.nfs]]
            name = "b"
            mount_path = "/b"
            server = "nfs"
            path = "/export"
        """),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
