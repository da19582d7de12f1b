"""What DNS tells of a client, of the name it gives at HELO and of a sender's domain, each asked once.

Made by `relay.access`, kept in `relay.visit.Visit`.
"""


class ClientFacts:
    """Of the client's address."""


class HelloFacts:
    """Of the name given at HELO or EHLO."""


class SenderFacts:
    """Of the sender's domain."""
