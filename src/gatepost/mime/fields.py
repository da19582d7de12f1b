"""Header blocks and MIME header fields: from bytes to byte ranges, tokens and parameters.

Called by `structure` only. Nothing raises; all regular expressions are possessive or anchored, so that every function
is linear in its input.
"""

import functools
import re

import msgspec

from gatepost.mime.filenames import FILE_NAMES, Piece, join_pieces, list_names
from gatepost.mime.part import Defect, Encoding, Field, MimeLimits
from gatepost.mime.words import decode_header

# A name may not start with "--", or a delimiter line with a colon would become a field.
_NAME = re.compile(rb"(?!--)([!-9;-\xff]++)[ \t]*+")
_ODD_NAME = re.compile(rb"[\x00-\x20\x7f]*+(?!--)([!-9;-~]++)[\x00-\x20\x7f]*+")
_FOLD_STARTS = (b" ", b"\t")
_CR = 13
# What is no parameter is passed over a word at a time, so that no byte is looked at twice.
_PARAMETER = re.compile(
    rb'[\s;]*+(?:([^\s=;"]++(?:\s++\*[^\s=;"]*+)?+)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)("?+)([^;]*+)|([^;]*+))|[^\s;]++|\Z)',
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_QUOTED_OR_COMMENT_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+|\\.|[()]', re.DOTALL)
BARE_CR = re.compile(rb"\r(?!\n)")
_TYPE = re.compile(rb"[!#$%&'*+.^_`{|}~0-9a-z-]++/[!#$%&'*+.^_`{|}~0-9a-z-]++")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_TOKEN_END = re.compile(rb"[\s,(]")
"""RFC 2045 §5.1; a comma by it, too, other special characters stand in the names of careless mailers."""
_SECTION = re.compile(r"(.+?)(?:\*(\d{1,6}))?(\*)?", re.DOTALL)

MAX_CACHED_VALUE = 200
"""Content-Type values up to this length are remembered: senders use few of them, and the memory stays below 200 KB."""

_ENCODINGS = {
    b"7bit": Encoding.IDENTITY,
    b"8bit": Encoding.IDENTITY,
    b"binary": Encoding.IDENTITY,
    b"base64": Encoding.BASE64,
    b"quoted-printable": Encoding.QUOTED_PRINTABLE,
    b"x-uuencode": Encoding.UUENCODE,
    b"uuencode": Encoding.UUENCODE,
    b"x-uue": Encoding.UUENCODE,
    b"uue": Encoding.UUENCODE,
    b"x-uu": Encoding.UUENCODE,
    b"x-yencode": Encoding.YENC,
    b"yencode": Encoding.YENC,
    b"x-yenc": Encoding.YENC,
    b"mac-binhex40": Encoding.BINHEX,
    b"mac-binhex": Encoding.BINHEX,
    b"x-binhex": Encoding.BINHEX,
}
_HINTS = (
    (b"64", Encoding.BASE64),
    (b"qu", Encoding.QUOTED_PRINTABLE),
    (b"qp", Encoding.QUOTED_PRINTABLE),
    (b"print", Encoding.QUOTED_PRINTABLE),
    (b"uu", Encoding.UUENCODE),
    (b"yenc", Encoding.YENC),
    (b"hex", Encoding.BINHEX),
)
"""What an encoding nobody knows may have meant: some clients look at the beginning or the end of the name only."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """A header block: its fields, and where the body starts."""

    fields: tuple[Field, ...]
    body: int
    defects: tuple[str, ...]


def parse_header(content: bytes, start: int, end: int, limits: MimeLimits, *, to_empty_line: bool = False) -> Header:
    """Read the header block at `start` of a part that ends at `end` (RFC 5322 §2.2, §3.6.8).

    A line that is no field ends the header; with `to_empty_line` such lines are passed over, and one of carriage
    returns alone counts as empty.
    """
    if content.startswith((b"\r\n", b"\n"), start, end):
        body = content.index(b"\n", start) + 1
        return Header((), body, ())
    window = min(end, start + limits.header_bytes)
    lf_crlf = content.find(b"\n\r\n", start, window)
    lf_lf = content.find(b"\n\n", start, window if lf_crlf < 0 else lf_crlf + 1)
    if lf_lf >= 0:
        stop, body = lf_lf + 1, lf_lf + 2
    elif lf_crlf >= 0:
        stop, body = lf_crlf + 1, lf_crlf + 3
    else:
        stop = body = window
    too_long = body == window < end
    defects: list[str] = []
    fields: list[Field] = []
    name: bytes | None = None
    begin = value = position = start
    # Line by line: half the time of a regular expression over the block, measured on the benchmark mix.
    for line in content[start:stop].split(b"\n"):
        if line.startswith(_FOLD_STARTS):
            if name is not None:
                position += len(line) + 1
                continue
        elif not line:
            break
        elif to_empty_line and not line.strip(b"\r"):
            body = min(position + len(line) + 1, stop)
            break
        if name is not None:
            fields.append(Field(name, begin, position, value, position - 1 - (content[position - 2] == _CR)))
        colon = line.find(b":")
        name = _field_name(line[:colon]) if 0 <= colon <= MAX_CACHED_VALUE else None
        begin = position
        value = position + colon + 1
        if name is None:
            name = _odd_field_name(line, colon)
            if name is not None:
                defects.append(Defect.FIELD_NAME_ODD)
            elif (fields or not _may_stand_first(line, defects)) and not to_empty_line:
                body = begin
                defects.append(Defect.SEPARATOR_MISSING)
                too_long = False
                break
        position += len(line) + 1
    else:
        position = stop
    if too_long:
        defects.append(Defect.LIMIT_HEADER)
    if name is not None:
        line_end = content.endswith(b"\n", value, position)
        value_end = position - line_end
        value_end -= content.endswith(b"\r", value, value_end)
        fields.append(Field(name, begin, position, value, value_end))
    if len(fields) > limits.fields:
        del fields[limits.fields :]
        defects.append(Defect.LIMIT_FIELDS)
    if content.find(b"\r", start, body) >= 0 and BARE_CR.search(content, start, body):
        defects.append(Defect.BARE_CR)
    if content.find(b"\0", start, body) >= 0:
        defects.append(Defect.NUL)
    return Header(tuple(fields), body, tuple(defects) if defects else ())


@functools.lru_cache(maxsize=1024)
def _field_name(raw: bytes) -> bytes | None:
    """Return a field's name in lower case, None when it is none (RFC 5322 §2.2, and 8-bit characters)."""
    name = _NAME.fullmatch(raw)
    return name[1].lower() if name else None


def _odd_field_name(line: bytes, colon: int) -> bytes | None:
    """Return the name in front of the colon without the white space and control characters around it."""
    name = _ODD_NAME.fullmatch(line, 0, colon) if colon > 0 else None
    return name[1].lower() if name else None


def _may_stand_first(line: bytes, defects: list[str]) -> bool:
    """Whether a header may start with this line that is no field."""
    if line.startswith(_FOLD_STARTS):
        defects.append(Defect.CONTINUATION_FIRST)
        return True
    if line.startswith((b"From ", b">From ")):
        defects.append(Defect.MBOX_FROM)
        return True
    return False


class ContentType(msgspec.Struct, frozen=True):
    """A Content-Type field, read. `boundaries`: every value that a reader may take for the boundary, best first."""

    type: str
    """type/subtype in lower case, "" when there is none."""
    parameters: dict[str, str]
    boundaries: tuple[bytes, ...] = ()
    names: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()


def parse_content_type(raw: bytes) -> ContentType:
    """Read the value of a Content-Type field (RFC 2045 §5.1, RFC 2231)."""
    return _cached_content_type(raw) if len(raw) <= MAX_CACHED_VALUE else _read_content_type(raw)


def _read_content_type(raw: bytes) -> ContentType:
    value = _FOLD.sub(b"", raw) if b"\n" in raw else raw
    head, _, rest = value.partition(b";")
    defects: list[str] = []
    if b"=?" in head:
        value = decode_header(value).encode("utf-8", "replace")
        head, _, rest = value.partition(b";")
        defects.append(Defect.TYPE_MALFORMED)
    if b"(" in head:
        value = strip_comments(value)
        head, _, rest = value.partition(b";")
    token = b"".join(head.split()).lower()
    if b"=" in token or b'"' in token:
        # `text/plain charset=x` or a parameter in the place of the type: the type ends at white space.
        words = head.split(None, 1)
        token = words[0].lower() if words and b"=" not in words[0] else b""
        rest = value[len(words[0]) :] if token else value
        token = token.strip(b'"')
        defects.append(Defect.TYPE_MALFORMED)
    elif not _TYPE.fullmatch(token):
        defects.append(Defect.TYPE_MALFORMED)
    texts, raws = parse_parameters(rest, defects) if rest else ({}, {})
    boundaries = raws.get("boundary", [])
    if b"(" in rest:
        # A comment in front of a name hides it; what some readers take for a comment is part of a value for others.
        more_texts, more_raws = parse_parameters(strip_comments(rest), [])
        texts = more_texts | texts
        boundaries = boundaries + more_raws.get("boundary", [])
    return ContentType(
        token.decode("ascii", "replace"),
        {name: values[0] for name, values in texts.items()},
        _boundaries(boundaries) if boundaries else (),
        read_names(rest, texts, "name", "filename"),
        tuple(dict.fromkeys(defects)),
    )


_cached_content_type = functools.lru_cache(maxsize=512)(_read_content_type)


def parse_disposition(raw: bytes) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Read a Content-Disposition (RFC 2183): (token in lower case, file names best first, defects)."""
    value = _FOLD.sub(b"", raw) if b"\n" in raw else raw
    head, _, rest = value.partition(b";")
    token = strip_comments(head).strip().lower()
    if b"=" in token:
        token, rest = b"", value
    defects: list[str] = []
    texts = parse_parameters(rest, defects)[0] if rest else {}
    names = read_names(rest, texts, "filename", "name") if texts else ()
    return token.decode("ascii", "replace"), names, tuple(dict.fromkeys(defects))


def parse_encoding(raw: bytes) -> tuple[Encoding, tuple[Encoding, ...], tuple[str, ...]]:
    """Read a Content-Transfer-Encoding (RFC 2045 §6.1): (encoding, others it may have meant, defects)."""
    token = raw.strip().lower()
    known = _ENCODINGS.get(token)
    if known is not None:
        return known, (), ()
    if b"=?" in token:
        token = decode_header(token).encode("utf-8", "replace").lower()
    bare = b"".join(strip_comments(token.replace(b"\\", b"")).replace(b'"', b"").split())
    for candidate in (bare, bare.partition(b";")[0], bare.strip(b"-_.,:;'")):
        known = _ENCODINGS.get(candidate)
        if known is not None:
            # Other readers take the odd name for no encoding at all.
            others: tuple[Encoding, ...] = (Encoding.IDENTITY,) if known is not Encoding.IDENTITY else ()
            return known, others, (Defect.ENCODING_MALFORMED,)
    if not bare:
        return Encoding.IDENTITY, (), (Defect.ENCODING_MALFORMED,)
    meant = tuple(dict.fromkeys(encoding for hint, encoding in _HINTS if hint in bare))
    return Encoding.IDENTITY, meant, (Defect.ENCODING_UNKNOWN,)


def strip_comments(raw: bytes) -> bytes:
    """Remove comments in parentheses, nested ones too, outside quoted strings (RFC 5322 §3.2.2)."""
    if b"(" not in raw:
        return raw
    out: list[bytes] = []
    depth = 0
    position = 0
    for mark in _QUOTED_OR_COMMENT_MARK.finditer(raw):
        token = mark[0]
        if token == b"(":
            if depth == 0:
                out.append(raw[position : mark.start()])
            depth += 1
        elif token == b")" and depth:
            depth -= 1
            position = mark.end()
    if depth == 0:
        out.append(raw[position:])
    return b"".join(out)


def parse_parameters(raw: bytes, defects: list[str]) -> tuple[dict[str, list[str]], dict[str, list[bytes]]]:
    """Read `; name=value` pairs (RFC 2045 §5.1) with continuations and charsets (RFC 2231) and, tolerated, encoded
    words (RFC 2047): (decoded values by lower-case name, best first; the same not decoded). Adds to `defects`.

    Values of `name` and `filename` that only some readers see follow the others.
    """
    plain: dict[str, list[bytes]] = {}
    odd: dict[str, list[bytes]] = {}
    extended: dict[str, list[Piece]] = {}
    shorter: dict[str, list[Piece]] = {}
    """The same, each value up to where a token ends."""
    unclosed = b""
    last = ""
    for match in _PARAMETER.finditer(raw):
        raw_name, quoted, close, junk, token = match.groups()
        if raw_name is None:
            if last and match[0].strip():  # `filename=a;.exe`: to some the semicolon is part of the name
                end = raw.find(b";", match.end())
                odd.setdefault(last, []).append(plain[last][-1] + raw[match.start() : end if end >= 0 else len(raw)])
                last = ""
            continue
        value = token.strip() if quoted is None else quoted
        if quoted is not None and b"\\" in quoted:
            value = _QUOTED_PAIR.sub(rb"\1", quoted)
        if b"(" in raw_name or b")" in raw_name:
            raw_name = strip_comments(raw_name).rpartition(b")")[2]
        if b"*" in raw_name:
            raw_name = b"".join(raw_name.split())  # `filename *0="a"`
        name = raw_name.decode("latin-1").lower()
        word = _TOKEN_END.split(value, maxsplit=1)[0] if quoted is None else value
        if quoted is not None and (not close or junk.strip()):
            defects.append(Defect.PARAMETER_MALFORMED)
            unclosed = b"" if close else quoted.replace(b'"', b"")
            if name in FILE_NAMES:
                odd.setdefault(name, []).append(value + junk.strip())
        elif name in FILE_NAMES and word != value:
            odd.setdefault(name, []).append(word)
        if "*" not in name:
            plain.setdefault(name, []).append(value)
            last = name if name in FILE_NAMES else ""
            continue
        last = ""
        section = _SECTION.fullmatch(name)
        if section is None:
            defects.append(Defect.PARAMETER_MALFORMED)
            continue
        base, number, star = section.groups()
        extended.setdefault(base, []).append((int(number or 0), star is not None, value))
        shorter.setdefault(base, []).append((int(number or 0), star is not None, word))
    texts: dict[str, list[str]] = {}
    for name, values in plain.items():
        if len(values) > 1:
            defects.append(Defect.DUPLICATE_PARAMETER)
        texts[name] = [decode_header(value) for value in values]
    for name, pieces in extended.items():
        # The extended form wins, the plain one is for older readers (RFC 6266 §4.3).
        found = join_pieces(pieces, defects)
        texts[name] = [found[0], *texts.get(name, ()), *found[1:]]
        plain.setdefault(name, []).insert(0, found[0].encode("utf-8", "surrogateescape"))
        if shorter[name] != pieces and name in FILE_NAMES:
            texts[name].append(join_pieces(shorter[name], [])[0])
    for name, values in odd.items():
        texts[name] += [decode_header(value) for value in values]
    if b"=" in unclosed:  # what a quote without its end swallows
        more, raws = parse_parameters(unclosed, [])
        for name, found in more.items():
            texts[name] = texts.get(name, []) + found
            plain[name] = plain.get(name, []) + raws[name]
    return texts, plain


def _boundaries(values: list[bytes]) -> tuple[bytes, ...]:
    candidates = [value.rstrip() for value in values]
    candidates += [strip_comments(value).strip() for value in candidates if b"(" in value]
    candidates += [decode_header(value).encode("utf-8", "replace") for value in candidates if b"=?" in value]
    return tuple(dict.fromkeys(filter(None, candidates)))


def read_names(raw: bytes, texts: dict[str, list[str]], first: str, second: str) -> tuple[str, ...]:
    """Return the file names that parameters give, best first. `raw`: the parameters as they came; `first`, `second`:
    the parameter for it, and the one that some readers take as well.
    """
    if first not in texts and second not in texts and b"(" not in raw:
        return ()
    found = texts.get(first, []) + texts.get(second, [])
    stripped = strip_comments(raw)
    if stripped != raw:
        bare = parse_parameters(stripped, [])[0]
        found += bare.get(first, []) + bare.get(second, [])
    return list_names(found)
