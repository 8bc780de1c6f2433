"""From the two files in the pod to the log that GitLab has: `output.log` and `journal` in, bytes out.

Law (docs/decisions/001-stages-and-the-journal.md, "Rules of rendering"): the log is a pure function of the two files
and of the lines written before the pod ran. Neither the order in which bytes and entries come, nor how they are cut,
nor who renders them changes a byte of it; so another manager may begin again at byte 0 and GitLab cannot tell the
difference.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping

from runner.job.stages import stage_of, title
from runner.trace import sections
from runner.trace.journal import SERVICE_KINDS, Entry, ExitEntry, LostEntry, NoteEntry, StartEntry, clip_note
from runner.trace.masking import Masker
from runner.trace.timestamps import EXECUTOR, SCRIPT, Timestamper

_LINES: Mapping[str, Callable[[str], bytes]] = {
    "plain": sections.plain,
    "green": sections.green,
    "warning": sections.warning,
    "error": sections.error,
    "title": sections.title,
}
_MARKS: Mapping[str, Callable[[str, float], bytes]] = {
    "section_start": sections.section_start,
    "section_end": sections.section_end,
}


class Renderer:
    """One job's log in the making.

    Bytes and entries are given each in their own order, and each exactly once. What is returned is to be appended to
    the log at once. Held are the bytes that no entry has reached yet and the entries whose bytes have not come, both
    bounded by the agent's window.
    """

    def __init__(self, masker: Masker, *, timestamps: bool, sections: bool) -> None:
        """Mask with `masker`, put times before lines (FF_TIMESTAMPS) and section marks around stages
        (`trace_sections`)."""
        self._masker = masker
        self._stamps = Timestamper() if timestamps else None
        self._with_sections = sections
        self._raw = bytearray()
        self._entries: deque[Entry] = deque()
        self._offset = 0
        self._lines = 0
        self._reached = 0.0
        self._stage = ""
        self._results: dict[str, ExitEntry | LostEntry] = {}
        self._notes: set[int] = set()

    @property
    def offset(self) -> int:
        """Raw bytes that have been rendered."""
        return self._offset

    @property
    def received(self) -> int:
        """Raw bytes that have been taken: where a new connection goes on."""
        return self._offset + len(self._raw)

    @property
    def lines(self) -> int:
        """Journal entries that have been taken: the number of the next one."""
        return self._lines

    @property
    def missing(self) -> int:
        """Raw bytes that the journal speaks of and that have not come."""
        return max(0, self._entries[-1].offset - self.received) if self._entries else 0

    @property
    def seen_notes(self) -> Collection[int]:
        """The numbers of the notes that have been rendered."""
        return self._notes

    def result(self, attempt: str) -> ExitEntry | LostEntry | None:
        """How an attempt ended, once all bytes before its end have been rendered."""
        return self._results.get(attempt)

    def data(self, raw: bytes) -> bytes:
        """Take the next bytes of `output.log`."""
        self._raw += raw
        return self._advance()

    def entry(self, entry: Entry) -> bytes:
        """Take the next line of `journal`. A note that was rendered before it went there is not rendered again."""
        self._lines += 1
        self._entries.append(entry)
        return self._advance()

    def note(self, note: NoteEntry) -> bytes:
        """Render a line of the manager's own at once: before the pod runs, or after it has gone.

        Meanwhile notes go through the journal, so that they stand at the same place whoever renders the log.
        """
        return self._note(note)

    def clipped(self, text: str) -> str:
        """Cut a note's text to what the journal can hold; what has to be cut is masked before, for half a secret would
        not be known as one.
        """
        return text if clip_note(text) == text else clip_note(self._masked(text))

    def finish(self) -> bytes:
        """Give everything that waits: the pod's log ends here, whole or not. Notes may follow.

        Bytes that no entry has reached are the job's all the same. An attempt whose last bytes never came has no
        result, and what is missing is said in the log.
        """
        out: list[bytes] = []
        at = self._entries[0].time if self._entries else self._reached
        missing = self.missing
        self._segment(len(self._raw), at, out)
        self._close_script(at, out)
        if missing:
            out.append(self._own(sections.warning(f"{missing} bytes of the job's output could not be fetched."), at))
        out += [self._note(entry) for entry in self._entries if isinstance(entry, NoteEntry)]
        self._entries.clear()
        self._end_stage(at, out)
        if self._stamps:
            out.append(self._stamps.finish())
        return b"".join(out)

    def _advance(self) -> bytes:
        out: list[bytes] = []
        while self._entries and self._entries[0].offset <= self.received:
            entry = self._entries.popleft()
            self._segment(entry.offset - self._offset, entry.time, out)
            self._reached = entry.time
            self._happen(entry, out)
        return b"".join(out)

    def _segment(self, size: int, at: float, out: list[bytes]) -> None:
        if size <= 0:
            return
        raw = bytes(self._raw[:size])
        del self._raw[:size]
        self._offset += size
        out.append(self._script(self._masker.feed(raw), at))

    def _happen(self, entry: Entry, out: list[bytes]) -> None:
        match entry:
            case NoteEntry():
                out.append(self._note(entry))
            case StartEntry():
                self._start_stage(stage_of(entry.attempt), entry.time, out)
            case ExitEntry() | LostEntry():
                self._end_output(entry.time, out)
                self._end_stage(entry.time, out)
                self._results[entry.attempt] = entry

    def _start_stage(self, stage: str, at: float, out: list[bytes]) -> None:
        if self._stage:
            self._end_stage(at, out)
        self._stage = stage
        if self._with_sections:
            out.append(self._own(sections.section_start(stage, at), at))
        out.append(self._own(sections.title(title(stage)), at))

    def _end_stage(self, at: float, out: list[bytes]) -> None:
        self._close_script(at, out)
        if self._stage and self._with_sections:
            out.append(self._own(sections.section_end(self._stage, at), at))
        self._stage = ""

    def _end_output(self, at: float, out: list[bytes]) -> None:
        """Put GitLab Runner's newline behind a stage's output: a last line without an end gets one, so that it does not
        run into what follows, and everything else an empty line, which shows where a stage is over.
        """
        out += (self._script(self._masker.finish(), at), self._script(b"\n", at))

    def _close_script(self, at: float, out: list[bytes]) -> None:
        """End the output as that of a writer that is closed: nothing waits any longer for more of it."""
        out.append(self._script(self._masker.finish(), at))
        if self._stamps:
            out.append(self._stamps.finish(SCRIPT))

    def _note(self, note: NoteEntry) -> bytes:
        if note.seq in self._notes:
            return b""
        self._notes.add(note.seq)
        at = round(note.time, 6)  # as the journal has it, so that both give the same second
        self._reached = max(self._reached, at)
        if note.kind in _MARKS:
            return self._own(_MARKS[note.kind](note.text, at), at) if self._with_sections else b""
        text = self._masked(note.text)
        if note.kind in SERVICE_KINDS:
            shown = b"".join(map(sections.service, text.split("\n")))
            return self._own(shown, at, stream=SERVICE_KINDS[note.kind])
        return self._own(_LINES[note.kind](text), at)

    def _masked(self, text: str) -> str:
        return self._masker.whole(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def _script(self, data: bytes, at: float) -> bytes:
        return self._stamps.write(data, at=at, stream=SCRIPT) if self._stamps else data

    def _own(self, data: bytes, at: float, *, stream: bytes = EXECUTOR) -> bytes:
        return self._stamps.write(data, at=at, stream=stream) if self._stamps else data
