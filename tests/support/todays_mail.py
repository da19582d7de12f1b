"""Letters of today, written for the tests: `read_letters` makes messages of the short form they are kept in.

A file is a row of letters. `==== kind language` begins one; header fields follow, then directives (`:form plain|both|html
page|shop|pictures`, `:via host` that brings it, `:attach name type`, `:header field`, `:sender address`), an empty line, and the
text, whose links are written `[words](address)`. `shop` is a page of the trade: tables, a style sheet, a preheader, a
picture that counts readers; `page` is what a mail program writes; `pictures` shows a large picture for every link.
"""

import base64
import html
import io
import quopri
import re
from collections.abc import Iterator
from email.header import Header
from pathlib import Path

import msgspec
from PIL import Image

from gatepost.model.spam import SpamOptions

NOW = 1_791_190_800.0
"""Monday, 5 October 2026, 9:00 UTC."""
_DATE = "Mon, 05 Oct 2026 08:58:41 +0000"
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_ADDRESS = re.compile(r"<?([^<>\s,;]+@[^<>\s,;]+)>?")
_BORDER = "b1_7f3a9c55d2e84e0a"
_OUTER = "b2_c01d22aa90fe4417"
_STYLE = (
    "body{margin:0;background:#f4f4f4;font-family:Arial,sans-serif}.w{width:600px;background:#ffffff}"
    ".b{background:#0a5c36;color:#ffffff;padding:12px 24px;text-decoration:none;border-radius:4px}"
    "@media only screen and (max-width:620px){.w{width:100%}}"
)
_PICTURE = '<img src="https://img.{}/i/{}.jpg" width="600" border="0" alt="">'
_SAMPLE_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n%%EOF\n"
)


class TodaysMail(msgspec.Struct, frozen=True):
    """One letter, ready to be judged."""

    kind: str
    language: str
    content: bytes
    options: SpamOptions


