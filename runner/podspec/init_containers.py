"""Init containers, of which a pod has none unless a feature flag needs one.

Each of them has to run to its end before the job's own containers are started, which about doubles the time until a
job begins. What GitLab Runner's `init-permissions` does in every pod is not needed here: an emptyDir is writable for
everyone, and the agents make the log's files.
"""

from runner.podspec.containers import (
    BUILD,
    COLLECTOR_FLAG,
    DUMB_INIT_FLAG,
    HELPER,
    build_resources,
    build_user,
    dumb_init,
)
from runner.podspec.manifest import Manifest, filled
from runner.podspec.pull import pull_policy
from runner.podspec.request import PodRequest
from runner.podspec.security import build_container_security_context
from runner.podspec.users import container_user
from runner.podspec.volumes import build_mounts

COLLECTOR = "init-build-uid-gid-collector"
"""Leaves a file of the build container's user, so that the helper knows whose the sources shall be."""
PERMISSIONS = "init-permissions"
"""Puts an init process where build and helper find it."""

OWNER_MARK = ".gitlab-build-uid-gid"
"""The file in the builds directory whose owner the helper's scripts look at (`runner/shell/prologue.py`)."""

# What lies there on a volume that lasts may be another job's user's.
_LEAVE_MARK = 'rm -f "$1" 2>/dev/null; : >"$1"'
_COPY_INIT = """\
for init in `command -v tini-static` /usr/bin/dumb-init `command -v dumb-init`; do
[ -x "$init" ] && exec cp "$init" "$1"
done
printf '#!/bin/sh\\nshift\\nexec "$@"\\n' >"$1"
chmod 755 "$1"
"""
"""A helper image without an init process gets a script in its place that starts the agent, which reaps and passes on
signals too. One that is surely static goes first: it runs in any image, and Debian's dumb-init, which this project's
image has for manifests that call it, runs in few. Without `$(...)`: Kubernetes expands that in commands."""


def build_init_containers(request: PodRequest) -> list[Manifest]:
    """Build the init containers that the job's feature flags need, in the order in which they run."""
    return [
        *([_collector(request)] if request.flag(COLLECTOR_FLAG, default=False) else ()),
        *([_permissions(request)] if request.flag(DUMB_INIT_FLAG, default=False) else ()),
    ]


def _collector(request: PodRequest) -> Manifest:
    """Run the build's image as the build's user, whoever that turns out to be, for as long as making a file takes."""
    kubernetes = request.kubernetes
    mark = f"{request.directories.builds.rstrip('/')}/{OWNER_MARK}"
    return filled(
        {
            "name": COLLECTOR,
            "image": request.build_image,
            "imagePullPolicy": _pull_policy(COLLECTOR, BUILD, request),
            "command": ["sh", "-c", _LEAVE_MARK, COLLECTOR, mark],
            "resources": build_resources(kubernetes, ""),
            "volumeMounts": build_mounts(request),
            "securityContext": build_container_security_context(
                kubernetes, kubernetes.build_container_security_context, build_user(request)
            ),
        }
    )


def _permissions(request: PodRequest) -> Manifest:
    kubernetes = request.kubernetes
    context = kubernetes.init_permissions_container_security_context
    user = container_user(PERMISSIONS, context=context, pod_context=kubernetes.pod_security_context)
    return filled(
        {
            "name": PERMISSIONS,
            "image": request.helper_image,
            "imagePullPolicy": _pull_policy(PERMISSIONS, HELPER, request),
            "command": ["sh", "-c", _COPY_INIT, PERMISSIONS, dumb_init(request)],
            "resources": build_resources(kubernetes, "helper_"),
            "volumeMounts": build_mounts(request),
            "securityContext": build_container_security_context(kubernetes, context, user),
        }
    )


def _pull_policy(name: str, twin: str, request: PodRequest) -> str:
    """Follow the container with the same image, unless the fallback has come further for this one."""
    return pull_policy(name if name in request.pull_policies else twin, request)
