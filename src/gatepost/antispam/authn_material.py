"""What authentication needs of a message, read in the filter: authors, digests under signatures, ARC sets, results that
others wrote. Called by `content`; the relay checks it against the DNS (`gatepost.authn`).
"""

from gatepost.antispam.headers.addresses import ADDRESS_LIMIT
from gatepost.antispam.headers.authors import read_authors
from gatepost.antispam.view import MailView
from gatepost.authn.chain import read_chain
from gatepost.authn.reading import read_signatures
from gatepost.authn.signed import SignedContent
from gatepost.model.authn import AuthnMaterial

RESULTS_LIMIT = 20
"""Authentication-Results fields that are told, from the top: the ones that count were written last."""
RESULT_LIMIT = 8192
"""Octets of one of them."""

_RESULTS = b"authentication-results"


def read_material(view: MailView) -> AuthnMaterial:
    """Read it. Without `SpamOptions.authn` only the authors, whom lists look at."""
    authors = tuple(address[-ADDRESS_LIMIT:] for address in read_authors(view).addresses)
    if not view.options.authn:
        return AuthnMaterial(authors)
    root = view.message.root
    signed = SignedContent(view.content, root.fields, root.body)
    signatures = read_signatures(signed)
    sets, error = read_chain(signed)
    stated = [field for field in root.fields if field.name == _RESULTS][:RESULTS_LIMIT]
    results = (view.content[field.value : field.value_end][:RESULT_LIMIT] for field in stated)
    return AuthnMaterial(
        authors, signatures, sets, error, tuple(raw.strip().decode("utf-8", "replace") for raw in results)
    )
