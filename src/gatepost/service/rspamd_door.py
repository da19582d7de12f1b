"""The rspamd door: rspamc, Exim, Haraka and rspamd's own proxy ask as they ask rspamd.

Opened by `service.doors` for `kind = "rspamd"`. Reads requests (`wire.rspamd`), asks the judge, answers in the form of
the original (`wire.rspamd_answers`) with scores of `service.spam_scale`. Promises: a mail that could not be judged is
answered as `on_error` says, never as wanted mail unless that is "accept"; what clients cannot carry out, such as
taking an object out of a mail, becomes "reject".
"""

import asyncio
import ipaddress
import re
from typing import Final

import msgspec

import gatepost
from gatepost.config.doors import OnError
from gatepost.model.envelope import Client
from gatepost.model.filtering import Deed, FieldEdit, FieldOp, Part, Purpose, Request, Ruling
from gatepost.notices.scan_field import header_end
from gatepost.service.channel import Channel, Serve
from gatepost.service.held_bytes import HeldBytes, NoRoom, Share
from gatepost.service.judge import Context, Unjudged
from gatepost.service.mail_copy import RECIPIENTS_LIMIT, complete, read_addresses, read_mail
from gatepost.service.spam_scale import REFUSAL, STEP, Scored, dangerous, one_line, score_ruling
from gatepost.service.spamd_door import MAIL_LIMIT, REQUEST_S, linger
from gatepost.wire.rspamd import RspamdError, RspamdRequest, RspamdSession, Task
from gatepost.wire.rspamd_answers import (
    JSON,
    PONG,
    SUCCESS,
    TEXT,
    Action,
    Changes,
    Counted,
    NewField,
    Result,
    Symbol,
    build_error,
    build_old_result,
    build_result,
    build_spamc_result,
    build_statistics,
    build_text_result,
)
from gatepost.wire.spamd import Dialect, Exit, SpamdError, build_pong
from gatepost.wire.spamd import build_error as build_text_error

WORD_LIMIT: Final = 255
"""Characters of a name or id the client tells."""
LATER: Final = "Try again later"
REFUSED: Final = "Message refused"
REPORTED: Final = 208
"""Of what was learned before, or cannot be learned: as rspamd says it."""

_MESSAGE_ID: Final = re.compile(rb"^Message-ID:[ \t\r\n]*<([^<>\s]{1,500})>", re.IGNORECASE | re.MULTILINE)
_UNKNOWN: Final = frozenset(("unknown", "localhost.localdomain"))
_ENDS: Final = (Action.REJECT, Action.SOFT_REJECT)
"""Actions behind which there is nothing to be changed."""
_SERVER: Final = f"gatepost/{gatepost.__version__}"


def make(context: Context) -> Serve:
    """Return what serves a connection (see `service.judge.Context`)."""
    return _Door(context).serve


