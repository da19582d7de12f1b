"""The milter codec: the message as the mail system has it, however the bytes come; what breaks the rules is named."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import milter_peer as mta
from tests.support.milter_peer import packet, texts

from gatepost.wire import milter
from gatepost.wire.milter import ENVELOPE_LIMIT, PACKET_LIMIT, PIECE_BYTES, MilterSession, State
from gatepost.wire.milter_values import Dropped, Ended, Family, MilterError, MilterMessage, Piece


def run(stream, pieces=None, session=None):
    """Feed a conversation; answer every message. Return (events, what was sent)."""
    session = session or MilterSession()
    events, sent = [], b""
    for data in pieces or [stream]:
        session.feed(data)
        while True:
            event = session.next_event()
            if event is None:
                break
            events.append(event)
            if isinstance(event, MilterMessage):
                session.finish()
        sent += session.take_output()
    return events, sent


def started(**choice):
    session = MilterSession(**choice)
    session.feed(mta.options() + mta.connect())
    assert session.next_event() is None
    session.take_output()
    return session


def test_a_message_is_told_whole():
    stream = (
        mta.options()
        + mta.macros("C", client_resolve=b"OK", daemon_name=b"x")
        + mta.connect()
        + packet("H", b"helo.example.net\0")
        + mta.macros("M", auth_authen=b"anna", tls_version=b"TLSv1.3", cipher=b"AES")
        + mta.message(recipients=[b"<b@example.com>", b"<c@example.com>"])
        + packet("Q")
    )
    (told, ended), _ = run(stream)
    assert ended == Ended()
    assert told.content == mta.CONTENT
    assert told.size == len(mta.CONTENT)
    assert mta.CONTENT[told.header_size :] == b"Hello,\r\n.\r\nbye\r\n"
    assert (told.client.name, told.client.family, told.client.address, told.client.port) == (
        b"mail.example.net", Family.IPV4, b"192.0.2.7", 4711,
    )  # fmt: skip
    assert told.helo == b"helo.example.net"
    assert told.sender == b"<a@example.net>"
    assert told.recipients == (b"<b@example.com>", b"<c@example.com>")
    assert told.macros == {
        b"{client_resolve}": b"OK", b"{auth_authen}": b"anna", b"{tls_version}": b"TLSv1.3", b"{cipher}": b"AES",
        b"i": b"4XyZ12",
    }  # fmt: skip


@given(st.lists(st.integers(1, 40), min_size=1, max_size=200))
def test_pieces_make_no_difference(sizes):
    stream = mta.session(mta.message(), mta.message(b"\r\nno header\r\n"))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(stream[at : at + size])
        at += size
    assert run(stream, [*pieces, stream[at:]]) == run(stream)


def test_nothing_is_answered_and_little_is_sent_in_version_6():
    _, sent = run(mta.session())
    ((command, data),) = mta.packets(sent)
    assert command == "O"
    version, actions, steps = struct.unpack_from("!III", data)
    assert version == 6
    assert actions == 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x100
    assert steps == 0x1FF7C0 & ~0x800  # all but NOCONNECT … NOHDRS, and refused recipients are not told
    assert data[12:] == b"".join(
        struct.pack("!I", stage) + names + b"\0"
        for stage, names in [(0, b"{client_resolve}"), (1, b""), (2, b"i {auth_authen} {tls_version} {cipher}"), (3, b"i"), (5, b"i")]
    )  # fmt: skip


def test_macros_of_steps_that_nothing_was_asked_of_are_passed_over():
    said = mta.macros("L", i=b"OTHER") + packet("D", b"L")
    repeated = b"".join(
        (said if command == "L" else mta.macros("B", cipher=b"x")) + packet(command, data) if command in "LB"
        else mta.macros("R", tls_version=b"x") + packet(command, data) if command == "R"
        else packet(command, data)
        for command, data in mta.packets(mta.message())
    )  # fmt: skip
    assert repeated.count(b"OTHER") > 1
    assert run(mta.session(repeated)) == run(mta.session())
    with pytest.raises(MilterError, match="a packet of 0 bytes"):
        run(mta.session(mta.envelope() + said + bytes(4)))


def test_nothing_is_asked_for_that_was_not_offered():
    _, sent = run(mta.options(3, 0x3F, 0x1FF))
    ((_, data),) = mta.packets(sent)
    assert struct.unpack("!III", data) == (3, 0x3F, 0x1C0)


def test_every_word_is_answered_in_version_2():
    header = mta.content(exact=False)
    stream = (
        mta.options(2, mta.OLD_ACTIONS, 0)
        + mta.connect()
        + packet("H", b"h\0")
        + mta.envelope()
        + header[:-5].replace(
            packet("B", b"Hello,\r\n.\r\nbye\r\n"), packet("N") + packet("B", b"Hello,\r\n.\r\nbye\r\n")
        )
        + packet("E")
    )
    (told,), sent = run(stream)
    assert told.content == mta.CONTENT  # the blank behind the colon was guessed
    assert [command for command, _ in mta.packets(sent)] == ["O", *"c" * 9]
    # connection, HELO, MAIL, RCPT, three fields, end of header, body


@pytest.mark.parametrize("version", [2, 6])
def test_a_value_without_a_blank_stays_so(version):
    stream = (mta.options() if version == 6 else mta.options(2, 0x3F, 0x7F)) + mta.connect() + mta.envelope()
    stream += packet("L", texts(b"A", b"x" if version == 6 else b"")) + packet("E")
    (told,), _ = run(stream)
    assert told.content == (b"A:x\r\n\r\n" if version == 6 else b"A:\r\n\r\n")


@pytest.mark.parametrize("version", [2, 6])
def test_folded_values_have_crlf_once(version):
    stream = mta.options(6) + mta.connect() + mta.envelope()
    stream += packet("L", texts(b"A", b" x\n y\r\n\tz")) + packet("L", texts(b"B", b" \r")) + packet("E", b"last")
    (told,), _ = run(stream)
    assert told.content == b"A: x\r\n y\r\n\tz\r\nB: \r\r\n\r\nlast"


@pytest.mark.parametrize(
    ("kind", "data", "family", "address"),
    [
        ("4", b"\x12\x34192.0.2.1\0", Family.IPV4, b"192.0.2.1"),
        ("6", b"\x12\x34IPv6:2001:db8::1\0", Family.IPV6, b"IPv6:2001:db8::1"),
        ("L", b"\x00\x00/run/x\0", Family.LOCAL, b"/run/x"),
        ("U", b"", Family.UNKNOWN, b""),
    ],
)
def test_all_families(kind, data, family, address):
    stream = mta.options() + packet("C", b"name\0" + kind.encode() + data) + mta.message()
    (told,), _ = run(stream)
    assert (told.client.family, told.client.address) == (family, address)


def test_messages_of_one_session_and_the_next_client_share_nothing():
    first = mta.macros("M", auth_authen=b"anna") + mta.message(queue_id=b"ONE")
    second = mta.envelope(b"<>", [b"<c@example.com>"]) + mta.content()
    third = packet("K") + mta.connect(b"other", b"198.51.100.1") + mta.envelope() + mta.content()
    (one, two, three, _), _ = run(mta.session(mta.macros("C", client_resolve=b"OK"), first, second, third))
    assert one.macros == {b"{client_resolve}": b"OK", b"{auth_authen}": b"anna", b"i": b"ONE"}
    assert two.macros == {b"{client_resolve}": b"OK"}
    assert (two.sender, two.recipients) == (b"<>", (b"<c@example.com>",))
    assert (three.client.address, three.helo, three.macros) == (b"198.51.100.1", b"", {})
    assert one.content == two.content == three.content == mta.CONTENT


def test_an_aborted_message_leaves_nothing():
    gone = mta.envelope(b"<x@example.net>", [b"<y@example.com>"]) + mta.content()[:-5] + packet("A")
    again = mta.envelope(b"<x@example.net>", [b"<y@example.com>"]) + packet("A")
    (told, _), _ = run(mta.session(gone, again, mta.message()))
    assert (told.recipients, told.content) == ((b"<b@example.com>",), mta.CONTENT)


def test_a_second_sender_begins_anew():
    (told, _), _ = run(mta.session(mta.envelope(b"<x@example.net>", [b"<y@example.com>"]), mta.message()))
    assert told.recipients == (b"<b@example.com>",)


def test_a_large_message_comes_in_pieces():
    mail = mta.CONTENT + b"x" * (3 * PIECE_BYTES)
    events, _ = run(mta.session(mta.message(mail)))
    pieces = [event for event in events if isinstance(event, Piece)]
    told = events[-2]
    assert len(pieces) == 2
    assert all(len(piece.content) < PIECE_BYTES + 65536 for piece in pieces)
    assert b"".join(piece.content for piece in pieces) + told.content == mail
    assert told.size == len(mail)
    events, _ = run(mta.session(mta.message(mail)[:-5] + packet("A"), mta.message()))
    assert events[2] == Dropped()
    assert events[3].content == mta.CONTENT


@pytest.mark.parametrize("steps", [mta.STEPS, mta.STEPS & ~0x400])
def test_over_the_size_limit_the_rest_is_skipped(steps):
    session = MilterSession(size_limit=100_000)
    session.feed(mta.options(steps=steps) + mta.connect() + mta.envelope())
    assert session.next_event() is None
    assert b"O" in session.take_output()
    answers = ""
    for _ in range(3):
        session.feed(packet("B", b"x" * 50_000))
        assert session.next_event() is None
        answers += "".join(command for command, _ in mta.packets(session.take_output()))
    assert answers == ("css" if steps & 0x400 else "ccc")
    session.feed(packet("E"))
    told = session.next_event()
    assert told.too_large
    assert (told.size, told.content) == (150_002, b"")


@pytest.mark.parametrize(("size", "too_large"), [(100, False), (101, True)])
def test_size_limit_to_the_byte(size, too_large):
    session = started(content_limit=100)
    session.feed(mta.envelope() + packet("B", b"x" * (size - 2)) + packet("E"))
    told = session.next_event()
    assert (told.size, told.too_large) == (size, too_large)
    assert session.take_output() == b""  # without a size limit nobody waits for an answer


@pytest.mark.parametrize(
    "wrong",
    [
        packet("O", bytes(11)),
        mta.options(1),
        mta.options(actions=0x1FF & ~0x2),
        mta.options() + mta.options(),
        mta.connect(),
        mta.options() + mta.envelope(),
        mta.options() + packet("C", b"name"),
        mta.options() + packet("C", b"name\0"),
        mta.options() + packet("C", b"name\0X"),
        mta.options() + packet("C", b"name\x004\x01"),
        mta.options() + packet("D"),
        mta.options() + mta.connect() + packet("H"),
        mta.options() + mta.connect() + packet("M", b"<a@b>"),
        mta.options() + mta.connect() + packet("R", b"<a@b>\0"),
        mta.options() + mta.connect() + packet("E"),
        mta.options() + mta.connect() + mta.envelope() + packet("L", b"A\0"),
        mta.options() + mta.connect() + mta.envelope() + packet("L", b"\0\0"),
        mta.options() + mta.connect() + mta.envelope() + packet("L", b"A\0b"),
        mta.options() + mta.connect() + mta.envelope() + packet("L", b""),
        mta.options() + mta.connect() + mta.envelope() + packet("B", b"x") + packet("L", b"A\0b\0"),
        mta.options() + mta.connect() + packet("Z"),
        struct.pack("!I", 0) + b"O",
        struct.pack("!I", PACKET_LIMIT + 1) + b"O",
        b"GET / HTTP/1.1\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("following", [packet("Q"), b""])
def test_what_breaks_the_rules_is_refused(wrong, following):
    session = MilterSession()
    session.feed(wrong + following)
    with pytest.raises(MilterError):
        session.next_event()
    assert session.state is State.CLOSED
    assert session.next_event() is None


def test_a_packet_of_the_limit_is_taken():
    session = started()
    session.feed(mta.envelope() + packet("L", texts(b"A", b"x" * (PACKET_LIMIT - 4))))
    assert len(session.next_event().content) == PACKET_LIMIT - 4 + len(b"A:\r\n")


def test_recipients_have_a_limit(monkeypatch):
    monkeypatch.setattr(milter, "ENVELOPE_LIMIT", 1000)
    assert ENVELOPE_LIMIT // (64 + 20) > 40_000
    session = started()
    session.feed(mta.envelope(recipients=[b"<b@example.com>"] * 12))  # 12 of 15 + 64 bytes
    assert session.next_event() is None
    session.feed(packet("R", texts(b"<b@example.com>")))
    with pytest.raises(MilterError, match="recipients"):
        session.next_event()


def test_nothing_is_read_behind_a_message_that_waits_for_its_answer():
    session = started()
    session.feed(mta.message() + mta.message(b"B: 2\r\n\r\n"))
    assert session.next_event().content == mta.CONTENT
    assert session.next_event() is None
    assert session.partial
    session.finish()
    assert session.next_event().content == b"B: 2\r\n\r\n"
