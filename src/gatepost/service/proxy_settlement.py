"""From a message that a proxy has gathered to what became of each of its recipients: judged, planned, delivered.

Used by `service.proxy_door`, and by `gatepost client pipe` for a message that comes by itself. Promises: what could not
be judged, or is ruled about as nobody can carry out, gets the door's `on_error`; what is above its size limit is passed
on as it came.
"""

from collections.abc import Callable
from typing import Final

from gatepost.config.doors import Door, OnError
from gatepost.model.envelope import Client
from gatepost.model.filtering import Request
from gatepost.model.foreign_text import printable
from gatepost.model.reply import reply
from gatepost.service.channel import ChannelClosed
from gatepost.service.gathered import Gathered
from gatepost.service.judge import Context, Unjudged
from gatepost.service.proxy_onward import Mail, Onward
from gatepost.service.proxy_plan import Fate, Kind, Plan, PlanError, plan_copies, plan_unedited

_ON_ERROR: Final = {
    OnError.TEMPFAIL: Fate(Kind.REFUSED, reply(451, "4.7.1", "Message cannot be inspected now, try again later")),
    OnError.REJECT: Fate(Kind.REFUSED, reply(554, "5.7.1", "Message cannot be inspected")),
}


def complete_address(address: str, door: Door) -> str:
    """Return an address with the door's default domain, when it has none (row F-CLI-09)."""
    bare = door.default_domain and address and "@" not in address
    return f"{address}@{door.default_domain}" if bare else address


def _name(mail: Mail) -> str:
    """Return what finds a message in the logs of others: the client's own id, else its envelope."""
    if mail.facts.ident:
        return mail.facts.ident
    first, *others = (each.address for each in mail.recipients)
    more = f" and {len(others)} more" if others else ""
    return printable(f"a message from <{mail.sender}> to <{first}>{more}")


class Settlement:
    """Judges and delivers the messages of one client."""

    def __init__(self, context: Context, onward: Onward) -> None:
        self._context = context
        self._door = context.door
        self._onward = onward

    async def settle(
        self, mail: Mail, gathered: Gathered, client: Client, *, plain: bool, waits: Callable[[], bool]
    ) -> list[Fate]:
        """Return what became of each accepted recipient.

        ChannelClosed: when the message had been judged, `waits` said that nobody waits for the answer any more. It was
        not delivered: its sender comes again.
        """
        try:
            plan = await self._plan(mail, gathered, client)
        except (Unjudged, PlanError, OSError) as error:
            on_error = self._door.on_error
            self._report("W", f"{_name(mail)} not judged ({on_error.value}): {error}")
            fate = _ON_ERROR.get(on_error)
            if fate is not None:
                return [fate] * len(mail.recipients)
            plan = plan_unedited(mail.recipients)
        if not waits():
            raise ChannelClosed("the client has gone")
        return await self._onward.deliver(mail, gathered, plan, plain=plain, lmtp=self._door.lmtp)

    async def _plan(self, mail: Mail, gathered: Gathered, client: Client) -> Plan:
        """Return what is to be done with a message. Unjudged, PlanError, OSError."""
        door = self._door
        if 0 < door.size_limit < gathered.size:
            self._report("I", f"{_name(mail)}, of {gathered.size} bytes, is not judged: too large")
            return plan_unedited(mail.recipients)
        request = Request(
            client=client,
            sender=mail.sender,
            recipients=tuple(dict.fromkeys(each.address for each in mail.recipients)),
            queue_id=mail.facts.ident or "",
            divided=door.multiple_messages,
            accepted=not door.before_queue,
        )
        ruling = await self._context.judge.judge(request, gathered.content, door.deadline)
        return plan_copies(ruling, mail.recipients, divide=door.multiple_messages, size=gathered.size)

    def _report(self, level: str, text: str) -> None:
        self._context.report(level, f"door {self._door.name}: {text}")
