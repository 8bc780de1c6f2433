"""What a script is made from, and what comes out.

The law: everything that shapes a script stands in the context, so the same context gives the same text, byte for
byte.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runner.config.model import RunnerConfig
from runner.job.feature_flags import FLAGS
from runner.job.payload import Job
from runner.job.settings import JobSettings
from runner.job.variables import Variables
from runner.shell.cache_links import CacheLinks


@dataclass(frozen=True, slots=True)
class Script:
    """The text that runs as one stage; `runner.job.stages.container` tells in which container."""

    stage: str
    text: str = field(repr=False)
    """Holds every variable of the job, secrets too."""


@dataclass(frozen=True, slots=True)
class ScriptContext:
    """Everything that the scripts of one job depend on."""

    job: Job
    variables: Variables
    """The job's final list; expanded or not, scripts see it expanded once."""
    config: RunnerConfig
    project_dir: str
    temp_dir: str
    builds_dir: str
    cache_dir: str
    helper_command: str = "gitlab-runner-helper"
    """How the helper is called in the helper container."""
    manager_host: str = ""
    """Where the manager runs, as the job log tells it; empty leaves it out."""
    job_status: str = "running"
    """What `CI_JOB_STATUS` says: after_script and the stages behind it are told how the steps ended."""
    user_agent: str = ""
    """How git names itself to the server; empty: made from the variables that name the runner's version."""
    correlation_id: str = ""
    """The id of the request that brought the job; Gitaly's logs show it with `FF_USE_GITALY_CORRELATION_ID`."""
    cache_links: Mapping[str, CacheLinks] = field(default_factory=dict, repr=False)
    """Signed addresses for the stage, by the path of a cache's key; none: caches stay where the pod keeps them."""

    def expanded(self) -> "ScriptContext":
        """Give the context its final variables: `CI_JOB_STATUS` set, every value expanded once."""
        return replace(self, variables=self.variables.with_job_status(self.job_status).expanded())

    def flag(self, name: str) -> bool:
        """Say how a feature flag stands for this job; the variables carry the resolved flags."""
        return self.variables.boolean(name, FLAGS[name])

    def settings(self) -> JobSettings:
        """Read the settings variables; their problems are told elsewhere, once per job."""
        return JobSettings.of(
            self.variables,
            allow_git_fetch=self.job.allow_git_fetch,
            git_depth=self.job.git_info.depth,
            debug_trace_disabled=self.config.debug_trace_disabled,
        )

    @property
    def uses_pwsh(self) -> bool:
        """Whether the user's commands are PowerShell."""
        return self.config.shell == "pwsh"

    def temporary(self, name: str) -> str:
        """Name a file in the job's temporary directory, which the helper and the build container share."""
        return f"{self.temp_dir}/{name}"
