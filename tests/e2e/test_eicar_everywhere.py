"""The EICAR family in every file and every place of a message, through a running gateway: what its recipients get.

Every mail goes to people of four groups: one cures and replaces, one removes, one lets everything pass, one blocks. What
arrives is taken apart by Python's own modules (specification antivirus.md §8).
"""

import bz2
import email
import email.policy
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wrappings import ENCODINGS, FILES, MAILS, NOTE, attached

STATUS = {
    "": "infected", "CORR-": "error", "SUSP-": "suspicious", "WARN-": "suspicious", "ERRO-": "error",
    "CURE-": "infected", "DELE-": "infected",
}  # fmt: skip
PREFIXES = list(STATUS)
CURABLE, DELETED = "CURE-", "DELE-"
PLACEHOLDER = b"has removed a part of this message"
STATUSES = ("disinfected", "infected", "suspicious", "protected", "error", "filtered")
BLOCKING = 'block_message = ["infected", "suspicious", "protected", "error", "filtered"]'
GROUPS = "".join(
    f'\n[[group]]\nname = "{name}"\nrecipients = ["{name}@*"]\n{rest}\n'
    + "".join(f'action_{s} = "{a}"\n' for s, a in actions)
    for name, rest, actions in (
        ("remove", "", [(s, "cure" if s == "disinfected" else "remove") for s in STATUSES]),
        ("pass", "", [(s, "pass") for s in STATUSES]),
        ("block", 'block_message = "all"', []),
    )
)
"""The rest, here `cure@`, is under the policy."""


@dataclass(frozen=True)
class Case:
    """One mail."""

    name: str
    content: bytes
    prefix: str
    cured: bool
    """There is a cured form."""


def cases() -> Iterator[Case]:
    """Every file and every place, each with a variant or two of the family: all variants come often."""
    for number, (name, file) in enumerate(FILES.items()):
        prefixes = [PREFIXES[number % len(PREFIXES)]]
        if (file.repacks or file.disarms) and CURABLE not in prefixes:
            prefixes.append(CURABLE)
        for prefix in prefixes:
            content = attached(file.pack(prefix.encode() + EICAR), name, f"{prefix}{name}")
            taken_out = file.disarms or (file.repacks and file.others and STATUS[prefix] == "infected")
            cured = (prefix == CURABLE and file.repacks) or (taken_out and STATUS[prefix] != "error")
            yield Case(f"{prefix}{name}", content, prefix, cured and prefix != DELETED)
    for number, (name, way) in enumerate(MAILS.items()):
        for prefix in (PREFIXES[number % len(PREFIXES)], *([CURABLE] if number % len(PREFIXES) != 5 else [])):
            content = way.make(prefix.encode() + EICAR).replace(
                b"Subject: sample", f"Subject: {prefix}{name}".encode(), 1
            )
            yield Case(f"{prefix}{name}", content, prefix, prefix == CURABLE and way.ranged)


CASES = {case.name: case for case in cases()}


