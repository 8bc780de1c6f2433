"""Where config.toml lies when nobody says where."""

import os
from pathlib import Path

OF_ROOT = Path("/etc/gitlab-runner/config.toml")
"""Where the original's image has it, whatever user a manifest takes."""


def default_config_path() -> Path:
    """Where the original keeps config.toml: `/etc/gitlab-runner` for root, `~/.gitlab-runner` for others.

    The original's image runs as root and ours does not; so that a configuration mounted for root is found, one there
    counts for others too, as long as they may read it and have none in their home.
    """
    if os.geteuid() == 0:
        return OF_ROOT
    own = Path.home() / ".gitlab-runner" / "config.toml"
    return OF_ROOT if not own.exists() and os.access(OF_ROOT, os.R_OK) else own
