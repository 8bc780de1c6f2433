"""What ends a job before its pod runs, and under which reason."""

from typing import Any

import pytest

from runner.job.outcome import (
    ExternalDependencyError,
    FailureReason,
    ImagePullError,
    JobConfigurationError,
    JobError,
    RunnerSystemError,
    outcome_of,
)
from runner.podspec.status import read_pod
from runner.podspec.trouble import Trouble, start_timeout, trouble

CONFIGURATION = FailureReason.RUNNER_CONFIGURATION_ERROR
SYSTEM = FailureReason.RUNNER_SYSTEM_FAILURE
RUNNING: dict[str, Any] = {"running": {}}


def view(build: dict[str, Any], helper: dict[str, Any] | None = None, **status: Any) -> Any:
    """The view of a pod whose containers are in these states."""
    metadata = status.pop("metadata", {})
    return read_pod(
        {
            "metadata": {"name": "runner-1", "namespace": "ci", **metadata},
            "spec": {"containers": [{"name": "build", "image": "ruby:3"}, {"name": "helper", "image": "helper:1"}]},
            "status": {
                "phase": "Pending",
                "containerStatuses": [
                    {"name": "build", "state": build},
                    {"name": "helper", "state": RUNNING if helper is None else helper},
                ],
                **status,
            },
        }
    )


def waiting(reason: str, message: str = "", **more: Any) -> Any:
    """The view of a pod whose build container waits."""
    return view({"waiting": {"reason": reason, "message": message}}, **more)


def ended(exit_code: int, reason: str, message: str = "") -> dict[str, Any]:
    """The state of a container that ended."""
    return {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("message", "cause", "reason", "transient"),
    [
        ('Head "https://r/v2": dial tcp: lookup r: no such host', "pull.unreachable", "external", True),
        ("connect: Connection Refused", "pull.unreachable", "external", True),
        ("net/http: TLS handshake timeout", "pull.unreachable", "external", True),
        ("net/http: request canceled (Client.Timeout exceeded)", "pull.unreachable", "external", True),
        ("read: connection reset by peer", "pull.unreachable", "external", True),
        ("i/o timeout: not found", "pull.unreachable", "external", True),
        ("manifest for ruby:nope not found: manifest unknown", "pull.refused", "configuration", False),
        (
            "pull access denied, repository does not exist or may require authorization",
            "pull.refused",
            "configuration",
            False,
        ),
        ("failed to authorize: 401 Unauthorized", "pull.refused", "configuration", False),
        ("no basic auth credentials", "pull.refused", "configuration", False),
        ("toomanyrequests: You have reached your pull rate limit", "pull.failed", "pull", True),
        ("unexpected status: 503 Service Unavailable", "pull.failed", "pull", True),
        ("no space left on device", "pull.failed", "pull", False),
        ("", "pull.failed", "pull", False),
    ],
)
@pytest.mark.parametrize("waits", ["ErrImagePull", "ImagePullBackOff"])
def test_pull_failure_is_classified_when(waits: str, message: str, cause: str, reason: str, transient: bool) -> None:
    """GitLab Runner's words in its order; whether it is worth another try is told apart."""
    reasons = {
        "external": FailureReason.RUNNER_EXTERNAL_DEPENDENCY_FAILURE,
        "configuration": CONFIGURATION,
        "pull": FailureReason.IMAGE_PULL_FAILURE,
    }
    found = trouble(waiting(waits, message))

    assert found == Trouble(
        cause, reasons[reason], f"image pull failed: {message or waits}", "build", "ruby:3", transient
    )
    assert found.is_pull


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        (
            "InvalidImageName",
            "couldn't parse image name",
            Trouble(
                "pull.invalid_name", CONFIGURATION, "image pull failed: couldn't parse image name", "build", "ruby:3"
            ),
        ),
        (
            "ErrImageNeverPull",
            'Container image "ruby:3" is not present with pull policy of Never',
            Trouble(
                "pull.never",
                FailureReason.IMAGE_PULL_FAILURE,
                'image pull failed: Container image "ruby:3" is not present with pull policy of Never',
                "build",
                "ruby:3",
            ),
        ),
        (
            "CreateContainerConfigError",
            'secret "nope" not found',
            Trouble(
                "start.config",
                CONFIGURATION,
                'container configuration error: secret "nope" not found',
                "build",
                "ruby:3",
            ),
        ),
        ("ContainerCreating", "", None),
        ("CreateContainerError", "no command specified", None),
        ("RunContainerError", "oops", None),
        ("RegistryUnavailable", "oops", None),
        ("SomethingNew", "oops", None),
    ],
)
def test_waiting_reason_is_fatal_when_known(reason: str, message: str, expected: Trouble | None) -> None:
    """The rest is waited out: kubelet may yet get over it."""
    assert trouble(waiting(reason, message)) == expected


