"""Where config.toml lies when nobody says where."""

import os
from pathlib import Path


def default_config_path() -> Path:
    """Where the original keeps config.toml: `/etc/gitlab-runner` for root, `~/.gitlab-runner` for others."""
    folder = Path("/etc/gitlab-runner") if os.geteuid() == 0 else Path.home() / ".gitlab-runner"
    return folder / "config.toml"
