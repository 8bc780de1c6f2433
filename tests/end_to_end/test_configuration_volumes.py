"""Volumes, directories, images, variables and patches of config.toml, seen from inside of a real pod."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import yaml

from tests.end_to_end.inside import NO_SOURCES, look, seen

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("real")]

MEBIBYTE = 1024 * 1024


def create(cluster: Cluster, *manifests: dict[str, Any]) -> None:
    """Make objects in the tests' namespace."""
    for manifest in manifests:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def writable(path: str, key: str) -> str:
    """Commands that print whether a file can be made."""
    return f"if touch {path}/.try 2>/dev/null; then echo @{key}=writable; else echo @{key}=read-only; fi"


async def forget(cluster: Cluster, folder: str) -> None:
    """Remove a folder that a test made on the node."""
    node = {"name": "node", "host_path": "/tmp", "mount_path": "/node"}
    async with cluster.harness(kubernetes={"volumes": {"host_path": [node]}}) as h:
        await look(h, f"rm -rf /node/{folder}")


# Volumes


async def test_host_path(cluster: Cluster) -> None:
    """A folder of the node outlives the job; read-only and below a sub path it is what it says."""
    volume = {"name": "node", "host_path": f"/tmp/{cluster.namespace}"}
    async with cluster.harness(
        kubernetes={"volumes": {"host_path": [{**volume, "mount_path": "/node"}]}},
    ) as h:
        await look(h, "mkdir -p /node/sub/$CI_PROJECT_ID", "echo kept >/node/sub/$CI_PROJECT_ID/file")
    mount = {**volume, "mount_path": "/seen/$CI_PROJECT_ID", "sub_path": "sub/$CI_PROJECT_ID", "read_only": True}
    async with cluster.harness(
        kubernetes={"volumes": {"host_path": [{**mount, "mount_propagation": "HostToContainer"}]}}
    ) as h:
        found = await look(
            h,
            "echo @file=$(cat /seen/$CI_PROJECT_ID/file)",
            writable("/seen/$CI_PROJECT_ID", "mount"),
            "echo @slave=$(grep -c ' /seen/.*master:' /proc/self/mountinfo)",
        )
    assert found == {"file": "kept", "mount": "read-only", "slave": "1"}
    await forget(cluster, cluster.namespace)


async def test_config_map_and_secret(cluster: Cluster) -> None:
    """All keys are files, or only those that `items` names, at their paths."""
    create(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"key_1": "one", "key_2": "two", "key_3": "three"},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "data": {name: base64.b64encode(name.encode()).decode() for name in ("secret_1", "secret_2")},
        },
    )
    volumes = {
        "config_map": [
            {"name": "settings", "mount_path": "/settings", "items": {"key_1": "relative/path/one", "key_2": "two"}}
        ],
        "secret": [{"name": "keys", "mount_path": "/keys", "read_only": True}],
    }
    async with cluster.harness(kubernetes={"volumes": volumes}) as h:
        found = await look(
            h,
            "echo @one=$(cat /settings/relative/path/one)",
            "echo @two=$(cat /settings/two)",
            "[ -e /settings/key_3 ] || echo @three=missing",
            "echo @keys=$(ls /keys | tr '\\n' ' ')",
            "echo @secret=$(cat /keys/secret_1)",
            writable("/keys", "secret-folder"),
        )
    assert (found["one"], found["two"], found["three"]) == ("one", "two", "missing")
    assert (found["keys"], found["secret"], found["secret-folder"]) == ("secret_1 secret_2", "secret_1", "read-only")


