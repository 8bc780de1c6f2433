"""ScriptedKubelet: pods without processes, each with a fate.

Law: everything is in memory and in one event loop; a pod costs two tasks and no file, so a thousand of them with a line
a second each are cheap. What a client can tell from a real node it must not be able to tell here, but for the script.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from runner.testing.cluster.agents import PodAgents
from runner.testing.cluster.container_log import ContainerLog
from runner.testing.cluster.fates import Fate, Mishap, Rule, Script, Waiting
from runner.testing.cluster.kubelet import Execution, PodRecord, StartSoon, first_of
from runner.testing.cluster.news import News
from runner.testing.cluster.pod_status import (
    Condition,
    ContainerState,
    PodState,
    initial_states,
    pod_status,
    unscheduled_status,
)
from runner.testing.cluster.problems import Manifest, internal_error
from runner.testing.cluster.stdio import STDOUT, Reader, Stdio

_UNREACHABLE = "error dialing backend: dial tcp 10.0.0.1:10250: connect: no route to host"
_KEEP_LOG_BYTES = 1024 * 1024
_KILLED = 137


class ScriptedPod:
    """One pod and its story: what a test asks and does."""

    def __init__(self, record: PodRecord, fate: Fate, *, clock: Callable[[], float], scale: float, number: int) -> None:
        self.fate = fate
        self.executions: list[tuple[str, tuple[str, ...], bytearray]] = []
        """Container, command and input of every exec."""
        self._record = record
        self._scale = scale
        self._address = f"10.244.{number // 250 % 250}.{number % 250 + 1}"
        self._group: TaskGroup | None = None
        self._agents = PodAgents(fate, start_soon=self._start_soon, strike=self.strike, clock=clock, scale=scale)
        spec = record.manifest["spec"]
        self._containers, self._inits = initial_states(spec)
        self._conditions: tuple[Condition, ...] = ()
        self._streams: dict[str, Stdio] = {}
        self._started_at = ""
        self._lost = False
        self.running = anyio.Event()
        """Set when the containers run."""

    # What a test asks

    @property
    def name(self) -> str:
        """The pod's name."""
        return self._record.name

    @property
    def manifest(self) -> Manifest:
        """The pod as stored now, or as it was when it went."""
        return self._record.manifest

    @property
    def log(self) -> bytes:
        """The job's raw log in the pod."""
        return bytes(self._agents.log)

    @property
    def journal(self) -> tuple[str, ...]:
        """The lines of the journal."""
        return tuple(self._agents.journal)

    @property
    def scripts(self) -> Mapping[str, bytes]:
        """The sealed files by name."""
        return self._agents.scripts

    @property
    def attempts(self) -> tuple[str, ...]:
        """The attempts in the order in which they were started."""
        return tuple(self._agents.started)

    async def wait_started(self, attempt: str, *, timeout: float = 10.0) -> None:
        """Wait until the attempt has been started; raises TimeoutError that names what was started instead."""
        await self._wait(lambda: attempt in self._agents.started, f"start of {attempt}", timeout)

    async def wait_ended(self, attempt: str, *, timeout: float = 10.0) -> None:
        """Wait until the attempt has been started and has ended."""
        await self._wait(lambda: self._agents.finish(attempt), f"end of {attempt}", timeout)

    async def _wait(self, reached: Callable[[], bool], what: str, timeout: float) -> None:
        with anyio.move_on_after(timeout):
            while not reached():
                await self._agents.news.wait()
            return
        raise TimeoutError(
            f"Pod {self.name}: no {what} within {timeout} s; started were {', '.join(self.attempts) or 'none'}."
        )

    # What a test does

    async def strike(self, mishap: Mishap) -> None:
        """Let something happen to the pod now."""
        self._MISHAPS[mishap](self)

    # Its life

    async def live(self) -> None:
        """Go through the fate until the pod is removed."""
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self._cancel_when_removed)
            for waiting in self.fate.before:
                self._report_waiting(waiting)
                await first_of(partial(self._wait_out, waiting), self._record.terminating.wait)
                if self._record.terminating.is_set():
                    break
            else:
                self._run()
                if self.fate.at_start is not None:
                    await self.strike(self.fate.at_start)
                await self._record.terminating.wait()
            if self._lost:
                await anyio.sleep_forever()
            self._end_all(0)
            self._record.remove()
            group.cancel_scope.cancel()

    def stdio(self, container: str) -> Stdio | None:
        """Return the streams of a container that was started."""
        return self._streams.get(container)

    def start_exec(self, execution: Execution, reader: Reader) -> Stdio:
        """Start a command as the fate says."""
        if self._lost:
            raise internal_error(_UNREACHABLE)
        make = self.fate.executed or (lambda _container, _command: Script())
        received = bytearray()
        self.executions.append((execution.container, execution.command, received))
        stdio = Stdio(stdin=_Received(received), stdin_once=True)
        stdio.attach(reader)
        self._start_soon(self._perform, make(execution.container, execution.command), stdio)
        return stdio

    async def _cancel_when_removed(self) -> None:
        await self._record.removed.wait()
        self._end_all(_KILLED)
        if self._group is not None:
            self._group.cancel_scope.cancel()

    def _start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], *arguments: object) -> None:
        if self._group is not None and not self._group.cancel_scope.cancel_called:
            self._group.start_soon(function, *arguments)

    async def _wait_out(self, waiting: Waiting) -> None:
        if math.isinf(waiting.seconds):
            await anyio.sleep_forever()
        await anyio.sleep(waiting.seconds * self._scale)
        if waiting.until is not None:
            await waiting.until.wait()

    async def _perform(self, script: Script, stdio: Stdio) -> None:
        for delay, data in script.output:
            await anyio.sleep(delay * self._scale)
            await stdio.write(STDOUT, data)
        if script.until is not None:
            await script.until.wait()
        stdio.finish(script.exit_code)

    def _run(self) -> None:
        self._record.bind()
        self._inits = {name: ContainerState.running().terminated(0) for name in self._inits}
        for name in self._containers:
            streams = {"build": self._agents.build, "helper": self._agents.helper}.get(name) or Stdio()
            streams.log = ContainerLog(keep_bytes=_KEEP_LOG_BYTES)
            self._streams[name] = streams
            self._containers[name] = ContainerState.running()
        self._report()
        self._start_soon(self._agents.pump)
        self.running.set()

    # Reports

    def _report_waiting(self, waiting: Waiting) -> None:
        if waiting.reason == "Unschedulable":
            self._record.set_status(unscheduled_status(waiting.message))
            self._record.event("FailedScheduling", waiting.message, kind="Warning")
            return
        if not self._record.manifest["spec"].get("nodeName"):
            self._record.bind()
        state = ContainerState.waiting(waiting.reason, waiting.message, last_exit_code=waiting.last_exit_code)
        held = self._inits if waiting.container in self._inits else self._containers
        name = waiting.container if waiting.container in held else next(iter(held))
        held[name] = state
        self._report()
        self._record.event(
            "BackOff" if "BackOff" in waiting.reason else "Failed", waiting.message or waiting.reason, kind="Warning"
        )

    def _report(self, *, phase: str = "", reason: str = "", message: str = "") -> None:
        state = PodState(
            containers=self._containers,
            init_containers=self._inits,
            conditions=self._conditions,
            phase=phase,
            reason=reason,
            message=message,
            started_at=self._started_at,
            address=self._address if self._streams else "",
        )
        status = pod_status(self._record.manifest["spec"], state)
        self._started_at = status["startTime"]
        self._record.set_status(status)

    # Ends

    def _end_container(self, name: str, exit_code: int, *, reason: str = "") -> None:
        state, stdio = self._containers.get(name), self._streams.get(name)
        if state is None or stdio is None or state.kind != "running":
            return
        self._agents.kill(name)
        self._containers[name] = state.terminated(exit_code, reason=reason)
        stdio.finish(exit_code)

    def _end_all(self, exit_code: int) -> None:
        for name in self._containers:
            self._end_container(name, exit_code)

    def _kill_build(self, reason: str) -> None:
        self._end_container("build", _KILLED, reason=reason)
        self._report()

    def _kill_helper(self) -> None:
        self._end_container("helper", _KILLED)
        self._report()

    def _evict(self) -> None:
        message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. "
        self._conditions = (Condition("DisruptionTarget", True, "TerminationByKubelet", message),)
        self._end_all(_KILLED)
        self._record.event("Evicted", message, kind="Warning")
        self._report(phase="Failed", reason="Evicted", message=message)

    def _drain(self) -> None:
        self._conditions = (Condition("DisruptionTarget", True, "EvictionByEvictionAPI", "Eviction API: evicting"),)
        self._report()
        self._record.delete()

    def _lose_node(self) -> None:
        self._lost = True
        for stdio in self._streams.values():
            stdio.unreachable = _UNREACHABLE
        # The processes may run on; nobody hears of them.
        self._agents.kill(*self._containers)
        self._conditions = (Condition("Ready", False, "NodeNotReady"),)
        self._report()

    _MISHAPS: Mapping[Mishap, Callable[[ScriptedPod], None]] = {
        Mishap.OOM_KILLED: lambda pod: pod._kill_build("OOMKilled"),
        Mishap.BUILD_DIED: lambda pod: pod._kill_build("Error"),
        Mishap.HELPER_DIED: _kill_helper,
        Mishap.EVICTED: _evict,
        Mishap.DRAINED: _drain,
        Mishap.DELETED: lambda pod: pod._record.delete(),
        Mishap.DELETED_BY_FORCE: lambda pod: pod._record.delete(grace_seconds=0),
        Mishap.NODE_LOST: _lose_node,
    }


