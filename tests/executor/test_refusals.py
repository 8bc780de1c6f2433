"""Trouble with the API server, and whose fault it is."""

from __future__ import annotations

from typing import Any

import pytest

from runner.executor.refusals import job_error, refusal
from runner.executor.requesting import pod_request
from runner.job.outcome import JobConfigurationError, JobError, RunnerSystemError
from runner.kube.errors import (
    BadRequestError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from runner.podspec.request import PodRequest
from tests.executor.parts import job_request

GUARDS: dict[str, Any] = {
    "namespace": "ci",
    "namespace_overwrite_allowed": ".",
    "service_account_overwrite_allowed": ".",
    "bearer_token_overwrite_allowed": True,
    "pod_labels_overwrite_allowed": ".",
    "cpu_request_overwrite_max_allowed": "8",
}


def pod(**variables: str) -> PodRequest:
    """The request for a pod of a job with these variables."""
    request = job_request(kubernetes=GUARDS, variables={f"KUBERNETES_{key}": text for key, text in variables.items()})
    return pod_request(request, request.runner, system_id="r", default_helper_image="helper")


PLACE = {"NAMESPACE_OVERWRITE": "team", "SERVICE_ACCOUNT_OVERWRITE": "sa", "BEARER_TOKEN": "t"}
WHENCE = " (the job's variables overwrite {})"
NAMED = {
    "NAMESPACE_OVERWRITE": "namespace by KUBERNETES_NAMESPACE_OVERWRITE",
    "BEARER_TOKEN": "bearer_token by KUBERNETES_BEARER_TOKEN",
    "CPU_REQUEST": "cpu_request by KUBERNETES_CPU_REQUEST",
    "POD_LABELS_1": "pod_labels.a by KUBERNETES_POD_LABELS_1",
}


@pytest.mark.parametrize(
    ("error", "variables", "kind", "message"),
    [
        (
            NotFoundError('namespaces "ci" not found'),
            {"CPU_REQUEST": "1"},
            JobConfigurationError,
            'the API server refuses the pod: namespaces "ci" not found (`namespace` in [runners.kubernetes] is "ci")',
        ),
        (
            NotFoundError('namespaces "team" not found'),
            {"NAMESPACE_OVERWRITE": "team", "CPU_REQUEST": "1"},
            JobConfigurationError,
            'the API server refuses the pod: namespaces "team" not found' + WHENCE.format(NAMED["NAMESPACE_OVERWRITE"]),
        ),
        (
            InvalidError("requests: must be less than or equal to cpu limit"),
            {"CPU_REQUEST": "1", "POD_LABELS_1": "a=b", "NAMESPACE_OVERWRITE": "team"},
            JobConfigurationError,
            "the API server refuses the pod: requests: must be less than or equal to cpu limit"
            + WHENCE.format(f"{NAMED['POD_LABELS_1']}, {NAMED['CPU_REQUEST']}"),
        ),
        (BadRequestError("bad"), {}, JobConfigurationError, "the API server refuses the pod: bad"),
        (
            ForbiddenError("pods is forbidden: exceeded quota: all"),
            {"NAMESPACE_OVERWRITE": "team"},
            RunnerSystemError,
            "the API server refuses the pod: pods is forbidden: exceeded quota: all",
        ),
        (
            ForbiddenError("pods is forbidden: no right"),
            {"NAMESPACE_OVERWRITE": "team"},
            JobConfigurationError,
            "the API server refuses: pods is forbidden: no right" + WHENCE.format(NAMED["NAMESPACE_OVERWRITE"]),
        ),
        (
            ForbiddenError("pods is forbidden: no right"),
            {"CPU_REQUEST": "1"},
            RunnerSystemError,
            "pods is forbidden: no right (`[runners.kubernetes]` needs a service account with this right)",
        ),
        (
            UnauthorizedError("Unauthorized"),
            {"BEARER_TOKEN": "t"},
            JobConfigurationError,
            "the API server refuses: Unauthorized" + WHENCE.format(NAMED["BEARER_TOKEN"]),
        ),
        (UnauthorizedError("Unauthorized"), {}, RunnerSystemError, "Unauthorized"),
        (UnavailableError("away"), PLACE, RunnerSystemError, "away"),
    ],
    ids=[
        "no namespace",
        "no namespace of the job's",
        "invalid",
        "bad request",
        "quota",
        "forbidden to the job",
        "forbidden to the runner",
        "token of the job's",
        "token of the runner's",
        "away",
    ],
)
def test_refusal_when(error: KubeError, variables: dict[str, str], kind: type[JobError], message: str) -> None:
    """What the job chose is its own fault, and the sentence names its variable."""
    found = refusal(error, pod(**variables))
    assert (type(found), found.message) == (kind, message)


def test_sentence_stays_short_when_a_job_overwrote_much() -> None:
    """Five are enough to know where to look."""
    many = {f"POD_LABELS_{number}": f"a{number}=b" for number in range(100)}
    found = refusal(InvalidError("bad"), pod(**many))
    assert found.message.count("KUBERNETES_") == 5
    assert found.message.endswith(", ...)")


def test_job_error_is_the_jobs_when_it_brought_the_token() -> None:
    """Also later, while its stages run."""
    assert isinstance(job_error(ForbiddenError("no exec"), pod(BEARER_TOKEN="t")), JobConfigurationError)
    assert isinstance(job_error(ForbiddenError("no exec"), pod()), RunnerSystemError)
