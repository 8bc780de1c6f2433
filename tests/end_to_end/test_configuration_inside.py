"""What config.toml says of users, privileges, networks, resources and places, seen from inside of a real pod."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.end_to_end.inside import AWAIT_SERVICE, NO_SOURCES, look, seen, service, status_of

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("real")]

NET_RAW = 1 << 13
CHOWN = 1 << 0
SYS_ADMIN = 1 << 21


def bits(capabilities: str) -> int:
    """A set of capabilities as the kernel prints it."""
    return int(capabilities, 16)


# Users and privileges


async def test_pod_security_context(cluster: Cluster) -> None:
    """testKubernetesWithNonRootSecurityContext: user, group and further groups are those of the pod's table."""
    context = {
        "run_as_user": 59417,
        "run_as_group": 59418,
        "run_as_non_root": True,
        "fs_group": 3456,
        "supplemental_groups": [4567],
        "seccomp_profile": {"type": "RuntimeDefault"},
    }
    async with cluster.harness(kubernetes={"pod_security_context": context}) as h:
        found = await look(h, status_of("build"), "echo @builds=$(stat -c %g /builds)")
    assert (found["build.uid"], found["build.gid"], found["build.Seccomp"]) == ("59417", "59418", "2")
    assert {"3456", "4567"} <= set(found["build.groups"].split())
    assert found["builds"] == "3456"


async def test_root_is_refused_where_the_pod_must_not_be_root(cluster: Cluster) -> None:
    """An image that runs as root cannot start under `run_as_non_root`, and the log has the kubelet's words."""
    kubernetes = {"build_container_security_context": {"run_as_non_root": True}, "poll_timeout": 20}
    async with cluster.harness(kubernetes=kubernetes) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
    assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
    assert "runAsNonRoot" in job.text


async def test_default_capabilities(cluster: Cluster) -> None:
    """Nothing is set: no raw sockets, no privileges of the node, in none of the containers."""
    async with cluster.harness(runner={"pre_get_sources_script": status_of("helper")}) as h:
        witness = service(cluster, status_of("service"))
        found = await look(h, status_of("build"), AWAIT_SERVICE, services=[witness], sources=True)
    for container in ("build", "helper", "service"):
        assert bits(found[f"{container}.CapBnd"]) & (NET_RAW | SYS_ADMIN) == 0, container
        assert bits(found[f"{container}.CapBnd"]) & CHOWN, container


