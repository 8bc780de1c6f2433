"""What the benchmarks have in common: GitLab, Kubernetes and the manager, each a process of its own.

Law: everything is measured from outside. Times are GitLab's (a job given, its first log bytes, its final state),
processor time and memory are what the kernel books on the manager's process, requests are counted by a manager that
is put together with observers (`lab_manager.py`). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tomlkit

FOLDER = Path(__file__).parent
NO_SOURCES = [{"key": "GIT_STRATEGY", "value": "none", "public": True, "masked": False}]
START_TIMEOUT = 30.0
STOP_TIMEOUT = 60.0
MIB = 1024 * 1024

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the jobs run: on a real cluster, or on the embedded Kubernetes when there is no kubeconfig."""

    kubeconfig: str | None
    host: str
    helper_image: str
    build_image: str

    @classmethod
    def arguments(cls, description: str | None) -> argparse.ArgumentParser:
        """Give a parser with the arguments that every benchmark has."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--kubeconfig", help="a real cluster; without it the embedded Kubernetes")
        parser.add_argument("--host", default="127.0.0.1", help="this machine's address as pods of the cluster see it")
        parser.add_argument("--helper-image", default="localhost/runner:ci")
        parser.add_argument("--build-image", default="busybox:latest")
        return parser

    @classmethod
    def of(cls, options: argparse.Namespace) -> Place:
        """Read them."""
        return cls(options.kubeconfig, options.host, options.helper_image, options.build_image)

    @property
    def name(self) -> str:
        """How results call it."""
        return "real" if self.kubeconfig else "embedded"


@dataclass(frozen=True, slots=True)
class Job:
    """One job as GitLab saw it; moments are GitLab's monotonic seconds."""

    id: int
    state: str
    assigned_at: float
    first_log_at: float
    finished_at: float
    trace_bytes: int

    @property
    def seconds(self) -> float:
        """From being given to the final state."""
        return self.finished_at - self.assigned_at

    @property
    def first_log_seconds(self) -> float:
        """From being given to the first bytes of the log."""
        return self.first_log_at - self.assigned_at


class Process:
    """A process that says something in JSON when it is ready, and later when it is asked."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def line(self, *, timeout: float = START_TIMEOUT) -> Json:
        """Read the next line of JSON."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise TimeoutError(f"{self._process.args!r} said nothing for {timeout} s.")
        answer: Json = json.loads(self._process.stdout.readline())
        return answer

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it with TERM, and with KILL when that is not enough."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class GitLab(Process):
    """The embedded GitLab, and the door by which jobs are queued and looked at."""

    def __init__(self, host: str) -> None:
        super().__init__("-m", "runner.testing.gitlab", "--listen", f"{host}:0")
        ready = self.line()
        self.url: str = ready["url"]
        self.token: str = ready["token"]

    def queue(self, count: int, **payload: Any) -> list[int]:
        """Queue so many jobs and return their ids."""
        over = {"variables": NO_SOURCES, "timeout": 3600, **payload}
        numbers: list[int] = json.loads(self._ask(f"/-/testing/jobs?count={count}", json.dumps(over).encode()))
        return numbers

    def begun(self) -> int:
        """Count the jobs whose log has begun."""
        return sum(job["first_log_at"] is not None for job in json.loads(self._ask("/-/testing/jobs"))["jobs"])

    def wait(self, numbers: Iterable[int], *, timeout: float, interval: float = 0.1) -> list[Job]:
        """Wait until GitLab considers all these jobs done, and return them."""
        wanted = set(numbers)
        deadline = time.monotonic() + timeout
        while True:
            found = json.loads(self._ask("/-/testing/jobs"))
            jobs = [job for job in found["jobs"] if job["id"] in wanted and job["finished_at"] is not None]
            if len(jobs) == len(wanted):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(wanted) - len(jobs)} of {len(wanted)} jobs did not end in {timeout:.0f} s.")
            time.sleep(interval)
        if found["violations"]:
            raise AssertionError(f"GitLab complains: {found['violations'][:3]}")
        return [Job(**{name: job[name] for name in Job.__slots__}) for job in jobs]

    def trace(self, number: int) -> bytes:
        """Read the log of a job as it is stored."""
        return self._ask(f"/-/testing/jobs/{number}/trace")

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", body, timeout=START_TIMEOUT) as answer:
            data: bytes = answer.read()
            return data


