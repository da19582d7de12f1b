"""What hides in documents comes out as members: each kind, each disguise, and what cannot be read is said."""

import base64
import binascii
import contextlib
import io
import math
import struct
import time
import zlib

import pikepdf
import pytest
from tests.unit.antivirus import document_samples as samples

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.unpack import is_opened, open_container
from gatepost.model.finding import ScanOptions

PROGRAM = samples.PROGRAM


def opening(passwords: tuple[str, ...] = (), **changes: int) -> Opening:
    options = ScanOptions(**changes)
    return Opening(Budget(options, math.inf), options, passwords)


def opened(data: bytes, *passwords: str, name: str = "") -> list[Member]:
    kind = detect_kind(data, name)
    assert kind is not None
    inside = opening(passwords)
    assert is_opened(kind, inside)
    return list(open_container(data, kind, name, inside))


def texts(members: list[Member], content_type: str) -> str:
    return "\n".join(member.data.decode() for member in members if member.content_type == content_type and member.data)


def contents(members: list[Member]) -> list[bytes | None]:
    return [member.data for member in members]


def troubles(members: list[Member]) -> list[str]:
    return [member.trouble for member in members if member.trouble]


# -- compound files --------------------------------------------------------------------------------------------------


def test_a_stream_called_as_that_of_an_encrypted_document_hides_no_other() -> None:
    streams = {("ObjectPool", "_1", "\x01Ole10Native"): samples.package(PROGRAM), ("_2", "EncryptedPackage"): b"x" * 99}
    members = opened(samples.compound(streams))
    assert any(member.protected for member in members)
    assert PROGRAM in contents(members)


@pytest.mark.parametrize("place", [("_2",), ()])
def test_a_stream_called_as_an_encrypted_document_is_looked_at_where_it_is_none(place: tuple[str, ...]) -> None:
    streams = {("WordDocument",): bytes(600), (*place, "EncryptedPackage"): PROGRAM}
    members = opened(samples.compound(streams))
    assert any(member.protected for member in members)
    assert any((content or b"").startswith(PROGRAM) for content in contents(members)) is bool(place)


@pytest.mark.parametrize("others", [("_1", "FileHeader"), ("DocOptions", "fileheader")])
def test_a_second_header_elsewhere_does_not_hide_a_document_of_hancom(others: tuple[str, ...]) -> None:
    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05000000, 1)
    packed = zlib.compress(PROGRAM, wbits=-zlib.MAX_WBITS)
    streams = {("FileHeader",): header, ("BinData", "BIN0001.ps"): packed, others: b"HWP Document".ljust(40, b"\2")}
    members = opened(samples.compound(streams), name="a.hwp")
    assert any(content is not None and content.startswith(PROGRAM) for content in contents(members))
    assert not any(member.protected for member in members)


def test_vba_source_comes_out() -> None:
    source = b'Attribute VB_Name = "Module1"\r\nSub AutoOpen()\r\n  Shell "calc.exe"\r\nEnd Sub\r\n'
    members = opened(samples.document_with_macros(source))
    assert source.decode() in texts(members, "text/x-vba")
    assert texts(members, "text/x-vba-stomped") == ""
    assert troubles(members) == []


def test_source_that_lacks_what_is_compiled_is_shown_as_stomped() -> None:
    compiled = bytes(100) + b"\xb9\x00\x17\x00powershell -enc AAAAAAA" + bytes(20)
    members = opened(samples.document_with_macros(b'Attribute VB_Name = "Module1"\r\n', compiled))
    assert "powershell -enc" in texts(members, "text/x-vba-stomped")


def test_compiled_texts_that_are_in_the_source_are_no_news() -> None:
    compiled = bytes(100) + b"\xb9\x00\x08\x00calc.exe" + bytes(20)
    members = opened(samples.document_with_macros(b'Shell "calc.exe"', compiled))
    assert texts(members, "text/x-vba-stomped") == ""


def test_a_module_the_directory_misplaces_or_does_not_name_is_found() -> None:
    source = b'Attribute VB_Name = "x"\r\nSub Document_Open()\r\n'
    streams = samples.vba_streams(source, bytes(40), offset=7)
    streams["hidden"] = bytes(11) + samples.vba_compress(b'Attribute VB_Name = "h"\r\nSub AutoClose()\r\n')
    streams["dir"] = streams["dir"][:60]
    text = texts(opened(samples.compound({("VBA", name): data for name, data in streams.items()})), "text/x-vba")
    assert "Document_Open" in text
    assert "AutoClose" in text


