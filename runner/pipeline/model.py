"""A pipeline as `runner local` runs it: stages and jobs with everything resolved."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.pipeline.findings import PipelineWarning, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVariable:
    """One variable as the file gives it."""

    key: str
    value: str
    raw: bool = False
    """Not expanded: `expand: false`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalImage:
    """An image of a job, or of a service of it."""

    name: str
    alias: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    variables: tuple[LocalVariable, ...] = ()
    pull_policy: tuple[str, ...] = ()
    user: str = ""
    """`kubernetes:user`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a job deploys to, for its variables; nothing is recorded."""

    name: str
    url: str = ""
    action: str = "start"
    tier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a failed job is tried again, and after which failures."""

    most: int = 0
    when: tuple[str, ...] = ("always",)
    """GitLab's failure reasons, or `always`."""
    exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalArtifact:
    """One thing that a job sends to GitLab: its archive, or a report."""

    name: str = ""
    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    untracked: bool = False
    when: str = "on_success"
    expire_in: str = ""
    type: str = "archive"
    format: str = "zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCache:
    """One cache of a job."""

    key: str
    paths: tuple[str, ...] = ()
    untracked: bool = False
    policy: str = "pull-push"
    when: str = "on_success"
    fallback_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJob:
    """One job, or one of the copies that `parallel` makes."""

    name: str
    base: str
    """Its name in the file; copies share it."""
    stage: str
    place: Place
    script: tuple[str, ...]
    after_script: tuple[str, ...] = ()
    pre_get_sources_script: tuple[str, ...] = ()
    image: LocalImage | None = None
    services: tuple[LocalImage, ...] = ()
    variables: tuple[LocalVariable, ...] = ()
    """Global ones, then the job's, the matrix' and those of the rule that took it in."""
    needs: tuple[str, ...] | None = None
    """The jobs that have to be over first, each by its whole name; None: all jobs of earlier stages."""
    artifacts: tuple[LocalArtifact, ...] = ()
    caches: tuple[LocalCache, ...] = ()
    dependencies: tuple[str, ...] | None = None
    """The jobs whose artifacts it gets, each by its whole name; None: those of all jobs of earlier stages."""
    when: str = "on_success"
    """`on_success`, `on_failure`, `always`, `manual` or `delayed`."""
    allow_failure: bool = False
    allowed_exit_codes: tuple[int, ...] = ()
    """When there are any, only these are allowed."""
    retry: Retry = Retry()
    timeout: float = 3600.0
    """Seconds."""
    environment: Environment | None = None
    resource_group: str = ""
    """Jobs of one group run one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The jobs of a file in the order of their stages."""

    stages: tuple[str, ...]
    jobs: tuple[LocalJob, ...]
    name: str = ""
    """What `workflow:name` calls it."""
    warnings: tuple[PipelineWarning, ...] = field(default=())
    left_out: tuple[str, ...] = ()
    """Jobs that are not in this pipeline, most often because of their rules."""
    workflow_refused: bool = False
    """Whether `workflow:rules` want no pipeline at all."""

    def job(self, name: str) -> LocalJob | None:
        """The job of that name."""
        return next((job for job in self.jobs if job.name == name), None)

    def named(self, name: str) -> tuple[LocalJob, ...]:
        """The jobs that a word on the command line means: one by its name, or all copies of a parallel job."""
        exact = self.job(name)
        return (exact,) if exact else tuple(job for job in self.jobs if job.base == name)
