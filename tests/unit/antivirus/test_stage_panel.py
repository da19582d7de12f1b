"""Several engines at once: order, the worst answer, trouble, waiting, notes; cures that are scanned again."""

import io
import math
import time
import zipfile

import av_samples
import pytest
from stage_engines import Remote, Spy

from gatepost.antivirus.cure import Cured
from gatepost.antivirus.engine import Outcome, Overrun, Report, ScanObject
from gatepost.antivirus.stage import inspect
from gatepost.filter.dialogue import check_analysis
from gatepost.model.finding import SEVERITY, Analysis, ObjectFilterSpec, ObjectKind, ObjectStatus, ScanOptions

MAIL = av_samples.attached(b"payload")


def scan(content: bytes, spy: Spy, *remote: Remote, **options: object) -> Analysis:
    analysis = inspect(content, ScanOptions(**options), [spy], math.inf, remote=remote)
    check_analysis(analysis, len(content))
    return analysis


def worst(analysis: Analysis) -> ObjectStatus:
    return min((report.status for report in analysis.objects), key=SEVERITY.index)


def test_a_remote_engine_works_while_the_local_one_does() -> None:
    remote = Remote()

    class Local(Spy):
        def scan(self, subject: ScanObject, deadline: float) -> Report:
            remote.log.append("local")
            return super().scan(subject, deadline)

    scan(av_samples.message(b"x"), Local(), remote)
    assert remote.log == ["begin", "local", "finish"] * 2


def test_every_engine_is_asked_and_the_worst_answer_counts() -> None:
    suspicious = Remote(Report(Outcome.SUSPICIOUS, "Odd", "looks odd"))
    spy = Spy()
    analysis = scan(av_samples.attached(b"BAD"), spy, suspicious)
    header, text, bad = analysis.objects
    assert [(r.status, r.threat, r.engine) for r in (text, bad)] == [
        (ObjectStatus.SUSPICIOUS, "Odd", "remote"),
        (ObjectStatus.INFECTED, "Bad", "spy"),
    ]
    assert header.status is ObjectStatus.SUSPICIOUS
    notes = {note.name: note for note in analysis.engines}
    assert (notes["spy"].objects, notes["spy"].status, notes["spy"].version) == (3, ObjectStatus.INFECTED, "1")
    assert (notes["remote"].objects, notes["remote"].status, notes["remote"].version) == (
        3,
        ObjectStatus.SUSPICIOUS,
        "r1",
    )


def test_a_remote_engine_sees_what_it_wants() -> None:
    remote = Remote()
    scan(av_samples.attached(av_samples.zip_of(("x", b"member"))), Spy(), remote)
    assert len(remote.seen) == 3
    assert b"member" not in remote.seen


def test_trouble_is_an_error_and_noted() -> None:
    remote = Remote(Report(Outcome.ERROR, evidence="down", trouble="down since noon"))
    analysis = scan(MAIL, Spy(), remote)
    assert worst(analysis) is ObjectStatus.ERROR
    assert [note.trouble for note in analysis.engines] == ["", "down since noon"]
    assert analysis.unscanned == ""


def test_or_the_message_waits_at_once() -> None:
    first = Remote(Report(Outcome.ERROR, evidence="down", trouble="down", wait=True))
    second = Remote()
    analysis = scan(MAIL, Spy(), first, second)
    assert analysis.unscanned == "remote: down"
    assert first.log == ["begin", "finish"]
    assert second.log == ["begin", "abandon"]  # nobody waits for it any more


def test_a_remote_engine_over_its_time_or_with_a_bug_is_an_error_of_its_object() -> None:
    for answer in (Overrun(), ValueError("bug")):
        remote = Remote(answer)
        content = av_samples.message(b"x")
        analysis = inspect(content, ScanOptions(timeout_s=5), [Spy()], time.monotonic() + 100, remote=[remote])
        assert {r.status for r in analysis.objects} == {ObjectStatus.ERROR}
        assert remote.log == ["begin", "finish", "abandon"] * 2


