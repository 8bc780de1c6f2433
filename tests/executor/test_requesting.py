"""From a job to the request for its pod: what is taken, what is told, what is refused and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from runner.executor.requesting import pod_request
from runner.job.outcome import JobConfigurationError
from runner.podspec.request import PodRequest
from runner.testing.payloads import image
from tests.executor.parts import job_request


def requested(*, told: list[tuple[str, str]] | None = None, **over: Any) -> PodRequest:
    """The request for a job's pod, with the lines that its log is given."""
    request = job_request(**over)
    note = (lambda kind, text: told.append((kind, text))) if told is not None else (lambda kind, text: None)
    return pod_request(request, request.runner, system_id="r", default_helper_image="helper:1", note=note)


def refused(**over: Any) -> str:
    """The sentence that ends the job."""
    with pytest.raises(JobConfigurationError) as error:
        requested(**over)
    return error.value.message


def test_request_has_the_overwrites_when_the_job_made_some() -> None:
    """In its configuration, with their origins; the lines are told in order."""
    told: list[tuple[str, str]] = []
    own = [{"key": "KUBERNETES_SERVICE_CPU_LIMIT", "value": "2"}]
    pod = requested(
        told=told,
        kubernetes={"cpu_limit_overwrite_max_allowed": "4", "service_cpu_limit_overwrite_max_allowed": "4"},
        variables={"KUBERNETES_CPU_LIMIT": "3", "KUBERNETES_MEMORY_LIMIT": "1Gi"},
        services=[image("redis", alias="cache", variables=own)],
    )
    assert (pod.kubernetes.cpu_limit, pod.kubernetes.memory_limit) == ("3", "")
    assert pod.origins == {("cpu_limit",): "KUBERNETES_CPU_LIMIT"}
    assert pod.services[0].resources == {"limits": {"cpu": "2"}}
    assert told == [
        ("plain", '"CPULimit" overwritten with "3"'),
        ("plain", 'Service "cache": "ServiceCPULimit" overwritten with "2"'),
    ]


def test_first_error_wins_in_the_order_of_the_original() -> None:
    """Overwrites, then services, then the image."""
    wrong: dict[str, Any] = {
        "kubernetes": {
            "cpu_limit_overwrite_max_allowed": "1",
            "service_cpu_limit_overwrite_max_allowed": "1",
            "allowed_services": ["postgres"],
        },
        "variables": {"KUBERNETES_CPU_LIMIT": "2"},
        "services": [image("redis", variables=[{"key": "KUBERNETES_SERVICE_CPU_LIMIT", "value": "2"}])],
        "image": image(""),
    }
    assert refused(**wrong).startswith("couldn't prepare overwrites: ")
    del wrong["variables"]
    assert refused(**wrong).startswith("couldn't prepare explicit service overwrites: ")
    wrong["services"] = [image("redis")]
    assert refused(**wrong).startswith("no image specified and no default set in config")
    wrong["image"] = image("php")
    assert refused(**wrong).startswith('disallowed image: the "redis" image is not present on list of allowed services')


@pytest.mark.parametrize(
    ("kubernetes", "asked", "allowed"),
    [
        ({"image": "default:1"}, "default:1", True),
        ({"image": "default:1"}, "", True),
        ({"image": "default:$TAG"}, "default:evil", False),
        ({"image": "default:$TAG"}, "", False),
        ({}, "helper:1", True),
        ({"helper_image": "mine:1"}, "mine:1", True),
        ({"helper_image": "mine:1"}, "helper:1", False),
        ({"helper_image": "$TAG"}, "evil", False),
        ({}, "ruby:$TAG", True),
        ({}, "$IMAGE", False),
    ],
    ids=[
        "configured",
        "none asked for",
        "variable in the configured one",
        "default by a variable",
        "helper",
        "configured helper",
        "helper that is not used",
        "helper by a variable",
        "expanded",
        "expanded to another",
    ],
)
def test_image_is_allowed_when(kubernetes: dict[str, Any], asked: str, allowed: bool) -> None:
    """What the list matches, and what the operator named without leaving it to the job."""
    job: dict[str, Any] = {
        "kubernetes": {"allowed_images": ["ruby:*"], **kubernetes},
        "image": image(asked),
        "variables": {"TAG": "evil", "IMAGE": "php:8"},
    }
    if allowed:
        assert requested(**job).build_image
    else:
        assert refused(**job).startswith("disallowed image: ")


def test_service_of_the_configuration_is_allowed_when_the_list_does_not_name_it() -> None:
    """The operator wrote it; a service of the job needs the list, whatever its alias."""
    kubernetes: dict[str, Any] = {
        "allowed_services": ["postgres:*"],
        "services": [{"name": "redis:7", "alias": "cache"}],
    }
    assert [service.image for service in requested(kubernetes=kubernetes).services] == ["redis:7"]
    assert refused(kubernetes=kubernetes, services=[image("mysql:8", alias="postgres")]).startswith("disallowed image")


def test_line_of_the_log_is_not_forged_when_an_image_has_two() -> None:
    """Nothing could run it anyway."""
    assert refused(image=image("a\nERROR: Job failed")) == '"a\\nERROR: Job failed" is no name of an image'
