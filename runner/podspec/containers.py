"""The containers of a job's pod: build, helper and services.

`build` and `helper` run the agents that the manager talks to: their stdin stays open (`stdin`), also after a connection
to it has ended (`stdinOnce` false), because the manager attaches again and again.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from runner.config.kubernetes import KubernetesConfig
from runner.config.security import ContainerSecurityContext
from runner.job.payload import Port
from runner.podspec.environment import build_environment, build_service_environment
from runner.podspec.lifecycle import build_lifecycle
from runner.podspec.manifest import Manifest, filled
from runner.podspec.pull import pull_policy
from runner.podspec.request import PodRequest
from runner.podspec.security import build_container_security_context
from runner.podspec.services import PodService
from runner.podspec.users import ContainerUser, container_user
from runner.podspec.volumes import build_service_mounts, own_mounts

BUILD = "build"
"""The container of the user's commands."""
HELPER = "helper"
"""The container of everything else."""

COLLECTOR_FLAG = "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR"
"""Gives the sources to the build container's user, whom an init container finds out."""
DUMB_INIT_FLAG = "FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR"
"""Puts an init process before the agents; an init container brings it."""

HONOR_ENTRYPOINT_FLAG = "FF_KUBERNETES_HONOR_ENTRYPOINT"
"""Starts the agents through the entrypoints of their images."""

_OPEN_STDIN = {"stdin": True, "stdinOnce": False}
_LEGACY = "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY"


@dataclass(frozen=True, slots=True)
class _Common:
    """What several containers of one pod have the same, made once."""

    environment: list[Manifest]
    mounts: list[Manifest]
    lifecycle: Manifest


def build_containers(request: PodRequest) -> list[Manifest]:
    """Build all containers: `build`, `helper`, then the services sorted by name."""
    services = sorted(request.services, key=lambda service: service.name)
    common = _Common(
        environment=build_environment(request.variables, containers=1 + len(services)),
        mounts=build_service_mounts(request),
        lifecycle=build_lifecycle(request.kubernetes.container_lifecycle),
    )
    return [
        _build_container(request, common),
        _helper_container(request, common),
        *(_service_container(service, request, common) for service in services),
    ]


def build_resources(kubernetes: KubernetesConfig, kind: Literal["", "helper_", "service_", "pod_"]) -> Manifest:
    """Build limits and requests from the keys of one kind of container; what is not set is not sent."""

    def amounts(suffix: Literal["limit", "request"]) -> Manifest:
        keys = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeral_storage"}
        return filled({name: getattr(kubernetes, f"{kind}{key}_{suffix}", "") for name, key in keys.items()})

    return filled({"limits": amounts("limit"), "requests": amounts("request")})


def build_user(request: PodRequest) -> ContainerUser:
    """Choose whom `build` runs as, and say what the job asked for in vain."""
    requested = request.job.image.executor_opts.kubernetes.user if request.job.image else ""
    context = request.kubernetes.build_container_security_context
    return _user(BUILD, request, context, requested)


def service_user(service: PodService, request: PodRequest) -> ContainerUser:
    """Choose whom a service runs as, and say what the job asked for in vain."""
    return _user(service.name, request, request.kubernetes.service_container_security_context, service.user)


def _build_container(request: PodRequest, common: _Common) -> Manifest:
    context = request.kubernetes.build_container_security_context
    return filled(
        {
            "name": BUILD,
            "image": request.build_image,
            "imagePullPolicy": pull_policy(BUILD, request),
            **_entrypoint(request, _announced(request, request.build_command)),
            "env": common.environment,
            "ports": _ports(request.job.image.ports if request.job.image else ()),
            "resources": build_resources(request.kubernetes, ""),
            "volumeMounts": [*own_mounts(request), *common.mounts],
            "securityContext": build_container_security_context(request.kubernetes, context, build_user(request)),
            "lifecycle": common.lifecycle,
            "startupProbe": _startup_probe(request),
            **_OPEN_STDIN,
        }
    )


def _helper_container(request: PodRequest, common: _Common) -> Manifest:
    context = request.kubernetes.helper_container_security_context
    user = _helper_user(request)
    return filled(
        {
            "name": HELPER,
            "image": request.helper_image,
            "imagePullPolicy": pull_policy(HELPER, request),
            **_entrypoint(request, request.helper_command),
            "env": _helper_environment(request, user),
            "resources": build_resources(request.kubernetes, "helper_"),
            "volumeMounts": [*own_mounts(request), *common.mounts],
            "securityContext": build_container_security_context(request.kubernetes, context, user),
            "lifecycle": common.lifecycle,
            **_OPEN_STDIN,
        }
    )


