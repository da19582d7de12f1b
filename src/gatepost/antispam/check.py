"""What a content check is, and where it writes what it finds."""

from typing import Protocol

from gatepost.antispam.view import MailView
from gatepost.model.spam import Fingerprint, Method, Sign

SIGNS_LIMIT = 200
"""Signs of one message: nobody reads more, and no message needs them."""
EVIDENCE_LIMIT = 300
"""Characters of one evidence."""


class Notes:
    """What content checks found so far in one message."""

    def __init__(self) -> None:
        self.signs: list[Sign] = []
        self.categories: dict[str, float] = {}
        """Score by category `L1/L2/L3`."""
        self.formal = ""
        self.obscene = False
        self.eastern: set[str] = set()
        self.fingerprints: list[Fingerprint] = []
        self.lesson = b""
        """What could be learned of the message, when that is asked for."""

    def sign(self, method: Method, name: str, evidence: str, weight: float, detail: str = "") -> None:
        """Add a sign; `weight` in log-odds. Characters of the evidence that do not print become spaces."""
        if len(self.signs) < SIGNS_LIMIT:
            if not evidence.isprintable():
                evidence = "".join(each if each.isprintable() else " " for each in evidence[:EVIDENCE_LIMIT])
            self.signs.append(Sign(method, name, evidence[:EVIDENCE_LIMIT], weight, detail))


class Check(Protocol):
    """A content check: made once in the template, asked for every message, keeps nothing between messages."""

    name: str

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Add what this check finds. What it raises is a fault of ours and noted as trouble."""
