"""Whole mail through the anti-virus stage, cures and all: the answer is sound, and mail with a known bad file is never clean."""

import math
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.openers.document_samples import build_documents
from gatepost.antivirus.openers.samples import build_samples
from gatepost.antivirus.stage import inspect
from gatepost.filter.dialogue import Answer, build_frame, check_analysis, parse_from_filter
from gatepost.mime.decode import decode_body
from gatepost.mime.disclaimer import annotate
from gatepost.mime.edit import Action, Edit, apply_splices, check_splices, plan_edits
from gatepost.mime.structure import parse
from gatepost.model.finding import Analysis, ObjectKind, ObjectStatus, ScanOptions

from .structure import WORDS as _MIME_WORDS
from .structure import seeds as _messages

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 3000
_BAD: Final = b"EVIL"
_OPTIONS: Final = ScanOptions(
    cure=True, unpacked_bytes=1 << 22, archive_members=50, archive_depth=6, text_spots=True, deadline_s=600
)


class _Engine:
    """Finds one word, and nothing that costs time."""

    name = "fuzz"

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        del deadline
        if _BAD in subject.data:
            return Report(Outcome.INFECTED, "Fuzz.Evil", "it says so")
        active = subject.content_type.startswith(("text/x-vba", "text/javascript", "text/x-pdf-action"))
        return Report(Outcome.SUSPICIOUS, "Fuzz.Active", "it runs") if active else CLEAN

    def cure(self, subject: ScanObject) -> bytes | None:
        del subject
        return None

    def version(self) -> str:
        return "1"

    def health(self) -> str:
        return ""


_ENGINE: Final = _Engine()


def execute(data: bytes) -> None:
    """Inspect the input as a message; carry out what the answer allows, and inspect what became of it."""
    analysis = _inspect(data)
    if any(_BAD in decode_body(holder.content, part).data for holder, part in parse(data).leaves()):
        assert any(report.status is not ObjectStatus.CLEAN for report in analysis.objects)
    edits = []
    for report in analysis.objects:
        if report.kind not in (ObjectKind.PART, ObjectKind.BLOCK) or report.status is ObjectStatus.CLEAN:
            continue
        if report.status is ObjectStatus.DISINFECTED:
            edits.append(Edit(report, Action.CURE, report.cured or b""))
        else:
            edits.append(Edit(report, Action.REMOVE if report.size % 2 else Action.REPLACE, b"gone\r\n"))
    if not edits:
        return
    splices = plan_edits(data, edits)
    check_splices(splices, len(data))
    edited = b"".join(apply_splices(data, splices))
    cured = [edit.body for edit in edits if edit.action is Action.CURE]
    assert all(_BAD not in body for body in cured)
    _inspect(edited)


def _inspect(data: bytes) -> Analysis:
    analysis = annotate(inspect(data, _OPTIONS, [_ENGINE], math.inf), data, _OPTIONS)
    check_analysis(analysis, len(data))
    answer = Answer("a", analysis)
    got = parse_from_filter(build_frame(answer)[4:])
    assert got == answer
    assert not analysis.unscanned
    return analysis


WORDS: Final = (
    *_MIME_WORDS,
    _BAD,
    b"PK\3\4",
    b"<script>",
    b"{\\rtf1",
    b"%PDF-",
    b"UEsDB",
    b"H4sI",
    b"application/zip",
    b"text/html",
    b"\xd0\xcf\x11\xe0",
)


def seeds() -> Iterator[bytes]:
    """Yield messages, and mail that carries each kind of archive and document that is small."""
    yield from _messages()
    yield b"Content-Type: text/html\r\n\r\n<p>x<script>EVIL</script></p>\r\n"
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: a/b; name=a.bin\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    for _, archive in (*build_samples(), *build_documents()):
        if len(archive) < LENGTH_LIMIT - 300:
            yield head + archive.replace(b"content of a small", b"content of an EVIL") + b"\r\n--b--\r\n"