@dataclass
class Running:
    gateway: Gateway
    sink: Sink
    ids: dict[str, str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = tmp_path_factory.mktemp("everywhere") / "gw"
    with (
        Sink() as sink,
        Gateway(state, sink.port, settings=GROUPS, replace={BLOCKING: "block_message = []"}) as gateway,
    ):
        ids = {
            name: gateway.send(case.content, [f"{group}@example.org" for group in ("cure", "remove", "pass", "block")])
            for name, case in CASES.items()
        }
        wait_for(lambda: len(gateway.lines("BLOCKED")) >= len(CASES), "all to be treated")
        wait_for(lambda: len(sink.mails) >= 3 * len(CASES), "all to arrive")
        yield Running(gateway, sink, ids)


def received(running: Running, case: Case, group: str) -> bytes:
    """What the one recipient of a group got."""
    subject = f"\r\nSubject: {case.name}\r\n".encode()
    mails = [
        m for m in running.sink.mails if m.recipients == [f"{group}@example.org"] and subject in m.header + b"\r\n"
    ]
    assert len(mails) == 1
    return mails[0].without_trace()


def unpacked(name: str, data: bytes) -> list[bytes]:
    """The contents of an archive, [] for what is none Python can read."""
    source = io.BytesIO(data)
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            assert archive.testzip() is None
            return [archive.read(each) for each in archive.namelist()]
    source.seek(0)
    if name.endswith(".tar"):
        with tarfile.open(fileobj=source) as archive:
            files = [archive.extractfile(each) for each in archive if each.isfile()]
            return [file.read() for file in files if file is not None]
    openers = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
    ending = name[name.rfind(".") :]
    return [openers[ending](data)] if ending in openers else []


def leaves(content: bytes) -> list[EmailMessage]:
    message = email.message_from_bytes(content, policy=email.policy.default)
    return [part for part in message.walk() if not part.is_multipart()]


def texts(content: bytes) -> list[bytes]:
    """Every part, decoded, and what is in it as far as Python can tell: nothing of a sample may be in any."""
    found = [content]
    for part in leaves(content):
        data = part.get_payload(decode=True) or b""
        found += [data, *unpacked(part.get_filename() or "", data)]
    return found


@pytest.mark.feature("F-AV-01", "F-AV-02", "F-AV-03", "F-AV-04", "F-AV-12")
@pytest.mark.parametrize("name", CASES)
def test_what_recipients_get(running: Running, name: str) -> None:
    case = CASES[name]
    for group in ("cure", "remove"):
        mail = received(running, case, group)
        given = texts(mail)
        assert not any(EICAR in text for text in given)
        assert any(PLACEHOLDER in text for text in given) == (
            group == "cure" and not case.cured and case.prefix != DELETED
        )
        file = FILES.get(name.removeprefix(case.prefix))
        if file is not None:
            attachments = [part.get_filename() for part in leaves(mail) if part.get_filename()]
            assert attachments == ([file.name] if case.cured else [])
            assert not (case.cured and file.repacks and case.prefix == CURABLE) or b"CURED" in given
            assert not (case.cured and file.others) or NOTE[1] in given
        elif case.cured:
            mark = b"\r\n%0U52140`\r\n" if "in-text" in name else b"\r\nCURED\r\n"  # a file again, or a text
            assert mark in mail or (b"CURED" in given and "in-text" not in name)
    passed = received(running, case, "pass")
    if case.prefix == DELETED:
        assert not any(EICAR in text for text in texts(passed))
    else:
        assert passed == case.content


@pytest.mark.feature("F-AV-09", "F-AV-10", "F-AV-11", "F-AV-12", "F-AV-13")
@pytest.mark.parametrize("name", CASES)
def test_what_the_log_says(running: Running, name: str) -> None:
    case = CASES[name]
    expected = "disinfected" if case.cured else STATUS[case.prefix]
    lines = running.gateway.lines("SCANNED", running.ids[name])
    assert sorted(re.findall(r"group=<([a-z]+)>", "".join(lines))) == ["block", "pass", "policy", "remove"]
    for line in lines:
        assert f'status="{expected}"' in line
        assert "EICAR-Test-File" + {"": "", **{p: f".{p[:4].lower()}" for p in PREFIXES[1:]}}[case.prefix] in line
    (blocked,) = [
        line
        for line in running.gateway.lines("BLOCKED, rcpt=<block@example.org>")
        if running.ids[name] in line
        or any(copy in line for copy in re.findall(r"\] ([0-9A-Z]{13}): SCANNED", "".join(lines)))
    ]
    assert f"size={len(case.content)}" in blocked


def test_the_counters(running: Running) -> None:
    counters = running.gateway.status()["counters"]
    assert counters["antiviral_checked_messages_total"] == 4 * len(CASES)
    assert counters["antiviral_checked_messages_blocked"] == len(CASES)
    assert counters["mta_received_messages"] == len(CASES)
    for status, counter in (
        ("infected", "antiviral_infected_objects"),
        ("disinfected", "antiviral_checked_objects_disinfected_objects"),
        ("suspicious", "antiviral_checked_objects_suspicious_objects"),
        ("error", "antiviral_check_checked_objects_error"),
    ):
        mails = sum(status == ("disinfected" if case.cured else STATUS[case.prefix]) for case in CASES.values())
        assert counters[counter] >= 4 * mails
    assert (
        "antiviral_checked_objects_protected_objects" not in counters
        or not counters["antiviral_checked_objects_protected_objects"]
    )


def test_every_variant_and_every_encoding_comes() -> None:
    assert {case.prefix for case in CASES.values()} == set(STATUS)
    assert all(any(each.name in name for name in CASES) for each in ENCODINGS)
