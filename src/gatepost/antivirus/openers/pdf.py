"""PDF files: embedded files, scripts, actions that run or send something, forms in XML.

Called by `unpack`. Most PDFs do nothing: the file and its packed object streams are looked through for the names of
what does, and only when one is there is the file opened (pikepdf) and every object looked at, reachable or not. Files
too damaged for that give their streams as they are. Sizes are bounded here and inside the library.
"""

import io
import re
import zlib
from collections.abc import Iterator
from typing import Any, Final

import pikepdf
from pikepdf.settings import set_qpdf_limits

from gatepost.antivirus.budget import Damaged, inflate
from gatepost.antivirus.openers.html import JAVASCRIPT
from gatepost.antivirus.openers.taking import take, take_text
from gatepost.antivirus.opening import Member, Opening

ACTION: Final = "text/x-pdf-action"
FORM: Final = "application/xfa+xml"
_NAMES: Final = (
    "JavaScript", "JS", "OpenAction", "AA", "Launch", "EmbeddedFile", "EmbeddedFiles", "EF", "XFA", "SubmitForm",
    "ImportData", "Thread", "GoToR", "GoToE", "RichMedia", "Rendition", "Encrypt", "Collection",
)  # fmt: skip
_TELLING = re.compile(
    rb"/(?:" + "|".join(sorted(_NAMES, key=len, reverse=True)).encode("ascii") + rb")(?=[\x00\t\n\f\r ()<>\[\]{}/%]|\Z)"
)
"""A name ends at white space or a delimiter (ISO 32000-1 §7.2.2): three bytes are soon met in packed data."""
_ESCAPED = re.compile(rb"/[^\x00-\x20()<>\[\]{}/%#]{0,40}+#[0-9A-Fa-f]{2}[^\x00-\x20()<>\[\]{}/%]{0,80}")
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")
_PACKED = re.compile(rb"/ObjStm(?![A-Za-z0-9])")
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_OBJECT = re.compile(rb"[\x00\t\n\f\r ]obj")
_PLACE = re.compile(r"stream <[^>]*>(?: \([^)]*\))?: ")
_HARMLESS_FILTER = re.compile(rb"/FlateDecode(?![A-Za-z0-9])")
_PREDICTOR = re.compile(rb"/(?:DecodeParms|DP|LZW|ASCII|RunLength|Crypt)")
_ADDRESS = re.compile(rb"/URI\s{0,20}(?:\(((?:[^()\\]|\\.){1,2000})\)|<([0-9A-Fa-f\s]{8,4000})>)", re.DOTALL)
_CHARACTER = re.compile(rb"\\(?:([0-7]{1,3})|(.))", re.DOTALL)
_PROGRAM = re.compile(
    rb"\.(?:exe|scr|com|pif|bat|cmd|js|jse|vbs|vbe|wsf|hta|lnk|msi|ps1|jar|iso|img|zip|rar|7z)(?:[?#]|\Z)"
    rb"|\A\s*(?:file|search-ms|search|ms-[a-z-]{1,40}|javascript|vbscript|shell):|\A\\\\",
    re.IGNORECASE,
)
_RAW_SCRIPT = re.compile(rb"/JS\s{0,20}\(((?:[^()\\]|\\.|\([^()]{0,2000}\)){1,100000})", re.DOTALL)
_RUNS: Final = frozenset(
    {"/Launch", "/SubmitForm", "/ImportData", "/GoToR", "/GoToE", "/Rendition", "/RichMediaExecute", "/Thread"}
)
HEAD_SEARCH: Final = 2048
"""In front of the word `stream`: its dictionary."""
DECODED_BYTES: Final = 64 * 1024 * 1024
"""What one stream may become inside the library."""
OBJECTS_LIMIT: Final = 200_000
STREAMS_LIMIT: Final = 2_000
"""Streams of a damaged file that are given as they are."""
TRIALS_LIMIT: Final = 20
ACTION_TEXT: Final = 4_000
NESTING: Final = 32
"""Dictionaries inside a dictionary that are followed."""


