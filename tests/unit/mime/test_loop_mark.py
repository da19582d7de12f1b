"""The mark of filtered mail: for this body, for some days, and by nobody else."""

import pytest

from gatepost.mime.loop_mark import LIFE_S, LOOPS_LIMIT, Marked, MessageDigest, build_mark, read_marks

SECRET = b"0123456789abcdef"
NOW = 1_800_000_000.0


def digest_of(*pieces: bytes) -> str:
    digest = MessageDigest()
    for piece in pieces:
        digest.update(piece)
    return digest.hex()


def test_line_ends_do_not_count() -> None:
    body = b"\none\n\n\ntwo\r three\n"
    digest = digest_of(body)
    assert digest_of(body.replace(b"\n", b"\r\n")) == digest
    assert digest_of(body + b"\n\n\r\n") == digest
    assert digest_of(*(bytes((each,)) for each in body.replace(b"\n", b"\r\n"))) == digest
    assert digest_of(body.replace(b"\n\n\n", b"\n\n")) != digest
    assert digest_of(b"\n" + body) != digest


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Type: text/html\r\nSubject: a\r\n b\r\nFrom: x\r\n",
        b"Content-Type: text/plain;\n charset=utf-7\nSubject: a\n b\nFrom: x\n",
        b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\nSubject: a b\nFrom: x\n",
        b"Content-Type: text/plain\nSubject: c\nFrom: x\n",
        b"Content-Type: text/plain\nSubject: a b\nFrom: y\n",
        b"Subject: a b\nFrom: x\nMIME-Version: 1.0\nContent-Type: text/plain\n",
        b"",
        b"X-A: b\n<p>another body</p>\nContent-Type: text/plain\nSubject: a b\nFrom: x\n",
        b"X-A: b\n \t\nX-B: another body\nContent-Type: text/plain\nSubject: a b\nFrom: x\n",
        b"X-A: b\r\rContent-Type: text/html\nContent-Type: text/plain\nSubject: a b\nFrom: x\n",
        b"Content-Type: text/plain\nSubject: a b\nFrom: x\nbegin 644 a.exe\n",
    ],
)
def test_the_same_body_under_another_header_is_another_message(header: bytes) -> None:
    marked = MessageDigest(b"Received: y\nContent-Type: text/plain\nSubject: a b\nFrom: x\n\n").hex()
    assert MessageDigest(header).hex() != marked


def test_what_the_server_does_to_a_header_does_not_count() -> None:
    marked = MessageDigest(b"X-A: b\nSUBJECT : a b\nContent-Type: text/plain;\n charset=x\n\n").hex()
    taken = b"Received: y\r\n by z\r\nSubject:a\r\n\tb\r\nContent-Type: text/plain; charset=x\r\n\r\n"
    assert MessageDigest(taken).hex() == marked


def test_a_mark_holds_for_its_body_and_its_time() -> None:
    digest, other = digest_of(b"a"), digest_of(b"b")
    mark = build_mark(SECRET, NOW, digest)
    assert read_marks([mark], SECRET, NOW, digest) is Marked.YES
    assert read_marks([mark], SECRET, NOW + LIFE_S, digest) is Marked.YES
    assert read_marks([mark], SECRET, NOW + LIFE_S + 1, digest) is Marked.NO
    assert read_marks([mark], SECRET, NOW - LIFE_S - 1, digest) is Marked.NO
    assert read_marks([mark], SECRET, NOW, other) is Marked.NO
    assert read_marks([mark], b"another secret!!", NOW, digest) is Marked.NO


@pytest.mark.parametrize("value", ["", "yes", "1-0-0-0", "1-zz-" + "0" * 32 + "-" + "0" * 64])
def test_what_is_no_mark(value: str) -> None:
    assert read_marks([value] * 9, SECRET, NOW, digest_of(b"")) is Marked.NO


def test_nobody_makes_one_of_another() -> None:
    digest = digest_of(b"a")
    mark = build_mark(SECRET, NOW, digest_of(b"b"))
    version, moment, body, seal = mark.split("-")
    assert read_marks([f"{version}-{moment}-{digest}-{seal}"], SECRET, NOW, digest) is Marked.NO
    later = f"{int(moment, 16) + 1:x}"
    assert read_marks([f"{version}-{later}-{body}-{seal}"] * 9, SECRET, NOW, digest) is Marked.NO


def test_a_body_that_is_changed_again_and_again() -> None:
    digest = digest_of(b"a")
    marks = [build_mark(SECRET, NOW, digest_of(b"%d" % number)) for number in range(LOOPS_LIMIT)]
    assert read_marks(marks[1:], SECRET, NOW, digest) is Marked.NO
    assert read_marks(marks, SECRET, NOW, digest) is Marked.LOOPS
    assert read_marks([*marks, build_mark(SECRET, NOW, digest)], SECRET, NOW, digest) is Marked.YES
