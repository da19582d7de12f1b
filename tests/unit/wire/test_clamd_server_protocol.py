"""What clients of clamd say, in whatever pieces it comes; and what is no command."""

import struct

import pytest

from gatepost.wire.clamd import INSTREAM, VERSION, Answer, ClamdReply, ClamdSession
from gatepost.wire.clamd_server import (
    LINE_LIMIT,
    TOO_LARGE,
    Ask,
    ClamdRequestError,
    ClamdServerSession,
    Command,
    Event,
    Passed,
    Piece,
    StreamEnd,
)

LIMIT = 1000


def chunk(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


def read(stream: bytes, step: int = 0, *, close: bool = True) -> list[Event]:
    """Return all events; the pieces of a stream joined."""
    session = ClamdServerSession(LIMIT)
    events: list[Event] = []
    step = step or max(1, len(stream))
    for at in range(0, len(stream), step):
        session.feed(stream[at : at + step])
        _take_all(session, events)
    if close:
        session.close()
        _take_all(session, events)
    return events


def _take_all(session: ClamdServerSession, events: list[Event]) -> None:
    while (event := session.next_event()) is not None:
        if isinstance(event, Piece) and events and isinstance(events[-1], Piece):
            event = Piece(events.pop().data + event.data)
        events.append(event)


def answer(stream: bytes, **options: int) -> bytes:
    with pytest.raises(ClamdRequestError) as caught:
        read(stream, **options)
    return caught.value.answer


class TestCommands:
    @pytest.mark.parametrize("step", [0, 1])
    @pytest.mark.parametrize(
        ("stream", "ask"),
        [
            (b"zPING\0", Ask(Command.PING, b"\0")), (b"nPING\n", Ask(Command.PING, b"\n")), (b"PING\n", Ask(Command.PING, b"\n")), (b"PING\r\n", Ask(Command.PING, b"\n")),
            (b"PING", Ask(Command.PING, b"\n")), (b"VERSION\n", Ask(Command.VERSION, b"\n")), (b"zVERSIONCOMMANDS\0", Ask(Command.COMMANDS, b"\0")), (b"nSTATS\n", Ask(Command.STATISTICS, b"\n")),
            (b"zFILDES\0", Ask(Command.DESCRIPTOR, b"\0")), (b"zSCAN /a b\0", Ask(Command.SCAN, b"\0", 0, "/a b")), (b"CONTSCAN /a", Ask(Command.SCAN_ON, b"\n", 0, "/a")),
            (b"nMULTISCAN /\xff\n", Ask(Command.SCAN_PARALLEL, b"\n", 0, "/\udcff")), (b"zALLMATCHSCAN /a\n\0", Ask(Command.SCAN_ALL, b"\0", 0, "/a\n")), (b"zRELOAD\0", Ask(Command.RELOAD, b"\0")), (b"SHUTDOWN", Ask(Command.SHUTDOWN, b"\n")),
        ],
    )  # fmt: skip
    def test_one(self, stream, ask, step):
        assert read(stream, step) == [ask]

    def test_only_one_outside_a_session(self):
        assert read(b"zPING\0zVERSION\0") == [Ask(Command.PING, b"\0")]

    @pytest.mark.parametrize("step", [0, 1, 3])
    def test_a_session(self, step):
        stream = (
            b"zIDSESSION\0zPING\0nVERSION\nzINSTREAM\0"
            + chunk(b"ab")
            + chunk(b"c")
            + bytes(4)
            + b"zPING\0zEND\0zPING\0"
        )
        assert read(stream, step) == [
            Ask(Command.PING, b"\0", 1), Ask(Command.VERSION, b"\n", 2), Ask(Command.STREAM, b"\0", 3), Piece(b"abc"), StreamEnd(), Ask(Command.PING, b"\0", 4),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "stream",
        [
            b"zNONSENSE\0",
            b"z\0",
            b"zping\0",
            b"zPING x\0",
            b"zPING \0",
            b"zSCAN\0",
            b"zSCAN \0",
            b"zEND\0",
            b"zSTREAM\0",
            b"zPING\xff\0",
            b"zDETSTATS\0",
        ],
    )
    def test_unknown(self, stream):
        assert answer(stream) == b"UNKNOWN COMMAND\0"
        assert answer(stream, step=1) == b"UNKNOWN COMMAND\0"

    @pytest.mark.parametrize(
        "stream",
        [
            b"\n",
            b"INSTREAM\n" + chunk(b"x"),
            b"INSTREAM",
            b"STATS\n",
            b"FILDES\n",
            b"IDSESSION\n",
            b"nNONSENSE\n",
            b"x" * 20,
        ],
    )
    def test_unknown_with_a_line_feed(self, stream):
        assert answer(stream) == b"UNKNOWN COMMAND\n"

    @pytest.mark.parametrize("stream", [b"zNONSENSE\0", b"zIDSESSION\0", b"PING\0zEND\0"])
    def test_invalid_within_a_session(self, stream):
        if stream.startswith(b"PING"):
            stream = b"PING\n"
            assert answer(b"zIDSESSION\0" + stream) == b"1: Command invalid inside IDSESSION. ERROR\n"
        else:
            assert answer(b"zIDSESSION\0" + stream) == b"1: Command invalid inside IDSESSION. ERROR\0"

    def test_a_line_without_end(self):
        session = ClamdServerSession(LIMIT)
        session.feed(b"z" + b"x" * (LINE_LIMIT - 2))
        assert session.next_event() is None
        session.feed(b"x")
        with pytest.raises(ClamdRequestError):
            session.next_event()

    def test_what_is_cut_off_is_no_command(self):
        assert read(b"zPING") == []
        assert read(b"nPING") == []
        assert read(b"zIDSESSION\0PING") == []
        assert read(b"") == []

    @pytest.mark.parametrize("step", [0, 1])
    def test_a_byte_carries_a_descriptor(self, step):
        assert read(b"zFILDES\0zPING\0", step) == [Ask(Command.DESCRIPTOR, b"\0"), Passed()]
        assert read(b"zIDSESSION\0zFILDES\0\0zPING\0", step) == [
            Ask(Command.DESCRIPTOR, b"\0", 1), Passed(), Ask(Command.PING, b"\0", 2),
        ]  # fmt: skip


class TestStreams:
    @pytest.mark.parametrize("step", [0, 1, 5])
    def test_one(self, step):
        assert read(b"nINSTREAM\n" + chunk(b"abc") + chunk(b"de") + bytes(4) + b"more", step) == [
            Ask(Command.STREAM, b"\n"), Piece(b"abcde"), StreamEnd(),
        ]  # fmt: skip

    def test_an_empty_one(self):
        assert read(b"zINSTREAM\0" + bytes(4)) == [Ask(Command.STREAM, b"\0"), StreamEnd()]

    def test_the_limit(self):
        whole = chunk(bytes(LIMIT - 1)) + chunk(b"x")
        assert read(b"zINSTREAM\0" + whole + bytes(4))[-1] == StreamEnd()
        assert answer(b"zINSTREAM\0" + whole + chunk(b"x")) == TOO_LARGE.encode() + b"\0"
        assert answer(b"nINSTREAM\n\xff\xff\xff\xff") == TOO_LARGE.encode() + b"\n"

    def test_a_piece_is_passed_on_as_it_comes(self):
        session = ClamdServerSession(LIMIT)
        session.feed(b"zINSTREAM\0" + struct.pack("!I", 900) + b"abc")
        assert [session.next_event(), session.next_event(), session.next_event()] == [
            Ask(Command.STREAM, b"\0"),
            Piece(b"abc"),
            None,
        ]
        assert not session.finished

    def test_what_is_cut_off_has_no_end(self):
        assert read(b"zINSTREAM\0" + chunk(b"abc")) == [Ask(Command.STREAM, b"\0"), Piece(b"abc")]
        assert read(b"zINSTREAM\0\0\0") == [Ask(Command.STREAM, b"\0")]


def test_the_client_side_understands_the_replies():
    client, server = ClamdSession(), ClamdServerSession(LIMIT)
    server.feed(b"zIDSESSION\0" + VERSION + INSTREAM + chunk(b"x") + bytes(4))
    client.command(VERSION)
    client.command(INSTREAM)
    asks = [event for event in iter(server.next_event, None) if isinstance(event, Ask)]
    said = asks[0].reply("Gatepost 1/2") + asks[1].reply("stream: Eicar FOUND")
    assert client.feed(said) == [ClamdReply(1, Answer.VERSION, "Gatepost 1/2"), ClamdReply(2, Answer.FOUND, "Eicar")]
