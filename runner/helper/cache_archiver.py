"""`gitlab-runner-helper cache-archiver`: packs files into the cache's archive and sends it to its store.

The archive is written beside its place and moved in when it is whole. One that holds nothing older than its files is
not packed again. What cannot be sent is exit code 1, which the job's script turns into a warning.
"""

import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from runner.helper.archives.entries import CHUNK_BYTES
from runner.helper.archives.enumeration import Selection, enumerate_files
from runner.helper.archives.formats import level_of, write_archive
from runner.helper.cache_store import (
    FLAGS,
    environment,
    http_date,
    metadata_of,
    seconds_of,
    with_links,
    write_metadata,
)
from runner.helper.console import Console, HelperError, disk_words
from runner.helper.flags import Flag, Given, parse_flags
from runner.helper.transfer.http import Body, TransferError, request, shown
from runner.helper.transfer.meter import Meter
from runner.helper.transfer.parts import Part, Sending, send_parts
from runner.helper.transfer.refusals import refusal

TYPE_CHECKING = False  # importing `typing` for it costs a command 8 ms
if TYPE_CHECKING:
    from runner.helper.gocloud import StoreObject

_FORMATS = ("zip", "tarzstd", "zipzstd")
_FLAGS = (
    *FLAGS,
    Flag("alternate-file"),
    Flag("check-url"),
    Flag("header", kind="texts"),
    Flag("metadata", env="CACHE_METADATA"),
    Flag("compression-level", env="CACHE_COMPRESSION_LEVEL"),
    Flag("compression-format", env="CACHE_COMPRESSION_FORMAT"),
    Flag("max-uploaded-archive-size", kind="number", env="CACHE_MAX_UPLOADED_ARCHIVE_SIZE", default=0),
    Flag("path", kind="texts"),
    Flag("exclude", kind="texts"),
    Flag("untracked", kind="boolean", default=False),
    Flag("verbose", kind="boolean", default=False),
)


def main(argv: Sequence[str], environ: Mapping[str, str], console: Console) -> None:
    """Archive what the flags say from the working directory. Raises HelperError."""
    given = parse_flags(_FLAGS, with_links(argv, environ), environ)
    archive = given.text("file")
    if not archive:
        raise HelperError("Missing --file")
    root = os.getcwd()
    selection = Selection(given.texts("path"), given.texts("exclude"), given.boolean("untracked"))
    names = enumerate_files(selection, root=root, console=console, environ=environ)
    if not names:
        console.warning("No files to cache.")
        return
    alternate = given.text("alternate-file")
    if alternate and not os.path.exists(archive) and os.path.exists(alternate):
        os.makedirs(os.path.dirname(archive) or ".", exist_ok=True)
        os.replace(alternate, archive)
    if _is_current(archive, names, root):
        if not alternate or alternate == archive:
            console.info("Archive is up to date!")
            return
        if _is_remote(given, console):
            console.info("Primary cache already exists remotely, skipping upload")
            return
    else:
        _pack(given, environ, archive, names, root, console=console)
    _send(given, environ, archive, console)


def _is_current(archive: str, names: Sequence[str], root: str) -> bool:
    try:
        packed = os.lstat(archive).st_mtime
        return all(os.lstat(os.path.join(root, name)).st_mtime <= packed for name in names)
    except OSError:
        return False


def _is_remote(given: Given, console: Console) -> bool:
    url = given.text("check-url")
    if not url:
        return False
    try:
        with request("HEAD", url, timeout=seconds_of(given)) as reply:
            return reply.status == 200
    except TransferError as error:
        console.warning(f"{shown(url)}: {error}")
        return False