async def test_config_map_without_the_key(cluster: Cluster) -> None:
    """A key that is not there keeps the pod from starting, and the kubelet's words name it."""
    create(cluster, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sparse"}, "data": {"a": "b"}})
    volumes = {"config_map": [{"name": "sparse", "mount_path": "/s", "items": {"missing": "file"}}]}
    async with cluster.harness(kubernetes={"volumes": volumes, "poll_timeout": 8}) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
    assert job.state == "failed"
    assert "non-existent config key: missing" in job.text, job.text


async def test_empty_dir(cluster: Cluster) -> None:
    """In memory it is a tmpfs of the size that is set; a size that is none is told and left out."""
    volumes = {
        "empty_dir": [
            {"name": "quick", "mount_path": "/quick", "medium": "Memory", "size_limit": "8Mi"},
            {"name": "plain", "mount_path": "/plain", "size_limit": "much"},
        ]
    }
    async with cluster.harness(kubernetes={"volumes": volumes}) as h:
        job = await h.run(
            script=[
                "echo @quick=$(df -k /quick | awk 'END{print $1, $2}')",
                "if head -c 9000000 /dev/zero >/quick/f 2>/dev/null; then echo @full=no; else echo @full=yes; fi",
                writable("/plain", "plain"),
            ],
            variables=NO_SOURCES,
        )
    assert job.state == "success", job.text
    assert seen(job) == {"quick": "tmpfs 8192", "full": "yes", "plain": "writable"}
    assert 'Size limit "much" of the empty_dir volume "plain" is no quantity' in job.text


async def test_persistent_volume_claim(cluster: Cluster) -> None:
    """A claim, chosen by a variable, keeps its files from one job to the next; two mounts share one volume."""
    name = f"claim-{cluster.namespace}"
    create(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Mi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "volumeName": name,
                "resources": {"requests": {"storage": "1Mi"}},
            },
        },
    )
    claim = {"name": "claim-$WHOSE"}
    volumes = {
        "pvc": [
            {**claim, "mount_path": "/data"},
            {**claim, "mount_path": "/again", "sub_path": "below", "read_only": True},
        ]
    }
    variables = {"WHOSE": cluster.namespace}
    try:
        async with cluster.harness(kubernetes={"volumes": volumes}) as h:
            await look(h, "mkdir -p /data/below", "echo kept >/data/below/file", variables=variables)
            found = await look(
                h,
                "echo @file=$(cat /again/file)",
                writable("/data", "data"),
                writable("/again", "again"),
                variables=variables,
            )
        assert found == {"file": "kept", "data": "writable", "again": "read-only"}
    finally:
        cluster.kubectl("delete", "pvc", name, "--wait=false")
        cluster.kubectl("delete", "pv", name, "--wait=false")
        await forget(cluster, name)


@pytest.mark.parametrize(
    ("volumes", "words"),
    [
        ({"csi": [{"name": "v", "mount_path": "/v", "driver": "csi.example.com"}]}, "csi.example.com"),
        (
            {"nfs": [{"name": "v", "mount_path": "/v", "server": "127.0.0.1", "path": "/exports"}]},
            'the volume "v" cannot be mounted',
        ),
        ({"secret": [{"name": "there-is-none", "mount_path": "/v"}]}, 'secret "there-is-none" not found'),
        ({"pvc": [{"name": "there-is-none", "mount_path": "/v"}]}, 'persistentvolumeclaim "there-is-none" not found'),
    ],
    ids=["csi", "nfs", "secret", "pvc"],
)
async def test_volume_that_cannot_be_had(cluster: Cluster, volumes: dict[str, Any], words: str) -> None:
    """The API server takes the pod, the node or the scheduler cannot go on, and the log says why."""
    async with cluster.harness(kubernetes={"volumes": volumes, "poll_timeout": 8}) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
    assert job.state == "failed"
    assert words in job.text, job.text


# Directories


@pytest.mark.parametrize(
    ("kubernetes", "builds_dir", "project_dir"),
    [
        ({}, "/custom", "/custom/acme/demo"),
        ({"volumes": {"empty_dir": [{"name": "repo", "mount_path": "/builds"}]}}, "/builds", "/builds/acme/demo"),
        (
            {"volumes": {"empty_dir": [{"name": "repo", "mount_path": "/builds", "size_limit": "64Mi"}]}},
            "/builds",
            "/builds/acme/demo",
        ),
        (
            {"volumes": {"empty_dir": [{"name": "repo", "mount_path": "/builds", "size_limit": "junk"}]}},
            "/builds",
            "/builds/acme/demo",
        ),
        (
            {"volumes": {"host_path": [{"name": "repo", "mount_path": "/builds"}]}},
            "/builds",
            "/builds/{short_token}/0/acme/demo",
        ),
    ],
    ids=[
        "testBuildsDirDefaultVolume",
        "testBuildsDirVolumeMountEmptyDir/no size",
        "testBuildsDirVolumeMountEmptyDir/size",
        "testBuildsDirVolumeMountEmptyDir/invalid size",
        "testBuildsDirVolumeMountHostPath",
    ],
)
async def test_builds_dir(cluster: Cluster, kubernetes: dict[str, Any], builds_dir: str, project_dir: str) -> None:
    """The sources lie where the builds directory is; on a folder of the node each slot has its own."""
    for volume in kubernetes.get("volumes", {}).get("host_path", ()):
        volume["host_path"] = f"/tmp/{cluster.namespace}-builds"
    async with cluster.harness(kubernetes=kubernetes, runner={"builds_dir": builds_dir}) as h:
        found = await look(h, "echo @pwd=$(pwd)", "echo @file=$(cat hello.txt)", sources=True)
        short_token = h.config.runners[0].token.removeprefix("glrt-")[:9]
    assert found == {"pwd": project_dir.format(short_token=short_token), "file": "hello"}
    if "host_path" in kubernetes.get("volumes", {}):
        await forget(cluster, f"{cluster.namespace}-builds")


