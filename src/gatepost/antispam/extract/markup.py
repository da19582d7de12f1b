"""What pages are made of: `Page` and `Target` as `page` gives them, attributes, references, and how text looks.

Called by `page`. Pure.
"""

import functools
import html
import re
from typing import Final

import msgspec

from gatepost.antispam.extract.styles import PLAIN, Colour, Looks, combine, looks_same, read_colour, read_style

_ATTRIBUTE = re.compile(r"([^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:\"([^\"]*+)\"?|'([^']*+)'?|([^\s>]*+)))?+")
_STYLE = re.compile(r"style\s*+=\s*+(?:\"([^\"]*+)|'([^']*+)|([^\s>]*+))", re.IGNORECASE)
_ADDRESS = re.compile(r"((?:\s[a-zA-Z-]++=\"[^\"]*+\")*?)\s(?:href|src)=(\"[^\"]*+\")(?=\s|\Z)")
"""The address of a link, and what stands in front of it: written as nearly all are."""
_LONG_NUMBER = re.compile(r"&#[xX]?[0-9a-fA-F]{9,}+;?")
BY_COLOUR: Final = "colour of the background"


class Target(msgspec.Struct, gc=False):
    """An address in a page."""

    element: str
    """a, area, img, form, input, iframe, meta (a redirection), base and others."""
    url: str
    """As it stands there, references resolved, blanks cut."""
    shown: str = ""
    """What the reader sees of a link."""
    hidden: bool = False
    pictured: bool = False
    """The link shows a picture."""


class Page(msgspec.Struct):
    """What a page shows and does. Counts are of elements."""

    visible: str = ""
    hidden: str = ""
    labels: str = ""
    title: str = ""
    targets: list[Target] = []
    reasons: dict[str, int] = {}
    """Characters of hidden text by why it is hidden."""
    split_words: int = 0
    """Words with a comment, an empty or invented element or hidden text between two letters."""
    split_examples: list[str] = []
    invented: int = 0
    """Elements whose names are none."""
    comments: int = 0
    """Characters of comments, without those for some mail readers only."""
    pictures: int = 0
    tiny_pictures: int = 0
    """Pictures of at most two pixels."""
    inline_pictures: int = 0
    """Pictures in `data:` addresses."""
    passwords: int = 0
    """Fields for a password or the number of a card."""
    fields: int = 0
    """Fields to fill in."""
    forms: int = 0
    scripts: int = 0
    redirects: int = 0
    """`meta` refreshes to another address."""
    frames: int = 0
    crossed: int = 0
    """Ends of elements without a beginning."""
    tags: int = 0
    cut: bool = False
    """There were more tags than are read."""


def resolve(text: str) -> str:
    """Return text with its character references resolved."""
    if "&" not in text:
        return text
    text = text.replace("&nbsp;", "\xa0")
    if "&" not in text:
        return text
    if "&#" in text:
        text = _LONG_NUMBER.sub("\ufffd", text)
    return html.unescape(text)


def read_attributes(inside: str) -> dict[str, str]:
    """Return the attributes in the inside of a tag: names in lower case, the first of a name counts (§13.2.5.33)."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(inside):
        value = double or single or bare
        found.setdefault(name.lower(), resolve(value) if "&" in value else value)
    return found


class State:
    """How text at one place looks: shared by elements that change nothing."""

    __slots__ = ("background", "colour", "hidden", "inside", "invisible", "tiny")

    def __init__(self, colour: Colour, background: Colour | None, *, tiny: bool, hidden: str) -> None:
        self.colour = colour
        self.background = background
        self.tiny = tiny
        self.hidden = hidden
        self.inside: dict[Looks, State] = {}
        """By looks of elements in it: cells of a table are alike."""
        self.invisible = hidden or (
            "font of no size"
            if tiny
            else BY_COLOUR
            if background is not None and looks_same(colour, background)
            else ""
        )

    def under(self, looks: Looks) -> "State":
        """Return the state inside an element with these looks."""
        known = self.inside.get(looks)
        if known is not None:
            return known
        state = State(
            looks.colour or self.colour,
            None if looks.backdrop else looks.background or self.background,
            tiny=self.tiny if looks.tiny is None else looks.tiny,
            hidden=self.hidden or looks.hidden,
        )
        self.inside[looks] = state
        return state


def read_link_looks(inside: str) -> Looks:
    """Do as `read_looks` for an element with an address: it tells nothing of its looks, and hardly ever comes again."""
    found = _ADDRESS.match(inside)
    if found is not None and "style" not in found[2].lower():
        inside = found[1] + inside[found.end() :]
    return read_looks(inside)


@functools.lru_cache(maxsize=2048)
def read_looks(inside: str) -> Looks:
    """Return the looks that the inside of a tag gives. Kept, for newsletters say the same of every cell."""
    lower = inside.lower()
    looks = PLAIN
    style = ""
    if "style" in lower:
        found = _STYLE.search(lower)
        if found is not None:
            style = found[1] or found[2] or found[3] or ""
            looks = read_style(resolve(style))
            lower = lower[: found.start()] + lower[found.end() :]
    if "color" in lower or "background" in lower or "hidden" in lower or "text" in lower:
        given = read_attributes(lower)
        background = given.get("bgcolor")
        written = Looks(
            read_colour(given.get("color", "") or given.get("text", "")),
            None if background is None else read_colour(background),
            backdrop="background" in given,
            hidden="hidden" if "hidden" in given else "",
        )
        looks = combine(written, looks)
    return PLAIN if looks == PLAIN else looks
