"""What it costs to build a pod: prints one JSON line. Run `python tests/benchmarks/pod.py`.

`full` is a configuration with every kind of key, three services and a job with 150 variables; `patched` has three
patches beside; `plain` is a configuration with nothing. `request` is what comes before, once for each job: overwrites,
services, images, patches read. Processor time, in milliseconds, the median of many.
"""

from __future__ import annotations

import json
import statistics
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace

from runner.config.model import RunnerConfig
from runner.executor.base import JobRequest
from runner.executor.requesting import pod_request
from runner.job.payload import Job
from runner.manager.material import Identity, JobMaterial, Place
from runner.podspec.pod import build_pod, pod_warnings
from runner.podspec.volumes import shares_builds_dir
from runner.testing.payloads import job_payload

ROUNDS = 2000
PLAIN = 'name = "r"\nurl = "https://gitlab.example.com"\ntoken = "glrt-abcdefghijklmnop"\nexecutor = "kubernetes"\n'
CONTAINER = """
run_as_user = 1000
run_as_group = 1000
run_as_non_root = true
allow_privilege_escalation = false
capabilities = {add = ["SYS_TIME"], drop = ["ALL"]}
seccomp_profile = {type = "RuntimeDefault"}
"""
AFFINITY = """
[[runners.kubernetes.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution]]
weight = 10
preference = {match_expressions = [{key = "gpu", operator = "NotIn", values = ["yes"]}]}
[[runners.kubernetes.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution]]
topology_key = "kubernetes.io/hostname"
label_selector = {match_labels = {team = "shop"}}
"""
KUBERNETES = f"""
[runners.kubernetes]
namespace = "ci"
service_account = "ci"
pull_policy = ["if-not-present", "always"]
image_pull_secrets = ["a", "b"]
cpu_limit = "2"
cpu_request = "500m"
memory_limit = "2Gi"
memory_request = "1Gi"
helper_cpu_limit = "500m"
helper_memory_limit = "256Mi"
service_cpu_limit = "1"
service_memory_limit = "1Gi"
node_selector = {{"kubernetes.io/arch" = "amd64", pool = "ci"}}
node_tolerations = {{"ci=yes" = "NoSchedule", spot = ""}}
pod_labels = {{team = "$CI_PROJECT_NAMESPACE", branch = "$CI_COMMIT_REF_NAME"}}
pod_annotations = {{job = "$CI_JOB_ID of $CI_PIPELINE_ID"}}
dns_config = {{nameservers = ["10.0.0.1"], options = [{{name = "ndots", value = "2"}}]}}
host_aliases = [{{ip = "10.0.0.9", hostnames = ["a.example.com", "b.example.com"]}}]
pod_security_context = {{fs_group = 1000, supplemental_groups = [1, 2]}}
container_lifecycle = {{pre_stop = {{exec = {{command = ["sleep", "1"]}}}}}}
services = [{{name = "docker:dind", alias = "docker", environment = ["DOCKER_TLS_CERTDIR=/certs"]}}]
[runners.kubernetes.build_container_security_context]{CONTAINER}
[runners.kubernetes.helper_container_security_context]{CONTAINER}
[runners.kubernetes.service_container_security_context]{CONTAINER}
{AFFINITY}
[[runners.kubernetes.volumes.empty_dir]]
name = "cache"
mount_path = "/cache/$CI_PROJECT_ID"
size_limit = "1Gi"
[[runners.kubernetes.volumes.config_map]]
name = "certs"
mount_path = "/etc/certs"
items = {{ca = "ca.crt"}}
[[runners.kubernetes.volumes.pvc]]
name = "data-$CI_PROJECT_ID"
mount_path = "/data"
sub_path = "$CI_PROJECT_PATH"
"""
PATCHES = """
[[runners.kubernetes.pod_spec]]
patch = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]"
[[runners.kubernetes.pod_spec]]
patch_type = "merge"
patch = "hostname: box"
[[runners.kubernetes.pod_spec]]
patch_type = "json"
patch = '[{"op": "add", "path": "/containers/0/securityContext/readOnlyRootFilesystem", "value": true}]'
[runners.feature_flags]
FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true
"""
CASES = {"plain": PLAIN, "full": PLAIN + KUBERNETES, "patched": PLAIN + KUBERNETES + PATCHES}


def asked_for(text: str) -> tuple[JobRequest, RunnerConfig]:
    """A job with variables and services, and its runner."""
    config = RunnerConfig.model_validate(tomllib.loads(f"[[runners]]\n{text}")["runners"][0])
    variables = {f"VARIABLE_{number}": f"value {number} of $CI_PROJECT_PATH" for number in range(120)}
    services = ({"name": "postgres:16", "alias": "db"}, {"name": "redis:7", "alias": "cache, store"})
    job = Job.parse(job_payload(variables=variables, services=services if text != PLAIN else ()))
    identity = Identity(name="runner", version="1", revision="HEAD", system_id="s_0123456789ab", host="m")
    material = JobMaterial.of(job, config, identity=identity, place=Place(), shared=shares_builds_dir(config))
    request = JobRequest(
        job=job,
        runner=config,
        variables=material.variables,
        feature_flags=material.flags,
        directories=material.directories,
        system_id=identity.system_id,
    )
    return request, config


def milliseconds(step: Callable[[], object]) -> float:
    """Processor time of one step, the median of many."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        step()
        times.append(time.process_time_ns() - start)
    return round(statistics.median(times) / 1e6, 3)


def main() -> None:
    """Measure each case; a request is made anew for each build, as nothing of one job serves the next."""
    result: dict[str, float] = {}
    for name, text in CASES.items():
        job, config = asked_for(text)

        def request(job: JobRequest = job, config: RunnerConfig = config) -> object:
            return pod_request(job, config, system_id="s_0123456789ab", default_helper_image="runner:1")

        pod = pod_request(job, config, system_id="s_0123456789ab", default_helper_image="runner:1")
        result[f"{name}_build_ms"] = milliseconds(lambda pod=pod: build_pod(replace(pod)))  # type: ignore[misc]
        result[f"{name}_warnings_ms"] = milliseconds(lambda pod=pod: pod_warnings(pod))  # type: ignore[misc]
        result[f"{name}_request_ms"] = milliseconds(request)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
