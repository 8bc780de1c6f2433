"""Which tests there are, as pytest itself finds them: for documents and tables that name tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

from tests.documents import ROOT


def missing(tests: Iterable[str]) -> list[str]:
    """Those of the named tests that do not exist; a name without its case in brackets stands for all of its cases."""
    named = list(tests)
    files = {name.partition("::")[0] for name in named}
    found = collected(file for file in files if (ROOT / file).is_file())
    return [name for name in named if name not in found | {line.partition("[")[0] for line in found}]


def collected(files: Iterable[str]) -> set[str]:
    """Every test of these files, with its case."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--no-header", "-p", "no:cacheprovider"]
    # Any cluster will do for tests to be known that need a real one: none of them runs.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "1000", "KUBECONFIG": "/dev/null"}
    done = subprocess.run(
        [*command, *sorted(files)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}
