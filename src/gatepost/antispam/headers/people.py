"""Facts of who writes to whom: display names, look-alikes, replies elsewhere, envelope against header.

Named in `.signs` as `fact NAME`. Each returns what was seen, in words, or "" when it does not hold.
"""

import re

from gatepost.antispam.headers.addresses import Mailbox
from gatepost.antispam.headers.names import (
    addresses_in,
    invisible_in,
    mixed_word_in,
    name_key,
    one_edit_apart,
    organization,
    skeleton,
)
from gatepost.antispam.headers.picture import Picture

LABEL_LETTERS = 6
"""Letters of an own name from which one edit makes a look-alike: of shorter ones the neighbours are other firms."""
SKELETON_LETTERS = 4
ALIKE_RECIPIENTS = 5
"""Recipients with the same beginning, or in the order of the alphabet, from which a list was worked through."""
_LIST_FIELDS = frozenset(
    {"list-id", "list-post", "list-unsubscribe", "mailing-list", "x-mailing-list", "x-beenthere", "resent-from"}
)
_SERVICE_SENDER = re.compile(
    r"[=+]|bounce|return|srs[01]|prvs|verp|-request|owner-|noreply|no-reply|reply|mailer|www|apache|nobody"
)
_PERSONAL = re.compile(r"[a-z][\d._]|\d[a-z]")
"""In a local part: no plain word, which a subject may hold by itself."""
_LOCAL = re.compile(r"[^@\s]{1,64}@[a-z0-9_-]{1,63}")
_PERCENT = re.compile(r"[^\s@]%[a-z][a-z0-9-]*\.[a-z]{2}")
"""A second domain in a local part (the routing of old gateways)."""
_GROUP_NAMES = re.compile(r"undisclosed|recipient|unlisted|suppressed|list-member", re.IGNORECASE)


def from_invalid(picture: Picture) -> str:
    """The author's address is none."""
    box = picture.author
    if box.is_valid or is_local(box) or not picture.authors.fields:
        return ""
    return box.address or box.display or "an empty From field"


def is_local(box: Mailbox) -> bool:
    """Whether an address has a host name without a domain, as machines within one network write."""
    return _LOCAL.fullmatch(box.address) is not None


def from_ambiguous(picture: Picture) -> str:
    """Readers may take different addresses for the author's."""
    authors = picture.authors
    if authors.odd_name:
        return "a From field with control characters in its name"
    domains = {organization(address.rpartition("@")[2]) for address in authors.addresses}
    if authors.fields > 1:
        return f"{authors.fields} From fields"
    return ", ".join(authors.addresses[:3]) if len(domains) > 1 else ""


def from_disguised(picture: Picture) -> str:
    """The From field has forms that exist to mislead readers."""
    for box in picture.authors.mailboxes:
        if box.routed:
            return f"a route in front of {box.address}"
        if box.encoded_in_quotes and _shows_other_address(box):
            return f"an encoded address inside quotes, {box.display}"
        if "\0" in box.display or "\n" in box.display or "\r" in box.display:
            return f"line ends inside the name of {box.address}"
        if " " * 30 in box.display:
            return f"a run of spaces that pushes {box.address} out of sight"
        if _PERCENT.search(box.local):
            return f"a second domain inside {box.address}"
    return ""


def to_invalid(picture: Picture) -> str:
    """A To or Cc address is none, groups without members aside."""
    for box in picture.recipients[:50]:
        if not box.is_valid and not is_local(box) and not box.grouped and not _GROUP_NAMES.search(box.display):
            if box.address:
                return box.address
            if not any(other.address for other in picture.recipients):
                return box.display
    return ""


def display_address(picture: Picture) -> str:
    """The author's name holds an address of another organisation."""
    box = picture.author
    if "@" not in box.display or not box.address or " via " in box.display.lower():
        return ""
    return f"{box.display} <{box.address}>" if _shows_other_address(box) else ""


def _shows_other_address(box: Mailbox) -> bool:
    own = organization(box.domain)
    return any(organization(domain) != own for domain in addresses_in(box.display))


def display_own(picture: Picture) -> str:
    """The author's name holds an own domain while the address is foreign."""
    box = picture.author
    if not box.display or picture.is_own(box.domain):
        return ""
    shown = box.display.lower()
    held = [
        domain
        for domain in picture.own_domains
        if domain in shown and re.search(rf"(?<![\w.-]){re.escape(domain)}(?![\w-])", shown)
    ]
    return f"{box.display} <{box.address}>" if held else ""


