import math
import os
import tarfile
import time
from pathlib import Path

import av_samples
import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.engine import CLEAN, Outcome, Overrun, Report, ScanObject
from gatepost.antivirus.loading import EngineMissing, load_engines, warm_up
from gatepost.antivirus.objects import CLEAN_MEMBERS_LISTED, OBJECTS_LISTED, UNLISTED
from gatepost.antivirus.stage import inspect
from gatepost.filter.dialogue import check_analysis
from gatepost.mime.blocks import MAX_BLOCKS
from gatepost.model.finding import SEVERITY, Analysis, ObjectKind, ObjectStatus, ScanOptions

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).parents[4] / "shared"))
ENGINE = BuiltinEngine()


class Spy:
    """Finds BAD anywhere; remembers what it was given."""

    name = "spy"

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        data = subject.data
        self.seen.append(data)
        return Report(Outcome.INFECTED, "Bad") if b"BAD" in data else CLEAN

    def version(self) -> str:
        return "1"

    def cure(self, subject: ScanObject) -> bytes | None:
        return None

    def health(self) -> str:
        return ""


def scan(content: bytes, engine: object = ENGINE, **options: object) -> Analysis:
    analysis = inspect(content, ScanOptions(**options), [engine], math.inf)
    check_analysis(analysis, len(content))  # whatever the stage says must pass as a sound answer
    return analysis


def worst(analysis: Analysis) -> ObjectStatus:
    return min((report.status for report in analysis.objects), key=SEVERITY.index)


def test_header_block_parts_and_nested_headers_are_objects() -> None:
    inner = av_samples.message(b"inner", b"X-Inner: BAD")
    analysis = scan(av_samples.forwarded(inner), Spy())
    kinds = [(r.kind, r.status, r.parent) for r in analysis.objects]
    assert kinds == [
        (ObjectKind.HEADER, ObjectStatus.CLEAN, -1),
        (ObjectKind.PART, ObjectStatus.CLEAN, -1),
        (ObjectKind.PART, ObjectStatus.INFECTED, -1),  # the message/rfc822, for the header inside it
        (ObjectKind.PART, ObjectStatus.CLEAN, 2),
    ]
    header = scan(av_samples.message(b"x", b"X-Outer: BAD"), Spy()).objects[0]
    assert (header.kind, header.status, header.threat) == (ObjectKind.HEADER, ObjectStatus.INFECTED, "Bad")


def test_every_leaf_goes_to_the_engine_decoded_once() -> None:
    spy = Spy()
    scan(av_samples.attached(b"payload \0\1\2"), spy)
    assert spy.seen.count(b"payload \0\1\2") == 1
    assert sum(b"Hello." in data for data in spy.seen) == 1


def test_both_readings_of_an_ambiguous_part_are_scanned() -> None:
    content = av_samples.message(b"QkFE\r\n", b"Content-Transfer-Encoding: 7bit", b"Content-Transfer-Encoding: base64")
    analysis = scan(content, Spy())
    infected = [r for r in analysis.objects if r.status is ObjectStatus.INFECTED]
    assert [r.kind for r in infected] == [ObjectKind.PART, ObjectKind.MEMBER]
    assert infected[0].whole.end == len(content)


def test_a_member_gives_its_status_to_what_holds_it() -> None:
    inner = av_samples.zip_of(("evil.com", av_samples.eicar("SUSP-")))
    analysis = scan(av_samples.attached(av_samples.zip_of(("a/in.zip", inner), ("ok.txt", b"fine")), name="x.zip"))
    part, *members = analysis.objects[2:]
    assert (part.name, part.status, part.threat) == ("x.zip", ObjectStatus.SUSPICIOUS, "EICAR-Test-File.susp")
    assert "evil.com" in part.evidence
    assert "a/in.zip" in part.evidence
    assert [(m.name, m.parent, m.status) for m in members] == [
        ("a/in.zip", 2, ObjectStatus.SUSPICIOUS),
        ("evil.com", 3, ObjectStatus.SUSPICIOUS),
        ("ok.txt", 2, ObjectStatus.CLEAN),
    ]


@pytest.mark.feature("F-AV-03")
@pytest.mark.parametrize(("archives", "status"), [(True, ObjectStatus.INFECTED), (False, ObjectStatus.CLEAN)])
def test_archives_are_opened_only_when_asked_for(archives: bool, status: ObjectStatus) -> None:
    content = av_samples.attached(av_samples.zip_of(("x.com", av_samples.eicar())))
    assert worst(scan(content, archives=archives)) is status


def test_a_fragment_of_a_message_is_protected() -> None:
    analysis = scan(
        av_samples.message(b"middle of a file", b'Content-Type: message/partial; id="1"; number=2; total=3')
    )
    assert worst(analysis) is ObjectStatus.PROTECTED


def test_a_message_that_is_not_read_to_its_end_is_an_error() -> None:
    content = b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n"
    for level in range(300):
        content += f"--b{level}\r\nContent-Type: multipart/mixed; boundary=b{level + 1}\r\n\r\n".encode()
    analysis = scan(content + b"text")
    assert worst(analysis) is ObjectStatus.ERROR
    assert "limit-depth" in analysis.objects[-1].evidence
    assert any(finding.name == "mime-limit-depth" for finding in analysis.findings)