def open_pdf(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield embedded files, scripts, actions and forms. OverBudget."""
    telling, addresses = _look_through(data, opening)
    if addresses:
        yield take_text(opening, "addresses of programs", "\n".join(addresses), ACTION)
    if not telling:
        return
    try:
        document, secret = _open(data, opening)
    except pikepdf.PasswordError:
        yield Member(name or "document", protected=True)
        return
    except (pikepdf.PdfError, ValueError, RuntimeError, OverflowError) as error:
        yield from _open_damaged(data, opening)
        # What tells of something may be chance, in packed data: then nobody can open the file, and nothing is in it.
        if _look_through(_without_bodies(data), opening)[0]:
            yield Member("", trouble=f"the PDF file is damaged: {_reason(error)}")
        return
    with document:
        for member in _open_objects(document, opening):
            yield Member(member.name, member.data, member.protected, member.trouble, member.content_type, secret)


# -- without the library ---------------------------------------------------------------------------------------------


def _look_through(data: bytes, opening: Opening) -> tuple[bool, list[str]]:
    """Return (whether a telling name may be in the file, addresses of programs). OverBudget."""
    telling = _TELLING.search(data) is not None
    if not telling and b"#" in data:
        telling = any(
            _TELLING.match(plain) or _PACKED.match(plain)
            for plain in {_unescape(found[0]) for found in _ESCAPED.finditer(data)}
        )
    addresses = _find_addresses(data)
    last = -1
    for found in _PACKED.finditer(data):
        start = _STREAM.search(data, found.end(), found.end() + HEAD_SEARCH)
        if start is None or start.start() == last:
            continue
        last = start.start()
        head = data[max(0, found.start() - HEAD_SEARCH) : start.start()].rpartition(b" obj")[2]
        if not _HARMLESS_FILTER.search(head) or _PREDICTOR.search(head):
            telling = True
            continue
        opening.budget.take_member()
        try:
            text, _, _ = inflate(memoryview(data)[start.end() :], zlib.MAX_WBITS, opening.budget)
        except Damaged:
            telling = True
            continue
        telling = telling or _TELLING.search(text) is not None or b"#" in text
        addresses += _find_addresses(text)
    return telling, addresses


def _without_bodies(data: bytes) -> bytes:
    """Return the file without the packed bodies of its streams, as far as no reader could take one for objects."""
    pieces: list[bytes] = []
    position = end = 0
    for found in _STREAM.finditer(data):
        start = found.end()
        if start < end:
            continue
        end = data.find(b"endstream", start)
        if end < 0:
            break
        head = data[max(0, found.start() - HEAD_SEARCH) : found.start()].rpartition(b" obj")[2]
        if _HARMLESS_FILTER.search(head) and not _PACKED.search(head) and not _OBJECT.search(data, start, end):
            pieces.append(data[position:start])
            position = end
    pieces.append(data[position:])
    return b"".join(pieces)


def _unescape(name: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), name)


def _find_addresses(text: bytes) -> list[str]:
    if b"/URI" not in text:
        return []
    addresses = (_read_string(found) for found in _ADDRESS.finditer(text))
    return [address.decode("latin-1") for address in addresses if _PROGRAM.search(address)]


def _read_string(found: re.Match[bytes]) -> bytes:
    """Return a string of PDF (ISO 32000-1 §7.3.4) without its escapes, or from its hex."""
    if found[1] is None:
        digits = b"".join(found[2].split())
        return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))
    if b"\\" not in found[1]:
        return found[1]
    return _CHARACTER.sub(lambda each: bytes((int(each[1], 8) & 0xFF,)) if each[1] else each[2], found[1])


def _open_damaged(data: bytes, opening: Opening) -> Iterator[Member]:
    """Yield all streams, unpacked where that is possible, and scripts that stand in the open."""
    plain = _ESCAPED.sub(lambda found: _unescape(found[0]), data) if b"#" in data else data
    scripts = [found[1].decode("latin-1") for found in _RAW_SCRIPT.finditer(plain)]
    if scripts:
        yield take_text(opening, "scripts", "\n".join(scripts), JAVASCRIPT)
    position = 0
    for count, found in enumerate(_STREAM.finditer(data), 1):
        if found.start() < position:
            continue
        if count > STREAMS_LIMIT:
            return
        end = data.find(b"endstream", found.end())
        position = end if end >= 0 else len(data)
        raw = data[found.end() : position]
        opening.budget.take_member()
        try:
            content, _, _ = inflate(memoryview(raw), zlib.MAX_WBITS, opening.budget)
        except Damaged:
            content = b""
        if content:
            yield Member(f"stream {count}", content)
        else:
            yield take(opening, f"stream {count}", raw)


# -- with the library ------------------------------------------------------------------------------------------------


def _open(data: bytes, opening: Opening) -> tuple[pikepdf.Pdf, bool]:
    """Return (document, whether it took a password of ours). PasswordError: none fits."""
    set_qpdf_limits(
        flate_max_memory=DECODED_BYTES,
        run_length_max_memory=DECODED_BYTES,
        png_max_memory=DECODED_BYTES,
        tiff_max_memory=DECODED_BYTES,
        dct_max_memory=DECODED_BYTES,
        doc_max_warnings=1000,
    )
    for password in ("", *opening.passwords[:TRIALS_LIMIT]):
        opening.budget.take_member()  # looks at the time, too
        try:
            return pikepdf.open(io.BytesIO(data), password=password), bool(password)
        except pikepdf.PasswordError:
            continue
    raise pikepdf.PasswordError("no password fits")


def _open_objects(document: pikepdf.Pdf, opening: Opening) -> Iterator[Member]:
    seen: set[tuple[int, int]] = set()
    for count, each in enumerate(document.objects):
        if count >= OBJECTS_LIMIT:
            yield Member("", trouble=f"more than {OBJECTS_LIMIT} objects in one PDF file")
            return
        if not count % 1000:
            opening.budget.take_member()  # looks at the time
        try:
            is_stream = isinstance(each, pikepdf.Stream)
            if not is_stream and not isinstance(each, pikepdf.Dictionary | pikepdf.Array):
                continue
            top = each.stream_dict if is_stream else each
            if not _TELLING.search(top.unparse(resolved=True)):
                continue
            yield from _open_dictionaries(top, opening, seen)
            if is_stream and str(top.get("/Type", "")) == "/EmbeddedFile" and each.objgen not in seen:
                seen.add(each.objgen)
                yield _read_stream(each, f"embedded {each.objgen[0]}", "", opening)
        except (pikepdf.PdfError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            yield Member(f"object {count}", trouble=f"an object of the PDF file cannot be read: {_reason(error)}")


def _open_dictionaries(top: Any, opening: Opening, seen: set[tuple[int, int]]) -> Iterator[Member]:
    """Look at a dictionary and those written inside it; what it refers to comes by itself."""
    work: list[tuple[Any, int]] = [(top, 0)]
    while work:
        node, depth = work.pop()
        if depth > NESTING:
            continue
        if isinstance(node, pikepdf.Array):
            work += [(item, depth + 1) for item in _contained(iter(node))]
            continue
        yield from _open_dictionary(node, opening, seen)
        work += [(value, depth + 1) for value in _contained(value for _, value in node.items())]


def _contained(values: Iterator[Any]) -> list[Any]:
    kinds = (pikepdf.Dictionary, pikepdf.Array)
    return [value for value in values if isinstance(value, kinds) and not value.is_indirect]


def _open_dictionary(node: Any, opening: Opening, seen: set[tuple[int, int]]) -> Iterator[Member]:
    action = str(node.get("/S", ""))
    script = node.get("/JS")
    if script is not None:
        yield _read_text(script, "script", JAVASCRIPT, opening)
    if action in _RUNS:
        yield take_text(opening, f"action {action[1:]}", _show(node), ACTION)
    for key in ("/OpenAction", "/AA"):
        value = node.get(key)
        if isinstance(value, pikepdf.Dictionary):
            yield take_text(opening, f"{key[1:]}", f"{key[1:]} {_show(value)}", ACTION)
    if "/XFA" in node:
        form = node["/XFA"]
        for part in list(form) if isinstance(form, pikepdf.Array) else [form]:
            if isinstance(part, pikepdf.Stream):
                yield _read_stream(part, "form", FORM, opening)
    files = node.get("/EF")
    if isinstance(files, pikepdf.Dictionary):
        label = str(node.get("/UF", node.get("/F", ""))) or "embedded"
        for content in files.values():
            if isinstance(content, pikepdf.Stream) and content.objgen not in seen:
                seen.add(content.objgen)
                yield _read_stream(content, label, "", opening)


def _show(node: Any) -> str:
    """Return a dictionary as it is written, with what it refers to one step deep."""
    lines = [node.unparse(resolved=True).decode("latin-1")[:ACTION_TEXT]]
    lines += [
        value.unparse(resolved=True).decode("latin-1")[:ACTION_TEXT]
        for _, value in node.items()
        if isinstance(value, pikepdf.Dictionary)
        and value.is_indirect
        and "/Kids" not in value
        and "/Contents" not in value
    ]
    return "\n".join(lines)[: 4 * ACTION_TEXT]


def _reason(error: Exception) -> str:
    """Return what the library says, without the address of its buffer."""
    return _PLACE.sub("", str(error))[:200]


def _read_text(value: Any, name: str, content_type: str, opening: Opening) -> Member:
    if isinstance(value, pikepdf.Stream):
        return _read_stream(value, name, content_type, opening)
    return take_text(opening, name, str(value), content_type)


def _read_stream(stream: Any, name: str, content_type: str, opening: Opening) -> Member:
    """Return a stream decoded; one that the library cannot decode as it stands in the file, and that said."""
    trouble = ""
    try:
        content = bytes(stream.read_bytes())
    except (pikepdf.PdfError, NotImplementedError) as error:
        trouble = f"it cannot be decoded: {_reason(error)}"
        content = bytes(stream.read_raw_bytes())
    return take(opening, name, content, content_type, trouble)
