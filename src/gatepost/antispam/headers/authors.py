"""Who wrote a message, as its readers may show it: `read_authors`. Pure.

Called for the authentication material (the author's domain is what DMARC is about, RFC 7489 §3.1) and by header signs.
"""

import msgspec

from gatepost.antispam.headers.addresses import Mailbox, parse_mailboxes
from gatepost.antispam.view import MailView

AUTHORS_LIMIT = 50
"""Of one message; more than one is ambiguous already."""
FIELDS_LIMIT = 10
"""From fields that are read."""


class Authors(msgspec.Struct, frozen=True):
    """The From fields of a message."""

    mailboxes: tuple[Mailbox, ...] = ()
    fields: int = 0
    """From fields there are, such with an odd name too."""
    odd_name: bool = False
    """Control characters stand in the name of one: some readers take it for From, some do not."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Distinct addresses, lower case, in order."""
        return tuple(dict.fromkeys(box.address for box in self.mailboxes if box.address))[:AUTHORS_LIMIT]


def read_authors(view: MailView) -> Authors:
    """Read the From fields. Each of them and each address in them may be what a reader shows; a field whose name has
    control characters counts only when there is no other.
    """
    content = view.content
    clean: list[bytes] = []
    odd: list[bytes] = []
    for field in view.message.root.fields:
        if field.name == b"from":
            name = content[field.start : field.value - 1].strip(b" \t")
            (clean if len(name) == len(b"from") else odd).append(content[field.value : field.value_end])
    boxes = [box for raw in (clean or odd)[:FIELDS_LIMIT] for box in parse_mailboxes(raw)]
    return Authors(tuple(boxes), len(clean) + len(odd), bool(odd))
