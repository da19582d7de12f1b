"""AgentX: frames as RFC 2741 draws them, searches in the tree, and what a master agent must not be able to do."""

import struct

import pytest

from gatepost.wire.agentx import (
    ANSWER_LIMIT,
    HEADER,
    PAYLOAD_LIMIT,
    AgentSession,
    AgentxError,
    Asked,
    Closed,
    Confirmed,
    Kind,
    Oid,
    Range,
    Syntax,
    Tree,
    Value,
    build_binding,
    build_oid,
    parse_oid,
)

ROOT: Oid = (1, 3, 6, 1, 4, 1, 9, 9)


def number(value: int) -> Value:
    return Value(Syntax.GAUGE, value)


TREE = Tree({(*ROOT, 1, 0): number(1), (*ROOT, 2, 0): number(2), (*ROOT, 10, 0): number(10)})


def frame(kind: int, payload: bytes = b"", *, packet: int = 1, flags: int = 0x10, version: int = 1) -> bytes:
    return HEADER.pack(version, kind, flags, 0, 7, 3, packet, len(payload)) + payload


def response(packet: int, fault: int = 0) -> bytes:
    return frame(Kind.RESPONSE, struct.pack("!IHH", 0, fault, 0), packet=packet)


def opened() -> AgentSession:
    session = AgentSession("test", 5)
    session.take_output()
    assert session.feed(response(1)) == [Confirmed(Kind.OPEN, 0)]
    return session


def answer_to(kind: Kind, ranges: bytes, tree: Tree = TREE) -> tuple[int, bytes]:
    """Return (error, bindings) of the answer to a question."""
    session = opened()
    (asked,) = session.feed(frame(kind, ranges, packet=77))
    assert isinstance(asked, Asked)
    session.answer(asked, tree)
    output = session.take_output()
    _, answered, _, _, number_, transaction, packet, length = HEADER.unpack_from(output)
    assert (answered, number_, transaction, packet) == (Kind.RESPONSE, 7, 3, 77)
    assert length == len(output) - HEADER.size
    return struct.unpack_from("!H", output, HEADER.size + 4)[0], output[HEADER.size + 8 :]


def span(start: Oid, end: Oid = (), *, include: bool = False) -> bytes:
    return build_oid(start, include=include) + build_oid(end)


def test_an_object_identifier_as_the_rfc_draws_it() -> None:
    assert build_oid((1, 3, 6, 1, 2, 1, 1)) == bytes((2, 2, 0, 0)) + struct.pack("!2I", 1, 1)
    assert build_oid((1, 3, 6)) == bytes((3, 0, 0, 0)) + struct.pack("!3I", 1, 3, 6)
    assert build_oid(()) == bytes(4)
    for name in ((), (1, 3), ROOT, (1, 3, 6, 1, 300, 4)):
        data = build_oid(name, include=True)
        assert parse_oid(b"\0" + data, 1) == (name, True, 1 + len(data))


def test_values_by_their_syntax() -> None:
    assert build_binding((1,), Value(Syntax.TEXT, b"abcde"))[8 + 4 :] == b"\0\0\0\5abcde\0\0\0"
    assert build_binding((1,), Value(Syntax.COUNTER, 1 << 40))[-8:] == struct.pack("!Q", 1 << 40)
    assert build_binding((1,), Value(Syntax.OID, (1, 2)))[-12:] == build_oid((1, 2))
    assert len(build_binding((1,), Value(Syntax.END, 0))) == 12


def test_the_session_opens_and_registers() -> None:
    session = AgentSession("a gateway", 5)
    output = session.take_output()
    assert HEADER.unpack_from(output)[1] == Kind.OPEN
    assert output.endswith(b"\0\0\0\x09a gateway\0\0\0")
    assert session.unanswered == 1
    assert session.feed(response(1)[:11]) == []
    assert session.feed(response(1)[11:]) == [Confirmed(Kind.OPEN, 0)]
    session.register(ROOT)
    assert HEADER.unpack_from(session.take_output())[4] == 7, "the session that the master agent gave"
    assert session.feed(response(2, fault=263)) == [Confirmed(Kind.REGISTER, 263)]
    assert session.unanswered == 0


