"""What relay, template and filter say to each other: length-prefixed MessagePack frames, and the checks on answers.

Called by `filter.pool` (relay side), `filter.worker` (filter side) and `filter.template`. Sans-I/O: bytes in, values
out. A job is answered; before that its filter may ask, one question at a time, which objects were found clean before,
for connections to remote engines, and whether anybody gets the message. A filter has read hostile bytes, so nothing it
says is believed: every frame is decoded against a closed union with fixed limits and every range is checked against the
content. Whatever does not fit raises `HostileAnswer`, which counts as a crash of the filter.
"""

import math
import struct
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from gatepost.antivirus.objects import CURABLE, CURED_OVERHEAD
from gatepost.filter.hostile import HostileAnswer
from gatepost.filter.preview_bounds import check_preview
from gatepost.filter.spam_bounds import check_fields, check_spam
from gatepost.mime.disclaimer import SPOT_LIMIT
from gatepost.mime.signatures import SIGNATURES
from gatepost.model.finding import (
    ENCRYPTIONS,
    OTHERS_LIMIT,
    SUBJECT_LIMIT,
    Analysis,
    ObjectKind,
    ObjectReport,
    ObjectStatus,
    ScanOptions,
    Span,
)
from gatepost.model.spam import SpamFacts

FRAME_HEADER = struct.Struct(">I")
HEADER_SIZE = FRAME_HEADER.size

CONTROL_FRAME_LIMIT = 64 * 1024
"""Bytes of a frame between pool and template: these hold a few numbers and a sentence."""
JOB_FRAME_LIMIT = 1024 * 1024
"""Bytes of a job: inline content (settings.INLINE_LIMIT) and options, with room to grow."""
ANSWER_OVERHEAD = 16 * 1024 * 1024
"""Bytes of an answer beside cured content: OBJECT_LIMIT objects with their names and ranges."""
OBJECT_LIMIT = 30_000
"""Objects in one answer: above what the anti-virus stage lists."""
FINDING_LIMIT = 1_000
FIELD_LIMIT = 20_001
"""Ranges of Content-* fields of one part: as many as the MIME tree reads of one header, and the separator."""
NAME_LIMIT = 1_024
"""Characters of a file name or content type."""
TEXT_LIMIT = 2_048
"""Characters of a threat name or an evidence sentence."""
SPOT_FIELD_LIMIT = 4
"""Changes of the header that go with one place for text."""
SEVEN_BIT_GROWTH = 4
"""Times its size that content may have when it is 7-bit: quoted-printable makes three, with line ends a little more."""
WALL_LIMIT = 32
"""Missing walls named in a sandbox report."""
KEY_SIZE = 32
"""Bytes of a key of the clean-object cache (SHA-256)."""
KEY_LIMIT = 1_000
"""Keys in one question: objects of one mail that are worth remembering; further ones are scanned without asking."""
KEY_QUESTIONS = 2
"""Questions about keys of one job: one of bodies as they are encoded, one of contents."""
QUESTION_LIMIT = 64
"""Questions of one job: those about keys, the others for connections, each lost one replaced a few times."""
ENGINE_LIMIT = 64
"""Engines that report in one answer."""
VERSION_LIMIT = 256
"""Characters of a remote engine's version."""


class Job(msgspec.Struct, frozen=True, array_like=True, tag="job"):
    """Inspect this. `content` None: it comes as the descriptor sent with the frame, `size` bytes from its start."""

    id: str
    size: int
    options: ScanOptions
    content: bytes | None = None


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """First word of a filter: it stands behind its walls and takes jobs."""

    pid: int
    missing: tuple[str, ...] = ()
    """Walls this kernel could not give it, each with the reason."""


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """The job `id` is done."""

    id: str
    analysis: Analysis
    clean: tuple[int, ...] = ()
    """Which of the keys asked about turned out clean, as indices into all of them, rising: to be remembered."""


class KnownQuestion(msgspec.Struct, frozen=True, array_like=True, tag="known?"):
    """Filter to pool, at most `KEY_QUESTIONS` times in a job: which of these objects were found clean before?"""

    id: str
    number: int
    """Of the question within the job, from 1 on; the reply repeats it."""
    keys: tuple[bytes, ...]


class ConnectionQuestion(msgspec.Struct, frozen=True, array_like=True, tag="connection?"):
    """Filter to pool: a connection to this remote engine, please. An earlier one is lost."""

    id: str
    number: int
    engine: str


