"""Macros and what else runs out of Office files: old and new, OpenDocument; and what stays."""

import hashlib
import io
import math
import random
import re
import struct
import zipfile

import olefile
import pytest
from lxml import etree
from tests.unit.antivirus import cure_samples as samples

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure import BadMember, Cured, plan_cure
from gatepost.antivirus.cure.biff import disarm_workbook
from gatepost.antivirus.cure.compound import Node, read_compound, write_compound
from gatepost.antivirus.cure.cured import Uncurable
from gatepost.antivirus.cure.odf import cure_odf
from gatepost.antivirus.cure.office import cure_office
from gatepost.antivirus.cure.ooxml import cure_ooxml
from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.kinds import Kind
from gatepost.model.finding import ScanOptions

PROGRAM = b"MZ\x90\0 a program"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def budget() -> Budget:
    return Budget(ScanOptions(), math.inf)


def bad(content: bytes, cured: bytes | None = None) -> BadMember:
    return BadMember("x", hashlib.sha256(content).digest(), cured)


def cure_new(data: bytes, name: str = "x.docx", *members: BadMember) -> Cured | None:
    return cure_ooxml(data, name, members, budget())


def parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def streams(data: bytes) -> dict[str, bytes]:
    """All streams of a compound file, by a reader that is not ours."""
    with olefile.OleFileIO(data, raise_defects=olefile.DEFECT_POTENTIAL) as file:
        assert not file.parsing_issues
        return {"/".join(path): file.openstream(path).read() for path in file.listdir()}


# -- compound files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 100])
def test_what_is_written_is_read_by_others(count: int) -> None:
    children = [
        Node(f"s{'x' * (number % 5)}{number}", 2, bytes([number % 251]) * (number * 997)) for number in range(count)
    ]
    data = samples.compound(*children, samples.storage("Storage", Node("a", 2, b"1"), samples.storage("Deep")))
    assert streams(data) == {**{each.name: each.data for each in children}, "Storage/a": b"1"}
    assert write_compound(read_compound(data)) == data


def test_a_file_with_more_sectors_than_the_header_can_name() -> None:
    data = samples.compound(Node("big", 2, b"x" * 16_000_000), Node("small", 2, b"y"))
    assert {name: len(content) for name, content in streams(data).items()} == {"big": 16_000_000, "small": 1}
    assert read_compound(data).children[0].data in (b"x" * 16_000_000, b"y")


@pytest.mark.parametrize("damage", ["circle", "short", "siblings", "table", "deep"])
def test_damaged_files_are_refused(damage: str) -> None:
    data = bytearray(samples.compound(Node("a", 2, b"x" * 5000), Node("b", 2, b"y" * 5000)))
    if damage == "circle":  # the sector table leads back to the first sector
        place = data.index(struct.pack("<2L", 1, 2))
        data[place + 4 : place + 8] = bytes(4)
    elif damage == "short":
        del data[2000:]
    elif damage == "siblings":
        place = data.index(b"b\0") // 128 * 128
        data[place + 68 : place + 72] = struct.pack("<L", 1)
    elif damage == "table":  # its second sector is outside the file
        data[0x50:0x54] = struct.pack("<L", len(data))
    else:
        node = Node("x", 1)
        for _ in range(40):
            node = samples.storage("x", node)
        data = bytearray(samples.compound(node))
    if damage == "circle":
        assert sum(map(len, streams_or_none(bytes(data)) or [])) <= 10_000
    else:
        assert cure_office(bytes(data)) is None


def streams_or_none(data: bytes) -> list[bytes] | None:
    try:
        return [node.data for node in read_compound(data).walk()]
    except Uncurable:
        return None


# -- older files -------------------------------------------------------------------------------------------------------

