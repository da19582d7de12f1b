"""Address fields (From, To, Reply-To) as mail programs read them: `parse_mailboxes`. Pure, linear, never raises.

Called by `authors` and by the header signs. More tolerant than RFC 5322 §3.4, because readers are.
"""

import functools
import re

import can_ada
import msgspec

from gatepost.mime.words import decode_header, decode_text

FIELD_LIMIT = 32 * 1024
"""Bytes of a field that are read: some 800 recipients."""
MAILBOXES_LIMIT = 256
"""Mailboxes of one field."""
ADDRESS_LIMIT = 320
"""Characters of an address (RFC 5321 §4.5.3.1)."""
_DISPLAY_LIMIT = 1_000
_CACHED = 32
"""Fields remembered within and between messages: several signs look at the same ones."""
_CACHED_BYTES = 400

_FOLD = re.compile(rb"\r?\n[ \t]?|\r")
_TOKEN = re.compile(
    r'"((?:[^"\\]++|\\.)*+)"?+|<([^<>"]*+(?:"(?:[^"\\]++|\\.)*+"[^<>"]*+)*+)>?+|[(),:;]|[^"<>(),:;]++|>', re.DOTALL
)
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_WHITE = re.compile(r"\s++")
_WORD = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"|[^\s"])++')
_IN_COMMENT = re.compile(r"\([^()]*+\)")
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}")
_USUAL_ADDRESS = re.compile(r"[a-z0-9._+-]++@(?:[a-z0-9]{1,63}+\.)++[a-z0-9]{2,63}+")
"""What is valid at first sight."""


_USUAL = re.compile(
    rb'[ \t]*+(?:"([^"\\=\x00-\x1f\x7f-\xff]{0,200}+)"[ \t]*+|([\w .\'-]{0,200}+))'
    rb"<([\w.+-]{1,64}+)@([\w.-]{1,253}+)>[ \t\r\n]*+"
)
"""One author as nearly every mail gives him: read without looking at each sign."""


class Mailbox(msgspec.Struct, frozen=True):
    """One mailbox of an address field."""

    display: str
    """Name shown, encoded words decoded also where they must not be (in quotes), because readers do."""
    address: str
    """local@domain in lower case, the domain as A-labels without a dot at the end; "" when there is none."""
    comment: str = ""
    routed: bool = False
    """A source route stood in front (RFC 5322 §4.4)."""
    encoded_in_quotes: bool = False
    """An encoded word stood inside quotes (forbidden by RFC 2047 §5)."""
    grouped: bool = False
    """It stood in a group (RFC 5322 §3.4)."""

    @property
    def local(self) -> str:
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @property
    def is_valid(self) -> bool:
        """The address has a local part without white space and a domain name of two labels, or an address literal."""
        if _USUAL_ADDRESS.fullmatch(self.address) is not None:
            return len(self.address) <= ADDRESS_LIMIT
        local, domain = self.local, self.domain
        sound = bool(local) and len(self.address) <= ADDRESS_LIMIT and (local[:1] == '"' or not _WHITE.search(local))
        return sound and (_DOMAIN.fullmatch(domain) is not None or (domain[:1] == "[" and domain[-1:] == "]"))


def parse_mailboxes(raw: bytes) -> tuple[Mailbox, ...]:
    """Return the mailboxes of an address field, also such without an address, in order."""
    return _cached(raw) if len(raw) <= _CACHED_BYTES else _read(raw)


class _Element:
    """What stands between two commas."""

    def __init__(self) -> None:
        self.words: list[str] = []
        """Of the name: what is bare and what was in quotes."""
        self.bare: list[str] = []
        self.quoted: list[str] = []
        self.angles: list[str] = []
        self.comments: list[str] = []


