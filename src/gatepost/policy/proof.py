"""Whether authentication proves that an address is a message's sender. Pure.

Called by `policy.spam` for the entries of white lists, and by `relay.rejecting` before a report goes to a sender.

A domain that is proved proves one address of the message, not every one that names it: who has a mailbox at a large
provider has its DKIM signature under his own mail, and can send that on with any envelope, or with an author of his
choice in front where the signature does not cover that.
"""

from collections.abc import Sequence

from gatepost.antispam.headers.addresses import read_domain
from gatepost.model.address import domain_of
from gatepost.model.authn import AuthnResults


def is_sender_proved(sender: str, authn: AuthnResults) -> bool:
    """Tell whether the envelope sender is proved: by SPF only, as DKIM does not sign envelopes (RFC 7208 §2.4)."""
    return authn.spf == "pass" and not authn.spf_helo and authn.spf_domain == read_domain(domain_of(sender))


def is_author_proved(author: str, authors: Sequence[str], authn: AuthnResults) -> bool:
    """Tell whether an author is proved: he is the only one, and his domain or the one above it is, or DMARC passes."""
    if tuple(authors) != (author,):
        return False
    domain = domain_of(author)
    if authn.dmarc == "pass" and authn.dmarc_domain == domain:
        return True
    return any(domain == each or domain.endswith(f".{each}") for each in authn.authenticated)
