"""What the variables of a job change in the configuration that its pod is built from.

Every change has a guard in `[runners.kubernetes]`, and without one the variable means nothing. The runner's own
configuration is shared by all of its jobs and never written to: a job gets a copy. Whatever a job says ends in a value
within its guard or in a JobConfigurationError, before anything is created.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from runner.config.kubernetes import KubernetesConfig
from runner.config.model import RunnerConfig
from runner.job.outcome import JobConfigurationError
from runner.job.variables import Variable, Variables
from runner.podspec.containers import build_resources
from runner.podspec.guards import GuardError, amount_within, check_pattern
from runner.podspec.names import is_reserved_label
from runner.podspec.overwritable import (
    MOST_CHARACTERS,
    MOST_TABLE_CHARACTERS,
    RESOURCES,
    SCALARS,
    SCOPES,
    SERVICE_SCOPE,
    TABLES,
    EntryTable,
    Scalar,
    Scope,
)
from runner.podspec.quoting import quoted, shown
from runner.podspec.services import PodService

TOKEN_VARIABLE = "KUBERNETES_BEARER_TOKEN"
"""Overwrites `bearer_token`; its value is never shown."""

PRIVILEGED_VARIABLE = "privileged"
"""With `allow_privileged`, a key of 2016, `true` in any case makes a job's containers privileged."""

_PREFIX = "KUBERNETES_"
_MASKED = "XXXXXXXX..."

KeyPath = tuple[str, ...]
"""A key of `[runners.kubernetes]`; for an entry of a table the table's key and the entry's."""


@dataclass(frozen=True, slots=True)
class Overwritten:
    """A runner's configuration as one job has it."""

    config: RunnerConfig
    notes: tuple[str, ...] = ()
    """One line for each overwrite, for the job's log."""
    origins: Mapping[KeyPath, str] = field(default_factory=dict)
    """The variable behind each value that was overwritten."""
    ignored: tuple[str, ...] = ()
    """Variables that overwrite nothing, because no guard lets them or the label is the runner's own."""


def apply_overwrites(config: RunnerConfig, variables: Variables) -> Overwritten:
    """Apply a job's `KUBERNETES_*` variables to a copy of its runner's configuration.

    The first variable that its guard does not let pass ends the job: JobConfigurationError, in GitLab Runner's order
    and words, with the variable and its guard.
    """
    asked = tuple(
        variable
        for variable in variables.expanded()
        if variable.key.startswith(_PREFIX) or variable.key == PRIVILEGED_VARIABLE
    )
    if not asked:
        return Overwritten(config)
    draft = _Draft(config.kubernetes, asked)
    try:
        for scalar in SCALARS:
            draft.overwrite_scalar(scalar)
        draft.overwrite_token()
        draft.overwrite_privileged()
        for table in TABLES:
            draft.overwrite_table(table)
        for scope in SCOPES:
            draft.overwrite_resources(scope)
    except GuardError as error:
        raise JobConfigurationError(f"couldn't prepare overwrites: {error}") from None
    if draft.changes:
        config = config.model_copy(update={"kubernetes": config.kubernetes.model_copy(update=draft.changes)})
    return Overwritten(config, tuple(draft.notes), draft.origins, tuple(draft.ignored))


def apply_service_overwrites(
    services: Iterable[PodService], kubernetes: KubernetesConfig
) -> tuple[tuple[PodService, ...], tuple[str, ...]]:
    """Give each service the resources that its own variables ask for, and the lines for the job's log.

    `kubernetes` has the job's overwrites applied: what a service says nothing about stays as it is for all of them. Its
    variables are taken as they are written, without expansion, as GitLab Runner takes them.
    """
    found = [_with_resources(service, kubernetes) for service in services]
    return tuple(service for service, _ in found), tuple(note for _, notes in found for note in notes)


def _with_resources(service: PodService, kubernetes: KubernetesConfig) -> tuple[PodService, list[str]]:
    draft = _Draft(kubernetes, tuple(variable for variable in service.environment if variable.key.startswith(_PREFIX)))
    try:
        draft.overwrite_resources(SERVICE_SCOPE)
    except GuardError as error:
        raise JobConfigurationError(
            f"couldn't prepare explicit service overwrites: {error} for the service {quoted(service.name)}"
        ) from None
    if not draft.changes:
        return service, []
    resources = build_resources(kubernetes.model_copy(update=draft.changes), "service_")
    return replace(service, resources=resources), [f"Service {quoted(service.name)}: {note}" for note in draft.notes]


