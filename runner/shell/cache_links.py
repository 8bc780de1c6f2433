"""Signed addresses of caches, on their way into a script.

The law: a signed address is a secret. It never stands in arguments of this project's helper, which takes it from
`LINKS_VARIABLE`; GitLab's own helper knows only flags. Flags that an older one does not know are given to one that
names them in its help (decision 010). Lent credentials go in a file of their own, which no trace of the shell shows and
which is removed when the helper has used it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.shell.bash import ShellWriter, quote, quote_words

LINKS_VARIABLE = "RUNNER_CACHE_LINKS"
"""The variable by which this project's helper takes addresses; `--version` names it."""

_ENV_FILE = "env-file"
"""The flag by which a helper takes a file of variables; this project's names it in its `--version`."""

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
    gocloud_url: str = ""
    """The object's own address, by which the helper uploads in parts; empty if nothing is lent for that."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What is lent: credentials for this upload."""


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


def write_loan(writer: ShellWriter, helper: str, links: CacheLinks, *, file: str) -> None:
    """Make the next call of `cache-archiver` upload in parts with what is lent, if it knows how; `remove_loan` ends it.

    GitLab's helper takes a file of variables since 17.10; one before uses the signed address that it has too.
    """
    if not links.gocloud_url:
        return
    own, other = f'"${VERSION}"', f'"$({quote(helper)} cache-archiver --help 2>&1)"'
    lines = "".join(f"{name}={_in_quotes(value)}\n" for name, value in links.environment.items())
    # A subshell without a trace, and `printf` is built in: the values are in no log and in no argument.
    written = f"(set +o xtrace; umask 077; printf '%s' {quote(lines)} > {quote(file)})"
    with writer.when(f"{_knows(own, _ENV_FILE)} || {_knows(other, _ENV_FILE)} && {written}"):
        writer.line(f'set -- "$@" {_words((("gocloud-url", links.gocloud_url), (_ENV_FILE, file)))}')


def remove_loan(writer: ShellWriter, links: CacheLinks, *, file: str) -> None:
    """Remove what `write_loan` wrote."""
    if links.gocloud_url:
        writer.remove_file(file)


def _in_quotes(value: str) -> str:
    """A value as files of variables have it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("$", "\\$") + '"'


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