def _pack(
    given: Given, environ: Mapping[str, str], archive: str, names: Sequence[str], root: str, *, console: Console
) -> None:
    folder = os.path.dirname(archive) or "."
    form = given.text("compression-format").lower()
    form = form if form in _FORMATS else "zip"
    level = level_of(given.text("compression-level"), console)
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix="archive_", dir=folder)
        try:
            with open(descriptor, "wb", buffering=CHUNK_BYTES) as file:
                write_archive(
                    form if form in _FORMATS else "zip",
                    names,
                    root=root,
                    level=level,
                    write=file.write,
                    console=console,
                )
            os.chmod(temporary, 0o666)  # another user's job may share the folder
            os.replace(temporary, archive)
        finally:
            with suppress(OSError):
                os.unlink(temporary)
    except OSError as error:
        raise HelperError(f"the cache cannot be archived: {disk_words(error, folder)}") from error
    write_metadata(archive, _metadata(given, environment(given, environ), console), console)


def _metadata(given: Given, environ: Mapping[str, str], console: Console) -> dict[str, str]:
    """What is kept with the archive: of the headers, of `--metadata`, of the variable in the file of variables."""
    found = metadata_of(_headers(given))
    text = given.text("metadata") or environ.get("CACHE_METADATA", "")
    try:
        found |= {str(key): str(value) for key, value in json.loads(text or "{}").items()}
    except (ValueError, AttributeError):
        console.warning("--metadata is no JSON object and is left out")
    return found


def _headers(given: Given) -> list[tuple[str, str]]:
    pairs = (header.partition(":") for header in given.texts("header"))
    # The host belongs to the address; as a header of its own it would only be sent twice.
    return [(name.strip(), value.strip()) for name, _, value in pairs if name.strip().lower() not in ("host", "")]


def _send(given: Given, environ: Mapping[str, str], archive: str, console: Console) -> None:
    url, gocloud = given.text("url"), given.text("gocloud-url")
    if not (url or gocloud):
        console.info(
            "No URL provided, cache will not be uploaded to shared cache server. Cache will be stored only locally."
        )
        return
    size, limit = os.path.getsize(archive), given.number("max-uploaded-archive-size")
    if 0 < limit < size:
        console.info(
            f"Cache archive size ({size}) is too big (Limit is set to {limit}). Cache will be stored only locally."
        )
        return
    console.info(f"Uploading {os.path.basename(archive)} to {shown(gocloud or url)}")
    meter = Meter("Uploading cache", interval=given.seconds("transfer-meter-frequency"), total=size)
    sending = Sending(
        part_bytes=max(1, given.number("chunk-size")),
        at_once=given.number("concurrency"),
        tries=given.number("retry") + 1,
        pause=given.seconds("retry-time"),
        timeout=seconds_of(given),
        meter=meter,
        console=console,
    )
    try:
        with interrupted_by_term():
            _target(given, environ, archive, console).send(archive, size, sending)
    except TransferError as error:
        raise HelperError(str(error)) from error
    meter.finish()


def _target(given: Given, environ: Mapping[str, str], archive: str, console: Console) -> "StoreObject":
    """Where the archive goes: a store's own address, blocks of Azure, or one request."""
    from runner.helper.gocloud import Blob, open_object
    from runner.helper.transfer.azure import KIND

    around = environment(given, environ)
    if gocloud := given.text("gocloud-url"):
        return open_object(gocloud, around, metadata=_metadata(given, around, console))
    headers = dict(_headers(given))
    if any(name.lower() == KIND for name in headers):
        return Blob(given.text("url"), headers)
    date = http_date(os.path.getmtime(archive))
    return _SignedPut(given.text("url"), {"Content-Type": "application/octet-stream", "Last-Modified": date, **headers})


@dataclass(frozen=True, slots=True)
class _SignedPut:
    """One request to a signed address."""

    url: str
    headers: Mapping[str, str]

    def signed(self, _method: str) -> str:
        return self.url

    def send(self, path: str, size: int, sending: Sending) -> None:
        def put(_part: Part, body: Body, left: float) -> None:
            with request("PUT", self.url, headers=self.headers, body=body, timeout=left) as reply:
                if not 200 <= reply.status < 300:
                    raise refusal(reply)

        send_parts(path, [Part(1, 0, size)], put, sending=sending)


@contextmanager
def interrupted_by_term() -> Iterator[None]:
    """Let TERM be an interrupt, so that an upload that is canceled clears up; whatever it was before, it is again."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