class _Draft:
    """The changes to one configuration while they are found."""

    def __init__(self, kubernetes: KubernetesConfig, variables: tuple[Variable, ...]) -> None:
        self.changes: dict[str, object] = {}
        self.notes: list[str] = []
        self.origins: dict[KeyPath, str] = {}
        self.ignored: list[str] = []
        self._kubernetes = kubernetes
        self._values: dict[str, str] = {}
        for variable in variables:
            # Of a file variable what the file holds: a path is no value here. The last entry counts, at its place.
            self._values.pop(variable.key, None)
            self._values[variable.key] = variable.value

    def overwrite_scalar(self, scalar: Scalar) -> None:
        """Take the variable's value; an empty one leaves what is configured."""
        guard_key = f"{scalar.key}_overwrite_allowed"
        guard: str = getattr(self._kubernetes, guard_key)
        value = self._value(scalar.variable, guard)
        if not value:
            return
        with _guarded(scalar.variable, guard_key):
            _check_length(value, MOST_CHARACTERS)
            check_pattern(guard, value)
            _refuse_for(scalar.problem(value, guard))
        self._set(scalar.field, scalar.key, value, scalar.variable)

    def overwrite_token(self) -> None:
        """Take the job's token for the API server; no line of any log shows it."""
        token = self._value(TOKEN_VARIABLE, self._kubernetes.bearer_token_overwrite_allowed)
        if not token:
            return
        if len(token) > MOST_TABLE_CHARACTERS or not all("!" <= character <= "~" for character in token):
            raise GuardError(f"the value of {TOKEN_VARIABLE} is no token: it is too long or has odd characters")
        self._set("BearerToken", "bearer_token", token, TOKEN_VARIABLE, told=_MASKED)

    def overwrite_privileged(self) -> None:
        """Make containers privileged where a job asks for it and a file of 2016 says that it may, or may not.

        Without that key the variable is one like any other.
        """
        permitted = self._kubernetes.allow_privileged
        if permitted is None or self._values.get(PRIVILEGED_VARIABLE, "").strip().casefold() != "true":
            return
        if not permitted:
            raise GuardError(f"{PRIVILEGED_VARIABLE} is true, and allow_privileged does not let jobs be privileged")
        self.changes["privileged"] = True
        self.origins["privileged",] = PRIVILEGED_VARIABLE
        self._tell("Privileged", "true")

    def overwrite_table(self, table: EntryTable) -> None:
        """Put the entry of each variable into a copy of the table, in the variables' order: later ones win."""
        guard_key = f"{table.key}_overwrite_allowed"
        guard: str = getattr(self._kubernetes, guard_key)
        entries: dict[str, str] = dict(getattr(self._kubernetes, table.key))
        left = MOST_TABLE_CHARACTERS
        for name, text in self._values.items():
            if not name.startswith(table.prefix) or self._ignores(name, guard):
                continue
            with _guarded(name, guard_key):
                _check_length(text, min(table.most_characters, left))
                check_pattern(guard, text)
                key, value = _entry(table, text)
            left -= len(text)
            if table.key == "pod_labels" and is_reserved_label(key):
                self.ignored.append(name)
                continue
            entries[key] = value
            self.changes[table.key] = entries
            self.origins[table.key, key] = name
            self._tell(table.field, text)

    def overwrite_resources(self, scope: Scope) -> None:
        """Take amounts up to their guards: the requests, then the limits."""
        for kind in ("request", "limit"):
            try:
                for resource, name in RESOURCES.items():
                    self._overwrite_amount(f"{scope.prefix}{resource}_{kind}", f"{scope.field}{name}{kind.title()}")
            except GuardError as error:
                raise GuardError(f"invalid {scope.word} {kind}s specified: {error}") from None

    def _overwrite_amount(self, key: str, name: str) -> None:
        variable, guard_key = f"{_PREFIX}{key.upper()}", f"{key}_overwrite_max_allowed"
        guard: str = getattr(self._kubernetes, guard_key, "")  # the pod as a whole has no storage
        text = self._value(variable, guard)
        if not text:
            return
        with _guarded(variable, guard_key):
            amount = amount_within(guard, text, resource=name)
        self._set(name, key, amount, variable)

    def _value(self, variable: str, guard: str | bool) -> str:
        """The variable's text; empty when it has none or when there is no guard that lets it pass."""
        text = self._values.get(variable, "").strip()
        return "" if not text or self._ignores(variable, guard) else text

    def _ignores(self, variable: str, guard: str | bool) -> bool:
        if not guard:
            self.ignored.append(variable)
        return not guard

    def _set(self, name: str, key: str, value: str, variable: str, *, told: str = "") -> None:
        self.changes[key] = value
        self.origins[key,] = variable
        self._tell(name, told or value)

    def _tell(self, name: str, value: str) -> None:
        self.notes.append(f'"{name}" overwritten with {quoted(value)}')


@contextmanager
def _guarded(variable: str, guard_key: str) -> Iterator[None]:
    """Say of an error which variable and which guard it is about."""
    try:
        yield
    except GuardError as error:
        raise GuardError(f"{error} ({shown(variable)}, guarded by {guard_key})") from None


def _entry(table: EntryTable, text: str) -> tuple[str, str]:
    entry = table.split(text)
    if entry is None:
        raise GuardError(f'provided value {quoted(text)} does not match "k=v"')
    _refuse_for(table.problem(*entry))
    return entry


def _check_length(text: str, most: int) -> None:
    if len(text) > most:
        raise GuardError(f"the value has {len(text)} characters, and {max(most, 0)} is the most that can be")


def _refuse_for(problem: str) -> None:
    if problem:
        raise GuardError(problem)
