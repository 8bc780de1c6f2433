"""The journal of a job: what happened in the pod, at which byte of the log, and when; and the lines agents are told.

Law: docs/decisions/001-stages-and-the-journal.md is the protocol, this module is its spelling and nothing more.
Whatever is read is checked here once, so that nobody behind it meets a negative offset, a moment that is no moment,
or a name that could leave its directory.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

LINE_BYTES = 32768
"""The longest command line an agent reads, with its length prefix and newline."""

NOTE_TEXT_BYTES = 16384
"""The longest text of a note: base64 makes it a third longer, and it must fit one command line."""

_FIRST_SERVICE, _LAST_SERVICE = 0x0F, 0xFF
SERVICE_KINDS = {f"service_{stream:02x}": b"%02xO" % stream for stream in range(_FIRST_SERVICE, _LAST_SERVICE + 1)}
"""Kinds of notes that hold lines of a service's own log, each with its stream of the job's log."""

NOTE_KINDS = frozenset({"plain", "green", "warning", "error", "section_start", "section_end", "title", *SERVICE_KINDS})
"""How a note may look; each is a function of `runner.trace.sections`."""

_PART_BYTES = 24000  # 32000 characters of base64, which leaves room for the words before them
_NO_TEXT = "-"  # the base64 of no text would be no word at all, and lost where a shell splits the line
_LATEST = 253402300799.0  # the last second of the year 9999: later moments cannot be written in a log line

_ATTEMPT = re.compile(r"[a-z0-9_]+-[0-9]+")
_NUMBER = re.compile(r"[0-9]{1,18}")
_TIME = re.compile(r"[0-9]{1,12}\.[0-9]{1,6}")


class JournalError(ValueError):
    """A line is not what the protocol allows; the message quotes its beginning, never a job's whole line."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The log grew to `offset` at `time`."""

    offset: int
    time: float


@dataclass(frozen=True, slots=True)
class StartEntry:
    """The attempt begins here: its section mark and title belong at this place."""

    attempt: str
    offset: int
    time: float


@dataclass(frozen=True, slots=True)
class RanEntry:
    """The agent of the attempt's container has taken the attempt: it will never be started again."""

    attempt: str
    offset: int
    time: float


@dataclass(frozen=True, slots=True)
class ExitEntry:
    """The attempt left a whole exit record; all of its output lies before `offset`."""

    attempt: str
    code: int
    oom_kills: int
    """Processes that the kernel killed for memory in that container meanwhile."""
    offset: int
    time: float


@dataclass(frozen=True, slots=True)
class LostEntry:
    """The attempt's wrapper died without an exit record: there is no result, and none will come."""

    attempt: str
    offset: int
    time: float


@dataclass(frozen=True, slots=True)
class NoteEntry:
    """A line of the manager's own at this place of the log."""

    seq: int
    """Counts from 1 through the job; the agent writes each number once, whoever sends it again."""
    kind: str
    offset: int
    time: float
    text: str


Entry: TypeAlias = LogEntry | StartEntry | RanEntry | ExitEntry | LostEntry | NoteEntry
"""One line of the journal."""


def parse_entry(line: bytes | str) -> Entry:
    """Read one journal line, without its number and newline.

    Raises JournalError for everything that `format_entry` would not have written; an agent's coarser clock may write
    fewer decimals.
    """
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    words = text.split()
    match words:
        case ["log", offset, time]:
            return LogEntry(_number(offset, text), _time(time, text))
        case ["start", attempt, offset, time]:
            return StartEntry(_attempt(attempt, text), _number(offset, text), _time(time, text))
        case ["ran", attempt, offset, time]:
            return RanEntry(_attempt(attempt, text), _number(offset, text), _time(time, text))
        case ["lost", attempt, offset, time]:
            return LostEntry(_attempt(attempt, text), _number(offset, text), _time(time, text))
        case ["exit", attempt, code, oom, offset, time]:
            name = _attempt(attempt, text)
            return ExitEntry(name, _number(code, text), _number(oom, text), _number(offset, text), _time(time, text))
        case ["note", seq, kind, offset, time, encoded]:
            return _note(seq, kind, encoded, offset=_number(offset, text), time=_time(time, text), line=text)
    raise _error(text, "is no entry")


