"""What one job is run with, and what it may not ask for."""

from __future__ import annotations

from typing import Any

import pytest

from runner.config.model import RunnerConfig
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job
from runner.manager.material import Identity, JobMaterial, Place
from runner.testing.payloads import image, job_payload, variable

IDENTITY = Identity(name="runner", version="1.2.3", revision="abc", system_id="r_0123456789ab", host="here")


def material(*, runner: dict[str, Any] | None = None, shared: bool = False, **over: Any) -> JobMaterial:
    """The material of a job of the payload factory."""
    config = RunnerConfig.model_validate(
        {"name": "r", "url": "https://gitlab", "token": "glrt-12345678x", **(runner or {})}
    )
    place = Place(concurrent_id=3, concurrent_project_id=1)
    return JobMaterial.of(Job.parse(job_payload(**over)), config, identity=IDENTITY, place=place, shared=shared)


def test_of_when_the_job_is_plain() -> None:
    """Variables are expanded and know the place; a folder that is the job's alone needs no numbers."""
    made = material(variables={"A": "1", "B": "$A-$CI_CONCURRENT_ID"})
    assert made.variables.get("B") == "1-3"
    assert made.variables.get("CI_CONCURRENT_PROJECT_ID") == "1"
    assert made.variables.get("CI_RUNNER_VERSION") == "1.2.3"
    assert made.directories.project_dir == "/builds/acme/demo"
    assert made.warnings == ()


def test_of_when_jobs_share_their_builds() -> None:
    """Each concurrent job of a project has a folder of its own then."""
    assert material(shared=True).directories.project_dir == "/builds/12345678x/1/acme/demo"


def test_secrets_when_there_are_some() -> None:
    """The job's token and the masked values, nothing else."""
    made = material(
        token="glcbt-token", variables=[variable("M", "masked-value", masked=True), variable("H", "hidden-value")]
    )
    assert b"glcbt-token" in made.secrets
    assert b"masked-value" in made.secrets
    assert b"hidden-value" not in made.secrets


def test_of_when_a_flag_is_unknown_or_wrong() -> None:
    """What does no harm is a warning for the job's log."""
    assert any(
        "RUNNER_SCRIPT_TIMEOUT" in text for text in material(variables={"RUNNER_SCRIPT_TIMEOUT": "soon"}).warnings
    )


@pytest.mark.parametrize(
    ("over", "runner", "words", "exit_code"),
    [
        ({"run": '[{"script":"true"}]'}, {}, "`run:`", 0),
        ({"image": image("a", executor_opts={"vm": {}})}, {}, "unknown executor options", 3),
        ({"variables": {"GIT_CLONE_PATH": "/builds/x"}}, {"custom_build_dir": {"enabled": False}}, "is not allowed", 0),
        ({"variables": {"GIT_CLONE_PATH": "/x"}}, {"custom_build_dir": {"enabled": True}}, 'within "/builds"', 0),
        ({"variables": {"GIT_SUBMODULE_STRATEGY": "some"}}, {}, "GIT_SUBMODULE_STRATEGY", 0),
        ({}, {"shell": "powershell"}, '"powershell" is not supported', 0),
    ],
    ids=["run", "executor_opts", "clone_path", "clone_path_outside", "submodules", "shell"],
)
def test_of_when_the_job_asks_for_what_cannot_be(
    over: dict[str, Any], runner: dict[str, Any], words: str, exit_code: int
) -> None:
    """Refused before anything is created, with a sentence."""
    with pytest.raises(JobConfigurationError) as refused:
        material(runner=runner, **over)
    assert words in refused.value.message
    assert refused.value.exit_code == exit_code
