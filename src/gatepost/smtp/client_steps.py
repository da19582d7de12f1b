"""A sending session whose transaction goes by steps, for a proxy: MAIL and each RCPT are said when its own client has
said them, and answered one by one.

`SteppedSession` adds that to `client.ClientSession`, whose promises hold. `begin` and `add` are answered by one
`Stepped` each; then either `go_on` sends the content (`SendData`, `Outcome` as ever), or `abandon` forgets the
transaction. An `Outcome` or `Closed` may come instead at any time: then transaction and session have ended.
"""

from typing import ClassVar

import msgspec

from gatepost.model.envelope import Recipient
from gatepost.model.reply import Reply
from gatepost.smtp.capability import plan_transaction
from gatepost.smtp.client import DATA, ClientSession
from gatepost.smtp.client_events import Stepped, Transaction
from gatepost.smtp.client_opening import Take
from gatepost.smtp.client_phase import Phase
from gatepost.smtp.commands import build_rcpt
from gatepost.smtp.settings import ClientSettings


class SteppedSession(ClientSession):
    """Protocol state of one connection to the next hop. Content goes by DATA."""

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(msgspec.structs.replace(settings, chunking=False))
        self._stepping = False
        """MAIL and RCPT of the transaction are answered one by one."""

    def begin(self, transaction: Transaction) -> None:
        """Say MAIL; `transaction` names no recipients. Allowed while `waiting` is IDLE."""
        self._require(Phase.IDLE)
        transaction, _, obstacle = plan_transaction(transaction, self.extensions, chunking=False)
        if obstacle is not None:
            self._events.append(Stepped(obstacle.reply))
            return
        self._take_up(transaction, [])
        self._stepping = True
        self._write_opening(transaction)
        self._proceed()

    def add(self, recipient: Recipient) -> None:
        """Say RCPT; allowed when `begin`, and each `add` before, has been answered."""
        transaction = self._require_steps()
        planned, (own,), _ = plan_transaction(
            msgspec.structs.replace(transaction, recipients=(recipient,)), self.extensions, chunking=False
        )
        self._replies.own.append(own)
        if own is not None:
            self._events.append(Stepped(own))
            return
        extensions = self.extensions
        utf8 = transaction.smtputf8 and extensions.smtputf8
        line = build_rcpt(planned.recipients[0], dsn=extensions.dsn, utf8=utf8)
        self._script.append((line, Phase.RCPT, len(self._replies.own) - 1))
        self._proceed()

    def go_on(self, *, plain: bool) -> None:
        """Say DATA, for at least one accepted recipient; `plain` as in `Transaction`. The `Outcome` is of all that were
        added, in their order.
        """
        self._transaction = msgspec.structs.replace(self._require_steps(), plain=plain)
        self._stepping = False
        self._script.append(DATA)
        self._proceed()

    def abandon(self) -> None:
        """Forget a transaction whose content has not begun; the peer hears of it with the next one."""
        self._require_steps()
        self._forget()

    def _require_steps(self) -> Transaction:
        if self._transaction is None or not self._stepping or self._expected:
            raise RuntimeError(f"not possible while {self.waiting.value}")
        return self._transaction

    def _take_mail(self, answer: Reply, index: int) -> None:
        if not self._stepping or 300 <= answer.code < 400:
            super()._take_mail(answer, index)
            return
        self._answered = True
        self._events.append(Stepped(answer))
        if answer.code < 400:
            self._needs_reset = True
        else:
            self._forget()

    def _take_rcpt(self, answer: Reply, index: int) -> None:
        if not self._stepping or 300 <= answer.code < 400:
            super()._take_rcpt(answer, index)
            return
        self._events.append(Stepped(answer))
        if answer.code < 400:
            self._replies.accepted += 1
        else:
            self._replies.own[index] = answer

    def _forget(self) -> None:
        super()._forget()
        self._stepping = False

    _TAKE: ClassVar[dict[Phase, Take]] = {
        **ClientSession._TAKE,
        Phase.MAIL: _take_mail,
        Phase.RCPT: _take_rcpt,
    }
