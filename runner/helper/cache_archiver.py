"""`gitlab-runner-helper cache-archiver`: packs files into the cache's archive and sends it to its store.

The archive is written beside its place and moved in when it is whole. One that holds nothing older than its files is
not packed again. What cannot be sent is exit code 1, which the job's script turns into a warning.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from runner.helper.archives.entries import CHUNK_BYTES
from runner.helper.archives.enumeration import Selection, enumerate_files
from runner.helper.archives.formats import level_of, write_archive
from runner.helper.cache_store import (
    FLAGS,
    http_date,
    metadata_of,
    refusal,
    refuse_gocloud,
    seconds_of,
    with_links,
    write_metadata,
)
from runner.helper.console import Console, HelperError
from runner.helper.flags import Flag, Given, parse_flags
from runner.helper.transfer.attempts import attempts
from runner.helper.transfer.http import Body, TransferError, Write, request, shown

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
    refuse_gocloud(given, "gocloud-url")
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
        _pack(given, archive, names, root, console=console)
    _send(given, archive, console)


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


def _pack(given: Given, archive: str, names: Sequence[str], root: str, *, console: Console) -> None:
    folder = os.path.dirname(archive) or "."
    form = given.text("compression-format").lower()
    level = level_of(given.text("compression-level"), console)
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix="archive_", dir=folder)
        try:
            with open(descriptor, "wb", buffering=CHUNK_BYTES) as file:
                write_archive(form if form in _FORMATS else "zip", names, root=root, level=level, write=file.write)
            os.chmod(temporary, 0o666)  # another user's job may share the folder
            os.replace(temporary, archive)
        finally:
            with suppress(OSError):
                os.unlink(temporary)
    except OSError as error:
        raise HelperError(f"the cache cannot be archived: {error.filename or folder}: {error.strerror}") from error
    write_metadata(archive, _metadata(given, console), console)


def _metadata(given: Given, console: Console) -> dict[str, str]:
    found = metadata_of(_headers(given))
    if given.text("metadata"):
        try:
            found |= {str(key): str(value) for key, value in json.loads(given.text("metadata")).items()}
        except (ValueError, AttributeError):
            console.warning("--metadata is no JSON object and is left out")
    return found


def _headers(given: Given) -> list[tuple[str, str]]:
    pairs = (header.partition(":") for header in given.texts("header"))
    # The host belongs to the address; as a header of its own it would only be sent twice.
    return [(name.strip(), value.strip()) for name, _, value in pairs if name.strip().lower() not in ("host", "")]


def _send(given: Given, archive: str, console: Console) -> None:
    url = given.text("url")
    if not url:
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

    def put(_: int) -> None:
        console.info(f"Uploading {os.path.basename(archive)} to {shown(url)}")
        headers = {
            "Content-Type": "application/octet-stream",
            "Last-Modified": http_date(os.path.getmtime(archive)),
            **dict(_headers(given)),
        }
        body = Body(lambda write: _read(archive, write), size)
        with request("PUT", url, headers=headers, body=body, timeout=seconds_of(given)) as reply:
            if not 200 <= reply.status < 300:
                raise refusal(reply)

    try:
        attempts(put, tries=given.number("retry") + 1, console=console, pause=lambda _: given.seconds("retry-time"))
    except TransferError as error:
        raise HelperError(str(error)) from error


def _read(archive: str, write: Write) -> None:
    with open(archive, "rb", buffering=0) as file:
        while data := file.read(CHUNK_BYTES):
            write(data)