@pytest.mark.parametrize("encoding", ["7bit", "base64"])
@pytest.mark.parametrize("kind", ["text/plain", "message/rfc822"])
def test_more_encoded_blocks_in_a_text_than_are_decoded_are_an_error(encoding: str, kind: str) -> None:
    text = av_samples.uuencode(b"harmless") * MAX_BLOCKS + av_samples.uuencode(av_samples.eicar())
    content = av_samples.attached(b"\r\n" * (kind != "text/plain") + text, kind, encoding, "")
    assert worst(scan(content)) is ObjectStatus.ERROR


def test_many_clean_members_are_counted_not_listed() -> None:
    count = CLEAN_MEMBERS_LISTED + 50
    analysis = scan(av_samples.attached(av_samples.zip_of(*((f"{i}", b"x") for i in range(count)))))
    assert sum(r.kind is ObjectKind.MEMBER for r in analysis.objects) == CLEAN_MEMBERS_LISTED
    assert [f.weight for f in analysis.findings if f.name == UNLISTED] == [50.0]


def test_more_objects_than_can_be_listed_still_give_their_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.antivirus.objects.OBJECTS_LISTED", 4)
    assert OBJECTS_LISTED > 4
    parts = b"".join(b"--b\r\n\r\npart %d\r\n" % i for i in range(10)) + b"--b\r\n\r\nBAD\r\n--b--\r\n"
    analysis = scan(av_samples.message(parts, b"Content-Type: multipart/mixed; boundary=b"), Spy())
    assert len(analysis.objects) == 4
    assert worst(analysis) is ObjectStatus.INFECTED


class Failing(Spy):
    def scan(self, subject: ScanObject, deadline: float) -> Report:
        data = subject.data
        if b"Hello" in data:
            raise ValueError("bug")
        return CLEAN


def test_an_engine_that_raises_makes_the_object_an_error() -> None:
    analysis = scan(av_samples.attached(b"x"), Failing())
    errors = [r for r in analysis.objects if r.status is ObjectStatus.ERROR]
    assert len(errors) == 1
    assert "ValueError" in errors[0].evidence
    assert worst(inspect(b"x: y\r\n\r\nz", ScanOptions(), [], math.inf)) is ObjectStatus.ERROR


class Slow(Spy):
    """Never comes back from an object with SLOW in it: only the alarm ends it."""

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        data = subject.data
        if b"SLOW" in data:
            raise Overrun
        return super().scan(subject, deadline)


@pytest.mark.feature("F-AV-07")
def test_a_scan_over_its_time_is_an_error_and_the_rest_goes_on() -> None:
    armed: list[float] = []
    content = av_samples.attached(b"SLOW")
    analysis = inspect(content, ScanOptions(timeout_s=5), [Slow()], time.monotonic() + 100, armed.append)
    assert [r.status for r in analysis.objects] == [ObjectStatus.CLEAN, ObjectStatus.CLEAN, ObjectStatus.ERROR]
    assert "within 5 s" in analysis.objects[2].evidence
    assert all(4 < limit <= 5 for limit in armed[::2])
    assert all(90 < rest <= 100 for rest in armed[1::2])


def test_a_message_over_its_deadline_is_an_error_that_keeps_what_was_found() -> None:
    content = av_samples.forwarded(av_samples.attached(b"BAD")) + b"SLOW"
    content = content.replace(b"see below", b"BAD below").replace(b"Hello.", b"SLOW")
    analysis = inspect(content, ScanOptions(), [Slow()], time.monotonic() - 1)
    statuses = [r.status for r in analysis.objects]
    assert ObjectStatus.INFECTED in statuses
    assert statuses[-1] is ObjectStatus.ERROR
    check_analysis(analysis, len(content))


def test_engines_are_loaded_by_name_and_absence_is_said() -> None:
    (engine,) = load_engines(["builtin"])
    warm_up([engine])
    assert engine.health() == ""
    for names in ([], ["no-such-engine"]):
        with pytest.raises(EngineMissing):
            load_engines(names)


# What zip and gzip cannot open yet is an error, never clean; TNEF, PDF and OLE insides are opened by later engines.
NOT_DETECTED = {"eicar-attached-flate.pdf"}


def av_corpus() -> list[tuple[str, str, bytes]]:
    path = SHARED / "corpora/av/av-tests.tar.gz"
    if not path.exists():
        return []
    with tarfile.open(path, "r:gz") as archive:
        files = {m.name.partition("/")[2]: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]
    rows = [line.split("\t") for line in files["expected.tsv"].decode().splitlines()[1:]]
    return [(row[0], row[1], files[row[0]]) for row in rows if row[0].startswith("eicar-variants/")]


@pytest.mark.skipif(not av_corpus(), reason="the shared corpora are not here")
def test_the_test_file_in_every_foreign_wrapping() -> None:
    accepted = {
        "detect": {ObjectStatus.INFECTED},
        "detect-or-corrupt": {ObjectStatus.INFECTED, ObjectStatus.ERROR},
        "detect-or-limit": {ObjectStatus.INFECTED, ObjectStatus.ERROR},
        "encrypted": {ObjectStatus.PROTECTED},
        "clean": {ObjectStatus.CLEAN},
    }
    wrong = []
    for name, expected, data in av_corpus():
        if expected not in accepted or name.rpartition("/")[2] in NOT_DETECTED:
            continue
        content = data if name.endswith(".eml") else av_samples.attached(data)
        status = worst(scan(content))
        if status not in accepted[expected]:
            wrong.append((name, expected, str(status)))
    assert wrong == []
