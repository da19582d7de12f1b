"""Web pages without what acts: `cure_html`.

Called by `plan`. The page is parsed as browsers parse it; elements and attributes that run, fetch code or lead away by
themselves go, and the tree is written again. Text and charset stay: bytes above ASCII go through unread. What was
written is parsed once more; unless that gives the same page again, with nothing active in it, there is no cure: markup
that changes its meaning when it is read twice hides what it does.
"""

import re
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from gatepost.antivirus.cure.cured import Cured, Uncurable, build_cured

PAGE_BYTES: Final = 4 * 1024 * 1024
"""Of one page: its tree takes some twenty times as much memory."""
TAGS: Final = 20_000
"""Of one page: the parser's time grows with the square of the nesting, 100,000 elements in each other take a minute."""
_REPEATS: Final = 1_000_000
"""Formatting elements not closed times tags: each of those is put into every block that follows."""
_FORMATS: Final = re.compile(
    r"<(/?)(?:a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])", re.IGNORECASE
)
_TAG: Final = re.compile(r"<[a-z]", re.IGNORECASE)
_DROPPED: Final = frozenset(
    [
        "script",
        "iframe",
        "frame",
        "frameset",
        "object",
        "embed",
        "applet",
        "base",
        "portal",
        "fencedframe",
        "link",
        "meta",
        "svg",
        "math",
        "template",
        "noscript",
        "xmp",
        "plaintext",
        "noembed",
        "noframes",
        "listing",
        "isindex",
        "bgsound",
        "layer",
        "ilayer",
        "xml",
        "import",
        "animate",
        "set",
        "foreignobject",
        "keygen",
    ]
)
"""Elements that go with all that is in them. Of `meta` and `link` only some, see `_is_kept`."""
_SAFE_META: Final = frozenset({"content-type", "content-language", "x-ua-compatible", ""})
_SAFE_LINKS: Final = frozenset({"stylesheet", "icon", "shortcut icon", "apple-touch-icon", "canonical", "alternate"})
_DROPPED_ATTRIBUTES: Final = frozenset({"srcdoc", "http-equiv", "is", "ping", "implementation", "datasrc", "dynsrc"})
_LINKS: Final = frozenset(
    [
        "href",
        "src",
        "action",
        "formaction",
        "background",
        "cite",
        "classid",
        "codebase",
        "data",
        "longdesc",
        "lowsrc",
        "manifest",
        "poster",
        "profile",
        "usemap",
        "srcset",
        "xlink:href",
        "url",
        "to",
        "from",
        "values",
        "by",
        "folder",
        "code",
        "archive",
    ]
)
_KEPT_SCHEMES: Final = frozenset(
    [
        "http",
        "https",
        "mailto",
        "ftp",
        "cid",
        "mid",
        "tel",
        "sms",
        "callto",
        "news",
        "nntp",
        "geo",
        "webcal",
        "skype",
        "xmpp",
    ]
)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.\-]*):", re.IGNORECASE)
_IGNORED_IN_LINKS: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028\u2029\ufeff]+")
_PICTURE: Final = re.compile(r"data:image/(?:png|gif|jpe?g|webp|bmp|x-icon)[;,]", re.IGNORECASE)
_ACTIVE_STYLE: Final = re.compile(
    r"expression|behaviou?r|-moz-binding|javascript|vbscript|@import|@charset|</|<!--|data:(?!image/(?:png|gif|jpe?g))",
    re.IGNORECASE,
)
_CONDITION: Final = re.compile(r"<!--\s*\[\s*if\b", re.IGNORECASE)
_COMMENTED: Final = re.compile(r"<(?:script|iframe|object|embed|applet)", re.IGNORECASE)
_STYLE_NOISE: Final = re.compile(r"/\*.*?\*/|\\|[\x00-\x20]", re.DOTALL)
_UTF7: Final = re.compile(rb"\+(?:ADw|AD4|ACI|AHM)", re.IGNORECASE)
_SHIFTED: Final = re.compile(rb"\x1b[$(]|~\{|charset\s*=\s*[\"']?\s*(?:utf-7|hz|iso-2022)", re.IGNORECASE)
"""Charsets in which ASCII bytes are not ASCII characters."""
_PRIVATE: Final = 0xF700
"""Bytes above ASCII become private characters from here on while the page is a tree."""
_MASKED: Final = re.compile(rb"&#(?:x0*f7[89a-f][0-9a-f]|0*63[34]\d\d)", re.IGNORECASE)
"""References that would come out as such a byte."""
_WIDE_MARKS: Final = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_TO_PRIVATE: Final = {byte: _PRIVATE + byte for byte in range(0x80, 0x100)}
_FROM_PRIVATE: Final = {_PRIVATE + byte: byte for byte in range(0x80, 0x100)}


def cure_html(data: bytes) -> Cured | None:
    """Return the page without what acts, None when it cannot be done or there is nothing."""
    try:
        return _cure(data)
    except Uncurable:
        return None


def _cure(data: bytes) -> Cured:
    if len(data) > PAGE_BYTES:
        raise Uncurable("a page that is too large")
    for mark, charset in _WIDE_MARKS:
        if data.startswith(mark):
            page, removed = _disarm(_decode_wide(data[len(mark) :], charset))
            return build_cured(mark + page.encode(charset, "xmlcharrefreplace"), removed)
    if b"\0" in data or _MASKED.search(data) or _UTF7.search(data) or _SHIFTED.search(data):
        raise Uncurable("a page in a charset that is not read here")
    page, removed = _disarm(data.decode("latin-1").translate(_TO_PRIVATE))
    return build_cured(_encode(page), removed)