CORPUS_OLD = {
    "autostart-encrypt-standardpassword.xls": ("VBA macros",),
    "dde-test-encrypt-standardpassword.xls": None,
    "dde-test-from-office2013-utf_16le-korean.doc.zip": ("DDE field",),
    "sample_with_calc_embedded.doc": ("embedded file calc.exe",),
    "sample_with_lnk_to_calc.doc": ("embedded file that cannot be read",),
    "sample_with_vba.ppt": ("VBA macros", "macro of a button"),
    "clam.ole.doc": ("embedded file Clam.exe",),
    "clam.ppt": ("embedded file clam.exe",),
    "embedded-simple-2007.doc": None,
    "embedded-simple-2007.pps": None,
    "embedded-simple-2007.xla": None,
}


@pytest.mark.parametrize("name", CORPUS_OLD)
def test_older_files_of_the_corpus(name: str) -> None:
    data = samples.corpus(name)
    cured = cure_office(data)
    assert (None if cured is None else cured.removed) == CORPUS_OLD[name]
    if cured is not None:
        left = streams(cured.data)
        assert not [path for path in left if re.search("macros|vba|PROJECT", path, re.IGNORECASE)]
        joined = b"".join(left.values())
        assert b"MZ\x90" not in joined
        assert not re.search(rb"DDEAUTO|D\0D\0E\0A\0U\0T\0O", joined)
        assert cure_office(cured.data) is None, "a second cure finds nothing to do"


def test_a_word_file_loses_its_macros_and_what_refers_to_them() -> None:
    fib = bytearray(2000)
    struct.pack_into("<H", fib, 0, 0xA5EC)
    struct.pack_into("<H", fib, 0x0A, 0x0200)
    struct.pack_into("<2L", fib, 0x9A + 8 * 24, 100, 50)
    struct.pack_into("<2L", fib, 0x9A + 8 * 16, 0, 16)  # two fields: three positions, two descriptors of two bytes
    text = b'Dear Anna \x13 DDEAUTO c:\\windows\\cmd.exe "/k calc" \x14shown\x15 bye'
    table = struct.pack("<3L", 1, 5, 9) + b"\x13\x2e\x15\x80" + bytes(200)
    data = samples.compound(
        Node("WordDocument", 2, bytes(fib) + text),
        Node("1Table", 2, table),
        samples.storage("Macros", *samples.project()),
        samples.storage("ObjectPool", samples.storage("_1", samples.native(b"letter.txt", b"harmless"))),
        Node("\x05SummaryInformation", 2, b"s"),
    )
    cured = cure_office(data)
    assert cured is not None
    assert cured.removed == ("VBA macros", "DDE field")
    left = streams(cured.data)
    assert sorted(left) == sorted(["WordDocument", "1Table", "ObjectPool/_1/\x01Ole10Native", "\x05SummaryInformation"])
    assert struct.unpack_from("<2L", left["WordDocument"], 0x9A + 8 * 24) == (100, 0)
    assert b"DDE" not in left["WordDocument"]
    assert b"cmd.exe" not in left["WordDocument"]
    assert b"Dear Anna \x13    " in left["WordDocument"]
    assert b"\x14shown\x15 bye" in left["WordDocument"]
    assert len(left["WordDocument"]) == len(fib) + len(text)
    assert left["1Table"] == table.replace(b"\x13\x2e", b"\x13\x23")


def test_a_presentation_says_no_more_that_it_has_macros() -> None:
    cured = cure_office(samples.corpus("sample_with_vba.ppt"))
    assert cured is not None
    stream = streams(cured.data)["PowerPoint Document"]
    atom = stream.index(struct.pack("<2HL", 2, 0x0400, 12))
    assert struct.unpack_from("<3L", stream, atom + 8) == (0, 0, 2)


@pytest.mark.parametrize(("magic", "flags"), [(0xA5EC, 0x0100), (0xA5DC, 0)])
def test_encrypted_and_very_old_word_files_are_not_cured(magic: int, flags: int) -> None:
    fib = bytearray(2000)
    struct.pack_into("<H", fib, 0, magic)
    struct.pack_into("<H", fib, 0x0A, flags)
    document = Node("WordDocument", 2, bytes(fib))
    assert cure_office(samples.compound(document, samples.storage("Macros", *samples.project()))) is None


