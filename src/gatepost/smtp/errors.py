"""Errors of the protocol layer: a peer broke a rule. They stay inside this package."""

from gatepost.model.reply import Reply


class ArgumentError(ValueError):
    """The argument of a command is wrong; `reply` is what the peer is told."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class ReplySyntaxError(ValueError):
    """What came from a server is not a reply (RFC 5321 §4.2)."""
