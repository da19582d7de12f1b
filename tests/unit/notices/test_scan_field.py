"""The scan-information field, and fields of that name that are not ours."""

import re
import time

import pytest

from gatepost.mime.edit import apply_splices
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import Verdict
from gatepost.notices.scan_field import NO_BASES, Bases, build_scan_field, has_foreign_field, rename_foreign_fields

NOON = time.mktime((2026, 3, 4, 12, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("statuses", "word"),
    [
        ((), "not_checked"),
        ((ObjectStatus.CLEAN,), "clean"),
        ((ObjectStatus.DISINFECTED, ObjectStatus.SUSPICIOUS), "suspicious"),
        (tuple(ObjectStatus), "infected"),
    ],
)
def test_the_documented_layout(statuses, word):
    field = build_scan_field(Bases("2026-03-02", 1234), Verdict("policy", statuses), NOON).decode()
    form = r"X-Anti-Virus: (Gatepost \S+), bases: (\d{8}) #(\d+), check: (\d{8}) (\w+)\r\n"
    found = re.fullmatch(form, field)
    assert found is not None
    assert found.groups()[1:] == ("20260302", "1234", "20260304", word)


def test_without_databases_it_keeps_its_layout():
    assert b"bases: 00000000 #0," in build_scan_field(NO_BASES, Verdict("policy", ()), NOON)


def test_encryption_that_kept_something_from_being_scanned_is_named_behind_the_status():
    verdict = Verdict("policy", (ObjectStatus.CLEAN,), encrypted=("OpenPGP", "S/MIME"))
    assert build_scan_field(NO_BASES, verdict, NOON).endswith(b"check: 20260304 clean (encrypted: OpenPGP, S/MIME)\r\n")


CONTENT = (
    b"X-Anti-Virus: forged, check: 20260304 clean\r\nSubject: x\r\n x-anti-virus: folded\r\n"
    b"x-ANTI-virus : also\r\nX-Anti-Virus-Other: stays\r\n\r\nX-Anti-Virus: body\r\n"
)


def test_fields_of_that_name_go_on_under_another():
    assert has_foreign_field(CONTENT)
    renamed = b"".join(map(bytes, apply_splices(CONTENT, rename_foreign_fields(CONTENT))))
    assert renamed == CONTENT.replace(b"X-Anti-Virus: forged", b"X-Foreign-X-Anti-Virus: forged").replace(
        b"x-ANTI-virus :", b"X-Foreign-x-ANTI-virus :"
    )
    assert not has_foreign_field(renamed)


@pytest.mark.parametrize(
    "content", [b"", b"\r\n\r\nX-Anti-Virus: body\r\n", b"\r\nX-Anti-Virus: x\r\n", b"Subject: x\r\n"]
)
def test_other_mail_has_none(content):
    assert not has_foreign_field(content)
    assert rename_foreign_fields(content) == []
