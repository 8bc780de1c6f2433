"""Where a job's registry credentials come from: its variable, the files of docker, helper programs, its payload.

What goes before what is decided in `runner.podspec.registry`; here are the files and the programs. What cannot be had
is a warning in the job's log and is left out: the image may be public.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from runner.podspec.registry import (
    DockerConfig,
    RegistryLogin,
    RegistrySourceError,
    job_logins,
    merged_logins,
    read_docker_config,
    read_helper_login,
    read_helper_servers,
)

if TYPE_CHECKING:
    from runner.job.payload import Job
    from runner.job.variables import Variables

Answer = TypeVar("Answer")

AUTH_VARIABLE = "DOCKER_AUTH_CONFIG"
HOME_FILES = (".docker/config.json", ".dockercfg")
HELPER_TIMEOUT = 20.0
"""Seconds for one answer of a credential helper: it may ask a cloud."""
MOST_ANSWERS = 50
"""Helper programs run for one job: its variable decides how many servers it names."""

_NOTHING_THERE = b"credentials not found"
"""What helpers print when they have no password for a server; not a failure."""


async def find_logins(
    job: Job, variables: Variables, *, home: str, warn: Callable[[str], None]
) -> tuple[RegistryLogin, ...]:
    """Collect the logins for a job's images; `home` is the folder of the manager's user, empty for none.

    Raises JobConfigurationError for a credential helper with a path in its name.
    """
    helpers = _Helpers(warn)
    sources = []
    if text := variables.expanded().content(AUTH_VARIABLE):
        sources.append(await _source(text, AUTH_VARIABLE, helpers))
    if home and (found := await _home_file(home, warn)):
        sources.append(await _source(*found, helpers))
    return merged_logins((*sources, job_logins(job.credentials)))


async def _home_file(home: str, warn: Callable[[str], None]) -> tuple[str, str] | None:
    """Read the first of docker's files in a home folder; its text and how it is called."""
    for name in HOME_FILES:
        try:
            return await (anyio.Path(home) / name).read_text("utf-8"), f"~/{name}"
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            warn(f"The registry credentials of ~/{name} are left out: it cannot be read ({type(error).__name__}).")
    return None


async def _source(text: str, name: str, helpers: _Helpers) -> tuple[RegistryLogin, ...]:
    """Read one configuration and ask the helpers that it names; they win over what it says itself."""
    try:
        config = read_docker_config(text)
    except RegistrySourceError as error:
        helpers.warn(f"The registry credentials of {name} are left out: {error}.")
        return ()
    return (*config.logins, *await helpers.logins(config))


class _Helpers:
    """The credential helpers of one job."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.warn = warn
        self._answers = 0

    async def logins(self, config: DockerConfig) -> list[RegistryLogin]:
        """Ask the store for all that it has, and each server's own helper for its password."""
        asked = []
        if config.store:
            servers = await self._ask(config.store, "list", b"", read_helper_servers) or ()
            asked = [(config.store, server) for server in servers]
        asked += [(helper, server) for server, helper in sorted(config.helpers.items()) if helper]
        found = [await self._login(helper, server) for helper, server in asked]
        return [login for login in found if login is not None]

    async def _login(self, helper: str, server: str) -> RegistryLogin | None:
        return await self._ask(helper, "get", server.encode(), lambda answer: read_helper_login(answer, server))

    async def _ask(self, helper: str, verb: str, question: bytes, read: Callable[[bytes], Answer]) -> Answer | None:
        """Run a helper once; None, and a warning, when it fails."""
        self._answers += 1
        if self._answers > MOST_ANSWERS:
            if self._answers == MOST_ANSWERS + 1:
                self.warn(f"More than {MOST_ANSWERS} questions to credential helpers: the rest is left out.")
            return None
        program = f"docker-credential-{helper}"
        try:
            return read(await _run(program, verb, question))
        except _NothingThereError:
            return None
        except RegistrySourceError as error:
            self.warn(f"The registry credentials of {program} are left out: {error}.")
            return None


class _NothingThereError(Exception):
    """A helper has no password for a server."""


async def _run(program: str, verb: str, question: bytes) -> bytes:
    """Run a helper program; its own words of failure may hold anything, so only its exit code is told."""
    try:
        # A file, because a helper may end without reading its question, which would break a pipe.
        with tempfile.TemporaryFile() as asked, anyio.fail_after(HELPER_TIMEOUT):
            asked.write(question)
            asked.seek(0)
            done = await anyio.run_process((program, verb), stdin=asked, check=False, stderr=subprocess.DEVNULL)
    except TimeoutError as error:
        raise RegistrySourceError(f"it did not answer in {HELPER_TIMEOUT:.0f} s") from error
    except OSError as error:
        raise RegistrySourceError(f"it cannot be run ({error.strerror})") from error
    if done.returncode == 0:
        return done.stdout
    if _NOTHING_THERE in done.stdout:
        raise _NothingThereError
    raise RegistrySourceError(f"it ended with exit code {done.returncode}")
