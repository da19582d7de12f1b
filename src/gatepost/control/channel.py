"""The channel between the master and one relay: whole messages over a socket pair, descriptors along with them.

The master starts a relay with one end as an inherited descriptor. When the channel closes the other side is gone: a
relay then ends at once (its spool is the truth), the master starts another.
"""

import array
import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gatepost.notices.scan_field import NO_BASES, Bases

MESSAGE_LIMIT = 128 * 1024
"""Bytes of one message: a datagram of a local socket."""
FDS_LIMIT = 250
"""Descriptors with one message (the kernel's own limit is 253) ..."""
LISTENERS_LIMIT = FDS_LIMIT - 1
"""... and so the listeners and doors of one configuration: the session table goes along with them."""


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """master → relay: work with this configuration. Descriptors: the session table,
    then one listening socket for every entry of `listeners`, then for every door.
    """

    index: int
    config: str
    """Path of the configuration snapshot."""
    listeners: tuple[int, ...]
    """Indices into the configuration's listeners, in the order of the descriptors."""
    filter_socket: str
    first: bool = True
    """False: a reload; the relay keeps running and takes the new values into use."""
    off: tuple[str, ...] = ()
    """Modules that are switched off."""
    paused: tuple[str, ...] = ()
    """Destinations that wait for an operator."""
    command_socket: str = ""
    """Where the helper of external commands listens."""
    bases: Bases = NO_BASES
    """Of the databases in force, for texts."""
    recorder_socket: str = ""
    """Where records go, "" when nobody takes any."""
    run: str = ""
    """Of the gateway: statistics begin with it."""
    doors: bool = False
    """Behind the listeners' descriptors come those of the configuration's doors."""


class Switch(msgspec.Struct, frozen=True, tag="switch"):
    """master → relay: switch a module on or off."""

    module: str
    """`recv` (only off: with `Setup` come the sockets to accept from again), `send`, `scan`, `spam`."""
    on: bool


class Pauses(msgspec.Struct, frozen=True, tag="pauses"):
    """master → relay: exactly these destinations wait for an operator."""

    domains: tuple[str, ...]


class BasesInForce(msgspec.Struct, frozen=True, tag="bases"):
    """master → relay: what texts say of the databases from now on."""

    bases: Bases


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """master → relay: a question, to be answered under the same number."""

    number: int
    what: str
    arguments: dict[str, Any] = {}


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """master → relay: stop cleanly."""


class Up(msgspec.Struct, frozen=True, tag="up"):
    """relay → master: in service."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """relay → master: it cannot start, and ends."""

    reason: str


class Taught(msgspec.Struct, frozen=True, tag="taught"):
    """relay → master: a message is to be learned: certainly spam, certainly wanted, or taught by somebody."""

    lesson: bytes
    """As `antispam.classifier.lesson` packs it: at most 32 KB."""
    spam: bool
    who: str
    """Whose message it is: the client's address of spam, the domain that is proved of wanted mail; the door where
    somebody taught it."""
    source: str = ""
    """"" for a message that is certain by itself, else who taught it: `door`."""
    forget: bool = False
    """What it taught is to be taken back."""


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """relay → master: the answer to a question, as JSON; `error` when it could not be answered."""

    number: int
    result: msgspec.Raw
    error: str = ""


Message = Setup | Switch | Pauses | BasesInForce | Ask | Stop | Up | Failed | Taught | Answer

_DECODER = msgspec.json.Decoder(Message)
_ENCODER = msgspec.json.Encoder()


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One end of a channel on an event loop."""

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message, Sequence[int]], None],
        on_close: Callable[[], None],
    ) -> None:
        """`on_message(message, descriptors)` owns the descriptors it gets."""
        self._sock = sock
        self._on_message = on_message
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._closed = False
        sock.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 4 * MESSAGE_LIMIT)
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send a message; False when the other side is gone or does not read."""
        if self._closed:
            return False
        try:
            socket.send_fds(self._sock, [_ENCODER.encode(message)], list(descriptors))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close this end without telling anybody here."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _read(self) -> None:
        while not self._closed:
            try:
                data, ancillary, _, _ = self._sock.recvmsg(MESSAGE_LIMIT, socket.CMSG_SPACE(4 * FDS_LIMIT))
            except BlockingIOError:
                return
            except OSError:
                data, ancillary = b"", []
            if not data:
                self.close()
                self._on_close()
                return
            self._on_message(_DECODER.decode(data), _descriptors(ancillary))


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)
