"""clamd as a remote engine: objects by INSTREAM over one session, as many as it takes.

Made by `antivirus.remotes`. The protocol is `wire.clamd`; here is what its answers mean for an object.
"""

from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.remote import Broken, Buffers
from gatepost.config.engines import EngineTable
from gatepost.wire.clamd import (
    BEGIN,
    END_OF_STREAM,
    INSTREAM,
    Answer,
    ClamdError,
    ClamdReply,
    ClamdSession,
    Judgement,
    instream_head,
    judge,
)

_OUTCOMES = {
    Judgement.INFECTED: (Outcome.INFECTED, "clamd knows it as {}"),
    Judgement.SUSPICIOUS: (Outcome.SUSPICIOUS, "clamd takes it for {}"),
    Judgement.PROTECTED: (Outcome.PROTECTED, "clamd cannot look into it: {}"),
    Judgement.UNSCANNED: (Outcome.ERROR, "clamd did not scan it to the end: {}"),
}


class ClamdDialogue:
    """One session."""

    def __init__(self, _: EngineTable) -> None:
        self._session = ClamdSession()
        self._begun = False
        self._number = 0
        self.closing = False

    def ask(self, subject: ScanObject) -> Buffers:
        """Return the session's first word when it is new, and the object."""
        self._number = self._session.command(INSTREAM)
        head = instream_head(len(subject.data))
        if not self._begun:
            self._begun = True
            head = BEGIN + head
        return head, subject.data, END_OF_STREAM

    def take(self, data: bytes) -> Report | None:
        """Take what came."""
        try:
            replies = self._session.feed(data)
        except ClamdError as error:
            raise Broken(str(error)) from error
        return self._report(replies[0]) if replies else None

    def _report(self, reply: ClamdReply) -> Report:
        answer = reply.answer
        if answer is Answer.CLEAN:
            return CLEAN
        if answer is Answer.FOUND:
            outcome, words = _OUTCOMES[judge(reply.text)]
            return Report(outcome, threat=reply.text, evidence=words.format(reply.text))
        self.closing = True
        if answer is Answer.TOO_LARGE:
            return Report(Outcome.ERROR, evidence="clamd takes no object of this size (its StreamMaxLength)")
        if reply.number == 0:
            raise Broken(f"it ended the session: {reply.text}")
        raise Broken(f"it failed: {reply.text}")