def _decode_wide(data: bytes, charset: str) -> str:
    try:
        page = data.decode(charset)
    except UnicodeDecodeError:
        raise Uncurable("a page in damaged UTF-16") from None
    return page.replace("\0", "")


def _encode(page: str) -> bytes:
    """Return the page with the bytes it came with, and other characters above ASCII as references."""
    if any(0x80 <= ord(each) < _PRIVATE or ord(each) >= _PRIVATE + 0x100 for each in set(page)):
        page = "".join(each if each < "\x80" or ord(each) in _FROM_PRIVATE else f"&#{ord(each)};" for each in page)
    return page.translate(_FROM_PRIVATE).encode("latin-1")


def _disarm(page: str) -> tuple[str, list[str]]:
    """Return (page without what acts, what that was). Uncurable when a second reading does not give the same page."""
    if _is_dear(page):
        raise Uncurable("a page that costs too much to read")
    doctype = re.match(r"\s*(<!doctype[^>]{0,200}>)", page, re.IGNORECASE)
    tree = LexborHTMLParser(page)
    removed = ["script in a comment"] if _has_commented(page) else []
    _clean(tree, removed)
    written = _write(tree)
    again = LexborHTMLParser(written)
    left: list[str] = []
    _clean(again, left)
    if left or _write(again) != written or _has_commented(written):
        raise Uncurable("markup that changes when it is read twice")
    return (doctype[1] if doctype else "") + written, removed


def _is_dear(page: str) -> bool:
    """Tell whether the parser would take long, by a glance at the tags."""
    tags = sum(1 for _ in _TAG.finditer(page))
    unclosed = most = 0
    for found in _FORMATS.finditer(page):
        unclosed = max(unclosed - 1, 0) if found[1] else unclosed + 1
        most = max(most, unclosed)
    return tags > TAGS or most * tags > _REPEATS


def _has_commented(page: str) -> bool:
    """Tell whether a comment is there for one browser only, and runs in it. It is gone once the tree is written, unless
    it began within the name of an element, where only readers of old may see one.
    """
    position = 0
    while (found := _CONDITION.search(page, position)) is not None:
        end = page.find("-->", found.end())
        position = len(page) if end < 0 else end
        if _COMMENTED.search(page, found.end(), position):
            return True
    return False


def _write(tree: LexborHTMLParser) -> str:
    root = tree.root
    if root is None or root.html is None:
        raise Uncurable("no page")
    return root.html


def _clean(tree: LexborHTMLParser, removed: list[str]) -> None:
    """Take what acts out of the tree."""
    doomed: list[LexborNode] = []
    root = tree.root
    if root is None:
        raise Uncurable("no page")
    for node in root.traverse(include_text=True):
        tag = (node.tag or "").lower()
        if tag in ("-text", "#text"):
            continue
        if tag.startswith(("-", "_", "#", "!")):  # comments: browsers of old run what stands in some
            doomed.append(node)
        elif tag in _DROPPED and not _is_kept(node, tag):
            doomed.append(node)
            removed.append(tag)
        elif tag == "style" and _is_active_style(node.text(deep=True)):
            doomed.append(node)
            removed.append("active style")
        else:
            _clean_attributes(node, removed)
    for node in reversed(doomed):  # from the inside out
        node.remove()


def _is_kept(node: LexborNode, tag: str) -> bool:
    attributes = {name.lower(): value or "" for name, value in node.attributes.items()}
    if tag == "meta":
        return attributes.get("http-equiv", "").strip().lower() in _SAFE_META
    if tag == "link":
        kept = attributes.get("rel", "").strip().lower() in _SAFE_LINKS
        return kept and all(_is_safe_link(attributes.get(each, "")) for each in ("href", "src"))
    return False


def _clean_attributes(node: LexborNode, removed: list[str]) -> None:
    for name, value in list(node.attributes.items()):
        lower, text = name.lower(), value or ""
        if lower == "http-equiv" and node.tag == "meta":
            continue
        if lower.startswith("on") or lower in _DROPPED_ATTRIBUTES or not _is_plain(lower):
            removed.append(lower if lower.startswith("on") else f"attribute {lower}")
        elif lower in _LINKS and not _is_safe_link(text):
            removed.append("link that runs something")
        elif lower == "style" and _is_active_style(text):
            removed.append("active style")
        else:
            continue
        del node.attrs[name]


def _is_plain(name: str) -> bool:
    """Tell whether a name of an attribute is written the same way by everybody."""
    return re.fullmatch(r"[a-z_:@.][a-z0-9_:@.\-]*", name) is not None


def _is_safe_link(value: str) -> bool:
    value = _IGNORED_IN_LINKS.sub("", value)
    if value.startswith(("\\\\", "//\\")):
        return False
    found = _SCHEME.match(value)
    if found is None:
        # Nobody reads a scheme behind characters that cannot be in one, but sets of sources hold several links.
        return "javascript:" not in value.lower() and "vbscript:" not in value.lower()
    return found[1].lower() in _KEPT_SCHEMES or _PICTURE.match(value) is not None


def _is_active_style(text: str) -> bool:
    return _ACTIVE_STYLE.search(text) is not None or _ACTIVE_STYLE.search(_STYLE_NOISE.sub("", text)) is not None
