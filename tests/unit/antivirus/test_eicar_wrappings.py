"""The EICAR family in everything it can travel in: what is found, what is cured, and that nothing of it is delivered.

Table-driven over the stage with the engines of a new installation, then through policy and edits as disposal does it
(specification antivirus.md §8; rows F-AV-01 to F-AV-04, F-AV-09 to F-AV-13). What wraps is in `support.wrappings`.
"""

import functools
import math
from collections.abc import Sequence

import pytest
from tests.support.mails import EICAR
from tests.support.wrappings import (
    ARCHIVES,
    CARRIERS,
    ENCODINGS,
    FILES,
    MAIL_BASES,
    MAILS,
    NOTE,
    Wrapping,
    attached,
)

from gatepost.antivirus.engine import CLEAN, Engine, Report, ScanObject
from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.loading import load_engines
from gatepost.antivirus.stage import inspect
from gatepost.antivirus.unpack import ARCHIVES as OPENED_ARCHIVES
from gatepost.antivirus.unpack import DOCUMENTS
from gatepost.antivirus.unpack import MAIL_BASES as OPENED_MAIL_BASES
from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.filter.dialogue import check_analysis
from gatepost.mime.edit import Action, Edit, apply_splices, plan_edits
from gatepost.model.finding import SEVERITY, Analysis, ObjectReport, ObjectStatus, ScanOptions
from gatepost.model.verdict import ObjectAction
from gatepost.policy.decide import decide, resolve_edits
from gatepost.policy.group import GroupPolicy

FAMILY = {
    "": (ObjectStatus.INFECTED, "EICAR-Test-File"),
    "CORR-": (ObjectStatus.ERROR, "EICAR-Test-File.corr"),
    "SUSP-": (ObjectStatus.SUSPICIOUS, "EICAR-Test-File.susp"),
    "WARN-": (ObjectStatus.SUSPICIOUS, "EICAR-Test-File.warn"),
    "ERRO-": (ObjectStatus.ERROR, "EICAR-Test-File.erro"),
    "CURE-": (ObjectStatus.INFECTED, "EICAR-Test-File.cure"),
    "DELE-": (ObjectStatus.INFECTED, "EICAR-Test-File.dele"),
}
"""Without cure."""
CURABLE = "CURE-"
DELETED = "DELE-"
HARMLESS = b"Nothing to be seen here, only a text that is long enough for a script to carry it.\r\n"
STATUSES = ("disinfected", "infected", "suspicious", "protected", "error", "filtered")
LARGE = ("iso.iso", "iso-without-joliet.iso", "udf.img")
"""A third of a megabyte each: not for every round."""

CURED, DISINFECTED = b"CURED", ObjectStatus.DISINFECTED


@functools.cache
def engines() -> tuple[Engine, ...]:
    """Those of a new installation, with their databases."""
    return tuple(load_engines(["builtin"]))


def sample(prefix: str) -> bytes:
    return prefix.encode() + EICAR


def scan(content: bytes, **options: object) -> Analysis:
    analysis = inspect(content, ScanOptions(**options), engines(), math.inf)
    check_analysis(analysis, len(content))  # whatever the stage says must pass as a sound answer
    return analysis


def worst(reports: Sequence[ObjectReport]) -> ObjectStatus:
    return min((report.status for report in reports), key=SEVERITY.index)


def found(analysis: Analysis) -> list[ObjectReport]:
    return [report for report in analysis.objects if report.status is not ObjectStatus.CLEAN]


class Collector:
    """An engine that finds nothing and remembers what it was given."""

    name = "collector"

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def version(self) -> str:
        return "1"

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        self.seen.append(subject.data)
        return CLEAN

    def cure(self, subject: ScanObject) -> bytes | None:
        return None

    def health(self) -> str:
        return ""


def contents(content: bytes) -> list[bytes]:
    """Everything that is in a message, unpacked."""
    collector = Collector()
    inspect(content, ScanOptions(), [collector], math.inf)
    return collector.seen


