"""ProcessKubelet: every container is a real process of this machine.

Law: no root, no namespaces, no images. What a container would bring in its image is taken from this machine; the words
of the helper image (`runner-helper-agent`, `gitlab-runner-helper`, `gitlab-runner-build`) are scripts that stand first
in PATH and start this very package.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import runner
from runner.testing.cluster.kubelet import Execution, PodRecord, StartSoon
from runner.testing.cluster.process_pod import Node, ProcessPod
from runner.testing.cluster.stdio import Reader, Stdio

_KEEP_LOG_BYTES = 10 * 1024 * 1024


class ProcessKubelet:
    """Runs containers as processes below one temporary folder, which goes with it.

    The differences to a node: images are ignored (a name whose last part begins with `missing` cannot be pulled), but
    `entrypoints` says what an image runs when the spec gives no command; containers see this machine's files, network
    and user; mounts are symbolic links at their absolute paths, so configurations use folders that may be written
    (`builds_dir`, `logs_base_dir`, `scripts_base_dir` below a temporary folder); security contexts, limits, probes,
    life-cycle hooks, host aliases and restarts are ignored. Linux only (pidfd, /proc).
    """

    def __init__(
        self,
        *,
        entrypoints: Mapping[str, Sequence[str]] | None = None,
        keep_log_bytes: int = _KEEP_LOG_BYTES,
    ) -> None:
        self._entrypoints = dict(entrypoints or {})
        self._keep_log_bytes = keep_log_bytes
        self._node: Node | None = None
        self._pods: dict[str, ProcessPod] = {}

    @property
    def folder(self) -> Path:
        """Where everything of its pods lies; raises RuntimeError before `start`."""
        return self._ready().folder

    async def start(self, start_soon: StartSoon) -> None:
        """Make the folder and the programs in it."""
        folder = Path(tempfile.mkdtemp(prefix="embedded-node-"))
        programs = folder / "bin"
        programs.mkdir()
        for name, text in _programs().items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self._node = Node(folder, programs, self._entrypoints, self._keep_log_bytes)

    async def run_pod(self, pod: PodRecord) -> None:
        """Live a pod's life."""
        lived = ProcessPod(pod, self._ready())
        self._pods[pod.uid] = lived
        try:
            await lived.live()
        finally:
            del self._pods[pod.uid]

    def stdio(self, pod_uid: str, container: str) -> Stdio | None:
        """Return the streams of a container that was started."""
        pod = self._pods.get(pod_uid)
        return pod.stdio(container) if pod else None

    async def execute(self, execution: Execution, reader: Reader) -> Stdio:
        """Start a command in a running container."""
        return self._pods[execution.pod_uid].start_exec(execution, reader)

    async def aclose(self) -> None:
        """Remove the folder; the pods ended with their tasks."""
        if self._node is not None:
            shutil.rmtree(self._node.folder, ignore_errors=True)
            self._node = None

    def _ready(self) -> Node:
        if self._node is None:
            raise RuntimeError("The kubelet has not been started: start the server that it belongs to.")
        return self._node


def _programs() -> dict[str, str]:
    """Return the programs of the helper image as shell scripts."""
    # -I and a path of its own: neither a job's PYTHONPATH nor a `runner` folder in its sources may come between.
    packages = str(Path(runner.__file__).parent.parent)
    begin = f"import runpy, sys; sys.path.insert(0, {packages!r})"

    def module(name: str, *words: str) -> str:
        code = (
            f"{begin}; sys.argv[1:1] = {list(words)!r}; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
        )
        return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(code)} "$@"\n'

    return {
        "runner-helper-agent": module("runner.helper", "agent"),
        "gitlab-runner-helper": module("runner", "helper"),
        "gitlab-runner-build": '#!/bin/sh\numask 0000\nexec "$(command -v bash || command -v sh)" "$@"\n',
    }
