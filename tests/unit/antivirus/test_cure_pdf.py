"""PDF files without what acts: what goes, what stays, and what is refused."""

import hashlib
import io
import random
import warnings
from collections.abc import Callable

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, Pdf, String

from gatepost.antivirus.cure import BadMember
from gatepost.antivirus.cure.pdf import cure_pdf

SCRIPT = b"app.alert('the worm')"


def pdf_of(change: Callable[[Pdf], None] = lambda _document: None, **save: object) -> bytes:
    document = Pdf.new()
    for words in ("Dear Anna", "see you"):
        page = document.add_blank_page(page_size=(300, 300))
        page.Contents = document.make_stream(b"BT /F1 24 Tf 20 200 Td (" + words.encode() + b") Tj ET")
        font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
        page.Resources = Dictionary(Font=Dictionary(F1=document.make_indirect(font)))
    change(document)
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # forms made by halves
        document.save(out, **save)
    return out.getvalue()


def script() -> Dictionary:
    return Dictionary(S=Name.JavaScript, JS=String(SCRIPT.decode()))


def annotate(document: Pdf, **entries: object) -> None:
    annotation = Dictionary(Type=Name.Annot, Rect=Array([0, 0, 10, 10]), **entries)
    document.pages[0].Annots = Array([document.make_indirect(annotation)])


def add_open_script(document: Pdf) -> None:
    document.Root.OpenAction = document.make_indirect(script())


def add_named_script(document: Pdf) -> None:
    document.Root.Names = Dictionary(
        JavaScript=Dictionary(Names=Array([String("a"), document.make_indirect(script())]))
    )


def add_script_stream(document: Pdf) -> None:
    document.Root.OpenAction = Dictionary(S=Name.JavaScript, JS=document.make_stream(SCRIPT))


def add_page_event(document: Pdf) -> None:
    document.pages[1].AA = Dictionary(O=script())


def add_launch(document: Pdf) -> None:
    annotate(document, Subtype=Name.Link, A=Dictionary(S=Name.Launch, F=String("the worm.exe")))


def add_chained(document: Pdf) -> None:
    action = Dictionary(S=Name.GoTo, D=Array([document.pages[0].obj, Name.Fit]), Next=Array([script()]))
    annotate(document, Subtype=Name.Link, A=action)


def add_file(document: Pdf) -> None:
    document.attachments["x.exe"] = b"MZ the worm"


def add_attachment_note(document: Pdf) -> None:
    stream = document.make_stream(b"MZ the worm", Type=Name.EmbeddedFile)
    annotate(document, Subtype=Name.FileAttachment, FS=Dictionary(Type=Name.Filespec, F="x", EF=Dictionary(F=stream)))


def add_xfa(document: Pdf) -> None:
    document.Root.AcroForm = Dictionary(Fields=Array(), XFA=document.make_stream(b"<script>the worm</script>"))


def add_script_link(document: Pdf) -> None:
    annotate(document, Subtype=Name.Link, A=Dictionary(S=Name.URI, URI=String(" JavaScript:the worm")))


def add_submit(document: Pdf) -> None:
    action = Dictionary(S=Name.SubmitForm, F=String("http://the worm"))
    annotate(document, Subtype=Name.Widget, FT=Name.Btn, T=String("go"), A=action)
    document.Root.AcroForm = Dictionary(Fields=Array([document.pages[0].Annots[0]]))


def add_rich_media(document: Pdf) -> None:
    annotate(document, Subtype=Name.RichMedia, RichMediaContent=Dictionary(x=document.make_stream(b"the worm")))


ADDERS = [each for name, each in sorted(globals().items()) if name.startswith("add_")]


def active_bytes(data: bytes) -> bytes:
    """Everything the file says, unpacked."""
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), pikepdf.open(io.BytesIO(data)) as document:
        document.save(
            out, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.all,
            object_stream_mode=pikepdf.ObjectStreamMode.disable,
        )  # fmt: skip
    return out.getvalue()


@pytest.mark.parametrize("add", ADDERS, ids=[each.__name__[4:] for each in ADDERS])
@pytest.mark.parametrize("packed", [False, True])
def test_what_acts_goes_and_pages_stay(add: Callable[[Pdf], None], packed: bool) -> None:
    mode = pikepdf.ObjectStreamMode.generate if packed else pikepdf.ObjectStreamMode.disable
    data = pdf_of(add, object_stream_mode=mode)
    assert b"the worm" in active_bytes(data)
    cured = cure_pdf(data)
    assert cured is not None
    assert cured.removed
    left = active_bytes(cured.data)
    assert b"the worm" not in left
    for mark in (
        b"/FileAttachment",
        b"/RichMedia",
        b"/JavaScript",
        b"/JS",
        b"/Launch",
        b"/EmbeddedFile",
        b"/XFA",
        b"/AA",
        b"/SubmitForm",
    ):
        assert mark not in left
    assert b"(Dear Anna)" in left
    assert b"(see you)" in left
    assert cure_pdf(cured.data) is None, "a second cure finds nothing to do"


