"""Signed addresses of caches, on their way into a script.

The law: a signed address is a secret. It never stands in arguments of this project's helper, which takes it from
`LINKS_VARIABLE`; GitLab's own helper knows only flags. Flags that an older one does not know are given to one that
names them in its help (decision 010).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.shell.bash import ShellWriter, quote, quote_words

LINKS_VARIABLE = "RUNNER_CACHE_LINKS"
"""The variable by which this project's helper takes addresses; `--version` names it."""

VERSION = "_runner_helper_version"
"""The shell variable with what the helper's `--version` said."""


@dataclass(frozen=True, slots=True)
class CacheLinks:
    """The addresses of one archive for one stage: to fetch it, or to send it."""

    url: str = field(repr=False)
    head_url: str = field(default="", repr=False)
    """Asks whether the archive is there, and since when."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What must go with an upload."""
    alternate_url: str = field(default="", repr=False)
    """The same cache under the name that it has with `FF_HASH_CACHE_KEYS` the other way round."""
    alternate_head_url: str = field(default="", repr=False)


Flags = tuple[tuple[str, str], ...]


def write_download_links(writer: ShellWriter, helper: str, links: CacheLinks) -> None:
    """Make the next call of `cache-extractor` know its addresses, by environment or by `"$@"`."""
    newer = (
        ("head-url", links.head_url),
        ("alternate-url", links.alternate_url),
        ("alternate-head-url", links.alternate_head_url),
    )
    _write(writer, f"{quote(helper)} cache-extractor", (("url", links.url),), newer if links.alternate_url else ())


def write_upload_links(writer: ShellWriter, helper: str, links: CacheLinks, *, alternate_file: str) -> None:
    """Make the next call of `cache-archiver` know its addresses, by environment or by `"$@"`."""
    flags = (("url", links.url), *(("header", f"{name}: {value}") for name, value in links.headers.items()))
    newer = (("alternate-file", alternate_file), ("check-url", links.head_url)) if alternate_file else ()
    _write(writer, f"{quote(helper)} cache-archiver", flags, newer)


def _write(writer: ShellWriter, command: str, flags: Flags, newer: Flags) -> None:
    writer.line("set --")
    with writer.when(_knows(f'"${VERSION}"', LINKS_VARIABLE)):
        writer.export(LINKS_VARIABLE, json.dumps(_gathered((*flags, *newer))))
        writer.otherwise()
        writer.line(f"set -- {_words(flags)}")
        if newer:
            with writer.when(_knows(f'"$({command} --help 2>&1)"', newer[0][0])):
                writer.line(f'set -- "$@" {_words(newer)}')


def _knows(text: str, name: str) -> str:
    return f"case {text} in *{name}*) ;; *) false ;; esac"


def _words(flags: Flags) -> str:
    return quote_words(*(word for name, value in flags for word in (f"--{name}", value)))


def _gathered(flags: Flags) -> dict[str, str | list[str]]:
    """Flags by name; the one that may be given again has a list."""
    headers = [value for name, value in flags if name == "header"]
    found: dict[str, str | list[str]] = {name: value for name, value in flags if name != "header"}
    return found | ({"header": headers} if headers else {})
