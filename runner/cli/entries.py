"""The `[[runners]]` of a config.toml as the short commands see them: read by TOML alone, whatever else is in them.

A command that removes a runner must work on an entry that no service would start with, and `list` must be quick: so
the models are not asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config.edit import runner_tables
from runner.job.variables import expand_text
from runner.manager.config_file import read_text

if TYPE_CHECKING:
    from runner.gitlab.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class Entry:
    """One runner of the file."""

    index: int
    name: str
    url: str
    token: str = field(repr=False)
    """As GitLab knows it: variables are filled in."""
    executor: str
    id: int
    tls: tuple[str, str, str] = ("", "", "")
    """Files of the CA, the client certificate and its key."""
    config: Path | None = None
    """The file that it was read from."""

    def is_of(self, url: str) -> bool:
        """Whether this is a runner of the GitLab at a URL; the /ci of former times and a slash make no difference."""
        return _root(self.url) == _root(url)

    def tls_files(self, ca_file: str = "", cert_file: str = "", key_file: str = "") -> TlsFiles:
        """The files as the client takes them; those of the command line win, and what nobody names is looked for."""
        from runner.gitlab.tls import TlsFiles
        from runner.manager.certificates import certificate_folders

        own = self.tls
        return TlsFiles(
            ca_file=ca_file or own[0],
            cert_file=cert_file or own[1],
            key_file=key_file or own[2],
            folders=certificate_folders(self.config),
        )


def read_entries(path: Path) -> list[Entry]:
    """All runners of a file in its order; none when there is no file.

    Raises `ConfigFileError` when it cannot be read, `EditError` when it is no TOML.
    """
    return [replace(entry, config=path) for entry in entries_of(read_text(path))]


def entries_of(text: str) -> list[Entry]:
    """All runners of a text in its order. Raises `EditError` when it is no TOML."""
    return [_entry(index, table) for index, table in enumerate(runner_tables(text))]


def _entry(index: int, table: dict[str, Any]) -> Entry:
    folded = {key.casefold(): value for key, value in reversed(table.items())}
    folded |= table

    def text(key: str) -> str:
        value = folded.get(key, "")
        return value if isinstance(value, str) else ""

    number = folded.get("id")
    return Entry(
        index,
        text("name"),
        _expanded(text("url")),
        _expanded(text("token")),
        text("executor"),
        number if isinstance(number, int) else 0,
        (text("tls-ca-file"), text("tls-cert-file"), text("tls-key-file")),
    )


def _root(url: str) -> str:
    return url.rstrip("/").removesuffix("/ci").rstrip("/")


def _expanded(text: str) -> str:
    return expand_text(text, lambda name: os.environ.get(name, ""))