def test_mails_installers_and_encrypted_packages_are_not_cured() -> None:
    macros = samples.storage("Macros", *samples.project())
    for name in ("EncryptedPackage", "__properties_version1.0"):
        assert cure_office(samples.compound(Node(name, 2, b"x"), macros)) is None
    root = Node("Root Entry", 5)
    root.clsid = bytes.fromhex("84100c0000000000c000000000000046")
    root.children = [macros]
    assert cure_office(write_compound(root)) is None


def records(data: bytes) -> list[tuple[int, bytes]]:
    found, position = [], 0
    while position < len(data):
        kind, length = struct.unpack_from("<2H", data, position)
        found.append((kind, data[position + 4 : position + 4 + length]))
        position += 4 + length
    return found


@pytest.mark.parametrize("name", [b"\x01", b"\x02", b"\x0a", b"\x0b"])
def test_macro_sheets_become_worksheets_without_formulas(name: bytes) -> None:
    stream = samples.macro_workbook(name=name)
    cured = cure_office(samples.compound(Node("Workbook", 2, stream)))
    assert cured is not None
    assert "macro sheet" in cured.removed
    out = streams(cured.data)["Workbook"]
    assert len(out) == len(stream)
    found = records(out)
    assert [kind for kind, _ in found] == [0x01C0 if kind == 0x00D3 else kind for kind, _ in records(stream)]
    assert [struct.unpack_from("<2H", data)[1] for kind, data in found if kind == 0x0809] == [5, 0x10, 0x10]
    assert [data[5] for kind, data in found if kind == 0x0085] == [0, 0]
    (text,) = [data[22:] for kind, data in found if kind == 0x0006]
    assert text == b"\x17\x08\0" + b" " * 8
    (names,) = [data for kind, data in found if kind == 0x0018]
    assert struct.unpack_from("<H", names)[0] & 0x0FEE == 0
    assert names[15] >= 0xC0


@pytest.mark.parametrize("length", [3, 4, 5, 100, 257, 258, 259, 260, 261, 262, 263, 520, 1800])
def test_formulas_of_any_length_become_texts(length: int) -> None:
    stream = samples.macro_workbook(tokens=b"\x42" * length)
    out, _ = disarm_workbook(stream)
    (tokens,) = [data[22:] for kind, data in records(out) if kind == 0x0006]
    assert len(tokens) == length
    stack = position = 0
    while position < length:
        if tokens[position] == 0x17:
            stack, position = stack + 1, position + 3 + tokens[position + 1]
        else:
            assert tokens[position] == 0x08
            stack, position = stack - 1, position + 1
    assert (stack, position) == (1, length)


def test_names_in_words_lose_their_meaning() -> None:
    out, removed = disarm_workbook(samples.macro_workbook(name=b"Auto_OpenX", flags=0x000E))
    assert removed == ["name Auto_OpenX", "macro sheet"]
    assert b"was__OpenX" in out


def test_encrypted_old_and_cut_off_workbooks_are_not_cured() -> None:
    stream = samples.macro_workbook()
    start = stream[:20]
    with pytest.raises(Uncurable):
        disarm_workbook(start + samples.record(0x002F, b"\0" * 6) + stream[20:])
    with pytest.raises(Uncurable):
        disarm_workbook(stream.replace(b"\0\x06\x40\0", b"\0\x05\x40\0"))
    with pytest.raises(Uncurable):
        disarm_workbook(stream[:-6])