async def test_security_context_of_each_container(cluster: Cluster) -> None:
    """Each kind of container has what its own table says, and nothing of the others'."""
    kubernetes: dict[str, Any] = {
        "pod_security_context": {"seccomp_profile": {"type": "RuntimeDefault"}},
        "build_container_security_context": {
            "run_as_user": 1001,
            "run_as_group": 2001,
            "allow_privilege_escalation": False,
            "read_only_root_filesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "helper_container_security_context": {"run_as_user": 1002, "run_as_group": 2002},
        "service_container_security_context": {
            "run_as_user": 0,
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
            "seccomp_profile": {"type": "Unconfined"},
        },
    }
    async with cluster.harness(kubernetes=kubernetes, runner={"pre_get_sources_script": status_of("helper")}) as h:
        witness = service(cluster, status_of("service"))
        found = await look(h, status_of("build"), AWAIT_SERVICE, services=[witness], sources=True)
    assert (found["build.uid"], found["build.gid"], found["build.root"]) == ("1001", "2001", "ro")
    assert (found["build.NoNewPrivs"], found["build.Seccomp"]) == ("1", "2")
    assert bits(found["build.CapBnd"]) == 0
    assert (found["helper.uid"], found["helper.gid"]) == ("1002", "2002")
    assert (found["helper.NoNewPrivs"], found["helper.root"], found["helper.Seccomp"]) == ("0", "rw", "2")
    assert bits(found["helper.CapBnd"]) & CHOWN
    assert (found["service.uid"], found["service.root"], found["service.Seccomp"]) == ("0", "rw", "0")
    assert bits(found["service.CapEff"]) == CHOWN


async def test_capabilities_of_all_containers(cluster: Cluster) -> None:
    """`cap_add` and `cap_drop` count in every container; raw sockets are back when they are asked for."""
    kubernetes = {"cap_add": ["NET_RAW", "SYS_ADMIN"], "cap_drop": ["CHOWN"]}
    async with cluster.harness(kubernetes=kubernetes, runner={"pre_get_sources_script": status_of("helper")}) as h:
        found = await look(h, status_of("build"), sources=True)
    for container in ("build", "helper"):
        assert bits(found[f"{container}.CapBnd"]) & NET_RAW, container
        assert bits(found[f"{container}.CapBnd"]) & SYS_ADMIN, container
        assert not bits(found[f"{container}.CapBnd"]) & CHOWN, container


DEVICES = "echo @devices=$(ls /dev | wc -l)"


async def test_privileged(cluster: Cluster) -> None:
    """`privileged` gives every capability and the node's devices; without it there are few."""
    async with cluster.harness(kubernetes={"privileged": True}) as h:
        found = await look(h, status_of("build"), DEVICES)
    async with cluster.harness(kubernetes={"privileged": False}) as h:
        without = await look(h, status_of("build"), DEVICES)
    assert bits(found["build.CapBnd"]) & SYS_ADMIN
    assert not bits(without["build.CapBnd"]) & SYS_ADMIN
    assert int(found["devices"]) > int(without["devices"])


@pytest.mark.parametrize(("asked", "privileged"), [("true", True), ("", False)], ids=["asked", "not asked"])
async def test_privileged_as_in_2016(cluster: Cluster, asked: str, privileged: bool) -> None:
    """`allow_privileged` is a permission: the job that sets `privileged` has it, the other has not."""
    async with cluster.harness(kubernetes={"allow_privileged": True}) as h:
        found = await look(h, status_of("build"), variables={"privileged": asked} if asked else {})
    assert bool(bits(found["build.CapBnd"]) & SYS_ADMIN) is privileged


USERS = {
    "group alone": (":2000", {}, ("0", "2000")),
    "overridden by the configuration": (
        "1000:2000",
        {"build_container_security_context": {"run_as_user": 1001, "run_as_group": 2001}},
        ("1001", "2001"),
    ),
}


@pytest.mark.parametrize("name", USERS)
async def test_users_of_jobs(cluster: Cluster, name: str) -> None:
    """testKubernetesOptionsUserAndGroup: the job's group is the job's to choose, unless the configuration has one."""
    user, kubernetes, expected = USERS[name]
    image = {"name": cluster.busybox_image, "executor_opts": {"kubernetes": {"user": user}} if user else {}}
    async with cluster.harness(kubernetes=kubernetes) as h:
        found = await look(h, status_of("build"), image=image)
    assert (found["build.uid"], found["build.gid"]) == expected


async def test_proc_mount(cluster: Cluster) -> None:
    """TestKubernetesProcMount: `default` in any case hides the node's; what is none is told and left out."""
    hidden = "echo @hidden=$(grep -c ' /proc/irq ro' /proc/self/mountinfo)"
    async with cluster.harness(kubernetes={"build_container_security_context": {"proc_mount": "DEFAULT"}}) as h:
        assert (await look(h, hidden))["hidden"] == "1"
    async with cluster.harness(kubernetes={"build_container_security_context": {"proc_mount": "Half"}}) as h:
        job = await h.run(script=[hidden], variables=NO_SOURCES)
    assert seen(job) == {"hidden": "1"}
    assert 'proc_mount "Half" is left out' in job.text


@pytest.mark.parametrize("mounted", [True, False])
async def test_token_of_the_service_account(cluster: Cluster, mounted: bool) -> None:
    """`automount_service_account_token` says whether the account's token lies in the container."""
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    async with cluster.harness(kubernetes={"automount_service_account_token": mounted}) as h:
        found = await look(h, f"if [ -e {token} ]; then echo @token=there; else echo @token=missing; fi")
    assert found["token"] == ("there" if mounted else "missing")


# Network


async def test_names_and_resolver(cluster: Cluster) -> None:
    """Host aliases stand in /etc/hosts beside the services' names, the resolver's table in /etc/resolv.conf."""
    kubernetes = {
        "host_aliases": [{"ip": "10.9.8.7", "hostnames": ["db.example.com", "db"]}],
        "dns_policy": "none",
        "dns_config": {
            "nameservers": ["10.1.2.3"],
            "searches": ["ci.example.com"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        },
    }
    async with cluster.harness(kubernetes=kubernetes) as h:
        job = await h.run(
            script=["cat /etc/hosts", "sed s/^/@/ /etc/resolv.conf", AWAIT_SERVICE],
            services=[service(cluster, "cat /etc/hosts", alias="web, shop")],
            variables=NO_SOURCES,
        )
    assert job.state == "success", job.text
    assert job.text.count("10.9.8.7\tdb.example.com\tdb\n") == 2, job.text
    assert job.text.count("127.0.0.1\tbusybox\tweb\tshop\n") == 2
    assert "@nameserver 10.1.2.3\n" in job.text
    assert "@search ci.example.com\n" in job.text
    options = next(line for line in job.text.splitlines() if line.startswith("@options"))
    assert {"ndots:2", "edns0"} <= set(options.split())


async def test_resolver_of_the_node(cluster: Cluster) -> None:
    """With the policy `default` the cluster's search domains are not there; without it they are."""
    domains = "echo @search=$(grep -c svc.cluster.local /etc/resolv.conf)"
    async with cluster.harness(kubernetes={"dns_policy": "default"}) as h:
        assert (await look(h, domains))["search"] == "0"
    async with cluster.harness() as h:
        assert (await look(h, domains))["search"] == "1"


async def test_service_that_ends(cluster: Cluster) -> None:
    """testJobRunningAndPassingWhenServiceStops: a service's end, even with an error, is none of the job's business."""
    short = {
        "name": cluster.busybox_image,
        "alias": "short",
        "entrypoint": ["sh", "-c"],
        "command": ["sleep 1; exit 1"],
    }
    async with cluster.harness() as h:
        found = await look(h, "sleep 3", "echo @script=done", after_script=["echo @after=done"], services=[short])
    assert found == {"script": "done", "after": "done"}


# Resources

LIMITS = """
for _f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
[ -e $_f ] && echo "@$1.memory=$(cat $_f)"
done
[ -e /sys/fs/cgroup/cpu.max ] && echo "@$1.cpu=$(cat /sys/fs/cgroup/cpu.max)"
[ -e /sys/fs/cgroup/cpu/cpu.cfs_quota_us ] && echo \
"@$1.cpu=$(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) $(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)"
true
"""


async def test_resources(cluster: Cluster) -> None:
    """The kernel holds each container to the limits of its kind."""
    kubernetes = {
        "cpu_limit": "300m",
        "memory_limit": "96Mi",
        "helper_cpu_limit": "200m",
        "helper_memory_limit": "128Mi",
        "service_cpu_limit": "100m",
        "service_memory_limit": "32Mi",
    }
    witness = service(cluster, LIMITS.replace("$1", "service"))
    async with cluster.harness(
        kubernetes=kubernetes, runner={"pre_get_sources_script": LIMITS.replace("$1", "helper")}
    ) as h:
        commands = (LIMITS.replace("$1", "build"), AWAIT_SERVICE)
        found = await look(h, *commands, services=[witness], sources=True)
    mebibyte = 1024 * 1024
    memory = {name: int(found[f"{name}.memory"]) // mebibyte for name in ("build", "helper", "service")}
    assert memory == {"build": 96, "helper": 128, "service": 32}
    cpu = {name: found[f"{name}.cpu"] for name in ("build", "helper", "service")}
    assert cpu == {"build": "30000 100000", "helper": "20000 100000", "service": "10000 100000"}


async def test_resources_of_the_whole_pod(cluster: Cluster) -> None:
    """TestKubernetesBuildPodResources: amounts of the pod stand in its spec as the API server keeps it."""
    kubernetes = {"pod_cpu_limit": "1", "pod_cpu_request": "50m", "pod_memory_limit": "512Mi"}
    async with cluster.harness(kubernetes=kubernetes) as h:
        pod = await running_pod(cluster, h)
    assert pod["spec"]["resources"] == {
        "limits": {"cpu": "1", "memory": "512Mi"},
        "requests": {"cpu": "50m", "memory": "512Mi"},
    }


async def running_pod(cluster: Cluster, h: Any, **over: Any) -> dict[str, Any]:
    """The pod of a job while it runs, as the API server has it."""
    job = h.queue(script=["echo running-now", "sleep 60"], variables=NO_SOURCES, **over)
    await job.wait(lambda record: "running-now" in record.text.splitlines(), timeout=60)
    name = await anyio.to_thread.run_sync(cluster.pod_of, job.id)
    text = await anyio.to_thread.run_sync(lambda: cluster.kubectl("get", "pod", name, "-o", "json"))
    found: dict[str, Any] = json.loads(text)
    return found


# Placement


async def test_priority_class(cluster: Cluster) -> None:
    """The pod has the number of its class; a class that is not there refuses the pod by its name."""
    name = f"{cluster.namespace}-low"
    manifest = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": -7}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    try:
        async with cluster.harness(kubernetes={"priority_class_name": name}) as h:
            assert (await running_pod(cluster, h))["spec"]["priority"] == -7
        async with cluster.harness(kubernetes={"priority_class_name": f"{name}-missing"}) as h:
            job = await h.run(script=["true"], variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
        assert f'the API server refuses the pod: the priority class "{name}-missing" does not exist' in job.text
    finally:
        cluster.kubectl("delete", "priorityclass", name)


async def test_runtime_class_that_is_not_there(cluster: Cluster) -> None:
    """The API server refuses the pod, and the log names the class."""
    async with cluster.harness(kubernetes={"runtime_class_name": "there-is-none"}) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
    assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error"), job.text
    assert 'the API server refuses the pod: the runtime class "there-is-none" does not exist' in job.text


@pytest.mark.parametrize(
    "kubernetes",
    [
        {"node_selector": {"example.com/role": "nobody"}},
        {
            "affinity": {
                "node_affinity": {
                    "required_during_scheduling_ignored_during_execution": {
                        "node_selector_terms": [
                            {"match_expressions": [{"key": "example.com/role", "operator": "In", "values": ["nobody"]}]}
                        ]
                    }
                }
            }
        },
    ],
    ids=["selector", "affinity"],
)
async def test_node_that_is_not_there(cluster: Cluster, kubernetes: dict[str, Any]) -> None:
    """No node fits, and the scheduler's words say so."""
    async with cluster.harness(kubernetes={**kubernetes, "poll_timeout": 4}) as h:
        job = await h.run(script=["true"], variables=NO_SOURCES)
    assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text
    assert "didn't match Pod's node affinity/selector" in job.text


async def test_neighbour_that_keeps_away(cluster: Cluster) -> None:
    """Anti-affinity to pods of this runner: a second job waits while the first one runs on the only node."""
    term = {
        "topology_key": "kubernetes.io/hostname",
        "label_selector": {"match_labels": {"lonely": "yes"}},
    }
    kubernetes = {
        "pod_labels": {"lonely": "yes"},
        "affinity": {"pod_anti_affinity": {"required_during_scheduling_ignored_during_execution": [term]}},
        "poll_timeout": 4,
    }
    async with cluster.harness(kubernetes=kubernetes) as h:
        await running_pod(cluster, h)
        job = await h.run(script=["true"], variables=NO_SOURCES)
    assert job.state == "failed"
    assert "didn't match pod anti-affinity rules" in job.text, job.text
