"""Python's collector of garbage, set for a process that holds thousands of jobs for a long time.

Only the owner of a process may do this: `runner run` does, an embedding program decides for itself.
"""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 5_000, 20, 5
"""New objects before the youngest are looked at, and how many such looks before older ones are.

Python's own (700, 10, 10) looks at everything seven times as often. With a thousand jobs each look at everything stops
the event loop for a good part of a second; half a million new objects, the rubbish of some hundred jobs, may wait.
"""


def settle() -> None:
    """Never look again at what the start has made: modules and configuration stay for the life of the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
