"""Passwords read off a mail: few, short, none twice, and the one a label names is among them."""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.passwords import CANDIDATES, find_passwords
from gatepost.antivirus.passwords import LENGTH_LIMIT as _LONGEST

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500


def execute(data: bytes) -> None:
    """Look for passwords in the halves of the input, and name one in front of it."""
    text = data.decode("utf-8", "replace")
    half = len(text) // 2
    for texts, names in (((text,), ()), ((text[:half], text[half:]), (text[:80],)), ((text * 40,), ())):
        found = find_passwords(texts, names)
        assert len(found) <= CANDIDATES
        assert len(set(found)) == len(found)
        assert all(0 < len(each) <= _LONGEST for each in found)
    assert "Secret17" in find_passwords((f"Password: Secret17\n{text}",))
    assert "two words" in find_passwords((f'the password is "two words"\n{text}',))


WORDS: Final = (
    b"password", b"Passwort: ", b" is ", b"pin", "\u043f\u0430\u0440\u043e\u043b\u044c".encode(), "密码".encode(), b'"', b"'", "«".encode(), "»".encode(), b": ", b"=", b"\n", b"<b>", b"</b>", b"&nbsp;",
    b"&quot;", b"1234", b"a1!b", b"the password to open it is ", b"   ", b"-",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield texts of several languages."""
    yield b"Hello,\r\nplease find the file. The password is: infected\r\n\r\nBye 2024\r\n"
    yield "\u0410\u0440\u0445\u0438\u0432 \u043f\u0440\u0438\u043b\u043e\u0436\u0435\u043d. \u041f\u0430\u0440\u043e\u043b\u044c: \u0442\u0435\u0441\u0442123\n\u043a\u043e\u0434\n  4711\n".encode()
    yield b"<p>Passwort:&nbsp;<b>geheim!1</b></p> 'quoted' [in brackets] \"a b\" kennwort lautet x = y"
    yield b"pass pass: pass = password - pin\n\n\n1234 5678 a1b2c3 "
