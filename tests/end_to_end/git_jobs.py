"""What tests of the sources have in common.

git is asked in hooks of get_sources: they run in the helper, which has git; the build image may not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from tests.end_to_end.targets import Cluster


def kept_builds(cluster: Cluster) -> dict[str, Any]:
    """Keywords for a harness whose jobs share a builds folder that stays; embedded pods always do."""
    if not cluster.is_real:
        return {}
    folder = {"name": "repo", "mount_path": "/builds", "host_path": cluster.kept_folder()}
    return {"kubernetes": {"volumes": {"host_path": [folder]}}}


def after_sources(*commands: str) -> list[dict[str, Any]]:
    """Hooks that run commands in the helper when the sources are there."""
    return [{"name": "post_get_sources_script", "script": list(commands)}]


def seen(job: JobRecord) -> dict[str, str]:
    """What the lines `@key=value` of a job that succeeded say."""
    assert job.state == "success", job.text
    lines = (line[1:] for line in job.text.splitlines() if line.startswith("@"))
    return {key: value for key, _, value in (line.partition("=") for line in lines)}
