"""Which headers pass between a person and a service of a job. Pure.

Law: what is GitLab's stays with GitLab: the session's secret, and cookies in both directions, for the person's browser
knows the service under GitLab's own name. What the API server would act upon never reaches it from outside.
"""

from __future__ import annotations

from collections.abc import Iterable

Headers = tuple[tuple[str, str], ...]

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection, as RFC 9110 has it; those that `Connection` names are too."""

_NOT_TO_SERVICES = frozenset({"authorization", "cookie", "expect", "host"})
_NOT_TO_SERVICES_BEGINS = ("impersonate-", "x-remote-", "sec-websocket-")
"""With `Impersonate-User` the API server would act as somebody else, with our rights to do so."""

_NOT_FROM_SERVICES = frozenset({"set-cookie", "audit-id"})
_NOT_FROM_SERVICES_BEGINS = ("x-kubernetes-", "sec-websocket-")


def request_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Those of a person's request that a service gets."""
    return _passing(tuple(headers), _NOT_TO_SERVICES, _NOT_TO_SERVICES_BEGINS)


def answer_headers(headers: Iterable[tuple[str, str]], *, inner: str, outer: str) -> Headers:
    """Those of a service's answer that a person gets.

    The API server turns redirections to the service into paths of its own, below `inner`; they become paths below
    `outer`, where the person has the service.
    """
    passing = _passing(tuple(headers), _NOT_FROM_SERVICES, _NOT_FROM_SERVICES_BEGINS)
    return tuple(
        (name, f"{outer}{text.removeprefix(inner)}")
        if name.lower() == "location" and text.startswith(f"{inner}/")
        else (name, text)
        for name, text in passing
    )


def _passing(headers: Headers, withheld: frozenset[str], begins: tuple[str, ...]) -> Headers:
    named = {word.strip().lower() for name, text in headers if name.lower() == "connection" for word in text.split(",")}
    gone = _HOP_BY_HOP | withheld | named
    return tuple(
        (name, text) for name, text in headers if name.lower() not in gone and not name.lower().startswith(begins)
    )
