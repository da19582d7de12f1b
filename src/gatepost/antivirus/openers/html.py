"""Web pages and SVG pictures: scripts, and files hidden in addresses and scripts.

Called by `unpack` for every HTML body, so the ordinary one is passed over after a look for a handful of marks. Pages
are read by those marks and not as a tree: the trees of hostile pages cost time that grows faster than the page, and
what a browser would drop is looked at here, too. Every search goes forwards only; nothing is raised but `OverBudget`.
"""

import html
import re
import urllib.parse
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.openers.disguises import UNTOLD, decode_base64
from gatepost.antivirus.openers.scripts import BLOBS_LIMIT, find_blobs
from gatepost.antivirus.openers.taking import TEXT_LIMIT, take, take_text
from gatepost.antivirus.openers.texts import open_blobs_outside
from gatepost.antivirus.openers.xmltext import to_utf8
from gatepost.antivirus.opening import Member, Opening

JAVASCRIPT: Final = "text/javascript"
VBSCRIPT: Final = "text/vbscript"
_HANDLER = re.compile(rb"on([a-z]{3,24})\s{0,20}=\s{0,20}")
"""Matched in lower case; the value is read where it stands in the page."""
_VALUE = re.compile(rb"\"([^\"]*)|'([^']*)|([^\s>]*)")
_REFERENCE = re.compile(rb"&(?:#|colon|tab|newline)")
_START_OF_VALUE = re.compile(rb"=\s?[\"']?[a-z\s]{0,16}\Z")
_BLANKS: Final = b"\t\r\n\0 "
"""What browsers drop from addresses; blanks go too, for the look at the whole page."""
_DATA = re.compile(
    rb"data:(?P<type>[\w.+-]{1,60}/[\w.+-]{1,60})?(?P<more>(?:;[\w.=\"' +-]{1,80}){0,6}),"
    rb"(?P<text>[^\"'<>)\s]*+(?:\s++[A-Za-z0-9+/=%]{20,}+[^\"'<>)\s]*+)*+)",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(rb"[a-z]\s{0,20}=\s{0,20}(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')", re.IGNORECASE)
_SCRIPT_ADDRESS = re.compile(
    r"[\s\x00]*+(?:j\s*a\s*v\s*a\s*s\s*c\s*r\s*i\s*p\s*t|v\s*b\s*s\s*c\s*r\s*i\s*p\s*t)\s*:(?P<code>.*)",
    re.IGNORECASE | re.DOTALL,
)
OBJECTS_LIMIT: Final = 500
"""Scripts, addresses or blobs of one page that become members."""


def open_page(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield scripts, and files in addresses and scripts. OverBudget."""
    text = to_utf8(data)
    yield from _open_text(text, name, opening)
    if b"+ADw" in text:  # the sign < in UTF-7: mail programs know it still; others show the page as it stands
        yield from _open_text(text.decode("utf-7", "replace").encode("utf-8", "replace"), name, opening)


def _open_text(text: bytes, name: str, opening: Opening) -> Iterator[Member]:
    lower = text.lower()
    compact = lower.translate(None, _BLANKS)
    scripted = b"script" in compact
    carrying = b"data:" in compact
    stem = name or "page"
    if scripted:
        found = False
        for count, (inside, script) in enumerate(_find_scripts(text, lower), 1):
            found = True
            if count > OBJECTS_LIMIT:
                yield Member("", trouble=f"more than {OBJECTS_LIMIT} scripts in one page")
                break
            yield from _open_script(script, f"{stem} script {count}", _language(inside), opening)
        if found:
            yield from open_blobs_outside(text, stem, opening)
    if carrying:
        yield from open_addresses(text, stem, opening)
    if (
        (scripted and (b"script:" in compact or b"srcdoc" in lower))
        or _has_references(lower)
        or (carrying and b"data:" not in lower)
    ):
        yield from _open_values(text, stem, opening)
    yield from _open_handlers(text, lower, stem, opening)


def _has_references(lower: bytes) -> bool:
    """Whether a character reference stands where the scheme of an address would be."""
    for found in _REFERENCE.finditer(lower):
        start = found.start()
        before = lower[start - 1] if start else 0
        if before in b"\"'=" or (0x61 <= before <= 0x7A and _START_OF_VALUE.search(lower, max(0, start - 20), start)):
            return True
    return False


def _find_scripts(text: bytes, lower: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (inside of the tag, text) of every script element, in any namespace; one that does not end goes to the end
    of the page.
    """
    position = lower.find(b"script")
    while position >= 0:
        after = position + len(b"script")
        start = lower.rfind(b"<", max(0, position - 41), position)
        is_tag = (
            start >= 0
            and (start + 1 == position or lower[position - 1] == 0x3A)
            and lower[after : after + 1] in _TAG_ENDS
        )
        if not is_tag:
            position = lower.find(b"script", after)
            continue
        opened = lower.find(b">", after)
        if opened < 0:
            return
        closed = lower.find(b"</" + lower[start + 1 : after], opened)
        if closed < 0:
            closed = len(text)
        yield lower[after:opened], text[opened + 1 : closed]
        position = lower.find(b"script", closed + 2 + after - start)


_TAG_ENDS: Final = frozenset({b">", b"/", b" ", b"\t", b"\r", b"\n", b"\f"})


def _language(inside: bytes) -> str:
    return VBSCRIPT if b"vbs" in inside else JAVASCRIPT


_SCRIPT_TYPES: Final = frozenset(
    {JAVASCRIPT, VBSCRIPT, "application/javascript", "text/ecmascript", "application/ecmascript"}
)


def _open_script(script: bytes, name: str, content_type: str, opening: Opening) -> Iterator[Member]:
    if not script.strip():
        return
    yield take(opening, name, script, content_type)
    yield from _open_blobs(script, name, opening)


def _open_blobs(script: bytes, name: str, opening: Opening) -> Iterator[Member]:
    for count, blob in enumerate(find_blobs(script, opening.budget), 1):
        if count > BLOBS_LIMIT:
            yield Member("", trouble=f"more than {BLOBS_LIMIT} files in one script")
            return
        yield take(opening, f"{name} blob {count}", blob)


def open_addresses(text: bytes, stem: str, opening: Opening) -> Iterator[Member]:
    """Yield the files in `data:` addresses (RFC 2397); pictures are left out. OverBudget."""
    shown = 0
    for found in _DATA.finditer(text):
        if not found["text"] or not (found["type"] or found["more"]):
            continue
        content, declared = _decode_address(found)
        if not content or detect_kind(content) in UNTOLD:
            continue
        shown += 1
        if shown > OBJECTS_LIMIT:
            yield Member("", trouble=f"more than {OBJECTS_LIMIT} files in the addresses of one page")
            return
        if declared in _SCRIPT_TYPES:
            yield from _open_script(content, f"{stem} data {shown}", declared, opening)
        else:
            yield take(opening, f"{stem} data {shown}", content, declared)


def _decode_address(found: re.Match[bytes]) -> tuple[bytes, str]:
    """Return (content, declared type) of a `data:` address (RFC 2397)."""
    text = found["text"]
    plain = urllib.parse.unquote_to_bytes(text) if b"%" in text else text
    declared = (found["type"] or b"text/plain").decode("latin-1").lower()
    return (decode_base64(plain) if b"base64" in found["more"].lower() else plain), declared


def _open_values(text: bytes, stem: str, opening: Opening) -> Iterator[Member]:
    """Yield scripts in addresses, and files and pages in attributes that are written with character references."""
    shown = 0
    for found in _ATTRIBUTE.finditer(text):
        raw = found["double"] if found["double"] is not None else found["single"]
        referring = b"&" in raw
        if not referring and b"cript" not in raw.lower() and b"\n" not in raw and b"\t" not in raw:
            continue
        value = raw.decode("utf-8", "replace")
        value = html.unescape(value) if referring else value
        code = _SCRIPT_ADDRESS.match(value)
        if code is not None:
            shown += 1
            yield take_text(opening, f"{stem} address {shown}", urllib.parse.unquote(code["code"]), JAVASCRIPT)
        else:
            content, declared = _read_value(value.encode("utf-8", "replace"), raw)
            if content and detect_kind(content) not in UNTOLD:
                shown += 1
                yield take(opening, f"{stem} attribute {shown}", content, declared)
        if shown >= OBJECTS_LIMIT:
            yield Member("", trouble=f"more than {OBJECTS_LIMIT} scripts in the addresses of one page")
            return


def _read_value(plain: bytes, raw: bytes) -> tuple[bytes, str]:
    """Return (content, declared type) of an attribute: a page, or a file that its references kept from being seen."""
    address = _DATA.match(plain.translate(None, b"\t\r\n").lstrip())
    if address is not None and b"data:" not in raw.lower():
        return _decode_address(address)
    if b"<" in plain and b"script" in plain.lower():
        return plain, "text/html"
    return b"", ""


def _open_handlers(text: bytes, lower: bytes, stem: str, opening: Opening) -> Iterator[Member]:
    """Yield all event handlers as one script, and the files in them."""
    lines: list[str] = []
    for found in _HANDLER.finditer(lower):
        if lower[found.start() - 1 : found.start()] in _BEFORE_HANDLER:
            value = _VALUE.match(text, found.end())
            code = (value[1] or value[2] or value[3] or b"") if value is not None else b""
            if code:
                lines.append(f"{found[1].decode('ascii')}: {html.unescape(code.decode('utf-8', 'replace'))}")
    if lines:
        script = "\n".join(lines)
        yield take_text(opening, f"{stem} event handlers", script, JAVASCRIPT)
        yield from _open_blobs(script[:TEXT_LIMIT].encode("utf-8", "replace"), f"{stem} event handlers", opening)


_BEFORE_HANDLER: Final = frozenset({b" ", b"\t", b"\r", b"\n", b"\f", b"/", b'"', b"'"})
