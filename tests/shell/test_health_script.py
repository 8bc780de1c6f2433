"""The script that waits for services, run by a real shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runner.config.model import RunnerConfig
from runner.shell.health import health_check_script

CONFIG = RunnerConfig.model_validate({"url": "https://gitlab.example.com", "token": "t", "shell": "sh"})


def run(tmp_path: Path, programs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script for two ports with only these programs besides the shell's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    script = health_check_script((5432, 6379), CONFIG)
    assert script.stage == "health_check"
    environment = {**os.environ, "PATH": str(folder)}
    return subprocess.run(
        ["/bin/sh", "-c", script.text], capture_output=True, text=True, env=environment, check=False, timeout=10
    )


def test_the_helpers_own_command_is_asked(tmp_path: Path) -> None:
    """All ports in one call; its end is the script's."""
    done = run(tmp_path, {"gitlab-runner-helper": 'echo "$@"; exit 3'})
    assert (done.returncode, done.stdout) == (3, "health-check --port 5432 --port 6379\n")


def test_nc_does_it_where_the_helper_has_no_command(tmp_path: Path) -> None:
    """In any other image each port is tried again until it takes a connection, with the same words."""
    nc = f'echo "$3" >> {tmp_path}/dialed; [ "$(/usr/bin/wc -l < {tmp_path}/dialed)" -gt 1 ]'
    done = run(tmp_path, {"nc": nc, "sleep": ":"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "waiting for TCP connection to localhost on [5432 6379]...",
        "dial succeeded on localhost:5432. Exiting...",
        "dial succeeded on localhost:6379. Exiting...",
    ]
    assert (tmp_path / "dialed").read_text().split() == ["5432", "5432", "6379"]


@pytest.mark.parametrize("programs", [{}])
def test_an_image_with_neither_says_so(tmp_path: Path, programs: dict[str, str]) -> None:
    """Nothing waits for ever because a program is missing."""
    done = run(tmp_path, programs)
    assert done.returncode == 1
    assert "neither gitlab-runner-helper nor nc" in done.stdout