def test_at_the_deadline_what_is_under_way_is_given_up() -> None:
    class Slow(Spy):
        def scan(self, subject: ScanObject, deadline: float) -> Report:
            raise Overrun

    remote = Remote()
    analysis = inspect(MAIL, ScanOptions(), [Slow()], time.monotonic() - 1, remote=[remote])
    assert remote.log == ["begin", "abandon"]
    assert worst(analysis) is ObjectStatus.ERROR


def test_texts_of_engines_are_bounded_and_can_be_sent() -> None:
    answer = Report(Outcome.INFECTED, "T" * 5000 + "\udcff", "\udcff" * 5000)
    report = scan(MAIL, Spy(), Remote(answer)).objects[1]
    assert len(report.threat) < 300
    assert len(report.evidence) <= 500
    report.evidence.encode()


class TestFiltered:
    exe = ObjectFilterSpec(names=True, include_names=("*.exe",))

    @pytest.mark.feature("F-AV-16")
    def test_what_every_group_filters_no_engine_sees(self) -> None:
        spy = Spy()
        analysis = scan(av_samples.attached(b"BAD", name="A.EXE"), spy, filters=(self.exe,))
        assert [r.status for r in analysis.objects] == [ObjectStatus.CLEAN] * 2 + [ObjectStatus.FILTERED]
        assert b"BAD" not in spy.seen
        assert analysis.objects[2].size == 3

    def test_nor_is_it_opened(self) -> None:
        spy = Spy()
        spec = ObjectFilterSpec(names=True, include_names=("*.zip",))
        scan(av_samples.attached(av_samples.zip_of(("x", b"BAD")), name="a.zip"), spy, filters=(spec,))
        assert b"BAD" not in spy.seen
        analysis = scan(
            av_samples.attached(av_samples.attached(b"BAD"), "message/rfc822"),
            spy,
            filters=(ObjectFilterSpec(types=True, include_types=("message/*",)),),
        )
        assert b"BAD" not in spy.seen
        assert worst(analysis) is ObjectStatus.FILTERED

    def test_what_only_some_filter_is_scanned(self) -> None:
        other = ObjectFilterSpec(names=True, include_names=("*.com",))
        spy = Spy()
        analysis = scan(av_samples.attached(b"BAD", name="a.exe"), spy, filters=(self.exe, other))
        assert worst(analysis) is ObjectStatus.INFECTED

    @pytest.mark.parametrize("inside", [True, False])
    def test_members_are_filtered_only_by_option(self, inside: bool) -> None:
        spy = Spy()
        spec = ObjectFilterSpec(names=True, include_names=("*.exe",), inside=inside)
        archive = av_samples.zip_of(("dir/a.exe", b"BAD"), ("b.txt", b"fine"))
        analysis = scan(av_samples.attached(archive, name="a.zip"), spy, filters=(spec,))
        part, exe, text = analysis.objects[2:]
        assert (b"BAD" in spy.seen) is not inside
        assert text.status is ObjectStatus.CLEAN
        filtered = (ObjectStatus.CLEAN, ObjectStatus.FILTERED)
        assert (part.status, exe.status) == (filtered if inside else (ObjectStatus.INFECTED,) * 2)

    def test_a_block_in_a_text_is_a_file_of_its_own(self) -> None:
        spy = Spy()
        content = av_samples.message(b"Here:\r\n" + av_samples.uuencode(b"BAD", "x.exe"))
        analysis = scan(content, spy, filters=(self.exe,))
        assert [r.status for r in analysis.objects if r.kind is ObjectKind.BLOCK] == [ObjectStatus.FILTERED]
        assert b"BAD" not in spy.seen


