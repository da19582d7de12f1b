"""The spamd door: spamc, Exim and content filters ask as they ask SpamAssassin.

Opened by `service.doors` for `kind = "spamd"`. Reads one request a connection (`wire.spamd`), asks the judge, answers
in the form of the original, with scores of `service.spam_scale`. Promises: a mail that could not be judged is answered
as `on_error` says, never as wanted mail unless that is "accept"; a copy has the line ends the mail came with.
"""

import asyncio
import re
from typing import Final

import gatepost
from gatepost.config.doors import OnError
from gatepost.mime.edit import SpliceError
from gatepost.model.envelope import Client
from gatepost.model.filtering import Purpose, Request
from gatepost.notices.scan_field import header_end
from gatepost.service.channel import Channel, ChannelClosed, Serve
from gatepost.service.held_bytes import HeldBytes, NoRoom, Share
from gatepost.service.judge import Context, Unjudged
from gatepost.service.mail_copy import MailCopy, build_copy, complete, read_mail
from gatepost.service.spam_scale import THRESHOLD, Scored, score_ruling
from gatepost.wire.spamd import (
    Command,
    Exit,
    SpamdError,
    SpamdRequest,
    SpamdSession,
    build_error,
    build_pong,
    build_scored,
    build_told,
    parse_lesson,
)

MAIL_LIMIT: Final = 64 * 1024 * 1024
"""Octets of one mail: spamc itself passes by what has more than 500 KB."""
REQUEST_S: Final = 1800.0
"""From the first byte of a request to its last: who sends one now and then does not hold a connection for ever."""
LINGER_S: Final = 5.0
"""For a client that still sends when it has its answer: if we just closed, it might never read that."""
LINGER_BYTES: Final = 4 * 1024 * 1024
LEVEL_LIMIT: Final = 50
"""Stars of a score."""

_UNKNOWN: Final = Scored(spam=False, score=0.0, steps=0.0)
_FOREIGN: Final = re.compile(rb"^X-Spam-[!-9;-~]*+[ \t]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*+", re.IGNORECASE | re.MULTILINE)


def make(context: Context) -> Serve:
    """Return what serves a connection (see `service.judge.Context`)."""
    return _Door(context).serve


class _Door:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._door = context.door
        self._held = HeldBytes()

    async def serve(self, channel: Channel) -> None:
        with Share(self._held) as share:
            try:
                async with asyncio.timeout(REQUEST_S):
                    request = await self._receive(channel, share)
                answer = b"" if request is None else await self._answer(request, channel)
            except SpamdError as error:
                self._report(channel, f"code {int(error.code)}: {error}")
                answer = build_error(error.code, str(error))
            except TimeoutError:
                answer = build_error(Exit.TIMEOUT, "the request does not come")
            except NoRoom as error:
                self._report(channel, str(error))
                answer = build_error(Exit.TEMPFAIL, "busy, try again later")
            else:
                await self._send(channel, answer)
                return
        await self._send(channel, answer)
        await linger(channel)

    async def _receive(self, channel: Channel, share: Share) -> SpamdRequest | None:
        """Return what is asked, None when the client leaves without a word. SpamdError, NoRoom, TimeoutError."""
        session = SpamdSession(MAIL_LIMIT)
        taken = 0
        request = None
        while request is None:
            data = await channel.read()
            if not data:
                if channel.gone or not session.begun:
                    return None
                request = session.end()
                break
            share.take(len(data))
            taken += len(data)
            request = session.feed(data)
        share.take(max(0, len(request.content) - taken))  # it was packed
        return request

    async def _send(self, channel: Channel, answer: bytes) -> None:
        channel.write(answer)
        await channel.drain()

    async def _answer(self, request: SpamdRequest, channel: Channel) -> bytes:
        if request.command is Command.PING:
            return build_pong()
        if request.command is Command.SKIP:
            return b""
        if request.command is Command.TELL:
            return await self._tell(request, channel)
        return await self._judge(request, channel)

    # --- judgement

    async def _judge(self, request: SpamdRequest, channel: Channel) -> bytes:
        mail = read_mail(request.content)
        if self._door.size_limit and len(request.content) > self._door.size_limit:
            return self._pass_by(request)
        user = complete(request.field("user"), self._door.default_domain)
        told = mail.recipients or ((user,) if user else ())
        question = Request(
            client=Client(ip="", listener=self._door.name),
            sender=mail.sender,
            recipients=tuple(filter(None, (complete(each, self._door.default_domain) for each in told))),
            purpose=Purpose.ASK,
        )
        try:
            ruling = await self._context.judge.judge(question, mail.content, self._door.deadline)
            scored = score_ruling(ruling)
            body = b""
            if request.command in _BODIES:
                copy = mail.content
                if request.command in (Command.PROCESS, Command.HEADERS):
                    copy = build_copy(mail.content, ruling.whole)
                body = _BODIES[request.command](self._context.hostname, mail, copy, scored)
        except (Unjudged, SpliceError) as error:
            self._report(channel, f"not judged: {error}")
            if self._door.on_error is OnError.ACCEPT:
                return self._pass_by(request)
            code = Exit.TEMPFAIL if self._door.on_error is OnError.TEMPFAIL else Exit.UNAVAILABLE
            return build_error(code, "the message could not be inspected")
        return build_scored(request, scored.score, THRESHOLD, body, spam=scored.spam)

    def _pass_by(self, request: SpamdRequest) -> bytes:
        """Answer for a mail that was not looked at: as it came, and no points."""
        body = b""
        if request.command is Command.PROCESS:
            body = request.content
        elif request.command is Command.HEADERS:
            body = request.content[: _body_start(request.content)]
        return build_scored(request, _UNKNOWN.score, THRESHOLD, body, spam=False)

    # --- learning

    async def _tell(self, request: SpamdRequest, channel: Channel) -> bytes:
        learn = self._context.learn
        if learn is None or not self._door.learning:
            raise SpamdError(Exit.UNAVAILABLE, "TELL commands are not enabled")
        lesson = parse_lesson(request)
        if not (lesson.learn or lesson.forget):
            return build_told(None)
        content = read_mail(request.content).content
        try:
            async with asyncio.timeout(self._door.deadline):
                trouble = await learn(content, None if lesson.forget else lesson.spam)
        except TimeoutError:
            trouble = "the learner did not answer in time"
        if trouble:
            self._report(channel, f"nothing learned: {trouble}")
        return build_told(None if trouble else lesson)

    def _report(self, channel: Channel, text: str) -> None:
        self._context.report("W", f"door {self._door.name}: {channel.peer or 'a client'}: {text}")


