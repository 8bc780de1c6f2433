"""`gitlab-runner-helper cache-extractor`: fetches the cache's archive from its store and extracts it.

A local archive that is as new is used as it is. What cannot be had, or is broken, is exit code 1, which the job's
script turns into a warning: a cache never breaks a job, and is never extracted half.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from runner.helper.archives.formats import extract_archive
from runner.helper.archives.placing import ArchiveError
from runner.helper.cache_store import (
    FLAGS,
    metadata_of,
    modified_at,
    refusal,
    refuse_gocloud,
    seconds_of,
    with_links,
    write_metadata,
)
from runner.helper.console import Console, HelperError
from runner.helper.flags import Flag, Given, parse_flags
from runner.helper.transfer.attempts import attempts
from runner.helper.transfer.http import Reply, TransferError, request, shown

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
    refuse_gocloud(given, "gocloud-url", "alternate-gocloud-url")
    if given.text("url"):
        _fetch(given, archive, console)
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
        raise CacheMissError(f"the cache cannot be extracted: {error.filename}: {error.strerror}") from error


def _fetch(given: Given, archive: str, console: Console) -> None:
    url = _chosen(given, console)

    def get(_: int) -> None:
        with request("GET", url, timeout=seconds_of(given)) as reply:
            if reply.status == 404:
                raise TransferError("file does not exist", status=404)
            if not 200 <= reply.status < 300:
                raise refusal(reply)
            _receive(reply, url, archive, console)

    try:
        os.makedirs(os.path.dirname(archive) or ".", mode=0o700, exist_ok=True)
        attempts(get, tries=given.number("retry") + 1, console=console, pause=lambda _: given.seconds("retry-time"))
    except TransferError as error:
        raise CacheMissError(str(error)) from error
    except OSError as error:
        raise CacheMissError(f"{error.filename}: {error.strerror}") from error


def _chosen(given: Given, console: Console) -> str:
    """The address to fetch from: the alternate one if only it is there, or is newer."""
    primary, alternate = given.text("url"), given.text("alternate-url")
    if not alternate:
        return primary
    there, other = (_head(given, name) for name in ("head-url", "alternate-head-url"))
    if other is None or (there is not None and there >= other):
        console.info("Selecting primary cache URL", primary_url=shown(primary), alternate_url=shown(alternate))
        return primary
    console.info(f"Selecting alternate cache URL: {shown(alternate)}")
    return alternate


def _head(given: Given, name: str) -> float | None:
    url = given.text(name)
    if not url:
        return None
    try:
        with request("HEAD", url, timeout=seconds_of(given)) as reply:
            return modified_at(dict(reply.headers.items())) if reply.status == 200 else None
    except TransferError:
        return None


def _receive(reply: Reply, url: str, archive: str, console: Console) -> None:
    """Store the archive with the time of its object, unless the one that is here is as new."""
    modified = modified_at(dict(reply.headers.items()))
    try:
        if os.path.getmtime(archive) >= modified > 0:
            console.info(f"{os.path.basename(archive)} is up to date")
            return
    except OSError:
        pass
    console.info(f"Downloading {os.path.basename(archive)} from {shown(url)}", etag=reply.headers.get("ETag", ""))
    descriptor, temporary = tempfile.mkstemp(prefix="archive_", dir=os.path.dirname(archive) or ".")
    try:
        with open(descriptor, "wb", buffering=0) as file:
            for data in reply.read():
                file.write(data)
        if modified:
            os.utime(temporary, (modified, modified))
        os.replace(temporary, archive)
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    write_metadata(archive, metadata_of(list(reply.headers.items())), console)
