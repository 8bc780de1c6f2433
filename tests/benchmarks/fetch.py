"""What get_sources adds to plain git. Prints one JSON line.

    python tests/benchmarks/fetch.py [--files 5000] [--rounds 5]

The repository lies behind the embedded GitLab, which asks for the job's token; the stage's script runs as it would in
the helper, and plain git does the same fetch and checkout with the token in its URL. Both take turns, each in a new
folder, then in one that a job has filled before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import anyio

from runner.config.model import RunnerConfig
from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.shell.scripts import ScriptContext, script_for
from runner.testing.gitlab import GitLabServer
from runner.testing.gitlab_jobs import JobRecord


def files(count: int) -> dict[str, str]:
    """Give a tree of small files that do not compress to nothing."""
    return {
        f"src/{number % 100}/file_{number}.c": f"int value_{number} = {number * 7919};\n" * 40
        for number in range(count)
    }


def script_of(job: JobRecord, url: str, root: Path) -> str:
    """Make the stage's script."""
    payload = Job.parse(job.payload)
    context = ScriptContext(
        job=payload,
        variables=Variables(map(Variable.of, payload.variables)),
        config=RunnerConfig(url=url, token="glrt-x"),
        project_dir=f"{root}/builds/app",
        temp_dir=f"{root}/builds/app.tmp",
        builds_dir=f"{root}/builds",
        cache_dir=f"{root}/cache",
    )
    script = script_for("get_sources", context)
    assert script is not None
    return script.text


def plain_of(job: JobRecord, root: Path) -> str:
    """Do what the stage does with git alone."""
    git = job.payload["git_info"]
    project = f"{root}/plain"
    specs = " ".join(f"'{spec}'" for spec in git["refspecs"])
    return (
        f"set -e; git init -q {project}; cd {project}\n"
        f"git fetch -q --prune --depth {git['depth']} {git['repo_url']} {specs}\n"
        f"git checkout -f -q {git['sha']}\ngit clean -ffdx\n"
    )


def seconds(path: Path, environment: dict[str, str]) -> float:
    """Run a script; how long it took."""
    begun = time.perf_counter()
    subprocess.run(["bash", str(path)], env=environment, cwd=path.parent, check=True, capture_output=True)
    return time.perf_counter() - begun


async def measure(root: Path, count: int, rounds: int) -> dict[str, object]:
    """Take turns and compare the medians."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1"}
    (root / "builds").mkdir()
    taken: dict[str, list[float]] = {name: [] for name in ("plain_new", "stage_new", "plain_kept", "stage_kept")}
    async with GitLabServer() as gitlab:
        repository = await gitlab.create_repository("acme/demo", files=files(count))
        job = gitlab.queue(repository=repository)
        job.assign({})
        scripts = {"plain": root / "plain.sh", "stage": root / "stage.sh"}
        scripts["plain"].write_text(plain_of(job, root))
        scripts["stage"].write_text(script_of(job, gitlab.url, root))
        for _ in range(rounds):
            for name, script in scripts.items():
                shutil.rmtree(root / ("plain" if name == "plain" else "builds/app"), ignore_errors=True)
                for folder in ("new", "kept"):
                    taken[f"{name}_{folder}"].append(await anyio.to_thread.run_sync(seconds, script, environment))
    result: dict[str, object] = {f"{name}_s": round(median(values), 3) for name, values in taken.items()}
    for folder in ("new", "kept"):
        added = median(taken[f"stage_{folder}"]) - median(taken[f"plain_{folder}"])
        result[f"added_{folder}_s"] = round(added, 3)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = anyio.run(measure, Path(folder), options.files, options.rounds)
    print(json.dumps({"benchmark": "fetch", "files": options.files, "rounds": options.rounds, **found}))


if __name__ == "__main__":
    main()
