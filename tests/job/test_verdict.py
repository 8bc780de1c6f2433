"""The verdict: every combination of evidence, and the rows that matter spelled out."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from runner.job.outcome import FailureReason, Outcome
from runner.job.verdict import EndedContainer, Evidence, PodFate, Ruling, pod_ruling, ruling, verdict

ATTEMPT = "step_script-1"
WRITTEN = 100.0

WELL = PodFate(name="ci/runner-1")
SUCCESS = Outcome.success()

OOM = EndedContainer("build", 137, "OOMKilled")
BUILD_DONE = EndedContainer("build", 0, "Completed")
BUILD_ERROR = EndedContainer("build", 2, "Error")
HELPER_DONE = EndedContainer("helper", 0, "Completed")
HELPER_OOM = EndedContainer("helper", 137, "OOMKilled")

JOB_MADE = {
    "out of memory": replace(WELL, ended=(OOM,)),
    "build ended": replace(WELL, ended=(BUILD_ERROR,)),
    "build ended with 0": replace(WELL, ended=(BUILD_DONE,)),
    "disk used up": replace(WELL, phase="Failed", reason="Evicted", own_limit=True, message="exceeds the limit"),
    "deadline": replace(WELL, phase="Failed", reason="DeadlineExceeded"),
}
"""Fates that a job brings about without anybody's help."""

OUTSIDE = {
    "deleted": replace(WELL, deleted=True),
    "deleted before": replace(WELL, deleted=True, doomed_at=WRITTEN - 10),
    "deleted in the same second": replace(WELL, deleted=True, doomed_at=WRITTEN),
    "deleted later": replace(WELL, deleted=True, doomed_at=WRITTEN + 10),
    "gone": replace(WELL, gone=True),
    "drained node": replace(WELL, disruption="EvictionByEvictionAPI", deleted=True, doomed_at=WRITTEN - 10),
    "preempted": replace(WELL, disruption="PreemptionByScheduler"),
    "node out of memory": replace(WELL, phase="Failed", reason="Evicted", disruption="TerminationByKubelet"),
    "node down": replace(WELL, phase="Failed", reason="Terminated"),
    "node lost": replace(WELL, phase="Unknown"),
    "container lost": replace(WELL, ended=(EndedContainer("build", 137, "ContainerStatusUnknown"),)),
    "helper ended": replace(WELL, ended=(HELPER_DONE,)),
    "helper out of memory": replace(WELL, ended=(HELPER_OOM,)),
    "both ended": replace(WELL, phase="Succeeded", ended=(BUILD_DONE, HELPER_DONE)),
    "succeeded": replace(WELL, phase="Succeeded"),
    "failed": replace(WELL, phase="Failed"),
}
"""Fates that need somebody or something outside the job."""

FATES = (None, WELL, *JOB_MADE.values(), *OUTSIDE.values())


def all_evidence() -> Iterator[Evidence]:
    """Every combination of what can be known; codes, counts and moments stand for their kinds."""
    flags = (False, True)
    known = itertools.product((None, 0, 1), flags, (0, 2), flags, (None, "step_script-2"), (None, WRITTEN), FATES)
    for exit_code, lost, kills, drained, recorded, recorded_at, pod in known:
        for deadline, canceled, aborted, interrupted, connection_lost in itertools.product(flags, repeat=5):
            yield Evidence(
                ATTEMPT,
                exit_code=exit_code,
                lost=lost,
                oom_kills=kills,
                drained=drained,
                pod=pod,
                deadline=deadline,
                canceled=canceled,
                aborted=aborted,
                interrupted=interrupted,
                connection_lost=connection_lost,
                recorded=recorded,
                recorded_at=recorded_at,
            )


@pytest.fixture(scope="module")
def rulings() -> tuple[tuple[Evidence, Ruling], ...]:
    """Rule over everything, which must not raise."""
    return tuple((evidence, ruling(evidence)) for evidence in all_evidence())


def told_to_stop(evidence: Evidence) -> bool:
    """Whether this process had ended the attempt itself."""
    return evidence.deadline or evidence.canceled or evidence.aborted or evidence.interrupted


def own_record(evidence: Evidence) -> bool:
    """Whether there is a record of this very attempt."""
    return evidence.recorded in (None, ATTEMPT) and (evidence.lost or evidence.exit_code is not None)


