"""Web pages as a mail reader shows them: `read_page` gives what is seen, what is not, and what the page would do.

Called by `antispam.view` for every HTML body. Read token by token with a stack of open elements, as the HTML standard
cuts tags (§13.2.5) but without its tree: trees of hostile pages cost time that grows faster than the page. One step for
each tag, forwards only; deep nesting, ends without beginnings and endless tags cost what their bytes cost.
"""

import itertools
import re
from typing import Final

from gatepost.antispam.extract.elements import (
    BLOCK,
    BREAKS,
    CELLS,
    CLOSING,
    INLINE,
    KINDS,
    PARAGRAPH,
    RAW,
    TARGET,
    UNKNOWN,
    VOID,
    VOID_TARGET,
    WALLS,
)
from gatepost.antispam.extract.markup import (
    BY_COLOUR,
    Page,
    State,
    Target,
    read_attributes,
    read_link_looks,
    read_looks,
    resolve,
)
from gatepost.antispam.extract.styles import BLACK, PLAIN, WHITE, Looks, combine, may_hide, read_sheets

TAGS_LIMIT: Final = 200_000
"""Tags of one page that are read, half a second; the largest newsletters have some thousands."""
TARGETS_LIMIT: Final = 10_000
"""Links, pictures and forms of one page that are kept."""
LABELS_LIMIT: Final = 2_000
"""Texts of pictures and tool tips of one page."""
SHOWN_LIMIT: Final = 500
"""Characters of what a link shows."""
URL_LIMIT: Final = 4_000
"""Characters of an address: browsers and servers take hardly more. Inline files (`data:`) are cut."""
SHEETS_LIMIT: Final = 20
LOOK_BACK: Final = 32
"""Open elements that an end tag looks through for its beginning."""
WORDS_KEPT: Final = 8
"""Examples kept for evidence."""

_INSIDE: Final = (
    r"((?:\s[a-zA-Z-]++=\"[^\"]*+\")*+(?:(?=>)|"
    r"(?:[\s/]++|[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^\s>\"'][^\s>]*+|(?=>|\Z)))?+)*+))"
)
"""Attributes, so that a `>` in a quoted value does not end the tag and a quote outside of a value opens none. In front
stands how nearly all are written: that is a quarter quicker and the same by the general form behind it.
"""


def _spell(name: str) -> str:
    """Return an expression for a name in letters of either case."""
    return "".join(f"[{letter}{letter.upper()}]" for letter in name)


_RAW_NAMES: Final = sorted(name for name, kind in KINDS.items() if kind == RAW or name == "iframe")
_BEGINNINGS: Final = "".join(
    f"[{''.join(letters)}{''.join(letters).upper()}]"
    for letters in zip(*(name[:2] for name in _RAW_NAMES), strict=True)
)
_RAW_NAME: Final = rf"(?={_BEGINNINGS})(?:{'|'.join(map(_spell, _RAW_NAMES))})(?=[\s/>]|\Z)"
"""Names of elements in which there is no markup (`RAW`, and frames)."""
_TOKEN = re.compile(
    rf"<(?:(?:(/)|(?=({_RAW_NAME}))|)([a-zA-Z][^\s/>]*+)" + _INSIDE + r"(?:>|\Z)"
    r"(?(2)((?:[^<]++|<(?!/(?i:\2)[\s/>]))*+))"
    r"|(!--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+(?:--!?>|\Z)))"
    r"|[!?/][^>]*+(?:>|\Z))"
)
"""Slash of an end; name if no markup is inside, name of any; attributes; what is inside then; comment."""
_GROUPS: Final = _TOKEN.groups + 1
"""Pieces into which a token and the text in front of it are cut."""
_SHEET = re.compile(r"<[sS][tT][yY][lL][eE](?:\s[^<>]*+)?+>((?:[^<]++|<(?!/[sS][tT]))*+)")
_REFRESH = re.compile(r"\s*+[\d.]*+\s*+[;,]?\s*+(?:url\s*+=\s*+)?['\"]?([^'\"]*+)", re.IGNORECASE)
_CELL: Final = "\x01"
_BREAK: Final = "\x00"
_NO_TEXT = re.compile("[\x00\x01]")

