"""The parts of a manager, put together: what `runner run`, `runner local` and test harnesses share."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from runner import __version__
from runner.executor.cluster import Cluster
from runner.executor.kubernetes import KubernetesExecutor
from runner.gitlab.coordinator import Coordinator
from runner.gitlab.features import ClientInfo, features
from runner.gitlab.registration import Registrar
from runner.gitlab.transport import ClientPool
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.informer import PodInformer
from runner.kube.retries import RetryPolicy
from runner.manager.caches import CacheLinkMaker
from runner.manager.certificates import tls_files
from runner.manager.deadlines import FINAL_UPDATE_TIMEOUT
from runner.manager.logging import runner_fields
from runner.manager.manager import RunnerManager
from runner.manager.material import Identity
from runner.manager.sessions import open_sessions
from runner.manager.settings import REVISION, default_helper_image
from runner.manager.tracing import KEEP_ALIVE_INTERVAL
from runner.status.board import StatusBoard
from runner.store.base import StoreError
from runner.store.stores import BrokenStore, open_store

if TYPE_CHECKING:
    from runner.config.model import Config, RunnerConfig
    from runner.executor.base import Executor
    from runner.kube.client import KubeClient

log = structlog.get_logger()

Observe = Callable[[str, str, int, float], None]
"""Hears of a request after it: what was asked, the status and the seconds it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observers:
    """Who hears of requests: after each, with what was asked, the status and the seconds it took."""

    gitlab: Observe | None = None
    kubernetes: Observe | None = None


def assemble(
    config: Config,
    *,
    system_id: str,
    kubeconfig: str | None = None,
    environ: Mapping[str, str] = os.environ,
    observers: Observers | None = None,
    final_update_timeout: float = FINAL_UPDATE_TIMEOUT,
    keep_alive_interval: float = KEEP_ALIVE_INTERVAL,
    max_jobs: int | None = None,
    board: StatusBoard | None = None,
    config_file: Path | None = None,
) -> RunnerManager:
    """Make a manager for a configuration; `board` is told what it does. Nothing is opened or asked before `serve`.

    `config_file` is where the configuration was read, for what lies beside it; None: it has no file.
    """
    seen = observers or Observers()
    told = board or StatusBoard(system_id=system_id)
    helper_image = default_helper_image(environ)
    pool = ClientPool()
    known = features(sessions=bool(config.session_server.listen_address))
    identity = Identity(
        name="runner", version=__version__, revision=REVISION, system_id=system_id, host=platform.node()
    )

    def executor_for(runner: RunnerConfig) -> Executor:
        return KubernetesExecutor(
            runner,
            system_id=system_id,
            default_helper_image=helper_image,
            cluster=_cluster(runner, kubeconfig=kubeconfig, seen=seen, board=told),
            home=environ.get("HOME", ""),
        )

    def coordinator_for(runner: RunnerConfig) -> Coordinator:
        return Coordinator(
            runner.url,
            runner.token,
            info=ClientInfo(
                version=__version__, revision=REVISION, shell=runner.shell, labels=runner.labels, features=known
            ),
            system_id=system_id,
            tls=tls_files(runner, config_file),
            pool=pool,
            observe=_both(seen.gitlab, told.gitlab_observer(runner)),
        )

    def caches_for(runner: RunnerConfig) -> CacheLinkMaker:
        try:
            return CacheLinkMaker(open_store(runner.cache, environ=environ))
        except StoreError as error:
            log.warning("caches stay in their pods", **runner_fields(runner), reason=str(error))
            return CacheLinkMaker(BrokenStore(str(error)))

    return RunnerManager(
        config,
        identity=identity,
        executor_for=executor_for,
        coordinator_for=coordinator_for,
        caches_for=caches_for,
        sessions=open_sessions(config.session_server),
        applied=lambda present: pool.set_connection_max_age(present.connection_max_age),
        close=pool.aclose,
        final_update_timeout=final_update_timeout,
        keep_alive_interval=keep_alive_interval,
        max_jobs=max_jobs,
        board=told,
    )


def registrar_for(config_file: Path | None, *, board: StatusBoard | None = None) -> Callable[[RunnerConfig], Registrar]:
    """How the runners of a configuration's file speak for themselves at GitLab, with their certificates.

    `board` is told of the requests.
    """

    def made(runner: RunnerConfig) -> Registrar:
        info = ClientInfo(version=__version__, revision=REVISION, shell=runner.shell)
        observe = board.gitlab_observer(runner) if board else None
        return Registrar(runner.url, info=info, tls=tls_files(runner, config_file), observe=observe)

    return made


def connection_settings(runner: RunnerConfig, *, kubeconfig: str | None) -> ConnectionSettings:
    """How a runner finds its API server; `kubeconfig` is the command line's."""
    kubernetes = runner.kubernetes
    return ConnectionSettings(
        host=kubernetes.host,
        context=kubernetes.context,
        cert_file=kubernetes.cert_file,
        key_file=kubernetes.key_file,
        ca_file=kubernetes.ca_file,
        bearer_token=kubernetes.bearer_token,
        kubeconfig=kubeconfig,
    )


def _both(first: Observe | None, second: Observe) -> Observe:
    if first is None:
        return second
    one = first

    def observe(verb: str, route: str, status: int, seconds: float) -> None:
        one(verb, route, status, seconds)
        second(verb, route, status, seconds)

    return observe


def _cluster(runner: RunnerConfig, *, kubeconfig: str | None, seen: Observers, board: StatusBoard) -> Cluster:
    kubernetes = runner.kubernetes
    meter = board.meter
    observe = _both(seen.kubernetes, meter.kubernetes_answered)
    settings = connection_settings(runner, kubeconfig=kubeconfig)
    retry = RetryPolicy(
        limit=kubernetes.retry_limit,
        backoff_max=kubernetes.retry_backoff_max / 1000,
        limits=tuple(kubernetes.retry_limits.items()),
    )

    async def open_client() -> KubeClient:
        return await connect(settings, retry=retry, observe=observe, retried=meter.kubernetes_retried)

    async def open_client_as(token: str) -> KubeClient:
        # Without the certificate: an API server that knows its owner does not look at the token.
        own = replace(settings, bearer_token=token, cert_file="", key_file="")
        return await connect(own, retry=retry, observe=observe, retried=meter.kubernetes_retried)

    def make_informer(client: KubeClient, namespace: str, selector: str, poll_interval: float) -> PodInformer:
        informer = PodInformer(
            client, namespace, selector=selector, poll_interval=poll_interval, observe=meter.watch_changed
        )
        board.follow(informer)
        return informer

    return Cluster(open_client, make_informer, home=kubernetes.namespace, connect_as=open_client_as)
