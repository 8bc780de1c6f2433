"""Twenty runners of one file for ten minutes, one of which is answered 500 and one never. Prints one JSON line.

    python tests/benchmarks/soak.py [--minutes 10] [--runners 20] [--jobs-per-second 1]

Jobs come to the others at random, on the embedded Kubernetes, which ends each at once. Told are how long they waited to
be picked up, and the manager's memory and open files: in the first and the last third of the time, and at most.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import tomlkit
from lab import FOLDER, NO_SOURCES, START_TIMEOUT, Json, Manager, Process

SAMPLE_INTERVAL = 5.0
END_TIMEOUT = 60.0


class Servers(Process):
    """`lab_servers.py`: the GitLab that works, and two that do not."""

    def __init__(self, runners: int) -> None:
        super().__init__(str(FOLDER / "lab_servers.py"), "--runners", str(runners))
        ready = self.line()
        self.url: str = ready["url"]
        self.tokens: list[str] = ready["tokens"]
        self.broken: list[str] = ready["broken"]
        self.hangs: list[str] = ready["hangs"]

    def queue(self, token: str) -> None:
        """Queue a job for the runner with this token."""
        body = json.dumps({"runner": token, "variables": NO_SOURCES, "script": ["true"], "timeout": 600}).encode()
        with urllib.request.urlopen(f"{self.url}/-/testing/jobs", body, timeout=START_TIMEOUT) as answer:
            answer.read()

    def report(self) -> Json:
        """Ask what became of the jobs since the last time."""
        self.signal(signal.SIGUSR1)
        return self.line()


@dataclass
class Samples:
    """The manager's memory and open files over time."""

    rss_mib: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def take(self, manager: Manager) -> None:
        """Look once."""
        self.rss_mib.append(round(manager.rss_mib, 1))
        self.files.append(len(os.listdir(f"/proc/{manager.pid}/fd")))


@contextmanager
def running(servers: Servers, *, concurrent: int, faulty: bool) -> Iterator[Manager]:
    """Run a manager whose file has all runners of the servers; `faulty` adds those whose GitLab does not work."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="runner-benchmark-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        kubeconfig = str(folder / "kubeconfig")
        kubernetes = Process(str(FOLDER / "lab_kubernetes.py"), "--kubeconfig", kubeconfig)
        stack.callback(kubernetes.stop)
        kubernetes.line()
        places = [[servers.url, token] for token in servers.tokens]
        places += [servers.broken, servers.hangs] if faulty else []
        kubernetes_table = {"image": "busybox:latest", "helper_image": "helper", "pull_policy": "if-not-present"}
        entries = [
            {"name": f"r{number}", "url": url, "token": token, "executor": "kubernetes", "kubernetes": kubernetes_table}
            for number, (url, token) in enumerate(places)
        ]
        config = folder / "config.toml"
        config.write_text(tomlkit.dumps({"concurrent": concurrent, "runners": entries}))
        manager = Manager(config, kubeconfig)
        stack.callback(manager.stop)
        yield manager


def percentile(values: Sequence[float], percent: int) -> float:
    """Give a percentile; 0 of none."""
    ordered = sorted(values) or [0.0]
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def thirds(values: Sequence[float]) -> Json:
    """The medians of the first and the last third, and the most."""
    part = max(1, len(values) // 3)
    return {"first": median(values[:part]), "last": median(values[-part:]), "most": max(values)}


def soak(servers: Servers, manager: Manager, *, seconds: float, rate: float) -> Samples:
    """Let jobs come at random moments to random runners, and look at the manager meanwhile."""
    samples = Samples()
    end, job_at, sample_at = time.monotonic() + seconds, time.monotonic(), time.monotonic() + SAMPLE_INTERVAL
    while (now := time.monotonic()) < end:
        if now >= job_at:
            servers.queue(random.choice(servers.tokens))
            job_at += random.expovariate(rate)
        if now >= sample_at:
            samples.take(manager)
            sample_at += SAMPLE_INTERVAL
        time.sleep(max(0.0, min(job_at, sample_at, end) - time.monotonic()))
    return samples


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runners", type=int, default=20)
    parser.add_argument("--jobs-per-second", type=float, default=1.0)
    options = parser.parse_args()
    with ExitStack() as stack:
        servers = Servers(options.runners - 2)
        stack.callback(servers.stop)
        manager = stack.enter_context(running(servers, concurrent=3 * options.runners, faulty=True))
        time.sleep(10.0)  # the imports of the first job are not what is measured
        for token in servers.tokens:
            servers.queue(token)
        time.sleep(10.0)
        servers.report()
        cpu = manager.cpu_seconds
        samples = soak(servers, manager, seconds=options.minutes * 60, rate=options.jobs_per_second)
        cpu = manager.cpu_seconds - cpu
        time.sleep(5.0)
        found = servers.report()
        waited = found["waited_s"]
        print(
            json.dumps(
                {
                    "benchmark": "soak",
                    "minutes": options.minutes,
                    "runners": options.runners,
                    "jobs": found["queued"],
                    "failed": found["failed"],
                    "unfinished": found["unfinished"],
                    "violations": found["violations"],
                    "pickup_p50_s": percentile(waited, 50),
                    "pickup_p99_s": percentile(waited, 99),
                    "pickup_max_s": percentile(waited, 100),
                    "rss_mib": thirds(samples.rss_mib),
                    "open_files": thirds(samples.files),
                    "cpu_share": round(cpu / (options.minutes * 60), 3),
                    "load": os.getloadavg()[1],
                }
            )
        )


if __name__ == "__main__":
    main()