class SpamQuestion(msgspec.Struct, frozen=True, array_like=True, tag="spam?"):
    """Filter to pool, at most once in a job, before it scans (`SpamOptions.first`): does anybody get this message?"""

    id: str
    number: int
    facts: SpamFacts


class KnownReply(msgspec.Struct, frozen=True, array_like=True, tag="known"):
    """Pool to filter: one byte for each key, 1 for those found clean before."""

    number: int
    known: bytes


class ConnectionReply(msgspec.Struct, frozen=True, array_like=True, tag="connection"):
    """Pool to filter: with `reason` "" a descriptor comes with the frame, else there is no connection."""

    number: int
    version: str = ""
    reason: str = ""
    wait: bool = False
    """With a reason: messages are to wait for the engine."""


class SpamReply(msgspec.Struct, frozen=True, array_like=True, tag="spam"):
    """Pool to filter: whether the message need not be scanned, because nobody gets it."""

    number: int
    spare: bool


class Failure(msgspec.Struct, frozen=True, array_like=True, tag="failure"):
    """The job `id` raised: the filter ends after this word, the job counts as a crash."""

    id: str
    reason: str


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag="leaving"):
    """Last word: quota or idle time reached. A job sent meanwhile was not looked at and is nobody's fault."""

    reason: str = ""


class StartFilter(msgspec.Struct, frozen=True, array_like=True, tag="start"):
    """Pool to template: fork one filter. `gone`: pids the template gave and the pool has done with; they are ending and
    no longer count, so that a successor need not wait for their burial.
    """

    gone: tuple[int, ...] = ()


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Template to pool, first: who it is."""

    generation: int
    pid: int


class Started(msgspec.Struct, frozen=True, array_like=True, tag="started"):
    """Template to pool: a filter runs. With the frame come two descriptors: the socket to it, and its pidfd."""

    pid: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """Template to pool: no filter now, and why."""

    reason: str


_Word = TypeVar("_Word")

Question = KnownQuestion | ConnectionQuestion | SpamQuestion
Reply = KnownReply | ConnectionReply | SpamReply
ToFilter = Job | Reply
FromFilter = Ready | Answer | Failure | Leaving | Question
FromTemplate = Hello | Started | Refused

_ENCODER = msgspec.msgpack.Encoder()
_TO_FILTER: msgspec.msgpack.Decoder[ToFilter] = msgspec.msgpack.Decoder(ToFilter)
_FROM_FILTER: msgspec.msgpack.Decoder[FromFilter] = msgspec.msgpack.Decoder(FromFilter)
_TO_TEMPLATE = msgspec.msgpack.Decoder(StartFilter)
_FROM_TEMPLATE: msgspec.msgpack.Decoder[FromTemplate] = msgspec.msgpack.Decoder(FromTemplate)


def build_frame(message: ToFilter | FromFilter | StartFilter | FromTemplate) -> bytes:
    """Return the message as one frame: four bytes of length (big endian), then MessagePack."""
    body = _ENCODER.encode(message)
    return FRAME_HEADER.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into frames. `limit` may be set anew between frames (the answer to a large job is larger)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._pending = bytearray()

    @property
    def empty(self) -> bool:
        """No frame has begun."""
        return not self._pending

    @property
    def missing(self) -> int:
        """Bytes that complete the frame under way; 0 when its length is not known yet."""
        if len(self._pending) < HEADER_SIZE:
            return 0
        return HEADER_SIZE + int(FRAME_HEADER.unpack_from(self._pending)[0]) - len(self._pending)

    def feed(self, chunk: bytes) -> list[bytes | memoryview]:
        """Take received bytes, return the bodies of the frames they complete. HostileAnswer: a frame over the limit."""
        if not self._pending and len(chunk) >= HEADER_SIZE:
            length = FRAME_HEADER.unpack_from(chunk)[0]
            if length == len(chunk) - HEADER_SIZE and length <= self.limit:
                return [memoryview(chunk)[HEADER_SIZE:]]
        self._pending += chunk
        return list(self._cut())

    def _cut(self) -> Iterator[bytes]:
        pending = self._pending
        start = 0
        while len(pending) - start >= HEADER_SIZE:
            length = FRAME_HEADER.unpack_from(pending, start)[0]
            if length > self.limit:
                raise HostileAnswer(f"frame of {length} bytes, limit {self.limit}")
            end = start + HEADER_SIZE + length
            if end > len(pending):
                break
            yield bytes(memoryview(pending)[start + HEADER_SIZE : end])
            start = end
        del pending[:start]


def answer_limit(size: int, *, seven_bit: bool = False) -> int:
    """Return the largest frame a filter may answer with for content of `size` bytes, scanned or made 7-bit."""
    return ANSWER_OVERHEAD + (size * SEVEN_BIT_GROWTH if seven_bit else size) + CURED_OVERHEAD


def parse_to_filter(body: bytes | memoryview) -> ToFilter:
    """Decode what a pool said to its filter; HostileAnswer when it is nothing a pool says."""
    return _decode(_TO_FILTER, body)


def parse_from_filter(body: bytes | memoryview) -> FromFilter:
    """Decode what a filter said; HostileAnswer when it is nothing a filter says. Answers need `check_analysis` too."""
    word = _decode(_FROM_FILTER, body)
    if isinstance(word, Ready) and (len(word.missing) > WALL_LIMIT or any(len(t) > TEXT_LIMIT for t in word.missing)):
        raise HostileAnswer("sandbox report over its limits")
    if isinstance(word, Failure) and len(word.reason) > TEXT_LIMIT:
        raise HostileAnswer("reason over its limit")
    if isinstance(word, KnownQuestion) and (
        not 0 < len(word.keys) <= KEY_LIMIT or any(len(key) != KEY_SIZE for key in word.keys)
    ):
        raise HostileAnswer("keys over their limits")
    if isinstance(word, ConnectionQuestion) and len(word.engine) > NAME_LIMIT:
        raise HostileAnswer("name of an engine over its limit")
    return word


def parse_to_template(body: bytes | memoryview) -> StartFilter:
    """Decode a pool's request; HostileAnswer when it is none."""
    return _decode(_TO_TEMPLATE, body)


