"""UDS: whatever a datagram holds, also one of somebody who has a key; and whatever a text holds that is fingerprinted."""

from collections.abc import Iterator
from typing import Final

from gatepost.antispam.fingerprints import TEXT_VALUES, VALUE_BYTES, fingerprint_text
from gatepost.wire import uds
from gatepost.wire.uds import ANSWER_BYTES, QUESTION_BYTES, Answer, Known, Question, State, UdsKey, Wish

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 3_000

_NOW: Final = 1_700_000_000.0
_KEY: Final = UdsKey("fuzz", bytes(range(32)), may_report=True)
_ZERO: Final = bytes(16)
WORDS: Final = (b"GU\1\1", b"GU\1\2", _KEY.id, _ZERO, b"\1\0\3", b"\2\1\2", b"http://", b"www.", b"@", b"word ")


def execute(data: bytes) -> None:
    """Take the input as a raw datagram, a sealed question, a sealed answer or a text."""
    if not data:
        return
    rest = data[1:]
    match data[0] % 4:
        case 0:
            _raw(rest)
        case 1:
            _question(rest)
        case 2:
            _answer(rest)
        case 3:
            values = fingerprint_text(rest.decode("utf-8", "surrogateescape"))
            assert len(values) in {0, TEXT_VALUES}
            assert all(len(value) == VALUE_BYTES for value in values)


def _raw(datagram: bytes) -> None:
    server = uds.UdsServerSession((_KEY,), _ZERO)
    client = uds.UdsClientSession(_KEY, _ZERO)
    client.ask(Question(Wish.ASK, _NOW))
    received = server.receive(datagram, _NOW)
    assert received is None or received.question.values == (b"12345678",), "without the key there is only the seed"
    assert client.receive(datagram) is None


def _question(plain: bytes) -> None:
    plain = plain[: uds._QUESTION_SEALED].ljust(uds._QUESTION_SEALED, b"\0")
    head = uds._QUESTION_HEAD.pack(b"GU", uds.VERSION, 1, _KEY.id, _ZERO, 7)
    datagram = head + uds._question_cipher(_KEY.secret, _ZERO).encrypt(uds._nonce(7), plain, head)
    assert len(datagram) == QUESTION_BYTES
    server = uds.UdsServerSession((_KEY,), _ZERO)
    received = server.receive(datagram, _NOW)
    if received is None:
        return
    question = received.question
    assert (question.wish is Wish.REPORT) == bool(question.report)
    assert received.fresh == (abs(question.time - _NOW) <= uds.WINDOW_S)
    if received.fresh:
        assert server.receive(datagram, _NOW) is None, "once"
    answer = Answer(State.OK, _NOW, (Known(300, 1, 2),) * len(question.values))
    assert len(server.answer(received, answer)) == ANSWER_BYTES


def _answer(plain: bytes) -> None:
    client = uds.UdsClientSession(_KEY, _ZERO)
    number, _ = client.ask(Question(Wish.ASK, _NOW, (bytes(8),) * 3))
    plain = plain[: uds._ANSWER_SEALED].ljust(uds._ANSWER_SEALED, b"\0")
    head = uds._ANSWER_HEAD.pack(b"GU", uds.VERSION, 2, _ZERO, 1)
    cipher = uds._answer_cipher(_KEY.secret, _ZERO, _ZERO)
    received = client.receive(head + cipher.encrypt(uds._nonce(1), plain, head))
    if received is not None:
        assert received[0] == number
        assert len(received[1].known) in {0, 3}


def seeds() -> Iterator[bytes]:
    """Yield inputs to begin with."""
    client = uds.UdsClientSession(_KEY, _ZERO)
    _, datagram = client.ask(Question(Wish.ASK, _NOW, (b"12345678",)))
    yield b"\0" + datagram
    yield b"\1" + uds._QUESTION_BODY.pack(1, 0, 3, int(_NOW * 1000)) + bytes(24)
    yield b"\1" + uds._QUESTION_BODY.pack(2, 1, 48, int(_NOW * 1000)) + bytes(range(256))
    yield b"\2" + uds._ANSWER_BODY.pack(0, 3, int(_NOW * 1000), 1) + bytes(range(9))
    yield (
        b"\3"
        + b" ".join(b"word%c" % (97 + n % 26) * (n % 5 + 1) for n in range(40))
        + b" a@b.example http://x.example/y"
    )
