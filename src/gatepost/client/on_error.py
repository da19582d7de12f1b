"""What becomes of a message that cannot be judged, or is not to be: a ruling in place of the judge's.

Used by doors and client programs, so that the three on-error choices mean the same everywhere (row F-CLI-08). Pure.
"""

from typing import Final

from gatepost.config.doors import OnError
from gatepost.model.filtering import Deed, Part, Request, Ruling
from gatepost.model.reply import Reply, reply

NOT_JUDGED: Final = "Not judged"
"""`Ruling.info` of a message that passes because nobody could judge it."""
TOO_LARGE: Final = "Too large"
"""`Ruling.info` of a message above the size limit (row F-CLI-09)."""

TEMPFAIL_REPLY: Final = reply(451, "4.7.1", "The message cannot be checked now; try again later")
REJECT_REPLY: Final = reply(554, "5.7.1", "The message cannot be checked")


def rule_unjudged(on_error: OnError, request: Request) -> Ruling:
    """Return what is done with a message that could not be judged. Why it could not is for the log alone."""
    match on_error:
        case OnError.ACCEPT:
            return _ruling(request, Deed.DELIVER, None, NOT_JUDGED)
        case OnError.REJECT:
            return _ruling(request, Deed.REJECT, REJECT_REPLY, NOT_JUDGED)
        case OnError.TEMPFAIL:
            return _ruling(request, Deed.REJECT, TEMPFAIL_REPLY, NOT_JUDGED)


def rule_too_large(request: Request) -> Ruling:
    """Return what is done with a message above the size limit: it passes as it is."""
    return _ruling(request, Deed.DELIVER, None, TOO_LARGE)


def _ruling(request: Request, deed: Deed, told: Reply | None, info: str) -> Ruling:
    part = Part(recipients=request.recipients, deed=deed, reply=told)
    return Ruling(parts=(part,), whole=part, info=info)
