"""Where TLS files are looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.config.model import RunnerConfig
from runner.gitlab.tls import TlsFiles
from runner.manager.certificates import certificate_folders, tls_files


@pytest.mark.parametrize(
    ("user", "config", "folders"),
    [
        pytest.param(0, "/etc/gitlab-runner/config.toml", ("/etc/gitlab-runner/certs",), id="root"),
        pytest.param(0, "/srv/config.toml", ("/srv/certs", "/etc/gitlab-runner/certs"), id="root, a place of its own"),
        pytest.param(
            7,
            "/srv/config.toml",
            ("/srv/certs", "/home/ci/.gitlab-runner/certs", "/etc/gitlab-runner/certs"),
            id="another user",
        ),
        pytest.param(0, None, ("/etc/gitlab-runner/certs",), id="no file"),
    ],
)
def test_folders_are_beside_the_configuration_and_the_originals(
    monkeypatch: pytest.MonkeyPatch, user: int, config: str | None, folders: tuple[str, ...]
) -> None:
    """Each once, the nearest first."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("HOME", "/home/ci")
    assert certificate_folders(Path(config) if config else None) == folders


def test_entry_names_its_own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the entry names is taken, the rest is looked for."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    runner = RunnerConfig(url="https://x", token="t", tls_ca_file="/ca.pem")
    assert tls_files(runner, Path("/srv/config.toml")) == TlsFiles(
        ca_file="/ca.pem", folders=("/srv/certs", "/etc/gitlab-runner/certs")
    )
