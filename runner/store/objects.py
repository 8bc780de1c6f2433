"""How caches are named in their bucket.

Pure. The law: an object stays below its own project's folder, whatever key the job chose.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from runner.job.variables import short_token

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig

_SHARD = 2
"""Signs of a hash that name its folder, so that no folder holds too many."""


def object_name(runner: RunnerConfig, *, project_id: int, key: str, hashed: bool) -> str:
    """Name the object of a key's path: GitLab Runner's rule, so that both find the same caches.

    Runners share objects only with `Shared`. A hashed key (`FF_HASH_CACHE_KEYS`) lies in a folder of its first two
    signs. Empty if the name would leave the project's folder.
    """
    own = () if runner.cache.shared else ("runner", short_token(runner.token))
    folder = posixpath.normpath("/".join((runner.cache.path, *own, "project", str(project_id)))).strip("/")
    name = posixpath.normpath(f"{folder}/{key[:_SHARD]}/{key}" if hashed else f"{folder}/{key}")
    return name if key and name.startswith(f"{folder}/") else ""
