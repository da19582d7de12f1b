"""Content that is one object and no message: files from the web, streams that somebody has scanned."""

import io
import math
import zipfile

import av_samples
from stage_engines import Spy

from gatepost.antivirus.stage import inspect
from gatepost.filter.dialogue import check_analysis
from gatepost.model.finding import Analysis, BareObject, ObjectFilterSpec, ObjectKind, ObjectStatus, ScanOptions


def scan(content: bytes, bare: BareObject, **options: object) -> tuple[Analysis, Spy]:
    spy = Spy()
    analysis = inspect(content, ScanOptions(bare=bare, **options), [spy], math.inf)
    check_analysis(analysis, len(content))
    return analysis, spy


def packed(data: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inner.exe", data)
    return archive.getvalue()


def test_a_file_is_one_object_whatever_its_lines_look_like() -> None:
    content = b"Content-Transfer-Encoding: base64\n\nQkFE\n"  # as a mail its body would be decoded
    analysis, spy = scan(content, BareObject("script.txt", "text/plain"))
    assert spy.seen == [content]
    (only,) = analysis.objects
    assert (only.kind, only.status, only.name, only.content_type, only.size) == (
        ObjectKind.PART, ObjectStatus.CLEAN, "script.txt", "text/plain", len(content),
    )  # fmt: skip
    assert (only.whole.start, only.whole.end) == (0, len(content))


def test_archives_are_opened() -> None:
    analysis, _ = scan(packed(b"BAD" * 9), BareObject("setup.zip", "application/zip"))
    assert [(each.status, each.name) for each in analysis.objects] == [
        (ObjectStatus.INFECTED, "setup.zip"),
        (ObjectStatus.INFECTED, "inner.exe"),
    ]


def test_a_stored_mail_is_opened_as_an_attached_one_is() -> None:
    mail = av_samples.message(b"B" + b"AD", b"X-Other: 1", b"From: a@example.org", b"Mime-Version: 1.0")
    analysis, _ = scan(mail, BareObject("letter.eml", "message/rfc822"))
    assert analysis.objects[0].status is ObjectStatus.INFECTED
    assert len(analysis.objects) > 1


def test_what_every_group_filters_is_not_scanned() -> None:
    no_programs = ObjectFilterSpec(names=True, include_names=("*.exe",))
    analysis, spy = scan(b"BAD", BareObject("setup.exe"), filters=(no_programs,))
    assert [each.status for each in analysis.objects] == [ObjectStatus.FILTERED]
    assert spy.seen == []


def test_nothing_at_all_is_clean() -> None:
    analysis, _ = scan(b"", BareObject())
    assert [each.status for each in analysis.objects] == [ObjectStatus.CLEAN]