@pytest.mark.parametrize("page", [0, 874, 10_000, 65_001, 65_535])
def test_source_in_every_code_page(page: int) -> None:
    streams = samples.vba_streams(b'Attribute VB_Name = "x"\r\nSub AutoOpen()\r\n', page=page)
    text = texts(opened(samples.compound({("VBA", name): data for name, data in streams.items()})), "text/x-vba")
    assert "AutoOpen" in text


def test_a_packaged_program_comes_out_under_its_name() -> None:
    stream = samples.package(PROGRAM)
    members = opened(samples.compound({("ObjectPool", "_1", "\x01Ole10Native"): stream}))
    assert ("invoice.exe", PROGRAM) in [(member.name, member.data) for member in members]


def test_a_package_that_lies_about_its_length_is_given_whole() -> None:
    data = samples.package(PROGRAM) + PROGRAM * 50
    assert any(
        PROGRAM * 50 in (content or b"") for content in contents(opened(samples.compound({("\x01Ole10Native",): data})))
    )


def test_every_stream_is_a_member_in_one_piece() -> None:
    members = opened(samples.compound({("Binary.x",): PROGRAM * 100, ("a", "b"): b"second"}))
    assert any((content or b"").startswith(PROGRAM * 100) for content in contents(members))
    assert any((content or b"").startswith(b"second") for content in contents(members))


@pytest.mark.parametrize("wide", [False, True])
def test_dde_fields_of_older_documents(wide: bool) -> None:
    field = '\x13 DDEAUTO c:\\\\windows\\\\cmd.exe "/k calc"\x14\x15'
    text = field.encode("utf-16-le" if wide else "latin-1")
    assert "DDEAUTO" in texts(opened(samples.compound({("WordDocument",): bytes(512) + text})), "text/x-office-field")


def test_macro_sheets_and_program_links_of_older_workbooks() -> None:
    def record(number: int, data: bytes) -> bytes:
        return struct.pack("<HH", number, len(data)) + data

    formula = b"\x17\x08\x00calc.exe" + b"\x42\x01\x6e\x00"
    book = record(0x809, bytes((0, 6, 5, 0))) + record(0x85, bytes(4) + b"\x02\x01\x02\x00M1")
    book += record(0x18, struct.pack("<HBBH", 0x20, 0, 1, 0) + bytes(8) + b"\x00\x01")
    book += record(0x1AE, struct.pack("<HHB", 1, 11, 0) + b"cmd\x03/c calc")
    book += record(0x809, bytes((0, 6, 0x40, 0)))
    book += record(0x06, struct.pack("<HH", 2, 0) + bytes(16) + struct.pack("<H", len(formula)) + formula)
    members = opened(samples.compound({("Workbook",): book}))
    macros = texts(members, "text/x-xlm-macro")
    assert "'M1', very hidden" in macros
    assert "Auto_Open" in macros
    assert 'R3C1 = "calc.exe" EXEC' in macros
    assert "DDE cmd /c calc" in texts(members, "text/x-office-field")


def test_outlook_messages_give_body_and_attachments() -> None:
    attached = ("__attach_version1.0_#00000000",)
    data = samples.compound(
        {
            (*attached, "__substg1.0_37010102"): PROGRAM,
            (*attached, "__substg1.0_3707001F"): "invoice.exe".encode("utf-16-le"),
            ("__substg1.0_1013001F",): "<p>hello</p>".encode("utf-16-le"),
            ("__substg1.0_007D001F",): "From: a".encode("utf-16-le"),
        },
        bytes.fromhex("0b0d020000000000c000000000000046"),
    )
    members = {member.name: member for member in opened(data)}
    assert (members["invoice.exe"].data or b"").startswith(PROGRAM)
    assert members["HTML body"].content_type == "text/html"
    assert members["headers"].data == b"From: a"


@pytest.mark.parametrize("cut", [100, 511, 513, 4200, 5000])
def test_cut_compound_files_never_fail(cut: int) -> None:
    data = samples.document_with_macros(b'Attribute VB_Name = "x"\r\n')
    list(open_container(data[:cut], detect_kind(data), "", opening()))  # type: ignore[arg-type]


def test_chains_that_loop_end() -> None:
    data = bytearray(samples.compound({("a",): b"x" * 10_000}))
    table = 512
    for number in range(8, 200):
        struct.pack_into("<L", data, table + 4 * number, 8 + (number - 7) % 20)
    started = time.process_time()
    list(open_container(bytes(data), detect_kind(bytes(data)), "", opening()))  # type: ignore[arg-type]
    assert time.process_time() - started < 5


