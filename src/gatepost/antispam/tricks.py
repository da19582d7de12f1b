"""Signs of texts made to be read by people and not by filters, and of links that lead elsewhere: a content check.

Told from what `antispam.view` found while it read the message. Weighs what spam does and honest mail does not: hidden
preheaders, tracked links and pictures are a newsletter's daily bread and weigh nothing.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from gatepost.antispam.check import Notes
from gatepost.antispam.extract.markup import Page
from gatepost.antispam.extract.parts import Text
from gatepost.antispam.extract.warming import warm
from gatepost.antispam.knowledge import Knowledge, read_lines
from gatepost.antispam.links import Anchor, Oddity
from gatepost.antispam.view import MailView
from gatepost.config.masks import PRIVATE
from gatepost.model.spam import Method

_SHORT: Final = 120
"""Characters of text below which it is something else that speaks."""
_HARDLY: Final = 80
"""And below which there is next to none."""
_DENSE: Final = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3]+")
"""Kana, Chinese characters, Korean syllables."""
_QUOTED: Final = 120
"""Characters of words in pictures that an evidence shows."""
_MANY_WORDS: Final = 60
"""Words that are a text of their own."""
_SUBJECT_HYPHENS: Final = 4
"""Soft hyphens of a subject, which no program breaks at them."""
_LINKS_LOOKED: Final = 2_000
"""Links of one message that are weighed."""


class TricksCheck:
    """Tricks of texts and links."""

    name = "tricks"

    def __init__(self, knowledge: Knowledge) -> None:
        """ValueError: a list is no text."""
        warm()
        self._shorteners = frozenset(_read_list(knowledge, "links/shorteners.list"))
        self._redirectors = tuple(_read_list(knowledge, "links/redirectors.list"))
        self._brands: dict[str, frozenset[str]] = {}
        for line in _read_list(knowledge, "links/brands.list"):
            names = line.split()
            self._brands[names[0]] = frozenset(names)

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Add the signs of one message."""
        for name, evidence, weight in self._find(view):
            notes.sign(Method.CONTENT, name, evidence, weight)

    def _find(self, view: MailView) -> Iterator[tuple[str, str, float]]:
        yield from _look_at_letters(view)
        pages = [text for text in view.texts if text.page is not None]
        if pages:
            yield from _look_at_pages([text for text in pages if not text.attached])
            yield from _look_at_attached([text for text in pages if text.attached])
        yield from _look_at_form(view)
        anchors = view.anchors
        if anchors:
            yield from self._look_at_links(view, anchors[:_LINKS_LOOKED])

    def _look_at_links(self, view: MailView, anchors: tuple[Anchor, ...]) -> Iterator[tuple[str, str, float]]:
        seen: set[str] = set()
        followed = [anchor for anchor in anchors if anchor.followed]
        for anchor in followed:
            for name, evidence, weight in self._look_at_link(anchor):
                if name not in seen:
                    seen.add(name)
                    yield name, evidence, weight
        domains = {anchor.domain for anchor in followed if anchor.domain}
        if domains and domains <= self._shorteners:
            weight = 2.7 if _says_little(view) and _shows_pictures(view) else 1.5
            told = f"all links go through services that hide where they lead: {_some(domains)}"
            yield "link-short-only", told, weight
        codes = [anchor for anchor in anchors if anchor.element == "qr"]
        if codes:
            few = len(view.html) + len(view.plain) < 3 * _SHORT
            yield (
                "qr-link",
                f"a code in a picture leads to {codes[0].host}" + (", and the text says little else" if few else ""),
                1.2 if few else 0.4,
            )

    def _look_at_link(self, anchor: Anchor) -> Iterator[tuple[str, str, float]]:
        if anchor.odd:
            for oddity in anchor.odd:
                told = _ODDITIES.get(oddity)
                if told is not None and not (oddity is Oddity.ADDRESS and _is_own(anchor)):
                    yield f"link-{oddity}", told[0].format(url=anchor.url[:100], host=anchor.host), told[1]
            if anchor.inner and self._is_redirector(anchor):
                yield "link-redirector", f"a link goes through {anchor.host} on to {anchor.inner}", 0.8
        shown = anchor.shown_domain
        if shown and shown != anchor.domain and anchor.host:
            family = self._brands.get(shown)
            if family is not None and anchor.domain not in family and anchor.inner not in family:
                yield "link-other-than-shown", f"a link shows {shown} and leads to {anchor.host}", 1.2

    def _is_redirector(self, anchor: Anchor) -> bool:
        place = anchor.url.partition("://")[2].removeprefix("www.")
        if anchor.domain.startswith("google."):  # one site under the names of all countries
            place = place.replace(anchor.domain, "google.com", 1)
        return place.startswith(self._redirectors)


