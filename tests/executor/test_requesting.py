"""From a job to the request for its pod: what is taken, what is told, what is refused and in which order."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.executor.requesting import pod_request
from runner.job.outcome import JobConfigurationError
from runner.job.quantity import parse_quantity
from runner.podspec.pod import build_pod, pod_warnings
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


TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["$A", "${A}", "busybox:1", "ruby:3", "db", "a b", "1000:0", "0", "-1", "2", "500m", "x\ny", "☃"]),
)
IMAGES = st.sampled_from(["ruby:3", "busybox:1", "helper:1", "$A"]) | TEXT
AMOUNT = st.sampled_from(["500m", "1", "1000m", "0.1"]) | st.sampled_from(["500m", "0"]) | TEXT
SERVICES = st.builds(
    lambda name, alias, user, values: image(
        name,
        alias=alias,
        executor_opts={"kubernetes": {"user": user}},
        variables=[{"key": f"KUBERNETES_SERVICE_{key}", "value": value} for key, value in values.items()],
    ),
    IMAGES,
    st.sampled_from(["", "db", "a,b"]) | TEXT,
    TEXT,
    st.dictionaries(st.sampled_from(["CPU_LIMIT", "MEMORY_REQUEST", "CPU_REQUEST"]), AMOUNT, max_size=2),
)
KUBERNETES = {
    "allowed_images": ["ruby:*", "busybox:[0-9]"],
    "allowed_services": ["**"],
    "allowed_users": ["1000", "x"],
    **{
        f"{scope}{amount}_overwrite_max_allowed": "1"
        for scope in ("", "service_", "helper_")
        for amount in ("cpu_limit", "cpu_request", "memory_limit", "memory_request")
    },
}
AMOUNTS = [f"KUBERNETES_{key.removesuffix('_overwrite_max_allowed').upper()}" for key in KUBERNETES if "_max_" in key]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=IMAGES,
    user=TEXT,
    services=st.lists(SERVICES, max_size=3),
    amounts=st.dictionaries(st.sampled_from(AMOUNTS), AMOUNT, max_size=3),
    value=IMAGES,
)
def test_no_job_gets_out_of_its_bounds(
    name: str, user: str, services: list[dict[str, Any]], amounts: dict[str, str], value: str
) -> None:
    """Whatever a job says: JobConfigurationError, or a pod with an allowed image, user and amounts, and plain notes."""
    told: list[tuple[str, str]] = []
    build = image(name, executor_opts={"kubernetes": {"user": user}})
    try:
        job = {"image": build, "services": services, "variables": {**amounts, "A": value}}
        pod = requested(told=told, kubernetes=KUBERNETES, **job)
        manifest = build_pod(pod)
    except JobConfigurationError as refusal:
        assert "\n" not in refusal.message  # noqa: PT017 - which of both happens is the job's choice
        return
    assert re.fullmatch(r"ruby:[^/]*|busybox:[0-9]|helper:1", pod.build_image, re.DOTALL)
    for container in manifest["spec"]["containers"]:
        # The helper's image and commands are ours: no job chooses what root does there.
        root = (0,) if container["name"] == "helper" else ()
        assert container["securityContext"].get("runAsUser") in (None, 1000, *root)
        assert "runAsGroup" not in container["securityContext"] or container["securityContext"]["runAsGroup"] > 0
        for amount in container.get("resources", {}).values():
            assert all(0 <= parse_quantity(text).value <= 1 for text in amount.values())
    assert all(line.isprintable() for _, line in told)
    assert all(line.isprintable() for line in pod_warnings(pod))
