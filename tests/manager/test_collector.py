"""The collector of garbage in a process of its own."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from runner.manager.collector import settle
before = gc.get_freeze_count()
settle()
print(before, gc.get_freeze_count() > 1000, gc.get_threshold(), gc.isenabled())
"""


def test_what_the_start_made_is_frozen_and_rubbish_is_still_collected() -> None:
    """After `settle` the modules are frozen, and the collector works on with wider thresholds."""
    found = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert found.stdout == "0 True (5000, 20, 20) True\n"
