"""Where a runner's TLS files lie: named in its entry, or by the name of GitLab's host in a folder of certificates.

The folders are those beside config.toml and the original's, which knows the default place alone: a configuration of
one's own place brings its certificates along.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runner.gitlab.tls import TlsFiles

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig

_OF_ROOT = Path("/etc/gitlab-runner")


def certificate_folders(config: Path | None) -> tuple[str, ...]:
    """`certs` beside the file `config`, then in the original's home, then in that of root, where others look too.

    A container made for the original has its certificates mounted for root.
    """
    homes = [config.absolute().parent] if config else []
    if os.geteuid() != 0:
        homes.append(Path.home() / ".gitlab-runner")
    return tuple(dict.fromkeys(str(home / "certs") for home in (*homes, _OF_ROOT)))


def tls_files(runner: RunnerConfig, config: Path | None) -> TlsFiles:
    """The files of one runner of the file `config`; None: it stands in no file."""
    return TlsFiles(
        ca_file=runner.tls_ca_file,
        cert_file=runner.tls_cert_file,
        key_file=runner.tls_key_file,
        folders=certificate_folders(config),
    )
