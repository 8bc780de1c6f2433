"""The metrics by name: type, labels, buckets and meaning of each, as one table.

The original's names stand first and keep their labels and buckets; ours begin with `runner_`. docs/monitoring.md is
made from this (`python -m runner.status.reference`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a metric is, and how its value comes to be."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"
    """Set when something happens."""
    SAMPLED = "sampled"
    """A gauge that is read from the board when somebody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric."""

    name: str
    """As it is exposed: with `_total` for a counter."""
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def type(self) -> str:
        """The type as Prometheus has it."""
        return "gauge" if self.kind is Kind.SAMPLED else self.kind.value


R = ("runner", "runner_name", "system_id")
_RS = ("runner", "system_id")
QUEUE_BUCKETS = (1, 3, 10, 30, 60, 120, 300, 900, 1800, 3600)
JOB_BUCKETS = (30, 60, 300, 600, 1800, 3600, 7200, 10800, 18000, 36000)
API_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PHASE_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
KUBERNETES_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _counter(name: str, help_: str, labels: tuple[str, ...] = ()) -> Family:
    return Family(name=name, kind=Kind.COUNTER, help=help_, labels=labels)


def _histogram(name: str, help_: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Family:
    return Family(name=name, kind=Kind.HISTOGRAM, help=help_, labels=labels, buckets=buckets)


def _gauge(name: str, help_: str, labels: tuple[str, ...] = ()) -> Family:
    return Family(name=name, kind=Kind.GAUGE, help=help_, labels=labels)


def _sampled(name: str, help_: str, labels: tuple[str, ...] = ()) -> Family:
    return Family(name=name, kind=Kind.SAMPLED, help=help_, labels=labels)


_VERSION = ("name", "version", "revision", "branch", "go_version", "built_at", "os", "architecture")

ORIGINAL: tuple[Family, ...] = (
    _gauge("gitlab_runner_version_info", "This program; 1. `go_version` holds Python's version.", _VERSION),
    _sampled("gitlab_runner_concurrent", "Most jobs of this process at once."),
    _sampled("gitlab_runner_limit", "Most jobs of a runner at once; 0: no limit.", R),
    _sampled(
        "gitlab_runner_jobs",
        "Jobs that are run now, their removal included.",
        (*R, "state", "stage", "executor_stage"),
    ),
    _counter("gitlab_runner_jobs_total", "Jobs taken.", R),
    _counter("gitlab_runner_job_execution_mode_total", "Jobs taken, by how they run.", ("mode", "executor")),
    _histogram(
        "gitlab_runner_job_duration_seconds", "From GitLab's hand-over to a job's outcome.", (*R, "mode"), JOB_BUCKETS
    ),
    _histogram(
        "gitlab_runner_job_queue_duration_seconds",
        "How long jobs had waited at GitLab, as it told.",
        (*R, "project_jobs_running"),
        QUEUE_BUCKETS,
    ),
    _gauge("gitlab_runner_job_queue_size", "GitLab's queue when it gave the last job.", R),
    _gauge("gitlab_runner_job_queue_depth", "How deep in GitLab's queue the last job was found.", R),
    _histogram(
        "gitlab_runner_job_stage_duration_seconds",
        "Stages of jobs with FF_EXPORT_HIGH_CARDINALITY_METRICS.",
        (*R, "stage"),
        QUEUE_BUCKETS,
    ),
    _counter(
        "gitlab_runner_acceptable_job_queuing_duration_exceeded_total",
        "Jobs that had waited for longer than `[[runners.monitoring.job_queuing_durations]]` accepts.",
        R,
    ),
    _counter(
        "gitlab_runner_failed_jobs_total",
        "Jobs that failed, by the reason before it is fitted to the server's list.",
        ("runner", "runner_name", "failure_reason", "mode"),
    ),
    _counter("gitlab_runner_errors_total", "Lines of this process's log, by level.", ("level",)),
    _sampled("gitlab_runner_request_concurrency", "Requests for jobs that are under way.", _RS),
    _sampled("gitlab_runner_request_concurrency_hard_limit", "`request_concurrency`.", _RS),
    _sampled("gitlab_runner_request_concurrency_adaptive_limit", "Requests that the load asks for.", _RS),
    _sampled("gitlab_runner_request_concurrency_used_limit", "The limit that holds: the lower one.", _RS),
    _counter(
        "gitlab_runner_api_request_statuses_total",
        "Answers of GitLab; -1: none came.",
        ("runner", "system_id", "endpoint", "status", "method"),
    ),
    _histogram(
        "gitlab_runner_api_request_duration_seconds",
        "How long GitLab took to answer.",
        ("runner", "system_id", "endpoint", "status_class", "method"),
        API_BUCKETS,
    ),
    _counter("gitlab_runner_api_request_retries_total", "All attempts, the first included.", ("path", "method")),
    _counter("gitlab_runner_worker_feeds_total", "Turns of a runner at which GitLab was asked.", R),
    _counter(
        "gitlab_runner_worker_feed_failures_total", "Turns of a runner at which its place had no room for a job.", R
    ),
    _sampled("gitlab_runner_worker_slots_number", "Slots for jobs: `concurrent`."),
    _counter("gitlab_runner_worker_slot_operations_total", "Slots that came and went.", ("operation",)),
    _counter(
        "gitlab_runner_worker_processing_failures_total",
        "Jobs that ended badly.",
        ("failure_type", *R),
    ),
    _counter(
        "gitlab_runner_worker_health_check_failures_total",
        "Refusals of a runner that GitLab had refused too often before.",
        R,
    ),
    _counter("gitlab_runner_configuration_loaded_total", "Times that config.toml was read."),
    _counter("gitlab_runner_configuration_loading_error_total", "Times that config.toml could not be read."),
    _counter("gitlab_runner_configuration_saved_total", "Times that this process wrote config.toml."),
    _counter("gitlab_runner_configuration_saving_error_total", "Times that config.toml could not be written."),
    _sampled("gitlab_runner_process_state_info", "The state of the process; 1.", ("state",)),
)
"""The original's, where the meaning agrees."""

