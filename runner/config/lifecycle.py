"""`[runners.kubernetes.container_lifecycle]`: what the kubelet does after a container starts and before it stops.

The hooks go to the build, helper and service containers alike. The API server alone judges them: two actions in one
hook are its error, told when the pod is made.
"""

from pydantic import Field

from runner.config.base import Table
from runner.config.values import Number, Texts


class ExecAction(Table):
    """A command in the container."""

    command: Texts = Field((), description="program and arguments; no shell reads them")


class HttpHeader(Table):
    """A header of the request."""

    name: str = Field("", description="name of the header")
    value: str = Field("", description="value of the header")


class HttpGetAction(Table):
    """A request to the container."""

    host: str = Field("", description="host; empty: the pod's address")
    port: Number = Field(0, description="port, 1 to 65535")
    path: str = Field("", description="path of the request")
    scheme: str = Field("", description="`HTTP` or `HTTPS`; empty: `HTTP`")
    http_headers: tuple[HttpHeader, ...] = Field((), description="headers of the request")


class TcpSocketAction(Table):
    """A connection to the container."""

    host: str = Field("", description="host; empty: the pod's address")
    port: Number = Field(0, description="port, 1 to 65535")


class LifecycleHook(Table):
    """One moment of a container's life; at most one action."""

    exec: ExecAction | None = Field(None, description="command to run in the container")
    http_get: HttpGetAction | None = Field(None, description="request to send")
    tcp_socket: TcpSocketAction | None = Field(None, description="connection to open")


class LifecycleConfig(Table):
    """`[runners.kubernetes.container_lifecycle]`."""

    post_start: LifecycleHook | None = Field(None, description="right after a container has started")
    pre_stop: LifecycleHook | None = Field(None, description="before a container is told to stop")
