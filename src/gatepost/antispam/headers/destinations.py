"""Where the links of a message lead, seen from who wrote it: facts and a derived value for the rules of headers.

Called by `facts` and `picture`. Honest senders who write first lead to their own site: a message whose links all lead
to others' is either a person's, or not of whom it says. Every answer is bounded by `HOSTS_LIMIT`.
"""

import itertools
import re
from typing import TYPE_CHECKING, Final

from gatepost.antispam.headers.names import organization
from gatepost.antispam.headers.reference import WORDS_LIMIT

if TYPE_CHECKING:
    from gatepost.antispam.headers.picture import Picture

HOSTS_LIMIT: Final = 20
"""Different hosts of one message that the rules look at: a message of fraud has one or two."""
_ANCHORS_LIMIT: Final = 200
"""Links among which they are looked for."""
_SHOWN: Final = 4
_FEW: Final = 120
"""Characters of text below which a picture speaks."""
_CALL_LIMIT: Final = 3_000
"""Characters of the text in which a number to call is looked for."""
_BRAND_WORDS: Final = 60
"""Words of the text among which a brand is looked for."""
_BRAND_STEP: Final = WORDS_LIMIT - 3
"""So many words further the next name is looked for: the longest has three."""
_NUMBER = re.compile(r"\d[\d ()._+/-]{7,20}\d")
"""What may hold a telephone number: to search all of a text for `_PHONE` takes half a millisecond."""
_NUMBERS_LIMIT: Final = 20
_PHONE = re.compile(
    r"(?<![\w.#-])(?:\+ ?\d{1,3}[ .-]?)?(?:\(\d{3}\)|\d{3})[ ._)-]{0,3}\d{3}[ ._-]{1,3}\d{4}(?![\w-])"
    r"|(?<![\w.#-])(?:\+|00) ?[1-9](?:[ ()./-]{0,2}\d){8,13}(?![\w-])"
)
"""Telephone numbers as North America writes them, and international ones."""
_BEFORE: Final = 3
"""Characters in front of the first digit that a number begins with: `+ (`."""
_MONEY: Final = ("$", "€", "£", "USD", "EUR")
_OTHER_TEXTS: Final = frozenset({"pdf", "ocr", "qr"})
"""Elements that are no links of the message's own text."""


def link_hosts(picture: "Picture") -> tuple[str, ...]:
    """Return the hosts that a click leads to, each once."""
    hosts: dict[str, None] = {}
    for anchor in picture.view.anchors[:_ANCHORS_LIMIT]:
        if anchor.domain and anchor.followed:
            hosts[anchor.host] = None
            if len(hosts) >= HOSTS_LIMIT:
                break
    return tuple(hosts)


def links_elsewhere(picture: "Picture") -> str:
    """The message shows a page with links, and none leads to the domain of the author or of the envelope sender, nor to
    the same name under another top-level domain.
    """
    view = picture.view
    if not any(text.page is not None and not text.attached for text in view.texts):
        return ""
    own = {picture.author_organization, organization(picture.sender_domain)} - {""}
    names = {each.partition(".")[0] for each in own}
    domains: dict[str, None] = {}
    for anchor in view.anchors[:_ANCHORS_LIMIT]:
        domain = anchor.domain
        if not domain or not anchor.followed or anchor.element in _OTHER_TEXTS or domain in domains:
            continue
        if domain in own or domain.partition(".")[0] in names:
            return ""
        domains[domain] = None
    return ", ".join(list(domains)[:_SHOWN])


def subject_brand(picture: "Picture") -> str:
    """The subject names a brand, and the author's domain is not the brand's."""
    known = picture.reference.find_brand(picture.view.subject)
    if known is None:
        return ""
    domain = picture.author_domain
    return "" if any(domain == each or domain.endswith(f".{each}") for each in known.domains) else known.name


def pictures_alone(picture: "Picture") -> str:
    """Pictures that are links, and hardly any text."""
    view = picture.view
    if len(view.html) + len(view.plain) >= _FEW:
        return ""
    shown = [anchor.host for anchor in view.anchors[:_ANCHORS_LIMIT] if anchor.pictured and anchor.followed]
    return shown[0] if shown else ""


def call_about_money(picture: "Picture") -> str:
    """The text names a sum and a telephone number, and leads nowhere: the number is what it wants to be used."""
    text = picture.view.body[:_CALL_LIMIT]
    if not any(mark in text for mark in _MONEY) or picture.texts("@link-host"):
        return ""
    for number in itertools.islice(_NUMBER.finditer(text), _NUMBERS_LIMIT):
        found = _PHONE.search(text, max(0, number.start() - _BEFORE), number.end() + 1)
        if found is not None:
            return found[0]
    return ""


def text_brand(picture: "Picture") -> str:
    """The beginning of the text names a brand, and neither the author's nor a link's domain is the brand's."""
    words = picture.view.body[:_CALL_LIMIT].split(maxsplit=_BRAND_WORDS)[:_BRAND_WORDS]
    for start in range(0, len(words), _BRAND_STEP):
        known = picture.reference.find_brand(" ".join(words[start : start + WORDS_LIMIT]))
        if known is not None:
            reached = (picture.author_domain, *link_hosts(picture))
            own = any(each == domain or each.endswith(f".{domain}") for each in reached for domain in known.domains)
            return "" if own else known.name
    return ""