OWN: tuple[Family, ...] = (
    _histogram("runner_job_phase_duration_seconds", "Phases of jobs.", ("phase",), PHASE_BUCKETS),
    _counter("runner_jobs_finished_total", "Jobs whose outcome stands.", (*R, "state")),
    _counter("runner_job_stage_retries_total", "Stages that were tried once more.", ("stage",)),
    _counter("runner_job_log_bytes_total", "Bytes of logs: `received` from pods, `sent` to GitLab.", ("direction",)),
    _sampled("runner_final_states_waiting", "Jobs whose rest of the log or final state is on its way to GitLab."),
    _counter("runner_final_states_lost_total", "Final states that GitLab has not taken within the bound."),
    _sampled("runner_removals_under_way", "Jobs whose pod and objects are being removed."),
    _counter("runner_removals_given_up_total", "Jobs of which objects may be left in the cluster."),
    _sampled("runner_gitlab_silence_seconds", "Since GitLab last answered a runner.", R),
    _counter(
        "runner_kubernetes_requests_total",
        "Requests to API servers; code 0: no answer.",
        ("verb", "resource", "code"),
    ),
    _histogram(
        "runner_kubernetes_request_duration_seconds",
        "Until the head of an API server's answer.",
        ("verb", "resource"),
        KUBERNETES_BUCKETS,
    ),
    _counter(
        "runner_kubernetes_request_retries_total",
        "Requests to API servers that were sent once more.",
        ("verb", "resource"),
    ),
    _sampled("runner_pod_watches", "Watches of pods: `standing`, or `broken` and being made anew.", ("state",)),
    _sampled("runner_pod_watch_silence_seconds", "The longest time since a watch heard of its API server."),
    _counter("runner_pod_watch_lists_total", "Times that all pods were listed, for a watch to begin from."),
    _counter("runner_pod_watch_interruptions_total", "Watches and lists that failed."),
    _histogram("runner_event_loop_lag_seconds", "How late the event loop was, once a second.", (), LAG_BUCKETS),
    _sampled("runner_configuration_valid", "1: config.toml was fine when it was last read."),
    _sampled("runner_configuration_loaded_timestamp_seconds", "When the configuration in force was read."),
)
"""This project's own."""

FAMILIES = (*ORIGINAL, *OWN)

NOT_HERE: tuple[tuple[str, str], ...] = (
    (
        "gitlab_runner_request_concurrency_exceeded_total",
        "no turn is lost: a runner whose requests are all under way has its turn when one of them ends",
    ),
    ("gitlab_runner_job_inputs_*", "job inputs are not interpolated, and GitLab is told so"),
    ("gitlab_runner_job_router_*", "there is no job router"),
    ("gitlab_runner_cache_s3_assume_role_*", "credentials of a role are kept by the store; no gauge tells of them"),
    ("gitlab_runner_kubernetes_autoscaler_*", "there are no pause pods"),
    ("go_*", "`python_*` tells of this runtime"),
)
"""The original's that are missing, each with its reason."""
