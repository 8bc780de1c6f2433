"""The variables of a job: their order, their expansion, and who may see which.

Duplicates stay in the list, because different readers want different ones: `get` and the scripts take the last entry
of a key, a pod's environment takes the last value at the first place, `CI_JOB_STATUS` changes in the first. Expansion
is Go's `os.Expand` in a single pass, as GitLab Runner does it: it is no shell, and what comes out is not read again.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    # Whoever only expands a text, as the configuration does, pays for no models of the payload.
    from runner.job.payload import Job, JobVariable

TEMPORARY_DIRECTORY_KEY = "RUNNER_TEMP_PROJECT_DIR"
"""Names the directory that holds the job's file variables."""

JOB_STATUS_KEY = "CI_JOB_STATUS"
"""`running`, until after_script is told how the steps ended."""

_SPECIAL_NAMES = frozenset("*#$@!?-0123456789")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def parse_bool(text: str) -> bool | None:
    """Read a boolean as Go's `strconv.ParseBool` does; None for any other text."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def expand_text(text: str, lookup: Callable[[str], str]) -> str:
    """Replace `$NAME` and `${NAME}` in text, by the rules of Go's `os.Expand`.

    A name is ASCII letters, digits and `_`, or one of `*#$@!?-0123456789`; braces take anything up to the first `}`.
    `${}` and a `${` that never ends are eaten; a `$` before anything else stays. Total: no text makes it fail, and
    the time is linear in its length.
    """
    if "$" not in text:
        return text
    pieces: list[str] = []
    start = 0
    last_brace = text.rfind("}")
    while 0 <= (dollar := text.find("$", start)) < len(text) - 1:
        pieces.append(text[start:dollar])
        name, start = _name_after(text, dollar + 1, last_brace)
        if name is None:
            pieces.append("$")
        elif name:
            pieces.append(lookup(name))
    pieces.append(text[start:])
    return "".join(pieces)


def _name_after(text: str, at: int, last_brace: int) -> tuple[str | None, int]:
    """Read the name behind a `$`: the name and where to go on; None if there is none, empty if it is malformed."""
    if text[at] == "{":
        if at > last_brace:
            return "", at + 1
        end = text.index("}", at)
        return text[at + 1 : end], end + 1
    if text[at] in _SPECIAL_NAMES:
        return text[at], at + 1
    found = _NAME.match(text, at)
    return (found[0], found.end()) if found else (None, at)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable.

    `internal` marks what the runner provides: it may stand in a pod's environment though it is not `public`.
    """

    key: str
    value: str = field(repr=False)
    public: bool = False
    masked: bool = False
    file: bool = False
    raw: bool = False
    internal: bool = False

    @classmethod
    def of(cls, payload: JobVariable) -> Variable:
        """Take over a variable of the job's payload."""
        return cls(
            key=payload.key,
            value=payload.value,
            public=payload.public,
            masked=payload.masked,
            file=payload.file,
            raw=payload.raw,
        )

    @classmethod
    def provided(cls, key: str, value: str) -> Variable:
        """Make a variable that the runner provides and anyone may see."""
        return cls(key=key, value=value, public=True, internal=True)


class Variables:
    """An immutable list of variables, in which later entries override earlier ones.

    Not a `Sequence` by name, only in what it does: `in` asks for a key here.
    """

    __slots__ = ("_index", "_is_final", "_items")

    def __init__(self, items: Iterable[Variable] = ()) -> None:
        self._items = tuple(items)
        self._index: dict[str, Variable] = {variable.key: variable for variable in self._items}
        self._is_final = all(variable.raw for variable in self._items)

    @overload
    def __getitem__(self, index: int) -> Variable: ...
    @overload
    def __getitem__(self, index: slice) -> Variables: ...
    def __getitem__(self, index: int | slice) -> Variable | Variables:
        return Variables(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._items)

    def __contains__(self, key: object) -> bool:
        """Tell whether a key, or a variable, is in the list."""
        return key in self._items if isinstance(key, Variable) else key in self._index

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Variables) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Variables({', '.join(variable.key for variable in self._items)})"

    def get(self, key: str, default: str = "") -> str:
        """The value of the last entry with that key; the path for a file variable."""
        variable = self._index.get(key)
        return default if variable is None else self._visible_value(variable)

    def content(self, key: str, default: str = "") -> str:
        """The value of the last entry with that key; for a file variable what the file holds, not its path."""
        variable = self._index.get(key)
        return default if variable is None else variable.value

    def path(self, key: str) -> str:
        """Where the file of a file variable lies in the containers."""
        return posixpath.normpath(posixpath.join(self.content(TEMPORARY_DIRECTORY_KEY), key))

    def boolean(self, key: str, default: bool) -> bool:
        """The value as Go reads booleans; the default if it is absent or no boolean."""
        value = parse_bool(self.get(key))
        return default if value is None else value

    def expand(self, text: str) -> str:
        """Replace the variables in a text, once: `$$` is `$`, shell specials and unknown names are empty."""
        return expand_text(text, self._lookup)

    def expanded(self) -> Variables:
        """Expand every value that is not raw, each once and against this unexpanded list.

        The result is final: its variables are raw, so that expanding it again changes nothing and costs nothing.
        """
        if self._is_final:
            return self
        return Variables(
            variable if variable.raw else replace(variable, value=self.expand(variable.value), raw=True)
            for variable in self._items
        )

    def with_(self, *more: Variable) -> Variables:
        """Append variables, which override earlier ones of the same key."""
        return Variables((*self._items, *more))

    def with_job_status(self, status: str) -> Variables:
        """Set `CI_JOB_STATUS` in its first entry: the runner's own, whatever a job added behind it."""
        items = list(self._items)
        for index, variable in enumerate(items):
            if variable.key == JOB_STATUS_KEY and variable.value == status:
                return self
            if variable.key == JOB_STATUS_KEY:
                items[index] = replace(variable, value=status)
                return Variables(items)
        return self.with_(Variable.provided(JOB_STATUS_KEY, status))

    def masked_values(self) -> tuple[str, ...]:
        """The values that must not be seen in the log, each once."""
        return tuple(dict.fromkeys(v.value for v in self._items if v.masked and v.value))

    def public_environment(self) -> tuple[tuple[str, str], ...]:
        """What may stand in a pod's spec, as names and values of `env`.

        Only public or internal variables: a pod spec is readable for everyone who may list pods. For the same reason
        a public variable whose value came to hold a masked one by expansion is left out; the scripts still export
        it. A key appears once, at its first place with its last value; `$` is doubled because Kubernetes substitutes
        `$(NAME)`.
        """
        shown = {v.key: self.path(v.key) if v.file else v.value for v in self._items if v.public or v.internal}
        # One look at all values: hardly any holds a secret, and there are hundreds of both.
        together = "\0".join(shown.values())
        secrets = tuple(secret for secret in self.masked_values() if secret in together)
        return tuple(
            (key, value.replace("$", "$$"))
            for key, value in shown.items()
            if not secrets or not any(secret in value for secret in secrets)
        )

    def _visible_value(self, variable: Variable) -> str:
        return self.path(variable.key) if variable.file else variable.value

    def _lookup(self, name: str) -> str:
        if name in _SPECIAL_NAMES:
            return "$" if name == "$" else ""
        return self.get(name)