# -- newer Office form -----------------------------------------------------------------------------------------------

REFERENCES = [
    ("attachedTemplate", "http://example.org/a.dotm", True),
    ("oleObject", "mhtml:http://example.org/a!x-usc:http://example.org/b", True),
    ("hyperlink", "https://example.org/", False),
    ("hyperlink", "file:///c:/windows/system32/calc.exe", True),
]


@pytest.mark.parametrize(("kind", "target", "shown"), REFERENCES)
def test_references_that_lead_outside(kind: str, target: str, shown: bool) -> None:
    rels = f'<Relationships><x:Relationship Type="http://a/{kind}" Target="{target}" TargetMode="External"/></Relationships>'
    found = texts(opened(samples.word(("word/_rels/document.xml.rels", rels.encode()))), "text/x-office-relationship")
    assert (f"{kind} {target}" in found) is shown


FIELDS = {
    "in runs": b'<w:fldChar w:fldCharType="begin"/><w:instrText>DDE</w:instrText></w:r><w:r><w:instrText>AUTO cmd</w:instrText>'
    b'<w:fldChar w:fldCharType="end"/>',
    "references": b'<w:instrText xml:space="preserve">&#68;&#x44;EAUTO cmd</w:instrText>',
    "simple": b"<w:fldSimple w:dirty='1' w:instr='DDEAUTO cmd'/>",
    "cdata": b"<w:instrText><![CDATA[DDEAUTO cmd]]></w:instrText>",
    "other prefix": b"<x:instrText>DDEAUTO cmd</x:instrText>",
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("form", FIELDS)
def test_fields_in_every_form(form: str, wide: bool) -> None:
    part = b"<?xml version='1.0'?><w:document>" + FIELDS[form] + b"</w:document>"
    part = part.decode().encode("utf-16") if wide else part
    assert "DDEAUTO cmd" in texts(opened(samples.word(("anywhere/part.xml", part))), "text/x-office-field")


def test_ordinary_fields_are_not_shown() -> None:
    part = b"<w:document><w:instrText> PAGE </w:instrText><w:fldSimple w:instr='TOC \\o'/></w:document>"
    assert texts(opened(samples.word(("word/x.xml", part))), "text/x-office-field") == ""


def test_macro_sheets_names_and_links_of_newer_workbooks() -> None:
    members = opened(
        samples.word(
            ("xl/hidden.xml", b'<xm:macrosheet><f>EXEC("calc")</f><c><f t="x">HALT()</f></c></xm:macrosheet>'),
            ("xl/workbook.xml", b'<workbook><definedName name="_xlnm.Auto_Open">M1!$A$1</definedName></workbook>'),
            ("xl/link.xml", b'<externalLink><ddeLink ddeService="cmd" ddeTopic="/c calc"/></externalLink>'),
        )
    )
    macros = texts(members, "text/x-xlm-macro")
    assert '=EXEC("calc")' in macros
    assert "=HALT()" in macros
    assert "Auto_Open = M1!$A$1" in macros
    assert "DDE cmd /c calc" in texts(members, "text/x-office-field")


def test_open_document_macros_events_and_references() -> None:
    content = (
        b'<office:x xmlns:office="urn:oasis:names:tc:opendocument"><script:event-listener script:event-name="dom:load" '
        b'xlink:href="vnd.sun.star.script:a.b"/><text:dde-connection-decl office:dde-application="cmd" '
        b'office:dde-topic="/c"/><draw:object xlink:href="http://example.org/a"/></office:x>'
    )
    module = b'<!DOCTYPE x PUBLIC "-//openoffice.org//DTD"><script:module>Shell(&quot;calc&quot;)</script:module>'
    members = opened(
        samples.zipped([("META-INF/manifest.xml", b""), ("content.xml", content), ("Basic/a.xml", module)])
    )
    assert 'Shell("calc")' in texts(members, "text/x-vba")
    links = texts(members, "text/x-office-field")
    assert "event dom:load vnd.sun.star.script:a.b" in links
    assert "DDE cmd /c" in links
    assert "object http://example.org/a" in texts(members, "text/x-office-relationship")


def test_xml_bombs_cost_nothing() -> None:
    deep = b"<?xml version='1.0'?><w:d>" + b"<w:p>" * 100_000 + b"<w:instrText>DDEAUTO x</w:instrText>"
    entities = b"<?xml version='1.0'?><!DOCTYPE a [" + b"".join(
        b'<!ENTITY e%d "%s">' % (number, b"&e%d;" % (number - 1) * 10) for number in range(1, 12)
    )
    members = opened(samples.word(("word/deep.xml", deep), ("word/entities.xml", entities + b"]><w:d>&e11;</w:d>")))
    assert "DDEAUTO x" in texts(members, "text/x-office-field")


def test_office_in_one_xml_file() -> None:
    active = b"ActiveMime\0\0" + bytes(38) + zlib.compress(samples.OLE_MARK + bytes(600))
    xml = (
        b'<?xml version="1.0"?><w:wordDocument><w:binData w:name="editdata.mso">' + base64.encodebytes(active)
        + b"</w:binData><Cell ss:Formula=\"=cmd|'/c calc'!A1\"/></w:wordDocument>"
    )  # fmt: skip
    members = opened(xml)
    assert "=cmd|'/c calc'!A1" in texts(members, "text/x-office-field")
    packed = next(member for member in members if member.name == "editdata.mso")
    assert contents(opened(packed.data or b"")) == [samples.OLE_MARK + bytes(600)]


# -- RTF -------------------------------------------------------------------------------------------------------------

OBJECT = samples.rtf_object(b"Package", samples.package(PROGRAM)[4:]).hex()
DISGUISES = {
    "plain": "{\\object\\objemb{\\*\\objdata " + OBJECT + "}}",
    "header cut": "{\\object{\\*\\objdata0" + "\n" + OBJECT.upper() + "}}",
    "blanks": "{\\*\\objdata " + " \r\n\t".join(OBJECT[place : place + 3] for place in range(0, len(OBJECT), 3)) + "}",
    "groups": "{\\*\\objdata " + OBJECT[:31] + "{\\*\\junk 41424344}{" + OBJECT[31:77] + "}" + OBJECT[77:] + "}",
    "words": "{\\*\\objdata " + OBJECT[:30] + "\\par\\b0 \\'41" + OBJECT[30:] + "}",
    "not hex": "{\\*\\objdata " + OBJECT[:30] + "xyz%$" + OBJECT[30:] + "}",
    "group open": "{\\*\\objdata " + OBJECT,
}


@pytest.mark.parametrize("form", DISGUISES)
def test_objects_in_rtf_in_every_disguise(form: str) -> None:
    members = opened(b"{\\rt" + DISGUISES[form].encode("latin-1"))
    assert ("invoice.exe", PROGRAM) in [(member.name, member.data) for member in members]


def test_binary_data_in_rtf_objects() -> None:
    raw = bytes.fromhex(OBJECT)
    data = b"{\\rtf1{\\*\\objdata " + raw[:20].hex().encode() + b"\\bin%d " % len(raw[20:]) + raw[20:] + b"}}"
    assert PROGRAM in contents(opened(data))


def test_what_rtf_objects_are_and_do() -> None:
    native = samples.rtf_object(b"Equation.3", b"\x1c\0\0\0formula").hex()
    members = opened(b"{\\rtf1{\\object\\objupdate{\\*\\objdata " + native.encode() + b"}}}")
    said = texts(members, "text/x-rtf-object")
    assert "class Equation.3" in said
    assert "updated when the document is opened" in said


def test_fields_and_templates_of_rtf() -> None:
    members = opened(
        b"{\\rtf1{\\*\\template http://example.org/a.dotm}{\\field{\\*\\fldinst {\\b D\\'44E}{AUTO cmd}}}}"
    )
    assert "DDEAUTO cmd" in texts(members, "text/x-office-field")
    assert "http://example.org/a.dotm" in texts(members, "text/x-office-relationship")


# -- PDF -------------------------------------------------------------------------------------------------------------


def pdf(encryption: pikepdf.Encryption | None = None, *, packed: bool = True) -> bytes:
    mode = pikepdf.ObjectStreamMode.generate if packed else pikepdf.ObjectStreamMode.disable
    with pikepdf.new() as document:
        document.add_blank_page()
        script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=document.make_stream(b"app.launchURL('x')"))
        document.Root.OpenAction = document.make_indirect(script)
        document.Root.AA = pikepdf.Dictionary(WC=pikepdf.Dictionary(S=pikepdf.Name.Launch, F=pikepdf.String("cmd.exe")))
        document.Root.AcroForm = pikepdf.Dictionary(
            XFA=document.make_stream(b"<xdp:xdp><script>xfa()</script></xdp:xdp>")
        )
        document.attachments["invoice.exe"] = PROGRAM
        out = io.BytesIO()
        document.save(out, object_stream_mode=mode, encryption=encryption or False)
    return out.getvalue()


