"""Archives of many files, beside `zip -1`, `unzip` and each other. Prints one JSON line.

    python tests/benchmarks/archive.py [--mib 1024] [--files 20000] [--rounds 3]

The files are words, which pack to about half. Each program is a process of its own, as in a pod; the runs alternate,
and medians are given, with their ratio to Info-ZIP's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

HELPER = (sys.executable, "-m", "runner.helper")


def fill(folder: Path, *, mib: int, files: int) -> None:
    """Write files of uneven lengths, a hundred folders of them."""
    chance = random.Random(7)
    words = [chance.randbytes(6).hex().encode() for _ in range(5000)]
    mean = mib * 2**20 / files / 13
    for number in range(files):
        place = folder / f"d{number % 100}"
        place.mkdir(parents=True, exist_ok=True)
        count = int(chance.expovariate(1 / mean)) + 1
        (place / f"f{number}").write_bytes(b" ".join(chance.choices(words, k=count)))


def timed(command: list[str], folder: Path, **environ: str) -> tuple[float, float]:
    """Run a command and give its seconds and the largest memory of any command so far, in MiB."""
    started = time.monotonic()
    subprocess.run(command, cwd=folder, env=os.environ | environ, check=True, capture_output=True)
    return time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def emptied(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def measure(work: Path, *, mib: int, files: int, rounds: int) -> dict[str, object]:
    """Archive and extract with each program."""
    source, target = work / "source", work / "target"
    fill(source, mib=mib, files=files)
    memory = 0.0
    seconds: dict[str, list[float]] = {}

    def take(name: str, command: list[str], folder: Path, **environ: str) -> None:
        nonlocal memory
        spent, used = timed(command, folder, **environ)
        seconds.setdefault(name, []).append(spent)
        if command[0] == sys.executable:
            memory = max(memory, used)

    def ours(form: str) -> Callable[[], None]:
        def run() -> None:
            archive = work / form / "cache.zip"
            shutil.rmtree(archive.parent, ignore_errors=True)
            level = {"CACHE_COMPRESSION_LEVEL": "fast", "CACHE_COMPRESSION_FORMAT": form}
            take(f"{form}_archive", [*HELPER, "cache-archiver", "--file", str(archive), "--path", "."], source, **level)
            take(f"{form}_extract", [*HELPER, "cache-extractor", "--file", str(archive)], emptied(target))

        return run

    def theirs() -> None:
        archive = work / "theirs.zip"
        archive.unlink(missing_ok=True)
        take("info_zip_archive", ["zip", "-1qry", str(archive), "."], source)
        take("info_zip_extract", ["unzip", "-q", str(archive)], emptied(target))

    for _ in range(rounds):
        for run in (ours("zip"), ours("tarzstd"), theirs):
            run()
    found = {name: median(each) for name, each in seconds.items()}
    return {
        "benchmark": "archive",
        "mib": mib,
        "files": files,
        **{f"{name}_s": round(value, 2) for name, value in found.items()},
        **{
            f"{form}_{way}_ratio": round(found[f"{form}_{way}"] / found[f"info_zip_{way}"], 2)
            for form in ("zip", "tarzstd")
            for way in ("archive", "extract")
        },
        "helper_peak_rss_mib": round(memory, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="archives-") as folder:
        print(json.dumps(measure(Path(folder), mib=options.mib, files=options.files, rounds=options.rounds)))


if __name__ == "__main__":
    main()