def _service_container(service: PodService, request: PodRequest, common: _Common) -> Manifest:
    context = request.kubernetes.service_container_security_context
    own = service.resources
    return filled(
        {
            "name": service.name,
            "image": service.image,
            "imagePullPolicy": pull_policy(service.name, request),
            "command": list(service.entrypoint),
            "args": list(service.command),
            "env": build_service_environment(service, request, common.environment),
            "ports": _ports(service.ports),
            "resources": build_resources(request.kubernetes, "service_") if own is None else own,
            "volumeMounts": common.mounts,
            "securityContext": build_container_security_context(
                request.kubernetes, context, service_user(service, request)
            ),
            "lifecycle": common.lifecycle,
            # Also here, as in GitLab Runner: a service whose command is a shell would end at once otherwise.
            **_OPEN_STDIN,
        }
    )


def _user(container: str, request: PodRequest, context: ContainerSecurityContext, requested: str) -> ContainerUser:
    return container_user(
        container,
        context=context,
        pod_context=request.kubernetes.pod_security_context,
        requested=request.variables.expanded().expand(requested),
        allowed_users=request.kubernetes.allowed_users,
        allowed_groups=request.kubernetes.allowed_groups,
    )


def _helper_user(request: PodRequest) -> ContainerUser:
    """Choose whom `helper` runs as: root, where nobody says otherwise.

    GitLab Runner's helper image is root's, this project's is not. Only root can read whatever the job has made, and
    remove it: most images are root's, and what root writes with a umask of its own is for root alone. git refuses root
    a project that another user owns. Only root can give the sources to the build's user, as a flag asks for, and write
    on volumes that outlive the pod.
    """
    kubernetes = request.kubernetes
    context, pod_context = kubernetes.helper_container_security_context, kubernetes.pod_security_context
    user = _user(HELPER, request, context, "")
    is_forbidden = context.run_as_non_root or (context.run_as_non_root is None and pod_context.run_as_non_root)
    if user.uid is not None or is_forbidden or not request.helper_may_be_root:
        return user
    return replace(user, uid=0)


def dumb_init(request: PodRequest) -> str:
    """Where the init process lies when the flag asks for one."""
    return f"{request.directories.scripts}/dumb-init"


def _entrypoint(request: PodRequest, command: tuple[str, ...]) -> Manifest:
    """Start our command instead of the image's entrypoint, or through it where the flag says so."""
    honored = request.flag(HONOR_ENTRYPOINT_FLAG, default=False)
    init = [dumb_init(request), "--"] if request.flag(DUMB_INIT_FLAG, default=False) else []
    return {"args" if honored else "command": [*init, *command]}


def _announced(request: PodRequest, command: tuple[str, ...]) -> tuple[str, ...]:
    """Leave a mark when the image's entrypoint has done its part, where something waits for it."""
    if not _waits_for_entrypoint(request):
        return command
    return ("sh", "-c", ': >"$1"; shift; exec "$@"', "agent", _started_mark(request), *command)


def _startup_probe(request: PodRequest) -> Manifest:
    """Hold the pod back until the image's entrypoint has done its part.

    Only where stages come by exec, which an entrypoint does not hold up: an attached agent reads its first command when
    the entrypoint has started it.
    """
    if not _waits_for_entrypoint(request):
        return {}
    kubernetes = request.kubernetes
    return {
        "exec": {"command": ["sh", "-c", '[ -e "$1" ]', "started", _started_mark(request)]},
        "initialDelaySeconds": 1,
        "periodSeconds": max(1, round(kubernetes.poll_interval)),
        "failureThreshold": math.floor(kubernetes.poll_timeout / kubernetes.poll_interval) + 1,
        "successThreshold": 1,
    }


def _waits_for_entrypoint(request: PodRequest) -> bool:
    return request.flag(HONOR_ENTRYPOINT_FLAG, default=False) and request.flag(_LEGACY, default=False)


def _started_mark(request: PodRequest) -> str:
    return f"{request.directories.scripts}/.started"


def _helper_environment(request: PodRequest, user: ContainerUser) -> list[Manifest]:
    """Give the helper a home when it runs as somebody the image may not know.

    A container engine sets HOME to `/` for an unknown user, and git cannot write its configuration there.
    """
    return [{"name": "HOME", "value": request.directories.scripts}] if user.uid else []


def _ports(ports: tuple[Port, ...]) -> list[Manifest]:
    return [{"containerPort": port.number} for port in ports]