def _read(raw: bytes) -> tuple[Mailbox, ...]:
    usual = _USUAL.fullmatch(raw)
    if usual:
        quoted, bare, local, domain = usual.groups()
        shown = (bare if quoted is None else quoted).decode("ascii").strip()
        return (Mailbox(shown, f"{local.decode('ascii')}@{domain.decode('ascii').rstrip('.')}".lower()),)
    text = decode_text(_FOLD.sub(b" ", raw[:FIELD_LIMIT]))
    boxes: list[Mailbox] = []
    element, grouped, comments, position = _Element(), False, True, 0
    while position < len(text) and len(boxes) < MAILBOXES_LIMIT:
        token = _TOKEN.match(text, position)
        if token is None:
            break
        position = token.end()
        part = token[0]
        if part == "(" and comments:
            end = _comment_end(text, position)
            comments = end > 0
            if comments:
                element.comments.append(text[position : end - 1])
                position = end
            else:
                element.words.append(part)
        elif part in ",;":
            _close(element, boxes, grouped=grouped)
            element, grouped = _Element(), grouped and part == ","
        elif part == ":" and not grouped and not element.angles and "@" not in "".join(element.words):
            element, grouped = _Element(), True
        elif token[2] is not None:
            if len(element.angles) < MAILBOXES_LIMIT:
                element.angles.append(token[2])
        elif token[1] is not None:
            _take_quoted(element, token[1], text, position)
        elif part != ">":
            element.words.append(part)
            element.bare.append(part)
    _close(element, boxes, grouped=grouped)
    return tuple(boxes[:MAILBOXES_LIMIT])


_cached = functools.lru_cache(maxsize=_CACHED)(_read)


def _take_quoted(element: _Element, quoted: str, text: str, position: int) -> None:
    if text.startswith("@", position):
        element.bare.append(f'"{quoted}"')
        return
    shown = _PAIR.sub(r"\1", quoted)
    element.quoted.append(shown)
    element.words.append(shown)


def _comment_end(text: str, position: int) -> int:
    """Return where the comment that began in front of `position` has ended, 0 when it does not end."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(text, position):
        depth += (mark[0] == "(") - (mark[0] == ")")
        if depth == 0:
            return mark.end()
    return 0


def _close(element: _Element, boxes: list[Mailbox], *, grouped: bool) -> None:
    """Add what an element says. Without angle brackets each word with an @ outside quotes is an address."""
    shown = "".join(element.words)
    angles = [angle for angle in element.angles if angle.strip()]
    if not angles:
        bare = _WHITE.sub(" ", "".join(element.bare)).replace(" @", "@").replace("@ ", "@")
        angles = [word for word in _WORD.findall(bare) if "@" in word]
        shown = " ".join([*element.quoted, *(word for word in _WORD.findall(bare) if "@" not in word)])
    comment = _decode(" ".join(element.comments))
    if angles or shown.strip() or comment:
        encoded = any("=?" in quoted for quoted in element.quoted)
        display = _decode(shown)
        if angles and boxes and not grouped and not boxes[-1].address and boxes[-1].display:
            display = f"{boxes.pop().display}, {display}"  # Berg, Anna <…> without quotes
        boxes += [
            _mailbox(display, angle, comment, encoded_in_quotes=encoded, grouped=grouped) for angle in angles or [""]
        ]


def _mailbox(display: str, raw: str, comment: str, *, encoded_in_quotes: bool, grouped: bool) -> Mailbox:
    address, routed = raw, False
    if "(" in address:
        address = _IN_COMMENT.sub("", address)
    address = address.strip()
    if address.startswith("@") and ":" in address:
        address, routed = address.rpartition(":")[2], True
    if address[:7].lower() == "mailto:":
        address = address[7:]
    local, at, domain = address.rpartition("@")
    address = f"{local.strip()}@{read_domain(domain)}".lower() if at else ""
    return Mailbox(display, address[: 2 * ADDRESS_LIMIT], comment, routed, encoded_in_quotes, grouped)


def _decode(text: str) -> str:
    text = text.strip()
    if "=?" in text:
        text = decode_header(text.encode("utf-8", "replace"))
    return text[:_DISPLAY_LIMIT]


def read_domain(text: str) -> str:
    """Return a domain in lower case as A-labels (RFC 5891), white space and the last dot out; what cannot be one as it
    is.
    """
    domain = _WHITE.sub("", text[:ADDRESS_LIMIT]).rstrip(".").lower()
    if domain.isascii():
        return domain
    try:
        return can_ada.idna_encode(domain).decode("ascii") or domain
    except (ValueError, UnicodeError, RuntimeError):
        return domain
