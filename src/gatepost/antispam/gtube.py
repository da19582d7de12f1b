"""GTUBE (F-AS-24): the test string that every anti-spam filter calls spam, wherever a reader would see it."""

from typing import Final

from gatepost.antispam.check import Notes
from gatepost.antispam.view import MailView
from gatepost.model.spam import Method

WEIGHT: Final = 50.0
"""Decisive against anything else."""
_PIECES: Final = ("XJS*C4JDBQADN1", ".NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL", "*C.34X")
_STRING: Final = "".join(_PIECES)
"""Joined at run time, so that no file of ours holds it."""


class GtubeCheck:
    """Looks for the test string in the text as extracted: decoded, and out of HTML."""

    name = "gtube"

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Add the sign when the string is there."""
        if _STRING in view.body or _STRING in view.subject:
            notes.sign(Method.CONTENT, "gtube", "The text holds the test string GTUBE, which is always spam", WEIGHT)
