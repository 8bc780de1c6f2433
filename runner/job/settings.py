"""What a job's variables say about how to run it: attempts, git, time limits.

Read once from the expanded variables. A value that cannot be read leaves the default and adds a sentence to
`problems`, which the job log shows as a warning: a typo in a variable must not fail a job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from runner.job.durations import parse_duration
from runner.job.variables import Variables, parse_bool

GIT_STRATEGIES = ("clone", "fetch", "none", "empty")
"""How the sources come: `none` and `empty` fetch nothing."""

MOST_ATTEMPTS = 10
DEFAULT_AFTER_SCRIPT_TIMEOUT = 300.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobSettings:
    """The settings variables of one job, with what was wrong in them."""

    debug_trace: bool
    debug_services: bool
    git_strategy: str
    git_checkout: bool
    git_clone_path: str
    git_submodule_strategy: str
    """Not checked here: an unknown strategy fails the sources stage."""
    git_submodule_paths: tuple[str, ...]
    git_submodule_depth: int
    git_submodule_update_flags: tuple[str, ...]
    git_submodule_force_https: bool
    git_clean_flags: tuple[str, ...]
    git_fetch_extra_flags: tuple[str, ...]
    git_clone_extra_flags: tuple[str, ...]
    git_lfs_skip_smudge: bool
    get_sources_attempts: int
    artifact_download_attempts: int
    restore_cache_attempts: int
    secrets_retrieval_attempts: int
    after_script_ignore_errors: bool
    cache_request_timeout: float
    """Seconds; the variable counts minutes."""
    docker_auth_config: str
    script_timeout: float | None
    """Seconds for all steps together; None: the job's own limit."""
    after_script_timeout: float
    problems: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        variables: Variables,
        *,
        allow_git_fetch: bool = True,
        git_depth: int = 0,
        job_timeout: float = float("inf"),
        debug_trace_disabled: bool = False,
    ) -> "JobSettings":
        """Read the settings from expanded variables.

        `allow_git_fetch` and `git_depth` are the payload's defaults; `job_timeout` is what remains of the job's time;
        `debug_trace_disabled` is the runner's ban on debug output, which could show secrets.
        """
        reader = _Reader(variables)
        strategy = reader.word("GIT_STRATEGY", "fetch" if allow_git_fetch else "clone", GIT_STRATEGIES)
        sources = strategy not in ("none", "empty")
        # Of Docker alone, but a value that cannot be read is told on every executor.
        reader.attempts("EXECUTOR_JOB_SECTION_ATTEMPTS")
        return cls(
            debug_trace=reader.debug("CI_DEBUG_TRACE", forbidden=debug_trace_disabled),
            debug_services=reader.debug("CI_DEBUG_SERVICES", forbidden=debug_trace_disabled),
            git_strategy=strategy,
            git_checkout=reader.boolean("GIT_CHECKOUT", True) and sources,
            git_clone_path=variables.get("GIT_CLONE_PATH"),
            git_submodule_strategy=(variables.get("GIT_SUBMODULE_STRATEGY") or "none") if sources else "none",
            git_submodule_paths=tuple(variables.get("GIT_SUBMODULE_PATHS").split()),
            git_submodule_depth=reader.integer("GIT_SUBMODULE_DEPTH", git_depth),
            git_submodule_update_flags=reader.flags("GIT_SUBMODULE_UPDATE_FLAGS", ()),
            git_submodule_force_https=reader.boolean("GIT_SUBMODULE_FORCE_HTTPS", False),
            git_clean_flags=reader.flags("GIT_CLEAN_FLAGS", ("-ffdx",)),
            git_fetch_extra_flags=reader.flags("GIT_FETCH_EXTRA_FLAGS", ("--prune", "--quiet")),
            git_clone_extra_flags=reader.flags("GIT_CLONE_EXTRA_FLAGS", ()),
            git_lfs_skip_smudge=reader.boolean("GIT_LFS_SKIP_SMUDGE", False),
            get_sources_attempts=reader.attempts("GET_SOURCES_ATTEMPTS"),
            artifact_download_attempts=reader.attempts("ARTIFACT_DOWNLOAD_ATTEMPTS"),
            restore_cache_attempts=reader.attempts("RESTORE_CACHE_ATTEMPTS"),
            secrets_retrieval_attempts=reader.attempts("SECRETS_RETRIEVAL_ATTEMPTS"),
            after_script_ignore_errors=reader.boolean(
                "AFTER_SCRIPT_IGNORE_ERRORS", reader.boolean("RUNNER_AFTER_SCRIPT_IGNORE_ERRORS", True)
            ),
            cache_request_timeout=60.0 * reader.integer("CACHE_REQUEST_TIMEOUT", 10),
            docker_auth_config=variables.content("DOCKER_AUTH_CONFIG"),
            script_timeout=reader.timeout("RUNNER_SCRIPT_TIMEOUT", None, job_timeout),
            after_script_timeout=reader.timeout(
                "RUNNER_AFTER_SCRIPT_TIMEOUT", DEFAULT_AFTER_SCRIPT_TIMEOUT, job_timeout
            ),
            problems=tuple(reader.problems),
        )


class _Reader:
    """Reads typed values and keeps a sentence for each that is wrong."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self.problems: list[str] = []

    def boolean(self, key: str, default: bool) -> bool:
        return self._read(key, default, parse_bool, "expected bool")

    def debug(self, key: str, *, forbidden: bool) -> bool:
        asked = self.boolean(key, False)
        if asked and forbidden:
            self.problems.append(f"{key}: usage is disabled on this Runner")
        return asked and not forbidden

    def integer(self, key: str, default: int) -> int:
        return self._read(key, default, _integer, "expected int")

    def attempts(self, key: str) -> int:
        return min(max(self.integer(key, 1), 1), MOST_ATTEMPTS)

    def word(self, key: str, default: str, words: tuple[str, ...]) -> str:
        expected = "expected one of " + ", ".join(words)
        return self._read(key, default, lambda text: text if text in words else None, expected)

    def flags(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self._variables.get(key)
        if value == "none":
            return ()
        return tuple(value.split()) if value else default

    def timeout(self, key: str, default: T, job_timeout: float) -> "float | T":
        """Read a limit on scripts; one that is wrong or longer than the job's leaves the default."""
        raw = self._variables.get(key)
        if not raw:
            return default
        try:
            seconds = parse_duration(raw)
        except ValueError:
            self.problems.append(f"Ignoring malformed {key} timeout: {raw}")
            return default
        if seconds < 0:
            self.problems.append(f"Ignoring relative {key} timeout: {raw}")
        elif seconds > job_timeout:
            self.problems.append(f"{key} timeout: {raw} is longer than job timeout. Setting to job timeout")
        return seconds if 0 < seconds <= job_timeout else default

    def _read(self, key: str, default: T, read: Callable[[str], T | None], expected: str) -> T:
        raw = self._variables.get(key)
        if not raw:
            return default
        value = read(raw)
        if value is None:
            self.problems.append(f"{key}: {expected} got {raw!r}, using default value: {_go(default)}")
            return default
        return value


def _integer(text: str) -> int | None:
    digits = text[1:] if text[0] in "+-" else text
    # The bound keeps a number in an int64, as the original has it.
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def _go(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