@pytest.mark.parametrize("base", ["/tmp", "/tmp/", ""], ids=["set", "with a slash", "unset"])
async def test_base_directories(cluster: Cluster, base: str) -> None:
    """TestKubernetesScriptsBaseDir, TestKubernetesLogsBaseDir: both lie below their base directory."""
    async with cluster.harness(kubernetes={"scripts_base_dir": base, "logs_base_dir": base}) as h:
        found = await look(h, f"echo @found=$(ls -d {base.rstrip('/')}/scripts-* {base.rstrip('/')}/logs-* | wc -l)")
    assert found["found"] == "2"


# Images and variables


async def test_variables_in_images_and_aliases(cluster: Cluster) -> None:
    """Test_ContainerOptionsExpansion, testKubernetesReplaceEnv: the job's variables name images and aliases."""
    name, _, tag = cluster.busybox_image.rpartition(":")
    helper, _, helper_tag = cluster.helper_image.rpartition(":")
    kubernetes = {
        "helper_image": f"{helper}:$HELPER_TAG",
        "services": [{"name": "$IMAGE:$TAG", "alias": "svc-$TAG", "command": ["sleep", "600"]}],
    }
    variables = {"IMAGE": name, "TAG": tag, "HELPER_TAG": helper_tag}
    async with cluster.harness(kubernetes=kubernetes) as h:
        found = await look(
            h, f"echo @alias=$(grep -c 'svc-{tag}' /etc/hosts)", image="$IMAGE:$TAG", variables=variables
        )
    assert found["alias"] == "1"


async def test_missing_variable_in_an_image(cluster: Cluster) -> None:
    """testKubernetesReplaceMissingEnvVar: what is left is no image, and the log has it as it is."""
    async with cluster.harness() as h:
        job = await h.run(script=["true"], image="busybox:$NOWHERE", variables=NO_SOURCES)
    assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
    assert '"busybox:"' in job.text


async def test_environment_of_the_containers(cluster: Cluster) -> None:
    """testKubernetesPublicInternalVariables: public variables are the container's own, others the script's alone."""
    variables = [
        {"key": "GIT_STRATEGY", "value": "none", "public": True},
        {"key": "OPEN", "value": "a $$ b $(HOME)", "public": True, "raw": True},
        {"key": "CLOSED", "value": "hidden", "public": False},
    ]
    async with cluster.harness() as h:
        job = await h.run(
            script=[
                "tr '\\0' '\\n' </proc/1/environ >/tmp/environ",
                "sed -n 's/^OPEN=/@container=/p; s/^CLOSED=.*/@container-closed=yes/p' /tmp/environ",
                'echo "@script=$OPEN"',
                'echo "@closed=$CLOSED"',
            ],
            variables=variables,
        )
    assert job.state == "success", job.text
    assert seen(job) == {"container": "a $$ b $(HOME)", "script": "a $$ b $(HOME)", "closed": "hidden"}


# Patches


async def test_pod_spec(cluster: Cluster) -> None:
    """testKubernetesCustomPodSpec: each kind of patch is in the pod, one upon the other."""
    patches = [
        {"name": "host", "patch_type": "json", "patch": '[{"op": "add", "path": "/hostname", "value": "custom-host"}]'},
        {"name": "user", "patch": "containers: [{name: build, securityContext: {runAsUser: 1234}}]"},
        {"name": "domain", "patch_type": "merge", "patch": "subdomain: ci"},
    ]
    flags = {"FF_USE_ADVANCED_POD_SPEC_CONFIGURATION": True}
    async with cluster.harness(kubernetes={"pod_spec": patches}, runner={"feature_flags": flags}) as h:
        found = await look(
            h, "echo @host=$(hostname)", "echo @uid=$(id -u)", "echo @name=$(grep -c custom-host.ci /etc/hosts)"
        )
    assert found == {"host": "custom-host", "uid": "1234", "name": "1"}


# Connection


async def test_connection_by_host_and_files(cluster: Cluster, tmp_path: Path) -> None:
    """`host`, `ca_file`, `cert_file` and `key_file` alone lead to the API server; no kubeconfig is read."""
    assert cluster.kubeconfig is not None
    document = yaml.safe_load(await anyio.Path(cluster.kubeconfig).read_text())
    server, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    parts = {
        "ca_file": server.get("certificate-authority-data"),
        "cert_file": user.get("client-certificate-data"),
        "key_file": user.get("client-key-data"),
    }
    if not all(parts.values()):
        pytest.skip("the kubeconfig holds no certificates")
    for name, data in parts.items():
        (tmp_path / name).write_bytes(base64.b64decode(data))
    files = {name: str(tmp_path / name) for name in parts}
    async with cluster.harness(kubernetes={"host": server["server"], "context": "not-read", **files}) as h:
        assert (await look(h, "echo @here=yes"))["here"] == "yes"