class _Door:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._door = context.door
        self._held = HeldBytes()
        self._begun = asyncio.get_running_loop().time()
        self._counted = Counted(gatepost.__version__)

    async def serve(self, channel: Channel) -> None:
        session = RspamdSession(MAIL_LIMIT)
        self._counted.connections += 1
        lasts = True
        with Share(self._held) as share:
            while lasts:
                lasts = await self._serve_one(session, channel, share)
                share.release()

    async def _serve_one(self, session: RspamdSession, channel: Channel, share: Share) -> bool:
        """Answer one request; return whether there may be another."""
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await self._receive(session, channel, share)
            if request is None:
                return False
            answer = await self._answer(session, request, channel)
        except (RspamdError, SpamdError) as error:
            self._report(channel, f"a request is refused: {error}")
            await self._refuse(session, channel, error)
            return False
        except NoRoom as error:
            self._report(channel, str(error))
            await self._refuse(session, channel, RspamdError(503, "busy, try again later"))
            return False
        channel.write(answer)
        await channel.drain()
        return session.lasts

    async def _receive(self, session: RspamdSession, channel: Channel, share: Share) -> RspamdRequest | None:
        """Return what is asked, None when the client leaves. RspamdError, SpamdError, NoRoom, TimeoutError."""
        request = session.next()
        taken = 0
        while request is None:
            data = await channel.read()
            if not data:
                if channel.gone:
                    return None
                request = session.end()
                if request is None:
                    return None
                break
            share.take(len(data))
            taken += len(data)
            request = session.feed(data)
            if go_on := session.go_on():
                channel.write(go_on)
        share.take(max(0, len(request.content) - taken))  # it was packed
        return request

    async def _refuse(self, session: RspamdSession, channel: Channel, error: RspamdError | SpamdError) -> None:
        if isinstance(error, SpamdError):
            answer = build_text_error(error.code, str(error))
        elif session.is_text:
            answer = build_text_error(Exit.TEMPFAIL if error.status == 503 else Exit.PROTOCOL, str(error))
        else:
            answer = session.frame(error.status, build_error(str(error)), JSON, _SERVER)
        channel.write(answer)
        await channel.drain()
        await linger(channel)

    async def _answer(self, session: RspamdSession, request: RspamdRequest, channel: Channel) -> bytes:
        match request.task:
            case Task.PING:
                if request.text_form is not None:
                    return build_pong()
                return session.frame(200, PONG, TEXT, _SERVER)
            case Task.STATISTICS:
                self._counted.uptime = int(asyncio.get_running_loop().time() - self._begun)
                return session.frame(200, build_statistics(self._counted), JSON, _SERVER)
            case Task.LEARN_SPAM | Task.LEARN_HAM:
                status, body = await self._learn(request, channel)
                return session.frame(status, body, JSON, _SERVER)
        result = await self._judge(request, channel)
        self._count(result)
        if request.text_form is Dialect.RSPAMC:
            return build_text_result(result)
        if request.text_form is Dialect.SPAMC:
            return build_spamc_result(result)
        body = build_result(result) if request.task is Task.CHECK else build_old_result(result)
        return session.frame(200, body, JSON, _SERVER)

    # --- judgement

    async def _judge(self, request: RspamdRequest, channel: Channel) -> Result:
        begun = asyncio.get_running_loop().time()
        if not request.content or (self._door.size_limit and len(request.content) > self._door.size_limit):
            return Result(is_skipped=bool(request.content), message_id=_message_id(request.content))
        mail = read_mail(request.content)
        try:
            ruling = await self._context.judge.judge(
                self._question(request, mail.sender, mail.recipients), mail.content, self._door.deadline
            )
        except Unjudged as error:
            self._report(channel, f"not judged: {error}")
            result = self._unjudged()
        else:
            result = _build_result(ruling)
        return msgspec.structs.replace(
            result,
            message_id=_message_id(mail.content),
            time_real=round(asyncio.get_running_loop().time() - begun, 6),
        )

    def _question(self, request: RspamdRequest, sender: str, recipients: tuple[str, ...]) -> Request:
        told = [address for value in request.values("rcpt") for address in read_addresses(value)]
        told = told or read_addresses(request.field("deliver-to")) or list(recipients)
        names = (complete(each, self._door.default_domain) for each in told)
        senders = read_addresses(request.field("from"))
        host = one_line(request.field("hostname"), WORD_LIMIT)
        return Request(
            client=Client(
                ip=_address(request.field("ip")),
                helo=one_line(request.field("helo"), WORD_LIMIT),
                listener=self._door.name,
                name="" if host in _UNKNOWN else host,
                user=one_line(request.field("user"), WORD_LIMIT) if request.text_form is not Dialect.SPAMC else "",
            ),
            sender=senders[0] if senders else "" if request.field("from") else sender,
            recipients=tuple(dict.fromkeys(filter(None, names)))[:RECIPIENTS_LIMIT],
            queue_id=one_line(request.field("queue-id"), WORD_LIMIT),
            purpose=Purpose.ASK,
        )

    def _unjudged(self) -> Result:
        match self._door.on_error:
            case OnError.ACCEPT:
                return Result(is_skipped=True)
            case OnError.REJECT:
                return Result(action=Action.REJECT, messages={"smtp_message": REFUSED})
        return Result(action=Action.SOFT_REJECT, messages={"smtp_message": LATER})

    def _count(self, result: Result) -> None:
        counted = self._counted
        counted.scanned += 1
        counted.actions[result.action] += 1
        if result.score >= STEP:
            counted.spam_count += 1
        else:
            counted.ham_count += 1

    # --- learning

    async def _learn(self, request: RspamdRequest, channel: Channel) -> tuple[int, bytes]:
        """Teach; return status and body."""
        learn = self._context.learn
        if learn is None or not self._door.learning:
            return 403, build_error("learning is not enabled")
        if not request.content:
            return 400, build_error("there is no message")
        self._counted.control_connections += 1
        try:
            async with asyncio.timeout(self._door.deadline):
                trouble = await learn(read_mail(request.content).content, request.task is Task.LEARN_SPAM)
        except TimeoutError:
            return 503, build_error("the learner did not answer in time")
        if trouble:
            self._report(channel, f"nothing learned: {trouble}")
            return REPORTED, build_error(one_line(trouble))
        self._counted.learned += 1
        return 200, SUCCESS

    def _report(self, channel: Channel, text: str) -> None:
        self._context.report("W", f"door {self._door.name}: {channel.peer or 'a client'}: {text}")


