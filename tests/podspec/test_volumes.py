"""Volumes and mounts: every kind literally, and who mounts what."""

from typing import Any

import pytest

from runner.config.model import RunnerConfig
from runner.job.variables import Variable, Variables
from runner.podspec.containers import build_containers
from runner.podspec.volumes import build_mounts, build_service_mounts, build_volumes, shares_builds_dir

OURS = [
    {"name": "repo", "emptyDir": {}},
    {"name": "scripts", "emptyDir": {}},
    {"name": "logs", "emptyDir": {}},
]


@pytest.mark.parametrize(
    ("kind", "entry", "volume", "mount"),
    [
        pytest.param(
            "host_path",
            {"name": "sock", "mount_path": "/var/run/docker.sock"},
            {"name": "sock", "hostPath": {"path": "/var/run/docker.sock"}},
            {"name": "sock", "mountPath": "/var/run/docker.sock"},
            id="host path at the same place",
        ),
        pytest.param(
            "host_path",
            {
                "name": "h",
                "mount_path": "/in/$TEAM",
                "host_path": "/out/$TEAM",
                "read_only": True,
                "mount_propagation": "HostToContainer",
                "sub_path": "$TEAM/x",
            },
            {"name": "h", "hostPath": {"path": "/out/$TEAM"}},
            {
                "name": "h",
                "mountPath": "/in/checkout",
                "subPath": "checkout/x",
                "readOnly": True,
                "mountPropagation": "HostToContainer",
            },
            id="host path, only mounts are expanded",
        ),
        pytest.param(
            "pvc",
            {"name": "cache-$TEAM", "mount_path": "/cache", "read_only": True},
            {"name": "cache-checkout", "persistentVolumeClaim": {"claimName": "cache-checkout"}},
            {"name": "cache-checkout", "mountPath": "/cache", "readOnly": True},
            id="claim, its name is expanded",
        ),
        pytest.param(
            "config_map",
            {"name": "cm", "mount_path": "/cm", "items": {"a": "b/c"}},
            {"name": "cm", "configMap": {"name": "cm", "items": [{"key": "a", "path": "b/c"}]}},
            {"name": "cm", "mountPath": "/cm"},
            id="config map",
        ),
        pytest.param(
            "secret",
            {"name": "s-$TEAM", "mount_path": "/s"},
            {"name": "s-$TEAM", "secret": {"secretName": "s-$TEAM"}},
            {"name": "s-$TEAM", "mountPath": "/s"},
            id="secret, its name is not expanded",
        ),
        pytest.param(
            "empty_dir",
            {"name": "e", "mount_path": "/e", "medium": "Memory", "size_limit": " 1Gi "},
            {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"name": "e", "mountPath": "/e"},
            id="empty dir",
        ),
        pytest.param(
            "empty_dir",
            {"name": "e", "mount_path": "/e", "size_limit": "big"},
            {"name": "e", "emptyDir": {}},
            {"name": "e", "mountPath": "/e"},
            id="empty dir with a wrong size",
        ),
        pytest.param(
            "csi",
            {"name": "c", "mount_path": "/c", "driver": "d.example.com", "volume_attributes": {"k": "v"}},
            {
                "name": "c",
                "csi": {"driver": "d.example.com", "fsType": "", "readOnly": False, "volumeAttributes": {"k": "v"}},
            },
            {"name": "c", "mountPath": "/c"},
            id="csi",
        ),
        pytest.param(
            "nfs",
            {"name": "n", "mount_path": "/n", "server": "nas", "path": "/export", "read_only": True},
            {"name": "n", "nfs": {"server": "nas", "path": "/export", "readOnly": True}},
            {"name": "n", "mountPath": "/n", "readOnly": True},
            id="nfs",
        ),
    ],
)
def test_configured_volume_when(
    make_request: Any, kind: str, entry: dict[str, Any], volume: dict[str, Any], mount: dict[str, Any]
) -> None:
    """Each kind of volume becomes its source and one mount."""
    request = make_request(kubernetes={"volumes": {kind: [entry]}})

    assert build_volumes(request) == [volume, *OURS]
    assert build_service_mounts(request) == [mount, {"name": "repo", "mountPath": "/builds"}]


