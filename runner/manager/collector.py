"""Python's collector of garbage, set for a process that holds thousands of jobs for a long time.

Only the owner of a process may do this: `runner run` does, an embedding program decides for itself.
"""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 5_000, 20, 20
"""New objects before the youngest are looked at, and how many such looks before older ones are.

With a thousand jobs a look at everything stops the event loop for half a second, and Python's own thresholds (700, 10,
10) have it every few seconds. Nearly all rubbish is found young; what a hundred jobs leave besides may wait.
"""


def settle() -> None:
    """Never look again at what the start has made: modules and configuration stay for the life of the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
