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
    files = sorted({name.partition("::")[0] for name in named})
    gone = {file for file in files if not (ROOT / file).is_file()}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--no-header", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "1000"}
    # The end-to-end tests are collected once for each kind of cluster; one kind is enough to know them.
    environment.pop("KUBECONFIG", None)
    done = subprocess.run(
        [*command, *(file for file in files if file not in gone)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {line for line in done.stdout.splitlines() if "::" in line}
    return [name for name in named if name not in found | {line.partition("[")[0] for line in found}]