def doomed_first(evidence: Evidence) -> bool:
    """Whether the pod was known to be doomed before the record was written."""
    doomed_at = evidence.pod.doomed_at if evidence.pod else None
    return doomed_at is not None and evidence.recorded_at is not None and doomed_at <= evidence.recorded_at


def violations(
    rulings: tuple[tuple[Evidence, Ruling], ...], law: Callable[[Evidence, Ruling], bool]
) -> list[tuple[Evidence, Ruling]]:
    """Some of the rows that break a law; all of them would fill the screen."""
    return list(itertools.islice(((e, r) for e, r in rulings if not law(e, r)), 3))


@pytest.mark.slow
class TestLaws:
    """What holds for every combination of evidence."""

    def test_the_product_is_large_when_listed(self, rulings: tuple[tuple[Evidence, Ruling], ...]) -> None:
        """The laws below are checked on tens of thousands of rows."""
        assert len(rulings) == 3 * 2 * 2 * 2 * 2 * 2 * len(FATES) * 2**5

    def test_each_ruling_has_one_reason_or_is_a_success(self, rulings: tuple[tuple[Evidence, Ruling], ...]) -> None:
        """A success has no reason, everything else exactly one, a cause and a text."""

        def law(_: Evidence, found: Ruling) -> bool:
            outcome = found.outcome
            if outcome.state == "success":
                return outcome == SUCCESS and found.cause == "run.success"
            return isinstance(outcome.reason, FailureReason) and bool(outcome.message) and "." in found.cause

        assert violations(rulings, law) == []

    def test_success_is_exactly_a_drained_record_with_code_0(
        self, rulings: tuple[tuple[Evidence, Ruling], ...]
    ) -> None:
        """Nothing else is green, and nothing that is proven is red."""

        def law(evidence: Evidence, found: Ruling) -> bool:
            proven = (
                own_record(evidence)
                and evidence.exit_code == 0
                and not evidence.lost
                and evidence.drained
                and not told_to_stop(evidence)
                and not doomed_first(evidence)
            )
            return proven == (found.outcome.state == "success")

        assert violations(rulings, law) == []

    def test_what_a_job_does_alone_is_never_a_system_failure(
        self, rulings: tuple[tuple[Evidence, Ruling], ...]
    ) -> None:
        """A user who reads "system failure" looks for the fault at the operator's."""

        def law(evidence: Evidence, found: Ruling) -> bool:
            alone = evidence.pod in (None, WELL, *JOB_MADE.values())
            known = own_record(evidence) or evidence.pod in JOB_MADE.values()
            helpless = evidence.connection_lost or evidence.interrupted
            return not (alone and known and not helpless) or (
                found.outcome.reason is not FailureReason.RUNNER_SYSTEM_FAILURE
            )

        assert violations(rulings, law) == []

    def test_what_comes_from_outside_is_never_the_scripts_fault(
        self, rulings: tuple[tuple[Evidence, Ruling], ...]
    ) -> None:
        """Without a record, or with one that the pod's end may have made, the cause outside is told."""

        def law(evidence: Evidence, found: Ruling) -> bool:
            outside = evidence.pod in OUTSIDE.values() and not told_to_stop(evidence)
            counts = own_record(evidence) and not doomed_first(evidence)
            return not outside or counts or found.outcome.reason is FailureReason.RUNNER_SYSTEM_FAILURE

        assert violations(rulings, law) == []

    def test_who_was_told_to_stop_is_judged_by_who_told_it(self, rulings: tuple[tuple[Evidence, Ruling], ...]) -> None:
        """GitLab's wish comes before the deadline, the deadline before the end of this process; no record counts."""

        def law(evidence: Evidence, found: Ruling) -> bool:
            if evidence.canceled or evidence.aborted:
                expected = FailureReason.JOB_CANCELED
            elif evidence.deadline:
                expected = FailureReason.JOB_EXECUTION_TIMEOUT
            elif evidence.interrupted:
                expected = FailureReason.RUNNER_INTERRUPTED
            else:
                return True
            return found.outcome.reason is expected

        assert violations(rulings, law) == []

    def test_a_failed_scripts_code_is_told_as_it_is(self, rulings: tuple[tuple[Evidence, Ruling], ...]) -> None:
        """`allow_failure: exit_codes` depends on it, drained log or not."""

        def law(evidence: Evidence, found: Ruling) -> bool:
            failed = own_record(evidence) and evidence.exit_code == 1
            if not failed or told_to_stop(evidence) or doomed_first(evidence):
                return True
            whole = evidence.drained or "log" in found.warning
            return (found.outcome.reason, found.outcome.exit_code, whole) == (FailureReason.SCRIPT_FAILURE, 1, True)

        assert violations(rulings, law) == []

    def test_memory_is_named_when_a_process_was_killed_for_it(
        self, rulings: tuple[tuple[Evidence, Ruling], ...]
    ) -> None:
        """Reason and code are two facts: a success with a killed child stays one, with a warning."""

        def law(evidence: Evidence, found: Ruling) -> bool:
            if not evidence.oom_kills or not own_record(evidence) or evidence.exit_code is None:
                return True
            text = f"{found.outcome.message} {found.warning}"
            return told_to_stop(evidence) or doomed_first(evidence) or "out of memory" in text

        assert violations(rulings, law) == []