_ODDITIES: Final[dict[Oddity, tuple[str, float]]] = {
    Oddity.ADDRESS: ("a link leads to a bare address, {host}", 1.0),
    Oddity.DISGUISED_HOST: ("a link disguises the name of its host: {url} leads to {host}", 2.0),
    Oddity.USER: ("a link names something else in front of its true host: {url} leads to {host}", 1.5),
    Oddity.PORT: ("a link leads to an unusual port: {url}", 0.2),
    Oddity.LOOK_ALIKE: ("a link leads to a name made of letters that look like others: {host}", 2.5),
    Oddity.SCRIPT: ("a link is a script: {url}", 0.3),
    Oddity.INLINE: ("a link holds a page in itself: {url}", 2.0),
    Oddity.OTHER_NAME: ("a link begins with the name of another site: {host}", 0.5),
    Oddity.BROKEN: ("a link is written so that only browsers understand it: {url}", 0.8),
}
"""What is said of an odd link, and its weight; what is not here weighs nothing."""


def _read_list(knowledge: Knowledge, path: str) -> list[str]:
    return [line for _, line in read_lines(path, knowledge.files.get(path, b""))]


def _some(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)[:4])


def _look_at_letters(view: MailView) -> Iterator[tuple[str, str, float]]:
    """Look for words written so that only people read them."""
    body, subject = view.fold, view.subject_fold
    count = body.lookalikes + subject.lookalikes
    if count:
        words = ", ".join((subject.lookalike_examples + body.lookalike_examples)[:4])
        weight = 2.5 if count >= 5 or subject.lookalikes else 1.0
        yield "look-alike-letters", f"{count} words with letters of another alphabet that look alike: {words}", weight
    broken = body.broken + 2 * subject.broken
    if subject.broken or broken >= 3:
        yield (
            "invisible-in-words",
            f"{body.broken + subject.broken} invisible characters inside words",
            2.0 if broken >= 15 or (subject.broken and broken >= 3) else 1.0,
        )
    letters = len(body.text)
    if body.soft_hyphens > 20 and body.soft_hyphens * 12 > letters:
        yield "soft-hyphens", f"{body.soft_hyphens} soft hyphens in {letters} characters of text", 0.8
    elif subject.soft_hyphens >= _SUBJECT_HYPHENS:
        yield "soft-hyphens", f"{subject.soft_hyphens} soft hyphens in the subject", 1.5
    if body.twisted + subject.twisted:
        yield "direction-override", "characters that turn the direction of writing round by force", 1.0
    gappy = body.gappy  # of the subject `subject-gappy` tells
    if gappy:
        words = ", ".join(dict.fromkeys(gappy[:4]))
        yield (
            "spaced-words",
            f"{len(gappy)} words with their letters set apart: {words}",
            min(0.7, 0.1 + 0.2 * len(gappy)),
        )
    styled = body.styled + 2 * subject.styled
    if styled >= 2:
        yield "styled-letters", f"{styled} words in mathematical or circled letters", min(1.0, 0.2 * styled)


def _look_at_pages(pages: list[Text]) -> Iterator[tuple[str, str, float]]:
    """Look at pages that are shown at once."""
    for text in pages:
        page = text.page
        if page is None:
            continue
        if page.split_words >= 3:
            words = ", ".join(page.split_examples[:4])
            yield (
                "split-words",
                f"{page.split_words} words are split by something unseen: {words}",
                2.5 if page.split_words >= 15 else 1.2,
            )
        if page.invented >= 5:
            yield "invented-elements", f"{page.invented} elements of the page have names that do not exist", 1.0
        if page.passwords:
            yield "form-secrets", f"the page asks for a password or the number of a card ({page.passwords} fields)", 2.5
        elif page.forms and page.fields:
            yield "form", f"the page is a form to fill in ({page.fields} fields)", 0.3
        if page.redirects:
            yield "page-redirects", "the page sends its reader on to another address", 1.5
        if page.scripts:
            yield "page-script", f"the page holds {page.scripts} scripts", 0.2
        if page.frames:
            yield "page-frame", f"the page shows {page.frames} other pages inside", 0.1
        if page.cut:
            yield "page-endless", "the page has more tags than anybody writes", 1.0
        yield from _look_at_hidden(text)


def _look_at_hidden(text: Text) -> Iterator[tuple[str, str, float]]:
    """Look at hidden text that says something else than what is seen: the form for phones says the same."""
    page = text.page
    if page is None or len(text.hidden) < 300:
        return
    hidden = text.hidden.lower().split()
    seen = frozenset(text.visible.lower().split())
    others = [word for word in hidden if len(word) > 2 and word.isalpha() and word not in seen]
    sly = sum(count for reason, count in page.reasons.items() if reason in _SLY)
    if len(others) < _MANY_WORDS:
        return
    reasons = ", ".join(sorted(page.reasons))
    if sly * 2 > sum(page.reasons.values()):
        weight = 2.0
    elif len(others) > 2 * len(seen):
        weight = 1.3
    else:
        weight = 0.3
    yield "hidden-text", f"{len(others)} words are hidden ({reasons}): {' '.join(others[:8])}", weight