def test_embedded_programs_go_and_other_files_stay() -> None:
    def pool(*natives: Node) -> bytes:
        return samples.compound(
            Node("\x05Summary", 2, b"s"),
            *(samples.storage(f"MBD{number}", each) for number, each in enumerate(natives)),
        )

    cases = {
        (b"letter.txt", b"hello"): None,
        (b"letter.txt", PROGRAM): ("embedded file letter.txt",),
        (b"x.pdf.vbs ", b"code"): ("embedded file x.pdf.vbs ",),
        (b"x.txt", b"#!/bin/sh\n"): ("embedded file x.txt",),
    }
    for (name, content), removed in cases.items():
        cured = cure_office(pool(samples.native(name, content)))
        assert (None if cured is None else cured.removed) == removed
        if cured is not None:
            assert content not in cured.data
    known = b"known to be bad"
    both = pool(samples.native(b"a.txt", known), samples.native(b"b.txt", b"hello"))
    removed_one = cure_office(both, [bad(known)])
    replaced = cure_office(both, [bad(known, b"CURED")])
    assert removed_one is not None
    assert replaced is not None
    for cured in (removed_one, replaced):
        assert known not in cured.data
        assert b"hello" in cured.data
    assert b"CURED" in replaced.data


# -- newer files -------------------------------------------------------------------------------------------------------

CORPUS_NEW = {
    "excel4_sample_macro.xltm": ("name that runs by itself", "macro sheet"),
    "dde-test.docm": ("field that starts or fetches something",),
    "dde-test.xlsm": ("DDE link",),
    "dde-test.xlsx": ("DDE link",),
    "dde-test-encrypt-standardpassword.xlsb": None,
    "autostart-encrypt-standardpassword.xlsb": ("VBA macros",),
    "sample_with_external_link_to_doc.docm": ("external oleobject",),
    "sample_with_external_link_to_doc.pptx": ("external oleobject",),
    "sample_with_external_link_to_doc.xlsb": ("external oleobject",),
    "harmless-clean.docm": None,
    "embedded-simple-2007.docx": None,
    "presentation.xps": None,
}


@pytest.mark.parametrize("name", CORPUS_NEW)
def test_newer_files_of_the_corpus(name: str) -> None:
    data = samples.corpus(name)
    cured = cure_new(data, name)
    assert (None if cured is None else cured.removed) == CORPUS_NEW[name]
    if cured is not None:
        before, after = parts(data), parts(cured.data)
        assert not [each for each in after if "vba" in each.lower()]
        same = [each for each in after if after[each] == before.get(each)]
        assert len(same) >= len(before) - 5
        assert cure_new(cured.data, name) is None, "a second cure finds nothing to do"


@pytest.mark.parametrize(("name", "macro_type"), [("x.docm", True), ("x.doc", False), ("", False), ("X.DOCX", False)])
def test_a_document_loses_its_macros_and_all_that_names_them(name: str, macro_type: bool) -> None:
    data = samples.docm(field_of_no_harm := samples.field(" PAGE "))
    cured = cure_new(data, name)
    assert cured is not None
    assert cured.removed == ("VBA macros",)
    before, after = parts(data), parts(cured.data)
    assert set(before) - set(after) == {
        "word/vbaProject.bin", "word/vbaData.xml", "word/_rels/vbaProject.bin.rels",
    }  # fmt: skip
    assert after["word/document.xml"] == before["word/document.xml"]
    assert field_of_no_harm.encode() in after["word/document.xml"]
    types = after["[Content_Types].xml"]
    assert b"vba" not in types.lower()
    assert (b"macroEnabled" in types) is macro_type
    assert (b"wordprocessingml.document.main+xml" in types) is not macro_type
    assert b"vba" not in after["word/_rels/document.xml.rels"]


