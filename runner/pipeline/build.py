"""From the resolved tree to jobs: defaults, variables, rules, `parallel`, and a warning for everything else.

What a job does is never guessed: a keyword that is not understood is named with its line, and a job that cannot be
run as it was meant is an error.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from runner.job.durations import parse_duration
from runner.pipeline.findings import PipelineError
from runner.pipeline.model import LocalJob, LocalVariable, Need, Pipeline
from runner.pipeline.resolve import ReadFile, Tree, read_tree
from runner.pipeline.rules import ExpressionError, evaluate

DEFAULT_STAGES = (".pre", "build", "test", "deploy", ".post")

_GLOBAL = {
    "default",
    "include",
    "stages",
    "variables",
    "workflow",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
    "spec",
    "pages",
}
_INHERITED = ("image", "services", "before_script", "after_script", "cache", "artifacts", "retry", "timeout", "tags")
_UNDERSTOOD = {
    "script", "before_script", "after_script", "stage", "image", "services", "variables", "rules", "needs", "when",
    "allow_failure", "parallel", "retry", "timeout", "artifacts", "cache", "tags", "dependencies", "interruptible",
    "coverage", "resource_group", "environment", "extends", "inherit", "start_in",
}  # fmt: skip
_WHENS = {"on_success", "on_failure", "always", "manual", "delayed", "never"}
_MOST_PARALLEL = 200


def build_pipeline(file: str, read: ReadFile, variables: Mapping[str, str]) -> Pipeline:
    """Read a pipeline. `variables` are those that GitLab and the command line would give it. Raises PipelineError."""
    tree = read_tree(file, read)
    return _Builder(tree, variables).pipeline()


class _Builder:
    def __init__(self, tree: Tree, variables: Mapping[str, str]) -> None:
        self._tree = tree
        self._given = dict(variables)
        self._globals = _variables(tree, tree.data.get("variables"), ("variables",))
        self._stages = self._read_stages()
        default = tree.data.get("default") or {}
        if not isinstance(default, dict):
            raise tree.error("`default` has to be a mapping.", "default")
        # Former files write the defaults at the top; `default` wins.
        self._default = {key: tree.data[key] for key in _INHERITED if key in tree.data} | default
        self._left_out: list[str] = []

    def pipeline(self) -> Pipeline:
        if not self._workflow_runs():
            return Pipeline(self._stages, (), tuple(self._tree.warnings), tuple(self._job_names()))
        jobs = [job for name in self._job_names() for job in self._jobs(name)]
        if not jobs and not self._left_out:
            raise PipelineError([f"{self._tree.place()}: there is no job: a job is a mapping with a `script`."])
        jobs.sort(key=lambda job: self._stages.index(job.stage))
        self._check_needs(jobs)
        return Pipeline(self._stages, tuple(jobs), tuple(self._tree.warnings), tuple(self._left_out))

    def _read_stages(self) -> tuple[str, ...]:
        stages = self._tree.data.get("stages")
        if stages is None:
            return DEFAULT_STAGES
        if not isinstance(stages, list) or not all(isinstance(stage, str) for stage in stages):
            raise self._tree.error("`stages` is a list of names.", "stages")
        return (".pre", *(stage for stage in stages if stage not in (".pre", ".post")), ".post")

    def _job_names(self) -> Iterator[str]:
        for name, value in self._tree.data.items():
            if name.startswith(".") or (name in _GLOBAL and not (name == "pages" and isinstance(value, dict))):
                continue
            if not isinstance(value, dict):
                raise self._tree.error(f"`{name}` is no job: a job is a mapping with a `script`.", name)
            yield name

    def _workflow_runs(self) -> bool:
        workflow = self._tree.data.get("workflow") or {}
        rules = workflow.get("rules") if isinstance(workflow, dict) else None
        if not rules:
            return True
        for index, rule in enumerate(rules):
            if self._holds(rule, ("workflow", "rules", index), self._environment(())):
                self._globals += _variables(
                    self._tree, rule.get("variables"), ("workflow", "rules", index, "variables")
                )
                return bool(rule.get("when", "always") != "never")
        return False

    # One job -----------------------------------------------------------------------------------------------------

    def _jobs(self, name: str) -> Iterator[LocalJob]:
        job = self._with_defaults(name, self._tree.data[name])
        for key in job:
            if key not in _UNDERSTOOD and key != "trigger":
                self._tree.warn(f"`{key}` of `{name}` is not understood and left out", name, key)
        if "trigger" in job:
            self._tree.warn(f"`{name}` triggers another pipeline, which needs GitLab: it is left out", name, "trigger")
            self._left_out.append(name)
            return
        stage = job.get("stage", "test")
        if stage not in self._stages:
            known = ", ".join(self._stages)
            raise self._tree.error(f"`{name}` is in the stage `{stage}`, which is none of: {known}.", name, "stage")
        own = _variables(self._tree, job.get("variables"), (name, "variables"))
        ruled = self._rule(name, job, own)
        if ruled is None:
            self._left_out.append(name)
            return
        when, allowed, more, needs = ruled
        for label, matrix in self._copies(name, job):
            yield self._job(
                name + label,
                name,
                job,
                when=when,
                allowed=allowed,
                needs=needs,
                variables=(*self._globals, *own, *more, *matrix),
            )

    def _job(
        self,
        label: str,
        name: str,
        job: Mapping[str, Any],
        *,
        when: str,
        allowed: Any,
        needs: Any,
        variables: tuple[LocalVariable, ...],
    ) -> LocalJob:
        codes = _exit_codes(allowed)
        retries, retry_when = self._retry(name, job.get("retry"))
        return LocalJob(
            name=label,
            stage=job.get("stage", "test"),
            place=self._tree.place(name),
            script=(*self._commands(name, job, "before_script"), *self._script(name, job)),
            after_script=self._commands(name, job, "after_script"),
            image=self._image(name, job.get("image"), "image"),
            services=tuple(
                found
                for index, service in enumerate(_listed(job.get("services")))
                if (found := self._image(name, service, "services", index))
            ),
            variables=variables,
            needs=self._needs(name, needs),
            when=when,
            allow_failure=bool(allowed),
            allowed_exit_codes=codes,
            retries=retries,
            retry_when=retry_when,
            timeout=self._timeout(name, job.get("timeout")),
            artifacts=job["artifacts"] if isinstance(job.get("artifacts"), dict) else None,
            cache=tuple(cache for cache in _listed(job.get("cache")) if isinstance(cache, dict)),
            tags=tuple(str(tag) for tag in _listed(job.get("tags"))),
        )

    def _with_defaults(self, name: str, job: dict[str, Any]) -> dict[str, Any]:
        inherit = job.get("inherit") if isinstance(job.get("inherit"), dict) else {}
        wanted = inherit.get("default", True) if inherit else True
        defaults = self._default if wanted is True else {k: v for k, v in self._default.items() if k in _listed(wanted)}
        if inherit and inherit.get("variables", True) is not True:
            self._tree.warn(f"`inherit:variables` of `{name}` is not understood: it gets all of them", name, "inherit")
        return {**defaults, **job}

    def _script(self, name: str, job: Mapping[str, Any]) -> tuple[str, ...]:
        if "run" in job and "script" not in job:
            raise self._tree.error(f"`{name}` uses `run:`, which needs native steps: write a `script`.", name, "run")
        if "script" not in job:
            raise self._tree.error(f"`{name}` has no `script`.", name)
        return self._commands(name, job, "script")

    def _commands(self, name: str, job: Mapping[str, Any], key: str) -> tuple[str, ...]:
        commands = tuple(_flat(job.get(key)))
        for command in commands:
            if not isinstance(command, str):
                raise self._tree.error(
                    f"`{key}` of `{name}` holds {command!r}, which is no command: put it in quotes.", name, key
                )
        return commands

    def _image(self, name: str, value: Any, *path: str | int) -> dict[str, Any] | None:
        if value is None:
            return None
        image = {"name": value} if isinstance(value, str) else value
        if not isinstance(image, dict) or not isinstance(image.get("name"), str):
            raise self._tree.error(f"`{path[0]}` of `{name}` needs a `name`.", name, *path)
        return image

    def _timeout(self, name: str, value: Any) -> float:
        if value is None:
            return 3600.0
        seconds = _duration(str(value))
        if seconds is None:
            raise self._tree.error(
                f"`timeout` of `{name}` is no duration such as `1h 30m`: {value!r}.", name, "timeout"
            )
        return seconds

    def _retry(self, name: str, value: Any) -> tuple[int, tuple[str, ...]]:
        most = value
        when: tuple[str, ...] = ("always",)
        if isinstance(value, dict):
            most = value.get("max", 0)
            when = tuple(str(word) for word in _listed(value.get("when", "always")))
        if most is None:
            return 0, when
        if not isinstance(most, int) or not 0 <= most <= 2:
            raise self._tree.error(f"`retry` of `{name}` is 0, 1 or 2, not {most!r}.", name, "retry")
        return most, when

    # Rules -------------------------------------------------------------------------------------------------------

    def _rule(
        self, name: str, job: Mapping[str, Any], own: tuple[LocalVariable, ...]
    ) -> tuple[str, Any, tuple[LocalVariable, ...], Any] | None:
        """What the rules say: when, allow_failure, more variables and needs; None: the job is not in this pipeline."""
        when, allowed, needs = job.get("when", "on_success"), job.get("allow_failure"), job.get("needs")
        more: tuple[LocalVariable, ...] = ()
        if isinstance(job.get("rules"), list):
            found = self._first_rule(name, _flat(job["rules"]), self._environment(own))
            if found is None:
                return None
            index, rule = found
            when = rule.get("when", when)
            allowed = rule.get("allow_failure", allowed)
            needs = rule.get("needs", needs)
            more = _variables(self._tree, rule.get("variables"), (name, "rules", index, "variables"))
        if when not in _WHENS:
            raise self._tree.error(
                f"`when` of `{name}` is `{when}`, which is none of {', '.join(sorted(_WHENS))}.", name
            )
        if when == "never":
            return None
        if allowed is None:
            allowed = when == "manual" and "rules" not in job
        return when, allowed, more, needs

    def _first_rule(
        self, name: str, rules: Iterator[Any], environment: Mapping[str, str]
    ) -> tuple[int, Mapping[str, Any]] | None:
        for index, rule in enumerate(rules):
            if not isinstance(rule, dict):
                raise self._tree.error(f"a rule of `{name}` is no mapping such as `if: ...`.", name, "rules", index)
            if self._holds(rule, (name, "rules", index), environment):
                return index, rule
        return None

    def _holds(self, rule: Mapping[str, Any], path: tuple[str | int, ...], environment: Mapping[str, str]) -> bool:
        for key in ("changes", "exists"):
            if key in rule:
                self._tree.warn(f"`rules:{key}` is not evaluated and taken as true", *path, key)
        if "if" not in rule:
            return True
        try:
            return evaluate(str(rule["if"]), environment)
        except ExpressionError as error:
            raise self._tree.error(f"`rules:if`: {error}.", *path, "if") from None

    def _environment(self, own: tuple[LocalVariable, ...]) -> dict[str, str]:
        return {**{each.key: each.value for each in (*self._globals, *own)}, **self._given}

    # Needs and copies --------------------------------------------------------------------------------------------

    def _needs(self, name: str, value: Any) -> tuple[Need, ...] | None:
        if value is None:
            return None
        needs = []
        for index, entry in enumerate(_flat(value)):
            if isinstance(entry, str):
                needs.append(Need(entry))
            elif isinstance(entry, dict) and isinstance(entry.get("job"), str) and "project" not in entry:
                needs.append(
                    Need(
                        entry["job"], optional=bool(entry.get("optional")), artifacts=bool(entry.get("artifacts", True))
                    )
                )
            else:
                self._tree.warn(f"`needs` of `{name}` on another project or pipeline is left out", name, "needs", index)
        return tuple(needs)

    def _check_needs(self, jobs: list[LocalJob]) -> None:
        names = {job.name for job in jobs} | {re.split(r"[ :]", job.name)[0] for job in jobs}
        for job in jobs:
            for need in job.needs or ():
                if need.job in names or need.optional:
                    continue
                why = "the rules leave out" if need.job in self._left_out else "does not exist"
                message = f"`{job.name}` needs `{need.job}`, which {why}." if why != "the rules leave out" else ""
                raise PipelineError(
                    [f"{job.place}: {message or f'`{job.name}` needs `{need.job}`, which the rules leave out.'}"]
                )

    def _copies(self, name: str, job: Mapping[str, Any]) -> Iterator[tuple[str, tuple[LocalVariable, ...]]]:
        parallel = job.get("parallel")
        if parallel is None:
            yield "", ()
        elif isinstance(parallel, int) and not isinstance(parallel, bool) and 1 <= parallel <= _MOST_PARALLEL:
            for index in range(1, parallel + 1):
                yield (
                    f" {index}/{parallel}",
                    (
                        LocalVariable(key="CI_NODE_INDEX", value=str(index)),
                        LocalVariable(key="CI_NODE_TOTAL", value=str(parallel)),
                    ),
                )
        elif isinstance(parallel, dict) and isinstance(parallel.get("matrix"), list):
            yield from self._matrix(name, parallel["matrix"])
        else:
            raise self._tree.error(
                f"`parallel` of `{name}` is a number from 1 to {_MOST_PARALLEL} or a `matrix`.", name, "parallel"
            )

    def _matrix(self, name: str, matrix: list[Any]) -> Iterator[tuple[str, tuple[LocalVariable, ...]]]:
        rows: list[tuple[tuple[str, str], ...]] = []
        for entry in matrix:
            if not isinstance(entry, dict):
                raise self._tree.error(f"`parallel:matrix` of `{name}` is a list of mappings.", name, "parallel")
            columns = [[(key, _text(value)) for value in _listed(values)] for key, values in entry.items()]
            rows.extend(itertools.product(*columns))
        if len(rows) > _MOST_PARALLEL:
            raise self._tree.error(f"`parallel:matrix` of `{name}` makes {len(rows)} jobs.", name, "parallel")
        for index, row in enumerate(rows, 1):
            total = LocalVariable(key="CI_NODE_TOTAL", value=str(len(rows)))
            place = LocalVariable(key="CI_NODE_INDEX", value=str(index))
            label = ", ".join(value for _, value in row)
            yield f": [{label}]", (*(LocalVariable(key=key, value=value) for key, value in row), place, total)


def _variables(tree: Tree, value: Any, path: tuple[str | int, ...]) -> tuple[LocalVariable, ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise tree.error("`variables` is a mapping.", *path)
    found = []
    for key, entry in value.items():
        raw = isinstance(entry, dict) and entry.get("expand") is False
        text = entry.get("value", "") if isinstance(entry, dict) else entry
        if isinstance(text, (list, dict)):
            raise tree.error(f"the variable `{key}` has to be one text.", *path, key)
        found.append(LocalVariable(key=key, value=_text(text), raw=raw))
    return tuple(found)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _listed(value: Any) -> list[Any]:
    if value is None or value is False:
        return []
    return value if isinstance(value, list) else [value]


def _flat(value: Any) -> Iterator[Any]:
    """A list with its nested lists laid open, as GitLab does for scripts up to ten levels."""
    for part in _listed(value):
        if isinstance(part, list):
            yield from _flat(part)
        else:
            yield part


def _exit_codes(allowed: Any) -> tuple[int, ...]:
    if not isinstance(allowed, dict):
        return ()
    return tuple(int(code) for code in _listed(allowed.get("exit_codes")) if isinstance(code, int))


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_UNITS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hr": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
    "w": 604800,
    "week": 604800,
}


def _duration(text: str) -> float | None:
    """GitLab's durations: `3600`, `1h30m`, `3 hours 30 minutes`."""
    plain = text.strip().lower().replace(" and ", " ")
    if re.fullmatch(r"\d+", plain):
        return float(plain)
    parts = _DURATION.findall(plain)
    rest = _DURATION.sub("", plain).strip(" ,")
    if not parts or rest:
        return parse_duration(plain) if plain and not rest else None
    seconds = [
        float(number) * _UNITS.get(unit.removesuffix("s") or unit, _UNITS.get(unit, 0)) for number, unit in parts
    ]
    return sum(seconds) if all(seconds) else None
