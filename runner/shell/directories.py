"""Where a job's files lie in its containers.

The law: a pure function of job and configuration; every path is absolute and normalised, and the project lies
inside the builds directory.
"""

import posixpath
from dataclasses import dataclass

from runner.config.model import RunnerConfig
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Job
from runner.job.settings import JobSettings
from runner.job.variables import Variable, Variables, environment_variables, short_token
from runner.shell.urls import split_url

DEFAULT_BUILDS_DIR = "/builds"
DEFAULT_CACHE_DIR = "/cache"


@dataclass(frozen=True, slots=True)
class Directories:
    """The directories of one job."""

    builds_dir: str
    project_dir: str
    temp_dir: str
    """Beside the project directory, on the volume that the containers share: for file variables and git's settings."""
    cache_dir: str


def build_directories(
    job: Job,
    config: RunnerConfig,
    *,
    concurrent_project_id: int,
    shared: bool,
    concurrent_id: int = 0,
) -> Directories:
    """Lay out a job's directories.

    `shared` says that jobs share the builds directory's volume, so each needs a path of its own there: the runner's
    short token and the job's place among the project's running jobs. `GIT_CLONE_PATH` overrides the path where
    `[runners.custom_build_dir]` allows it. Raises `JobConfigurationError` for a `GIT_CLONE_PATH` that is not
    allowed or outside, and for a relative builds directory.
    """
    builds_dir = posixpath.normpath(config.builds_dir or DEFAULT_BUILDS_DIR)
    if not builds_dir.startswith("/"):
        raise JobConfigurationError(
            f"the builds directory {builds_dir!r} has to be absolute: see builds_dir in config.toml"
        )
    known = Variables(
        (
            *environment_variables(config.environment),
            Variable.provided("CI_BUILDS_DIR", builds_dir),
            Variable.provided("CI_CONCURRENT_ID", str(concurrent_id)),
            Variable.provided("CI_CONCURRENT_PROJECT_ID", str(concurrent_project_id)),
            Variable.provided("CI_RUNNER_SHORT_TOKEN", short_token(config.token)),
            *map(Variable.of, job.variables),
        )
    )
    settings = JobSettings.of(known.expanded(), allow_git_fetch=job.allow_git_fetch)
    slug = project_slug(job)
    own = f"/{short_token(config.token)}/{concurrent_project_id}" if shared else ""
    project_dir = _clone_path(settings.git_clone_path, config, builds_dir) or f"{builds_dir.rstrip('/')}{own}/{slug}"
    if settings.git_strategy == "empty":
        project_dir += "-empty"
    return Directories(
        builds_dir=builds_dir,
        project_dir=project_dir,
        temp_dir=f"{project_dir}.tmp",
        cache_dir=posixpath.normpath(posixpath.join(config.cache_dir or DEFAULT_CACHE_DIR, slug)),
    )


def project_slug(job: Job) -> str:
    """The project's path as its URL has it, without `.git`; made from the project's id if there is no readable URL."""
    parts = split_url(job.git_info.repo_url)
    path = posixpath.normpath(f"/{parts.path}").lstrip("/").removesuffix(".git")
    readable = path and (parts.scheme or ":" not in path.partition("/")[0])
    return path if readable else f"project-{job.job_info.project_id}"


def _clone_path(asked: str, config: RunnerConfig, builds_dir: str) -> str:
    if not asked:
        return ""
    if not config.custom_build_dir.enabled:
        raise JobConfigurationError("setting GIT_CLONE_PATH is not allowed, enable `custom_build_dir` feature")
    path = posixpath.normpath(asked)
    if path != builds_dir and not path.startswith(f"{builds_dir.rstrip('/')}/"):
        raise JobConfigurationError(f'the GIT_CLONE_PATH="{asked}" has to be within "{builds_dir}"')
    return path
