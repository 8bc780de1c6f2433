"""Metrics: names, labels and buckets as they are promised, and values as things happen."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from runner.config.model import Config, RunnerConfig
from runner.job.outcome import ScriptError, outcome_of
from runner.job.payload import Job
from runner.status.board import ProcessState, Questions, StatusBoard
from runner.status.card import PHASES
from runner.status.families import FAMILIES, NOT_HERE, ORIGINAL, OWN, Kind
from runner.status.metrics import Metrics
from runner.status.samples import SAMPLES
from runner.testing.payloads import job_payload

TOKEN = "glrt-Ab3dEfGh1JkLmNoPqRsT"
RUNNER = {"name": "r", "url": "https://gitlab.example.com", "token": TOKEN, "limit": 2}
WHO = {"runner": "Ab3dEfGh1", "runner_name": "r", "system_id": "s_0123456789ab"}


def a_board(**over: object) -> tuple[StatusBoard, Metrics]:
    """A board of one runner, and what counts for it."""
    metrics = Metrics(revision="abc")
    board = StatusBoard(system_id="s_0123456789ab", meter=metrics)
    metrics.watch(board)
    board.configured(Config.model_validate({"concurrent": 3, "runners": [{**RUNNER, **over}]}))
    return board, metrics


def samples(metrics: Metrics) -> dict[str, list[Sample]]:
    """The page as Prometheus' own parser reads it, by the names of the samples."""
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(metrics.page()[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample's value."""
    return metrics.registry.get_sample_value(name, labels)


# The names and labels of the original, as its scripts and dashboards use them.
GOLDEN = """\
gauge gitlab_runner_version_info name version revision branch go_version built_at os architecture
gauge gitlab_runner_concurrent
gauge gitlab_runner_limit runner runner_name system_id
gauge gitlab_runner_jobs runner runner_name system_id state stage executor_stage
counter gitlab_runner_jobs_total runner runner_name system_id
counter gitlab_runner_job_execution_mode_total mode executor
histogram gitlab_runner_job_duration_seconds runner runner_name system_id mode
histogram gitlab_runner_job_queue_duration_seconds runner runner_name system_id project_jobs_running
gauge gitlab_runner_job_queue_size runner runner_name system_id
gauge gitlab_runner_job_queue_depth runner runner_name system_id
histogram gitlab_runner_job_stage_duration_seconds runner runner_name system_id stage
counter gitlab_runner_acceptable_job_queuing_duration_exceeded_total runner runner_name system_id
counter gitlab_runner_failed_jobs_total runner runner_name failure_reason mode
counter gitlab_runner_errors_total level
gauge gitlab_runner_request_concurrency runner system_id
gauge gitlab_runner_request_concurrency_hard_limit runner system_id
gauge gitlab_runner_request_concurrency_adaptive_limit runner system_id
gauge gitlab_runner_request_concurrency_used_limit runner system_id
counter gitlab_runner_api_request_statuses_total runner system_id endpoint status method
histogram gitlab_runner_api_request_duration_seconds runner system_id endpoint status_class method
counter gitlab_runner_api_request_retries_total path method
counter gitlab_runner_worker_feeds_total runner runner_name system_id
counter gitlab_runner_worker_feed_failures_total runner runner_name system_id
gauge gitlab_runner_worker_slots_number
counter gitlab_runner_worker_slot_operations_total operation
counter gitlab_runner_worker_processing_failures_total failure_type runner runner_name system_id
counter gitlab_runner_worker_health_check_failures_total runner runner_name system_id
counter gitlab_runner_configuration_loaded_total
counter gitlab_runner_configuration_loading_error_total
counter gitlab_runner_configuration_saved_total
counter gitlab_runner_configuration_saving_error_total
gauge gitlab_runner_process_state_info state
"""

BUCKETS = {
    "gitlab_runner_job_duration_seconds": (30, 60, 300, 600, 1800, 3600, 7200, 10800, 18000, 36000),
    "gitlab_runner_job_queue_duration_seconds": (1, 3, 10, 30, 60, 120, 300, 900, 1800, 3600),
    "gitlab_runner_job_stage_duration_seconds": (1, 3, 10, 30, 60, 120, 300, 900, 1800, 3600),
    "gitlab_runner_api_request_duration_seconds": (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
}


def test_names_and_labels_are_the_original_ones() -> None:
    """Whoever has a dashboard of the original's keeps it."""
    written = "".join(f"{' '.join((family.type, family.name, *family.labels))}\n" for family in ORIGINAL)
    assert written == GOLDEN
    assert {family.name: family.buckets for family in ORIGINAL if family.kind is Kind.HISTOGRAM} == BUCKETS


def test_names_of_our_own_have_a_prefix_of_their_own() -> None:
    """Nobody takes one for the original's, and none is named twice."""
    assert all(family.name.startswith("runner_") for family in OWN)
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert not {name for name, _ in NOT_HERE} & set(names)


def test_every_sampled_family_can_be_read() -> None:
    """The table of readers and the table of names agree."""
    assert set(SAMPLES) == {family.name for family in FAMILIES if family.kind is Kind.SAMPLED}


def test_page_when_nothing_has_happened() -> None:
    """Series that are known begin with 0, so that the first event shows as an increase."""
    _, metrics = a_board()
    for name in (
        "jobs_total",
        "worker_feeds_total",
        "worker_feed_failures_total",
        "worker_health_check_failures_total",
    ):
        assert value(metrics, f"gitlab_runner_{name}", **WHO) == 0
    for failure in ("other", "no_free_executor", "job_failure"):
        name = "gitlab_runner_worker_processing_failures_total"
        assert value(metrics, name, failure_type=failure, **WHO) == 0
    for level in ("panic", "fatal", "error", "warning"):
        assert value(metrics, "gitlab_runner_errors_total", level=level) == 0
    idle = {"state": "idle", "stage": "idle", "executor_stage": "idle"}
    assert value(metrics, "gitlab_runner_jobs", **WHO, **idle) == 0
    for phase in PHASES:
        assert value(metrics, "runner_job_phase_duration_seconds_count", phase=phase) == 0
    assert value(metrics, "gitlab_runner_worker_slot_operations_total", operation="started") == 3
    assert value(metrics, "gitlab_runner_worker_slot_operations_total", operation="stopped") == 0
    assert value(metrics, "gitlab_runner_limit", **WHO) == 2
    assert value(metrics, "gitlab_runner_process_state_info", state="starting") == 1


def test_page_is_read_by_a_parser_and_has_no_moments_of_making() -> None:
    """The text form, with the collectors of the process and of Python."""
    _, metrics = a_board()
    found = samples(metrics)
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= set(found)
    assert "python_gc_collections_total" in found
    assert [name for name in found if name.endswith("_created")] == []
    [version] = found["gitlab_runner_version_info"]
    assert (version.labels["name"], version.labels["revision"], version.value) == ("runner", "abc", 1)


def test_page_when_openmetrics_is_asked_for() -> None:
    """Prometheus asks for it before the plain form."""
    _, metrics = a_board()
    body, content_type = metrics.page("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_metrics_when_a_job_fails() -> None:
    """Its queue, its phases, its time and its reason are counted once; while it runs it is a row of the jobs."""
    board, metrics = a_board()
    payload = job_payload(id=7)
    payload["job_info"].update(
        time_in_queue_seconds=42, project_jobs_running_on_instance_runners_count="+Inf", queue_size=5, queue_depth=2
    )
    card = board.job(RunnerConfig.model_validate(RUNNER), Job.parse(payload))
    card.detailed = True
    card.enter("accept")
    card.enter("get_sources")
    card.retried("get_sources")
    row = {"state": "running", "stage": "get_sources", "executor_stage": "run"}
    assert value(metrics, "gitlab_runner_jobs", **WHO, **row) == 1
    card.log_moved(100, 40)
    card.log_moved(150, 60)
    card.ended(outcome_of(ScriptError(1)))
    with card.finish():
        assert value(metrics, "runner_final_states_waiting") == 1
    with card.removal():
        assert value(metrics, "runner_removals_under_way") == 1
    card.close()
    assert value(metrics, "gitlab_runner_jobs", **WHO, **row) is None
    assert value(metrics, "gitlab_runner_jobs_total", **WHO) == 1
    queue = "gitlab_runner_job_queue_duration_seconds_bucket"
    assert value(metrics, queue, **WHO, project_jobs_running="+Inf", le="30.0") == 0
    assert value(metrics, queue, **WHO, project_jobs_running="+Inf", le="60.0") == 1
    assert value(metrics, "gitlab_runner_job_queue_size", **WHO) == 5
    assert value(metrics, "gitlab_runner_job_queue_depth", **WHO) == 2
    failed = {"runner": "Ab3dEfGh1", "runner_name": "r", "failure_reason": "script_failure", "mode": "traditional"}
    assert value(metrics, "gitlab_runner_failed_jobs_total", **failed) == 1
    name = "gitlab_runner_worker_processing_failures_total"
    assert value(metrics, name, failure_type="job_failure", **WHO) == 1
    assert value(metrics, "gitlab_runner_job_duration_seconds_count", **WHO, mode="traditional") == 1
    assert value(metrics, "gitlab_runner_job_stage_duration_seconds_count", **WHO, stage="get_sources") == 1
    assert value(metrics, "runner_jobs_finished_total", **WHO, state="failed") == 1
    assert value(metrics, "runner_job_stage_retries_total", stage="get_sources") == 1
    for phase in ("accept", "get_sources", "finish", "removal"):
        assert value(metrics, "runner_job_phase_duration_seconds_count", phase=phase) == 1
    assert value(metrics, "runner_job_log_bytes_total", direction="received") == 150
    assert value(metrics, "runner_job_log_bytes_total", direction="sent") == 100


def test_stage_durations_when_a_job_has_no_flag_for_them() -> None:
    """The original keeps them back too: they are many."""
    board, metrics = a_board()
    card = board.job(RunnerConfig.model_validate(RUNNER), Job.parse(job_payload()))
    card.enter("get_sources")
    card.close()
    assert "gitlab_runner_job_stage_duration_seconds_count" not in samples(metrics)


def test_labels_are_bounded_whatever_gitlab_sends() -> None:
    """Neither a step's name nor a count makes a series of its own."""
    board, metrics = a_board()
    payload = job_payload()
    payload["job_info"]["project_jobs_running_on_instance_runners_count"] = "<script>"
    card = board.job(RunnerConfig.model_validate(RUNNER), Job.parse(payload))
    card.enter("step_of_my_own")
    card.close()
    queue = "gitlab_runner_job_queue_duration_seconds_count"
    assert value(metrics, queue, **WHO, project_jobs_running="") == 1
    assert value(metrics, "runner_job_phase_duration_seconds_count", phase="step_other") == 1


def test_requests_to_gitlab_have_the_original_names() -> None:
    """Endpoint, lower-case method, status and its class; no answer is -1 and unknown."""
    board, metrics = a_board()
    observe = board.gitlab_observer(RunnerConfig.model_validate(RUNNER))
    observe("POST", "jobs/request", 204, 0.2)
    observe("PATCH", "jobs/:id/trace", -1, 30.5)
    who = {"runner": "Ab3dEfGh1", "system_id": "s_0123456789ab"}
    statuses = "gitlab_runner_api_request_statuses_total"
    assert value(metrics, statuses, **who, endpoint="request_job", status="204", method="post") == 1
    assert value(metrics, statuses, **who, endpoint="patch_trace", status="-1", method="patch") == 1
    durations = "gitlab_runner_api_request_duration_seconds_bucket"
    poll = {"endpoint": "request_job", "status_class": "2xx", "method": "post"}
    assert value(metrics, durations, **who, **poll, le="0.1") == 0
    assert value(metrics, durations, **who, **poll, le="0.25") == 1
    lost = {"endpoint": "patch_trace", "status_class": "unknown", "method": "patch"}
    assert value(metrics, durations, **who, **lost, le="60.0") == 1
    path = "/api/v4/jobs/{id}/trace"
    assert value(metrics, "gitlab_runner_api_request_retries_total", path=path, method="patch") == 1


def test_slots_when_the_configuration_changes() -> None:
    """Those that came and those that went, each in its own count; a broken file shows until it is mended."""
    board, metrics = a_board()
    board.configured(Config.model_validate({"concurrent": 1, "runners": [RUNNER]}))
    board.config_refused()
    operations = "gitlab_runner_worker_slot_operations_total"
    assert value(metrics, operations, operation="started") == 3
    assert value(metrics, operations, operation="stopped") == 2
    assert value(metrics, "gitlab_runner_worker_slots_number") == value(metrics, "gitlab_runner_concurrent") == 1
    assert value(metrics, "gitlab_runner_configuration_loaded_total") == 2
    assert value(metrics, "gitlab_runner_configuration_loading_error_total") == 1
    assert value(metrics, "runner_configuration_valid") == 0
    board.configured(Config.model_validate({"concurrent": 1, "runners": [RUNNER]}))
    assert value(metrics, "runner_configuration_valid") == 1


def test_request_concurrency_when_runners_share_a_token() -> None:
    """They share a series too, for it has no other label."""
    board, metrics = a_board()
    labels = board.labels(RunnerConfig.model_validate(RUNNER))
    board.questions = lambda: (
        Questions(labels=labels, under_way=1, hard_limit=4, adaptive_limit=2),
        Questions(labels=labels, under_way=2, hard_limit=1, adaptive_limit=3),
    )
    who = {"runner": "Ab3dEfGh1", "system_id": "s_0123456789ab"}
    assert value(metrics, "gitlab_runner_request_concurrency", **who) == 3
    assert value(metrics, "gitlab_runner_request_concurrency_hard_limit", **who) == 5
    assert value(metrics, "gitlab_runner_request_concurrency_used_limit", **who) == 3


def test_process_state_is_exactly_one_series() -> None:
    """The state before is gone."""
    board, metrics = a_board()
    board.enter(ProcessState.GRACEFUL_SHUTDOWN)
    [state] = samples(metrics)["gitlab_runner_process_state_info"]
    assert (state.labels, state.value) == ({"state": "graceful-shutdown"}, 1)


def test_errors_are_counted_by_the_original_levels() -> None:
    """What structlog calls critical is fatal; information is not counted."""
    _, metrics = a_board()
    for level in ("info", "warning", "error", "critical", "error"):
        metrics.logged(level)
    counted = {sample.labels["level"]: sample.value for sample in samples(metrics)["gitlab_runner_errors_total"]}
    assert counted == {"panic": 0, "fatal": 1, "error": 2, "warning": 1}


def test_two_managers_in_one_process_do_not_share() -> None:
    """There is no global registry."""
    one, first = a_board()
    _, second = a_board()
    one.job(RunnerConfig.model_validate(RUNNER), Job.parse(job_payload()))
    assert value(first, "gitlab_runner_jobs_total", **WHO) == 1
    assert value(second, "gitlab_runner_jobs_total", **WHO) == 0


def test_page_holds_no_token() -> None:
    """Nine characters of it name a runner, and nothing else."""
    _, metrics = a_board()
    text = metrics.page()[0].decode()
    assert TOKEN not in text
    assert TOKEN.removeprefix("glrt-")[:10] not in text
