"""HTML of strangers made harmless: `sanitise` keeps what text looks like, and nothing that acts, loads or leads
anywhere.

Called by `filter.preview`, and by the console for what a filter says (`sanitise_again`). An allow list: elements and
attributes of text, tables and lists; styles of fonts, colours and boxes. No script, form, frame, vector graphics,
style sheet or comment; no address of anything remote: links lose theirs and tell it as a title, pictures show only what
the message brings along. Promises: the result is well-formed, and cleaning it again changes nothing. Never raises for
any text.
"""

import re
import secrets
from collections.abc import Callable
from html import escape
from typing import Final

import msgspec
import nh3

LINK_LIMIT: Final = 2_000
"""Characters of a link's address that are told."""
LINKS_LIMIT: Final = 200
"""Links told of one message."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAGS: Final = _words(
    """
    a abbr acronym address b bdi bdo big blockquote br center cite code dd del dfn div dl dt em font h1 h2 h3 h4 h5 h6
    hr i img ins kbd li ol p pre q s samp small span strike strong sub sup tt u ul var wbr
    caption col colgroup table tbody td tfoot th thead tr
    """
)
_GONE_WITH_CONTENT: Final = _words(
    """
    applet audio canvas embed frame frameset iframe math noembed noframes noscript object plaintext script select
    style svg template textarea title video xmp
    """
)
"""What these hold is no text of the message, or is read as something else the next time."""
_BOX: Final = frozenset({"align", "valign", "width", "height", "bgcolor", "border"})
_ATTRIBUTES: Final = {
    "*": {"style", "dir", "lang", "align"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "font": {"color", "face", "size"},
    "ol": {"start", "type"},
    "ul": {"type"},
    "li": {"value"},
    "table": {*_BOX, "cellpadding", "cellspacing"},
    **{name: {*_BOX, "colspan", "rowspan", "nowrap"} for name in ("td", "th")},
    **{name: {*_BOX, "span"} for name in ("tr", "tbody", "thead", "tfoot", "col", "colgroup")},
}
_STYLES: Final = _words(
    """
    color background-color font font-family font-size font-style font-variant font-weight line-height
    letter-spacing text-align text-decoration text-indent text-transform vertical-align white-space word-break
    direction display visibility width max-width min-width height border border-top border-right border-bottom
    border-left border-collapse border-spacing border-color border-style border-width border-radius padding
    padding-top padding-right padding-bottom padding-left margin margin-top margin-right margin-bottom
    margin-left list-style-type opacity
    """
)
"""What lies over other things, or comes from elsewhere, is not among them."""
_FETCHES: Final = re.compile(
    r"\\|url\s*\(|image\s*\(|image-set|cross-fade|element\s*\(|src\s*\(|expression|@import", re.IGNORECASE
)
"""Functions that fetch something, and the escapes that hide them: a style with one of these goes as a whole. No
property above takes one; this holds if a browser thinks otherwise."""
_SCHEMES: Final = frozenset({"http", "https", "ftp", "mailto", "tel", "cid"})
_OWN_PICTURE: Final = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}\Z")


DEPTH_LIMIT: Final = 2_000
"""Elements open at once: reading costs their square, 20 ms for these and minutes for all that a megabyte can open.
Browsers nest 512; honest newsletters a hundred.
"""
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,30})")
_ANY_TAG: Final = re.compile(r"<[^<>]*+>")
_NEVER_NESTED: Final = _words("a area base br col dd dt hr img input li link meta option p param source td th tr wbr")
"""Void, or closed by the next of their kind."""


class Clean(msgspec.Struct, frozen=True):
    """Harmless HTML, and what it would have done."""

    html: str
    links: tuple[str, ...] = ()
    """Addresses it leads to, distinct, in order, cut."""
    remote: int = 0
    """Pictures from elsewhere, left out."""


def sanitise(html: str, picture: Callable[[str], str | None]) -> Clean:
    """Return HTML made harmless. `picture` gives for a Content-ID a `data:` address of a picture of ours, or None.

    What is nested deeper than anything honest comes as bare text.
    """
    if _is_too_deep(html):
        return Clean(escape(_ANY_TAG.sub(" ", html)))
    # What becomes of an attribute is marked by a word that no message can know, and put in its place afterwards: the
    # sanitiser itself can only change values, and takes no `data:` addresses, for those of strangers stay out.
    mark = f"m{secrets.token_hex(12)}"
    links: dict[str, None] = {}
    pictures: list[str] = []
    remote = 0

    def decide(_tag: str, name: str, value: str) -> str | None:
        nonlocal remote
        if name == "href":
            link = value.strip()[:LINK_LIMIT]
            if len(links) < LINKS_LIMIT:
                links[link] = None
            return mark + link
        if name == "src":
            scheme, _, rest = value.strip().partition(":")
            found = picture(rest.strip()) if scheme.lower() == "cid" else None
            if found is None:
                remote += scheme.lower() != "cid"
                return None
            pictures.append(found)
            return f"cid:{mark}{len(pictures) - 1}."  # a relative address would be left out
        if name == "style":
            return None if _FETCHES.search(value) else value
        return value

    cleaned = _clean(html, decide, _SCHEMES)
    cleaned = cleaned.replace(f'href="{mark}', 'title="')
    cleaned = re.sub(f'src="cid:{mark}([0-9]+)\\."', lambda found: f'src="{pictures[int(found[1])]}"', cleaned)
    return Clean(cleaned, tuple(links), remote)


def sanitise_again(html: str) -> str:
    """Return what a filter says is harmless HTML, with everything left out that is not."""
    if _is_too_deep(html):
        return escape(_ANY_TAG.sub(" ", html))

    def decide(_tag: str, name: str, value: str) -> str | None:
        bad = {"href": True, "src": not _OWN_PICTURE.match(value), "style": bool(_FETCHES.search(value))}
        return None if bad.get(name) else value

    return _clean(html, decide, frozenset({"data"}))


def _is_too_deep(html: str) -> bool:
    """Tell whether more elements may be open at once than are read. Counts by name, so that ends of others, which a
    reader passes over, hide nothing.
    """
    if html.count("<") <= DEPTH_LIMIT:
        return False
    opened: dict[str, int] = {}
    depth = 0
    for end, tag in _TAG.findall(html):
        name = tag.lower()
        if name in _NEVER_NESTED:
            continue
        count = opened.get(name, 0)
        if not end:
            opened[name] = count + 1
            depth += 1
            if depth > DEPTH_LIMIT:
                return True
        elif count:
            opened[name] = count - 1
            depth -= 1
    return False


def _clean(html: str, decide: Callable[[str, str, str], str | None], schemes: frozenset[str]) -> str:
    attributes = {**_ATTRIBUTES, "a": {"href", "title"} if "data" in schemes else {"href"}}
    return nh3.clean(
        html.replace("\0", "\ufffd"),
        tags=set(_TAGS),
        clean_content_tags=set(_GONE_WITH_CONTENT),
        attributes={name: set(allowed) for name, allowed in attributes.items()},
        attribute_filter=decide,
        strip_comments=True,
        link_rel=None,
        url_schemes=set(schemes),
        filter_style_properties=set(_STYLES),
        url_relative="deny",
    )
