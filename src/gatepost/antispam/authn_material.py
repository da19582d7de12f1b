"""What authentication needs of a message, read in the filter: authors, digests under signatures, ARC sets, results that
others wrote. Called by `content`; the relay checks it against the DNS (`gatepost.authn`).
"""

from gatepost.antispam.headers.authors import read_authors
from gatepost.antispam.view import MailView
from gatepost.authn.arc import read_chain
from gatepost.authn.dkim import read_signatures
from gatepost.authn.signed import SignedContent
from gatepost.model.authn import AuthnMaterial

RESULTS_LIMIT = 20
"""Authentication-Results fields that are told, from the top: the ones that count were written last."""
RESULT_LIMIT = 8192
"""Characters of one of them."""


def read_material(view: MailView) -> AuthnMaterial:
    """Read it. Without `SpamOptions.authn` only the authors, whom lists look at."""
    authors = read_authors(view).addresses
    if not view.options.authn:
        return AuthnMaterial(authors)
    root = view.message.root
    signed = SignedContent(view.content, root.fields, root.body)
    signatures = read_signatures(signed)
    sets, error = read_chain(signed)
    results = [field.raw[:RESULT_LIMIT].decode("utf-8", "replace") for field in view.all("authentication-results")]
    return AuthnMaterial(authors, signatures, sets, error, tuple(results[:RESULTS_LIMIT]))