_THROUGH_WALLS: Final = WALLS | {"tr", "tbody"}
_UNCOUNTED: Final = frozenset({"p", "br", "html", "body", "head"})
"""Elements whose beginning or end may be missing."""
_SHOWN_RAW: Final = frozenset({"plaintext", "xmp"})
_UNKNOWN_FORMS: Final = (":", "-")
"""In names of elements that some program made: namespaces of Office, elements of applications."""


def read_page(source: str) -> Page:
    """Return what a page shows and does. Style sheets count when they may hide something, or when what seems hidden by
    its colour may have its background from them; else nobody looks at classes.
    """
    sheets = [found[1] for found in itertools.islice(_SHEET.finditer(source), SHEETS_LIMIT)]
    rules: dict[str, Looks] = {}
    if any(may_hide(each) for each in sheets):
        read_sheets(sheets, rules)
    reader = _Reader(source, rules)
    reader.run()
    if BY_COLOUR in reader.page.reasons and not rules and sheets:
        read_sheets(sheets, rules)
        if rules:
            reader = _Reader(source, rules)
            reader.run()
    return reader.finish()


class _Reader:
    """One reading of one page."""

    def __init__(self, source: str, rules: dict[str, Looks]) -> None:
        self.source = _NO_TEXT.sub("", source) if "\0" in source or "\1" in source else source
        self.page = Page(targets=[], reasons={}, split_examples=[])
        self.visible: list[str] = []
        self.hidden: list[str] = []
        self.labels: list[str] = []
        self.names: list[str] = ["html"]
        self.states: list[State] = [State(BLACK, WHITE, tiny=False, hidden="")]
        self.rules = rules
        self.link: tuple[Target, int, int] | None = None
        """The open link, where its text begins, pictures before it."""
        self.preformatted = 0
        self.gap = False
        """Something unseen followed the last visible text."""

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Read the page. The order of the questions is that of how often they are answered by yes."""
        names, states, visible, kinds = self.names, self.states, self.visible, KINDS
        pieces = _TOKEN.split(self.source)  # half of what tokens one by one take
        pieces += [None] * (_GROUPS - 1)  # behind the last text no token
        rest = iter(pieces)
        left = TAGS_LIMIT
        ruled = bool(self.rules)
        opened = 0
        state = states[-1]
        for text, slash, _, written, inside, raw, comment in zip(*[rest] * _GROUPS, strict=True):
            if text:
                if state.invisible:
                    self.hide(text, state.invisible)
                else:
                    if self.gap:
                        self.join(text)
                    visible.append(text if not self.preformatted else text.replace("\n", _BREAK))
            if written is None:
                opened = 0
                if comment:
                    self.comment(comment)
                continue
            left -= 1
            if not left:
                self.page.cut = True
                break
            name = written
            kind = kinds.get(name)
            if kind is None:
                name = written.lower()
                kind = kinds.get(name, UNKNOWN)
            if BLOCK <= kind <= BREAKS:
                visible.append(_BREAK)
            elif kind == CELLS:
                visible.append(_CELL)
            if slash:
                if names[-1] == name:
                    names.pop()
                    states.pop()
                    if not names:
                        names.append("html")
                        states.append(state)
                elif not BREAKS <= kind <= VOID:
                    self.close(name)
                state = states[-1]
                if name == "a":
                    self.end_link()
                elif name == "pre":
                    self.preformatted = max(0, self.preformatted - 1)
                elif left == opened and not text:
                    self.gap = True
                continue
            if INLINE <= kind <= BLOCK:
                closing = CLOSING.get(name)
                if closing is not None and names[-1] not in closing[1]:
                    self.imply(closing[0])
                    state = states[-1]
                if inside or ruled:
                    if ruled:
                        looks = self.look(name, inside)
                    else:
                        looks = read_link_looks(inside) if kind == TARGET else read_looks(inside)
                    if looks is not PLAIN:
                        state = state.under(looks)
                    if kind != TARGET and "title" in inside:
                        self.label(read_attributes(inside).get("title", ""))
                names.append(name)
                states.append(state)
                opened = left - 1
                if kind == TARGET:
                    self.target(name, inside, state)
                elif name == "pre":
                    self.preformatted += 1
            elif kind == VOID_TARGET:
                self.target(name, inside, state)
            elif kind == RAW:
                self.raw(name, raw or "")
            elif kind == UNKNOWN:
                self.unknown(name)
                if self.rules or inside:
                    looks = self.look(name, inside)
                    if looks is not PLAIN:
                        state = state.under(looks)
                if not inside.endswith("/"):
                    names.append(name)
                    states.append(state)
        self.page.tags = TAGS_LIMIT - left

    def hide(self, text: str, reason: str) -> None:
        if not text.isspace():
            self.hidden.append(text)
            reasons = self.page.reasons
            reasons[reason] = reasons.get(reason, 0) + len(text)
            self.gap = True

    def join(self, text: str) -> None:
        """Note a word that goes on behind something unseen."""
        self.gap = False
        before = self.visible[-1] if self.visible else ""
        if before and before[-1].isalpha() and text[0].isalpha():
            self.page.split_words += 1
            if len(self.page.split_examples) < WORDS_KEPT:
                left = before[-20:].rsplit(maxsplit=1)[-1]
                self.page.split_examples.append(left + text[:20].split(maxsplit=1)[0])

    def comment(self, text: str) -> None:
        if not text.startswith(("!--[", "!--<![")):
            self.page.comments += max(0, len(text) - 6)
            self.gap = True

    def unknown(self, name: str) -> None:
        if not any(each in name for each in _UNKNOWN_FORMS):
            self.page.invented += 1
            self.gap = True

    # -- open elements -----------------------------------------------------------------------------------------------

    def close(self, name: str) -> None:
        """End the nearest open element of this name, and those in it that have no end."""
        names = self.names
        recent = names[-LOOK_BACK:]
        if name in recent:
            for at in range(len(recent) - 1, -1, -1):
                each = recent[at]
                if each == name:
                    place = len(names) - len(recent) + at
                    if place:
                        del names[place:]
                        del self.states[place:]
                    return
                if each in WALLS and name not in _THROUGH_WALLS:
                    break
        if name in KINDS and name not in _UNCOUNTED:
            self.page.crossed += 1

    def imply(self, closing: frozenset[str]) -> None:
        """End open elements that the one about to open cannot be in."""
        names = self.names
        if closing is PARAGRAPH:
            if names[-1] == "p":
                names.pop()
                self.states.pop()
            return
        cut = 0
        for at in range(len(names) - 1, max(0, len(names) - LOOK_BACK), -1):
            each = names[at]
            if each in closing:
                cut = at
            elif each in ("table", "ul", "ol", "dl", "select"):
                break
        if cut:
            del names[cut:]
            del self.states[cut:]

    def look(self, name: str, inside: str) -> Looks:
        """Return the looks of an element by its attributes and the rules for it."""
        looks = read_looks(inside) if inside else PLAIN
        return combine(self.ruled(name, inside.lower()), looks) if self.rules else looks

    def ruled(self, name: str, lower: str) -> Looks:
        looks = self.rules.get(name, PLAIN)
        if "class" in lower or "id" in lower:
            given = read_attributes(lower)
            for each in given.get("class", "").split()[:20]:
                looks = combine(looks, self.rules.get("." + each, PLAIN))
            looks = combine(looks, self.rules.get("#" + given.get("id", ""), PLAIN))
        return looks

    # -- elements that do something ------------------------------------------------------------------------------------

    def target(self, name: str, inside: str, state: State) -> None:
        """Take note of an element with an address."""
        page = self.page
        given = read_attributes(inside)
        if name == "a":
            self.end_link()
            if "title" in given:
                self.label(given["title"])
            url = given.get("href")
            if url:
                target = Target("a", _clean(url), hidden=bool(state.invisible))
                self.add(target)
                self.link = (target, len(self.visible), page.pictures)
        elif name == "img":
            self.picture(given, state)
        elif name == "form":
            page.forms += 1
            self.add(Target("form", _clean(given.get("action", ""))))
        elif name == "input":
            self.field(given)
        elif name == "meta":
            if given.get("http-equiv", "").strip().lower() == "refresh":
                found = _REFRESH.match(given.get("content", "")[:URL_LIMIT])
                if found is not None and found[1].strip():
                    page.redirects += 1
                    self.add(Target("meta", _clean(found[1])))
        elif name in ("iframe", "frame"):
            page.frames += 1
            self.add(Target(name, _clean(given.get("src", ""))))
        else:
            self.add(Target(name, _clean(given.get("href", "") or given.get("src", ""))))

    def add(self, target: Target) -> None:
        if target.url and len(self.page.targets) < TARGETS_LIMIT:
            self.page.targets.append(target)

    def picture(self, given: dict[str, str], state: State) -> None:
        page = self.page
        page.pictures += 1
        url = _clean(given.get("src", ""))
        if url[:5].lower() == "data:":
            page.inline_pictures += 1
        if _is_dot(given.get("width", "")) or _is_dot(given.get("height", "")):
            page.tiny_pictures += 1
        self.add(Target("img", url, hidden=bool(state.invisible)))
        if not state.invisible:
            self.label(given.get("alt", ""))
        self.label(given.get("title", ""))

    def field(self, given: dict[str, str]) -> None:
        page = self.page
        kind = given.get("type", "text").lower()
        if kind in ("text", "email", "tel", "number", "password", "file"):
            page.fields += 1
        name = f"{given.get('name', '')} {given.get('id', '')} {given.get('autocomplete', '')}".lower()
        if kind == "password" or any(each in name for each in _SECRETS):
            page.passwords += 1
        if kind in ("submit", "button"):
            self.visible.append(f"{_BREAK}{given.get('value', '')}{_BREAK}")
        if given.get("formaction"):
            self.add(Target("form", _clean(given["formaction"])))

    def end_link(self) -> None:
        if self.link is not None:
            target, start, pictures = self.link
            self.link = None
            shown = " ".join(resolve("".join(self.visible[start : start + 200]).replace(_BREAK, " ")).split())
            target.shown = shown[:SHOWN_LIMIT]
            target.pictured = self.page.pictures > pictures

    def label(self, text: str) -> None:
        if text and len(self.labels) < LABELS_LIMIT:
            self.labels.append(" ".join(text.split()))

    def raw(self, name: str, text: str) -> None:
        """Take an element whose content is no markup."""
        if name == "script":
            self.page.scripts += 1
        elif name == "title":
            self.page.title = self.page.title or " ".join(resolve(text[:SHOWN_LIMIT]).split())
        elif name in _SHOWN_RAW:
            self.visible += (_BREAK, text.replace("&", "&amp;").replace("\n", _BREAK), _BREAK)
        elif name == "textarea":
            self.page.fields += 1
            self.visible += (_BREAK, text.replace("\n", _BREAK), _BREAK)

    def finish(self) -> Page:
        """Return what was read."""
        self.end_link()
        page = self.page
        page.visible = lay_out("".join(self.visible))
        if self.hidden:
            page.hidden = " ".join(resolve(" ".join(self.hidden)).split())
        page.labels = "\n".join(self.labels)
        return page


_SECRETS: Final = (
    "passw",
    "pwd",
    "passcode",
    "cardnum",
    "card-num",
    "card_num",
    "cc-number",
    "ccnum",
    "cvv",
    "cvc",
    "ssn",
)


def lay_out(text: str) -> str:
    """Return text with marks of breaks and cells as lines with single spaces."""
    text = resolve(text).replace(_CELL, " ")
    return "\n".join([line for each in text.split(_BREAK) if each and (line := " ".join(each.split()))])


def _clean(url: str) -> str:
    return url.strip()[:URL_LIMIT]


def _is_dot(size: str) -> bool:
    return size.strip().removesuffix("px") in ("0", "1", "2")
