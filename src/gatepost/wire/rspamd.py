"""What clients of rspamd ask: HTTP (`/checkv2` and its relatives), and the older text form that Exim still speaks.

Called by `service.rspamd_door`. HTTP is h11's, the text form is read as spamd's (`wire.spamd`). Bytes in, whole
requests out; answers are `wire.rspamd_answers`'. Promises: memory is bounded by the limit a session is made with, also
that of what is packed; a request that asks for something this server does not do (files by name, encryption) is refused
and never answered as if its body were the mail.
"""

import contextlib
import enum
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import h11
import msgspec

from gatepost.model.zstandard import zstd
from gatepost.wire.spamd import (
    HEAD_LIMIT,
    UNPACKED_FREE,
    UNPACKED_TIMES,
    Command,
    Dialect,
    SpamdRequest,
    SpamdSession,
)

FIRST_LINE_LIMIT: Final = 8 * 1024
CONTROL_LIMIT: Final = 256 * 1024
"""Octets of a control block in front of the mail."""

_TEXT_FORM: Final = re.compile(rb"[A-Z_]{1,20} R?SPAMC/")
_OF_FILES: Final = frozenset(("file", "path", "shm", "shm-offset", "shm-length"))
"""Fields that name a file of this machine in place of a body."""
_ENCRYPTION: Final = "key"
_BOTH_DONE: Final = {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}


class Task(enum.Enum):
    """What is wanted."""

    CHECK = "checkv2"
    CHECK_OLD = "check"
    """The same in the form of rspamd before 1.6."""
    PING = "ping"
    STATISTICS = "stat"
    LEARN_SPAM = "learnspam"
    LEARN_HAM = "learnham"


_TASKS: Final = {task.value: task for task in Task} | {"symbols": Task.CHECK_OLD}


