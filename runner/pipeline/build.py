"""From a file to a pipeline: stages, workflow, every job, and a warning for what is not carried out.

What a job does is never guessed: a keyword that is not understood is named with its line, and a job that cannot be run
as it was meant is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.pipeline.files import Files
from runner.pipeline.findings import PipelineError, Warnings
from runner.pipeline.includes import Surroundings, read_files
from runner.pipeline.jobs import Frame, check_dependencies, read_jobs
from runner.pipeline.keywords import DEFAULTS, FORMER_DEFAULTS, GLOBAL, check_defaults
from runner.pipeline.located import Part, Series, Table, kind
from runner.pipeline.model import LocalJob, LocalVariable, Pipeline
from runner.pipeline.needs import Absent, Draft, settle
from runner.pipeline.resolve import resolved
from runner.pipeline.rules import Rules
from runner.pipeline.variables import environment, expand, read_variables

DEFAULT_STAGES = (".pre", "build", "test", "deploy", ".post")


def build_pipeline(
    file: str, files: Files, *, predefined: Mapping[str, str], extra: Mapping[str, str] | None = None
) -> Pipeline:
    """Read a pipeline.

    `predefined` are the variables that GitLab would give it, which the file may override; `extra` are the command
    line's, which override the file. Raises PipelineError and nothing else.
    """
    try:
        return _Builder(file, files, predefined, extra or {}).pipeline()
    except RecursionError:
        raise PipelineError([f"{file}:1: what is in this file is nested too deeply."]) from None


class _Builder:
    def __init__(self, file: str, files: Files, predefined: Mapping[str, str], extra: Mapping[str, str]) -> None:
        self._files = files
        self._predefined = predefined
        self._extra = extra
        self._warnings = Warnings()
        surroundings = Surroundings(files, {**predefined, **extra}, self._warnings)
        self._tree = resolved(read_files(file, surroundings))
        self._top = Part(self._tree, self._tree.place)
        self._triggers: list[str] = []

    def pipeline(self) -> Pipeline:
        stages = self._read_stages()
        variables = read_variables(self._top.get("variables"))
        named = tuple(self._named())
        workflow = self._workflow(variables)
        if workflow is None:
            names = tuple(name for name, _ in named)
            return Pipeline(
                stages=stages, jobs=(), warnings=self._warnings.all(), left_out=names, workflow_refused=True
            )
        variables += workflow
        frame = Frame(
            stages=stages,
            defaults=self._defaults(),
            variables=variables,
            predefined=self._predefined,
            extra=self._extra,
            files=self._files,
            warnings=self._warnings,
        )
        jobs, left_out = self._jobs(named, frame)
        return Pipeline(
            stages=stages,
            jobs=jobs,
            name=self._name(variables),
            warnings=self._warnings.all(),
            left_out=left_out,
        )

    def _jobs(self, named: tuple[tuple[str, Table], ...], frame: Frame) -> tuple[tuple[LocalJob, ...], tuple[str, ...]]:
        """All jobs, and the names of those that are left out. One error for each job that cannot be run."""
        drafts: list[Draft] = []
        left_out: list[str] = []
        errors: list[str] = []
        for name, table in named:
            if table.get("trigger") is not None:
                self._leave_out_trigger(name, table)
                continue
            try:
                found = read_jobs(name, table, frame)
            except PipelineError as error:
                errors.extend(error.messages)
                continue
            drafts.extend(found)
            if not found:
                left_out.append(name)
        if errors:
            raise PipelineError(errors)
        if not named:
            raise PipelineError.at(self._tree.place, "there is no job: a job is a mapping with a `script`.")
        check_dependencies(iter(named), {name for name, _ in named} | {draft.job.name for draft in drafts})
        drafts = self._once(drafts)
        drafts.sort(key=lambda draft: frame.stages.index(draft.job.stage))
        absent = Absent(left_out, self._triggers)
        jobs = settle(drafts, stages=frame.stages, absent=absent, warnings=self._warnings)
        return jobs, (*left_out, *self._triggers)

    def _once(self, drafts: list[Draft]) -> list[Draft]:
        """Of jobs with one name, which copies of a matrix can come to have, the last one, as in GitLab."""
        chosen: dict[str, Draft] = {}
        for draft in drafts:
            if draft.job.name in chosen:
                self._warnings.add(draft.job.place, f"two jobs are called `{draft.job.name}`: only the last one counts")
            chosen[draft.job.name] = draft
        return list(chosen.values())

    def _leave_out_trigger(self, name: str, table: Table) -> None:
        self._triggers.append(name)
        place = table.place_of("trigger")
        self._warnings.add(place, f"`{name}` triggers another pipeline, which needs GitLab: it is left out")

    # The top of the file -----------------------------------------------------------------------------------------

    def _named(self) -> Iterator[tuple[str, Table]]:
        for name, value in self._tree.items():
            if name.startswith(".") or name in GLOBAL:
                continue
            if not isinstance(value, Table):
                raise PipelineError.at(
                    self._tree.place_of(name),
                    f"`{name}` is no job: a job is a mapping with a `script`, this is {kind(value)}.",
                )
            # A job is found where its name stands, not where its first keyword does.
            job = value.without()
            job.place = self._tree.place_of(name)
            yield name, job

    def _read_stages(self) -> tuple[str, ...]:
        part = self._top.get("stages")
        if part is None:
            return DEFAULT_STAGES
        if not isinstance(part.value, Series):
            raise part.error(f"has to be a list of names, not {kind(part.value)}.")
        names = dict.fromkeys(item.word() for item in part.items())
        return (".pre", *(name for name in names if name not in (".pre", ".post")), ".post")

    def _defaults(self) -> Table:
        """`default`, over what former files write at the top."""
        part = self._top.get("default")
        default = part.table() if part else Table(self._tree.place)
        check_defaults(default, self._warnings)
        whole = self._tree.without(*(key for key in self._tree if key not in FORMER_DEFAULTS))
        for key in whole.keys() & default.keys():
            self._warnings.add(whole.place_of(key), f"`{key}` stands in `default` too, and that one counts")
        whole.take(default)
        return whole.without(*(key for key, value in whole.items() if value is None or key not in DEFAULTS))

    def _workflow(self, variables: tuple[LocalVariable, ...]) -> tuple[LocalVariable, ...] | None:
        """The variables of the workflow rule that holds; None when there is to be no pipeline."""
        part = self._top.get("workflow")
        rules = part.get("rules") if part else None
        if rules is None:
            return ()
        seen = environment(self._predefined, variables, self._extra)
        rule = Rules(rules, self._files, self._warnings).first(seen)
        return None if rule is None or rule.when == "never" else read_variables(rule.get("variables"))

    def _name(self, variables: tuple[LocalVariable, ...]) -> str:
        part = self._top.get("workflow")
        name = part.get("name") if part else None
        return expand(name.text(), environment(self._predefined, variables, self._extra)) if name else ""