def _build_result(ruling: Ruling) -> Result:
    part = ruling.whole
    scored = score_ruling(ruling)
    subject = next((_text(edit) for edit in part.field_edits if _changes_subject(edit)), "")
    action = _decide(part, scored, subject)
    rewrites = action is Action.REWRITE_SUBJECT
    changes = None if action in _ENDS else _plan_changes(ruling, rewrites=rewrites)
    messages = {}
    if action in _ENDS:
        text = part.reply.text if part.reply is not None else REFUSED
        messages["smtp_message"] = one_line(text, 500)
    return Result(
        is_skipped=bool(ruling.info),
        score=scored.steps,
        required_score=REFUSAL,
        action=action,
        symbols={mark.name: Symbol(mark.name, mark.weight, mark.weight, mark.text) for mark in scored.marks},
        messages=messages,
        subject=subject if rewrites else msgspec.UNSET,
        milter=changes if changes is not None else msgspec.UNSET,
    )


def _decide(part: Part, scored: Scored, subject: str) -> Action:
    """Return what the client is told to do: what the policy does with mail of its own, as far as it can be told."""
    if part.deed is Deed.REJECT and part.reply is not None and not part.reply.permanent:
        return Action.SOFT_REJECT
    if part.deed is not Deed.DELIVER or dangerous(part):
        return Action.REJECT
    if scored.steps < STEP:
        return Action.NONE
    return Action.REWRITE_SUBJECT if subject else Action.ADD_HEADER


def _plan_changes(ruling: Ruling, *, rewrites: bool) -> Changes | None:
    """Return what is done with header and recipients, but for a subject that the action `rewrites`.

    Clients number what they insert from the top, and make one change after the other: so additions rise, and removals
    of one name fall. What is changed in its place is removed, and added behind the others.
    """
    inserted: list[FieldEdit] = []
    appended: list[FieldEdit] = []
    removed: dict[str, list[int]] = {}
    for edit in ruling.whole.field_edits:
        if rewrites and _changes_subject(edit):
            continue
        if edit.op is FieldOp.INSERT:
            inserted.insert(0, edit)
            continue
        if edit.op is not FieldOp.APPEND:
            removed.setdefault(edit.name, []).append(edit.index)
        if edit.op is not FieldOp.DELETE:
            appended.append(edit)
    added: dict[str, list[NewField]] = {}
    for order, edit in enumerate(inserted):
        added.setdefault(edit.name, []).append(NewField(_text(edit), order))
    for edit in appended:
        added.setdefault(edit.name, []).append(NewField(_text(edit)))
    joining, leaving = _plan_recipients(ruling)
    if not (added or removed or joining or leaving):
        return None
    return Changes(
        add_headers={name: fields[0] if len(fields) == 1 else fields for name, fields in added.items()},
        remove_headers={
            name: spots[0] if len(spots) == 1 else sorted(spots, reverse=True) for name, spots in removed.items()
        },
        add_rcpt=joining,
        del_rcpt=leaving,
    )


def _plan_recipients(ruling: Ruling) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return who gets the message besides, and who does not get it."""
    leaving = {
        recipient: None
        for part in ruling.parts
        if part.deed is not Deed.DELIVER or part.redirect
        for recipient in part.recipients
    }
    staying = {recipient for part in ruling.parts for recipient in part.recipients} - leaving.keys()
    joining = dict.fromkeys((*ruling.whole.redirect, *ruling.whole.copies))
    return tuple([each for each in joining if each not in staying]), tuple(leaving)


def _changes_subject(edit: FieldEdit) -> bool:
    """Whether it is the subject that clients rewrite: the first, when a mail has several."""
    return edit.op is FieldOp.CHANGE and edit.index == 1 and edit.name.lower() == "subject"


def _text(edit: FieldEdit) -> str:
    return edit.value.decode("utf-8", "replace").replace("\r\n", "\n")


def _address(text: str) -> str:
    """Return an address as the product writes it, "" for what is none."""
    try:
        address = ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        return ""
    return str((address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address)


def _message_id(content: bytes) -> str:
    match = _MESSAGE_ID.search(content, 0, header_end(content)) if content else None
    return match[1].decode("utf-8", "replace") if match else "undef"
