"""Hooks of the containers: `[runners.kubernetes.container_lifecycle]` in Kubernetes' own words.

Build, helper and services get the same. Two actions in one hook are sent as they are, for the API server to refuse.
"""

from runner.config.lifecycle import HttpGetAction, LifecycleConfig, LifecycleHook, TcpSocketAction
from runner.podspec.manifest import Manifest, filled


def build_lifecycle(config: LifecycleConfig) -> Manifest:
    """Build a container's hooks; empty when there are none."""
    return filled({"postStart": _hook(config.post_start), "preStop": _hook(config.pre_stop)})


def _hook(hook: LifecycleHook | None) -> Manifest:
    if hook is None:
        return {}
    return filled(
        {
            "exec": filled({"command": list(hook.exec.command)}) if hook.exec else None,
            "httpGet": _http_get(hook.http_get) if hook.http_get else None,
            "tcpSocket": _tcp_socket(hook.tcp_socket) if hook.tcp_socket else None,
        }
    )


def _http_get(action: HttpGetAction) -> Manifest:
    headers = [{"name": header.name, "value": header.value} for header in action.http_headers]
    optional = {"host": action.host, "path": action.path, "scheme": action.scheme, "httpHeaders": headers}
    return {"port": action.port, **filled(optional)}


def _tcp_socket(action: TcpSocketAction) -> Manifest:
    return {"port": action.port, **filled({"host": action.host})}
