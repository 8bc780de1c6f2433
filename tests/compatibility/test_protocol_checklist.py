"""The protocol's acceptance checklist, line by line: what proves each, and that it is there."""

from __future__ import annotations

import zlib

import anyio
import pytest

from runner.config.model import Config
from runner.gitlab.coordinator import Coordinator
from runner.gitlab.features import ClientInfo
from runner.gitlab.transport import ClientPool
from runner.job.outcome import Outcome
from runner.manager.desks import CoordinatorDesk
from runner.manager.manager import RunnerManager
from runner.manager.material import Identity
from runner.manager.tracing import Trace
from runner.testing.faults import FaultRule, Reply
from runner.testing.gitlab import GitLabServer
from runner.trace.journal import LogEntry
from runner.trace.masking import Masker
from runner.trace.rendering import Renderer
from tests.collected import collected
from tests.manager.parts import NoCaches, Room

REQUESTS = "tests/gitlab/test_coordinator_requests.py::"
LIVE = "tests/gitlab/test_coordinator_live.py::"
TRANSCRIPTS = "tests/compatibility/test_transcripts.py::"
HERE = "tests/compatibility/test_protocol_checklist.py::"
PATCHING = "tests/trace/test_patching.py::"
MASKING = "tests/trace/test_masking.py::"
STAMPS = "tests/trace/test_timestamps.py::"
BACKOFF = "tests/gitlab/test_backoff.py::"
CAPACITY = "tests/manager/test_capacity.py::"
HEALTH = "tests/manager/test_health.py::"
RELOAD = "tests/manager/test_reload.py::"
RUN = "tests/cli/test_run.py::"
SYSTEM_ID = "tests/manager/test_system_id.py::"
STATUS = "tests/status/"

