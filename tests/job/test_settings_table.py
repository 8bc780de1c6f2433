"""Every settings variable: what it accepts, what it is without a value, and what the log says of a bad one."""

from __future__ import annotations

from typing import Any

import pytest

from runner.job.settings import JobSettings
from runner.job.variables import Variable, Variables

TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")
BOOLEANS = {
    "CI_DEBUG_TRACE": ("debug_trace", False),
    "CI_DEBUG_SERVICES": ("debug_services", False),
    "GIT_CHECKOUT": ("git_checkout", True),
    "GIT_SUBMODULE_FORCE_HTTPS": ("git_submodule_force_https", False),
    "GIT_LFS_SKIP_SMUDGE": ("git_lfs_skip_smudge", False),
    "AFTER_SCRIPT_IGNORE_ERRORS": ("after_script_ignore_errors", True),
}
ATTEMPTS = {
    "GET_SOURCES_ATTEMPTS": "get_sources_attempts",
    "ARTIFACT_DOWNLOAD_ATTEMPTS": "artifact_download_attempts",
    "RESTORE_CACHE_ATTEMPTS": "restore_cache_attempts",
    "SECRETS_RETRIEVAL_ATTEMPTS": "secrets_retrieval_attempts",
}
FLAGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "GIT_SUBMODULE_UPDATE_FLAGS": ("git_submodule_update_flags", ()),
    "GIT_CLEAN_FLAGS": ("git_clean_flags", ("-ffdx",)),
    "GIT_FETCH_EXTRA_FLAGS": ("git_fetch_extra_flags", ("--prune", "--quiet")),
    "GIT_CLONE_EXTRA_FLAGS": ("git_clone_extra_flags", ()),
}
TIMEOUTS: dict[str, tuple[str, float | None]] = {
    "RUNNER_SCRIPT_TIMEOUT": ("script_timeout", None),
    "RUNNER_AFTER_SCRIPT_TIMEOUT": ("after_script_timeout", 300.0),
}


def read(key: str, value: str, name: str, **arguments: Any) -> tuple[object, tuple[str, ...]]:
    """One setting that a value makes, and what was wrong with it."""
    made = JobSettings.of(Variables([Variable(key, value)]), **arguments)
    return getattr(made, name), made.problems


@pytest.mark.parametrize("key", BOOLEANS)
def test_boolean_is_one_of_go(key: str) -> None:
    """Six words each way; anything else leaves the default and is told."""
    name, default = BOOLEANS[key]
    for value in TRUE:
        assert read(key, value, name) == (True, ())
    for value in FALSE:
        assert read(key, value, name) == (False, ())
    assert read(key, "", name) == (default, ())
    for value in ("yes", "tRUE", " true", "2"):
        told = f"{key}: expected bool got {value!r}, using default value: {str(default).lower()}"
        assert read(key, value, name) == (default, (told,))


@pytest.mark.parametrize("key", ATTEMPTS)
def test_attempts_are_one_to_ten(key: str) -> None:
    """A number outside is taken for the nearest inside, without a word; what is none is told."""
    for value, attempts in {"": 1, "1": 1, "7": 7, "10": 10, "11": 10, "0": 1, "-3": 1, "999999999": 10}.items():
        assert read(key, value, ATTEMPTS[key]) == (attempts, ())
    for value in ("two", "1.5", " 2", "0x2"):
        told = f"{key}: expected int got {value!r}, using default value: 1"
        assert read(key, value, ATTEMPTS[key]) == (1, (told,))


def test_attempts_of_docker_are_only_checked() -> None:
    """They mean nothing here, but a typo is a typo."""
    told = "EXECUTOR_JOB_SECTION_ATTEMPTS: expected int got 'two', using default value: 1"
    assert JobSettings.of(Variables([Variable("EXECUTOR_JOB_SECTION_ATTEMPTS", "two")])).problems == (told,)
    assert JobSettings.of(Variables([Variable("EXECUTOR_JOB_SECTION_ATTEMPTS", "2")])) == JobSettings.of(Variables())


@pytest.mark.parametrize("key", FLAGS)
def test_flags_are_words(key: str) -> None:
    """Split at any whitespace, never quoted; `none` is no flag at all, and nothing is the default."""
    name, default = FLAGS[key]
    assert read(key, "", name) == (default, ())
    assert read(key, "none", name) == ((), ())
    assert read(key, "  --a\t'b c'\n--d=$X ", name) == (("--a", "'b", "c'", "--d=$X"), ())
    assert read(key, "none --a", name) == (("none", "--a"), ())


