"""`needs`: which jobs have to be over before one starts, found among the jobs that are really there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from runner.pipeline.copies import matrix_suffix, read_matrix
from runner.pipeline.findings import PipelineError, Place, Warnings
from runner.pipeline.located import Part, Table
from runner.pipeline.model import LocalJob


@dataclass(frozen=True, slots=True)
class Need:
    """One entry of `needs`."""

    job: str
    place: Place
    optional: bool = False
    artifacts: bool = True
    """Whether its artifacts are fetched."""
    suffixes: tuple[str, ...] | None = None
    """Only these copies of a job with a matrix; None: all of them."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A job whose needs are still the file's words."""

    job: LocalJob
    needs: tuple[Need, ...] | None
    dependencies: tuple[str, ...] | None = None
    """The jobs that `dependencies` names."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Jobs of the file that are not in the pipeline."""

    left_out: Collection[str]
    """By their rules."""
    triggers: Collection[str]
    """Because they start other pipelines, which needs GitLab."""


def read_needs(part: Part | None, warnings: Warnings) -> tuple[Need, ...] | None:
    """Read a list of needs; None when there is none, which is not the same as an empty one."""
    if part is None:
        return None
    return tuple(need for item in part.items() if (need := _need(item, warnings)))


def _need(item: Part, warnings: Warnings) -> Need | None:
    if not isinstance(item.value, Table):
        return Need(item.word(), item.place)
    if "project" in item.value or "pipeline" in item.value:
        warnings.add(item.place, "`needs` on another project or pipeline is left out: it needs GitLab")
        return None
    job, optional, parallel = item.get("job"), item.get("optional"), item.get("parallel")
    artifacts = item.get("artifacts")
    if job is None:
        raise item.error("needs a `job`.")
    matrix = parallel.get("matrix") if parallel else None
    return Need(
        job.word(),
        item.place,
        optional=optional is not None and optional.flag(),
        artifacts=artifacts is None or artifacts.flag(),
        suffixes=tuple(matrix_suffix(row) for row in read_matrix(matrix)) if matrix else None,
    )


def settle(
    drafts: Sequence[Draft], *, stages: Sequence[str], absent: Absent, warnings: Warnings
) -> tuple[LocalJob, ...]:
    """Put the names of jobs in the place of the file's words, and check that they can be kept. Raises PipelineError."""
    settling = _Settling(drafts, stages=stages, absent=absent, warnings=warnings)
    jobs = tuple(settling.settled(draft) for draft in drafts)
    _check_circles(jobs)
    return jobs


class _Settling:
    def __init__(self, drafts: Sequence[Draft], *, stages: Sequence[str], absent: Absent, warnings: Warnings) -> None:
        self._absent = absent
        self._warnings = warnings
        self._stages = {stage: index for index, stage in enumerate(stages)}
        self._named: dict[str, list[LocalJob]] = {}
        """A job's name in the file, or a copy's whole name -> the jobs."""
        for draft in drafts:
            for name in {draft.job.base, draft.job.name}:
                self._named.setdefault(name, []).append(draft.job)

    def settled(self, draft: Draft) -> LocalJob:
        named = draft.dependencies
        wanted = None if named is None else tuple(job.name for name in named for job in self._named.get(name, ()))
        if draft.needs is None:
            return replace(draft.job, dependencies=wanted)
        names: dict[str, bool] = {}
        for need in draft.needs:
            for other in self._meant(need, draft.job):
                names[other.name] = names.get(other.name, False) or need.artifacts
        fetched = tuple(name for name, artifacts in names.items() if artifacts and (wanted is None or name in wanted))
        return replace(draft.job, needs=tuple(names), dependencies=fetched)

    def _meant(self, need: Need, job: LocalJob) -> list[LocalJob]:
        found = self._named.get(need.job, [])
        if need.suffixes is not None:
            found = [other for other in found if other.name.removeprefix(other.base) in need.suffixes]
        if not found and need.job in self._absent.triggers:
            self._warnings.add(need.place, f"`{need.job}` triggers another pipeline and is not waited for")
        elif not found and not need.optional:
            raise PipelineError.at(need.place, f"`{job.name}` needs `{need.job}`, {self._why(need)}.")
        for other in found:
            if self._stages[other.stage] > self._stages[job.stage]:
                raise PipelineError.at(
                    need.place,
                    f"`{job.name}` needs `{other.name}`, but `{other.stage}` is a later stage than `{job.stage}`.",
                )
        return found

    def _why(self, need: Need) -> str:
        if need.job in self._named:
            return "which has no copy of this `matrix`"
        if need.job in self._absent.left_out:
            return "which its rules leave out: add `optional: true` to the need, or a rule"
        return f"which does not exist{nearest(need.job, self._named)}"


def nearest(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """Give the likely meaning of a name that is not there, as the end of a sentence."""
    close = difflib.get_close_matches(name, list(known), n=most, cutoff=0.6)
    return f"; nearest: {', '.join(f'`{each}`' for each in close)}" if close else ""


def _check_circles(jobs: Sequence[LocalJob]) -> None:
    """Take away what needs nothing that is left, until nothing changes: what stays needs itself in the end."""
    left = {job.name: job for job in jobs}
    while free := [name for name, job in left.items() if not any(need in left for need in job.needs or ())]:
        for name in free:
            del left[name]
    if left:
        way = [next(iter(left))]
        while way.count(way[-1]) < 2:
            way.append(next(need for need in left[way[-1]].needs or () if need in left))
        circle = way[way.index(way[-1]) :]
        raise PipelineError.at(left[circle[0]].place, f"`needs` runs in a circle: {' -> '.join(circle)}.")
