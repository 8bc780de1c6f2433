"""What `runner config check` costs on a long file, the interpreter's start included. Prints one JSON line.

    python tests/benchmarks/config_check.py [--lines N] [--runs N]

The file is generated: runners with volumes, patterns, patches and every kind of amount, and a finding here and there.
Modules are compiled before, as those of an installed package are.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNNER = """\
[[runners]]
  name = "runner-{number}"
  url = "https://gitlab.example.com"
  token = "glrt-token-of-runner-{number}"
  executor = "kubernetes"
  limit = 10
  request_concurrency = 2
  environment = ["FF_TIMESTAMPS=true", "DOCKER_HOST=tcp://docker:2375"]
  [runners.feature_flags]
    FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true
  [runners.kubernetes]
    namespace = "ci-{number}"
    namespace_overwrite_allowed = "^ci-[a-z0-9-]+$"
    image = "registry.example.com/build/image:1.{number}"
    privileged = false
    allowed_images = ["registry.example.com/**", "docker.io/library/*"]
    pull_policy = ["if-not-present", "always"]
    cpu_request = "500m"
    cpu_limit = "2"
    cpu_limit_overwrite_max_allowed = "8"
    memory_request = "512Mi"
    memory_limit = "2Gi"
    memory_limit_overwrite_max_allowed = "16Gi"
    helper_cpu_request = "100m"
    helper_memory_limit = "256Mi"
    service_memory_limit = "1Gi"
    ephemeral_storage_request = "1Gi"
    poll_timeout = 600
    cpus = "1"
    [runners.kubernetes.node_selector]
      "kubernetes.io/arch" = "amd64"
    [runners.kubernetes.node_tolerations]
      "ci=true" = "NoSchedule"
    [runners.kubernetes.pod_labels]
      "example.com/team" = "platform"
    [[runners.kubernetes.volumes.pvc]]
      name = "cache-{number}"
      mount_path = "/cache"
    [[runners.kubernetes.volumes.empty_dir]]
      name = "scratch"
      mount_path = "/scratch"
      medium = "Memory"
    [[runners.kubernetes.host_aliases]]
      ip = "10.0.0.{number}"
      hostnames = ["registry.internal"]
    [[runners.kubernetes.pod_spec]]
      patch = '''
        hostUsers: false
      '''
"""


def configuration(lines: int) -> str:
    """Write a file of about as many lines."""
    runners = max(1, round(lines / RUNNER.count("\n")))
    return f"concurrent = {10 * runners}\n" + "".join(RUNNER.format(number=number) for number in range(1, runners + 1))


def seconds(path: Path) -> tuple[float, float]:
    """Check the file in a process of its own; wall and processor time."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(path.parent / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "runner", "config", "check", "--no-files", str(path)],
        stdout=subprocess.DEVNULL,
        env=environment,
        check=False,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 1, "the file is to have warnings, and no error"
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=500)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    text = configuration(options.lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(text)
        path.chmod(0o600)
        seconds(path)
        walls, cpus = zip(*(seconds(path) for _ in range(options.runs)), strict=True)
    result = {
        "benchmark": "config_check",
        "lines": text.count("\n"),
        "runs": options.runs,
        "wall_p50_s": round(statistics.median(walls), 3),
        "wall_max_s": round(max(walls), 3),
        "cpu_p50_s": round(statistics.median(cpus), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
