"""Registry credentials: what docker's configuration and a job's payload say, as one Secret of the pod.

Pure; files are read and helper programs are run by the caller. Whatever is wrong with a source is said without its
content: every part of it may be a password.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.job.outcome import JobConfigurationError
from runner.job.payload import Credentials
from runner.podspec.labels import object_annotations, object_labels
from runner.podspec.manifest import Manifest
from runner.podspec.request import PodRequest

_SCHEME = re.compile(r"https?://", re.I)
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN_USER = "<token>"
_DEFAULT_REGISTRY = "docker.io"


class RegistrySourceError(ValueError):
    """A source of credentials cannot be read, or says what no kubelet can use; the message quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """User and password for one registry."""

    server: str
    """As its source writes it."""
    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """One of docker's configuration files, or the variable that holds one."""

    logins: tuple[RegistryLogin, ...] = ()
    store: str = ""
    """Helper that knows all passwords, without its `docker-credential-`."""
    helpers: Mapping[str, str] = field(default_factory=dict)
    """Helpers by the server that they are asked for."""


def read_docker_config(text: str) -> DockerConfig:
    """Read docker's `config.json`: `auths`, `credsStore`, `credHelpers`; without any of them, the older `.dockercfg`.

    Raises RegistrySourceError, and JobConfigurationError for a helper that would be looked for outside of PATH.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RegistrySourceError("it is no JSON") from error
    if not isinstance(content, dict):
        raise RegistrySourceError("it is no JSON object")
    known = content.keys() & {"auths", "credsStore", "credHelpers"}
    auths = _table(content, "auths") if known else {key: value for key, value in content.items() if _is_entry(value)}
    helpers = _table(content, "credHelpers")
    return DockerConfig(
        logins=tuple(login for server, entry in auths.items() if (login := _login(server, entry)) is not None),
        store=_helper(content.get("credsStore") or ""),
        helpers={server: _helper(name) for server, name in helpers.items()},
    )


def read_helper_login(answer: bytes, server: str) -> RegistryLogin | None:
    """Read what a helper answers to `get`; None when it has nothing. Raises RegistrySourceError."""
    fields = _answer(answer)
    username, password = fields.get("Username"), fields.get("Secret")
    if username == _TOKEN_USER:
        raise RegistrySourceError("it answers with an identity token, which no kubelet takes")
    if not isinstance(username, str) or not isinstance(password, str):
        raise RegistrySourceError("its answer has no user and password")
    return RegistryLogin(server, username, password) if username or password else None


def read_helper_servers(answer: bytes) -> tuple[str, ...]:
    """Read what a helper answers to `list`: the servers that it has passwords for. Raises RegistrySourceError."""
    return tuple(_answer(answer))


def job_logins(credentials: Iterable[Credentials]) -> tuple[RegistryLogin, ...]:
    """The registries that GitLab gives a job access to: its own, and the dependency proxy."""
    return tuple(
        RegistryLogin(each.url, each.username, each.password)
        for each in credentials
        if each.type == "registry" and each.url
    )


def merged_logins(sources: Iterable[Iterable[RegistryLogin]]) -> tuple[RegistryLogin, ...]:
    """One login for each registry: the first source that names it wins, and within a source the first by name."""
    found: dict[str, RegistryLogin] = {}
    for source in sources:
        last = {login.server: login for login in source}
        for server in sorted(last):
            found.setdefault(registry_path(server), last[server])
    return tuple(found.values())


def registry_path(server: str) -> str:
    """The registry, or the part of one, that a server's name means: `https://Index.docker.io/v1/` is `docker.io`."""
    if scheme := _SCHEME.match(server):
        path = server[scheme.end() :].partition("/")[0]
    else:
        head, slash, tail = server.removesuffix("/").rpartition("/")
        # Only behind a slash a colon begins a tag; before one, a port.
        path = f"{head}{slash}{tail.partition(':')[0] if slash else tail}"
    host, slash, rest = path.partition("/")
    host = host.lower()
    return (_DEFAULT_REGISTRY if host == f"index.{_DEFAULT_REGISTRY}" else host) + slash + rest


def build_registry_secret(request: PodRequest, logins: Iterable[RegistryLogin]) -> Manifest:
    """Build the Secret that the pod's images are pulled with.

    Create it before the pod, whose images are pulled at once, and give it the pod as its owner then.
    """
    entries = {
        login.server: {
            "username": login.username,
            "password": login.password,
            "auth": base64.b64encode(f"{login.username}:{login.password}".encode()).decode(),
        }
        for login in logins
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": request.names.credentials,
            "namespace": request.pod_namespace,
            "labels": object_labels(request),
            "annotations": object_annotations(request),
        },
        "type": "kubernetes.io/dockercfg",
        "data": {".dockercfg": base64.b64encode(json.dumps(entries).encode()).decode()},
    }


def _table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = content.get(key)
    if not isinstance(table, dict | None):
        raise RegistrySourceError(f"its `{key}` is no object")
    return table or {}


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and bool(value.keys() & {"auth", "username"})


def _login(server: str, entry: object) -> RegistryLogin | None:
    """Read one entry of `auths`; None for one that only says that a helper knows the password."""
    if not isinstance(entry, dict):
        raise RegistrySourceError("an entry of its `auths` is no object")
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        username, password = _decoded(entry["auth"])
    if not isinstance(username, str) or not isinstance(password, str):
        raise RegistrySourceError("an entry of its `auths` has a user or password that is no text")
    return RegistryLogin(server, username, password) if server and (username or password) else None


def _decoded(auth: object) -> tuple[str, str]:
    """Read `auth`, base64 of `user:password`."""
    try:
        text = base64.b64decode(auth, validate=True).decode() if isinstance(auth, str) else ""
    except (binascii.Error, ValueError):
        text = ""
    username, colon, password = text.rstrip("\0").partition(":")
    if not colon or not username:
        raise RegistrySourceError("an `auth` in it is not the base64 of `user:password`")
    return username, password


def _helper(name: object) -> str:
    if isinstance(name, str) and re.search(r"[/\\]", name):
        raise JobConfigurationError(
            "a credential helper's name has a path separator: name the program behind its `docker-credential-`, "
            "which is looked for in PATH"
        )
    if name == "":
        return ""
    if not isinstance(name, str) or not _HELPER.fullmatch(name):
        raise RegistrySourceError("the name of a credential helper in it is none")
    return name


def _answer(answer: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise RegistrySourceError("its answer is no JSON") from error
    if not isinstance(fields, dict):
        raise RegistrySourceError("its answer is no JSON object")
    return fields
