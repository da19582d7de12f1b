"""What recipients may do about mail that is kept for them as spam: calls at a desk of their own.

Made by `master.user_front`. The process of their pages can make these calls and no others. Who makes one is a link
out of a mail (`control.mail_links`), which is good for one act on one message, or a session that such a link has
begun, which is good for all that is the recipient's own. What is theirs, `master.own_mail` decides at every call.
Acts are written to the audit log, as those of accounts are; each of them does no more when it is done twice, so a
link counts as used after its act, and a crash between the two costs nothing.
"""

import asyncio
import datetime as dt
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk, Refused
from gatepost.control.link import LinkCall, SignedOut
from gatepost.control.mail_links import BadLink, EndedLink, MailLink, Verb, form_fits, form_token, open_link
from gatepost.control.rights import Caller, Right
from gatepost.control.sessions import Sessions
from gatepost.control.socket import ControlError, Request
from gatepost.master.digest_state import DigestState
from gatepost.master.own_mail import address_in, describe, find_own, is_released, list_own, may_be_listed
from gatepost.master.stores import Target
from gatepost.model.address import domain_of
from gatepost.relay.passwords import FailureLog

VIA: Final = "user"
ENTRIES_EACH: Final = 200
"""Entries of lists that one recipient may have: all share the gateway's limit (`policy.listings`)."""
_ADDRESS_LIMIT: Final = 64
_NO_LINK: Final = "this link is not valid"
_ENDED: Final = "the page was open for too long: use a link of a newer mail, or ask for one"
_GONE: Final = "this message is no longer kept for you"

Release = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Content(Protocol):
    """What is asked about the content of a message (`master.kept_content`)."""

    async def show(self, target: Target) -> dict[str, Any]: ...

    async def teach(self, target: Target, lesson: str, caller: Caller) -> str: ...


class Asked(Protocol):
    """Who sends links to those who ask for one (`master.link_requests`)."""

    def ask(self, address: str, client: str) -> None: ...


class LinkCaller(Caller, frozen=True):
    """Who comes by a link: may do what it is for, and nothing else."""

    link: MailLink = MailLink(b"", Verb.OPEN, "", 0)
    ended: bool = False