def format_entry(entry: Entry) -> str:
    """Write an entry as its journal line, without a newline; `parse_entry` gives the same entry back."""
    place = f"{entry.offset} {entry.time:.6f}"
    match entry:
        case LogEntry():
            return f"log {place}"
        case StartEntry(attempt=attempt):
            return f"start {attempt} {place}"
        case RanEntry(attempt=attempt):
            return f"ran {attempt} {place}"
        case ExitEntry(attempt=attempt, code=code, oom_kills=oom_kills):
            return f"exit {attempt} {code} {oom_kills} {place}"
        case LostEntry(attempt=attempt):
            return f"lost {attempt} {place}"
    return f"note {entry.seq} {entry.kind} {place} {_encoded(entry.text)}"


def command_line(command: str) -> bytes:
    """Frame a command for an agent's stdin: its length, the command, a newline.

    The length lets the agent drop a line whose beginning or end died with a connection. Raises JournalError when the
    command is not one ASCII line or the agent could not take it whole.
    """
    if not command.isascii() or "\n" in command or "\r" in command:
        raise JournalError(f"The command {command[:40]!r} is not one line of ASCII.")
    line = b"%d %s\n" % (len(command), command.encode("ascii"))
    if len(line) > LINE_BYTES:
        raise JournalError(
            f"The command {command[:40]!r} makes {len(line)} bytes, an agent reads at most {LINE_BYTES}."
        )
    return line


def put_commands(name: str, text: bytes) -> Iterator[bytes]:
    """Yield the command lines that place a file: its parts, then the seal with the text's SHA-256.

    They may be sent again from the first one at any time: part 0 begins anew, and only a whole file is ever renamed
    into place. The compressed form holds no time, so the same text always makes the same lines.
    """
    _attempt(name, name)
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: with gzip's header, which the sh agent's gunzip wants
    packed = compressor.compress(text) + compressor.flush()
    for index, start in enumerate(range(0, len(packed), _PART_BYTES)):
        part = base64.b64encode(packed[start : start + _PART_BYTES]).decode("ascii")
        yield command_line(f"put {name} {index} {part}")
    yield command_line(f"seal {name} {hashlib.sha256(text).hexdigest()}")


def note_command(note: NoteEntry) -> bytes:
    """Frame the command that makes the helper's agent write this note; the agent puts its own offset in.

    Raises JournalError when the text is longer than `NOTE_TEXT_BYTES`: cut it with `clip_note` before it is rendered
    anywhere, so that the log made by this manager and the log made again from the journal are the same.
    """
    if len(_note_bytes(note.text)) > NOTE_TEXT_BYTES:
        raise JournalError(f"Note {note.seq} is longer than {NOTE_TEXT_BYTES} bytes.")
    return command_line(f"note {note.seq} {note.kind} {note.time:.6f} {_encoded(note.text)}")


def service_kind(index: int) -> str:
    """The kind of notes for the lines of a job's service, counted from 0; there are streams for 241 of them."""
    return f"service_{min(_FIRST_SERVICE + index, _LAST_SERVICE):02x}"


def clip_note(text: str) -> str:
    """Cut a note's text to what a journal line can hold, with a visible ellipsis."""
    data = _note_bytes(text)
    if len(data) <= NOTE_TEXT_BYTES:
        return text
    return data[: NOTE_TEXT_BYTES - 3].decode("utf-8", "ignore") + "..."


def _note(seq: str, kind: str, encoded: str, *, offset: int, time: float, line: str) -> NoteEntry:
    if kind not in NOTE_KINDS:
        raise _error(line, "is a note of no known kind")
    try:
        data = b"" if encoded == _NO_TEXT else base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _error(line, "carries text that is not base64") from error
    return NoteEntry(_number(seq, line), kind, offset, time, data.decode("utf-8", "surrogateescape"))


def _note_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _encoded(text: str) -> str:
    return base64.b64encode(_note_bytes(text)).decode("ascii") or _NO_TEXT


def _attempt(word: str, line: str) -> str:
    if not _ATTEMPT.fullmatch(word):
        raise _error(line, "names no attempt")
    return word


def _number(word: str, line: str) -> int:
    if not _NUMBER.fullmatch(word):
        raise _error(line, f"has {word[:40]!r} where a number belongs")
    return int(word)


def _time(word: str, line: str) -> float:
    if not _TIME.fullmatch(word) or float(word) > _LATEST:
        raise _error(line, f"has {word[:40]!r} where a time belongs")
    return float(word)


def _error(line: str, reason: str) -> JournalError:
    return JournalError(f"The journal line {line[:60]!r} {reason}.")