def display_recipient(picture: Picture) -> str:
    """The author's name, or the front of his address, holds the recipient's domain, where he is not at home."""
    box = picture.author
    shown = f"{box.display}\n{box.local}".lower()
    if "." not in shown:
        return ""
    for domain in {address.lower().rpartition("@")[2] for address in picture.options.recipients[:3]}:
        if domain in shown and "." in domain and not picture.reference.is_free(domain):
            is_home = organization(domain) == picture.author_organization or picture.is_own(box.domain)
            if not is_home and re.search(rf"(?<![\w.-]){re.escape(domain)}(?![\w-])", shown):
                return f"{box.display} <{box.address}>".strip()
    return ""


def protected_name(picture: Picture) -> str:
    """The author bears a name that people would imitate, with an address that is not that person's."""
    box = picture.author
    names = picture.options.own_names
    if not names or not box.display:
        return ""
    key = name_key(box.display)
    for name, address in names:
        if name_key(name) == key and key and box.address != address.lower() and not picture.is_own(box.domain):
            return f"{box.display} <{box.address}>, whose address is {address}"
    return ""


def own_lookalike(picture: Picture) -> str:
    """The author's or the answer's domain looks like an own one."""
    if not picture.own_domains:
        return ""
    for domain in {picture.author_organization, organization(picture.answer.domain)}:
        if not domain or picture.is_own(domain):
            continue
        label, _, suffix = _shown(domain).partition(".")
        for own in {organization(each) for each in picture.own_domains}:
            own_label, _, own_suffix = own.partition(".")
            if _looks_like(label, own_label) and (suffix == own_suffix or label != own_label):
                return f"{domain}, which looks like {own}"
    return ""


def _shown(domain: str) -> str:
    """Return a domain as it is shown: A-labels decoded."""
    try:
        return domain.encode("ascii").decode("idna") if "xn--" in domain else domain
    except UnicodeError:
        return domain


def _looks_like(label: str, own: str) -> bool:
    if label == own or min(len(label), len(own)) < SKELETON_LETTERS:
        return False
    if skeleton(label) == skeleton(own):
        return True
    return len(own) >= LABEL_LETTERS and one_edit_apart(label, own)


def own_other_suffix(picture: Picture) -> str:
    """The author's domain is an own name under another top-level domain."""
    if not picture.own_domains:
        return ""
    domain = picture.author_organization
    label = domain.partition(".")[0]
    if len(label) < LABEL_LETTERS or picture.is_own(domain):
        return ""
    owns = {organization(each) for each in picture.own_domains}
    return f"{domain} beside {next(iter(owns))}" if any(each.partition(".")[0] == label for each in owns) else ""


def domain_disguised(picture: Picture) -> str:
    """The author's domain is written in letters that only look like Latin ones."""
    domain = picture.author_domain
    shown = _shown(domain)
    if shown == domain or shown.isascii():
        return ""
    plain = skeleton(shown)
    mixed = any(mixed_word_in(label) for label in shown.split("."))
    alike = plain.isascii() and not any("\u00c0" <= each <= "\u024f" for each in shown)
    return f"{shown} ({domain})" if mixed or alike else ""


def brand(picture: Picture) -> str:
    """The author bears the name of a brand, with an address that is not the brand's."""
    return "" if picture.reference.is_free(picture.author_domain) else _foreign_brand(picture)


def brand_free_mail(picture: Picture) -> str:
    """The author bears the name of a brand, with an address of a free mail service."""
    return _foreign_brand(picture) if picture.reference.is_free(picture.author_domain) else ""


def _foreign_brand(picture: Picture) -> str:
    box = picture.author
    if not box.display or not box.address or " via " in box.display.lower():
        return ""
    known = picture.reference.find_brand(box.display)
    if known is None:
        return ""
    domain = box.domain
    label = known.name.split()[0].lower()
    genuine = any(domain == each or domain.endswith(f".{each}") for each in known.domains)
    return "" if genuine or organization(domain).partition(".")[0] == label else f"{box.display} <{box.address}>"


def name_mixed(picture: Picture) -> str:
    """A word of the author's name mixes scripts to look like another word; of the subject `antispam.tricks` tells."""
    return mixed_word_in(picture.author.display)


def name_invisible(picture: Picture) -> str:
    """Invisible characters stand in the author's name; of the subject `antispam.tricks` tells."""
    return invisible_in(picture.author.display)


