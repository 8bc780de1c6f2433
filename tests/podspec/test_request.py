"""The request for a pod: directories and defaults."""

from typing import Any

import pytest

from runner.podspec.request import Directories, directories_for


@pytest.mark.parametrize(
    ("kubernetes", "expected"),
    [
        ({}, Directories(builds="/b", logs="/logs-77-4711", scripts="/scripts-77-4711")),
        (
            {"logs_base_dir": "/var/l/", "scripts_base_dir": "/var/s//"},
            Directories(builds="/b", logs="/var/l/logs-77-4711", scripts="/var/s/scripts-77-4711"),
        ),
    ],
    ids=["default", "base directories"],
)
def test_directories_when(make_request: Any, kubernetes: dict[str, str], expected: Directories) -> None:
    """Named after project and job, so that a shared base directory is no trouble."""
    request = make_request(kubernetes=kubernetes)

    assert directories_for(request.config, request.job, "/b") == expected


def test_request_falls_back_to_the_configuration_when_nothing_is_overwritten(make_request: Any) -> None:
    """The configured namespace and the given default of a flag."""
    request = make_request(feature_flags={"FF_A": True})

    assert (request.pod_namespace, request.kubernetes) == ("ci", request.config.kubernetes)
    assert (request.flag("FF_A", default=False), request.flag("FF_B", default=True)) == (True, True)


def test_request_has_a_namespace_of_its_own_when_each_job_gets_one(make_request: Any) -> None:
    """The job's own namespace wins over the configured and the overwritten one."""
    request = make_request(kubernetes={"namespace_per_job": True}, namespace="overwritten")

    assert request.pod_namespace == "ci-job-4711"