def read_letters(paths: list[Path]) -> Iterator[TodaysMail]:
    """Yield the letters of the files in order."""
    for path in paths:
        for block in re.split(r"^==== ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            yield _make(block)


def _make(block: str) -> TodaysMail:
    head, _, text = block.partition("\n\n")
    title, *lines = head.split("\n")
    kind, language = title.split()
    fields = [line for line in lines if not line.startswith(":")]
    told: dict[str, str] = {}
    for line in lines:
        if line.startswith(":header "):
            fields.append(line.removeprefix(":header "))
        elif line.startswith(":"):
            name, _, value = line[1:].partition(" ")
            told[name] = value
    shape, _, look = told["form"].partition(" ")
    values = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    found = _ADDRESS.search(values["from"])
    author = found[1] if found is not None else ""
    sender = "" if told.get("sender") == "<>" else told.get("sender", author)
    named = _ADDRESS.search(values.get("to", ""))
    recipient = named[1] if named is not None else "jo.marsh@recipient.example"
    body = _body(shape, look, text.strip("\n"), author.rpartition("@")[2])
    if "attach" in told:
        body = _attached(body, told["attach"])
    if "message-id" not in values:
        host = told["via"] if "google" in told["via"] or "outlook" in told["via"] else author.rpartition("@")[2]
        fields.append(f"Message-ID: <{abs(hash_of(block)):x}.{len(block)}@{host}>")
    header = "".join(f"{_folded(field)}\r\n" for field in [*fields, f"Date: {_DATE}", "MIME-Version: 1.0"])
    inside = f"Received: from app-{len(block)}.internal (10.4.0.7) by {told['via']} with ESMTPS;\r\n\t{_DATE}\r\n"
    options = SpamOptions(
        sender=sender, recipients=(recipient,), client_ip="203.0.113.25", helo=told["via"], now=NOW, office=True
    )  # fmt: skip
    return TodaysMail(kind, language, (inside + header).encode() + body, options)


def hash_of(text: str) -> int:
    """Return a number that is the same in every run."""
    return int.from_bytes(base64.b85encode(text.encode())[:12:2] + len(text).to_bytes(3, "big"), "big")


def _folded(field: str) -> str:
    name, _, value = field.partition(": ")
    if value.isascii():
        return field
    shown, opening, address = value.partition(" <")
    if not opening:
        return f"{name}: {Header(value, 'utf-8', maxlinelen=72, header_name=name).encode(linesep=chr(13) + chr(10))}"
    words = Header(shown.strip('"'), "utf-8", maxlinelen=72).encode(linesep="\r\n")
    return f"{name}: {words} <{address}"


def _body(shape: str, look: str, text: str, site: str) -> bytes:
    plain = _part("text/plain", _LINK.sub(lambda match: f"{match[1]}\n{match[2]}\n", text))
    page = _part("text/html", _page(look, text, site))
    if shape == "plain":
        return plain
    if shape == "html":
        return page
    return _together("alternative", _BORDER, [plain, page])


def _part(kind: str, text: str) -> bytes:
    data = quopri.encodestring(text.encode()).replace(b"\n", b"\r\n")
    return f"Content-Type: {kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode() + data


def _together(kind: str, border: str, parts: list[bytes]) -> bytes:
    line = f"\r\n--{border}".encode()
    head = f'Content-Type: multipart/{kind}; boundary="{border}"\r\n\r\n'.encode()
    return head + b"".join(line[2:] + b"\r\n" + part + b"\r\n" for part in parts) + line[2:] + b"--\r\n"


def _attached(body: bytes, told: str) -> bytes:
    name, kind = told.split()
    if kind.startswith("image/"):
        content = _photo(kind.removeprefix("image/"))
    else:
        content = _SAMPLE_PDF if kind.endswith("pdf") else b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"
    shown = Header(name, "utf-8").encode() if not name.isascii() else name
    head = (
        f'Content-Type: {kind}; name="{shown}"\r\nContent-Transfer-Encoding: base64\r\n'
        f'Content-Disposition: attachment; filename="{shown}"\r\n\r\n'
    )
    return _together("mixed", _OUTER, [body, head.encode() + base64.encodebytes(content).replace(b"\n", b"\r\n")])


def _photo(kind: str) -> bytes:
    """Return a picture without a word in it: a sky above a field."""
    sky = Image.linear_gradient("L").resize((640, 300))
    picture = Image.merge("RGB", (sky, sky, Image.new("L", sky.size, 210)))
    picture.paste((64, 118, 40), (0, 200, 640, 300))
    written = io.BytesIO()
    picture.save(written, kind)
    return written.getvalue()


def _page(look: str, text: str, site: str) -> str:
    if look == "pictures":
        shown = (
            f'<a href="{html.escape(match[2])}">{html.escape(match[1]) or _PICTURE.format(site, number)}</a>'
            for number, match in enumerate(_LINK.finditer(text))
        )
        return f"<html><body><center>{'<br>'.join(shown)}</center></body></html>"
    style = ' class="b"' if look == "shop" else ""
    pieces = []
    for paragraph in text.split("\n\n"):
        made, end = "", 0
        for match in _LINK.finditer(paragraph):
            made += html.escape(paragraph[end : match.start()])
            made += f'<a href="{html.escape(match[2])}"{style}>{html.escape(match[1])}</a>'
            end = match.end()
        pieces.append((made + html.escape(paragraph[end:])).replace("\n", "<br>\n"))
    if look == "page":
        return "<html><body>" + "\n".join(f"<div>{piece}</div><br>" for piece in pieces) + "</body></html>"
    rows = "\n".join(
        f'<tr><td style="padding:12px 24px;font-size:15px;line-height:22px">{piece}</td></tr>' for piece in pieces
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title></title><style>{_STYLE}</style></head><body>\n'
        f'<div style="display:none;max-height:0;overflow:hidden">{html.escape(_LINK.sub("", text)[:60])}&#8199;&#65279;&#847;</div>\n'
        f'<table role="presentation" width="100%"><tr><td align="center"><table class="w" role="presentation">\n'
        f'<tr><td><img src="https://img.{site}/logo.png" alt="Logo" width="120"></td></tr>\n{rows}\n</table></td></tr></table>\n'
        f'<img src="https://img.{site}/o/8812.gif" width="1" height="1" alt=""></body></html>'
    )