@pytest.mark.parametrize("key", TIMEOUTS)
def test_timeout_is_a_duration_below_the_job_s(key: str) -> None:
    """Go's durations; without, zero, malformed, negative or too long: the default."""
    name, default = TIMEOUTS[key]
    for value, seconds in {"10s": 10.0, "1m30s": 90.0, "0.5h": 1800.0, "1h": 3600.0}.items():
        assert read(key, value, name, job_timeout=3600.0) == (seconds, ())
    for value, told in {
        "": (),
        "0": (),
        "0s": (),
        "10": (f"Ignoring malformed {key} timeout: 10",),
        "soon": (f"Ignoring malformed {key} timeout: soon",),
        "-10s": (f"Ignoring relative {key} timeout: -10s",),
        "61m": (f"{key} timeout: 61m is longer than job timeout. Setting to job timeout",),
    }.items():
        assert read(key, value, name, job_timeout=3600.0) == (default, told)


@pytest.mark.parametrize(("allowed", "default"), [(True, "fetch"), (False, "clone")])
def test_strategy_is_one_of_four(allowed: bool, default: str) -> None:
    """Without a word, or with a wrong one, it is what GitLab says."""
    key = "GIT_STRATEGY"
    for value in ("clone", "fetch", "none", "empty"):
        assert read(key, value, "git_strategy", allow_git_fetch=allowed) == (value, ())
    assert read(key, "", "git_strategy", allow_git_fetch=allowed) == (default, ())
    for value in ("Fetch", "pull", "none "):
        told = f"{key}: expected one of clone, fetch, none, empty got {value!r}, using default value: {default}"
        assert read(key, value, "git_strategy", allow_git_fetch=allowed) == (default, (told,))


@pytest.mark.parametrize("strategy", ["none", "empty"])
def test_nothing_is_checked_out_without_sources(strategy: str) -> None:
    """Nor are submodules, whatever the job says."""
    values = {"GIT_STRATEGY": strategy, "GIT_CHECKOUT": "true", "GIT_SUBMODULE_STRATEGY": "nonsense"}
    made = JobSettings.of(Variables(Variable(key, value) for key, value in values.items()))
    assert (made.git_checkout, made.git_submodule_strategy, made.problems) == (False, "none", ())


def test_words_of_the_others() -> None:
    """Those that are text, lists and plain numbers."""
    assert read("GIT_SUBMODULE_DEPTH", "", "git_submodule_depth", git_depth=20) == (20, ())
    assert read("GIT_SUBMODULE_DEPTH", "0", "git_submodule_depth", git_depth=20) == (0, ())
    assert read("GIT_SUBMODULE_DEPTH", "all", "git_submodule_depth", git_depth=20) == (
        20,
        ("GIT_SUBMODULE_DEPTH: expected int got 'all', using default value: 20",),
    )
    assert read("CACHE_REQUEST_TIMEOUT", "", "cache_request_timeout") == (600.0, ())
    assert read("CACHE_REQUEST_TIMEOUT", "3", "cache_request_timeout") == (180.0, ())
    assert read("CACHE_REQUEST_TIMEOUT", "3m", "cache_request_timeout") == (
        600.0,
        ("CACHE_REQUEST_TIMEOUT: expected int got '3m', using default value: 10",),
    )
    assert read("GIT_SUBMODULE_PATHS", "a  :(exclude)b\nc", "git_submodule_paths") == (("a", ":(exclude)b", "c"), ())
    assert read("GIT_SUBMODULE_PATHS", "", "git_submodule_paths") == ((), ())
    assert read("GIT_CLONE_PATH", " /b x ", "git_clone_path") == (" /b x ", ())
    assert read("DOCKER_AUTH_CONFIG", "{", "docker_auth_config") == ("{", ())
    for value in ("none", "normal", "recursive", "nonsense"):
        assert read("GIT_SUBMODULE_STRATEGY", value, "git_submodule_strategy") == (value, ())
    assert read("GIT_SUBMODULE_STRATEGY", "", "git_submodule_strategy") == ("none", ())


def test_depth_of_the_project_is_gitlab_s_alone() -> None:
    """GitLab has read `GIT_DEPTH`, and there never was a `GIT_LFS`."""
    for key in ("GIT_DEPTH", "GIT_LFS"):
        assert JobSettings.of(Variables([Variable(key, "nonsense")])) == JobSettings.of(Variables())
