"""The payload factories make what GitLab sends, and change only what a test asks for."""

from runner.job.payload import Job
from runner.testing.payloads import DEFAULT_TOKEN, image, job_payload, step, variable


def test_variable_has_file_and_raw_only_when_true() -> None:
    """GitLab leaves these two out when they are false."""
    assert variable("A", None) == {"key": "A", "value": None, "public": False, "masked": False}
    assert variable("K", "v", public=True, masked=True, file=True, raw=True) == {
        "key": "K",
        "value": "v",
        "public": True,
        "masked": True,
        "file": True,
        "raw": True,
    }


def test_payload_can_be_read_and_agrees_with_itself() -> None:
    """Ids, tokens and addresses are the same wherever they stand."""
    job = Job.parse(job_payload(id=7, token="glcbt-7", server_url="http://127.0.0.1:80", project="a/b/c"))
    values = {variable.key: variable.value for variable in job.variables}
    assert (job.id, job.token, job.job_info.id, values["CI_JOB_ID"]) == (7, "glcbt-7", 7, "7")
    assert (
        job.git_info.repo_url == values["CI_REPOSITORY_URL"] == "http://gitlab-ci-token:glcbt-7@127.0.0.1:80/a/b/c.git"
    )
    assert (values["CI_SERVER_URL"], values["CI_SERVER_PORT"]) == ("http://127.0.0.1:80", "80")
    assert (job.job_info.project_full_path, values["CI_PROJECT_NAMESPACE"]) == ("a/b/c", "a/b")
    assert job.git_info.sha == values["CI_COMMIT_SHA"]
    assert {variable.key for variable in job.variables if variable.masked} == {
        "CI_JOB_TOKEN",
        "CI_BUILD_TOKEN",
        "CI_REGISTRY_PASSWORD",
    }


def test_arguments_of_a_test_are_in_the_payload() -> None:
    """Scripts, images and variables in short forms, any other field as it is."""
    payload = job_payload(
        script=["a", "b"],
        after_script=["c"],
        image=None,
        services=["redis:7", image("postgres:16", alias="db")],
        variables={"X": "1"},
        artifacts=[{"paths": ["out"]}],
        features={},
    )
    assert payload["steps"] == [
        step("script", ["a", "b"]),
        step("after_script", ["c"], when="always", allow_failure=True),
    ]
    assert [service["name"] for service in payload["services"]] == ["redis:7", "postgres:16"]
    assert payload["services"][1]["alias"] == "db"
    assert payload["variables"][-1] == variable("X", "1", public=True)
    assert (payload["image"], payload["artifacts"], payload["features"]) == (None, [{"paths": ["out"]}], {})
    assert payload["token"] == DEFAULT_TOKEN
