import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.filter.dialogue import (
    CURED_OVERHEAD,
    FIELD_LIMIT,
    FINDING_LIMIT,
    HEADER_SIZE,
    NAME_LIMIT,
    OBJECT_LIMIT,
    TEXT_LIMIT,
    WALL_LIMIT,
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
    StartFilter,
    build_frame,
    check_analysis,
    parse_from_filter,
    parse_from_template,
    parse_to_filter,
    parse_to_template,
)
from gatepost.filter.hostile import HostileAnswer
from gatepost.model.finding import (
    Analysis,
    Finding,
    ObjectKind,
    ObjectReport,
    ObjectStatus,
    ScanOptions,
    Span,
)

SIZE = 1000
PART = ObjectReport(
    -1,
    ObjectKind.PART,
    ObjectStatus.CLEAN,
    name="a",
    whole=Span(100, 200),
    body=Span(150, 200),
    fields=(Span(100, 120), Span(130, 150)),
    delimiter=Span(90, 210),
)
MEMBER = ObjectReport(0, ObjectKind.MEMBER, ObjectStatus.INFECTED, threat="X")


def body(message: object) -> bytes:
    return build_frame(message)[HEADER_SIZE:]  # type: ignore[arg-type]


def test_every_word_survives_the_way() -> None:
    answer = Answer("id", Analysis((PART, MEMBER), (Finding("f", "e", 1.5),), 2.5))
    asking = (KnownQuestion("id", 1, (bytes(32),)), ConnectionQuestion("id", 2, "clam"))
    for word in (Ready(1, ("w",)), answer, Failure("id", "why"), Leaving("quota"), *asking):
        assert parse_from_filter(body(word)) == word
    for word in (Hello(3, 4), Refused("full")):
        assert parse_from_template(body(word)) == word
    assert parse_to_template(body(StartFilter())) == StartFilter()
    job = Job("id", 3, ScanOptions(cure=True, timeout_s=1.5), b"abc")
    for told in (job, KnownReply(1, b"\1"), ConnectionReply(2, "v", "down", True)):
        assert parse_to_filter(body(told)) == told


@pytest.mark.parametrize("step", [1, 2, 3, 7, 10_000])
def test_frames_are_cut_wherever_the_bytes_are_cut(step: int) -> None:
    stream = b"".join(build_frame(Leaving("x" * count)) for count in (0, 1, 300))
    reader = FrameReader(1000)
    words = [
        parse_from_filter(frame)
        for start in range(0, len(stream), step)
        for frame in reader.feed(stream[start : start + step])
    ]
    assert words == [Leaving(""), Leaving("x"), Leaving("x" * 300)]
    assert reader.empty


@pytest.mark.parametrize("whole", [True, False])
def test_a_frame_at_its_limit_and_over(whole: bool) -> None:
    frame = build_frame(Leaving("x" * 50))
    for limit, fits in ((len(frame) - HEADER_SIZE, True), (len(frame) - HEADER_SIZE - 1, False), (1, False)):
        reader = FrameReader(limit)
        pieces = [frame] if whole else [frame[:3], frame[3:]]
        if fits:
            assert [frame for piece in pieces for frame in reader.feed(piece)]
        else:
            for piece in pieces[:-1]:
                reader.feed(piece)
            with pytest.raises(HostileAnswer):
                reader.feed(pieces[-1])


@given(st.binary(max_size=200))
def test_garbage_is_hostile_never_anything_else(garbage: bytes) -> None:
    for parse in (parse_from_filter, parse_from_template, parse_to_template, parse_to_filter):
        with pytest.raises(HostileAnswer):
            parse(garbage)


def test_deep_nesting_is_hostile() -> None:
    with pytest.raises(HostileAnswer):
        parse_from_filter(b"\x92\xa6answer" + b"\x91" * 100_000)


def test_a_sandbox_report_has_limits() -> None:
    for missing in (("x",) * (WALL_LIMIT + 1), ("x" * (TEXT_LIMIT + 1),)):
        with pytest.raises(HostileAnswer):
            parse_from_filter(body(Ready(1, missing)))


def test_a_reason_has_a_limit() -> None:
    assert parse_from_filter(body(Failure("id", "x" * TEXT_LIMIT)))
    with pytest.raises(HostileAnswer):
        parse_from_filter(body(Failure("id", "x" * (TEXT_LIMIT + 1))))


def test_a_sound_analysis_passes() -> None:
    cured = ObjectReport(-1, ObjectKind.BLOCK, ObjectStatus.DISINFECTED, whole=Span(0, SIZE), cured=b"x")
    check_analysis(Analysis((PART, MEMBER, cured), (Finding("n", "e"),), 0.5), SIZE)
    check_analysis(Analysis(()), 0)
    check_analysis(Analysis((msgspec.structs.replace(PART, encrypted="S/MIME"),)), SIZE)
    at_limit = msgspec.structs.replace(PART, name="x" * NAME_LIMIT, evidence="x" * TEXT_LIMIT, threat="x" * TEXT_LIMIT)
    check_analysis(Analysis((at_limit,)), SIZE)


def changed(report: ObjectReport = PART, **changes: object) -> Analysis:
    return Analysis((PART, msgspec.structs.replace(report, **changes)))


@pytest.mark.parametrize(
    "analysis",
    [
        changed(parent=1),
        changed(parent=2),
        changed(parent=-2),
        changed(name="x" * (NAME_LIMIT + 1)),
        changed(content_type="x" * (NAME_LIMIT + 1)),
        changed(threat="x" * (TEXT_LIMIT + 1)),
        changed(evidence="x" * (TEXT_LIMIT + 1)),
        changed(size=-1),
        changed(siblings=-1),
        changed(whole=Span(100, SIZE + 1)),
        changed(whole=Span(-1, 200)),
        changed(whole=Span(200, 100)),
        changed(body=Span(150, 201)),
        changed(body=Span(99, 150)),
        changed(delimiter=Span(101, 210)),
        changed(delimiter=Span(90, 199)),
        changed(fields=(Span(100, 120), Span(119, 150))),
        changed(fields=(Span(99, 120),)),
        changed(fields=(Span(190, 201),)),
        changed(fields=(Span(120, 110),)),
        changed(fields=(Span(100, 100),) * (FIELD_LIMIT + 1)),
        changed(cured=b"x"),
        changed(status=ObjectStatus.DISINFECTED),
        changed(delete=True),
        changed(encrypted="rot13"),
        changed(MEMBER, whole=Span(0, 1)),
        changed(status=ObjectStatus.DISINFECTED, cured=b"x" * (SIZE + CURED_OVERHEAD + 1)),
        Analysis((PART,) * (OBJECT_LIMIT + 1)),
        Analysis((), (Finding("n", "e"),) * (FINDING_LIMIT + 1)),
        Analysis((), (Finding("n" * (NAME_LIMIT + 1), "e"),)),
        Analysis((), (Finding("n", "e" * (TEXT_LIMIT + 1)),)),
        Analysis((), (Finding("n", "e", float("nan")),)),
        Analysis((), (), -1.0),
        Analysis((), (), float("inf")),
        Analysis((), (), float("nan")),
    ],
)
def test_whatever_does_not_fit_the_content_is_hostile(analysis: Analysis) -> None:
    with pytest.raises(HostileAnswer):
        check_analysis(analysis, SIZE)