def parse_from_template(body: bytes | memoryview) -> FromTemplate:
    """Decode a template's word; HostileAnswer when it is none."""
    return _decode(_FROM_TEMPLATE, body)


def _decode(decoder: "msgspec.msgpack.Decoder[_Word]", body: bytes | memoryview) -> _Word:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError, MemoryError) as error:  # ValueError: text that is no UTF-8
        raise HostileAnswer(f"frame does not decode: {error}"[:TEXT_LIMIT]) from None


def check_analysis(analysis: Analysis, size: int) -> None:
    """Raise HostileAnswer unless every number and text of the analysis fits content of `size` bytes."""
    if len(analysis.objects) > OBJECT_LIMIT:
        raise HostileAnswer(f"{len(analysis.objects)} objects, limit {OBJECT_LIMIT}")
    if len(analysis.findings) > FINDING_LIMIT:
        raise HostileAnswer(f"{len(analysis.findings)} findings, limit {FINDING_LIMIT}")
    if not 0 <= analysis.elapsed_ms < math.inf:
        raise HostileAnswer("time out of range")
    cured = 0
    for index, report in enumerate(analysis.objects):
        cured += _check_object(report, index, size)
        if report.status is ObjectStatus.DISINFECTED and report.cured is None:
            holder = analysis.objects[report.parent] if report.parent >= 0 else report
            if report.kind is not ObjectKind.MEMBER or holder is report or holder.status is not report.status:
                raise HostileAnswer(f"object {index}: disinfected and no cured content")
    if cured > size + CURED_OVERHEAD:
        raise HostileAnswer(f"{cured} bytes of cured content out of {size}")
    _check_rewrite(analysis, size)
    if len(analysis.subject) > SUBJECT_LIMIT:
        raise HostileAnswer("subject over its limit")
    _check_engines(analysis)
    _check_spots(analysis, size)
    if analysis.spared and (analysis.objects or analysis.spam is None):
        raise HostileAnswer("scanned, and not scanned")
    if analysis.network is not None:
        raise HostileAnswer("network facts from a filter")
    if analysis.spam is not None:
        check_spam(analysis.spam, size)
    if analysis.fields:
        check_fields(analysis.fields, size)
    if analysis.preview is not None:
        check_preview(analysis.preview)
    for finding in analysis.findings:
        if len(finding.name) > NAME_LIMIT or len(finding.evidence) > TEXT_LIMIT or not math.isfinite(finding.weight):
            raise HostileAnswer("finding over its limits")


