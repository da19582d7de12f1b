"""Passwords: found in texts, tried on archives, bounded."""

import io
import math
import time
import zipfile

import py7zr
import pytest

from gatepost.antivirus.budget import KEY_ROUNDS, Budget
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.openers.samples import CONTENT, PASSWORD, build_samples
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.passwords import CANDIDATES, LENGTH_LIMIT, find_passwords
from gatepost.antivirus.unpack import open_container
from gatepost.model.finding import ScanOptions

LOCKED = [data for kind, data in build_samples() if kind in {Kind.ZIP, Kind.SEVEN_ZIP}][4:]


def members(data: bytes, *passwords: str, budget: Budget | None = None) -> list[Member]:
    kind = detect_kind(data)
    assert kind is not None
    options = ScanOptions()
    return list(open_container(data, kind, "", Opening(budget or Budget(options, math.inf), options, passwords)))


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("Hello,\nsee the file. Password: infected\nBye", "infected"),
        ("The password is 1234.", "1234"),
        ("Пароль: зимушка", "зимушка"),
        ('Das Passwort lautet "Geheim 1"', "Geheim 1"),
        ("pass 777", "777"),
        ("Mot de passe : abc!d", "abc!d"),
        ("archive password - qwerty12", "qwerty12"),
        ("<p>Password:&nbsp;<b>a1b2c3</b></p>", "a1b2c3"),
        ("Password\n\n  S3cret!\n", "S3cret!"),
        ("Your code: AB12", "AB12"),
        ("ZIP PASSWORD FOR THE DOCUMENT: 8812", "8812"),
        ("密码\uff1aabcd", "abcd"),
        ("contraseña:\nhola2024\n", "hola2024"),
        ("PW=x'y\"z", "x'y\"z"),
    ],
)
def test_what_a_label_names_is_tried_first(text: str, password: str) -> None:
    assert password in find_passwords(["Invoice 77123", text], ["invoice.zip"])[:3]


def test_quotes_names_and_odd_words_follow() -> None:
    found = find_passwords(["Please open it with «winter sun» today, ref A77-x"], ["report_5521.zip"])
    assert found[:3] == ["winter sun", "report_5521", "5521"]
    assert "A77-x" in found


def test_there_are_few_and_none_is_long() -> None:
    found = find_passwords([f"password: a{i}" for i in range(500)] + ["pass " + "x" * 100_000], ["n"] * 100)
    assert len(found) <= CANDIDATES
    assert all(0 < len(each) <= LENGTH_LIMIT for each in found)
    many = find_passwords(["\n".join(f"password: a{i}" for i in range(500))])
    assert many[:2] == ["a0", "a1"]
    assert len(many) == CANDIDATES


def test_hostile_texts_cost_little() -> None:
    texts = [
        "password " * 8000,
        "pass\n" * 16_000,
        "pass" + " " * 65_000,
        "\"'" * 32_000,
        "<" * 65_000,
        "pass:=" * 20_000,
        "[" * 65_000,
    ]
    started = time.process_time()
    find_passwords(texts)
    assert time.process_time() - started < 2  # a twentieth of it here


@pytest.mark.parametrize("data", LOCKED)
def test_the_right_password_among_wrong_ones_opens(data: bytes) -> None:
    assert [(each.data, each.protected) for each in members(data)] == [(None, True)]
    assert [(each.data, each.protected) for each in members(data, "wrong", "warmer")] == [(None, True)]
    found = members(data, *(f"wrong{i}" for i in range(10)), PASSWORD)
    assert [(each.data, each.protected, each.secret, each.trouble) for each in found] == [(CONTENT, False, True, "")]


FILTERS = {
    "lzma2": None,
    "x86": [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA2}, {"id": py7zr.FILTER_CRYPTO_AES256_SHA256}],
    "deflate": [{"id": py7zr.FILTER_DEFLATE}, {"id": py7zr.FILTER_CRYPTO_AES256_SHA256}],
    "ppmd": [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 24}, {"id": py7zr.FILTER_CRYPTO_AES256_SHA256}],
}


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("hidden", [False, True])
def test_seven_zip_of_a_foreign_program(how: str, hidden: bool) -> None:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password="пароль", filters=FILTERS[how], header_encryption=hidden) as archive:
        archive.writestr(b"one" * 100, "a")
        archive.writestr(b"two" * 100, "b")
    data = out.getvalue()
    assert all(each.protected for each in members(data, "wrong"))
    found = members(data, "wrong", "пароль")
    assert [(each.name, each.data, each.secret) for each in found] == [
        ("a", b"one" * 100, True),
        ("b", b"two" * 100, True),
    ]
    step = max(1, len(data) // 30)
    for at in range(32, len(data), step):  # whatever it is, it is not clean
        changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        result = members(changed, "пароль")
        whole = [each.data for each in result] == [b"one" * 100, b"two" * 100]
        assert whole or any(each.trouble or each.protected for each in result), at


def test_trying_is_bounded_in_rounds() -> None:
    budget = Budget(ScanOptions(), math.inf)
    assert budget.may_derive(KEY_ROUNDS)
    assert not budget.may_derive(1)
    assert members(LOCKED[0], PASSWORD, budget=budget)[0].protected


def test_many_locked_members_are_not_all_tried() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for index in range(200):
            archive.writestr(str(index), b"x" * 20)
    data = bytearray(out.getvalue())
    position = 0
    while (position := data.find(b"PK\x03\x04", position)) >= 0:
        data[position + 6] |= 1
        position += 4
    position = 0
    while (position := data.find(b"PK\x01\x02", position)) >= 0:
        data[position + 8] |= 1
        position += 4
    started = time.process_time()
    found = members(bytes(data), *(f"p{i}" for i in range(50)))
    assert len(found) == 200
    assert all(each.protected for each in found)
    assert time.process_time() - started < 2
