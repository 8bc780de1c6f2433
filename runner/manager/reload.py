"""config.toml as a running process follows it: read at the start, and again whenever its content has changed.

Law: what cannot be used changes nothing. A file that is broken, gone or not readable is told once for each content, and
the configuration before it stays in force. Links are followed, so a mounted ConfigMap that is swapped is a change.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from runner.config.findings import ConfigError, Finding
from runner.config.load import parse_config
from runner.config.model import Config
from runner.manager.config_file import ConfigFileError

if TYPE_CHECKING:
    from runner.manager.runners import Change

log = structlog.get_logger()

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the file. A change is read once it has stood for one of them: half a file is none."""

NOT_RELOADED = ("listen_address", "session_server")
"""Global keys that are applied at the start only."""

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A file's text at one moment, or why there is none."""

    text: str | None
    digest: str
    """The same for the same content, and for the same trouble."""
    trouble: str = ""
    """A sentence; empty when there is a text."""


class ConfigWatch:
    """One config.toml. `first` reads it, `run` follows it until cancelled."""

    def __init__(
        self,
        path: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        interval: float = CHECK_INTERVAL,
    ) -> None:
        """`environ` fills `$VAR` in every reading: the values of the process's start."""
        self._path = path
        self._environ = dict(environ)
        self._interval = interval
        self._asked = anyio.Event()
        self._told: set[tuple[str, str]] = set()
        self._judged = ""
        self._handled: Stamp = ()
        self._seen: Stamp = ()
        self._start = Config()
        self._not_applied: tuple[str, ...] = ()

    def first(self) -> tuple[Config, tuple[Finding, ...]]:
        """Read the configuration to begin with, and what there is to tell of it.

        A file that is not there yet is one without runners, as GitLab Runner has it: `register` may write it later. Its
        folder has to be there, or else its name is most probably wrong. Raises ConfigError and ConfigFileError.
        """
        self._handled = self._seen = _stamp(self._path)
        reading = read(self._path)
        self._judged = reading.digest
        if reading.text is None and not os.path.lexists(self._path):
            if not self._path.absolute().parent.is_dir():
                raise ConfigFileError(
                    f"{self._path} is not there, nor is its folder. Name the configuration with --config."
                )
            return self._start, ()
        config, findings = self._parse(reading)
        self._told = {(finding.path, finding.message) for finding in findings}
        self._start = config
        return config, findings

    @property
    def waiting(self) -> str:
        """What is waited for when the file was not there: a sentence, with files beside it that may have been meant."""
        if self._handled:
            return ""
        beside = sorted(file.name for file in self._path.absolute().parent.glob("*.toml"))
        meant = f" Its folder has {', '.join(beside[:5])}." if beside else ""
        return f"{self._path} is not there: waiting for it, without runners.{meant} --config names another file."

    def check_now(self) -> None:
        """Read the file at once, and apply it even if nothing changed."""
        self._asked.set()

    async def run(self, apply: Callable[[Config], Awaitable[Change]], *, refused: Callable[[], None]) -> None:
        """Hand each new configuration to `apply`; `refused` hears of each that cannot be used."""
        while True:
            with anyio.move_on_after(self._interval):
                await self._asked.wait()
            asked, self._asked = self._asked.is_set(), anyio.Event()
            before, self._seen = self._seen, await anyio.to_thread.run_sync(_stamp, self._path)
            if asked or (self._seen != self._handled and self._seen == before):
                self._handled = self._seen
                await self._load(apply, refused, asked=asked)

    async def _load(
        self, apply: Callable[[Config], Awaitable[Change]], refused: Callable[[], None], *, asked: bool
    ) -> None:
        reading = await anyio.to_thread.run_sync(read_again, self._path)
        if reading.digest == self._judged and not asked:
            return
        self._judged = reading.digest
        try:
            config, findings = await anyio.to_thread.run_sync(self._parse, reading)
        except (ConfigError, ConfigFileError) as error:
            refused()
            log.error("the configuration cannot be used, the one before stays in force", reason=str(error))  # noqa: TRY400 -- the reason says it all
            return
        for finding in findings:
            if (finding.path, finding.message) not in self._told:
                log.warning(str(finding))
        self._told = {(finding.path, finding.message) for finding in findings}
        change = await apply(config)
        log.info("configuration loaded", concurrent=config.concurrent, **change.fields())
        self._tell_not_applied(config)

    def _parse(self, reading: Reading) -> tuple[Config, tuple[Finding, ...]]:
        if reading.text is None:
            raise ConfigFileError(reading.trouble)
        return parse_config(reading.text, file=str(self._path), environ=self._environ)

    def _tell_not_applied(self, config: Config) -> None:
        changed = tuple(key for key in NOT_RELOADED if getattr(config, key) != getattr(self._start, key))
        if changed and changed != self._not_applied:
            log.warning("a change of these keys is applied at the next start", keys=", ".join(changed))
        self._not_applied = changed


def read(path: Path) -> Reading:
    """Read a configuration's text; what hinders is told in the reading."""
    try:
        content = path.read_bytes()
        return Reading(content.decode("utf-8"), hashlib.sha256(content).hexdigest())
    except OSError as error:
        trouble = f"{path} cannot be read: {(error.strerror or type(error).__name__).lower()}."
    except UnicodeDecodeError as error:
        trouble = f"{path} is not UTF-8 at byte {error.start}; TOML files are."
    return Reading(None, trouble, trouble)


def read_again(path: Path) -> Reading:
    """Read a configuration that was read before: what is given once, or never ends, is not waited for."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = stat.S_IFREG  # `read` tells what hinders
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return read(path)
    trouble = f"{path} is no file that can be read again."
    return Reading(None, trouble, trouble)


def _stamp(path: Path) -> Stamp:
    """What differs when the file behind all links has changed; empty when there is none to look at."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