def job_variables(
    job: Job,
    *,
    builds_dir: str,
    project_dir: str,
    runner_environment: tuple[str, ...],
    short_token: str,
    concurrent_id: int = 0,
    concurrent_project_id: int = 0,
    version: str,
    revision: str,
    feature_flags: Mapping[str, bool],
    tls_ca: str = "",
    tls_client: tuple[str, str] = ("", ""),
    architecture: str = "linux/amd64",
    secrets: Iterable[Variable] = (),
) -> Variables:
    """Build the unexpanded list of a job's variables, in GitLab Runner's order; later entries win.

    A job overrides the runner's `environment` and even `CI_PROJECT_DIR`, but no feature flag and nothing of what
    follows its own variables. `runner_environment` holds `KEY=value` entries; entries without `=` are left out.
    `tls_ca`, and `tls_client` with a certificate and its key, are PEM texts; empty ones give no variables.
    """
    provided = Variable.provided
    image = (provided("CI_JOB_IMAGE", job.image.name),) if job.image and job.image.name else ()
    before = (
        *(provided(name, "true" if value else "false") for name, value in feature_flags.items()),
        *image,
        provided("CI_RUNNER_SHORT_TOKEN", short_token),
        *environment_variables(runner_environment),
        provided("CI_BUILDS_DIR", builds_dir),
        provided("CI_PROJECT_DIR", project_dir),
        provided("CI_CONCURRENT_ID", str(concurrent_id)),
        provided("CI_CONCURRENT_PROJECT_ID", str(concurrent_project_id)),
        provided("CI_SERVER", "yes"),
        provided(JOB_STATUS_KEY, "running"),
        provided("CI_JOB_TIMEOUT", f"{job.timeout:.0f}"),
        *_tls_variables(tls_ca, *tls_client),
    )
    own = (Variable.of(v) for v in job.variables if v.key and v.key not in feature_flags)
    after = (
        provided("CI_DISPOSABLE_ENVIRONMENT", "true"),
        provided("CI_RUNNER_VERSION", version),
        provided("CI_RUNNER_REVISION", revision),
        provided("CI_RUNNER_EXECUTABLE_ARCH", architecture),
        *secrets,
        provided(TEMPORARY_DIRECTORY_KEY, f"{project_dir}.tmp"),
    )
    return Variables((*before, *own, *after))


def environment_variables(entries: Iterable[str]) -> tuple[Variable, ...]:
    """Read `KEY=value` entries of a configuration; those without a key or `=` are left out."""
    pairs = (entry.partition("=") for entry in entries)
    return tuple(Variable(key=key, value=value, internal=True) for key, equals, value in pairs if key and equals)


def _tls_variables(ca: str, certificate: str, key: str) -> tuple[Variable, ...]:
    # PEM has no `$`, but what comes from a server is taken as it is.
    texts = (("CA", ca, True), ("CERT", certificate, True), ("KEY", key, False))
    return tuple(
        Variable(f"CI_SERVER_TLS_{kind}_FILE", text, public=public, file=True, raw=True, internal=True)
        for kind, text, public in texts
        if text
    )


_TOKEN_PREFIXES = (
    re.compile(r"^(?:glrt-(?:t[123]_)?|t[123]_|glrtr-)"),
    re.compile(r"^glcbt-"),
    re.compile(r"^GR[0-9a-fA-F]{7}"),
)


def short_token(token: str) -> str:
    """The part of a runner's token that may be shown: its first nine characters behind the prefixes.

    It names pods and stands in logs and metrics; nine characters do not authenticate.
    """
    for prefix in _TOKEN_PREFIXES:
        token = prefix.sub("", token)
    return token[:9]
