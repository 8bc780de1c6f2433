"""What a job of a local run leaves for later ones: its archive and the variables of its `dotenv` report."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING

from runner.pipeline.payload import Left

if TYPE_CHECKING:
    from runner.testing.gitlab_artifacts import ArtifactStore
    from runner.testing.gitlab_jobs import JobRecord

DOTENV_BYTES = 5 * 1024
"""GitLab's limit for a `dotenv` report."""

_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def left_behind(record: JobRecord, name: str, artifacts: ArtifactStore) -> Left:
    """Gather what a job has sent."""
    archive = artifacts.archive(record.id)
    variables: dict[str, str] = {}
    for upload in artifacts.of(record.id):
        if upload.type == "dotenv":
            variables |= read_dotenv(upload.data)
    return Left(
        id=record.id,
        name=name,
        token=record.token,
        filename=archive.filename if archive else "",
        size=archive.path.stat().st_size if archive else 0,
        variables=variables,
    )


def read_dotenv(data: bytes) -> dict[str, str]:
    """Read `NAME=value` lines as GitLab does: no quotes, no comments; what is no such line does not count."""
    try:
        text = gzip.decompress(data)[:DOTENV_BYTES].decode(errors="replace")
    except (OSError, EOFError, zlib.error):
        return {}
    found = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {match[1]: match[2] for match in found if match}
