"""One pod of a ProcessKubelet: its volumes, its containers as processes, its end.

Law: what was started is ended and what was made is removed, however the pod's task ends. The order of a real kubelet:
volumes, init containers one by one, containers, TERM and after the grace KILL, then the object goes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from runner.testing.cluster.container_log import ContainerLog
from runner.testing.cluster.environment import (
    ContainerConfigError,
    command_line,
    container_environment,
    image_problem,
)
from runner.testing.cluster.kubelet import Execution, PodRecord, first_of
from runner.testing.cluster.pod_status import ContainerState, PodState, initial_states, pod_status
from runner.testing.cluster.problems import Manifest, internal_error
from runner.testing.cluster.processes import MARKER, Process, StartError, kill_marked
from runner.testing.cluster.stdio import Reader, Stdio
from runner.testing.cluster.volumes import MountError, PodVolumes, VolumeError

_START_ERROR = 128
_CREATE_FAILED = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
)
_EXEC_FAILED = (
    "Internal error occurred: error executing command in container: failed to exec in container: failed to start exec: "
    "OCI runtime exec failed: exec failed: "
)
_IDLE = ("/bin/sh", "-c", 'trap "exit 0" TERM; while :; do sleep 3600 & wait; done')
"""What an image without a known entrypoint does: nothing, until it is told to end."""


@dataclass(frozen=True, slots=True)
class Node:
    """What the pods of one kubelet share."""

    folder: Path
    programs: Path
    """The folder that stands first in every container's PATH."""
    entrypoints: Mapping[str, Sequence[str]]
    """What images run, by image name."""
    keep_log_bytes: int


@dataclass(slots=True)
class _Container:
    """A container that was started."""

    marker: str
    environment: Mapping[str, str]
    folder: Path
    process: Process
    executed: list[Process] = field(default_factory=list)

    def kill(self) -> None:
        """Kill every process of it; blocks, for a thread."""
        # Of those not reaped yet: their numbers cannot have been given away.
        kill_marked(self.marker, [one.belongings for one in (self.process, *self.executed) if not one.ended])


