"""One entry of the file as jobs: defaults, copies, rules and every keyword that does something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.pipeline.copies import Copy, read_copies
from runner.pipeline.durations import read_duration
from runner.pipeline.files import Files
from runner.pipeline.findings import Warnings
from runner.pipeline.images import read_image, read_services
from runner.pipeline.kept import read_artifacts, read_caches
from runner.pipeline.keywords import check_keywords, misspelled
from runner.pipeline.located import Part, Table, kind
from runner.pipeline.model import Environment, LocalCache, LocalJob, LocalVariable, Retry
from runner.pipeline.needs import Draft, nearest, read_needs
from runner.pipeline.policies import wanted
from runner.pipeline.rules import Rule, Rules, read_when
from runner.pipeline.variables import environment, expand, read_variables

DEFAULT_TIMEOUT = 3600.0
MOST_RETRIES = 2
RETRY_WHENS = (
    "always", "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
    "runner_unsupported", "stale_schedule", "job_execution_timeout", "archived_failure", "unmet_prerequisites",
    "scheduler_failure", "data_integrity_failure", "image_pull_failure", "runner_configuration_error",
    "runner_external_dependency_failure", "runner_interrupted",
)  # fmt: skip
"""GitLab's reasons of a failure, for `retry:when`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What all jobs of a file share."""

    stages: tuple[str, ...]
    defaults: Table
    variables: tuple[LocalVariable, ...]
    """The file's global ones, and those of the workflow rule that held."""
    predefined: Mapping[str, str]
    extra: Mapping[str, str]
    """The command line's."""
    files: Files
    warnings: Warnings


def read_jobs(name: str, table: Table, frame: Frame) -> tuple[Draft, ...]:
    """Read one job of the file, in all its copies; none when its rules leave it out. Raises PipelineError."""
    own = table.without(*(key for key, value in table.items() if value is None))
    given = Part(own, table.place, name)
    check_keywords(given, frame.warnings)
    job = Part(merge_defaults(given, frame), table.place, name)
    return tuple(
        draft for copy in read_copies(job.get("parallel")) if (draft := _Reader(job, copy, frame).draft()) is not None
    )


def merge_defaults(job: Part, frame: Frame) -> Table:
    """Lay a job over the defaults, keyword by keyword; `inherit:default` chooses among them."""
    inherit = job.get("inherit")
    chosen = inherit.get("default") if inherit else None
    defaults = frame.defaults
    if chosen and isinstance(chosen.value, bool):
        defaults = defaults if chosen.value else Table(defaults.place)
    elif chosen:
        defaults = defaults.without(*(set(defaults) - set(chosen.texts())))
    whole = Table(job.table().place)
    whole.take(defaults)
    whole.take(job.table())
    return whole