@functools.cache
def policy(**actions: ObjectAction) -> GroupPolicy:
    """The policy of a group that blocks nothing; `actions` by status, `otherwise` for those not named."""
    otherwise = actions.pop("otherwise", ObjectAction.PLACEHOLDER)
    chosen = {f"action_{status}": actions.get(status, otherwise) for status in STATUSES}
    return GroupPolicy.from_config(Group(**chosen), Ave(cure=True), 600)


REPLACING = {"otherwise": ObjectAction.PLACEHOLDER, "disinfected": ObjectAction.CURE}
REMOVING = {"otherwise": ObjectAction.REMOVE, "disinfected": ObjectAction.CURE}
PASSING = {"otherwise": ObjectAction.PASS}
TEXT = b"An attachment was replaced.\r\n"


def deliver(content: bytes, analysis: Analysis, actions: dict[str, ObjectAction]) -> bytes:
    """What a group's recipients get."""
    verdict = decide(analysis, policy(**actions))
    assert not verdict.blocked
    edits = []
    for decision in resolve_edits(analysis, verdict):
        report = analysis.objects[decision.index]
        if decision.action is ObjectAction.CURE:
            edits.append(Edit(report, Action.CURE, report.cured or b""))
        elif decision.action is ObjectAction.REMOVE:
            edits.append(Edit(report, Action.REMOVE))
        else:
            edits.append(Edit(report, Action.REPLACE, TEXT))
    return b"".join(bytes(piece) for piece in apply_splices(content, plan_edits(content, edits)))


def is_cured(chain: Sequence[Wrapping], prefix: str) -> bool:
    """Whether an attachment that holds a sample in wrappings, the outermost first, has a cured form."""
    if FAMILY[prefix][0] is ObjectStatus.ERROR or prefix == DELETED:
        return False
    infected = FAMILY[prefix][0] is ObjectStatus.INFECTED
    cured = prefix == CURABLE
    for each in reversed(chain):
        if each.disarms:
            cured = True
        elif each.repacks:
            cured = infected and (cured or each.others)
        else:
            cured = False
    return cured


def prove(content: bytes, prefix: str, *, cure: bool, cured: bool, removable: bool = True) -> Analysis:
    """A message with a sample: it is found under its name, its status is the one it must have, and whatever the policy
    does, none of it is delivered.
    """
    status, threat = FAMILY[prefix]
    analysis = scan(content, cure=cure)
    bad = found(analysis)
    assert {report.threat for report in bad} == {threat}
    assert all(report.delete == (prefix == DELETED) for report in bad)
    outermost = bad[0]
    assert outermost.whole.end > outermost.whole.start
    if cure and cured:
        assert worst(bad) is DISINFECTED
        assert outermost.cured is not None
        assert outermost.uncured is status
    else:
        assert {report.status for report in bad} == {status}
        assert not any(report.cured for report in bad)
    for actions in (REPLACING, REMOVING):
        delivered = deliver(content, analysis, actions)
        assert EICAR not in delivered
        assert worst(scan(delivered).objects) is ObjectStatus.CLEAN
    passed = deliver(content, analysis, PASSING)
    if prefix == DELETED and removable:  # whatever the action says
        assert worst(scan(passed).objects) is ObjectStatus.CLEAN
    else:
        assert passed == content
    return analysis


# -- ways into a message ------------------------------------------------------------------------------------------------


@pytest.mark.feature("F-AV-01", "F-AV-02", "F-AV-09", "F-AV-10", "F-AV-11", "F-AV-12", "F-AV-13")
@pytest.mark.parametrize("cure", [True, False], ids=["cure", "no-cure"])
@pytest.mark.parametrize("way", MAILS)
def test_in_every_place_of_a_message(way: str, cure: bool) -> None:
    mail = MAILS[way]
    for prefix in FAMILY:
        content = mail.make(sample(prefix))
        cured = prefix == CURABLE and mail.ranged
        analysis = prove(content, prefix, cure=cure, cured=cured)
        if cured and cure:
            assert found(analysis)[0].cured == CURED
            assert CURED in [data.strip() for data in contents(deliver(content, analysis, REPLACING))]


