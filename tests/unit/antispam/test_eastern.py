"""Eastern encodings: which languages a mail uses, by charset and by letters."""

import pytest

from gatepost.antispam.check import Notes
from gatepost.antispam.eastern import EasternCheck, find_scripts
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions


def languages(content: bytes) -> set[str]:
    notes = Notes()
    EasternCheck().inspect(build_view(parse(content), SpamOptions()), notes)
    assert notes.signs == []
    return notes.eastern


CASES = [
    (b"Content-Type: text/plain; charset=GB2312\r\n\r\nplain", {"chinese"}),
    (b'Content-Type: text/plain; charset="Big5"\r\n\r\nplain', {"chinese"}),
    (b"Content-Type: text/plain; charset=euc-kr\r\n\r\nplain", {"korean"}),
    (b"Content-Type: text/plain; charset=TIS-620\r\n\r\nplain", {"thai"}),
    (b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\nplain", {"japanese"}),
    (b"Subject: =?ks_c_5601-1987?B?vsiz5w==?=\r\n\r\nplain", {"korean"}),
    (b"From: =?Shift_JIS*ja?B?g2c=?= <a@b.example>\r\n\r\nplain", {"japanese"}),
    ("Content-Type: text/plain; charset=utf-8\r\n\r\n안녕하세요 여러분".encode(), {"korean"}),
    ("Content-Type: text/plain; charset=utf-8\r\n\r\nสวัสดีครับ".encode(), {"thai"}),
    ("Content-Type: text/plain; charset=utf-8\r\n\r\n你好朋友们".encode(), {"chinese"}),
    ("Content-Type: text/plain; charset=utf-8\r\n\r\n日本語のメールです".encode(), {"japanese"}),
    ("Subject: 请查收发票\r\n\r\nplain".encode(), {"chinese"}),
    (b"Content-Type: text/plain; charset=utf-8\r\n\r\nplain", set()),
    ("Content-Type: text/plain; charset=utf-8\r\n\r\nżółć, grüße, שלום, нет".encode(), set()),
    (
        (
            "Content-Type: text/plain; charset=utf-8\r\n\r\n" + "Meeting with our colleague 王小明 tomorrow. " * 9
        ).encode(),
        {"chinese"},
    ),
    (("Content-Type: text/plain; charset=utf-8\r\n\r\n" + "our friends in the city " * 9 + "王小明").encode(), set()),
]


@pytest.mark.parametrize(("content", "expected"), CASES)
def test_languages_of_a_mail(content, expected):
    assert languages(content) == expected


def test_han_letters_beside_kana_are_japanese():
    assert find_scripts("会議の資料を送付します") == {"japanese"}