class RspamdError(ValueError):
    """The request cannot be served: the status and the text of the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RspamdRequest(msgspec.Struct, frozen=True):
    """A whole request."""

    task: Task
    fields: tuple[tuple[str, str], ...] = ()
    """Names in lower case, as they came."""
    content: bytes = b""
    text_form: Dialect | None = None
    """How to answer when it did not come over HTTP."""

    def field(self, name: str) -> str:
        """Return the last value of a field, "" when it is absent."""
        return next((value for each, value in reversed(self.fields) if each == name), "")

    def values(self, name: str) -> list[str]:
        """Return all values of a field."""
        return [value for each, value in self.fields if each == name]


class _Control(msgspec.Struct, rename={"sender": "from"}):
    """The block in front of a mail when `Message-Length` tells where that begins."""

    sender: str = ""
    rcpt: str | list[str] = ""
    ip: str = ""
    helo: str = ""
    hostname: str = ""
    user: str = ""


class RspamdSession:
    """Reads the requests of one connection, in whatever pieces they come, and frames the answers."""

    def __init__(self, limit: int) -> None:
        """`limit`: octets of a mail, unpacked."""
        self._limit = limit
        self._first = bytearray()
        self._http: h11.Connection | None = None
        self._text: SpamdSession | None = None
        self._head: h11.Request | None = None
        self._content = bytearray()
        self._waiting: SpamdRequest | None = None

    @property
    def begun(self) -> bool:
        """Whether part of a request has come."""
        if self._http is not None:
            return self._http.their_state is not h11.IDLE or bool(self._http.trailing_data[0])
        return bool(self._first) or self._text is not None

    @property
    def is_text(self) -> bool:
        """Whether the client speaks the text form."""
        return self._text is not None

    @property
    def lasts(self) -> bool:
        """Whether another request may follow the answer that was framed last."""
        return self._http is not None and self._http.our_state is h11.IDLE

    def feed(self, data: bytes) -> RspamdRequest | None:
        """Take received bytes; return the request when it is whole. RspamdError, SpamdError."""
        if self._http is None and self._text is None:
            self._first += data
            if b"\n" not in self._first:
                if len(self._first) > FIRST_LINE_LIMIT:
                    raise RspamdError(400, "the first line is too long")
                return None
            data = bytes(self._first)
            self._first.clear()
            if _TEXT_FORM.match(data):
                self._text = SpamdSession(self._limit, (Dialect.SPAMC, Dialect.RSPAMC))
            else:
                self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        if self._text is not None:
            request = self._text.feed(data)
            return None if request is None else _of_text(request)
        if self._http is None:
            raise TypeError("neither form was chosen")
        with _refusing():
            self._http.receive_data(data)
        return self.next()

    def next(self) -> RspamdRequest | None:
        """Return the request that is whole by what came already, None when more is needed. RspamdError."""
        if self._http is None:
            return None
        with _refusing():
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._content += event.data
                    if len(self._content) > self._limit:
                        raise self._too_large()
                elif isinstance(event, h11.EndOfMessage):
                    return self._finish()
                else:
                    return None

    def end(self) -> RspamdRequest | None:
        """The client sends nothing more: return the request that is whole with this. RspamdError, SpamdError."""
        if self._text is not None:
            return _of_text(self._text.end())
        if self.begun:
            raise RspamdError(400, "the request is cut off")
        return None

    def go_on(self) -> bytes:
        """Return what a client waits for before it sends its body (100), b"" when it does not wait."""
        if self._http is None or not self._http.they_are_waiting_for_100_continue:
            return b""
        return self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def frame(self, status: int, body: bytes, content_type: str, server: str) -> bytes:
        """Return an HTTP answer. After what was no request there may be none to frame: b""."""
        http = self._http
        if http is None:  # not even a first line
            http = self._http = h11.Connection(h11.SERVER)
        if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        headers = [("Server", server), ("Content-Length", str(len(body))), ("Content-Type", content_type)]
        reason = HTTPStatus(status).phrase.encode("ascii")  # rspamc crashes on an error without one
        pieces = [http.send(h11.Response(status_code=status, reason=reason, headers=headers))]
        if body and (self._head is None or self._head.method != b"HEAD"):
            pieces.append(http.send(h11.Data(data=body)))
        pieces.append(http.send(h11.EndOfMessage()))
        if http.states == _BOTH_DONE:
            http.start_next_cycle()
        return b"".join(piece for piece in pieces if piece)

    def _begin(self, head: h11.Request) -> None:
        self._head = head
        self._content.clear()
        for name, value in head.headers:
            if name == b"content-length" and (len(value) > 12 or int(value) > self._limit):
                raise self._too_large()

    def _finish(self) -> RspamdRequest:
        if self._head is None:
            raise TypeError("a body without a head")
        content = bytes(self._content)
        self._content.clear()
        path, _, query = self._head.target.decode("ascii", "replace").partition("?")
        task = _TASKS.get(path.strip("/").lower())
        if task is None:
            raise RspamdError(404, "invalid command")
        fields = tuple((name.decode("ascii"), value.decode("utf-8", "replace")) for name, value in self._head.headers)
        request = RspamdRequest(task, fields)
        if task in (Task.PING, Task.STATISTICS):
            return request
        if query or any(name in _OF_FILES for name, _ in fields):
            raise RspamdError(400, "files are not read here: send the message")
        if request.field(_ENCRYPTION):
            raise RspamdError(400, "encryption is not supported: use TLS")
        packing = request.field("compression").lower()
        if packing:
            if packing != "zstd":
                raise RspamdError(400, "this compression is not supported")
            content = self._unpack(content)
        if length := request.field("message-length"):
            return _split_control(request, content, length)
        return msgspec.structs.replace(request, content=content)

    def _unpack(self, packed: bytes) -> bytes:
        unpacking = zstd.ZstdDecompressor()
        limit = min(self._limit, UNPACKED_FREE + UNPACKED_TIMES * len(packed))
        try:
            content = bytes(unpacking.decompress(packed, limit + 1))
        except zstd.ZstdError as error:
            raise RspamdError(400, "the body is not packed with zstd") from error
        if len(content) > limit:
            raise self._too_large()
        if not unpacking.eof:
            raise RspamdError(400, "the packed body is cut off")
        return content

    def _too_large(self) -> RspamdError:
        return RspamdError(413, f"more than {self._limit} bytes")


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except h11.RemoteProtocolError as error:
        raise RspamdError(error.error_status_hint, "bad request") from error


def _of_text(request: SpamdRequest) -> RspamdRequest:
    if request.command in (Command.PING, Command.SKIP):
        return RspamdRequest(Task.PING, text_form=request.dialect)
    if request.command is Command.TELL:
        raise RspamdError(400, "invalid command")
    return RspamdRequest(Task.CHECK, request.fields, request.content, request.dialect)


def _split_control(request: RspamdRequest, content: bytes, length: str) -> RspamdRequest:
    """Return the request with what the block in front of its mail says."""
    if not (length.isascii() and length.isdigit() and len(length) <= 12 and int(length) <= len(content)):
        raise RspamdError(400, "Message-Length is not that of the message")
    at = len(content) - int(length)
    if not at:
        return msgspec.structs.replace(request, content=content)
    try:
        control = msgspec.json.decode(content[: min(at, CONTROL_LIMIT)], type=_Control)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RspamdError(400, "the control block is not readable") from error
    recipients = [control.rcpt] if isinstance(control.rcpt, str) else control.rcpt
    named = (
        ("from", control.sender), ("ip", control.ip), ("helo", control.helo), ("hostname", control.hostname),
        ("user", control.user), *(("rcpt", each) for each in recipients),
    )  # fmt: skip
    fields = request.fields + tuple((name, value) for name, value in named if value)
    return msgspec.structs.replace(request, fields=fields, content=content[at:])
