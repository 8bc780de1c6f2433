"""What the short commands cost, the interpreter's start included. Prints one JSON line.

    python tests/benchmarks/commands.py [--runners N] [--runs N]

`runner --help`, `runner list` of a file with some runners, `runner version`, and `runner helper --help`, each in a
process of its own. Modules are compiled before, as those of an installed package are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from config_check import RUNNER

COMMANDS = {
    "help": ("--help",),
    "list": ("list",),
    "version": ("version",),
    "register_help": ("register", "--help"),
    "helper": ("helper", "--version"),
}


def seconds(words: tuple[str, ...], config: Path) -> float:
    """One command's wall time."""
    environment = {**os.environ, "CONFIG_FILE": str(config), "PYTHONPYCACHEPREFIX": str(config.parent / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "runner", *words], capture_output=True, env=environment, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runners", type=int, default=20)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    result: dict[str, object] = {"benchmark": "commands", "runners": options.runners, "runs": options.runs}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        config.write_text(
            "concurrent = 10\n" + "".join(RUNNER.format(number=number) for number in range(options.runners))
        )
        for name, words in COMMANDS.items():
            seconds(words, config)
            walls = [seconds(words, config) for _ in range(options.runs)]
            result[f"{name}_p50_s"] = round(statistics.median(walls), 3)
            result[f"{name}_max_s"] = round(max(walls), 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