def _check_rewrite(analysis: Analysis, size: int) -> None:
    """Check the 7-bit form, or why there is none."""
    at = written = 0
    for start, end, data in analysis.rewrite:
        if not at <= start <= end <= size:
            raise HostileAnswer("bytes to be replaced out of order")
        at = end
        written += len(data)
    if written > size * SEVEN_BIT_GROWTH + CURED_OVERHEAD or len(analysis.obstacle) > TEXT_LIMIT:
        raise HostileAnswer("7-bit form over its limits")


def _check_engines(analysis: Analysis) -> None:
    if len(analysis.unscanned) > TEXT_LIMIT or len(analysis.engines) > ENGINE_LIMIT:
        raise HostileAnswer("engines over their limits")
    for note in analysis.engines:
        if max(len(note.name), len(note.version), len(note.trouble)) > TEXT_LIMIT:
            raise HostileAnswer("text of an engine over its limit")
        if note.objects < 0 or not 0 <= note.elapsed_ms < math.inf:
            raise HostileAnswer("number of an engine out of range")


def _check_spots(analysis: Analysis, size: int) -> None:
    """Check where text is to be added, and the signatures."""
    if len(analysis.spots) > SPOT_LIMIT or not set(analysis.signatures) <= set(SIGNATURES):
        raise HostileAnswer("places for text or signatures over their limits")
    at = written = 0
    for spot in analysis.spots:
        for start, end, data in (*spot.fields, (spot.start, spot.end, b"")):
            if not at <= start <= end <= size:
                raise HostileAnswer("places for text out of order")
            at = end
            written += len(data)
        if len(spot.fields) > SPOT_FIELD_LIMIT or len(spot.charset) > NAME_LIMIT:
            raise HostileAnswer("place for text over its limits")
        written += len(spot.before) + len(spot.after)
    if written > size * SEVEN_BIT_GROWTH + CURED_OVERHEAD:
        raise HostileAnswer(f"{written} bytes around places for text out of {size}")


def _check_object(report: ObjectReport, index: int, size: int) -> int:
    """Check one object; return the bytes of its cured content."""
    if not -1 <= report.parent < index:
        raise HostileAnswer(f"object {index} hangs at {report.parent}")
    for others in (report.other_names, report.other_types):
        if len(others) > OTHERS_LIMIT:
            raise HostileAnswer(f"object {index} has {len(others)} more names or types")
    if max(map(len, (report.name, report.content_type, *report.other_names, *report.other_types))) > NAME_LIMIT:
        raise HostileAnswer(f"name of object {index} over its limit")
    if max(len(report.threat), len(report.evidence), len(report.found), len(report.engine)) > TEXT_LIMIT:
        raise HostileAnswer(f"text of object {index} over its limit")
    if report.size < 0 or report.siblings < 0 or len(report.fields) > FIELD_LIMIT:
        raise HostileAnswer(f"number of object {index} out of range")
    whole, body, delimiter = report.whole, report.body, report.delimiter
    for span in (whole, body, delimiter):
        if not 0 <= span.start <= span.end <= size:
            raise HostileAnswer(f"range of object {index} outside the content")
    if report.kind is ObjectKind.MEMBER and (whole.end or body.end or delimiter.end or report.fields):
        raise HostileAnswer(f"object {index} has a range where it can have none")
    if body.end and not _within(body, whole):
        raise HostileAnswer(f"body of object {index} outside of it")
    if delimiter.end and not _within(whole, delimiter):
        raise HostileAnswer(f"object {index} outside its delimiters")
    last = whole.start
    for field in report.fields:
        if not last <= field.start <= field.end <= whole.end:
            raise HostileAnswer(f"fields of object {index} out of order")
        last = field.end
    if report.cured is not None and report.status is not ObjectStatus.DISINFECTED:
        raise HostileAnswer(f"object {index}: cured content and status disagree")
    if report.uncured not in CURABLE:
        raise HostileAnswer(f"object {index}: cured of being {report.uncured}")
    if report.encrypted and report.encrypted not in ENCRYPTIONS:
        raise HostileAnswer(f"object {index} is encrypted in a way that is not known")
    if report.delete and report.status is not ObjectStatus.INFECTED:
        raise HostileAnswer(f"object {index}: removal demanded without an infection")
    return 0 if report.cured is None else len(report.cured)


def _within(inner: Span, outer: Span) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end