async def linger(channel: Channel) -> None:
    """Read away what a client still sends, for a while, so that it comes to read its answer."""
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_S):
            while left > 0 and (data := await channel.read()):
                left -= len(data)
    except (TimeoutError, ChannelClosed):
        return


# --- what goes with the score


def _symbols(_host: str, _mail: MailCopy, _copy: bytes, scored: Scored) -> bytes:
    return ",".join(mark.name for mark in scored.marks).encode("ascii", "replace")


def _report_always(host: str, _mail: MailCopy, _copy: bytes, scored: Scored) -> bytes:
    found = "has identified" if scored.spam else "has NOT identified"
    lines = [
        f'Spam detection software, running on the system "{host}",',
        f"{found} this incoming email as spam.",
        "",
        f"Content analysis details:   ({scored.score:.1f} points, {THRESHOLD:.1f} required)",
        "",
        " pts rule name              description",
        "---- ---------------------- --------------------------------------------------",
        *(f"{mark.weight:4.1f} {mark.name:<22} {mark.text}".rstrip() for mark in scored.marks),
        "",
        "",
    ]
    return "\n".join(lines).encode("utf-8", "replace")


def _report_spam(host: str, mail: MailCopy, copy: bytes, scored: Scored) -> bytes:
    return _report_always(host, mail, copy, scored) if scored.spam else b""


def _process(host: str, mail: MailCopy, copy: bytes, scored: Scored) -> bytes:
    """The copy, with the fields that rules behind SpamAssassin look for instead of those that were there."""
    end = header_end(copy)
    return mail.restore(b"".join((_build_fields(host, scored), _FOREIGN.sub(b"", copy[:end]), copy[end:])))


def _headers(host: str, mail: MailCopy, copy: bytes, scored: Scored) -> bytes:
    return _process(host, mail, copy[: _body_start(copy)], scored)


_BODIES: Final = {
    Command.SYMBOLS: _symbols,
    Command.REPORT: _report_always,
    Command.REPORT_IFSPAM: _report_spam,
    Command.PROCESS: _process,
    Command.HEADERS: _headers,
}


def _build_fields(host: str, scored: Scored) -> bytes:
    tests = ",".join(mark.name for mark in scored.marks) or "none"
    yes = "Yes" if scored.spam else "No"
    lines = [
        f"X-Spam-Checker-Version: Gatepost {gatepost.__version__} on {host}",
        *(["X-Spam-Flag: YES"] if scored.spam else []),
        *([f"X-Spam-Level: {'*' * min(int(scored.score), LEVEL_LIMIT)}"] if scored.score >= 1 else []),
        f"X-Spam-Status: {yes}, score={scored.score:.1f} required={THRESHOLD:.1f}",
        *_fold(f"tests={tests}"),
    ]
    return "\r\n".join((*lines, "")).encode("ascii", "replace")


def _fold(tests: str) -> list[str]:
    """Return the names in lines of a header field, cut at commas."""
    lines, line = [], ""
    for name in tests.split(","):
        if line and len(line) + len(name) > 70:
            lines.append(f"\t{line},")
            line = ""
        line = f"{line},{name}" if line else name
    return [*lines, f"\t{line}"]


def _body_start(content: bytes) -> int:
    """Return where the body begins, behind the empty line."""
    end = header_end(content)
    if content.startswith(b"\r\n", end):
        return end + 2
    return end + 1 if content.startswith(b"\n", end) else end