def test_only_another_pull_policy_helps_when_the_name_is_one() -> None:
    """An image name that nobody can parse stays so under any policy."""
    assert not Trouble("pull.invalid_name", CONFIGURATION, "x").is_pull
    assert Trouble("pull.never", CONFIGURATION, "x").is_pull
    assert not Trouble("start.config", CONFIGURATION, "x").is_pull


def test_crash_loop_tells_the_last_words_when_there_are_some() -> None:
    """What the container said is worth more than how long kubelet will wait."""
    found = trouble(
        read_pod(
            {
                "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "svc-0", "image": "db"}]},
                "status": {
                    "containerStatuses": [
                        {
                            "name": "svc-0",
                            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                            "lastState": {"terminated": {"exitCode": 1, "message": "no password set"}},
                        }
                    ]
                },
            }
        )
    )

    assert found == Trouble(
        "start.crashloop", CONFIGURATION, "container crashes again and again: no password set", "svc-0", "db"
    )


def test_credentials_are_blotted_out_when_the_registry_repeats_them() -> None:
    """The text goes to the job log."""
    found = trouble(waiting("ErrImagePull", "Get https://user:pa:ss@registry.example.com/v2: not found"))

    assert found is not None
    assert found.message == "image pull failed: Get https://[MASKED]@registry.example.com/v2: not found"


DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "preempting to accommodate a higher priority pod",
}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(
            view(ended(128, "StartError", 'exec: "sh": executable file not found in $PATH'), phase="Running"),
            Trouble(
                "start.entrypoint",
                CONFIGURATION,
                "Error in container build: exit code: 128, reason: 'StartError': "
                'exec: "sh": executable file not found in $PATH',
                "build",
                "ruby:3",
            ),
            id="no shell in the image",
        ),
        pytest.param(
            view(RUNNING, ended(128, "ContainerCannotRun"), phase="Running"),
            Trouble(
                "start.entrypoint",
                CONFIGURATION,
                "Error in container helper: exit code: 128, reason: 'ContainerCannotRun'",
                "helper",
                "helper:1",
            ),
            id="helper cannot start",
        ),
        pytest.param(
            view(ended(1, "Error"), phase="Running"),
            Trouble(
                "start.entrypoint",
                CONFIGURATION,
                "Error in container build: exit code: 1, reason: 'Error'",
                "build",
                "ruby:3",
            ),
            id="agent gave up",
        ),
        pytest.param(
            view(ended(137, "OOMKilled"), phase="Running"),
            Trouble(
                "run.oom",
                FailureReason.SCRIPT_FAILURE,
                "Error in container build: exit code: 137, reason: 'OOMKilled'",
                exit_code=137,
            ),
            id="memory limit too small for a shell",
        ),
        pytest.param(
            view(RUNNING, ended(1, "Error"), phase="Running"),
            Trouble("helper.died", SYSTEM, "Error in container helper: exit code: 1, reason: 'Error'"),
            id="helper gave up",
        ),
        pytest.param(
            view(ended(0, "Completed"), ended(0, "Completed"), phase="Succeeded"),
            Trouble("pod.ended", SYSTEM, 'pod "ci/runner-1" already succeeded before it begins running'),
            id="succeeded",
        ),
        pytest.param(
            view({}, {}, phase="Succeeded"),
            Trouble("pod.ended", SYSTEM, 'pod "ci/runner-1" already succeeded before it begins running'),
            id="succeeded, containers unknown",
        ),
        pytest.param(
            view({}, {}, phase="Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
            Trouble("pod.failed", SYSTEM, 'pod "ci/runner-1" failed: OutOfcpu: Node didn\'t have enough resource: cpu'),
            id="refused by the node",
        ),
        pytest.param(
            view({}, {}, metadata={"deletionTimestamp": "2026-11-21T00:39:08Z"}),
            Trouble("pod.deleted", SYSTEM, 'pod "ci/runner-1" is being deleted'),
            id="deleted",
        ),
        pytest.param(
            view({"waiting": {"reason": "ErrImagePull"}}, {}, conditions=[DISRUPTED]),
            Trouble(
                "node.preempted",
                SYSTEM,
                'pod "ci/runner-1" is disrupted: reason "PreemptionByScheduler", '
                'message "preempting to accommodate a higher priority pod"',
            ),
            id="preempted while it pulled",
        ),
        pytest.param(
            view({}, {}, phase="Failed", reason="DeadlineExceeded"),
            Trouble(
                "run.timeout",
                FailureReason.JOB_EXECUTION_TIMEOUT,
                'pod "ci/runner-1" ran longer than its activeDeadlineSeconds',
            ),
            id="never in time",
        ),
        pytest.param(view(RUNNING, RUNNING, phase="Running"), None, id="runs"),
        pytest.param(view({}, {}), None, id="no news"),
    ],
)
def test_trouble_when(pod: Any, expected: Trouble | None) -> None:
    """Ends, deletions and disruptions before the pod could run."""
    assert trouble(pod) == expected