class Manager(Process):
    """The runner's own process."""

    def __init__(self, config: Path, kubeconfig: str, *, probed: bool = False, lag_interval: float = 0.0) -> None:
        common = ("--config", str(config), "--kubeconfig", kubeconfig)
        if probed:
            super().__init__(str(FOLDER / "lab_manager.py"), *common, "--lag-interval", str(lag_interval))
            self.line()
        else:
            super().__init__("-m", "runner", "run", *common, "--log-level", "warning")

    def report(self) -> Json:
        """Ask a probed manager for what it has counted since the last time."""
        self.signal(signal.SIGUSR1)
        return self.line()

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mib(self) -> float:
        """Resident memory now."""
        return self._status("VmRSS")

    @property
    def peak_mib(self) -> float:
        """The most resident memory since the start or the last `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Let `peak_mib` begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, key: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:"))) / 1024


@dataclass(frozen=True, slots=True)
class Lab:
    """The processes of one run."""

    place: Place
    gitlab: GitLab
    manager: Manager
    kubernetes: Process | None

    def run(self, count: int, *, script: Sequence[str], timeout: float = 120.0, interval: float = 0.1) -> list[Job]:
        """Queue equal jobs, wait for all of them, and see that they were green."""
        numbers = self.gitlab.queue(count, script=list(script), image=self.place.build_image)
        jobs = self.gitlab.wait(numbers, timeout=timeout, interval=interval)
        failed = [job for job in jobs if job.state != "success"]
        if failed:
            text = self.gitlab.trace(failed[0].id)[-1500:].decode("utf-8", "replace")
            raise AssertionError(f"{len(failed)} of {count} jobs failed; the log of one ends with:\n{text}")
        return jobs


@contextmanager
def lab(
    place: Place,
    *,
    concurrent: int,
    runner: Json | None = None,
    scripted: Sequence[str] = (),
    probed: bool = False,
    lag_interval: float = 0.0,
) -> Iterator[Lab]:
    """Start everything, yield, and stop everything.

    `scripted` are arguments of `lab_kubernetes.py`: what stages do on the embedded Kubernetes, which runs no script.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="runner-benchmark-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        gitlab = GitLab(place.host)
        stack.callback(gitlab.stop)
        kubernetes: Process | None = None
        namespace, kubeconfig = "default", place.kubeconfig
        if kubeconfig is None:
            kubeconfig = str(folder / "kubeconfig")
            kubernetes = Process(str(FOLDER / "lab_kubernetes.py"), "--kubeconfig", kubeconfig, *scripted)
            stack.callback(kubernetes.stop)
            kubernetes.line()
        else:
            namespace = stack.enter_context(_namespace(kubeconfig))
        config = folder / "config.toml"
        config.write_text(_config(place, gitlab, concurrent=concurrent, namespace=namespace, runner=runner or {}))
        manager = Manager(config, kubeconfig, probed=probed, lag_interval=lag_interval)
        stack.callback(manager.stop)
        yield Lab(place, gitlab, manager, kubernetes)


def p50(values: Iterable[float], *, digits: int = 2) -> float:
    """Give the median, rounded."""
    return round(median(values), digits)


def _config(place: Place, gitlab: GitLab, *, concurrent: int, namespace: str, runner: Json) -> str:
    kubernetes = {
        "namespace": namespace,
        "image": place.build_image,
        "helper_image": place.helper_image,
        "pull_policy": "if-not-present",
    }
    entry = {
        "name": "benchmark",
        "url": gitlab.url,
        "token": gitlab.token,
        "executor": "kubernetes",
        "request_concurrency": min(concurrent, 10),
        **runner,
        "kubernetes": kubernetes,
    }
    return tomlkit.dumps({"concurrent": concurrent, "check_interval": 1, "runners": [entry]})


@contextmanager
def _namespace(kubeconfig: str) -> Iterator[str]:
    """Make a namespace of this run in a real cluster."""
    name = f"runner-benchmark-{uuid.uuid4().hex[:8]}"
    kubectl = ("kubectl", f"--kubeconfig={kubeconfig}", f"--namespace={name}")
    subprocess.run([*kubectl, "create", "namespace", name], check=True, stdout=subprocess.DEVNULL)
    try:
        # Pods are refused until the namespace has its service account.
        ready = [*kubectl, "wait", "--for=create", "serviceaccount/default", "--timeout=30s"]
        subprocess.run(ready, check=True, stdout=subprocess.DEVNULL)
        yield name
    finally:
        subprocess.run([*kubectl, "delete", "namespace", name, "--wait=false"], check=True, stdout=subprocess.DEVNULL)
