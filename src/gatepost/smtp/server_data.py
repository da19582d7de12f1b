"""Content on the receiving side: DATA (RFC 5321) and BDAT (RFC 3030), one view of both for the shell.

Base of `server_access.AccessSession`. Promises: what belongs to content is never read as a command, also when it is
refused; refused content costs no memory.
"""

from typing import Final

from gatepost.model.reply import Reply
from gatepost.smtp import replies
from gatepost.smtp.chunks import ChunkReader
from gatepost.smtp.content import ContentReader, DataLimits
from gatepost.smtp.data import DataReader
from gatepost.smtp.requests import ChunkSize
from gatepost.smtp.server_core import READY, Phase, SessionCore
from gatepost.smtp.server_events import Cause, DataAborted, DataBegin, DataChunk, DataEnd, Refused, Stage
from gatepost.smtp.settings import ServerSettings

SWALLOW_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of refused content read on for the sake of a proper reply; beyond, the reply closes the session."""

_SENDER = Phase.SENDER
_RECIPIENTS = Phase.RECIPIENTS
_CHUNKS = Phase.CHUNKS

# The standard replies of every transaction, as they go out after HELO and after EHLO.
_START_INPUT = replies.render_both(replies.START_INPUT)
_MESSAGE_OK = replies.render_both(replies.MESSAGE_OK)


class ContentSession(SessionCore):
    """State of the content that comes in, if any."""

    __slots__ = (
        "_abort_reply",
        "_binary",
        "_chunk",
        "_chunk_left",
        "_chunk_refusal",
        "_chunks",
        "_content_bytes",
        "_data",
        "_swallowed",
    )

    def __init__(self, settings: ServerSettings, client_ip: str, tls: tuple[str, str] | None = None) -> None:
        super().__init__(settings, client_ip, tls)
        self._data: DataReader | None = None
        self._chunks: ChunkReader | None = None
        self._binary = False
        """The transaction declared BODY=BINARYMIME."""
        self._abort_reply: Reply | None = None
        self._chunk = ChunkSize(0, last=False)
        self._chunk_left = 0
        self._chunk_refusal: Reply | None = None
        """What is said when the octets of a chunk that belongs to no content have been swallowed."""
        self._swallowed = 0
        """Octets of such chunks in the whole session."""
        self._content_bytes = 0

    @property
    def _in_content(self) -> bool:
        return self._data is not None or self._chunks is not None

    def _limits(self) -> DataLimits:
        settings = self._settings
        return DataLimits(settings.size_limit, settings.session_bytes_limit - self._content_bytes, settings.hops_limit)

    # -- DATA ----------------------------------------------------------------------------------------------------

    def _begin_data(self, _nothing: object) -> None:
        if self._binary:
            self._reject(Stage.DATA, replies.BAD_SEQUENCE)  # RFC 3030 §3: binary content comes by BDAT only
        else:
            self._ask(DataBegin(), self._decide_data)

    def _decide_data(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            self._data = DataReader(self._settings.bare_line_feed, self._limits())
            self._step = ContentSession._read_data
            self._abort_reply = None
            self.period += 1
        if decision is None:
            self._output.append(_START_INPUT[self._esmtp])
        else:
            self._send(decision)

    def _read_data(self) -> bool:
        """Pass content on; False when everything there has been read."""
        data = self._input.take()
        reader = self._data
        if not data or reader is None:
            return False
        content, rest = reader.read(data)
        if rest:
            self._input.put_back(rest)
        self._pass_on(reader, content)
        if rest is not None or reader.swallowed > SWALLOW_LIMIT:
            self._data = None
            self._step = None
            self._end_content(reader)
        return rest is not None

    # -- BDAT ----------------------------------------------------------------------------------------------------

    def _begin_chunk(self, chunk: ChunkSize) -> None:
        """Take the octets of a chunk, wherever the dialogue stands: they are no commands in any case."""
        self._chunk = chunk
        if self._phase is _RECIPIENTS:
            self._ask(DataBegin(), self._decide_chunks)
        elif self._phase is _CHUNKS:
            self._start_chunk(None)
        elif self._refused_transaction:  # pipelined behind what was refused: no fault of the peer's
            self._fruitless += 1
            self._start_chunk(replies.NO_RECIPIENTS if self._phase is _SENDER else replies.BAD_SEQUENCE)
        else:
            answer = self._count_error(replies.BAD_SEQUENCE)
            self._events.append(Refused(Stage.DATA, Cause.SYNTAX, answer))
            self._start_chunk(answer)

    def _decide_chunks(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            self._chunks = ChunkReader(self._settings.bare_line_feed, self._limits(), binary=self._binary)
            self._phase = _CHUNKS
            self._abort_reply = None
            self.period += 1
            self._start_chunk(None)
        elif decision.closes or decision.code == 421:
            self._send(decision)
        else:
            self._reset_refused()
            self._start_chunk(decision)

    def _start_chunk(self, refusal: Reply | None) -> None:
        self._chunk_refusal = refusal
        self._chunk_left = self._chunk.octets
        self._step = ContentSession._read_chunk
        reader = self._chunks
        if reader is not None:
            reader.announce(self._chunk.octets)
            self._note_fault(reader)

    def _read_chunk(self) -> bool:
        """Pass octets of a chunk on, or swallow them; False when there are none."""
        data = self._input.take_some(self._chunk_left)
        if not data and self._chunk_left:
            return False
        self._chunk_left -= len(data)
        reader = self._chunks
        if reader is None:
            self._swallowed += len(data)
            swallowed = self._swallowed
        else:
            self._pass_on(reader, reader.read(data, last=self._chunk.last and not self._chunk_left))
            swallowed = reader.swallowed
        if not self._chunk_left or swallowed > SWALLOW_LIMIT:
            self._end_chunk(reader)
            self.closed = self.closed or swallowed > SWALLOW_LIMIT
        return True

    def _end_chunk(self, reader: ChunkReader | None) -> None:
        self._step = None
        if reader is None:
            if self._chunk_refusal is not None:
                self._send(self._chunk_refusal)
        elif self._chunk.last or reader.fault is not None:
            self._chunks = None
            self._end_content(reader)
        else:
            self._send(replies.build_chunk_ok(self._chunk.octets))

    # -- both ----------------------------------------------------------------------------------------------------

    def _pass_on(self, reader: ContentReader, content: bytes) -> None:
        if content:
            self._events.append(DataChunk(content))
        if reader.fault is not None:
            self._note_fault(reader)

    def _note_fault(self, reader: ContentReader) -> None:
        if reader.fault is not None and self._abort_reply is None:
            self._abort_reply = _FAULT_REPLIES[reader.fault]
            self._events.append(DataAborted(self._abort_reply))
            self._events.append(Refused(Stage.DATA, reader.fault, self._abort_reply))

    def _end_content(self, reader: ContentReader) -> None:
        self._content_bytes += reader.size
        if self._abort_reply is not None:
            copies = self._replies_due
            self._reset_refused()
            for _ in range(copies):
                self._send(self._abort_reply)
            self.closed = self.closed or reader.swallowed > SWALLOW_LIMIT
            return
        self._ask(
            DataEnd(
                reader.size,
                reader.received_fields,
                reader.fixed,
                reader.nul,
                reader.long_line,
                reader.eight_bit,
                reader.binary,
                reader.plain and not reader.fixed,
            ),
            self._decide_end,
        )

    @property
    def _replies_due(self) -> int:
        """How many replies the end of the content brings: by LMTP one for each recipient (RFC 2033 §4.2)."""
        return self._recipients if self._settings.lmtp else 1

    def _decide_end(self, decision: Reply | None) -> None:
        copies = self._replies_due
        self._reset(READY)
        if decision is None or decision.positive:
            self._errors = self._fruitless = 0
        if decision is None:
            self._output.append(_MESSAGE_OK[self._esmtp] * copies)
        else:
            for _ in range(copies):
                self._send(decision)

    def _abandon_content(self, answer: Reply | None) -> None:
        """Tell the shell to forget content that will not come to its end."""
        reader = self._data or self._chunks
        if reader is None:
            return
        if self._abort_reply is None and not self.closed:
            self._events.append(DataAborted(answer))
        self._content_bytes += reader.size
        self._data = None
        self._chunks = None
        self._step = None

    def _reset(self, phase: Phase) -> None:
        """Forget the transaction."""
        if self._phase is _CHUNKS:
            self._abandon_content(None)
        self._phase = phase
        self._recipients = 0
        self._refused_transaction = False
        self.period += 1

    def _reset_refused(self) -> None:
        """End the transaction by a refusal; what is pipelined behind it is no fault of the peer's."""
        self._reset(READY)
        self._refused_transaction = True

    def _close(self) -> None:
        super()._close()
        self._data = None
        self._chunks = None


_FAULT_REPLIES: Final = {
    Cause.MESSAGE_SIZE: replies.MESSAGE_TOO_LARGE,
    Cause.SESSION_SIZE: replies.SESSION_TOO_LARGE,
    Cause.HOPS: replies.TOO_MANY_HOPS,
    Cause.MALFORMED: replies.BARE_LINE_END_IN_DATA,
}
