"""`gitlab-runner-helper cache-extractor`: fetches the cache's archive from its store and extracts it.

A local archive that is as new is used as it is. What cannot be had, or is broken, is exit code 1, which the job's
script turns into a warning: a cache never breaks a job, and is never extracted half.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from runner.helper.archives.formats import extract_archive
from runner.helper.archives.placing import ArchiveError
from runner.helper.cache_store import (
    FLAGS,
    environment,
    metadata_of,
    modified_at,
    seconds_of,
    with_links,
    write_metadata,
)
from runner.helper.console import Console, HelperError, disk_words
from runner.helper.flags import Flag, Given, parse_flags
from runner.helper.transfer.attempts import attempts
from runner.helper.transfer.download import Download
from runner.helper.transfer.http import Reply, TransferError, request, shown
from runner.helper.transfer.meter import Meter
from runner.helper.transfer.refusals import refusal

_FLAGS = (
    *FLAGS,
    Flag("alternate-url"),
    Flag("alternate-gocloud-url"),
    Flag("head-url"),
    Flag("alternate-head-url"),
)


class CacheMissError(HelperError):
    """There is no cache to extract: a warning, and exit code 1."""


def main(argv: Sequence[str], environ: Mapping[str, str], console: Console) -> None:
    """Extract into the working directory. Raises HelperError."""
    given = parse_flags(_FLAGS, with_links(argv, environ), environ)
    archive = given.text("file")
    if not archive:
        raise HelperError("Missing cache file")
    if given.text("url") or given.text("gocloud-url"):
        _fetch(given, environ, archive, console)
    else:
        console.info(
            "No URL provided, cache will not be downloaded from shared cache server. "
            "Instead a local version of cache will be extracted."
        )
    if not os.path.exists(archive):
        raise CacheMissError("Cache file does not exist")
    try:
        extract_archive(archive, root=os.getcwd(), console=console)
    except ArchiveError as error:
        # It would be broken the next time too.
        with suppress(OSError):
            os.unlink(archive)
        raise CacheMissError(f"the cache cannot be extracted: {error}") from error
    except OSError as error:
        raise CacheMissError(f"the cache cannot be extracted: {disk_words(error, os.getcwd())}") from error


def _fetch(given: Given, environ: Mapping[str, str], archive: str, console: Console) -> None:
    """Fetch the archive, going on after a cut; one that is as new as the object stays."""
    folder = os.path.dirname(archive) or "."
    try:
        source = _Source.of(given, environ, console)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix="archive_", dir=folder)
        try:
            with open(descriptor, "w+b", buffering=0) as file:
                meter = Meter("Downloading cache", interval=given.seconds("transfer-meter-frequency"))
                download = Download(file, meter)
                attempts(
                    lambda _: source.fetch(download, archive, temporary),
                    tries=given.number("retry") + 1,
                    console=console,
                    pause=lambda _: given.seconds("retry-time"),
                )
        finally:
            with suppress(OSError):
                os.unlink(temporary)
    except TransferError as error:
        raise CacheMissError(str(error)) from error
    except OSError as error:
        raise CacheMissError(disk_words(error, folder)) from error


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the archive comes from: the alternate address if only it is there, or is newer."""

    url: str
    timeout: float
    console: Console
    must_exist: bool
    """Whether an object that is not there is told; the original says nothing of one by its store's own address."""

    @classmethod
    def of(cls, given: Given, environ: Mapping[str, str], console: Console) -> "_Source":
        around = environment(given, environ)
        primary, head = _addresses(given, "", around)
        alternate, alternate_head = _addresses(given, "alternate-", around)
        made = cls(primary, seconds_of(given), console, not given.text("gocloud-url"))
        if not alternate:
            return made
        there, other = made.changed_at(head), made.changed_at(alternate_head)
        if other is None or (there is not None and there >= other):
            console.info("Selecting primary cache URL", primary_url=shown(primary), alternate_url=shown(alternate))
            return made
        console.info(f"Selecting alternate cache URL: {shown(alternate)}")
        return replace(made, url=alternate)

    def changed_at(self, url: str) -> float | None:
        if not url:
            return None
        try:
            with request("HEAD", url, timeout=self.timeout) as reply:
                return modified_at(dict(reply.headers.items())) if reply.status == 200 else None
        except TransferError:
            return None

    def fetch(self, download: Download, archive: str, temporary: str) -> None:
        with request("GET", self.url, headers=download.headers(), timeout=self.timeout) as reply:
            if reply.status == 404 and not self.must_exist:
                return
            if reply.status == 404:
                raise TransferError("file does not exist", status=404)
            if not 200 <= reply.status < 300 and reply.status != 416:
                raise refusal(reply)
            self._receive(reply, download, archive, temporary)

    def _receive(self, reply: Reply, download: Download, archive: str, temporary: str) -> None:
        """Store the archive with the time of its object, unless the one that is here is as new."""
        modified = modified_at(dict(reply.headers.items()))
        name, url = os.path.basename(archive), shown(self.url)
        if reply.status == 200 and _is_as_new(archive, modified):
            self.console.info(f"{name} is up to date")
            return
        if reply.status == 206:
            self.console.info(f"Downloading {name} from {url}: going on at byte {download.size}")
        elif reply.status != 416:
            self.console.info(f"Downloading {name} from {url}", etag=reply.headers.get("ETag", ""))
        download.take(reply)
        if modified:
            os.utime(temporary, (modified, modified))
        os.replace(temporary, archive)
        write_metadata(archive, metadata_of(list(reply.headers.items())), self.console)


def _addresses(given: Given, prefix: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The addresses to fetch an archive and to ask for it."""
    if gocloud := given.text(f"{prefix}gocloud-url"):
        from runner.helper.gocloud import open_object

        found = open_object(gocloud, environ, metadata={})
        return found.signed("GET"), found.signed("HEAD")
    return given.text(f"{prefix}url"), given.text(f"{prefix}head-url")


def _is_as_new(archive: str, modified: float) -> bool:
    try:
        return os.path.getmtime(archive) >= modified > 0
    except OSError:
        return False
