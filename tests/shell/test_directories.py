"""Where a job's files lie."""

import pytest

from runner.config.model import CustomBuildDir, RunnerConfig
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job
from runner.shell.directories import Directories, build_directories, project_slug

REPOSITORY = "https://gitlab-ci-token:t0k@git.example/group/sub/app.git"


def job(url: str = REPOSITORY, **variables: str) -> Job:
    """A job of project 77."""
    values = [{"key": key, "value": value} for key, value in variables.items()]
    git = {"repo_url": url}
    return Job.parse({"id": 1, "token": "t0k", "git_info": git, "job_info": {"project_id": 77}, "variables": values})


def config(**keys: object) -> RunnerConfig:
    """A runner with the short token `abcdefghi`."""
    return RunnerConfig.model_validate({"url": "https://git.example", "token": "glrt-abcdefghijklm", **keys})


def test_directories_of_a_pod_s_own_volume() -> None:
    """Builds and caches lie at GitLab Runner's places."""
    assert build_directories(job(), config(), concurrent_project_id=3, shared=False) == Directories(
        builds_dir="/builds",
        project_dir="/builds/group/sub/app",
        temp_dir="/builds/group/sub/app.tmp",
        cache_dir="/cache/group/sub/app",
    )


def test_directories_of_a_shared_volume() -> None:
    """Jobs that run at once have nothing in common but the cache."""
    runner = config(builds_dir="/data/builds/", cache_dir="/data/cache/")

    assert build_directories(job(), runner, concurrent_project_id=3, shared=True) == Directories(
        builds_dir="/data/builds",
        project_dir="/data/builds/abcdefghi/3/group/sub/app",
        temp_dir="/data/builds/abcdefghi/3/group/sub/app.tmp",
        cache_dir="/data/cache/group/sub/app",
    )


@pytest.mark.parametrize(
    ("url", "slug"),
    [
        (REPOSITORY, "group/sub/app"),
        ("https://git.example/gitlab//group/app.git/", "gitlab/group/app"),
        ("https://git.example/../../etc/app.git", "etc/app"),
        ("ssh://git@git.example:2222/group/app.git", "group/app"),
        ("/srv/repositories/app.git", "srv/repositories/app"),
        ("git@git.example:group/app.git", "project-77"),
        ("https://git.example:port/group/app.git", "project-77"),
        ("https://git.example", "project-77"),
        ("", "project-77"),
    ],
)
def test_project_slug_is_the_path_of_its_url(url: str, slug: str) -> None:
    """It never leaves the builds directory; without a readable URL the project's id serves."""
    assert project_slug(job(url)) == slug


@pytest.mark.parametrize(
    ("path", "project_dir"),
    [
        ("/builds/mine", "/builds/mine"),
        ("$CI_BUILDS_DIR/$CI_CONCURRENT_ID/$CI_CONCURRENT_PROJECT_ID/$NAME/", "/builds/5/3/app"),
        ("/builds/a/../b", "/builds/b"),
        ("/builds", "/builds"),
        ("/builds/..almost", "/builds/..almost"),
    ],
)
def test_clone_path_is_the_job_s_choice(path: str, project_dir: str) -> None:
    """Variables of the runner and of the job stand in it."""
    one = job(GIT_CLONE_PATH=path, NAME="app")

    found = build_directories(one, config(), concurrent_project_id=3, shared=True, concurrent_id=5)

    assert (found.project_dir, found.temp_dir) == (project_dir, f"{project_dir}.tmp")


@pytest.mark.parametrize("path", ["/elsewhere", "/builds/../etc", "/buildsx", "relative"])
def test_clone_path_outside_is_refused(path: str) -> None:
    """The volume that the containers share is the builds directory."""
    with pytest.raises(JobConfigurationError) as caught:
        build_directories(job(GIT_CLONE_PATH=path), config(), concurrent_project_id=0, shared=False)

    assert str(caught.value) == f'the GIT_CLONE_PATH="{path}" has to be within "/builds"'


def test_clone_path_is_refused_where_the_runner_forbids_it() -> None:
    """The sentence names the setting."""
    runner = config(custom_build_dir=CustomBuildDir(enabled=False))

    with pytest.raises(JobConfigurationError) as caught:
        build_directories(job(GIT_CLONE_PATH="/builds/x"), runner, concurrent_project_id=0, shared=False)

    assert str(caught.value) == "setting GIT_CLONE_PATH is not allowed, enable `custom_build_dir` feature"


def test_empty_strategy_has_a_directory_of_its_own() -> None:
    """It is emptied, so it must not be where another job of the project keeps its sources."""
    found = build_directories(job(GIT_STRATEGY="empty"), config(), concurrent_project_id=0, shared=False)

    assert found.project_dir == "/builds/group/sub/app-empty"


def test_relative_builds_directory_is_refused() -> None:
    """A volume cannot be mounted there."""
    with pytest.raises(JobConfigurationError, match="'builds' has to be absolute"):
        build_directories(job(), config(builds_dir="builds"), concurrent_project_id=0, shared=False)


@pytest.mark.parametrize("key", ["builds_dir", "cache_dir"])
def test_empty_directory_is_the_default(key: str) -> None:
    """As in a config.toml that leaves the key out."""
    found = build_directories(job(), config(**{key: ""}), concurrent_project_id=0, shared=False)

    assert (found.builds_dir, found.cache_dir) == ("/builds", "/cache/group/sub/app")


def test_root_as_builds_directory_gives_plain_paths() -> None:
    """No doubled slash, and every path is inside."""
    found = build_directories(job(GIT_CLONE_PATH="/x"), config(builds_dir="/"), concurrent_project_id=0, shared=False)

    assert (found.builds_dir, found.project_dir) == ("/", "/x")