def assert_all_of_the_pdf(members: list[Member]) -> None:
    assert "app.launchURL" in texts(members, "text/javascript")
    actions = texts(members, "text/x-pdf-action")
    assert "Launch" in actions
    assert "OpenAction" in actions
    assert "xfa()" in texts(members, "application/xfa+xml")
    assert PROGRAM in contents(members)


@pytest.mark.parametrize("packed", [True, False])
def test_pdf_files_scripts_actions_and_forms(packed: bool) -> None:
    members = opened(pdf(packed=packed))
    assert_all_of_the_pdf(members)
    assert troubles(members) == []


def test_encrypted_pdf() -> None:
    assert_all_of_the_pdf(opened(pdf(pikepdf.Encryption(owner="o", user=""))))
    locked = pdf(pikepdf.Encryption(owner="o", user="u"))
    assert [member.protected for member in opened(locked, "wrong")] == [True]
    members = opened(locked, "wrong", "u")
    assert_all_of_the_pdf(members)
    assert all(member.secret for member in members)


def test_escaped_names_and_addresses_of_programs() -> None:
    body = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Open#41ction<</S/J#61vaScript/J#53(run\\(1\\))>>/Pages 2 0 R>>endobj\n"
    body += b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1/A<</S/URI/URI(http://example.org/setup.exe?x)>>>>endobj\n"
    body += b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\n"
    members = opened(body + b"trailer<</Root 1 0 R/Size 4>>\n%%EOF")
    assert "run(1)" in texts(members, "text/javascript")
    assert "setup.exe" in texts(members, "text/x-pdf-action")


def test_a_damaged_pdf_gives_its_streams_and_says_so() -> None:
    data = pdf(packed=False)
    members = opened(data[: data.rindex(b"xref")].replace(b"/Root", b"/Rxxt").replace(b"/Catalog", b"/Cxtalog"))
    assert PROGRAM in contents(members)
    assert troubles(members)


@pytest.mark.parametrize(
    ("around", "body", "trouble"),
    [
        (b"", b"x/JS(y", False),  # chance in packed data: no reader can open the file, and nothing is in it
        (b"", b"x/Launched", False),
        (b"<</OpenAction 1 0 R>>", b"x", True),
        (b"", b"x\n7 0 obj<</JS(y)>>", True),  # a reader that repairs may find the object
        (b"", b"x\n7 0\nobj<</JS(y)>>", True),
    ],
)
def test_a_pdf_nobody_can_open_is_trouble_only_when_something_may_be_in_it(
    around: bytes, body: bytes, trouble: bool
) -> None:
    data = b"%PDF-1.5\n1 0 obj\n<</Length 9/Filter/FlateDecode>>\nstream\n" + body + b"\nendstream\nendobj\n" + around
    assert bool(troubles(opened(data + b"\ntrailer\n<</Root 1 0 R>>\n%%EOF\n"))) is trouble


def test_many_beginnings_of_streams_are_looked_through_once() -> None:
    data = b"%PDF-1.5\n/JS(x)\n" + b"1 0 obj <</Filter/FlateDecode>> stream\n" * 60_000 + b"endstream"
    started = time.process_time()
    assert troubles(opened(data))
    assert time.process_time() - started < 5


def test_pdf_object_streams_are_bounded() -> None:
    bomb = zlib.compress(bytes(17 << 20))
    head = b"%%PDF-1.5\n1 0 obj<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>\nstream\n" % len(bomb)
    with pytest.raises(OverBudget):
        opened(head + bomb + b"\nendstream endobj")


def test_an_ordinary_pdf_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with pikepdf.new() as document:
        document.add_blank_page()
        out = io.BytesIO()
        document.save(out, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    monkeypatch.setattr("gatepost.antivirus.openers.pdf._open", lambda *_: pytest.fail("opened"))
    assert opened(out.getvalue()) == []


# -- pages -----------------------------------------------------------------------------------------------------------

TEXT = samples.quoted_base64(PROGRAM)
SMUGGLED = {
    "base64": f'atob("{TEXT}")',
    "in pieces": f"\"{TEXT[:40]}\" + '{TEXT[40:90]}'+`{TEXT[90:]}`",
    "array of pieces": f'["{TEXT[:40]}","{TEXT[40:]}"].join("")',
    "backwards": f"\"{base64.b64encode(PROGRAM + b'x' * (-len(PROGRAM) % 3 or 2))[::-1].decode()}\".split('').reverse()",
    "numbers": f"new Uint8Array([{','.join(str(each) for each in PROGRAM)}])",
    "hex numbers": f"[{', '.join(hex(each) for each in PROGRAM)}]",
    "hex": f"'{PROGRAM.hex()}'",
    "escapes": "'" + "".join(f"\\x{each:02x}" for each in PROGRAM) + "'",
    "percent": "unescape('" + "".join(f"%{each:02X}" for each in PROGRAM) + "')",
}


@pytest.mark.parametrize("form", SMUGGLED)
def test_programs_smuggled_in_scripts(form: str) -> None:
    members = opened(f"<html><script>var x = {SMUGGLED[form]};</script></html>".encode())
    assert any((content or b"").startswith(PROGRAM[:200]) for content in contents(members))
    assert "var x" in texts(members, "text/javascript")


ADDRESSES = {
    "plain": f'<a href="data:application/x-msdownload;base64,{TEXT}">',
    "capitals": f"<a href='DATA:application/x-msdownload;Base64,{TEXT}'>",
    "reference": f'<a href="&#100;ata:application/x-msdownload;base64,{TEXT}">',
    "tab": f'<a href="da\tta:application/x-msdownload&semi;base64,{TEXT}">',
    "percent": '<a href="data:application/x-msdownload,' + "".join(f"%{each:02x}" for each in PROGRAM) + '">',
    "text of an element": f"<script>run()</script><textarea>{samples.quoted_base64(PROGRAM * 5)}</textarea>",
}


@pytest.mark.parametrize("form", ADDRESSES)
def test_programs_in_addresses(form: str) -> None:
    members = opened(f"<html><body>{ADDRESSES[form]}</body></html>".encode())
    assert any((content or b"").startswith(PROGRAM) for content in contents(members))


SCRIPTS = {
    "not closed": "<script>run()",
    "attributes": "<SCRIPT\nlanguage=JavaScript >run()</ScRiPt >",
    "svg": "<svg:script type='x'>run()</svg:script>",
    "address": "<a href=' java\nscript:run()'>",
    "references": "<a href='&#106;avascript&colon;run()'>",
    "handler": "<img src=x onerror = 'run()'>",
    "handler, no quotes": "<svg/onload=run()>",
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("form", SCRIPTS)
def test_scripts_of_pages(form: str, wide: bool) -> None:
    page = f"<html><body>{SCRIPTS[form]}</body></html>"
    assert "run()" in texts(opened(page.encode("utf-16" if wide else "utf-8")), "text/javascript")


def test_pages_inside_attributes() -> None:
    members = opened(b"<html><iframe srcdoc='&lt;script&gt;run()&lt;/script&gt;'></iframe>")
    assert b"<script>run()</script>" in contents(members)


def test_ordinary_pages_and_pictures_in_addresses_give_nothing() -> None:
    picture = samples.quoted_base64(b"\x89PNG\r\n\x1a\n" + bytes(60))
    page = f'<html><style>p{{}}</style><p>Based on the data: <a href="https://a?b&amp;c=1">x</a><img src="data:image/png;base64,{picture}">'
    assert opened(page.encode()) == []


@pytest.mark.parametrize(
    "piece",
    [
        b"<script",
        b"<script>",
        b"<a href='",
        b" onload=",
        b"data:a/b;",
        b"='&#",
        b"\"'`",
        b"[1,",
        b"'\\x41",
        b"<script\n>'A+ ",
    ],
)
def test_hostile_pages_are_read_in_linear_time(piece: bytes) -> None:
    def spent(size: int) -> float:
        data = b"<html><script>" + piece * (size // len(piece))
        started = time.process_time()
        with contextlib.suppress(OverBudget):
            list(open_container(data, detect_kind(data), "", opening()))  # type: ignore[arg-type]
        return time.process_time() - started

    assert spent(320_000) < 12 * spent(40_000) + 0.2


# -- small carriers and mail -----------------------------------------------------------------------------------------


def test_shortcuts() -> None:
    members = opened(samples.shortcut("/c powershell -w hidden", PROGRAM), name="photo.lnk")
    command = texts(members, "text/x-lnk-command")
    assert "relative path: ..\\cmd.exe" in command
    assert "arguments: /c powershell -w hidden" in command
    assert PROGRAM in contents(members)


def test_notebooks() -> None:
    members = opened(samples.notebook(PROGRAM, b"<job><script>"))
    assert contents(members) == [PROGRAM, b"<job><script>"]
    assert {member.content_type for member in members} == {"application/x-onenote-file"}
    assert troubles(opened(samples.notebook(PROGRAM)[:-40])) == ["the embedded file is cut off"]


def test_winmail_dat() -> None:
    members = opened(samples.tnef(PROGRAM))
    assert [(member.name, member.data) for member in members] == [
        ("text body", b"see attachment"),
        ("invoice.exe", PROGRAM),
    ]
    cut = opened(samples.tnef(PROGRAM)[:-20])
    assert PROGRAM.startswith(cut[-1].data or b"x")
    assert troubles(cut) == ["the attachment is cut off"]
    assert troubles(opened(samples.tnef(b"")[:20]))


def test_compressed_rtf_bodies() -> None:
    rtf = b"{\\rtf1 hello hello hello}"
    raw = struct.pack("<4L", len(rtf) + 12, len(rtf), 0x414C454D, 0) + rtf
    value = struct.pack("<LHHLL", 1, 0x102, 0x1009, 1, len(raw)) + raw + bytes(-len(raw) % 4)
    attribute = struct.pack("<BLL", 1, 0x69003, len(value)) + value + b"\0\0"
    assert (opened(b"\x78\x9f\x3e\x22\x01\0" + attribute)[0].data) == rtf


COMMON_SET = bytes.fromhex("0820060000000000c000000000000046")
SOUND = "\\\\203.0.113.5\\share\\a.wav"
REMINDER = "text/x-outlook-reminder"


@pytest.mark.parametrize(
    ("identity", "number", "seen"),
    [(COMMON_SET, 0x851F, True), (COMMON_SET, 0x851C, False), (bytes(16), 0x851F, False)],
)
def test_sounds_of_reminders(identity: bytes, number: int, seen: bool) -> None:
    text = (SOUND + "\0").encode("utf-16-le")
    value = struct.pack("<LHH", 1, 0x1F, 0x8003) + identity + struct.pack("<LLLL", 0, number, 1, len(text))
    value += text + bytes(-len(text) % 4)
    winmail = b"\x78\x9f\x3e\x22\x01\0" + struct.pack("<BLL", 1, 0x69003, len(value)) + value + b"\0\0"
    tables = "__nameid_version1.0"
    message = samples.compound(
        {
            ("__properties_version1.0",): bytes(32),
            (tables, "__substg1.0_00020102"): bytes.fromhex("11" * 16) + identity,
            (tables, "__substg1.0_00030102"): struct.pack("<LHHLHH", 0x8501, 6, 0, number, 8, 5),
            (tables, "__substg1.0_8005001F"): b"a list of numbers, not the property",
            ("__substg1.0_8005001F",): text[:-2],
        },
        bytes.fromhex("0b0d020000000000c000000000000046"),
    )
    assert texts(opened(winmail), REMINDER) == (f"sound: {SOUND}" if seen else "")
    assert texts(opened(message), REMINDER) == (f"sound: {SOUND}" if seen else "")


@pytest.mark.parametrize(
    "decoy", [("__substg1.0_00020102-1",), ("below", "__substg1.0_00020102")], ids=["named", "below"]
)
def test_no_second_table_of_names_hides_a_reminder(decoy: tuple[str, ...]) -> None:
    tables = "__nameid_version1.0"
    message = samples.compound(
        {
            ("__properties_version1.0",): bytes(32),
            (tables, "__substg1.0_00020102"): COMMON_SET,
            (tables, *decoy): bytes(16),
            (tables, "__substg1.0_00030102"): struct.pack("<LHH", 0x851F, 6, 5),
            ("__substg1.0_8005001F",): SOUND.encode("utf-16-le"),
        },
        bytes.fromhex("0b0d020000000000c000000000000046"),
    )
    assert texts(opened(message), REMINDER) == f"sound: {SOUND}"


@pytest.mark.parametrize(
    "filler", [struct.pack("<HHL", 3, 0x10, 0), struct.pack("<HHL", 0x1003, 0x10, 0)], ids=["values", "empty"]
)
def test_properties_in_great_number_hide_none_in_a_tnef_file(filler: bytes) -> None:
    count, text = 5000, SOUND.encode("utf-16-le")
    value = struct.pack("<L", count + 1) + filler * count
    value += struct.pack("<HH", 0x1F, 0x8003) + COMMON_SET + struct.pack("<LLLL", 0, 0x851F, 1, len(text)) + text
    winmail = b"\x78\x9f\x3e\x22\x01\0" + struct.pack("<BLL", 1, 0x69003, len(value)) + value + b"\0\0"
    assert texts(opened(winmail), REMINDER) == f"sound: {SOUND}"


def test_a_reminder_is_found_whatever_lies_beside_its_table_of_names() -> None:
    tables = "__NameID_version1.0"
    message = samples.compound(
        {
            ("__properties_version1.0",): bytes(32),
            (tables, "__substg1.0_00020102"): bytes(16) + COMMON_SET,
            (tables, "__substg1.0_0002001F"): b"no table",
            (tables, "__substg1.0_00030102"): struct.pack("<LHH", 0x851F, 8, 5) * 1000,
            ("__substg1.0_8005001F",): SOUND.encode("utf-16-le"),
        },
        bytes.fromhex("0b0d020000000000c000000000000046"),
    )
    assert texts(opened(message), REMINDER) == f"sound: {SOUND}"


MAIL = (
    b"From: a\r\nTo: b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n"
    b"--b\r\nContent-Type: application/x; name=invoice.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(PROGRAM).replace(b"\n", b"\r\n") + b"--b--\r\n"
)  # fmt: skip


def test_mail_files_give_header_and_parts() -> None:
    members = opened(MAIL)
    assert (members[0].name, members[0].content_type) == ("header", "text/rfc822-headers")
    assert ("invoice.exe", PROGRAM) in [(member.name, member.data) for member in members]


def test_mail_folders_give_messages() -> None:
    members = opened(b"From a Thu Jan  1 00:00:00 1970\r\n" + MAIL + b"\r\nFrom b\r\n" + MAIL)
    assert [(member.data or b"").startswith(b"From: a") for member in members] == [True, True]


@pytest.mark.parametrize("data", [MAIL, b"From a Thu Jan  1 00:00:00 1970\r\n" + MAIL])
def test_mail_bases_are_opened_by_option(data: bytes) -> None:
    kind = detect_kind(data)
    assert kind is not None
    for wanted in (True, False):
        options = ScanOptions(mail_bases=wanted)
        assert is_opened(kind, Opening(Budget(options, math.inf), options)) is wanted


def test_encoded_files() -> None:
    lines = b"\n".join(
        binascii.b2a_uu(PROGRAM[place : place + 45]).rstrip(b"\n") for place in range(0, len(PROGRAM), 45)
    )
    assert contents(opened(b"begin 644 invoice.exe\n" + lines + b"\n`\nend\n")) == [PROGRAM]
    yenc = bytes((each + 42) % 256 for each in b"plain text")
    assert contents(opened(b"=ybegin line=128 size=10 name=a.txt\r\n" + yenc + b"\r\n=yend size=10\r\n")) == [
        b"plain text"
    ]


# -- what every opener promises --------------------------------------------------------------------------------------

ALL = {
    "ole": samples.document_with_macros(b"Sub AutoOpen()"),
    "rtf": b"{\\rtf1" + DISGUISES["groups"].encode(),
    "docx": samples.word(("word/x.xml", b"<w:instrText>DDE x</w:instrText>")),
    "pdf": pdf(),
    "html": f"<html><script>{SMUGGLED['base64']}</script>".encode(),
    "lnk": samples.shortcut("/c x", PROGRAM),
    "onenote": samples.notebook(PROGRAM),
    "tnef": samples.tnef(PROGRAM),
    "mail": MAIL,
}


@pytest.mark.parametrize("name", ALL)
def test_budgets_end_every_opener(name: str) -> None:
    data = ALL[name]
    kind = detect_kind(data)
    assert kind is not None
    assert list(open_container(data, kind, "", opening()))
    with pytest.raises(OverBudget, match="members"):
        list(open_container(data, kind, "", opening(archive_members=0)))


@pytest.mark.parametrize("name", ALL)
def test_cut_and_spoilt_files_never_fail(name: str) -> None:
    data = ALL[name]
    kind = detect_kind(data)
    assert kind is not None
    step = max(1, len(data) // 40)
    for place in range(0, len(data), step):
        for spoilt in (data[:place], data[:place] + b"\xff\xff\xff\x7f" + data[place + 4 :]):
            for member in open_container(spoilt, kind, "", opening(unpacked_bytes=1 << 24)):
                assert "opening it failed" not in member.trouble