_SLY: Final = frozenset({"font of no size", "colour of the background", "off the screen", "opacity:0"})
"""Ways of hiding that no newsletter uses for more than a line."""


def _look_at_attached(pages: list[Text]) -> Iterator[tuple[str, str, float]]:
    """Look at pages in attachments: opened, they have the rights of any page on the net."""
    for text in pages:
        page = text.page
        if page is None:
            continue
        name = text.part.name if text.part is not None else ""
        if page.passwords:
            yield "attached-form", f"the attached page {name} asks for a password or the number of a card", 2.5
        elif page.redirects:
            yield "attached-redirect", f"the attached page {name} sends its reader on to another address", 2.0
        elif page.scripts and len(page.visible) < 3 * _SHORT:
            yield "attached-script", f"the attached page {name} is little else than scripts", 1.5
        else:
            yield "attached-page", f"a web page is attached: {name}", 0.3


def _shown_pages(view: MailView) -> list[Page]:
    return [text.page for text in view.texts if text.page is not None and not text.attached]


def _shows_pictures(view: MailView) -> int:
    """Return the number of pictures that are to be seen."""
    return view.parts.picture_parts + sum(page.pictures - page.tiny_pictures for page in _shown_pages(view))


def _is_own(anchor: Anchor) -> bool:
    """Whether a bare address is one of a network at home: cameras and routers have no names."""
    return PRIVATE.contains(anchor.host.strip("[]"))


def _leads_out(anchor: Anchor) -> bool:
    return anchor.element == "a" and not _is_own(anchor)


def _says_little(view: MailView) -> bool:
    """Whether something else than the text speaks. A character of a script without blanks says as much as three."""
    size = len(view.html) + len(view.plain)
    if size >= _SHORT or any(text.quoted for text in view.texts):
        return False
    dense = sum(map(len, _DENSE.findall(view.html))) + sum(map(len, _DENSE.findall(view.plain)))
    return size + 2 * dense < _SHORT


def _look_at_form(view: MailView) -> Iterator[tuple[str, str, float]]:
    """Look at what the message is made of."""
    html, plain = view.html, view.plain
    if _says_little(view):
        size = len(html) + len(plain)
        pages = _shown_pages(view)
        pictures = _shows_pictures(view)
        linked = any(anchor.followed and anchor.element == "a" for anchor in view.anchors)
        if pictures and linked:
            told = f"{pictures} pictures that are links, and hardly any text ({size} characters)"
            yield "picture-only", told, 1.8 if size < _HARDLY else 1.0  # a short notice has a logo, too
            nameless = next((each.host for each in view.anchors if Oddity.ADDRESS in each.odd and _leads_out(each)), "")
            if nameless:
                yield "picture-to-address", f"all it shows is a picture that leads to the bare address {nameless}", 1.2
        elif pictures:
            weight = 1.0 if any(page.pictures > page.tiny_pictures for page in pages) else 0.4
            yield "picture-only", f"{pictures} pictures and hardly any text ({size} characters)", weight
        elif view.parts.documents:
            yield "document-only", f"a document is attached, and the text says little ({size} characters)", 0.2
        elif any(page.tiny_pictures for page in pages):
            yield "tracker-only", "the message shows nothing but tells its sender that it was read", 1.0
    if view.pictured:
        yield "picture-text", f"a picture says: “{' '.join(view.pictured[:_QUOTED].split())}”", 0.0
    words = plain.lower().split() if html and plain else []
    if len(words) >= _MANY_WORDS and len(view.html_words) >= _MANY_WORDS:
        known = view.html_words
        shared = sum(word in known for word in words) / len(words)
        if shared < 0.25:
            yield "forms-differ", f"the plain and the HTML form say different things ({shared:.0%} words shared)", 0.5
    elif len(words) > 2 * _MANY_WORDS and view.anchors and view.first("list-unsubscribe") is None:
        strange = sum(word.isalpha() and word not in view.html_words for word in words)
        if strange > 2 * _MANY_WORDS:
            yield "forms-differ", f"{strange} words of the plain form are not shown in the HTML form", 1.2
    wrapped = [text for text in view.texts if text.wrapped and not text.attached and len(text.visible) > 20]
    if wrapped and all(text.kind == "plain" for text in wrapped):
        yield "wrapped-text", "text of plain letters is encoded so that it cannot be searched", 0.4