@pytest.mark.parametrize(
    ("instruction", "pieces"),
    [
        (' DDEAUTO c:\\\\cmd.exe "/k calc" ', 1),
        (' DDEAUTO c:\\\\cmd.exe "/k calc" ', 9),
        (" dde Excel x ", 2),
        (' INCLUDETEXT "http://e.org/x" ', 1),
        (" LINK Word.Document http://e.org/x ", 3),
        (" QUOTE 68 68 69 65 85 84 79 ", 1),
    ],
)
def test_harmful_fields_are_emptied_and_what_they_show_stays(instruction: str, pieces: int) -> None:
    simple = f'<w:fldSimple w:instr="{instruction.replace(chr(34), "&quot;")}"><w:r><w:t>too</w:t></w:r></w:fldSimple>'
    for body in (samples.field(instruction, pieces=pieces), f"<w:p>{simple}</w:p>"):
        cured = cure_new(samples.docm(body + samples.field(" PAGE "), vba=False))
        assert cured is not None
        document = parts(cured.data)["word/document.xml"]
        instructions = "".join(etree.fromstring(document).itertext("{*}instrText"))
        assert instructions.split() == ["PAGE"]
        for gone in (b"e.org", b"calc", b"Excel", b"68"):
            assert gone not in document
        assert b"shown" in document
        assert b"Dear Anna" in document


def test_links_out_of_a_document_lead_nowhere_but_those_people_click() -> None:
    links = (
        (f"{OFFICE}/attachedTemplate", "http://e.org/t.dotm", "External"),
        (f"{OFFICE}/hyperlink", "http://e.org/page", "External"),
        (f"{OFFICE}/frame", "\\\\e.org\\x", "External"),
    )
    cured = cure_new(samples.docm(vba=False, links=links))
    assert cured is not None
    assert cured.removed == ("external attachedtemplate", "external frame")
    rows = etree.fromstring(parts(cured.data)["word/_rels/document.xml.rels"])
    assert [each.get("Target") for each in rows] == ["removed", "http://e.org/page", "removed"]


def test_what_a_dde_link_gave_stays_as_a_value() -> None:
    data = samples.corpus("dde-test.xlsx")
    cured = cure_new(data, "dde-test.xlsx")
    assert cured is not None
    before, after = parts(data), parts(cured.data)
    link = after["xl/externalLinks/externalLink1.xml"]
    assert b"dde" not in link.lower()
    assert b"externalBook" in link
    assert "xl/calcChain.xml" in before
    assert "xl/calcChain.xml" not in after
    assert b"calcChain" not in b"".join(after.values())
    sheet, old = (each["xl/worksheets/sheet1.xml"] for each in (after, before))
    assert b"[1]!" in old
    assert b"[1]!" not in sheet
    values = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}v"
    assert [each.text for each in etree.fromstring(sheet).iter(values)] == [
        each.text for each in etree.fromstring(old).iter(values)
    ]


def test_embedded_files_are_disarmed_where_they_are() -> None:
    inner = samples.docm()
    data = samples.docm(
        "",
        ("word/embeddings/oleObject1.bin", samples.compound(samples.native(b"x.exe", PROGRAM))),
        ("word/embeddings/inner.docm", inner),
        ("word/embeddings/known.bin", b"known to be bad"),
        ("word/media/image1.png", b"picture"),
        vba=False,
    )
    cured = cure_new(data, "x.docx", bad(b"known to be bad"))
    assert cured is not None
    assert cured.removed == ("VBA macros", "embedded file x.exe", "embedded file word/embeddings/known.bin")
    after = parts(cured.data)
    assert PROGRAM not in after["word/embeddings/oleObject1.bin"]
    assert "word/vbaProject.bin" not in parts(after["word/embeddings/inner.docm"])
    assert streams(after["word/embeddings/known.bin"]) == {}
    assert after["word/media/image1.png"] == b"picture"
    assert cure_new(data, "x.docx", bad(b"picture")) is None, "a part of the document itself is bad"