def failed(reason: FailureReason, message: str, exit_code: int = 0) -> Outcome:
    """A failed outcome, written shortly."""
    return Outcome("failed", reason, exit_code=exit_code, message=message)


SCRIPT = FailureReason.SCRIPT_FAILURE
SYSTEM = FailureReason.RUNNER_SYSTEM_FAILURE

ROWS: dict[str, tuple[Evidence, str, Outcome]] = {
    "done": (Evidence(ATTEMPT, exit_code=0, drained=True), "run.success", SUCCESS),
    "failed with 3": (
        Evidence(ATTEMPT, exit_code=3, drained=True),
        "run.script",
        failed(SCRIPT, "command terminated with exit code 3", 3),
    ),
    "failed with a code of 32 bits": (
        Evidence(ATTEMPT, exit_code=2**32 - 1, drained=True),
        "run.script",
        failed(SCRIPT, "command terminated with exit code -1", -1),
    ),
    "a child killed for memory": (
        Evidence(ATTEMPT, exit_code=137, oom_kills=1, drained=True),
        "run.oom",
        failed(
            SCRIPT,
            "command terminated with exit code 137 "
            "(out of memory: a process was killed at the container's memory limit)",
            137,
        ),
    ),
    "wrapper killed": (
        Evidence(ATTEMPT, lost=True, drained=True),
        "run.killed",
        failed(SCRIPT, "killed: the script ended without leaving an exit code", 137),
    ),
    "wrapper killed for memory": (
        Evidence(ATTEMPT, lost=True, drained=True, oom_kills=2),
        "run.oom",
        failed(
            SCRIPT,
            "killed: the script ended without leaving an exit code "
            "(out of memory: 2 processes were killed at the container's memory limit)",
            137,
        ),
    ),
    "wrapper killed with the container": (
        Evidence(ATTEMPT, lost=True, drained=True, pod=JOB_MADE["out of memory"]),
        "run.oom",
        failed(SCRIPT, "Error in container build: exit code: 137, reason: 'OOMKilled'", 137),
    ),
    "wrapper killed by the deletion": (
        Evidence(ATTEMPT, lost=True, drained=True, pod=OUTSIDE["deleted"]),
        "pod.deleted",
        failed(SYSTEM, 'pod "ci/runner-1" is being deleted'),
    ),
    "wrapper killed and the pod deleted later": (
        Evidence(ATTEMPT, lost=True, drained=True, recorded_at=WRITTEN, pod=OUTSIDE["deleted later"]),
        "run.killed",
        failed(SCRIPT, "killed: the script ended without leaving an exit code", 137),
    ),
    "container out of memory": (
        Evidence(ATTEMPT, pod=JOB_MADE["out of memory"]),
        "run.oom",
        failed(SCRIPT, "Error in container build: exit code: 137, reason: 'OOMKilled'", 137),
    ),
    "container ended by the job": (
        Evidence(ATTEMPT, pod=JOB_MADE["build ended with 0"]),
        "run.container_ended",
        failed(SCRIPT, "Error in container build: exit code: 0, reason: 'Completed'"),
    ),
    "container out of memory, then deleted": (
        Evidence(ATTEMPT, pod=replace(OUTSIDE["deleted"], ended=(OOM, HELPER_DONE))),
        "run.oom",
        failed(SCRIPT, "Error in container build: exit code: 137, reason: 'OOMKilled'", 137),
    ),
    "container killed by a node out of memory": (
        Evidence(ATTEMPT, pod=replace(WELL, ended=(OOM,), disruption="TerminationByKubelet", message="low on memory")),
        "node.evicted",
        failed(SYSTEM, 'pod "ci/runner-1" is disrupted: reason "TerminationByKubelet", message "low on memory"'),
    ),
    "both ended, a child out of memory before": (
        Evidence(ATTEMPT, pod=replace(WELL, ended=(EndedContainer("build", 0, "OOMKilled"), HELPER_DONE))),
        "helper.died",
        failed(SYSTEM, "Error in container helper: exit code: 0, reason: 'Completed'"),
    ),
    "container lost by its node": (
        Evidence(ATTEMPT, pod=OUTSIDE["container lost"]),
        "node.lost",
        failed(
            SYSTEM,
            "Error in container build: exit code: 137, reason: 'ContainerStatusUnknown': "
            "the node lost sight of the container",
        ),
    ),
    "phase unknown": (
        Evidence(ATTEMPT, pod=OUTSIDE["node lost"]),
        "node.lost",
        failed(SYSTEM, 'pod "ci/runner-1" is in phase Unknown'),
    ),
    "phase failed": (
        Evidence(ATTEMPT, pod=replace(OUTSIDE["failed"], message="no word why")),
        "pod.failed",
        failed(SYSTEM, 'pod "ci/runner-1" is in phase Failed: no word why'),
    ),
    "disk used up": (
        Evidence(
            ATTEMPT,
            pod=PodFate(
                "ci/p",
                phase="Failed",
                reason="Evicted",
                own_limit=True,
                message='Usage of EmptyDir volume "repo" exceeds the limit "1Mi". ',
            ),
        ),
        "run.disk",
        failed(
            SCRIPT, 'evicted for using too much disk: Usage of EmptyDir volume "repo" exceeds the limit "1Mi".', 137
        ),
    ),
    "pod's own deadline": (
        Evidence(ATTEMPT, pod=JOB_MADE["deadline"]),
        "run.timeout",
        failed(FailureReason.JOB_EXECUTION_TIMEOUT, 'pod "ci/runner-1" ran longer than its activeDeadlineSeconds'),
    ),
    "deleted in the middle": (
        Evidence(ATTEMPT, pod=OUTSIDE["deleted"]),
        "pod.deleted",
        failed(SYSTEM, 'pod "ci/runner-1" is being deleted'),
    ),
    "gone in the middle": (
        Evidence(ATTEMPT, pod=OUTSIDE["gone"]),
        "pod.gone",
        failed(SYSTEM, 'pods "runner-1" not found'),
    ),
    "evicted by the API": (
        Evidence(ATTEMPT, pod=replace(OUTSIDE["drained node"], message="Eviction API: evicting")),
        "node.evicted",
        failed(
            SYSTEM,
            'pod "ci/runner-1" is disrupted: reason "EvictionByEvictionAPI", message "Eviction API: evicting"',
        ),
    ),
    "evicted and told Succeeded": (
        Evidence(ATTEMPT, pod=OUTSIDE["both ended"]),
        "helper.died",
        failed(SYSTEM, "Error in container helper: exit code: 0, reason: 'Completed'"),
    ),
    "helper out of memory": (
        Evidence(ATTEMPT, pod=OUTSIDE["helper out of memory"]),
        "helper.oom",
        failed(SYSTEM, "Error in container helper: exit code: 137, reason: 'OOMKilled'"),
    ),
    "node shut down": (
        Evidence(ATTEMPT, pod=replace(OUTSIDE["node down"], message="Pod was terminated.")),
        "node.shutdown",
        failed(SYSTEM, 'pod "ci/runner-1" failed: Terminated: Pod was terminated.'),
    ),
    "done, deleted afterwards": (
        Evidence(ATTEMPT, exit_code=0, drained=True, recorded_at=WRITTEN, pod=OUTSIDE["deleted later"]),
        "run.success",
        SUCCESS,
    ),
    "done, deleted at some time": (
        Evidence(ATTEMPT, exit_code=0, drained=True, recorded_at=WRITTEN, pod=OUTSIDE["deleted"]),
        "run.success",
        SUCCESS,
    ),
    "ended with 0 after the deletion": (
        Evidence(ATTEMPT, exit_code=0, drained=True, recorded_at=WRITTEN, pod=OUTSIDE["deleted before"]),
        "pod.deleted",
        failed(SYSTEM, 'pod "ci/runner-1" is being deleted'),
    ),
    "ended with 143 after the eviction": (
        Evidence(ATTEMPT, exit_code=143, drained=True, recorded_at=WRITTEN, pod=OUTSIDE["drained node"]),
        "node.evicted",
        failed(SYSTEM, 'pod "ci/runner-1" is disrupted: reason "EvictionByEvictionAPI", message ""'),
    ),
    "done, log cut off with the pod": (
        Evidence(ATTEMPT, exit_code=0, pod=OUTSIDE["gone"]),
        "pod.gone",
        failed(SYSTEM, 'pods "runner-1" not found'),
    ),
    "done, log taken away by the job": (
        Evidence(ATTEMPT, exit_code=0),
        "run.log_lost",
        failed(
            SCRIPT,
            "the end of the job log cannot be read although the pod is well: was the log directory changed by the "
            "job? (command terminated with exit code 100)",
            100,
        ),
    ),
    "done, said another attempt": (
        Evidence(ATTEMPT, exit_code=0, drained=True, recorded="step_script-0"),
        "run.unknown",
        failed(SYSTEM, "nothing proves how step_script-1 ended"),
    ),
    "connection lost": (
        Evidence(ATTEMPT, connection_lost=True, pod=WELL),
        "kube.connection_lost",
        failed(SYSTEM, "the connection to the pod was lost and could not be made again"),
    ),
    "nothing known": (
        Evidence(ATTEMPT),
        "run.unknown",
        failed(SYSTEM, "nothing proves how step_script-1 ended"),
    ),
    "told to stop and ended with 0": (
        Evidence(ATTEMPT, exit_code=0, drained=True, deadline=True),
        "run.timeout",
        failed(FailureReason.JOB_EXECUTION_TIMEOUT, "the time limit was reached"),
    ),
    "canceled and out of time": (
        Evidence(ATTEMPT, exit_code=143, drained=True, deadline=True, canceled=True),
        "run.canceled",
        failed(FailureReason.JOB_CANCELED, "canceled"),
    ),
    "interrupted": (
        Evidence(ATTEMPT, interrupted=True),
        "run.interrupted",
        failed(FailureReason.RUNNER_INTERRUPTED, "aborted: terminated"),
    ),
}