def answer_free_mail(picture: Picture) -> str:
    """Answers go to a free mail service, the author writes from elsewhere."""
    answer, author = picture.answer, picture.author
    free = picture.reference.is_free
    if (
        not answer.address
        or not picture.author_domain
        or is_listed(picture)
        or free(picture.author_domain)
        or not free(answer.domain)
    ):
        return ""
    return f"{answer.address} for {author.address}"


def answer_other_free_mail(picture: Picture) -> str:
    """Author and answers are with free mail services, but at different addresses there."""
    answer, author = picture.answer, picture.author
    free = picture.reference.is_free
    if not answer.address or is_listed(picture) or not free(picture.author_domain) or not free(answer.domain):
        return ""
    return (
        ""
        if answer.address == author.address or answer.local == author.local
        else f"{answer.address} for {author.address}"
    )


def answer_elsewhere(picture: Picture) -> str:
    """Answers go to another organisation than the author's."""
    answer, author = picture.answer, picture.author
    if not answer.address or not picture.author_domain or is_listed(picture):
        return ""
    same = organization(answer.domain) == picture.author_organization
    return "" if same else f"{answer.address} for {author.address}"


def is_listed(picture: Picture) -> bool:
    """Whether the message says that it came over a mailing list."""
    return not picture.fields.keys().isdisjoint(_LIST_FIELDS)


def envelope_sender_differs(picture: Picture) -> str:
    """The envelope sender is of another organisation than author and Sender, and no service writes so (bounce
    addresses of lists and mailing services are ordinary).
    """
    domain = picture.sender_domain
    if not domain or "." not in picture.author_domain or is_listed(picture):
        return ""
    sender = organization(domain)
    if sender == picture.author_organization or any(
        organization(box.domain) == sender for box in picture.boxes("sender")
    ):
        return ""
    local = picture.options.sender.rpartition("@")[0].lower()
    return "" if _SERVICE_SENDER.search(local) else f"{picture.options.sender} for {picture.author.address}"


def envelope_free_mail(picture: Picture) -> str:
    """The author is with a free mail service, the envelope sender with none and not a service's."""
    free = picture.reference.is_free
    if not free(picture.author_domain) or free(picture.sender_domain):
        return ""
    return envelope_sender_differs(picture)


def recipients_unnamed(picture: Picture) -> str:
    """No recipient of the envelope stands in To or Cc: told by who does, for recipients may not know of one another."""
    rcpt = {address.lower() for address in picture.options.recipients}
    if not rcpt or is_listed(picture) or not picture.recipients:
        return ""
    named = [box.address for box in picture.recipients]
    return "" if rcpt.intersection(named) else ", ".join(named[:2]) or "…"


def self_addressed(picture: Picture) -> str:
    """The author is the only recipient named."""
    addresses = {box.address for box in picture.recipients}
    return picture.author.address if addresses == {picture.author.address} and picture.author.address else ""


def recipients_alike(picture: Picture) -> str:
    """Many recipients whose addresses begin alike or follow the alphabet: a list was worked through."""
    locals_ = [box.local for box in picture.recipients if box.address]
    if len(locals_) < ALIKE_RECIPIENTS or len(set(locals_)) < ALIKE_RECIPIENTS:
        return ""
    domains = {box.domain for box in picture.recipients if box.address}
    alike = len({local[:3] for local in locals_}) == 1
    in_order = len(locals_) > ALIKE_RECIPIENTS and locals_ == sorted(locals_) and len(domains) == 1
    return f"{locals_[0]}, {locals_[1]}, {locals_[2]} …" if alike or in_order else ""


def subject_names_recipient(picture: Picture) -> str:
    """The subject addresses the recipient by the local part of his address."""
    boxes: list[Mailbox] = picture.recipients[:3]
    subject = picture.view.subject.lower()
    for local in {box.local for box in boxes} | {
        address.lower().rpartition("@")[0] for address in picture.options.recipients[:3]
    }:
        if local not in subject:
            continue
        if (
            len(local) >= SKELETON_LETTERS
            and _PERSONAL.search(local)
            and re.search(rf"(?<!\w){re.escape(local)}(?!\w)", subject)
        ):
            return local
        if len(local) > SKELETON_LETTERS and re.match(rf"(?:re: |hi |hello |dear )?{re.escape(local)}[,:!]", subject):
            return local
    return ""
