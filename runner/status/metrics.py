"""What is counted of a manager, in Prometheus' form.

Law: a registry of its own, never the library's global one, so that several managers live in one process. What can be
read from the board is read when somebody asks; only what passes is counted when it happens.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from runner import __version__
from runner.gitlab.features import go_platform
from runner.status.card import PHASES
from runner.status.families import FAMILIES, Family, Kind
from runner.status.meter import Meter
from runner.status.samples import SAMPLES

if TYPE_CHECKING:
    from runner.job.outcome import Outcome
    from runner.job.payload import Job
    from runner.status.board import StatusBoard
    from runner.status.labels import RunnerLabels

MODE = "traditional"
"""The original's word for jobs that are scripts, not native steps."""

_ENDPOINTS: Mapping[str, str] = MappingProxyType(
    {
        "jobs/request": "request_job",
        "jobs/:id": "update_job",
        "jobs/:id/trace": "patch_trace",
        "runners/reset_authentication_token": "reset_token",
    }
)
_FAILURES = ("other", "no_free_executor", "job_failure")
_LEVELS: Mapping[str, str] = MappingProxyType(
    {"warn": "warning", "warning": "warning", "error": "error", "exception": "error", "critical": "fatal"}
)


class Registry(CollectorRegistry):
    """A registry whose metrics come without the moments of their making, which double the page and nobody reads."""

    def collect(self) -> Iterator[Metric]:
        """Give what there is now."""
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics(Meter):
    """Counts what it is told, and shows it as a page. One for each manager."""

    def __init__(self, *, revision: str = "HEAD") -> None:
        self.registry = Registry()
        self._board: StatusBoard | None = None
        self._slots = 0
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for family in FAMILIES:
            self._add(family)
        self.registry.register(_Sampler(self))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._begin(revision)

    def watch(self, board: StatusBoard) -> None:
        """Read from this board what is a state."""
        self._board = board

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Write all metrics in the form that `accept` asks for; returns the text and its type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def samples(self) -> Iterator[Metric]:
        """Give the gauges that are read from the board."""
        for family in FAMILIES:
            if family.kind is Kind.SAMPLED:
                metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
                for labels, value in SAMPLES[family.name](self._board) if self._board else ():
                    metric.add_metric(labels, value)
                yield metric

    # What is told ------------------------------------------------------------------------------------------------

    def configured(self, runners: Sequence[RunnerLabels], *, slots: int) -> None:
        """Begin the series of these runners with 0."""
        for labels in runners:
            for name in _FROM_ZERO:
                self._counters[name].labels(*labels.values)
            for failure in _FAILURES:
                self._counters["gitlab_runner_worker_processing_failures_total"].labels(failure, *labels.values)
        self._count("gitlab_runner_worker_slot_operations_total", "started", by=max(0, slots - self._slots))
        self._count("gitlab_runner_worker_slot_operations_total", "stopped", by=max(0, self._slots - slots))
        self._slots = slots

    def config_loaded(self, *, ok: bool) -> None:
        """Count it."""
        self._count(f"gitlab_runner_configuration_{'loaded' if ok else 'loading_error'}_total")

    def config_saved(self, *, ok: bool) -> None:
        """Count it."""
        self._count(f"gitlab_runner_configuration_{'saved' if ok else 'saving_error'}_total")

    def asked(self, runner: RunnerLabels) -> None:
        """Count the turn."""
        self._count("gitlab_runner_worker_feeds_total", *runner.values)

    def passed_over(self, runner: RunnerLabels) -> None:
        """Count the turn that was none."""
        self._count("gitlab_runner_worker_feed_failures_total", *runner.values)

    def refused(self, runner: RunnerLabels) -> None:
        """Count it."""
        self._count("gitlab_runner_worker_health_check_failures_total", *runner.values)

    def job_taken(self, runner: RunnerLabels, job: Job) -> None:
        """Count the job and what GitLab says of its queue."""
        info, labels = job.job_info, runner.values
        self._count("gitlab_runner_jobs_total", *labels)
        self._count("gitlab_runner_job_execution_mode_total", MODE, "kubernetes")
        running = _running(info.project_jobs_running_on_instance_runners_count)
        self._observe("gitlab_runner_job_queue_duration_seconds", info.time_in_queue_seconds, *labels, running)
        self._gauges["gitlab_runner_job_queue_size"].labels(*labels).set(info.queue_size)
        self._gauges["gitlab_runner_job_queue_depth"].labels(*labels).set(info.queue_depth)

    def waited_too_long(self, runner: RunnerLabels) -> None:
        """Count it."""
        self._count("gitlab_runner_acceptable_job_queuing_duration_exceeded_total", *runner.values)

    def phase_ended(self, runner: RunnerLabels, phase: str, seconds: float, *, detailed: bool) -> None:
        """Note its time; with `detailed` for the runner and the stage too."""
        self._observe("runner_job_phase_duration_seconds", seconds, phase)
        if detailed:
            self._observe("gitlab_runner_job_stage_duration_seconds", seconds, *runner.values, phase)

    def stage_retried(self, stage: str) -> None:
        """Count it."""
        self._count("runner_job_stage_retries_total", stage)

    def job_ended(self, runner: RunnerLabels, outcome: Outcome, state: str, seconds: float) -> None:
        """Note how and after what time."""
        labels = runner.values
        self._count("runner_jobs_finished_total", *labels, state)
        self._observe("gitlab_runner_job_duration_seconds", seconds, *labels, MODE)
        if outcome.state != "success":
            reason = outcome.reason or "script_failure"
            self._count("gitlab_runner_failed_jobs_total", runner.runner, runner.runner_name, reason, MODE)
            self._count("gitlab_runner_worker_processing_failures_total", "job_failure", *labels)

    def job_given_up(self, runner: RunnerLabels) -> None:
        """Count it."""
        self._count("gitlab_runner_worker_processing_failures_total", "other", *runner.values)

    def final_state_lost(self) -> None:
        """Count it."""
        self._count("runner_final_states_lost_total")

    def removal_given_up(self) -> None:
        """Count it."""
        self._count("runner_removals_given_up_total")

    def log_moved(self, *, received: int = 0, sent: int = 0) -> None:
        """Add the bytes."""
        if received:
            self._count("runner_job_log_bytes_total", "received", by=received)
        if sent:
            self._count("runner_job_log_bytes_total", "sent", by=sent)

    def gitlab_answered(self, runner: RunnerLabels, method: str, route: str, status: int, seconds: float) -> None:
        """Count the answer under the original's name of what was asked."""
        verb, endpoint = method.lower(), _ENDPOINTS.get(route, "other")
        who = (runner.runner, runner.system_id, endpoint)
        self._count("gitlab_runner_api_request_statuses_total", *who, str(status), verb)
        family = f"{status // 100}xx" if 100 <= status < 600 else "unknown"
        self._observe("gitlab_runner_api_request_duration_seconds", seconds, *who, family, verb)
        path = f"/api/v4/{route.replace(':id', '{id}')}"
        self._count("gitlab_runner_api_request_retries_total", path, verb)

    def kubernetes_answered(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Count the answer."""
        self._count("runner_kubernetes_requests_total", verb, resource, str(status))
        self._observe("runner_kubernetes_request_duration_seconds", seconds, verb, resource)

    def kubernetes_retried(self, verb: str, resource: str) -> None:
        """Count it."""
        self._count("runner_kubernetes_request_retries_total", verb, resource)

    def watch_changed(self, event: str) -> None:
        """Count it."""
        name = "runner_pod_watch_lists_total" if event == "listed" else "runner_pod_watch_interruptions_total"
        self._count(name)

    def lagged(self, seconds: float) -> None:
        """Note it."""
        self._histograms["runner_event_loop_lag_seconds"].observe(seconds)

    def logged(self, level: str) -> None:
        """Count warnings and what is worse."""
        known = _LEVELS.get(level)
        if known:
            self._count("gitlab_runner_errors_total", known)

    # Small things ------------------------------------------------------------------------------------------------

    def _begin(self, revision: str) -> None:
        """Begin with 0 what does not depend on a runner."""
        system, architecture = go_platform()
        version = {
            "name": "runner",
            "version": __version__,
            "revision": revision,
            "branch": "",
            "go_version": f"python{platform.python_version()}",
            "built_at": "",
            "os": system,
            "architecture": architecture,
        }
        self._gauges["gitlab_runner_version_info"].labels(**version).set(1)
        for level in ("panic", "fatal", "error", "warning"):
            self._counters["gitlab_runner_errors_total"].labels(level)
        for operation in ("started", "stopped"):
            self._counters["gitlab_runner_worker_slot_operations_total"].labels(operation)
        for direction in ("received", "sent"):
            self._counters["runner_job_log_bytes_total"].labels(direction)
        self._counters["gitlab_runner_job_execution_mode_total"].labels(MODE, "kubernetes")
        for phase in PHASES:
            self._histograms["runner_job_phase_duration_seconds"].labels(phase)

    def _add(self, family: Family) -> None:
        match family.kind:
            case Kind.COUNTER:
                self._counters[family.name] = Counter(family.name, family.help, family.labels, registry=self.registry)
            case Kind.GAUGE:
                self._gauges[family.name] = Gauge(family.name, family.help, family.labels, registry=self.registry)
            case Kind.HISTOGRAM:
                self._histograms[family.name] = Histogram(
                    family.name, family.help, family.labels, buckets=family.buckets, registry=self.registry
                )

    def _count(self, name: str, *labels: str, by: float = 1) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(by)

    def _observe(self, name: str, seconds: float, *labels: str) -> None:
        self._histograms[name].labels(*labels).observe(seconds)


class _Sampler:
    """Lets the registry read the board."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Give the gauges of this moment."""
        return self._metrics.samples()


_FROM_ZERO = tuple(
    family.name
    for family in FAMILIES
    if family.kind is Kind.COUNTER and family.labels == ("runner", "runner_name", "system_id")
)


def _running(count: str) -> str:
    """The number of running jobs that GitLab tells, as a label: digits, `N+` or `+Inf`, nothing else."""
    return count if re.fullmatch(r"\d{1,6}\+?|\+Inf", count) else ""