def test_volumes_keep_the_order_of_kinds_when_there_are_many(make_request: Any) -> None:
    """The original's order, whatever the order in the file."""
    entry = {"name": "x", "mount_path": "/x"}
    request = make_request(
        kubernetes={
            "volumes": {
                "csi": [{**entry, "name": "6", "driver": "d"}],
                "nfs": [{**entry, "name": "7", "server": "s", "path": "/p"}],
                "empty_dir": [{**entry, "name": "5"}],
                "config_map": [{**entry, "name": "4"}],
                "pvc": [{**entry, "name": "3"}],
                "secret": [{**entry, "name": "2"}],
                "host_path": [{**entry, "name": "1"}],
            }
        }
    )

    assert [each["name"] for each in build_volumes(request)] == [*"1234567", "repo", "scripts", "logs"]
    assert [each["name"] for each in build_mounts(request)] == ["scripts", "logs", *"1234567", "repo"]


def test_volume_is_made_once_when_it_is_mounted_twice(make_request: Any) -> None:
    """The API server refuses two volumes of one name."""
    request = make_request(
        kubernetes={
            "volumes": {"pvc": [{"name": "c", "mount_path": "/a"}, {"name": "c", "mount_path": "/b", "sub_path": "s"}]}
        }
    )

    assert [each["name"] for each in build_volumes(request)] == ["c", "repo", "scripts", "logs"]
    assert [each["mountPath"] for each in build_service_mounts(request)] == ["/a", "/b", "/builds"]


@pytest.mark.parametrize("name", ["repo", "mine"])
def test_repo_is_left_out_when_a_volume_stands_at_the_builds_directory(make_request: Any, name: str) -> None:
    """Only a mount at exactly that path takes its place, under whatever name."""
    request = make_request(
        kubernetes={
            "volumes": {
                "empty_dir": [{"name": name, "mount_path": "$CI_BUILDS_DIR"}, {"name": "b", "mount_path": "/builds/x"}]
            }
        },
        variables=Variables((Variable("CI_BUILDS_DIR", "/builds"),)),
    )

    assert [each["name"] for each in build_volumes(request)] == [name, "b", "scripts", "logs"]
    assert build_service_mounts(request) == [
        {"name": name, "mountPath": "/builds"},
        {"name": "b", "mountPath": "/builds/x"},
    ]


def test_mounts_differ_when_the_container_is_a_service(make_request: Any) -> None:
    """Scripts hold secrets, so a stranger's image does not see them."""
    request = make_request(job={"services": [{"name": "db"}]}, kubernetes={"scripts_base_dir": "/base/\\"})

    seen = {each["name"]: [mount["name"] for mount in each["volumeMounts"]] for each in build_containers(request)}

    assert seen == {"build": ["scripts", "logs", "repo"], "helper": ["scripts", "logs", "repo"], "svc-0": ["repo"]}
    assert build_mounts(request)[0] == {"name": "scripts", "mountPath": "/base/scripts-77-4711"}


@pytest.mark.parametrize(
    ("volumes", "shared"),
    [
        ({}, False),
        ({"empty_dir": [{"name": "e", "mount_path": "/builds"}]}, False),
        ({"pvc": [{"name": "c", "mount_path": "/builds"}]}, True),
        ({"host_path": [{"name": "h", "mount_path": "/builds"}]}, True),
        ({"host_path": [{"name": "h", "mount_path": "/builds/x"}]}, False),
    ],
    ids=["our own", "empty dir", "claim", "host path", "below it"],
)
def test_builds_directory_is_shared_when(volumes: dict[str, Any], shared: bool) -> None:
    """A volume that outlives the pod is seen by jobs side by side."""
    config = RunnerConfig.model_validate(
        {"url": "https://gitlab.example.com", "token": "t", "kubernetes": {"volumes": volumes}}
    )

    assert shares_builds_dir(config) is shared