class TestCure:
    def test_an_archive_loses_its_infected_members(self) -> None:
        archive = av_samples.zip_of(("good.txt", b"fine"), ("evil.com", b"BAD"))
        analysis = scan(av_samples.attached(archive, name="a.zip"), Spy(), cure=True)
        part, good, evil = analysis.objects[2:]
        assert [r.status for r in (part, good, evil)] == [
            ObjectStatus.DISINFECTED,
            ObjectStatus.CLEAN,
            ObjectStatus.DISINFECTED,
        ]
        assert evil.uncured is part.uncured is ObjectStatus.INFECTED
        assert "evil.com" in part.evidence
        with zipfile.ZipFile(io.BytesIO(part.cured or b"")) as cured:
            assert cured.read("good.txt") == b"fine"
            assert "evil.com" not in cured.namelist()

    def test_so_does_one_within_another(self) -> None:
        inner = av_samples.zip_of(("good.txt", b"fine"), ("evil.com", b"BAD"))
        archive = av_samples.zip_of(("in.zip", inner), ("more.txt", b"more"))
        part = scan(av_samples.attached(archive, name="a.zip"), Spy(), cure=True).objects[2]
        assert part.status is ObjectStatus.DISINFECTED
        again = scan(av_samples.attached(part.cured or b"", name="a.zip"), Spy())
        assert worst(again) is ObjectStatus.CLEAN
        assert {"in.zip", "good.txt", "more.txt"} <= {r.name for r in again.objects}

    @pytest.mark.parametrize(
        "members",
        [
            [("evil.com", b"BAD")],  # nothing would be left
            [("evil.com", b"BAD"), ("broken.zip", av_samples.zip_of(("x", b"y" * 100))[:-40])],
        ],
        ids=["nothing-left", "damaged-as-well"],
    )
    def test_where_not_all_can_be_mended_nothing_is(self, members: list[tuple[str, bytes]]) -> None:
        part = scan(av_samples.attached(av_samples.zip_of(*members), name="a.zip"), Spy(), cure=True).objects[2]
        assert part.status is ObjectStatus.INFECTED
        assert part.cured is None

    def test_a_cured_form_in_which_something_is_found_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = av_samples.zip_of(("good.txt", b"fine"), ("evil.com", b"BAD"))
        for form, status in ((b"still BAD", ObjectStatus.INFECTED), (b"now good", ObjectStatus.DISINFECTED)):
            monkeypatch.setattr("gatepost.antivirus.stage.plan_cure", lambda *_, form=form, **__: Cured(form, ("x",)))
            part = scan(av_samples.attached(archive, name="a.zip"), Spy(), cure=True).objects[2]
            assert part.status is status

    def test_a_cured_form_larger_than_the_message_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gatepost.antivirus.stage.plan_cure", lambda *_, **__: Cured(bytes(1 << 20), ("x",)))
        part = scan(av_samples.attached(av_samples.zip_of(("evil.com", b"BAD"))), Spy(), cure=True).objects[2]
        assert part.status is ObjectStatus.INFECTED

    def test_what_is_inside_an_encoded_message_cannot_be_written_back(self) -> None:
        archive = av_samples.zip_of(("good.txt", b"fine"), ("evil.com", b"BAD"))
        content = av_samples.attached(av_samples.attached(archive, name="a.zip"), "message/rfc822")
        analysis = scan(content, Spy(), cure=True)
        assert worst(analysis) is ObjectStatus.INFECTED
        assert any("cannot be cured where it is" in r.evidence for r in analysis.objects)


def test_passwords_are_read_off_the_mail_only_when_something_is_protected(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def find(texts: list[str], names: list[str]) -> list[str]:
        asked.append([*texts, *names])
        return ["found"]

    monkeypatch.setattr("gatepost.antivirus.keyring.find_passwords", find)
    scan(av_samples.attached(av_samples.zip_of(("x", b"y")), name="a.zip"), Spy(), passwords=("own",))
    assert asked == []
    given: list[str] = []
    monkeypatch.setattr(
        "gatepost.antivirus.stage.open_container", lambda *args: given.extend(args[3].passwords) or iter(())
    )
    scan(av_samples.attached(av_samples.zip_of(("x", b"y")), name="a.zip"), Spy(), passwords=("own", "found"))
    assert given == ["found", "own"]
    (told,) = asked
    assert any("Hello." in text for text in told)
    assert {"sample", "a.zip"} <= set(told)
