"""`runner version`: what this is, in the original's lines."""

from __future__ import annotations

import os
import platform
import sys

import click

from runner import __version__
from runner.cli.go_flags import GoCommand


def version_text() -> str:
    """Name, version, revision, toolchain and platform, one a line."""
    from runner.gitlab.features import go_platform

    system, architecture = go_platform()
    rows = {
        "Version": __version__,
        "Git revision": os.environ.get("RUNNER_REVISION", "HEAD"),
        "Git branch": "main",
        "Python version": platform.python_version(),
        "OS/Arch": f"{system}/{architecture}",
    }
    return "\n".join(f"{name + ':':<16}{value}" for name, value in rows.items())


@click.command("version", cls=GoCommand)
def command() -> int:
    """Print the version of this program."""
    sys.stdout.write(version_text() + "\n")
    return 0
