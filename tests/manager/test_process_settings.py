"""What the process is told by its environment and its flags."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from runner.manager import config_path
from runner.manager.settings import ProcessSettings

NAMES = (
    "CONFIG_FILE",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "RUNNER_ON_SIGTERM",
    "RUNNER_FINAL_UPDATE_TIMEOUT",
    "RUNNER_MAX_JOBS",
    "LISTEN_ADDRESS",
    "METRICS_SERVER",
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_settings_when_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original's defaults."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    settings = ProcessSettings()
    assert settings.config == Path("/etc/gitlab-runner/config.toml")
    assert (settings.log_level, settings.log_format, settings.max_jobs) == (None, None, None)
    assert (settings.on_sigterm, settings.final_update_timeout) == ("abort", 86400.0)


def test_settings_when_the_user_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """config.toml lies in the user's home then."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/ci")
    assert ProcessSettings().config == Path("/home/ci/.gitlab-runner/config.toml")


def test_settings_when_the_environment_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting has its variable; what is passed outright goes before it."""
    for name, value in zip(NAMES, ("/c.toml", "debug", "json", "drain", "5", "3", ":9252", ":9253"), strict=True):
        monkeypatch.setenv(name, value)
    assert ProcessSettings().model_dump() == {
        "config": Path("/c.toml"),
        "log_level": "debug",
        "log_format": "json",
        "on_sigterm": "drain",
        "final_update_timeout": 5.0,
        "max_jobs": 3,
        "listen_address": ":9252",
        "metrics_server": ":9253",
    }
    assert ProcessSettings(log_level="error").log_level == "error"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "loud"),
        ("RUNNER_ON_SIGTERM", "maybe"),
        ("RUNNER_MAX_JOBS", "0"),
        ("RUNNER_FINAL_UPDATE_TIMEOUT", "0"),
    ],
)
def test_settings_when_a_value_is_wrong(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that makes no sense is refused."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        ProcessSettings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LOG_LEVEL", "warn", "warn"),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("LOG_LEVEL", "panic", "panic"),
        ("LOG_LEVEL", "", None),
        ("LOG_FORMAT", "JSON", "json"),
        ("LOG_FORMAT", "", None),
        ("RUNNER_MAX_JOBS", "", None),
    ],
)
def test_settings_take_the_originals_spellings(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str | None
) -> None:
    """In any case, all of its levels, and a variable that is empty is none."""
    monkeypatch.setenv(name, value)
    given = ProcessSettings().model_dump()
    field = {"LOG_LEVEL": "log_level", "LOG_FORMAT": "log_format", "RUNNER_MAX_JOBS": "max_jobs"}[name]
    assert given[field] == expected


def test_configuration_mounted_for_root_is_found_by_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The original's image runs as root; one in the user's own home goes before it."""
    monkeypatch.setattr("os.geteuid", lambda: 65532)
    monkeypatch.setenv("HOME", str(tmp_path))
    mounted = tmp_path / "etc.toml"
    monkeypatch.setattr(config_path, "OF_ROOT", mounted)
    own = tmp_path / ".gitlab-runner" / "config.toml"
    assert config_path.default_config_path() == own
    mounted.touch()
    assert config_path.default_config_path() == mounted
    own.parent.mkdir()
    own.touch()
    assert config_path.default_config_path() == own