def test_get_tells_a_value_a_missing_instance_and_a_missing_object() -> None:
    fault, rows = answer_to(Kind.GET, span((*ROOT, 2, 0)) + span((*ROOT, 2, 5)) + span((*ROOT, 3, 0)))
    assert fault == 0
    assert rows == (
        build_binding((*ROOT, 2, 0), number(2))
        + build_binding((*ROOT, 2, 5), Value(Syntax.NO_INSTANCE, 0))
        + build_binding((*ROOT, 3, 0), Value(Syntax.NO_OBJECT, 0))
    )


def test_get_next_goes_on_in_numerical_order_to_the_end_of_the_range() -> None:
    fault, rows = answer_to(
        Kind.GET_NEXT,
        span(ROOT)
        + span((*ROOT, 2, 0))
        + span((*ROOT, 2, 0), include=True)
        + span((*ROOT, 2, 0), (*ROOT, 10))
        + span((*ROOT, 10, 0)),
    )
    assert fault == 0
    assert rows == (
        build_binding((*ROOT, 1, 0), number(1))
        + build_binding((*ROOT, 10, 0), number(10))
        + build_binding((*ROOT, 2, 0), number(2))
        + build_binding((*ROOT, 2, 0), Value(Syntax.END, 0))
        + build_binding((*ROOT, 10, 0), Value(Syntax.END, 0))
    )


def test_get_bulk_repeats_and_is_bounded() -> None:
    _, rows = answer_to(Kind.GET_BULK, struct.pack("!HH", 1, 2) + span(ROOT) + span(ROOT))
    first, second = build_binding((*ROOT, 1, 0), number(1)), build_binding((*ROOT, 2, 0), number(2))
    assert rows == first + first + second
    wide = Tree({(*ROOT, each, 0): number(each) for each in range(1, 2000)})
    _, rows = answer_to(Kind.GET_BULK, struct.pack("!HH", 0, 65535) + span(ROOT), wide)
    assert len(rows) <= ANSWER_LIMIT * len(build_binding((*ROOT, 1, 0), number(1)))


@pytest.mark.parametrize("kind", [Kind.TEST_SET, Kind.COMMIT_SET, Kind.UNDO_SET])
def test_nothing_can_be_set(kind: Kind) -> None:
    session = opened()
    assert session.feed(frame(kind, build_binding((*ROOT, 1, 0), number(5)))) == []
    output = session.take_output()
    assert struct.unpack_from("!HH", output, HEADER.size + 4) == (17, 1)
    assert session.feed(frame(Kind.CLEANUP_SET)) == []
    assert session.take_output() == b""


def test_a_context_of_its_own_is_refused() -> None:
    session = opened()
    assert session.feed(frame(Kind.GET, b"\0\0\0\1x\0\0\0" + span(ROOT), flags=0x18)) == []
    assert struct.unpack_from("!H", session.take_output(), HEADER.size + 4) == (262,)


def test_the_end_of_a_session_is_told() -> None:
    assert opened().feed(frame(Kind.CLOSE, bytes((5, 0, 0, 0)))) == [Closed(5)]


@pytest.mark.parametrize(
    "data",
    [
        frame(Kind.GET, version=2),
        frame(Kind.GET, flags=0),
        frame(99),
        frame(Kind.RESPONSE, bytes(8), packet=4711),
        frame(Kind.RESPONSE, bytes(4), packet=2),
        frame(Kind.GET, bytes((200, 0, 0, 0))),
        frame(Kind.GET, b"\0\0\0\0"),
        frame(Kind.GET_BULK, b""),
        frame(Kind.GET, span(()) * (ANSWER_LIMIT + 1)),
        HEADER.pack(1, Kind.GET, 0x10, 0, 7, 3, 1, PAYLOAD_LIMIT + 4),
        HEADER.pack(1, Kind.GET, 0x10, 0, 7, 3, 1, 3),
    ],
)
def test_what_is_no_agentx_ends_the_session(data: bytes) -> None:
    session = opened()
    session.ping()
    with pytest.raises(AgentxError):
        session.feed(data)


def test_a_range_is_what_was_asked() -> None:
    (asked,) = opened().feed(frame(Kind.GET_NEXT, span(ROOT, (*ROOT, 5), include=True)))
    assert isinstance(asked, Asked)
    assert asked.ranges == (Range(ROOT, (*ROOT, 5), inclusive=True),)