def test_links_jumps_and_text_fields_stay() -> None:
    def change(document: Pdf) -> None:
        add_open_script(document)
        link = Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=Array([0, 0, 1, 1]))
        link.A = Dictionary(S=Name.URI, URI=String("https://example.org/"))
        jump = Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=Array([0, 0, 1, 1]))
        jump.A = Dictionary(S=Name.GoTo, D=Array([document.pages[1].obj, Name.Fit]))
        document.pages[0].Annots = Array([link, jump])
        field = Dictionary(FT=Name.Tx, T=String("name"), V=String("Anna"))
        document.Root.AcroForm = Dictionary(Fields=Array([document.make_indirect(field)]))

    cured = cure_pdf(pdf_of(change))
    assert cured is not None
    assert cured.removed == ("JavaScript",)
    left = active_bytes(cured.data)
    for mark in (b"https://example.org/", b"/GoTo", b"(Anna)"):
        assert mark in left


def test_older_revisions_leave_nothing() -> None:
    data = pdf_of(add_open_script)
    with pikepdf.open(io.BytesIO(data)) as document:
        catalog, generation = document.Root.objgen
        pages = document.Root.Pages.objgen[0]
    # A newer revision whose catalog knows of no script hides it: it is still in the file.
    start = len(data)
    revision = f"{catalog} {generation} obj\n<</Type/Catalog/Pages {pages} 0 R>>\nendobj\n"
    table = start + len(revision)
    previous = data.rpartition(b"startxref")[2].split()[0].decode()
    trailer = f"xref\n{catalog} 1\n{start:010} {generation:05} n \ntrailer\n<</Size 99/Root {catalog} {generation} R/Prev {previous}>>\n"
    data += (revision + trailer + f"startxref\n{table}\n%%EOF\n").encode()
    cured = cure_pdf(data)
    assert cured is not None
    assert cured.removed == ("JavaScript",)
    assert SCRIPT not in active_bytes(cured.data)
    assert b"(Dear Anna)" in active_bytes(cured.data)


def test_a_signature_that_breaks_is_named() -> None:
    def change(document: Pdf) -> None:
        add_open_script(document)
        value = document.make_indirect(Dictionary(Type=Name.Sig, Filter=Name("/Adobe.PPKLite"), Contents=String("x")))
        field = document.make_indirect(Dictionary(FT=Name.Sig, T=String("s"), V=value))
        document.Root.AcroForm = Dictionary(Fields=Array([field]), SigFlags=3)

    cured = cure_pdf(pdf_of(change))
    assert cured is not None
    assert cured.removed == ("JavaScript", "digital signature")
    assert b"PPKLite" not in active_bytes(cured.data)


def test_streams_known_to_be_bad_are_emptied() -> None:
    data = pdf_of(lambda document: setattr(document.Root, "X", document.make_stream(b"the worm")))
    assert cure_pdf(data) is None
    cured = cure_pdf(data, [BadMember("", hashlib.sha256(b"the worm").digest())])
    assert cured is not None
    assert b"the worm" not in active_bytes(cured.data)


def test_an_embedded_file_that_is_referred_to_elsewhere_is_none_any_more() -> None:
    def add(document: Pdf) -> None:
        stream = document.make_stream(b"the worm", Type=Name.EmbeddedFile)
        document.Root.Extensions = Dictionary(A=stream, B=Dictionary(Type=Name.Filespec, EF=Dictionary(F=stream)))

    cured = cure_pdf(pdf_of(add))
    assert cured is not None
    assert cured.removed == ("embedded file",)
    assert b"the worm" not in cured.data
    assert cure_pdf(cured.data) is None


def test_an_encrypted_file_is_cured_when_everybody_can_open_it() -> None:
    for password, outcome in (("", True), ("secret", False)):
        encryption = pikepdf.Encryption(owner="owner", user=password, R=6)
        cured = cure_pdf(pdf_of(add_open_script, encryption=encryption))
        assert (cured is not None) is outcome
        if cured is not None:
            assert b"(Dear Anna)" in active_bytes(cured.data)
            assert b"/JavaScript" not in active_bytes(cured.data)


def test_a_harmless_file_is_not_touched() -> None:
    assert cure_pdf(pdf_of()) is None
    assert cure_pdf(b"%PDF-1.7 and then nothing") is None
    assert cure_pdf(b"") is None


@pytest.mark.filterwarnings("ignore")
def test_ruined_files_are_no_trouble() -> None:
    dice = random.Random(5)
    for add in ADDERS:
        data = pdf_of(add)
        for _ in range(20):
            ruined = bytearray(data[: dice.randrange(len(data))] if dice.random() < 0.3 else data)
            for _ in range(dice.randrange(1, 12)):
                if ruined:
                    ruined[dice.randrange(len(ruined))] = dice.randrange(256)
            cured = cure_pdf(bytes(ruined))
            if cured is not None:
                assert b"/JavaScript" not in active_bytes(cured.data)
