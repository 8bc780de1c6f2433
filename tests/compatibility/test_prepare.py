"""GitLab Runner's table `TestPrepare`: what a job's configuration becomes, and what ends the job before its pod."""

from __future__ import annotations

import pytest

from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job
from runner.manager.material import JobMaterial, Place
from runner.podspec.volumes import shares_builds_dir
from runner.testing.payloads import job_payload
from tests.compatibility.cases import Case, seen, unheard
from tests.compatibility.prepare_cases import PREPARE_CASES
from tests.manifests import IDENTITY, made, runner_of

GOOD = [name for name, case in PREPARE_CASES.items() if not case.error]
BAD = [name for name, case in PREPARE_CASES.items() if case.error]


@pytest.mark.parametrize("name", GOOD)
def test_prepare(name: str) -> None:
    """Each place that the row names has the row's value, and the log has its words."""
    case = PREPARE_CASES[name]
    result = case.made()
    assert seen(case, result) == dict(case.pod)
    assert unheard(case, result) == []


@pytest.mark.parametrize("name", BAD)
def test_prepare_fails(name: str) -> None:
    """The job ends with a sentence before anything is created, as a mistake of its configuration."""
    case = PREPARE_CASES[name]
    with pytest.raises(JobConfigurationError) as error:
        case.made()
    assert case.error in error.value.message
    assert error.value.reason == "runner_configuration_error"


SHARED = {
    "builds_dir: default": ("/custom", "/custom/acme/demo"),
    "builds_dir: an empty_dir of the configuration": ("/builds", "/builds/acme/demo"),
    "builds_dir: a host_path of the configuration": ("/builds", "/builds/abcdefghi/2/acme/demo"),
    "builds_dir: a pvc of the configuration": ("/builds", "/builds/abcdefghi/2/acme/demo"),
}


@pytest.mark.parametrize("name", SHARED)
def test_prepare_builds_dir(name: str) -> None:
    """On a volume that outlives the pod each slot of a project has a directory of its own."""
    config = runner_of(PREPARE_CASES[name].text)
    place = Place(concurrent_id=2, concurrent_project_id=2)
    job = Job.parse(job_payload())
    folders = JobMaterial.of(job, config, identity=IDENTITY, place=place, shared=shares_builds_dir(config)).directories
    assert (folders.builds_dir, folders.project_dir) == SHARED[name]


def test_prepare_does_not_write_into_the_configuration() -> None:
    """Issue 2583: what one job overwrites, the next one does not see."""
    case = Case('namespace = "default"\nnamespace_overwrite_allowed = ".*"')
    config = runner_of(case.text)
    before = config.model_dump()
    assert made(config, variables={"KUBERNETES_NAMESPACE_OVERWRITE": "other"}).at("metadata.namespace") == "other"
    assert made(config).at("metadata.namespace") == "default"
    assert config.model_dump() == before
