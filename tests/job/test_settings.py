"""Settings that a job's variables make."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.job.settings import JobSettings
from runner.job.variables import Variable, Variables

DEFAULTS = JobSettings.of(Variables())


def settings(values: dict[str, str], **arguments: Any) -> JobSettings:
    """The settings that these variables make."""
    return JobSettings.of(Variables(Variable(key, value) for key, value in values.items()), **arguments)


def changed(made: JobSettings) -> dict[str, object]:
    """What differs from the defaults."""
    return {
        field.name: getattr(made, field.name)
        for field in dataclasses.fields(made)
        if getattr(made, field.name) != getattr(DEFAULTS, field.name)
    }


def test_settings_without_variables_are_gitlab_runners_defaults() -> None:
    """No variable, no surprise."""
    assert dataclasses.asdict(DEFAULTS) == {
        "debug_trace": False,
        "debug_services": False,
        "git_strategy": "fetch",
        "git_checkout": True,
        "git_clone_path": "",
        "git_submodule_strategy": "none",
        "git_submodule_paths": (),
        "git_submodule_depth": 0,
        "git_submodule_update_flags": (),
        "git_submodule_force_https": False,
        "git_clean_flags": ("-ffdx",),
        "git_fetch_extra_flags": ("--prune", "--quiet"),
        "git_clone_extra_flags": (),
        "git_lfs_skip_smudge": False,
        "get_sources_attempts": 1,
        "artifact_download_attempts": 1,
        "restore_cache_attempts": 1,
        "secrets_retrieval_attempts": 1,
        "after_script_ignore_errors": True,
        "cache_request_timeout": 600.0,
        "docker_auth_config": "",
        "script_timeout": None,
        "after_script_timeout": 300.0,
        "problems": (),
    }


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("CI_DEBUG_TRACE", "true", {"debug_trace": True}),
        ("CI_DEBUG_SERVICES", "1", {"debug_services": True}),
        ("GIT_STRATEGY", "clone", {"git_strategy": "clone"}),
        ("GIT_STRATEGY", "none", {"git_strategy": "none", "git_checkout": False}),
        ("GIT_STRATEGY", "empty", {"git_strategy": "empty", "git_checkout": False}),
        ("GIT_CHECKOUT", "false", {"git_checkout": False}),
        ("GIT_CLONE_PATH", "/builds/x", {"git_clone_path": "/builds/x"}),
        ("GIT_SUBMODULE_STRATEGY", "recursive", {"git_submodule_strategy": "recursive"}),
        ("GIT_SUBMODULE_STRATEGY", "odd", {"git_submodule_strategy": "odd"}),
        ("GIT_SUBMODULE_PATHS", " a  b ", {"git_submodule_paths": ("a", "b")}),
        ("GIT_SUBMODULE_DEPTH", "3", {"git_submodule_depth": 3}),
        (
            "GIT_SUBMODULE_UPDATE_FLAGS",
            "--remote --jobs 4",
            {"git_submodule_update_flags": ("--remote", "--jobs", "4")},
        ),
        ("GIT_SUBMODULE_FORCE_HTTPS", "t", {"git_submodule_force_https": True}),
        ("GIT_CLEAN_FLAGS", "none", {"git_clean_flags": ()}),
        ("GIT_CLEAN_FLAGS", "-ffdx -e cache/", {"git_clean_flags": ("-ffdx", "-e", "cache/")}),
        ("GIT_FETCH_EXTRA_FLAGS", "none", {"git_fetch_extra_flags": ()}),
        ("GIT_CLONE_EXTRA_FLAGS", "--bare", {"git_clone_extra_flags": ("--bare",)}),
        ("GIT_LFS_SKIP_SMUDGE", "1", {"git_lfs_skip_smudge": True}),
        ("GET_SOURCES_ATTEMPTS", "3", {"get_sources_attempts": 3}),
        ("ARTIFACT_DOWNLOAD_ATTEMPTS", "99", {"artifact_download_attempts": 10}),
        ("RESTORE_CACHE_ATTEMPTS", "-1", {}),
        ("SECRETS_RETRIEVAL_ATTEMPTS", "+2", {"secrets_retrieval_attempts": 2}),
        ("AFTER_SCRIPT_IGNORE_ERRORS", "false", {"after_script_ignore_errors": False}),
        ("RUNNER_AFTER_SCRIPT_IGNORE_ERRORS", "false", {"after_script_ignore_errors": False}),
        ("CACHE_REQUEST_TIMEOUT", "2", {"cache_request_timeout": 120.0}),
        ("DOCKER_AUTH_CONFIG", "{}", {"docker_auth_config": "{}"}),
        ("RUNNER_SCRIPT_TIMEOUT", "1h30m", {"script_timeout": 5400.0}),
        ("RUNNER_SCRIPT_TIMEOUT", "0", {}),
        ("RUNNER_SCRIPT_TIMEOUT", "", {}),
        ("RUNNER_AFTER_SCRIPT_TIMEOUT", "10s", {"after_script_timeout": 10.0}),
        ("RUNNER_AFTER_SCRIPT_TIMEOUT", "0", {}),
    ],
)
def test_variable_makes_its_setting(key: str, value: str, expected: dict[str, object]) -> None:
    """Each variable changes its own setting and no other."""
    assert changed(settings({key: value})) == expected


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("GIT_CHECKOUT", "yes", "GIT_CHECKOUT: expected bool got 'yes', using default value: true"),
        (
            "GIT_STRATEGY",
            "pull",
            "GIT_STRATEGY: expected one of clone, fetch, none, empty got 'pull', using default value: fetch",
        ),
        ("GET_SOURCES_ATTEMPTS", "many", "GET_SOURCES_ATTEMPTS: expected int got 'many', using default value: 1"),
        ("GET_SOURCES_ATTEMPTS", "1.5", "GET_SOURCES_ATTEMPTS: expected int got '1.5', using default value: 1"),
        ("GET_SOURCES_ATTEMPTS", "-", "GET_SOURCES_ATTEMPTS: expected int got '-', using default value: 1"),
        ("GET_SOURCES_ATTEMPTS", "٣", "GET_SOURCES_ATTEMPTS: expected int got '٣', using default value: 1"),
        ("RUNNER_SCRIPT_TIMEOUT", "soon", "Ignoring malformed RUNNER_SCRIPT_TIMEOUT timeout: soon"),
        ("RUNNER_SCRIPT_TIMEOUT", "-5m", "Ignoring relative RUNNER_SCRIPT_TIMEOUT timeout: -5m"),
        (
            "RUNNER_AFTER_SCRIPT_TIMEOUT",
            "2h",
            "RUNNER_AFTER_SCRIPT_TIMEOUT timeout: 2h is longer than job timeout. Setting to job timeout",
        ),
    ],
)
def test_wrong_value_leaves_the_default_and_is_told(key: str, value: str, problem: str) -> None:
    """A typo does not fail a job; the log says what was not understood."""
    assert changed(settings({key: value}, job_timeout=3600.0)) == {"problems": (problem,)}


def test_limit_as_long_as_the_job_is_taken() -> None:
    """Only a longer one is told."""
    assert changed(settings({"RUNNER_SCRIPT_TIMEOUT": "1h"}, job_timeout=3600.0)) == {"script_timeout": 3600.0}


def test_payload_gives_the_defaults_of_git() -> None:
    """Strategy and depth come from the job unless a variable says otherwise."""
    made = settings({}, allow_git_fetch=False, git_depth=20)
    assert changed(made) == {"git_strategy": "clone", "git_submodule_depth": 20}


def test_submodules_are_left_alone_when_nothing_is_fetched() -> None:
    """Without sources there are no submodules."""
    assert settings({"GIT_STRATEGY": "none", "GIT_SUBMODULE_STRATEGY": "normal"}).git_submodule_strategy == "none"


def test_debug_output_that_the_runner_forbids_stays_off() -> None:
    """It could show secrets; the log says why there is none."""
    made = settings({"CI_DEBUG_TRACE": "true", "CI_DEBUG_SERVICES": "false"}, debug_trace_disabled=True)
    assert changed(made) == {"problems": ("CI_DEBUG_TRACE: usage is disabled on this Runner",)}


def test_docker_auth_config_of_a_file_variable_is_its_content() -> None:
    """The credentials are wanted, not the place where a copy lies."""
    made = JobSettings.of(Variables([Variable("DOCKER_AUTH_CONFIG", '{"auths": {}}', file=True)]))
    assert made.docker_auth_config == '{"auths": {}}'


@given(
    st.dictionaries(
        st.sampled_from(["GIT_STRATEGY", "GET_SOURCES_ATTEMPTS", "RUNNER_SCRIPT_TIMEOUT"]), st.text(max_size=25)
    )
)
def test_any_values_make_usable_settings(values: dict[str, str]) -> None:
    """Whatever a job says, strategy, attempts and limits are ones that can be used."""
    made = settings(values, job_timeout=60.0)
    assert made.git_strategy in ("clone", "fetch", "none", "empty")
    assert 1 <= made.get_sources_attempts <= 10
    assert made.script_timeout is None or 0 < made.script_timeout <= 60.0