class UserDesk:
    """The calls of recipients."""

    def __init__(
        self,
        *,
        state: DigestState,
        config: Callable[[], Config],
        sessions: Sessions,
        desk: Desk,
        accounts_desk: Desk,
        release: Release,
        content: Content,
        asked: Asked,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`desk` is the recipients', `accounts_desk` the one of all other calls, where entries of lists are made;
        `release(order)` has a relay release an item (`master.releasing`).
        """
        self._state = state
        self._config = config
        self._sessions = sessions
        self._desk = desk
        self._accounts_desk = accounts_desk
        self._release_item = release
        self._content = content
        self._asked = asked
        self._clock = clock
        self._failures = FailureLog()
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        desk.add("link.show", Right.NONE, self._show_link)
        desk.add("link.use", Right.NONE, self._use_link)
        desk.add("link.renew", Right.NONE, self._renew)
        desk.add("link.ask", Right.NONE, self._ask)
        desk.add("own.begin", Right.OWN, self._begin, audited=True, scoped=True, noted=_nothing)
        desk.add("own.end", Right.OWN, self._end, scoped=True)
        desk.add("own.show", Right.OWN, self._show, scoped=True)
        desk.add("own.list", Right.OWN, self._list, scoped=True)
        desk.add("own.item", Right.OWN, self._item, scoped=True)
        desk.add("own.preview", Right.OWN, self._preview, audited=True, scoped=True)
        desk.add("own.release", Right.OWN, self._release, audited=True, scoped=True)
        desk.add("own.allow", Right.OWN, self._allow, audited=True, scoped=True)
        desk.add("own.block", Right.OWN, self._block, audited=True, scoped=True)
        desk.add("own.report", Right.OWN, self._report, audited=True, scoped=True)

    # --- who it is

    def caller_of(self, call: LinkCall) -> Caller:
        """Return for whom a call is made, by the link or session it brings. SignedOut: by none that counts."""
        address, now = call.address[:_ADDRESS_LIMIT], self._clock()
        if not call.credential:
            return Caller("", frozenset({Right.NONE}), via=VIA, address=address)
        session = self._sessions.find(call.credential, now)
        if session is not None:
            return _caller(session.account, address, session.id)
        if call.call.startswith("own."):
            raise SignedOut(_ENDED)
        if self._failures.blocked(address, now):
            raise SignedOut("too many links that are not valid: wait a minute")
        ended = False
        try:
            link = open_link(call.credential, self._state.keys, now)
        except EndedLink as error:
            link, ended = error.link, True
        except BadLink:
            self._failures.failed(address, now)
            raise SignedOut(_NO_LINK) from None
        return LinkCaller(link.recipient, frozenset({Right.NONE}), via=VIA, address=address, link=link, ended=ended)

    # --- links

    async def _show_link(self, _: Arguments, caller: Caller) -> dict[str, Any]:
        """Say what a link would do: nothing happens. `state`: good, used, ended, gone (the message is)."""
        link = _link_of(caller)
        shown: dict[str, Any] = {"verb": link.verb.value, "address": link.recipient, "state": "good", "item": None}
        if isinstance(caller, LinkCaller) and caller.ended:
            return shown | {"state": "ended"}
        if await asyncio.to_thread(self._state.is_used, link.id):
            return shown | {"state": "used"}
        if link.verb is not Verb.OPEN:
            own = await asyncio.to_thread(find_own, self._config(), link.recipient, link.item)
            if own is None:
                return shown | {"state": "gone"}
            shown["item"] = describe(own, link.recipient)
        return shown | {"form": form_token(link, self._state.keys[0])}

    async def _use_link(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Do what a link is for, when `form` comes from its page. Return what came of it, or the `session` it began."""
        link = _link_of(caller)
        if not form_fits(link, str(arguments["form"]), self._state.keys):
            raise Refused("the form is not the one of this link's page: open the link again")
        if isinstance(caller, LinkCaller) and caller.ended:
            raise ControlError("this link has ended")
        async with self._turn_of(f"link {link.id.hex()}"):
            if await asyncio.to_thread(self._state.is_used, link.id):
                raise ControlError("this link was used before: each works once")
            # The caller of the act itself: named, with the right, for the audit log.
            actor = _caller(link.recipient, caller.address, "")
            name = "own.begin" if link.verb is Verb.OPEN else f"own.{link.verb.value}"
            if link.verb is Verb.OPEN:
                actor = LinkCaller(actor.name, actor.rights, actor.domains, VIA, caller.address, link=link)
            answer = await self._desk.handle(Request(name, {"item": link.item}), actor)
            await asyncio.to_thread(self._state.note_used, link.id, link.until, self._clock())
        return {"verb": link.verb.value, **answer}

    async def _renew(self, _: Arguments, caller: Caller) -> dict[str, Any]:
        """Send a fresh link to the recipient of one that has ended or was used."""
        self._asked.ask(_link_of(caller).recipient, caller.address)
        return {"asked": True}

    async def _ask(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Send a link to `address`, if there is anything for it; the answer is the same, and as quick, if not."""
        self._asked.ask(str(arguments["address"]), caller.address)
        return {"asked": True}

    # --- sessions

    async def _begin(self, _: Arguments, caller: Caller) -> dict[str, Any]:
        if not isinstance(caller, LinkCaller):
            raise Refused("a session begins with a link only")
        now = self._clock()
        self._sessions.idle_s = self._sessions.life_s = self._config().user_quarantine.session_time
        self._sessions.of(caller.name, now)  # forgets those that are over
        return {"session": self._sessions.begin(caller.name, caller.address, "", now)}

    async def _end(self, _: Arguments, caller: Caller) -> dict[str, Any]:
        self._sessions.end(caller.name, only=caller.session)
        return {"ended": True}

    async def _show(self, _: Arguments, caller: Caller) -> dict[str, Any]:
        session = self._sessions.get(caller.session)
        if session is None:
            raise SignedOut(_ENDED)
        return {"address": caller.name, "csrf": session.csrf, "reports": self._config().user_quarantine.reports}

    # --- own mail

    async def _list(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        cursor = str(arguments.get("cursor", ""))
        try:
            found, rest = await asyncio.to_thread(list_own, self._config(), caller.name, cursor)
        except (OSError, ValueError) as error:
            raise ControlError("the list cannot be read now") from error
        return {"rows": [describe(own, caller.name) for own in found], "cursor": rest}

    async def _item(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        return describe(await self._own(arguments, caller), caller.name)

    async def _preview(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        own = await self._own(arguments, caller)
        return await self._content.show(own) | {"objects": [], "scanned": True}

    async def _release(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Have an item delivered to this recipient, after it was checked for malware once more."""
        async with self._turn_of(f"release to {caller.name}"):
            return await self._release_once(arguments, caller)

    async def _release_once(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        own = await self._own(arguments, caller)
        item, address = own.container.item, caller.name
        if is_released(own.container, address):
            return {"done": True, "before": True}
        order = {
            "directory": own.directory, "items": [item.id], "who": f"{address} ({VIA})",
            "recipients": [address_in(item, address)], "checked": True, "again": True,
        }  # fmt: skip
        outcome = (await self._release_item(order)).get(item.id, {})
        if outcome.get("refused"):
            raise ControlError(f"it cannot be released now: {outcome['refused']}")
        # One that was begun for somebody else may have been ended instead: then it has not gone to us.
        after = await asyncio.to_thread(find_own, self._config(), address, item.id)
        if after is not None and not is_released(after.container, address):
            raise ControlError("it is being released to somebody else just now: try again")
        return {"done": True, "before": False}

    async def _allow(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        return await self._list_sender("allow", arguments, caller)

    async def _block(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        return await self._list_sender("block", arguments, caller)

    async def _list_sender(self, side: str, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Put the sender of an item on a list, for mail to this recipient alone."""
        own = await self._own(arguments, caller)
        sender = own.container.item.envelope.sender
        if not may_be_listed(sender):
            raise ControlError("this sender has no address that could be put on a list")
        order = {
            "list": side, "entry": sender.lower(), "scope": caller.name, "note": f"by the recipient, of {own.id}",
        }  # fmt: skip
        lister = Caller(caller.name, frozenset({Right.LISTS}), (domain_of(caller.name),), VIA, caller.address)
        kept = await self._accounts_desk.handle(Request("lists.show", {"scope": caller.name}), lister)
        if kept["total"] >= ENTRIES_EACH:
            raise ControlError("you have as many entries as there may be: ask the administrator to remove some")
        days = self._config().user_quarantine.entry_days
        if days:
            today = dt.datetime.fromtimestamp(self._clock(), dt.UTC).date()
            order["expires"] = (today + dt.timedelta(days=days)).isoformat()
        await self._accounts_desk.handle(Request("lists.add", order), lister)
        return {"done": True}

    async def _report(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Teach an item as `wanted` or `spam` (`lesson`), where the configuration lets recipients do that."""
        if not self._config().user_quarantine.reports:
            raise Refused("reports of recipients are not taken here")
        lesson = str(arguments["lesson"])
        if lesson not in {"spam", "wanted"}:
            raise ControlError("a report says spam or wanted")
        own = await self._own(arguments, caller)
        await self._content.teach(own, lesson, caller)
        return {"done": True}

    async def _own(self, arguments: Arguments, caller: Caller) -> Target:
        try:
            own = await asyncio.to_thread(find_own, self._config(), caller.name, str(arguments["item"]))
        except OSError as error:
            raise ControlError("the message cannot be read now") from error
        if own is None:
            raise ControlError(_GONE)
        return own

    def _turn_of(self, what: str) -> asyncio.Lock:
        """Return the lock under which this is done: twice at the same time would be twice."""
        lock = self._turns.get(what)
        if lock is None:
            lock = self._turns[what] = asyncio.Lock()
        return lock


def _caller(address: str, client: str, session: str) -> Caller:
    return Caller(address, frozenset({Right.NONE, Right.OWN}), (domain_of(address),), VIA, client, session)


def _link_of(caller: Caller) -> MailLink:
    if not isinstance(caller, LinkCaller):
        raise SignedOut(_NO_LINK)
    return caller.link


def _nothing(_: Arguments) -> Arguments:
    return {}
