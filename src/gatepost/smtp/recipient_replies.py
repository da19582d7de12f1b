"""What the peer has said of each recipient of one transaction, and what becomes of them. Used by `client` only."""

from typing import Final

from gatepost.model.reply import Reply, reply
from gatepost.smtp.client_events import RecipientOutcome

_NOT_TRIED: Final = reply(451, "4.5.0", "The transaction was not completed")


class RecipientReplies:
    """The replies of one transaction so far."""

    __slots__ = ("accepted", "common", "finals", "own")

    def __init__(self, own: list[Reply | None]) -> None:
        self.own = own
        """For each recipient its refusal, ours or the peer's; None while there is none."""
        self.accepted = 0
        """How many the peer accepted at RCPT."""
        self.common: Reply | None = None
        """Refusal of the whole transaction at MAIL, or by ourselves."""
        self.finals: dict[int, Reply] | None = None
        """LMTP: the reply behind the content for each recipient that got one."""

    def accepted_indices(self) -> list[int]:
        """Return which recipients the peer accepted, once it has answered for all."""
        return [index for index, own in enumerate(self.own) if own is None]

    def outcomes(self, final: Reply | None) -> tuple[RecipientOutcome, ...]:
        """Return what became of each; `final` goes to those that have no reply of their own."""
        common = self.common or final or _NOT_TRIED
        if self.finals is not None:
            return self._lmtp_outcomes(common, self.finals)
        delivered = common.code < 400
        return tuple(
            [
                RecipientOutcome(index, own or common, again=delivered and own is not None and _is_surplus(own))
                for index, own in enumerate(self.own)
            ]
        )

    def _lmtp_outcomes(self, common: Reply, finals: dict[int, Reply]) -> tuple[RecipientOutcome, ...]:
        complete = len(finals) == self.accepted
        return tuple(
            [
                RecipientOutcome(
                    index,
                    own or finals.get(index, common),
                    again=complete and own is not None and _is_surplus(own),
                )
                for index, own in enumerate(self.own)
            ]
        )


def _is_surplus(answer: Reply) -> bool:
    """Tell whether a RCPT was refused only for the number of recipients (RFC 5321 §4.5.3.1.10: 452, of old 552)."""
    return answer.code == 452 or (answer.code == 552 and answer.enhanced in {"", "5.5.3"})