class ScriptedKubelet:
    """Runs pods by script. Fates go by rule first, then by turn, then `fate` for all others.

    `scale` multiplies every time that a script wishes for; `clock` gives the journal its times. One kubelet serves one
    server.
    """

    def __init__(
        self,
        fate: Fate | None = None,
        *,
        rules: Iterable[Rule] = (),
        scale: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fate = fate or Fate()
        self._rules: list[tuple[Rule, list[int]]] = [(rule, [0]) for rule in rules]
        self._turns: deque[Fate] = deque()
        self._scale = scale
        self._clock = clock
        self._numbers = itertools.count()
        self._pods: dict[str, ScriptedPod] = {}
        self._news = News()

    # What a test says

    def rule(self, rule: Rule) -> None:
        """Put a rule behind those that stand."""
        self._rules.append((rule, [0]))

    def queue(self, *fates: Fate) -> None:
        """Give these fates to the next pods that no rule is about, one each."""
        self._turns.extend(fates)

    # What a test asks

    @property
    def pods(self) -> tuple[ScriptedPod, ...]:
        """Every pod so far, in the order of creation, removed ones too."""
        return tuple(self._pods.values())

    async def wait_pods(self, count: int = 1, *, timeout: float = 10.0) -> tuple[ScriptedPod, ...]:
        """Wait until so many pods have been created; raises TimeoutError."""
        with anyio.fail_after(timeout):
            while len(self._pods) < count:
                await self._news.wait()
        return self.pods

    # What the API server asks

    async def start(self, start_soon: StartSoon) -> None:
        """Nothing has to be made ready."""

    async def run_pod(self, pod: PodRecord) -> None:
        """Let the pod live its fate."""
        scripted = ScriptedPod(
            pod, self._choose(pod.manifest), clock=self._clock, scale=self._scale, number=next(self._numbers)
        )
        self._pods[pod.uid] = scripted
        self._news.ring()
        await scripted.live()

    def stdio(self, pod_uid: str, container: str) -> Stdio | None:
        """Return the streams of a container that was started."""
        pod = self._pods.get(pod_uid)
        return pod.stdio(container) if pod else None

    async def execute(self, execution: Execution, reader: Reader) -> Stdio:
        """Play a command as the pod's fate says."""
        return self._pods[execution.pod_uid].start_exec(execution, reader)

    async def aclose(self) -> None:
        """Nothing is left behind: tasks end with the server."""

    def _choose(self, pod: Manifest) -> Fate:
        for rule, used in self._rules:
            if (rule.times is None or used[0] < rule.times) and rule.matches(pod):
                used[0] += 1
                return rule.fate
        return self._turns.popleft() if self._turns else self._fate


class _Received:
    """The input of an exec'ed command: kept for the test to look at."""

    def __init__(self, received: bytearray) -> None:
        self._received = received

    async def write(self, data: bytes) -> None:
        """Keep it."""
        self._received += data

    def close(self) -> None:
        """Nothing is open."""

    def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""