class ProcessPod:
    """A pod whose containers are processes of this machine."""

    def __init__(self, record: PodRecord, node: Node) -> None:
        self._record = record
        self._node = node
        self._folder = node.folder / "pods" / record.uid
        self._volumes = PodVolumes(self._folder, node.folder / "claims", record.manifest, record.lookup)
        self._containers: dict[str, _Container] = {}
        self._streams: dict[str, Stdio] = {}
        self._states, self._inits = initial_states(record.manifest["spec"])
        self._failure: tuple[str, str] = ("", "")
        """Reason and message, once the pod has failed as a whole."""
        self._told = ""
        """What the last event about its volumes said."""
        self._started_at = ""
        self._group: TaskGroup | None = None

    async def live(self) -> None:
        """Live the pod's life until its object is removed."""
        self._record.bind()
        self._record.event("Scheduled", f"Successfully assigned {self._record.namespace}/{self._record.name}")
        self._report()
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._run)
                group.start_soon(self._watch_deadline)
                await self._record.terminating.wait()
                await self._terminate()
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._destroy()
        self._report()
        self._record.remove()

    def stdio(self, container: str) -> Stdio | None:
        """Return the streams of a container that was started."""
        return self._streams.get(container)

    def start_exec(self, execution: Execution, reader: Reader) -> Stdio:
        """Start a command in a running container; raises StatusError."""
        container = self._containers.get(execution.container)
        if container is None or container.process.ended or self._group is None:
            raise internal_error(f'unable to upgrade connection: container not found ("{execution.container}")')
        try:
            process = Process(
                execution.command,
                environment=container.environment,
                folder=container.folder,
                stdin=execution.stdin,
                tty=execution.tty,
            )
        except StartError as error:
            raise internal_error(_EXEC_FAILED + str(error)) from error
        process.stdio.stdin_once = True
        process.stdio.attach(reader)
        container.executed.append(process)
        self._group.start_soon(self._run_executed, container, process)
        return process.stdio

    async def _run_executed(self, container: _Container, process: Process) -> None:
        await process.run()
        container.executed.remove(process)

    # Start

    async def _run(self) -> None:
        """Make the volumes, run the init containers in turn, start the containers."""
        await self._until_ready(self._prepare_volumes)
        spec = self._record.manifest["spec"]
        for init in spec.get("initContainers") or []:
            await self._run_container(init, self._inits)
            if self._inits[init["name"]].exit_code:
                return
        async with anyio.create_task_group() as group:
            for container in spec["containers"]:
                group.start_soon(self._run_container, container, self._states)

    async def _until_ready(self, attempt: Callable[[], bool]) -> None:
        """Call `attempt` until it returns true, looking again whenever anything in the cluster has changed."""
        while not attempt():
            await self._record.wait_changed()

    def _prepare_volumes(self) -> bool:
        try:
            self._volumes.prepare()
        except VolumeError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._record.event("FailedMount", self._told, kind="Warning")
            return False
        return True

    async def _run_container(self, container: Manifest, states: dict[str, ContainerState]) -> None:
        name = container["name"]
        if problem := image_problem(container):
            for reason, message in problem:
                self._wait_with(states, name, reason, message)
            await anyio.sleep_forever()
        await self._until_ready(lambda: self._try_start(container, states))
        started = self._containers.get(name)
        if started is None:
            return
        code = await started.process.run(started.kill)
        states[name] = states[name].terminated(code, signal=started.process.signal)
        self._report()

    def _try_start(self, container: Manifest, states: dict[str, ContainerState]) -> bool:
        """Start a container; false when something is missing that may still come."""
        name = container["name"]
        if self._record.terminating.is_set() or self._failure[0]:
            return True
        try:
            self._volumes.mount(container)
            self._start(container)
        except MountError as error:
            self._wait_with(states, name, "CreateContainerError", str(error))
            return False
        except ContainerConfigError as error:
            self._wait_with(states, name, "CreateContainerConfigError", str(error))
            return False
        except StartError as error:
            message = _CREATE_FAILED + str(error)
            states[name] = ContainerState.running().terminated(_START_ERROR, reason="StartError", message=message)
            self._record.event("Failed", message, kind="Warning")
        else:
            states[name] = ContainerState.running()
            self._record.event("Started", f"Started container {name}")
        self._report()
        return True

    def _start(self, container: Manifest) -> None:
        name = container["name"]
        folder = self._folder / "containers" / name
        for part in ("work", "home", "tmp"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        marker = f"{self._record.uid}-{name}"
        environment = self._environment(container, folder, marker)
        entrypoint = self._node.entrypoints.get(container["image"], ())
        command = command_line(container, environment, entrypoint) or _IDLE
        work = self._working_folder(container, folder / "work")
        tty, stdin = container.get("tty", False), container.get("stdin", False)
        process = Process(command, environment=environment, folder=work, stdin=stdin, tty=tty)
        process.stdio.log = ContainerLog(keep_bytes=self._node.keep_log_bytes)
        process.stdio.stdin_once = container.get("stdinOnce", False)
        self._containers[name] = _Container(marker, environment, work, process)
        self._streams[name] = process.stdio

    def _environment(self, container: Manifest, folder: Path, marker: str) -> dict[str, str]:
        base = {
            "PATH": os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "HOSTNAME": self._record.name,
        }
        environment = container_environment(container, self._record.manifest, self._record.lookup, base)
        environment["PATH"] = f"{self._node.programs}:{environment['PATH']}"
        environment[MARKER] = marker
        return environment

    def _working_folder(self, container: Manifest, default: Path) -> Path:
        asked = container.get("workingDir", "")
        if not asked:
            return default
        folder = Path(asked)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"mkdir {folder}: {error.strerror}: unknown") from error
        return folder

    # End

    async def _watch_deadline(self) -> None:
        deadline = self._record.manifest["spec"].get("activeDeadlineSeconds")
        if deadline is not None:
            await anyio.sleep(deadline)
            self._failure = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            self._record.event(*self._failure, kind="Warning")
            await self._kill_all()
            self._report()

    async def _terminate(self) -> None:
        """TERM to the first process of each container, KILL to all after the grace, or at once when told so."""
        for name, container in self._containers.items():
            if not container.process.ended:
                self._record.event("Killing", f"Stopping container {name}")
                container.process.terminate()
        with anyio.move_on_after(self._record.grace_timeout):
            await first_of(self._wait_ended, self._record.removed.wait)
        await self._kill_all()
        await self._wait_ended()

    async def _wait_ended(self) -> None:
        for stdio in tuple(self._streams.values()):
            await stdio.ended.wait()

    async def _kill_all(self) -> None:
        async with anyio.create_task_group() as group:
            for container in self._containers.values():
                if not container.process.ended:
                    group.start_soon(anyio.to_thread.run_sync, container.kill)

    async def _destroy(self) -> None:
        """Leave nothing behind, whatever the pod's task was doing."""
        for container in self._containers.values():
            await anyio.to_thread.run_sync(container.kill)
        await anyio.to_thread.run_sync(self._volumes.remove)

    # Reports

    def _wait_with(self, states: dict[str, ContainerState], name: str, reason: str, message: str) -> None:
        """Report a waiting reason, once."""
        if (states[name].reason, states[name].message) != (reason, message):
            states[name] = ContainerState.waiting(reason, message)
            self._report()
            self._record.event("BackOff" if "BackOff" in reason else "Failed", message, kind="Warning")

    def _report(self) -> None:
        reason, message = self._failure
        state = PodState(
            containers=dict(self._states),
            init_containers=dict(self._inits),
            phase="Failed" if reason else "",
            reason=reason,
            message=message,
            started_at=self._started_at,
            address="127.0.0.1" if self._containers else "",
        )
        status = pod_status(self._record.manifest["spec"], state)
        self._started_at = status["startTime"]
        self._record.set_status(status)
