"""What scanners answer (clamd, ICAP, the command helper): the same however it arrives, and nothing but the word for it is clean."""

from collections.abc import Callable, Iterator
from typing import Final

from gatepost.antivirus.clamd import ClamdDialogue
from gatepost.antivirus.command import CommandDialogue
from gatepost.antivirus.engine import CLEAN, Report, ScanObject
from gatepost.antivirus.icap import IcapDialogue
from gatepost.antivirus.remote import Broken, Dialogue
from gatepost.config.engines import EngineKind, EngineTable
from gatepost.wire.command import CommandOutcome, build_outcome

from .cutting import cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 600

_OBJECT: Final = b"hello world"
_TABLE: Final = EngineTable(name="f", kind=EngineKind.ICAP, address="icap://h/s", command=("/bin/scan",))
_OPTIONS: Final = b"ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nAllow: 204\r\nPreview: 4\r\n\r\n"
_KINDS: Final[tuple[Callable[[EngineTable], Dialogue], ...]] = (ClamdDialogue, IcapDialogue, CommandDialogue)
_CLEAN_WORDS: Final = (b"1: stream: OK\0", b"ICAP/1.", b"\x93\x00")


def execute(data: bytes) -> None:
    """Read the input whole and in pieces."""
    if len(data) < 2:
        return
    kind = data[1] % len(_KINDS)
    stream = data[2:]
    whole = _read(kind, stream, 0)
    pieces = _read(kind, stream, data[0])
    assert whole == pieces or isinstance(whole, str) or isinstance(pieces, str), (whole, pieces)
    for answer in (whole, pieces):
        if answer is CLEAN:
            assert _CLEAN_WORDS[kind] in stream
            if kind == 1:
                assert b" 204" in stream or b"HTTP/1." not in stream or _OBJECT[:1] in stream


def _read(kind: int, stream: bytes, seed: int) -> Report | str | None:
    """Return the report, why the connection is of no use, or None when the answer is not whole."""
    dialogue = _KINDS[kind](_TABLE)
    dialogue.ask(ScanObject(_OBJECT))
    try:
        if kind == 1:
            assert dialogue.take(_OPTIONS)
        for piece in cut(stream, seed):
            said = dialogue.take(piece)
            if isinstance(said, Report):
                return said
    except Broken as error:
        return str(error)
    return None


WORDS: Final = (
    b"1: ", b"stream: ", b"OK\0", b" FOUND\0", b" ERROR\0", b"2: ", b"\0", b"Heuristics.Encrypted.", b"size limit exceeded", b"ICAP/1.0 ", b"100 Continue\r\n\r\n",
    b"204 No Content\r\n", b"200 OK\r\n", b"Encapsulated: ", b"res-hdr=0", b", res-body=19", b"null-body=0", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 403 No\r\n\r\n", b"b\r\nhello world\r\n0\r\n\r\n", b"X-Infection-Found: Type=0; Threat=x;\r\n", b"X-Virus-ID: x\r\n", b"Connection: close\r\n",
    b"\x93\x00\xa0\xa0", b"\x00\x00\x00\x04",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield sound answers of all three."""
    http = b"Encapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    answers = (
        (0, b"1: stream: OK\0"), (0, b"1: stream: A.B FOUND\0"), (0, b"INSTREAM size limit exceeded. ERROR\0"), (0, b"1: x ERROR\0"),
        (1, b"ICAP/1.0 204 No Content\r\n\r\n"), (1, b"ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 x\r\n\r\n"),
        (1, b"ICAP/1.0 200 OK\r\n" + http + b"b\r\nhello world\r\n0\r\n\r\n"), (1, b"ICAP/1.0 200 OK\r\nX-Virus-ID: x\r\n" + http + b"1\r\nx\r\n0\r\n\r\n"),
        (2, build_outcome(CommandOutcome())), (2, build_outcome(CommandOutcome(1, "x"))), (2, build_outcome(CommandOutcome(trouble="x"))),
    )  # fmt: skip
    for kind, answer in answers:
        for seed in (100, 251):
            yield bytes((seed, kind)) + answer
