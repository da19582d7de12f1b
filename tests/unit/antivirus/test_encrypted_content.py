"""Mail that its recipient alone can decrypt is told as such, wherever it stands; what a password opens is protected."""

import math

import av_samples
import pytest
from stage_engines import Spy
from test_stage_clean_memory import Memory
from tests.support import envelopes

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.objects import ENCRYPTED
from gatepost.antivirus.stage import inspect
from gatepost.filter.dialogue import check_analysis
from gatepost.model.finding import SEVERITY, Analysis, ObjectKind, ObjectStatus, ScanOptions

CLEAN, PROTECTED, INFECTED = ObjectStatus.CLEAN, ObjectStatus.PROTECTED, ObjectStatus.INFECTED
ENGINE = BuiltinEngine()
EICAR = av_samples.eicar()


def scan(content: bytes) -> Analysis:
    analysis = inspect(content, ScanOptions(), [ENGINE], math.inf)
    check_analysis(analysis, len(content))
    return analysis


def worst(analysis: Analysis) -> ObjectStatus:
    return min((each.status for each in analysis.objects), key=SEVERITY.index)


def encryptions(analysis: Analysis) -> list[str]:
    return [each.encrypted for each in analysis.objects if each.encrypted]


OPENPGP = envelopes.for_a_key()
WAYS = {
    "enveloped": (envelopes.enveloped(), "smime.p7m", "S/MIME"),
    "authenticated": (envelopes.enveloped("authenveloped"), "smime.p7m", "S/MIME"),
    "secret-key": (envelopes.enveloped("encrypted"), "smime.p7m", "S/MIME"),
    "in-pieces": (envelopes.enveloped(endless=True), "smime.p7m", "S/MIME"),
    "as-text": (envelopes.pem(envelopes.enveloped()), "a.pem", "S/MIME"),
    "another-name": (envelopes.enveloped(), "a.dat", "S/MIME"),
    "openpgp": (OPENPGP, "a.gpg", "OpenPGP"),
    "openpgp-another-name": (OPENPGP, "a.dat", "OpenPGP"),
    "openpgp-armoured": (envelopes.armoured(OPENPGP), "a.asc", "OpenPGP"),
    "openpgp-two-keys": (envelopes.for_a_key(keys=2), "a.pgp", "OpenPGP"),
    "openpgp-many-keys": (envelopes.for_a_key(keys=1200), "a.pgp", "OpenPGP"),
    "openpgp-aead": (envelopes.for_a_key(tag=20), "a.pgp", "OpenPGP"),
    "openpgp-behind-a-marker": (envelopes.packet(10, b"PGP") + OPENPGP, "a.pgp", "OpenPGP"),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_told_and_passes_here(way: str) -> None:
    data, name, encryption = WAYS[way]
    analysis = scan(av_samples.attached(data, name=name))
    assert encryptions(analysis) == [encryption]
    assert worst(analysis) is CLEAN
    told = next(each for each in analysis.objects if each.encrypted)
    assert told.kind is ObjectKind.PART
    assert told.evidence == f"encrypted for its recipient ({encryption}): what it holds was not scanned"
    finding = next(each for each in analysis.findings if each.name == ENCRYPTED)
    assert finding.evidence == f"encrypted for its recipient ({encryption}): not scanned"


@pytest.mark.parametrize("way", WAYS)
def test_it_is_told_in_an_archive_and_in_a_forwarded_mail(way: str) -> None:
    data, name, encryption = WAYS[way]
    members = [(f"{number}.txt", b"text") for number in range(300)]  # more clean members than are listed
    analysis = scan(av_samples.attached(av_samples.zip_of(*members, (name, data)), name="a.zip"))
    assert encryptions(analysis) == [encryption]
    assert encryptions(scan(av_samples.forwarded(av_samples.attached(data, name=name)))) == [encryption]


@pytest.mark.parametrize("content_type", ["text/plain", "text/html"])
def test_it_is_told_in_the_text_of_a_mail(content_type: str) -> None:
    text = b"<html><pre>\r\n" if content_type == "text/html" else b"Hello,\r\n"
    content = av_samples.message(
        text + envelopes.armoured(OPENPGP) + b"\r\nBye\r\n", b"Content-Type: " + content_type.encode()
    )
    assert encryptions(scan(content)) == ["OpenPGP"]


def test_both_are_named_once() -> None:
    inner = av_samples.zip_of(("a.gpg", OPENPGP), ("b.gpg", OPENPGP), ("smime.p7m", envelopes.enveloped()))
    analysis = scan(av_samples.attached(inner, name="a.zip"))
    assert [each.evidence for each in analysis.findings] == [
        "encrypted for its recipient (OpenPGP, S/MIME): not scanned"
    ]


LOCKED = {
    "password": envelopes.for_a_password(),
    "password-and-key": envelopes.for_a_password(OPENPGP),
    "no-key-at-all": envelopes.packet(9, bytes(200)),
}


@pytest.mark.parametrize("way", LOCKED)
@pytest.mark.parametrize("armour", [False, True])
def test_what_a_password_opens_is_protected(way: str, armour: bool) -> None:
    data = envelopes.armoured(LOCKED[way]) if armour else LOCKED[way]
    analysis = scan(av_samples.attached(data, name="a.asc" if armour else "a.gpg"))
    assert worst(analysis) is PROTECTED
    assert [each.evidence for each in analysis.objects if each.status is PROTECTED] == ["OpenPGP, locked by a password"]
    assert encryptions(analysis) == []


def test_what_stands_beside_it_is_scanned() -> None:
    both = OPENPGP + envelopes.literal(EICAR)
    assert worst(scan(av_samples.attached(both, name="a.gpg"))) is INFECTED
    assert (
        worst(scan(av_samples.attached(av_samples.zip_of(("a.gpg", OPENPGP), ("x.com", EICAR)), name="a.zip")))
        is INFECTED
    )
    assert (
        worst(scan(av_samples.attached(envelopes.enveloped() + av_samples.zip_of(("x.com", EICAR)), name="a.p7m")))
        is INFECTED
    )


@pytest.mark.parametrize("data", [envelopes.detached(), envelopes.signed(b"text"), envelopes.packet(6, bytes(90))])
def test_signatures_and_keys_are_not_encrypted(data: bytes) -> None:
    analysis = scan(av_samples.attached(data, name="a.gpg"))
    assert encryptions(analysis) == []
    assert worst(analysis) is CLEAN
    assert not analysis.findings


@pytest.mark.parametrize(
    "data", [b"\x85\x01\x0c\x03" + b"photo" * 40, b"\x84\x8c" + bytes(200), b"\xc1\x40\x03" + bytes(90)]
)
def test_other_data_that_begins_so_is_not_taken_for_it(data: bytes) -> None:
    assert detect_kind(data) is not Kind.PGP


def test_it_is_never_remembered_as_clean() -> None:
    content = av_samples.attached(OPENPGP, name="a.gpg")
    memory = Memory()
    for _ in range(3):
        memory.begin()
        analysis = inspect(content, ScanOptions(cache=True), [Spy()], math.inf, memory=memory)
        assert analysis.cached == 0
        assert encryptions(analysis) == ["OpenPGP"]
    assert not memory.keys
