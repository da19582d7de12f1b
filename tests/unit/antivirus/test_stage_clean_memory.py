"""What was found clean before is neither scanned nor opened again, and only what may be remembered is."""

import base64
import math
import random
from collections.abc import Sequence
from typing import Any

import av_samples
import pytest
from stage_engines import Remote, Spy

from gatepost.antivirus.clean_keys import BODY_LEAST, BodyKeys
from gatepost.antivirus.engine import Outcome, Report, ScanObject
from gatepost.antivirus.stage import KNOWN_EVIDENCE, inspect
from gatepost.filter.dialogue import check_analysis
from gatepost.model.finding import Analysis, ObjectFilterSpec, ObjectStatus, ScanOptions


class Memory:
    """Remembers at once; counts what it is asked."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.questions: list[list[bytes]] = []

    def known(self, keys: Sequence[bytes]) -> bytes:
        self.questions.append(list(keys))
        return bytes(key in self.keys for key in keys)

    def learn(self, index: int) -> None:
        self.keys.add([key for question in self.questions for key in question][index])

    def begin(self) -> None:
        """A new message."""
        self.questions.clear()


def scan(
    content: bytes,
    spy: Spy,
    memory: Memory,
    remote: Sequence[Remote] = (),
    *,
    body_keys: BodyKeys | None = None,
    **options: Any,
) -> Analysis:
    chosen = ScanOptions(**{"cache": True, **options})
    memory.begin()
    analysis = inspect(content, chosen, [spy], math.inf, memory=memory, body_keys=body_keys, remote=remote)
    check_analysis(analysis, len(content))
    return analysis


ARCHIVE = av_samples.zip_of(("in.txt", b"inside"))
MAIL = av_samples.attached(ARCHIVE, name="a.zip")


def test_the_second_time_an_attachment_is_neither_scanned_nor_opened() -> None:
    memory, first, second = Memory(), Spy(), Spy()
    assert scan(MAIL, first, memory).cached == 0
    analysis = scan(MAIL, second, memory)
    assert ARCHIVE in first.seen
    assert b"inside" in first.seen
    assert ARCHIVE not in second.seen
    assert b"inside" not in second.seen
    assert analysis.cached == 1
    report = analysis.objects[2]
    assert (report.name, report.status, report.evidence) == ("a.zip", ObjectStatus.CLEAN, KNOWN_EVIDENCE)
    assert report.size == len(ARCHIVE)


def test_mail_without_attachments_asks_nothing_and_others_ask_once() -> None:
    memory = Memory()
    scan(av_samples.message(b"only text"), Spy(), memory)
    assert memory.questions == []
    both = av_samples.forwarded(MAIL) + b""
    scan(both, Spy(), memory)
    assert [len(keys) for keys in memory.questions] == [1]
    scan(MAIL, Spy(), memory, cache=False)
    assert memory.questions == []


class Other(Spy):
    def version(self) -> str:
        return "2"


@pytest.mark.parametrize(
    "change",
    [
        {"archives": False},
        {"mail_bases": False},
        {"packed": False},
        {"archive_depth": 3},
        {"archive_members": 99},
        {"unpacked_bytes": 12345},
    ],
)
def test_other_options_do_not_know_it(change: dict[str, Any]) -> None:
    memory, spy = Memory(), Spy()
    scan(MAIL, Spy(), memory)
    assert scan(MAIL, spy, memory, **change).cached == 0
    assert ARCHIVE in spy.seen


def test_other_signatures_another_name_type_or_engine_do_not_know_it() -> None:
    memory = Memory()
    scan(MAIL, Spy(), memory)
    assert scan(MAIL, Other(), memory).cached == 0
    assert scan(MAIL, Spy(), memory, [Remote()]).cached == 0
    assert scan(av_samples.attached(ARCHIVE, name="b.zip"), Spy(), memory).cached == 0
    assert scan(av_samples.attached(ARCHIVE, "application/zip", name="a.zip"), Spy(), memory).cached == 0
    assert scan(MAIL, Spy(), memory).cached == 1


@pytest.mark.parametrize(
    "data",
    [
        b"BAD",
        av_samples.zip_of(("x", b"BAD")),
        ARCHIVE[:-30],  # damaged
        b"MZ" + bytes(200) + b"PE",  # an executable that says it is a text
    ],
    ids=["infected", "infected-inside", "damaged", "disguised"],
)
def test_what_is_not_plainly_clean_is_not_remembered(data: bytes) -> None:
    memory = Memory()
    mail = av_samples.attached(data, name="a.txt")
    for _ in range(2):
        assert scan(mail, Spy(), memory).cached == 0
    assert memory.keys == set()


def test_an_engine_in_trouble_or_of_unknown_version_keeps_everything_out() -> None:
    memory = Memory()
    silent = Remote(stated="")
    scan(MAIL, Spy(), memory, [silent])
    assert memory.questions == []
    assert silent.seen
    trouble = Report(Outcome.ERROR, evidence="down", trouble="down")
    scan(MAIL, Spy(), memory, [Remote(trouble)])
    assert memory.keys == set()


def test_what_all_groups_filter_is_not_asked_about() -> None:
    memory = Memory()
    spec = ObjectFilterSpec(names=True, include_names=("*.zip",))
    analysis = scan(MAIL, Spy(), memory, filters=(spec,))
    assert memory.questions == []
    assert analysis.objects[2].status is ObjectStatus.FILTERED


def test_a_text_with_an_encoded_block_inside_is_remembered_only_when_all_is_clean() -> None:
    for inner, cached in ((b"fine", 1), (b"BAD", 0)):
        memory = Memory()
        mail = av_samples.attached(b"text\r\n" + av_samples.uuencode(inner), "application/x-list", "7bit", "l.lst")
        scan(mail, Spy(), memory)
        assert scan(mail, Spy(), memory).cached == cached


def test_a_secret_member_taints_what_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from gatepost.antivirus.opening import Member

    def opened(*_: object) -> list[Member]:
        return [Member("in.txt", b"inside", secret=True)]

    monkeypatch.setattr("gatepost.antivirus.stage.open_container", opened)
    memory = Memory()
    seen: list[ScanObject] = []

    class Looking(Spy):
        def scan(self, subject: ScanObject, deadline: float) -> Report:
            seen.append(subject)
            return super().scan(subject, deadline)

    assert scan(MAIL, Looking(), memory).cached == 0
    assert scan(MAIL, Looking(), memory).cached == 0
    assert any(subject.secret and subject.data == b"inside" for subject in seen)


# --- large bodies: known as they are encoded

LARGE = random.Random("large").randbytes(2 * BODY_LEAST + 1)
LARGE_MAIL = av_samples.attached(LARGE, name="a.bin")
KEYS = BodyKeys(bytes(range(32)))


@pytest.mark.parametrize("encoding", ["base64", "7bit"])
@pytest.mark.parametrize("rest", [0, 1, 2, 55, 56, 57])
def test_a_large_body_is_known_without_being_decoded_and_its_size_is_told(
    encoding: str, rest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LARGE[: BODY_LEAST + rest].replace(b"\n", b"\0") if encoding == "7bit" else LARGE[: BODY_LEAST + rest]
    mail = av_samples.attached(data, encoding=encoding, name="a.bin")
    memory, spy = Memory(), Spy()
    assert scan(mail, Spy(), memory, body_keys=KEYS).cached == 0
    assert [len(keys) for keys in memory.questions] == [1, 1]
    decoded: list[object] = []
    monkeypatch.setattr("gatepost.antivirus.recollection.decode_body", lambda *which: decoded.append(which))
    analysis = scan(mail, spy, memory, body_keys=KEYS)
    assert analysis.cached == 1
    assert (analysis.objects[2].size, analysis.objects[2].evidence) == (len(data), KNOWN_EVIDENCE)
    assert [len(keys) for keys in memory.questions] == [1]
    assert decoded == []
    assert data not in spy.seen


def test_with_another_secret_it_is_known_by_its_content_and_then_by_its_body_again() -> None:
    memory, others = Memory(), BodyKeys(bytes(32))
    scan(LARGE_MAIL, Spy(), memory, body_keys=KEYS)
    assert scan(LARGE_MAIL, Spy(), memory, body_keys=others).cached == 1
    assert len(memory.questions) == 2
    assert scan(LARGE_MAIL, Spy(), memory, body_keys=others).cached == 1
    assert len(memory.questions) == 1


def test_one_byte_another_name_or_other_options_are_another_body() -> None:
    memory = Memory()
    scan(LARGE_MAIL, Spy(), memory, body_keys=KEYS)
    for place in (0, len(LARGE) // 2, -1):
        changed = bytearray(LARGE)
        changed[place] ^= 1
        spy = Spy()
        assert scan(av_samples.attached(bytes(changed), name="a.bin"), spy, memory, body_keys=KEYS).cached == 0
        assert bytes(changed) in spy.seen
    assert scan(av_samples.attached(LARGE, name="b.bin"), Spy(), memory, body_keys=KEYS).cached == 0
    assert scan(LARGE_MAIL, Spy(), memory, body_keys=KEYS, archives=False).cached == 0
    assert scan(LARGE_MAIL, Spy(), memory, body_keys=KEYS).cached == 1


def test_a_body_of_uneven_lines_is_known_by_its_content_only() -> None:
    memory = Memory()
    start = base64.b64encode(LARGE)[:40]
    uneven = LARGE_MAIL.replace(start, start + b"\r\n")
    assert uneven != LARGE_MAIL
    scan(LARGE_MAIL, Spy(), memory, body_keys=KEYS)
    for _ in range(2):
        analysis = scan(uneven, Spy(), memory, body_keys=KEYS)
        assert analysis.cached == 1
        assert analysis.objects[2].size == len(LARGE)
        assert len(memory.questions) == 2


def test_what_is_not_clean_is_learned_by_neither_key() -> None:
    memory = Memory()
    mail = av_samples.attached(av_samples.zip_of(("x", b"BAD"), ("y", LARGE)), name="a.zip")
    for _ in range(2):
        assert scan(mail, Spy(), memory, body_keys=KEYS).cached == 0
    assert memory.keys == set()