def test_failed_init_container_is_told_when_the_pod_failed() -> None:
    """Only a patched pod has one, so the sentence has to name it."""
    found = trouble(
        read_pod(
            {
                "metadata": {"name": "p", "namespace": "ci"},
                "spec": {"containers": [{"name": "build"}], "initContainers": [{"name": "setup", "image": "i"}]},
                "status": {
                    "phase": "Failed",
                    "initContainerStatuses": [{"name": "setup", "state": ended(3, "Error", "no disk")}],
                },
            }
        )
    )

    assert found == Trouble(
        "start.entrypoint",
        CONFIGURATION,
        "Error in container setup: exit code: 3, reason: 'Error': no disk",
        "setup",
        "i",
    )


@pytest.mark.parametrize(
    ("reason", "message", "fatal"),
    [
        ("FailedCreatePodSandBox", "runtime does not support user namespaces", True),
        ("FailedCreatePodSandBox", "network not ready", False),
        ("Other", "user namespaces", False),
    ],
)
def test_missing_user_namespaces_are_fatal_when_an_event_tells(reason: str, message: str, fatal: bool) -> None:
    """The status never says so; the pod would wait for ever."""
    found = trouble(waiting("ContainerCreating"), [{"reason": reason, "message": message}])

    assert (found is not None) is fatal
    assert found is None or found.reason is CONFIGURATION


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (FailureReason.IMAGE_PULL_FAILURE, ImagePullError),
        (CONFIGURATION, JobConfigurationError),
        (FailureReason.RUNNER_EXTERNAL_DEPENDENCY_FAILURE, ExternalDependencyError),
        (SYSTEM, RunnerSystemError),
        (FailureReason.SCRIPT_FAILURE, JobError),
    ],
)
def test_error_carries_the_reason_when_raised(reason: FailureReason, kind: type[JobError]) -> None:
    """GitLab is told what the trouble says."""
    error = Trouble("x.y", reason, "what happened", exit_code=137).error()

    assert isinstance(error, kind)
    outcome = outcome_of(error)
    assert (outcome.reason, outcome.message, outcome.exit_code) == (reason, "what happened", 137)


SCHEDULED = {"type": "PodScheduled", "status": "True"}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "message": "no room"}


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        (
            view({}, {}, phase="Running", conditions=[SCHEDULED]),
            "timed out waiting for pod to start (last phase: Running)",
        ),
        (
            waiting("ContainerCreating", conditions=[UNSCHEDULABLE]),
            "timed out waiting for pod to start (last phase: Pending): cannot be scheduled: no room",
        ),
    ],
    ids=["nothing known", "unschedulable"],
)
def test_start_timeout_tells_what_stood_in_the_way_when_known(pod: Any, message: str) -> None:
    """That the time is over is the least useful half of the sentence."""
    assert start_timeout(pod) == Trouble("start.timeout", SYSTEM, message)


def test_start_timeout_is_the_jobs_when_a_container_could_not_be_made() -> None:
    """An image without a command stays unmade for ever, and no operator can help that."""
    assert start_timeout(waiting("CreateContainerError", "no command specified", conditions=[SCHEDULED])) == Trouble(
        "start.container",
        CONFIGURATION,
        "timed out waiting for pod to start (last phase: Pending): "
        "container build cannot be created: no command specified",
        "build",
        "ruby:3",
    )