class _Reader:
    """Reads one copy of a job."""

    def __init__(self, job: Part, copy: Copy, frame: Frame) -> None:
        self._job = job
        self._copy = copy
        self._frame = frame
        self._name = f"{job.owner}{copy.suffix}"
        stage = job.get("stage")
        self._stage = stage.word() if stage else "test"
        if self._stage not in frame.stages:
            known = ", ".join(f"`{each}`" for each in frame.stages)
            raise (stage or job).error(f"is `{self._stage}`, which is none of {known}.")

    def draft(self) -> Draft | None:
        """The job; None when it is not in this pipeline."""
        job = self._job
        if job.get("run") and not job.get("script"):
            raise job.error("uses `run`, which needs native steps: write a `script`.")
        script = self._commands("script")
        if not script:
            raise job.error(f"has no `script`{misspelled('script', job.table())}.")
        variables = (*self._inherited(), *read_variables(job.get("variables")), *self._copy.variables)
        rule, included = self._rule(variables)
        if not included:
            return None
        if rule:
            variables = (*variables, *read_variables(rule.get("variables")))
        when = self._when(rule)
        allowed, codes = self._allow_failure(rule)
        image = job.get("image")
        hook = job.get("hooks")
        dependencies = job.get("dependencies")
        return Draft(
            LocalJob(
                name=self._name,
                base=job.owner,
                stage=self._stage,
                place=job.place,
                script=(*self._commands("before_script"), *script),
                after_script=self._commands("after_script"),
                pre_get_sources_script=commands(hook.get("pre_get_sources_script")) if hook else (),
                image=read_image(image, self._frame.warnings) if image else None,
                services=read_services(job.get("services"), self._frame.warnings),
                variables=variables,
                artifacts=read_artifacts(job.get("artifacts"), self._frame.warnings),
                caches=self._caches(variables),
                when=when,
                allow_failure=allowed,
                allowed_exit_codes=codes,
                retry=read_retry(job.get("retry"), self._frame.warnings),
                timeout=read_timeout(job.get("timeout"), DEFAULT_TIMEOUT),
                environment=self._environment(variables),
                resource_group=self._resource_group(variables),
            ),
            read_needs((rule.get("needs") if rule else None) or job.get("needs"), self._frame.warnings),
            dependencies.texts() if dependencies else None,
        )

    def _commands(self, key: str) -> tuple[str, ...]:
        return commands(self._job.get(key))

    def _inherited(self) -> tuple[LocalVariable, ...]:
        """The global variables that `inherit:variables` lets in."""
        inherit = self._job.get("inherit")
        chosen = inherit.get("variables") if inherit else None
        if chosen is None:
            return self._frame.variables
        if isinstance(chosen.value, bool):
            return self._frame.variables if chosen.value else ()
        names = set(chosen.texts())
        return tuple(each for each in self._frame.variables if each.key in names)

    def _seen(self, variables: tuple[LocalVariable, ...]) -> dict[str, str]:
        """The variables as rules and names see them."""
        predefined = {**self._frame.predefined, "CI_JOB_NAME": self._name, "CI_JOB_STAGE": self._stage}
        return environment(predefined, variables, self._frame.extra)

    # Whether and when --------------------------------------------------------------------------------------------

    def _rule(self, variables: tuple[LocalVariable, ...]) -> tuple[Rule | None, bool]:
        """The rule that took the job in, and whether the job is in the pipeline."""
        rules, frame = self._job.get("rules"), self._frame
        if rules is None:
            return None, wanted(self._job, self._seen(variables), frame.warnings)
        for key in ("only", "except"):
            other = self._job.get(key)
            if other:
                raise other.error("cannot stand beside `rules`: write its conditions as rules.")
        rule = Rules(rules, frame.files, frame.warnings).first(self._seen(variables))
        return rule, rule is not None and rule.when != "never"

    def _when(self, rule: Rule | None) -> str:
        own = self._job.get("when")
        when = read_when(own) or "on_success"
        if own and when == "never":
            raise own.error("may be `never` in a rule only.")
        if rule and rule.when:
            when = rule.when
        if when == "delayed":
            start = (rule.get("start_in") if rule else None) or self._job.get("start_in")
            if start is None:
                raise (own or self._job).error("is `delayed` and needs `start_in`.")
            read_timeout(start, 0)
            self._frame.warnings.add(start.place, f"`{self._job.owner}` starts without its delay of {start.text()}")
        return when

    def _allow_failure(self, rule: Rule | None) -> tuple[bool, tuple[int, ...]]:
        """Whether the job may fail, and with which exit codes only."""
        part = (rule.get("allow_failure") if rule else None) or self._job.get("allow_failure")
        if part is None:
            own = self._job.get("when")
            return own is not None and own.value == "manual", ()
        if not isinstance(part.value, Table):
            return part.flag(), ()
        codes = part.get("exit_codes")
        if codes is None:
            raise part.error("is true, false or has `exit_codes`.")
        return True, exit_codes(codes)

    # Names with variables in them --------------------------------------------------------------------------------

    def _environment(self, variables: tuple[LocalVariable, ...]) -> Environment | None:
        part = self._job.get("environment")
        if part is None:
            return None
        seen = self._seen(variables)
        if not isinstance(part.value, Table):
            return Environment(name=expand(part.text(), seen))
        name, url = part.get("name"), part.get("url")
        action, tier = part.get("action"), part.get("deployment_tier")
        if name is None:
            raise part.error("needs a `name`.")
        return Environment(
            name=expand(name.text(), seen),
            url=url.text() if url else "",
            action=action.text() if action else "start",
            tier=tier.text() if tier else "",
        )

    def _caches(self, variables: tuple[LocalVariable, ...]) -> tuple[LocalCache, ...]:
        frame, seen = self._frame, self._seen(variables)
        return read_caches(self._job.get("cache"), variables=seen, files=frame.files, warnings=frame.warnings)

    def _resource_group(self, variables: tuple[LocalVariable, ...]) -> str:
        part = self._job.get("resource_group")
        return expand(part.text(), self._seen(variables)) if part else ""


def commands(part: Part | None) -> tuple[str, ...]:
    """Read lines of a script."""
    return tuple(_command(item) for item in part.items()) if part else ()


def _command(item: Part) -> str:
    if isinstance(item.value, str):
        return item.value
    why = ": a `: ` in the line makes it one" if isinstance(item.value, Table) else ""
    raise item.error(f"holds {kind(item.value)} where a command has to be{why}. Put it in quotes.")


def exit_codes(part: Part) -> tuple[int, ...]:
    """Read one exit code or a list of them."""
    return tuple(item.integer(0, 255) for item in part.items())


def read_retry(part: Part | None, warnings: Warnings) -> Retry:
    """Read `retry`: a number, or a mapping with `max`, `when` and `exit_codes`."""
    if part is None:
        return Retry()
    if not isinstance(part.value, Table):
        return Retry(most=part.integer(0, MOST_RETRIES))
    most, when, codes = part.get("max"), part.get("when"), part.get("exit_codes")
    for item in when.items() if when else ():
        if item.text() not in RETRY_WHENS:
            warnings.add(item.place, f"{item.name} knows no `{item.text()}`{nearest(item.text(), RETRY_WHENS)}")
    return Retry(
        most=most.integer(0, MOST_RETRIES) if most else 0,
        when=when.texts() if when else () if codes else ("always",),
        exit_codes=exit_codes(codes) if codes else (),
    )


def read_timeout(part: Part | None, default: float) -> float:
    """Read a duration in words as seconds."""
    if part is None:
        return default
    seconds = read_duration(part.text())
    if seconds is None:
        raise part.error(f"is no duration such as `1h 30m`: {part.text()!r}.")
    return seconds


def check_dependencies(jobs: Iterator[tuple[str, Table]], known: set[str]) -> None:
    """See that every job in `dependencies` is one of the file's. Raises PipelineError."""
    for name, table in jobs:
        part = Part(table, table.place, name).get("dependencies")
        for item in part.items() if part else ():
            if item.word() not in known:
                raise item.error(f"names `{item.value}`, which is no job here{nearest(item.word(), known)}.")
