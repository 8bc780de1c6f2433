"""What one job is run with: its flags, folders, variables and settings, made once from payload and configuration.

Pure. Everything that can be wrong with a payload shows here, before anything is created.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from runner.executor.base import JobRequest
from runner.job.feature_flags import resolve_flags
from runner.job.outcome import JobConfigurationError
from runner.job.payload import unknown_executor_options
from runner.job.room import room_warnings
from runner.job.settings import JobSettings
from runner.job.stages import Plan, Stage
from runner.job.variables import Variable, Variables, environment_variables, job_variables, short_token
from runner.shell.context import ScriptContext
from runner.shell.directories import build_directories
from runner.shell.scripts import script_for

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig
    from runner.job.payload import Job
    from runner.shell.cache_links import CacheLinks
    from runner.shell.directories import Directories


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who runs the job: this process, as the job's log and variables name it."""

    name: str
    version: str
    revision: str
    system_id: str
    host: str
    tls_ca: str = ""
    """The certificates that the connection to GitLab is checked with, for the job's own use; empty: the system's."""
    tls_client: tuple[str, str] = field(default=("", ""), repr=False)
    """The client certificate that GitLab is shown and its key, for the job's own use; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which of the runner's concurrent jobs this one is; the lowest free numbers, from 0."""

    concurrent_id: int = 0
    concurrent_project_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMaterial:
    """Everything that a job's run depends on besides time."""

    job: Job
    runner: RunnerConfig
    flags: Mapping[str, bool]
    directories: Directories
    variables: Variables
    """Expanded."""
    settings: JobSettings
    plan: Plan
    warnings: tuple[str, ...]
    """What was wrong in variables and flags without failing the job; the log shows it."""
    identity: Identity
    keeps_folder: bool = False
    """Whether the job's folder stays for the next job that has its place."""

    @classmethod
    def of(cls, job: Job, runner: RunnerConfig, *, identity: Identity, place: Place, shared: bool) -> JobMaterial:
        """Make the material. Raises JobConfigurationError for what the job may not ask for."""
        _refuse_unknown(job)
        asked = (*environment_variables(runner.environment), *map(Variable.of, job.variables))
        flags, flag_warnings = resolve_flags(runner.feature_flags, asked)
        directories = build_directories(
            job,
            runner,
            concurrent_id=place.concurrent_id,
            concurrent_project_id=place.concurrent_project_id,
            shared=shared,
        )
        variables = job_variables(
            job,
            builds_dir=directories.builds_dir,
            project_dir=directories.project_dir,
            runner_environment=tuple(runner.environment),
            short_token=short_token(runner.token),
            concurrent_id=place.concurrent_id,
            concurrent_project_id=place.concurrent_project_id,
            version=identity.version,
            revision=identity.revision,
            feature_flags=flags,
            tls_ca=identity.tls_ca,
            tls_client=identity.tls_client,
        ).expanded()
        settings = JobSettings.of(
            variables,
            allow_git_fetch=job.allow_git_fetch,
            git_depth=job.git_info.depth,
            job_timeout=job.timeout,
            debug_trace_disabled=runner.debug_trace_disabled,
        )
        plan = Plan.of(job, settings, exponential_backoff=flags["FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY"])
        material = cls(
            job=job,
            runner=runner,
            flags=flags,
            directories=directories,
            variables=variables,
            settings=settings,
            plan=plan,
            warnings=(*flag_warnings, *settings.problems, *room_warnings(variables)),
            identity=identity,
            keeps_folder=shared,
        )
        for stage in _CHECKED_STAGES:
            script_for(stage, material.script_context(job_status="running"))
        return material

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What the log must never show: the job's token and every masked value."""
        return (self.job.token.encode(), *(value.encode() for value in self.variables.masked_values()))

    @property
    def request(self) -> JobRequest:
        """What an executor is asked for."""
        return JobRequest(
            job=self.job,
            runner=self.runner,
            variables=self.variables,
            feature_flags=self.flags,
            directories=self.directories,
            system_id=self.identity.system_id,
            concurrent_project_id=int(self.variables.get("CI_CONCURRENT_PROJECT_ID") or 0),
        )

    def script_context(
        self, *, job_status: str, cache_links: Mapping[str, CacheLinks] = MappingProxyType({})
    ) -> ScriptContext:
        """What the job's scripts are made from; `cache_links` are one stage's own."""
        folders = self.directories
        context = ScriptContext(
            job=self.job,
            variables=self.variables,
            config=self.runner,
            project_dir=folders.project_dir,
            temp_dir=folders.temp_dir,
            builds_dir=folders.builds_dir,
            cache_dir=folders.cache_dir,
            manager_host=self.identity.host,
            correlation_id=self.job.correlation_id,
        )
        return replace(context, job_status=job_status, cache_links=cache_links)


_CHECKED_STAGES = (Stage.PREPARE_SCRIPT, Stage.GET_SOURCES, Stage.RESTORE_CACHE)
"""Stages whose scripts show wrong settings; all are small, whatever the job's own script is."""


def _refuse_unknown(job: Job) -> None:
    if job.run:
        raise JobConfigurationError(
            "the `run:` keyword needs native steps, which this runner does not have: "
            "write the job's commands under `script:`"
        )
    unknown = unknown_executor_options(job)
    if unknown:
        raise JobConfigurationError(f"unknown executor options: {', '.join(unknown)}", exit_code=3)
