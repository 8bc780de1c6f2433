"""A pipeline as `runner local` runs it: stages and jobs with everything resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner.pipeline.findings import PipelineWarning, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVariable:
    """One variable as the file gives it."""

    key: str
    value: str
    raw: bool = False
    """Not expanded: `expand: false`."""


@dataclass(frozen=True, slots=True)
class Need:
    """A job that has to be over before this one starts."""

    job: str
    optional: bool = False
    artifacts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJob:
    """One job, or one of the copies that `parallel` makes."""

    name: str
    stage: str
    place: Place
    script: tuple[str, ...]
    after_script: tuple[str, ...] = ()
    image: dict[str, Any] | None = None
    services: tuple[dict[str, Any], ...] = ()
    variables: tuple[LocalVariable, ...] = ()
    """Global ones, then the job's, then those of the rule that took it in."""
    needs: tuple[Need, ...] | None = None
    """None: all jobs of earlier stages."""
    when: str = "on_success"
    """`on_success`, `on_failure`, `always`, `manual`, `delayed` or `never`."""
    allow_failure: bool = False
    allowed_exit_codes: tuple[int, ...] = ()
    retries: int = 0
    retry_when: tuple[str, ...] = ("always",)
    timeout: float = 3600.0
    """Seconds."""
    artifacts: dict[str, Any] | None = None
    cache: tuple[dict[str, Any], ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The jobs of a file in the order of their stages."""

    stages: tuple[str, ...]
    jobs: tuple[LocalJob, ...]
    warnings: tuple[PipelineWarning, ...] = field(default=())
    left_out: tuple[str, ...] = ()
    """Jobs that the rules keep out of this pipeline."""

    def job(self, name: str) -> LocalJob | None:
        """The job of that name."""
        return next((job for job in self.jobs if job.name == name), None)

    def named(self, name: str) -> tuple[LocalJob, ...]:
        """The jobs that a word on the command line means: one by its name, or all copies of a parallel job."""
        exact = self.job(name)
        if exact:
            return (exact,)
        return tuple(job for job in self.jobs if job.name.startswith(f"{name} ") or job.name.startswith(f"{name}: "))
