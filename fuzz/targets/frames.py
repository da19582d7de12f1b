"""What relay and filter say to each other: the same however it arrives, and nothing that a relay then does raises."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from gatepost.filter.dialogue import (
    Answer,
    ConnectionQuestion,
    ConnectionReply,
    Failure,
    FrameReader,
    Hello,
    Job,
    KnownQuestion,
    KnownReply,
    Leaving,
    Ready,
    Refused,
    Started,
    StartFilter,
    build_frame,
    check_analysis,
    parse_from_filter,
    parse_from_template,
    parse_to_filter,
    parse_to_template,
)
from gatepost.filter.hostile import HostileAnswer
from gatepost.mime.edit import Action, Edit, SpliceError, apply_splices, check_splices, merge, plan_edits
from gatepost.model.finding import (
    Analysis,
    EngineNote,
    Finding,
    ObjectKind,
    ObjectReport,
    ObjectStatus,
    ScanOptions,
    Span,
    TextSpot,
)
from gatepost.model.verdict import Splice
from gatepost.notices.disclaimer import write_disclaimer

from .cutting import cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 800
_LIMIT: Final = 500
_CONTENT: Final = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
_PARSERS: Final[tuple[Callable[[bytes | memoryview], object], ...]] = (
    parse_from_filter, parse_to_filter, parse_from_template, parse_to_template,
)  # fmt: skip


def execute(data: bytes) -> None:
    """Read the input as a stream of frames, and all but its first two bytes as the body of one."""
    if len(data) < 2:
        return
    stream = data[2:]
    assert _read_frames(stream, 0) == _read_frames(stream, data[0])
    body = stream[4:]
    with contextlib.suppress(HostileAnswer):
        word = _PARSERS[data[1] % len(_PARSERS)](body)
        frame = build_frame(word)  # type: ignore[arg-type]
        assert build_frame(_PARSERS[data[1] % len(_PARSERS)](frame[4:])) == frame  # type: ignore[arg-type]
        if isinstance(word, Answer):
            check_analysis(word.analysis, len(_CONTENT))
            _carry_out(word.analysis)


def _read_frames(stream: bytes, seed: int) -> list[bytes]:
    """Return the bodies; the last is empty when the stream broke a rule."""
    reader = FrameReader(_LIMIT)
    bodies: list[bytes] = []
    try:
        for piece in cut(stream, seed):
            bodies += [bytes(body) for body in reader.feed(piece)]
            assert reader.missing >= 0
            assert not reader.empty or reader.missing == 0
    except HostileAnswer:
        bodies = []  # of frames in front of it some pieces show more than others
    return bodies


def _carry_out(analysis: Analysis) -> None:
    """Do what a relay does with an answer it has checked; the only error is one that it expects."""
    edits = []
    for number, report in enumerate(analysis.objects):
        if report.kind in (ObjectKind.PART, ObjectKind.BLOCK):
            action = Action.CURE if report.cured is not None else (Action.REMOVE, Action.REPLACE)[number % 2]
            edits.append(Edit(report, action, report.cured or b"gone"))
    splices: tuple[Splice, ...] = ()
    with contextlib.suppress(SpliceError):
        splices = plan_edits(_CONTENT, edits)
    b"".join(apply_splices(_CONTENT, splices))
    for spot in analysis.spots:
        added = merge(write_disclaimer(spot, "--b\r\nChecked \u0416.\r\n"))
        with contextlib.suppress(SpliceError):
            check_splices(added, len(_CONTENT))
            b"".join(apply_splices(_CONTENT, added))
    rewritten = tuple(Splice(*each) for each in analysis.rewrite)
    check_splices(rewritten, len(_CONTENT))


WORDS: Final = (
    b"\xa6answer", b"\xa5ready", b"\xa7failure", b"\xa7leaving", b"\xa6known?", b"\xabconnection?", b"\xa3job", b"\xa5known", b"\xaaconnection", b"\xa5start",
    b"\xa5hello", b"\xa7started", b"\xa7refused", b"\xa4part", b"\xa5block", b"\xa6member", b"\xa8infected", b"\xabdisinfected", b"\xa5clean", b"\xc0", b"\xc2",
    b"\xcb\x7f\xf0\0\0\0\0\0\0", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\x90", b"\x91", b"\0\0\0\1",
    b"\xa6base64", b"\xa5koi8-r", b"\xb0quoted-printable", b"\xa6utf-16", b"\xa8punycode",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield each word of each side."""
    part = ObjectReport(
        -1,
        ObjectKind.PART,
        ObjectStatus.DISINFECTED,
        "a.zip",
        "a/b",
        3,
        "Evil",
        "found",
        whole=Span(50, 74),
        body=Span(71, 74),
        fields=(Span(50, 69), Span(69, 71)),
        delimiter=Span(45, 76),
        siblings=2,
        cured=b"new",
    )
    block = ObjectReport(0, ObjectKind.BLOCK, ObjectStatus.INFECTED, whole=Span(71, 74), delete=True)
    spots = (TextSpot(74, 74), TextSpot(83, 86, True, "koi8-r", "base64", b"two", b"", ((76, 81, b"X: y\r\n"),)))
    analysis = Analysis(
        (part, block),
        (Finding("mime-nul", "evidence", 0.5),),
        1.5,
        engines=(EngineNote("builtin", "1", 2),),
        spots=spots,
        signatures=("dkim",),
    )
    words: tuple[tuple[int, tuple[object, ...]], ...] = (
        (0, (Answer("a", analysis, (0,)), Answer("a", Analysis((), rewrite=((0, 3, b"x"),))), Ready(1, ("w",)))),
        (0, (Failure("a", "b"), Leaving("idle"), KnownQuestion("a", 1, (b"k" * 32,)), ConnectionQuestion("a", 1, "e"))),
        (1, (Job("a", 3, ScanOptions(passwords=("p",)), b"abc"), KnownReply(1, b"\1"), ConnectionReply(1, "v"))),
        (2, (Hello(1, 2), Started(3), Refused("full"))),
        (3, (StartFilter((1, 2)),)),
    )
    for which, several in words:
        for word in several:
            yield bytes((150, which)) + build_frame(word)  # type: ignore[arg-type]
    yield b"\xfb\0" + build_frame(Leaving("idle")) * 3 + b"\0\0\xff\xff"
