"""`gitlab-runner-helper artifacts-uploader`: packs a job's artifacts and sends them to GitLab.

The archive goes out as it is made, in chunks, and is made anew for another try. 413 and 403 are GitLab's last words;
503 is tried five times more, other trouble twice. A failure is exit code 1 and fails the job.
"""

import os
import random
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from runner.helper.archives.enumeration import Selection, enumerate_files, expanded
from runner.helper.archives.formats import level_of, write_archive
from runner.helper.archives.provenance import PROVENANCE_FLAGS, write_provenance
from runner.helper.console import Console, Field, HelperError, disk_words
from runner.helper.coordinator import FLAGS, JobArtifacts, status_words
from runner.helper.flags import Flag, Given, parse_flags
from runner.helper.transfer.attempts import attempts
from runner.helper.transfer.http import Body, Reply, TransferError, Write, request
from runner.helper.transfer.meter import Meter

TRIES = 3
TRIES_WHILE_UNAVAILABLE = 6

_SUFFIXES = {"": ".zip", "zip": ".zip", "zipzstd": ".zip", "gzip": ".gz", "tarzstd": ".tar.zst", "raw": ""}
_FLAGS = (
    *FLAGS,
    Flag("path", kind="texts"),
    Flag("exclude", kind="texts"),
    Flag("untracked", kind="boolean", default=False),
    Flag("verbose", kind="boolean", default=False),
    Flag("name", default="artifacts"),
    Flag("expire-in"),
    Flag("artifact-format"),
    Flag("artifact-type"),
    Flag("compression-level", env="ARTIFACT_COMPRESSION_LEVEL"),
    Flag("timeout", kind="duration", default=3600.0),
    Flag("response-header-timeout", kind="duration", default=600.0),
    Flag("ci-debug-trace", kind="boolean", env="CI_DEBUG_TRACE", default=False),
    Flag("transfer-meter-frequency", kind="duration", env="TRANSFER_METER_FREQUENCY", default=0.0),
    *PROVENANCE_FLAGS,
)


def main(argv: Sequence[str], environ: Mapping[str, str], console: Console) -> None:
    """Upload what the flags say from the working directory. Raises HelperError."""
    given = parse_flags(_FLAGS, argv, environ)
    form = given.text("artifact-format")
    if form not in _SUFFIXES:
        raise HelperError(f"artifact format {form!r} is not known: use zip, gzip or raw")
    given = given.with_text("name", *expanded([given.text("name")], environ, console))
    target = JobArtifacts.of(given, environ)
    root = os.getcwd()
    selection = Selection(given.texts("path"), given.texts("exclude"), given.boolean("untracked"))
    names = enumerate_files(selection, root=root, console=console, environ=environ)
    if not names:
        console.error("No files to upload")
        return
    if form == "zip" and given.boolean("generate-artifacts-metadata"):
        names = (*names, write_provenance(given, names, root=root))
    level = level_of(given.text("compression-level"), console)
    _Upload(given, target, names, root, level, console).run()


@dataclass(slots=True)
class _Upload:
    given: Given
    target: JobArtifacts
    names: Sequence[str]
    root: str
    level: str
    console: Console
    _address: str = ""
    _failures: int = 0

    def run(self) -> None:
        self._address = self.target.address
        try:
            attempts(
                self._try,
                tries=TRIES_WHILE_UNAVAILABLE,
                console=self.console,
                pause=lambda number: random.uniform(1.0, min(5.0, 1.0 + number)),
                again=self._again,
            )
        except TransferError as error:
            raise HelperError(str(error)) from error
        except OSError as error:
            raise HelperError(disk_words(error, tempfile.gettempdir())) from error

    def _again(self, error: TransferError) -> bool:
        self._failures += 1
        return error.status in (307, 503) or (error.retriable and self._failures < TRIES)

    def _try(self, _number: int) -> None:
        boundary = secrets.token_hex(24)
        headers = self.target.headers() | {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        with request(
            "POST",
            f"{self._address}?{self._query()}".rstrip("?"),
            headers=headers,
            body=Body(lambda write: self._write(write, boundary)),
            tls=self.target.tls,
            timeout=self.given.seconds("timeout"),
            header_timeout=self.given.seconds("response-header-timeout"),
        ) as reply:
            self._judge(reply, headers["X-Request-ID"])

    def _judge(self, reply: Reply, mark: str) -> None:
        kind = self.given.text("artifact-type")
        what = f'Uploading artifacts as "{kind}" to coordinator...' if kind else "Uploading artifacts to coordinator..."
        fields: dict[str, Field] = {"correlation_id": reply.headers.get("X-Request-Id", mark), "id": self.target.job}
        words = status_words(reply.status, reply.reason)
        if reply.status == 201:
            self.console.info(f"{what} {words}", **fields)
            return
        location = reply.headers.get("Location", "")
        if reply.status == 307 and location:
            host = urlsplit(location)
            ours = urlsplit(self._address)
            self._address = urlunsplit((host.scheme or ours.scheme, host.netloc or ours.netloc, ours.path, "", ""))
            self.console.info(f"{what} {words}", **fields)
        elif reply.status == 413:
            said = _message(reply)
            self.console.error(f"{what} {words}", **fields, said=said)
            raise TransferError(
                f"too large: GitLab takes no archive as large as this one{f' ({said})' if said else ''}. "
                'Its limit is "Maximum artifacts size" of the instance, the group or the project',
                status=413,
            )
        else:
            self.console.warning(f"{what} {words}", **fields, said=_message(reply))
        raise TransferError(self._reason(reply.status, words), status=reply.status)

    def _reason(self, status: int, words: str) -> str:
        """Why the artifacts are not there, and the way out; the first words are the original's."""
        job = self.target.job
        if status in (401, 403):
            return f"permission denied: GitLab does not take the token of job {job}, which is over or was canceled"
        if status == 404:
            return f"not found: GitLab knows no job {job}, or none that may have artifacts"
        start = "service unavailable" if status == 503 else "invalid argument"
        return f"{start}: GitLab answers {words}. Its log has the reason, search it for the correlation id"

    def _query(self) -> str:
        given = self.given
        words = {
            "artifact_format": given.text("artifact-format"),
            "artifact_type": given.text("artifact-type"),
            "expire_in": given.text("expire-in"),
        }
        return urlencode({name: value for name, value in words.items() if value})

    def _write(self, write: Write, boundary: str) -> None:
        """Write the form: one part, which is the archive."""
        form = self.given.text("artifact-format")
        name = os.path.basename(self.given.text("name").rstrip("/"))
        name = "default" if name in ("", ".") else name
        quoted = (name + _SUFFIXES[form]).replace("\\", "\\\\").replace('"', '\\"')
        write(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
        )
        meter = Meter("Uploading artifacts", interval=self.given.seconds("transfer-meter-frequency"))

        def send(data: bytes) -> None:
            write(data)
            meter.add(len(data))

        write_archive(form, self.names, root=self.root, level=self.level, write=send, console=self.console)
        write(f"\r\n--{boundary}--\r\n".encode())
        meter.finish()


def _message(reply: Reply) -> str:
    """What GitLab says of a refusal, in one line."""
    import json

    text = reply.text()
    try:
        found = json.loads(text)
        text = str(found.get("message") or found.get("error") or text) if isinstance(found, dict) else text
    except ValueError:
        pass
    return " ".join(text.split())[:200]
