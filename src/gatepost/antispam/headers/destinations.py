"""Where the links of a message lead, seen from who wrote it: facts and a derived value for the rules of headers.

Called by `facts` and `picture`. Honest senders who write first lead to their own site: a message whose links all lead
to others' is either a person's, or not of whom it says. Every answer is bounded by `HOSTS_LIMIT`.
"""

import base64
import itertools
import re
import urllib.parse
from typing import TYPE_CHECKING, Final

from gatepost.antispam.headers.names import organization
from gatepost.antispam.headers.reference import WORDS_LIMIT

if TYPE_CHECKING:
    from gatepost.antispam.headers.picture import Picture

HOSTS_LIMIT: Final = 20
"""Different hosts of one message that the rules look at: a message of fraud has one or two."""
_ANCHORS_LIMIT: Final = 200
"""Links among which they are looked for."""
_RECIPIENTS_LIMIT: Final = 3
"""Recipients whose addresses are looked for: fraud of this kind is made for one."""
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
    r"(?<![\w.#-])(?:\+ ?\d{1,3}[ .-]?|1[ .-])?(?:\(\d{3}\)|\d{3})[ ._)-]{0,3}\d{3}[ ._-]{1,3}\d{4}(?![\w-])"
    r"|(?<![\w.#-])(?:\+|00) ?[1-9](?:[ ()./-]{0,2}\d){8,13}(?![\w-])"
)
"""Telephone numbers as North America writes them, and international ones."""
_BEFORE: Final = 3
"""Characters in front of the first digit that a number begins with: `+ (`."""
_MONEY: Final = ("$", "€", "£", "USD", "EUR")
_DOCUMENTS: Final = frozenset({"pdf", "office"})
_OTHER_TEXTS: Final = frozenset({"pdf", "office", "ocr", "qr"})
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
    own, names = _at_home(picture)
    domains: dict[str, None] = {}
    for anchor in view.anchors[:_ANCHORS_LIMIT]:
        domain = anchor.domain
        if not domain or not anchor.followed or anchor.element in _OTHER_TEXTS or domain in domains:
            continue
        if domain in own or domain.partition(".")[0] in names:
            return ""
        domains[domain] = None
    return ", ".join(list(domains)[:_SHOWN])


def link_ends_in_recipient(picture: "Picture") -> str:
    """A link ends in `#` and the recipient's address, plain or in base64: what stands there reaches scripts of the page
    only, which fill in a form with it. `#/` and `#!` begin ways through a site, whose own business it is.
    """
    marked = [
        anchor
        for anchor in picture.view.anchors[:_ANCHORS_LIMIT]
        if "#" in anchor.url and anchor.domain and anchor.followed
    ]
    if not marked:
        return ""
    addresses = [address.lower() for address in picture.options.recipients[:_RECIPIENTS_LIMIT] if "@" in address]
    for anchor in marked:
        end = anchor.url.partition("#")[2]
        if not end.startswith(("/", "!")):
            shown = urllib.parse.unquote(end).lower()
            for address in addresses:
                if address in shown or base64.b64encode(address.encode()).rstrip(b"=").decode() in end:
                    return anchor.host
    return ""


def document_elsewhere(picture: "Picture") -> str:
    """An attached document leads somewhere, but not to the author's own site."""
    led = [anchor for anchor in picture.view.anchors[:_ANCHORS_LIMIT] if anchor.element in _DOCUMENTS and anchor.domain]
    if not led:
        return ""
    own, names = _at_home(picture)
    if any(anchor.domain in own or anchor.domain.partition(".")[0] in names for anchor in led):
        return ""
    return led[0].host


def _at_home(picture: "Picture") -> tuple[set[str], set[str]]:
    """Return the domains of the author and of the envelope sender, and their names without the suffix."""
    own = {picture.author_organization, organization(picture.sender_domain)} - {""}
    return own, {each.partition(".")[0] for each in own}


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


def brand_unlinked(picture: "Picture") -> str:
    """The author bears the name of a brand, and of the links none leads to it."""
    known = picture.reference.find_brand(picture.text("@from-name"))
    hosts = link_hosts(picture)
    if known is None or not hosts:
        return ""
    own = any(host == domain or host.endswith(f".{domain}") for host in hosts for domain in known.domains)
    return "" if own else hosts[0]


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
