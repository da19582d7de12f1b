"""What local mail systems hand over: requests and queue files of CommuniGate, envelopes of qmail, edits of messages."""

import contextlib
from collections.abc import Iterator
from typing import Final

from gatepost.client.native import build_wire, edit_native
from gatepost.client.qmail import build_envelope, parse_envelope
from gatepost.mime.edit import apply_splices
from gatepost.mime.loop_mark import Marked, MessageDigest, build_mark, read_marks
from gatepost.model.verdict import Splice
from gatepost.wire.communigate import (
    LINE_LIMIT,
    Answer,
    build_answer,
    build_interface,
    build_note,
    build_submission,
    parse_queue_file,
    parse_request,
    strip_commands,
)

from .cutting import cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2_000
_SECRET: Final = b"0123456789abcdef"


def execute(data: bytes) -> None:
    """Take the input as a line, a queue file, an envelope, or a message with edits."""
    if not data:
        return
    rest = data[1:]
    match data[0] % 4:
        case 0:
            _line(rest.decode("utf-8", "surrogateescape"))
        case 1:
            _queue_file(rest)
        case 2:
            with contextlib.suppress(ValueError):
                envelope = parse_envelope(rest)
                assert build_envelope(envelope.sender, envelope.recipients) == rest
        case 3:
            _message(rest, data[0])


def _line(line: str) -> None:
    request = parse_request(line)
    if request is None:
        return
    assert not set(request.number) & set(" \t\r\n")
    for answer in (
        build_answer(request.number, Answer.ERROR, request.argument),
        build_interface(request.number, request.argument),
        build_note(line),
    ):
        assert answer.count("\n") == 1
        assert answer.endswith("\n")
        assert len(answer) < LINE_LIMIT


def _queue_file(raw: bytes) -> None:
    try:
        envelope = parse_queue_file(raw)
    except ValueError:
        return
    if envelope is None:
        return
    assert 0 < envelope.size <= len(raw)
    assert envelope.recipients
    header = strip_commands(raw[envelope.size :])
    assert strip_commands(header) == header
    for line in header.split(b"\n"):
        assert not line.lower().startswith((b"envelope-to:", b"return-path:", b"bcc:"))
    with contextlib.suppress(ValueError):
        head = build_submission(envelope.sender, envelope.recipients, [("X-Mark", "1")])
        assert head.count(b"\n") == len(envelope.recipients) + 2


def _message(raw: bytes, seed: int) -> None:
    wire = b"".join(build_wire(raw))
    assert wire.replace(b"\r\n", b"\n") == raw.replace(b"\r\n", b"\n")
    assert b"".join(edit_native(raw, b"", ())) == raw
    places = [
        place for place in (seed % 7, seed * 3 % (len(wire) + 1), seed * 11 % (len(wire) + 1)) if place <= len(wire)
    ]
    start, end = min(places), max(places)
    if not {place for place in (start, end) if wire[place - 1 : place + 1] == b"\r\n"}:
        splices = (Splice(start, end, b"new\r\n"),)
        edited = b"".join(edit_native(raw, b"A: 1\r\n", splices))
        expected = b"A: 1\r\n" + b"".join(apply_splices(wire, splices))
        assert b"".join(build_wire(edited)).replace(b"\r\n", b"\n") == expected.replace(b"\r\n", b"\n")
    digest, other = MessageDigest(), MessageDigest()
    digest.update(raw)
    for piece in cut(wire, seed):
        other.update(piece)
    assert digest.hex() == other.hex()
    mark = build_mark(_SECRET, 0, digest.hex())
    assert read_marks([mark], _SECRET, 0, digest.hex()) is Marked.YES
    assert read_marks([raw.decode("latin-1")], _SECRET, 0, digest.hex()) is Marked.NO


WORDS: Final = (
    b"INTF 3", b"FILE ", b'"', b"\\", b"\n", b"\r\n", b"\n\n", b"P I x <", b">", b"R W x <a@b>", b"S <u> SMTP [192.0.2.1]", b"Envelope-To: ", b"Return-Path:", b"Bcc :",
    b"F", b"\0T", b"\0\0", b"\r", b"a@b",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield one of each kind, and messages with all line ends."""
    yield b'\x001 FILE "Queue/a b.msg" x'
    yield b"\x002 INTF 3"
    yield b"\x01P I x <s@x>\nO T\nS SMTP [192.0.2.1]\nR W x <a@b>\n\nEnvelope-To: x\n y\nSubject: z\n\nbody\n"
    yield b"\x02Fs@x\0Ta@b\0Tc@d\0\0"
    for seed in (3, 103, 255):
        yield bytes((seed,)) + b"S: 1\nT: 2\r\n\n\rbody\n\n\r\n"
