"""kubernetes_asyncio without its models."""

from __future__ import annotations

import subprocess
import sys

_ALONE = """
import sys
from runner.kube.library import loaders
known = loaders()
assert not [name for name in sys.modules if name.startswith("kubernetes_asyncio")], "the stand-ins are still there"
configuration = known.Configuration()
configuration.host = "http://localhost"
from kubernetes_asyncio.client import CoreV1Api, V1Pod
import kubernetes_asyncio.config
assert kubernetes_asyncio.config.load_kube_config
print("apart" if kubernetes_asyncio.client.Configuration is not known.Configuration else "together")
"""

_AFTER = """
import kubernetes_asyncio.client
from runner.kube.library import loaders
print("together" if kubernetes_asyncio.client.Configuration is loaders().Configuration else "apart")
"""


def _run(text: str) -> str:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or done.stderr


def test_the_models_are_not_imported_and_the_library_stays_whole_for_others() -> None:
    """Nothing of ours is left where an embedder's own import looks."""
    assert _run(_ALONE) == "apart"


def test_a_library_that_is_loaded_already_is_used_as_it_is() -> None:
    """An embedder pays once."""
    assert _run(_AFTER) == "together"