def test_a_signature_that_breaks_goes_and_is_named() -> None:
    signed = samples.docm("", ("_xmlsignatures/sig1.xml", "<s/>"), ("_xmlsignatures/origin.sigs", ""))
    cured = cure_new(signed)
    assert cured is not None
    assert cured.removed == ("VBA macros", "digital signature")
    assert not [name for name in parts(cured.data) if "signature" in name]
    assert cure_new(samples.docm("", ("_xmlsignatures/sig1.xml", "<s/>"), vba=False)) is None


def test_packages_that_can_be_read_in_two_ways_are_not_cured() -> None:
    assert cure_new(samples.docm("", ("WORD/vbaproject.bin", b"another"))) is None
    assert cure_new(samples.docm("", ("word/settings.xml", '<!DOCTYPE x><x instr="definedName"/>'))) is None
    assert cure_new(samples.docm() + b"more") is None
    assert cure_new(samples.package(("a.txt", "no document"))) is None


# -- OpenDocument ------------------------------------------------------------------------------------------------------


def test_an_opendocument_file_loses_its_macros() -> None:
    event = (
        '<office:event-listeners><script:event-listener script:event-name="dom:load" xlink:href='
        '"vnd.sun.star.script:Standard.Module1.Main?language=Basic"/></office:event-listeners>'
    )
    body = '<text:p><text:a xlink:href="vnd.sun.star.script:x">click</text:a> tail</text:p>'
    data = samples.odt(body, event)
    cured = cure_odf(data, [], budget())
    assert cured is not None
    assert cured.removed == ("Basic macros", "scripts", "script on an event", "link to a script")
    after = parts(cured.data)
    assert sorted(after) == ["META-INF/manifest.xml", "content.xml", "mimetype"]
    assert cured.data[30:38] == b"mimetype"
    assert b"Basic" not in after["META-INF/manifest.xml"]
    assert b"script:x" not in after["content.xml"]
    for kept in (b"Dear Anna", b"click", b" tail"):
        assert kept in after["content.xml"]
    assert cure_odf(cured.data, [], budget()) is None


def test_an_encrypted_opendocument_file_is_not_cured() -> None:
    data = samples.odt()
    sound = parts(data)
    manifest = sound["META-INF/manifest.xml"].replace(b"</m:manifest>", b"<m:encryption-data/></m:manifest>")
    rows = [(name, manifest if name.startswith("META") else content) for name, content in sound.items()]
    assert cure_odf(samples.package(*rows), [], budget()) is None


# -- all ---------------------------------------------------------------------------------------------------------------


def test_the_plan_knows_every_kind_of_document() -> None:
    workbook = samples.compound(Node("Workbook", 2, samples.macro_workbook()))
    cases = {
        Kind.OLE: workbook,
        Kind.OOXML: samples.docm(),
        Kind.ODF: samples.odt(),
        Kind.HTML: b"<p>x</p><script>y</script>",
        Kind.SVG: b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
    }
    for kind, data in cases.items():
        assert plan_cure(ScanObject(data, "x", kind=kind), [], budget()) is not None
        assert plan_cure(ScanObject(b"", "x", kind=kind), [], budget()) is None
    assert plan_cure(ScanObject(workbook, kind=Kind.RTF), [], budget()) is None
    assert plan_cure(ScanObject(workbook), [], budget()) is None


def test_ruined_documents_are_no_trouble() -> None:
    dice = random.Random(11)
    workbook = samples.compound(Node("Workbook", 2, samples.macro_workbook()), samples.native(b"x.exe", PROGRAM))
    for data in (workbook, samples.compound(*samples.project()), samples.docm(), samples.odt()):
        for _ in range(250):
            ruined = bytearray(data[: dice.randrange(len(data))] if dice.random() < 0.2 else data)
            for _ in range(dice.randrange(1, 10)):
                if ruined:
                    ruined[dice.randrange(len(ruined))] = dice.choice((0, 1, 0xFF, dice.randrange(256)))
            cure_office(bytes(ruined))
            cure_ooxml(bytes(ruined), "x", [], budget())
            cure_odf(bytes(ruined), [], budget())
