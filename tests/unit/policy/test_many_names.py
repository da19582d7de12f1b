"""Objects that readers of mail may call differently: a filter sees each name, and hides nothing that was found."""

import math
from base64 import encodebytes

import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.engine import Report, ScanObject
from gatepost.antivirus.stage import inspect
from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.filter.dialogue import check_analysis
from gatepost.filter.hostile import HostileAnswer
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus, ScanOptions
from gatepost.model.verdict import ObjectAction
from gatepost.policy.decide import decide
from gatepost.policy.group import GroupPolicy

TEST_STRING = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"
FILTERED, INFECTED = ObjectStatus.FILTERED, ObjectStatus.INFECTED
TWO_NAMES = "Content-Disposition: attachment; filename*=utf-8''%s; filename=%s"


class NamesSeen(BuiltinEngine):
    """Notes what the names of objects are when they are scanned."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        self.names.append(subject.name)
        return super().scan(subject, deadline)


@pytest.fixture(scope="module")
def engine() -> NamesSeen:
    return NamesSeen()


def policy(
    filtered: ObjectAction = ObjectAction.REMOVE,
    infected: ObjectAction = ObjectAction.REMOVE,
    names: tuple[str, ...] = ("*.exe",),
    types: tuple[str, ...] = (),
) -> GroupPolicy:
    group = Group(
        action_filtered=filtered,
        action_infected=infected,
        include_by_name=names,
        filters_names=bool(names),
        include_by_mime=types,
        filters_types=bool(types),
    )
    return GroupPolicy.from_config(group, Ave(cure=False), 60.0)


def analyse(engine: BuiltinEngine, group: GroupPolicy, head: str, data: bytes = b"harmless") -> Analysis:
    content = f"From: a@example.net\r\n{head}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + encodebytes(data)
    analysis = inspect(content, group.scan, [engine], math.inf)
    check_analysis(analysis, len(content))
    return analysis


@pytest.mark.parametrize(
    "head",
    [
        TWO_NAMES % ("a.txt", "b.exe"),
        TWO_NAMES % ("b.exe", "a.txt"),
        "Content-Disposition: attachment; filename=a.txt\r\nContent-Type: application/zip; name=b.exe",
        "Content-Disposition: attachment; filename=a.txt\r\nContent-Disposition: attachment; filename=b.exe",
        "Content-Disposition: attachment; filename=b.exe.",
        'Content-Disposition: attachment; filename="b.exe . "',
        'Content-Disposition: attachment; filename="b".exe"',
        f"Content-Disposition: attachment; filename={'n' * 300}.exe",
        f"Content-Disposition: attachment; filename={'n' * 3000}.exe",
    ],
)
def test_each_name_is_filtered(engine: NamesSeen, head: str) -> None:
    group = policy()
    verdict = decide(analyse(engine, group, head), group)
    assert FILTERED in verdict.statuses
    assert [each.action for each in verdict.decisions if each.status is FILTERED] == [ObjectAction.REMOVE]


def test_each_type_is_filtered(engine: NamesSeen) -> None:
    group = policy(names=(), types=("application/x-msdownload",))
    types = "Content-Type: text/plain\r\nContent-Type: application/x-msdownload"
    assert FILTERED in decide(analyse(engine, group, types), group).statuses


def test_other_readings_and_encoded_messages_are_filtered(engine: NamesSeen) -> None:
    """Parts of mail that have no range of their own are parts all the same."""
    inner = b'From: b@example.net\r\nContent-Disposition: attachment; filename="b.exe"\r\n\r\nMZ'
    group = policy()
    assert FILTERED in decide(analyse(engine, group, "Content-Type: message/rfc822", inner), group).statuses


@pytest.mark.parametrize("head", [TWO_NAMES % ("a.txt", "b.exe"), TWO_NAMES % ("b.exe", "a.txt")])
def test_an_exemption_by_name_needs_every_name(engine: NamesSeen, head: str) -> None:
    """Where filtered files pass, another name exempts from nothing."""
    group = policy(filtered=ObjectAction.PASS)
    verdict = decide(analyse(engine, group, head, TEST_STRING), group)
    assert [each.action for each in verdict.decisions if each.status is INFECTED] == [ObjectAction.REMOVE]
    single = analyse(engine, group, "Content-Disposition: attachment; filename=b.exe", TEST_STRING)
    assert {each.status for each in decide(single, group).decisions} == {FILTERED}


def test_what_is_found_stays_known_where_the_actions_are_alike(engine: NamesSeen) -> None:
    group = policy()
    verdict = decide(analyse(engine, group, TWO_NAMES % ("a.txt", "b.exe"), TEST_STRING), group)
    assert INFECTED in verdict.statuses


def test_the_filter_holds_where_what_is_found_may_pass(engine: NamesSeen) -> None:
    group = policy(infected=ObjectAction.PASS)
    verdict = decide(analyse(engine, group, TWO_NAMES % ("a.txt", "b.exe"), TEST_STRING), group)
    assert [each.action for each in verdict.decisions if each.status is FILTERED] == [ObjectAction.REMOVE]


def test_engines_judge_the_name_that_runs(engine: NamesSeen) -> None:
    engine.names.clear()
    analyse(engine, policy(names=()), TWO_NAMES % ("a.pdf", "b.pdf.scr"))
    assert "b.pdf.scr" in engine.names


def test_an_administrator_is_told_the_other_names(engine: NamesSeen) -> None:
    analysis = analyse(engine, policy(), TWO_NAMES % ("a.txt", "b.exe"))
    assert [each.evidence for each in analysis.objects if each.other_names] == ["some readers call it b.exe"]


def test_more_names_than_can_be_told_are_an_error(engine: NamesSeen) -> None:
    names = "; ".join(f'filename="{number:0>250}.txt"' for number in range(16))
    part = f"--b\r\nContent-Disposition: attachment; {names}\r\n\r\nx\r\n"
    content = f"Content-Type: multipart/mixed; boundary=b\r\n\r\n{part * 300}--b--\r\n".encode()
    analysis = inspect(content, ScanOptions(), [engine], math.inf)
    check_analysis(analysis, len(content))
    assert [each.status for each in analysis.objects].count(ObjectStatus.ERROR) > 0


def test_a_filter_process_may_not_tell_more_names_than_a_part_has() -> None:
    report = ObjectReport(-1, ObjectKind.HEADER, ObjectStatus.CLEAN, other_names=("a",) * 17)
    with pytest.raises(HostileAnswer):
        check_analysis(Analysis((report,)), 10)
    with pytest.raises(HostileAnswer):
        check_analysis(
            Analysis((ObjectReport(-1, ObjectKind.HEADER, ObjectStatus.CLEAN, other_types=("a" * 2000,)),)), 9
        )