LINES: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "`/ci/` and slash are normalised; a job with holes and unknown keys is read",
        (
            f"{REQUESTS}test_url_is_brought_to_its_root",
            "tests/job/test_payload.py::test_payload_of_id_and_token_alone_is_enough",
            "tests/job/test_payload.py::test_null_is_the_default_for_each_top_level_field",
            "tests/job/test_payload.py::test_unknown_fields_are_kept_at_every_level",
            f"{TRANSCRIPTS}test_successful_job",
        ),
    ),
    2: (
        "`last_update` comes back after a 204; a cursor for each runner",
        (
            f"{REQUESTS}test_cursor_is_sent_back_and_only_for_a_long_poll",
            f"{REQUESTS}test_two_runners_have_cursors_of_their_own",
            f"{TRANSCRIPTS}test_no_job_then_limited_then_forbidden",
        ),
    ),
    3: (
        "PUT `running` is the first call; refused or canceling there: no pod",
        (
            f"{HERE}test_acknowledgement_is_the_first_word_about_a_job",
            f"{HERE}test_acknowledgement_is_repeated_while_gitlab_is_busy",
            "tests/manager/test_job_run.py::test_run_when_the_job_is_canceled_already",
            "tests/manager/test_job_run.py::test_run_when_the_first_word_is_not_heard",
        ),
    ),
    4: (
        "Content-Range has both ends; patches of a mebibyte, one for each interval; the end without sleeps",
        (
            f"{REQUESTS}test_patch_names_its_bytes_with_both_ends",
            f"{PATCHING}test_patches_are_bounded_and_follow_at_once_when_whole",
            f"{PATCHING}test_successful_job_is_the_transcript",
            f"{TRANSCRIPTS}test_successful_job",
        ),
    ),
    5: (
        "416 in all forms, 412, 202 as long as the server says, 409 and 500 with a limit",
        (
            f"{TRANSCRIPTS}test_range_that_does_not_match",
            f"{PATCHING}test_whole_log_is_sent_again_when_the_trace_is_invalid",
            f"{PATCHING}test_end_waits_as_long_as_the_server_says",
            f"{PATCHING}test_patch_is_tried_again_when_it_failed[409]",
            f"{PATCHING}test_patch_is_tried_again_when_it_failed[500]",
            f"{PATCHING}test_end_is_given_up_after_the_bound",
        ),
    ),
    6: (
        "a silent job is asked about after 30 s; the interval is the server's, capped",
        (
            f"{TRANSCRIPTS}test_job_canceled_in_mid_trace",
            f"{PATCHING}test_interval_is_the_servers[3-3.0]",
            f"{PATCHING}test_interval_is_the_servers[60-60.0]",
            f"{PATCHING}test_interval_is_the_servers[100000-900.0]",
            f"{PATCHING}test_interval_is_the_servers[None-3.0]",
            "tests/gitlab/test_replies.py::test_update_reply_is_its_status_and_headers[garbage-interval]",
        ),
    ),
    7: (
        "cancel and abort in prepare, script, after_script, upload; after_script once, in the script's case alone",
        ("tests/compatibility/test_cancels.py::test_job_is_ended_in",),
    ),
    8: (
        "checksum and size are those of what GitLab stores, limit and broken characters included",
        (
            f"{HERE}test_checksum_is_that_of_what_gitlab_stores",
            "tests/trace/test_buffer.py::test_log_is_cut_at_its_limit",
            "tests/trace/test_buffer.py::test_bytes_are_exact",
        ),
    ),
    9: (
        "masking at any split, overlaps, prefixes at the end, parameters of URLs, lines of our own",
        (
            f"{MASKING}test_mask_is_the_same_when_the_text_comes_byte_by_byte",
            f"{MASKING}test_phrases_are_masked_at_any_split",
            f"{MASKING}test_names_are_masked_at_any_split",
            "tests/trace/test_rendering.py::test_secret_in_an_error_line_is_masked",
        ),
    ),
    10: (
        "headers of 32 bytes, `+` after CR, each writer for itself",
        (
            f"{STAMPS}test_header_is_thirty_two_bytes",
            f"{STAMPS}test_entries_are_written",
            f"{STAMPS}test_streams_go_on_by_themselves",
            f"{STAMPS}test_successful_job_is_the_transcript",
        ),
    ),
    11: (
        "a final answer with `Job-Status: failed` is the end: no retry, no error",
        (f"{PATCHING}test_end_is_delivered", f"{TRANSCRIPTS}test_job_canceled_by_force"),
    ),
    12: (
        "waits by the server's word in all forms; five attempts of what may be repeated; not 501, not 409",
        (
            f"{BACKOFF}test_server_names_the_wait",
            f"{BACKOFF}test_status_says_whether_to_try_again",
            f"{BACKOFF}test_jittered_wait_doubles_up_to_its_limit",
            f"{REQUESTS}test_update_is_repeated_as_often_as_asked",
            f"{REQUESTS}test_request_for_a_job_is_sent_once_whatever_comes",
        ),
    ),
    13: (
        "three refusals disable a runner, trouble of the network does not, a reload enables it",
        (
            f"{HEALTH}test_healthy_when_answers_come",
            f"{HEALTH}test_heard_when_the_limit_is_one",
            "tests/manager/test_scheduler.py::test_a_loaded_configuration_ends_the_wait_of_a_refused_runner",
        ),
    ),
    14: (
        "the pace of questions, strict or not; limits; adaptive concurrency",
        (
            f"{CAPACITY}test_a_quick_no_waits_for_check_interval",
            f"{CAPACITY}test_a_job_is_followed_by_the_next_question_at_once",
            f"{CAPACITY}test_strict_check_interval_keeps_its_pace_after_a_job",
            f"{CAPACITY}test_limit_counts_jobs_and_questions_of_a_runner",
            f"{CAPACITY}test_request_concurrency_bounds_the_questions_of_a_runner",
            f"{CAPACITY}test_request_concurrency_when_it_adapts",
        ),
    ),
    15: (
        "QUIT drains, TERM aborts as `runner_interrupted`, a second leaves with 1, `shutdown_timeout`",
        (
            "tests/manager/test_signals.py::test_next_wish",
            "tests/manager/test_signals.py::test_obey_when_the_end_takes_too_long",
            "tests/manager/test_manager.py::test_abort_when_a_job_runs",
            f"{RUN}test_a_signal_ends_the_process",
            f"{RUN}test_a_second_signal_insists",
        ),
    ),
    16: (
        "links that are swapped, a broken file, `concurrent` up, down and 0",
        (
            f"{RELOAD}test_run_when_a_mounted_configmap_is_swapped",
            f"{RELOAD}test_run_when_the_file_is_broken",
            f"{RELOAD}test_first_when_the_file_cannot_be_used",
            "tests/manager/test_manager_apply.py::test_apply_when_concurrent_goes_up_and_down",
        ),
    ),
    17: (
        "the script of 2017 from end to end",
        ("tests/seeds/test_seed_scripts.py::test_run_script_of_2017_registers_runs_and_unregisters",),
    ),
    18: (
        "a valid system id is kept, an invalid one made anew, a read-only folder tolerated; one for each pod",
        (
            f"{SYSTEM_ID}test_system_id_when_the_file_is_good",
            f"{SYSTEM_ID}test_system_id_when_the_file_is_broken",
            f"{SYSTEM_ID}test_system_id_when_the_folder_cannot_be_written",
            f"{SYSTEM_ID}test_replicas_on_one_volume_have_ids_of_their_own",
        ),
    ),
    19: (
        "reasons that GitLab knows; no exit code of 0; unknown executor options end with 3",
        (
            "tests/job/test_outcome.py::test_reason_is_said_in_words_that_gitlab_knows",
            f"{REQUESTS}test_update_says_what_gitlab_expects",
            f"{HERE}test_unknown_executor_options_end_with_3",
        ),
    ),
    20: (
        "names and labels of metrics, 405 for POST, the form of the list of jobs",
        (
            f"{STATUS}test_metrics.py::test_names_and_labels_are_the_original_ones",
            f"{STATUS}test_server.py::test_paths_when_they_are_read_and_written",
            f"{STATUS}test_board.py::test_job_list_is_the_original_one",
        ),
    ),
}
"""What each line of the checklist asks for, and the tests that prove it; a name without a case stands for all."""


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every test of the named files, with and without its case."""
    tests = collected({test.partition("::")[0] for _, named in LINES.values() for test in named})
    return tests | {test.partition("[")[0] for test in tests}


def test_every_line_is_there() -> None:
    """The checklist has twenty."""
    assert list(LINES) == list(range(1, 21))


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_line_is_proven(line: int, known: set[str]) -> None:
    """The tests that prove it exist."""
    _, named = LINES[line]
    assert named
    assert [test for test in named if test not in known] == []


def manager_of(gitlab: GitLabServer, room: Room) -> RunnerManager:
    """A manager that runs one job in a room."""
    pool = ClientPool()
    entry = {"name": "r", "url": gitlab.url, "token": gitlab.token}
    return RunnerManager(
        Config.model_validate({"concurrent": 1, "check_interval": 1, "runners": [entry]}),
        identity=Identity(name="runner", version="1", revision="abc", system_id="s_0f1e2d3c4b5a", host="here"),
        executor_for=lambda _runner: room,
        coordinator_for=lambda one: Coordinator(one.url, one.token, info=ClientInfo(version="1"), pool=pool),
        caches_for=lambda _runner: NoCaches(),
        close=pool.aclose,
        max_jobs=1,
    )


async def test_acknowledgement_is_the_first_word_about_a_job() -> None:
    """Between the 201 and anything else about the job lies its PUT `running`, which has no log yet."""
    async with GitLabServer() as gitlab:
        job = gitlab.queue(variables={"GIT_STRATEGY": "none"})
        with anyio.fail_after(20):
            await manager_of(gitlab, Room()).serve()
        about = [one for one in gitlab.requests if f"/jobs/{job.id}" in one.path]
        assert gitlab.violations == []
    assert (about[0].method, job.updates[0].state, job.updates[0].checksum) == ("PUT", "running", "")
    assert job.state == "success"


@pytest.mark.parametrize("status", [429, 503])
async def test_acknowledgement_is_repeated_while_gitlab_is_busy(status: int) -> None:
    """Five times at most, and GitLab hears nothing else of the job before it has taken it."""
    async with GitLabServer() as gitlab:
        gitlab.faults.add(FaultRule("PUT", "/jobs/", Reply(status), times=4))
        job = gitlab.queue(variables={"GIT_STRATEGY": "none"})
        with anyio.fail_after(20):
            await manager_of(gitlab, Room()).serve()
        about = [one.method for one in gitlab.requests if f"/jobs/{job.id}" in one.path]
        assert gitlab.violations == []
    assert about[:6] == ["PUT"] * 5 + ["PATCH"]
    assert job.state == "success"


async def test_checksum_is_that_of_what_gitlab_stores() -> None:
    """A log beyond its limit, with bytes that are no text: size and checksum are of the bytes as they are stored."""
    async with GitLabServer(update_interval=0.01) as gitlab:
        record = gitlab.queue()
        coordinator = Coordinator(gitlab.url, gitlab.token, info=ClientInfo(version="1"))
        reply = await coordinator.request_job()
        assert reply.job is not None
        desk = CoordinatorDesk(coordinator, reply.job)
        await desk.update_job(state="running")
        renderer = Renderer(Masker((), ()), timestamps=True, sections=True)
        trace = Trace(desk, renderer, limit_bytes=300, on_signal=lambda _: None, now=lambda: 100.0)
        trace.note("plain", "header")
        for piece in (b"\xff\xfe broken \xe4\xbd", b"\xa0 whole\n", b"x" * 500 + b"\n"):
            trace.data(piece)
            trace.entry(LogEntry(trace.offset, 100.0))
        trace.final_note("green", "Job succeeded")
        with anyio.fail_after(10):
            assert await trace.finish(Outcome.success(), "")
        told = (trace.checksum, trace.size)
        trace.close()
        await coordinator.aclose()
        assert gitlab.violations == []
    assert told == (f"crc32:{zlib.crc32(record.trace):08x}", len(record.trace))
    assert b"Job's log exceeded limit of 300 bytes." in record.trace
    assert record.state == "success"


async def test_unknown_executor_options_end_with_3() -> None:
    """Nothing is made for the job; its log names the options."""
    room = Room()
    async with GitLabServer() as gitlab:
        job = gitlab.queue(image={"name": "alpine", "executor_opts": {"kubernetes": {"bogus": 1}}})
        with anyio.fail_after(20):
            await manager_of(gitlab, room).serve()
        assert gitlab.violations == []
    assert (job.state, job.exit_code, room.did) == ("failed", 3, [])
    assert "image.executor_opts.kubernetes.bogus" in job.text