@pytest.mark.parametrize("way", MAILS)
def test_the_same_place_without_a_sample_is_clean(way: str) -> None:
    assert worst(scan(MAILS[way].make(HARMLESS)).objects) is ObjectStatus.CLEAN


@pytest.mark.parametrize("way", [way for way in MAILS if "-in-" in way])
def test_in_an_encoded_block_of_an_encoded_block(way: str) -> None:
    for file in ENCODINGS:
        for prefix in FAMILY:
            prove(MAILS[way].make(file.pack(sample(prefix))), prefix, cure=True, cured=False)


# -- files --------------------------------------------------------------------------------------------------------------


@pytest.mark.feature("F-AV-03", "F-AV-04")
@pytest.mark.parametrize("cure", [True, False], ids=["cure", "no-cure"])
@pytest.mark.parametrize("name", FILES)
def test_in_every_kind_of_file(name: str, cure: bool) -> None:
    file = FILES[name]
    for prefix in FAMILY if name not in LARGE else ("", CURABLE):
        content = attached(file.pack(sample(prefix)), name)
        cured = is_cured([file], prefix)
        analysis = prove(content, prefix, cure=cure, cured=cured)
        if cured and cure:
            given = contents(deliver(content, analysis, REPLACING))
            assert prefix != CURABLE or not file.repacks or CURED in given
            assert not file.others or NOTE[1] in given


@pytest.mark.parametrize("name", FILES)
def test_the_same_file_without_a_sample_is_clean(name: str) -> None:
    content = attached(FILES[name].pack(HARMLESS), name)
    assert worst(scan(content).objects) is ObjectStatus.CLEAN
    assert any(data.startswith(HARMLESS) for data in contents(content))  # and was looked into


def test_files_are_opened_by_option() -> None:
    for file in (*ARCHIVES, *MAIL_BASES, *ENCODINGS, *CARRIERS):
        if file.name in LARGE or file.name == "zip-method-0.zip":  # stored as it is, in the eyes of an engine
            continue
        content = attached(file.pack(sample("")), file.name)
        for option, closed in (("archives", file.archive), ("mail_bases", file.mail_base)):
            status = worst(scan(content, cure=False, **{option: False}).objects)
            assert (status is ObjectStatus.CLEAN) == closed, (file.name, option)


def test_every_kind_that_is_opened_is_wrapped() -> None:
    opened = {
        kind
        for table in (OPENED_ARCHIVES, DOCUMENTS, OPENED_MAIL_BASES)
        for kind, opener in table.items()
        if opener is not None
    }
    assert {detect_kind(file.pack(HARMLESS), file.name) for file in FILES.values()} == opened


# -- three levels deep ----------------------------------------------------------------------------------------------------

ALONE = ("dropper.js", "event.ics", "signed.gpg", "data.json")
"""Not in chains: they are told by their names alone, which a file inside others does not always keep."""
SMALL = [file for name, file in FILES.items() if name not in (*LARGE, *ALONE)]
BINARY_WAYS = [way for way in MAILS.values() if way.binary]


@pytest.mark.parametrize("cure", [True, False], ids=["cure", "no-cure"])
@pytest.mark.parametrize("outer", range(len(SMALL)), ids=[file.name for file in SMALL])
def test_three_levels_deep(outer: int, cure: bool) -> None:
    """Each kind of file outermost, with two others in it that are never the same two."""
    chain = [SMALL[(outer + step) % len(SMALL)] for step in (0, 10, 41)]
    way = BINARY_WAYS[outer % len(BINARY_WAYS)]
    # Encoded text in a body that is not is edited as an object of its own.
    inner = chain[1:] if chain[0] in ENCODINGS and way is MAILS["binary"] else chain
    for prefix in FAMILY if cure else ("", CURABLE):
        data = functools.reduce(lambda inner, file: file.pack(inner), reversed(chain), sample(prefix))
        cured = is_cured(chain, prefix)
        prove(attached(data, chain[0].name), prefix, cure=cure, cured=cured)
        prove(way.make(data), prefix, cure=cure, cured=way.ranged and is_cured(inner, prefix))
