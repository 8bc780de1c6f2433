"""From the text of a config.toml to everything that is doubtful in it.

What the loader tells comes first and as it tells it; the rules look at a configuration that can be used, so they are
silent while there is an error of the loader's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from runner.config.checks import (
    amounts,
    cache,
    capacity,
    connection,
    guards,
    images,
    patches,
    placement,
    pod,
    registration,
    secrets,
    security,
    timing,
    values,
    volumes,
)
from runner.config.checks.loading import TOLD_BY_LOADER, completed
from runner.config.checks.rules import Problem, Rule, Surroundings, Whole
from runner.config.findings import ConfigError, Finding, Severity
from runner.config.kubernetes import KubernetesConfig
from runner.config.load import read_config
from runner.config.model import RunnerConfig
from runner.config.positions import Path, place_of, positions

T = TypeVar("T")

WHOLE_RULES: Final[tuple[Rule[Whole], ...]] = (
    *registration.RULES,
    *capacity.RULES,
    *values.RULES,
    *secrets.RULES,
    *patches.RULES,
)
"""Rules that look at the whole configuration and its surroundings."""
RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    *registration.RUNNER_RULES,
    *capacity.RUNNER_RULES,
    *values.RUNNER_RULES,
    *secrets.RUNNER_RULES,
    *cache.RUNNER_RULES,
    *guards.RUNNER_RULES,
    *volumes.RUNNER_RULES,
    *patches.RUNNER_RULES,
    *timing.RUNNER_RULES,
)
"""Rules that look at one `[[runners]]` entry."""
KUBERNETES_RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    *connection.RULES,
    *amounts.RULES,
    *guards.RULES,
    *images.RULES,
    *security.RULES,
    *volumes.RULES,
    *placement.RULES,
    *pod.RULES,
    *timing.RULES,
)
"""Rules that look at one `[runners.kubernetes]`."""

NOTHING_KNOWN: Final = Surroundings()
ENVIRONMENT_UNSET: Final = "environment-unset"
"""A variable that `url` or `token` names has no value here."""


def rule_severities() -> Mapping[str, Severity]:
    """Every kind of finding there is, with how bad it is."""
    return {
        **{rule: told.severity or "warning" for rule, told in TOLD_BY_LOADER.items()},
        ENVIRONMENT_UNSET: "warning",
        **{rule.id: rule.severity for rule in WHOLE_RULES},
        **{rule.id: rule.severity for rule in RUNNER_RULES},
        **{rule.id: rule.severity for rule in KUBERNETES_RULES},
    }


def rule_sentences() -> Mapping[str, str]:
    """Every kind of finding there is, with one sentence on what it is about."""
    return {
        **{rule: told.about for rule, told in TOLD_BY_LOADER.items()},
        ENVIRONMENT_UNSET: "A variable that url or token names has no value here.",
        **{rule.id: rule.about for rule in WHOLE_RULES},
        **{rule.id: rule.about for rule in RUNNER_RULES},
        **{rule.id: rule.about for rule in KUBERNETES_RULES},
    }


def check_config(
    text: str,
    *,
    file: str = "config.toml",
    environ: Mapping[str, str] = {},
    surroundings: Surroundings = NOTHING_KNOWN,
) -> tuple[Finding, ...]:
    """Tell everything that is wrong or doubtful in a configuration, in the order of lines; raises nothing.

    A variable that `environ` lacks is a warning here and not an error: the runner's environment is its own.
    """
    variables = _Variables(environ)
    try:
        reading = read_config(text, file=file, environ=variables)
    except ConfigError as error:
        return tuple(map(completed, error.findings))
    places = positions(text.removeprefix("\ufeff"))

    found = list(map(completed, reading.findings))
    whole = reading.config and Whole(reading.config, reading.document, reading.spelled, surroundings)
    for rule, severity, problem in _problems(whole, variables) if whole else ():
        spelled = reading.spelled(problem.path)
        line, column = place_of(places, spelled)
        name = ".".join(map(str, spelled))
        found.append(
            Finding(severity, file, line, name, problem.message, column=column, rule=rule, remedy=problem.remedy)
        )
    # Of a value that is not known here nothing else can be said.
    unset = {each.path for each in found if each.rule == ENVIRONMENT_UNSET}
    told = (each for each in found if each.path not in unset or each.rule == ENVIRONMENT_UNSET)
    return tuple(sorted(told, key=lambda each: (each.line, each.column)))


_Found = tuple[str, Severity, Problem]


def _problems(whole: Whole, variables: "_Variables") -> Iterator[_Found]:
    for problem in _unset(whole, variables):
        yield ENVIRONMENT_UNSET, "warning", problem
    yield from _found(WHOLE_RULES, whole, ())
    for index, runner in enumerate(whole.config.runners):
        yield from _found(RUNNER_RULES, runner, ("runners", index))
        yield from _found(KUBERNETES_RULES, runner.kubernetes, ("runners", index, "kubernetes"))


def _found(rules: Iterable[Rule[T]], subject: T, base: Path) -> Iterator[_Found]:
    for rule in rules:
        for problem in rule.look(subject):
            yield rule.id, rule.severity, Problem((*base, *problem.path), problem.message, problem.remedy)


class _Variables(Mapping[str, str]):
    """An environment in which every variable has a value; remembers those that had none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.unset: set[str] = set()

    def __getitem__(self, name: str) -> str:
        value = self._environ.get(name, "")
        if not value:
            self.unset.add(name)
            return f"{re.sub('[^a-z0-9]', '-', name.lower())}.invalid"
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def _unset(whole: Whole, variables: _Variables) -> Iterator[Problem]:
    """A variable that `url` or `token` names has no value here."""
    for index in range(len(whole.config.runners)):
        for key in ("url", "token"):
            text = whole.written(("runners", index, key))
            if not isinstance(text, str):
                continue
            for name in sorted(variables.unset):
                if re.search(rf"\$\{{?{re.escape(name)}\b", text):
                    yield Problem(
                        ("runners", index, key),
                        f"{name} has no value in this environment",
                        f"set {name} where the runner runs",
                    )
