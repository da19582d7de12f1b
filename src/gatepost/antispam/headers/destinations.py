"""Where the links of a message lead, seen from who wrote it: facts and a derived value for the rules of headers.

Called by `facts` and `picture`. Honest senders who write first lead to their own site: a message whose links all lead
to others' is either a person's, or not of whom it says. Every answer is bounded by `HOSTS_LIMIT`.
"""

from typing import TYPE_CHECKING, Final

from gatepost.antispam.headers.names import organization

if TYPE_CHECKING:
    from gatepost.antispam.headers.picture import Picture

HOSTS_LIMIT: Final = 20
"""Different hosts of one message that the rules look at: a message of fraud has one or two."""
_ANCHORS_LIMIT: Final = 200
"""Links among which they are looked for."""
_SHOWN: Final = 4
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
    """The message has HTML with links, and none leads to the domain of the author or of the envelope sender, nor to
    the same name under another top-level domain.
    """
    view = picture.view
    if not view.html:
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
    domain = picture.author.domain
    return "" if any(domain == each or domain.endswith(f".{each}") for each in known.domains) else known.name
