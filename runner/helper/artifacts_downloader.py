"""`gitlab-runner-helper artifacts-downloader`: fetches another job's artifacts and extracts them.

They come into a temporary file first and are extracted when they are whole. What is missing or forbidden ends it at
once; trouble of the server or the network is tried twice more, from where it broke off if the server can.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import BinaryIO, cast
from urllib.parse import urljoin, urlsplit

from runner.helper.archives.formats import extract_archive
from runner.helper.archives.placing import ArchiveError
from runner.helper.console import Console, Field, HelperError, disk_words
from runner.helper.coordinator import FLAGS, JobArtifacts, status_words
from runner.helper.flags import Flag, parse_flags
from runner.helper.transfer.attempts import attempts
from runner.helper.transfer.download import Download
from runner.helper.transfer.http import Reply, TransferError, request
from runner.helper.transfer.meter import Meter

REDIRECTS = 10

_FLAGS = (
    *FLAGS,
    Flag("retry", kind="number", default=2),
    Flag("retry-time", kind="duration", default=1.0),
    Flag("transfer-meter-frequency", kind="duration", env="TRANSFER_METER_FREQUENCY", default=0.0),
    Flag("direct-download", kind="boolean", env="FF_USE_DIRECT_DOWNLOAD", default=False),
    Flag("archiver-staging-dir", env="ARCHIVER_STAGING_DIR"),
)
_REDIRECTS = (301, 302, 303, 307, 308)


def main(argv: Sequence[str], environ: Mapping[str, str], console: Console) -> None:
    """Download into the working directory. Raises HelperError."""
    given = parse_flags(_FLAGS, argv, environ)
    source = JobArtifacts.of(given, environ)
    direct = given.boolean("direct-download")
    staging = given.text("archiver-staging-dir") or None
    try:
        with tempfile.NamedTemporaryFile(prefix="artifacts-", dir=staging) as file:
            meter = Meter("Downloading artifacts", interval=given.seconds("transfer-meter-frequency"))
            download = Download(cast("BinaryIO", file), meter)
            attempts(
                lambda number: _download(source, download, console, direct=direct and number == 1),
                tries=given.number("retry") + 1,
                console=console,
                pause=lambda _: given.seconds("retry-time"),
            )
            extract_archive(file.name, root=os.getcwd(), console=console)
    except TransferError as error:
        raise HelperError(str(error)) from error
    except ArchiveError as error:
        raise HelperError(
            f"the artifacts of job {source.job} cannot be extracted: {error}. If they are broken, run that job again"
        ) from error
    except OSError as error:
        raise HelperError(disk_words(error, staging or tempfile.gettempdir())) from error


def _download(source: JobArtifacts, download: Download, console: Console, *, direct: bool) -> None:
    url = source.address + ("?direct_download=true" if direct else "")
    headers = source.headers() | download.headers()
    mark = headers["X-Request-ID"]
    for _ in range(REDIRECTS):
        with request("GET", url, headers=headers, tls=source.tls if _same(url, source.url) else None) as reply:
            location = reply.headers.get("Location", "")
            if reply.status in _REDIRECTS and location:
                console.info(f"Direct download from {urlsplit(urljoin(url, location)).netloc}")
                url = urljoin(url, location)
                if not _same(url, source.url):
                    headers = download.headers()  # the token is for GitLab alone
                continue
            _receive(reply, source, download, console, mark=mark)
            return
    raise TransferError(f"GitLab redirects more than {REDIRECTS} times", status=310)


def _receive(reply: Reply, source: JobArtifacts, download: Download, console: Console, *, mark: str) -> None:
    what = "Downloading artifacts from coordinator..."
    fields: dict[str, Field] = {"id": source.job, "correlation_id": reply.headers.get("X-Request-Id", mark)}
    if reply.status in (200, 206, 416):
        if reply.status == 206:
            console.info(f"{what} going on at byte {download.size}", **fields)
        download.take(reply)
        console.info(f"{what} ok", **fields)
        return
    words = {401: "unauthorized", 403: "forbidden", 404: "not found"}
    said = words.get(reply.status, status_words(reply.status, reply.reason))
    tell = console.error if reply.status in words else console.warning
    tell(f"{what} {said}", **fields)
    raise TransferError(_reason(reply.status, said, source.job), status=reply.status)


def _reason(status: int, said: str, job: int) -> str:
    """Why there are no artifacts, and the way out; the first words are the original's."""
    if status == 404:
        return f"file does not exist: the artifacts of job {job} have expired or were erased, run that job again"
    if status in (401, 403):
        return (
            f"permission denied: GitLab does not let this job read the artifacts of job {job}; "
            "look at the other project's job token permissions"
        )
    return f"GitLab answers {said}, the artifacts of job {job} could not be had"


def _same(url: str, other: str) -> bool:
    return urlsplit(url)[:2] == urlsplit(other)[:2]