@pytest.mark.parametrize(("evidence", "cause", "outcome"), ROWS.values(), ids=ROWS.keys())
def test_verdict_when(evidence: Evidence, cause: str, outcome: Outcome) -> None:
    """The rows of the truth table that people meet."""
    assert (ruling(evidence).cause, verdict(evidence)) == (cause, outcome)


@pytest.mark.parametrize(
    ("evidence", "warning"),
    [
        pytest.param(Evidence(ATTEMPT, exit_code=0, drained=True), "", id="nothing to tell"),
        pytest.param(
            Evidence(ATTEMPT, exit_code=0, drained=True, oom_kills=1),
            "out of memory: a process was killed at the container's memory limit, and the script went on",
            id="child killed, script went on",
        ),
        pytest.param(
            Evidence(
                ATTEMPT,
                exit_code=0,
                drained=True,
                pod=PodFate("ci/p", ended=(EndedContainer("build", 0, "OOMKilled"),)),
            ),
            "out of memory: a process was killed at the container's memory limit, and the script went on",
            id="container ended with OOMKilled and 0",
        ),
        pytest.param(
            Evidence(ATTEMPT, exit_code=1),
            "the end of the job log could not be read",
            id="failed, log not whole",
        ),
        pytest.param(
            Evidence(ATTEMPT, exit_code=0, connection_lost=True),
            "the script ended with exit code 0, but this does not prove its success",
            id="ended with 0, unproven",
        ),
    ],
)
def test_warning_when(evidence: Evidence, warning: str) -> None:
    """What the log should tell beside the outcome."""
    assert ruling(evidence).warning == warning


@pytest.mark.parametrize("fate", [None, WELL], ids=["unknown", "well"])
def test_pod_ruling_is_none_when_the_pod_is_well(fate: PodFate | None) -> None:
    """A pod that is well ends no job."""
    assert pod_ruling(fate) is None


def test_ended_container_is_a_plain_tuple_when_compared() -> None:
    """Whoever derives it may hand in what a status holds."""
    assert EndedContainer("build", 1, "Error", 9) == ("build", 1, "Error", 9)
