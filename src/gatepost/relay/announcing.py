"""Mail of the master's own: about the gateway itself, and digests of what is kept for recipients. It is put into the
queue like any message of our own making.

Asked by the master (`relay.questions`, "announce"). The answer comes when the mail is durable.
"""

from collections.abc import Callable, Sequence

from gatepost.config.schema import Config
from gatepost.model.address import NULL_SENDER, domain_of
from gatepost.model.envelope import Body, Client, Envelope, Notify, Recipient
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.model.record import Notified
from gatepost.notices.problem_mail import ProblemMail, build_problem_mail
from gatepost.relay.notifying import KIND_PREFIX
from gatepost.relay.pipeline import Pipeline, clock_ms
from gatepost.spool import clock
from gatepost.spool.interface import NewMessage, Pending, State, Stored

RECIPIENTS_LIMIT = 100
TEXT_LIMIT = 64 * 1024
"""Characters of such a mail, and of its HTML: a few hundred problems, fifty messages with their links."""


class Announcer:
    """Writer of these mails in one relay."""

    def __init__(
        self, pipelines: Callable[[], Sequence[Pipeline]], ids: QueueIds, config: Callable[[], Config]
    ) -> None:
        self._pipelines = pipelines
        self._ids = ids
        self._config = config

    async def announce(self, mail: ProblemMail) -> str:
        """Make a mail durable and send it; return its queue id. SpoolError, OSError, ValueError: it is not told."""
        if not 0 < len(mail.to) <= RECIPIENTS_LIMIT or len(mail.text) > TEXT_LIMIT or len(mail.html) > TEXT_LIMIT:
            raise ValueError("too many recipients, or too long a text")
        pipeline, now = self._pipelines()[0], clock.now()
        hostname = self._config().network.hostname
        number = self._ids.next(clock_ms())
        text = build_problem_mail(mail, f"<{format_queue_id(number)}@{hostname}>", now)
        staged = pipeline.spool.stage(number)
        envelope = Envelope(
            NULL_SENDER,
            tuple(Recipient(each, (Notify.NEVER,)) for each in mail.to),
            Client("127.0.0.1", helo=hostname, listener="internal"),
            Body.SEVEN_BIT,
            smtputf8=not all(each.isascii() for each in mail.to),
        )
        try:
            staged.write(text)
            stored = Stored(
                number,
                number,
                State.READY,
                now,
                envelope,
                staged.ref,
                pipeline.own_mark.build(text, now),
                pending=tuple(Pending(index, domain_of(each), now) for index, each in enumerate(mail.to)),
                kind=f"{KIND_PREFIX}{mail.role.value}",
            )
            new = NewMessage(stored, staged)
            await pipeline.spool.accept(
                new, (Notified(number, now, mail.role.value, len(mail.to), len(text), number, 1),)
            )
        except BaseException:
            staged.discard()
            raise
        pipeline.delivery.submit_own((new,))
        return format_queue_id(number)
