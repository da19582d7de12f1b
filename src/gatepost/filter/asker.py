"""The filter's end of its socket: jobs in, answers out, and the questions it may ask while it has a job.

Used by `filter.worker`, which waits here for jobs; handed to the inspection as its memory of clean objects
(`antivirus.clean_keys.CleanMemory`) and to remote engines as their `Connector`. Promises: one question at a time; an
alarm that ends the waiting (`Overrun`) loses no byte and no descriptor, and a reply that comes too late is dropped.
"""

import os
import select
import socket
import struct
from collections import deque
from collections.abc import Sequence

from gatepost.antivirus.engine import Connection
from gatepost.filter.dialogue import (
    JOB_FRAME_LIMIT,
    KEY_QUESTIONS,
    QUESTION_LIMIT,
    ConnectionQuestion,
    ConnectionReply,
    FrameReader,
    FromFilter,
    Job,
    KnownQuestion,
    KnownReply,
    Question,
    Reply,
    SpamQuestion,
    SpamReply,
    ToFilter,
    build_frame,
    parse_to_filter,
)
from gatepost.model.spam import SpamFacts

RECEIVE_SIZE = 64 * 1024
"""One read takes an ordinary job whole."""
DESCRIPTORS_AT_ONCE = 2
"""Descriptors one read may bring: one with a frame, and the kernel never joins two such messages."""
_ANCILLARY = socket.CMSG_SPACE(4 * DESCRIPTORS_AT_ONCE)


class Idle(Exception):  # noqa: N818 - a state
    """The filter's idle time has passed."""


class Gone(ConnectionError):  # noqa: N818 - a state
    """The relay has closed the socket."""


class Asker:
    """One filter's socket to its relay."""

    def __init__(self, sock: socket.socket, idle_s: float) -> None:
        """`idle_s`: how long `receive_job` waits. To be made before the walls are up."""
        seconds = int(idle_s)
        timeout = struct.pack("@ll", seconds, int((idle_s - seconds) * 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._sock = sock
        self._reader = FrameReader(JOB_FRAME_LIMIT)
        self._bodies: deque[bytes | memoryview] = deque()
        self._descriptors: deque[int] = deque()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._number = 0
        self._job = ""
        self._asked = 0
        self._asked_known = 0
        self.clean: list[int] = []
        """Indices of the keys asked about in this job that turned out clean."""
        self.reading = False
        """While true the alarm must not raise: what a read has taken out of the socket is not safe yet."""

    def say(self, *words: FromFilter) -> None:
        """Send words to the relay."""
        self._sock.sendall(b"".join(map(build_frame, words)))

    def receive_job(self) -> tuple[Job, int]:
        """Return the next job and its descriptor (-1: its content is in it). Idle, Gone."""
        while True:
            while not self._bodies:
                try:
                    self._read(0)
                except BlockingIOError:
                    raise Idle from None
            word = parse_to_filter(self._bodies.popleft())
            if isinstance(word, Job):
                self._job = word.id
                self._asked = 0
                self._asked_known = 0
                self.clean.clear()
                return word, self._descriptors.popleft() if word.content is None else -1
            self._drop(word)

    def known(self, keys: Sequence[bytes]) -> bytes:
        """Return a byte for each key, not 0 for those found clean before. At most `KEY_QUESTIONS` times in a job."""
        if self._asked_known >= KEY_QUESTIONS or self._asked >= QUESTION_LIMIT:
            return bytes(len(keys))
        self._asked_known += 1
        reply = self._ask(KnownQuestion(self._job, self._next(), tuple(keys)))
        if not isinstance(reply, KnownReply) or len(reply.known) != len(keys):
            raise Gone("a reply to another question")
        return reply.known

    def learn(self, index: int) -> None:
        """Have the object with this key (its place in all that `known` was given) remembered as clean."""
        self.clean.append(index)

    def connect(self, engine: str) -> Connection:
        """Ask for a connection to a remote engine (`antivirus.engine.Connector`). Its descriptor does not block."""
        if self._asked >= QUESTION_LIMIT:
            return Connection(None, reason="too many connections were lost over one message")
        reply = self._ask(ConnectionQuestion(self._job, self._next(), engine))
        if not isinstance(reply, ConnectionReply):
            raise Gone("a reply to another question")
        if reply.reason:
            return Connection(None, reply.version, reply.reason, reply.wait)
        # With its kind stated nothing need be asked of the kernel, which would refuse.
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=self._descriptors.popleft())
        return Connection(sock, reply.version)

    def may_spare(self, facts: SpamFacts) -> bool:
        """Tell whether a message need not be scanned, because nobody gets it. To be asked before anything else."""
        reply = self._ask(SpamQuestion(self._job, self._next(), facts))
        if not isinstance(reply, SpamReply):
            raise Gone("a reply to another question")
        return reply.spare

    def _next(self) -> int:
        self._number += 1
        self._asked += 1
        return self._number

    def _ask(self, question: Question) -> Reply:
        self.say(question)
        while True:
            while not self._bodies:
                self._poll.poll()  # the alarm may strike here
                self.reading = True
                try:
                    self._read(socket.MSG_DONTWAIT)
                finally:
                    self.reading = False
            word = parse_to_filter(self._bodies.popleft())
            if isinstance(word, Job):
                raise Gone("a job in the middle of another")
            if word.number == question.number:
                return word
            self._drop(word)

    def _read(self, flags: int) -> None:
        size = max(RECEIVE_SIZE, self._reader.missing)
        chunk, ancillary, _, _ = self._sock.recvmsg(size, _ANCILLARY, flags | socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._descriptors += (value for (value,) in struct.iter_unpack("=i", data[: len(data) // 4 * 4]))
        if not chunk:
            raise Gone("the relay has gone")
        self._bodies += self._reader.feed(chunk)

    def _drop(self, late: ToFilter) -> None:
        """Forget a reply to a question nobody waits for any more."""
        if isinstance(late, ConnectionReply) and not late.reason:
            os.close(self._descriptors.popleft())
