"""From 8-bit to 7-bit: what is re-encoded, how, what stands in the way, and that every body comes back the same."""

import email
import email.policy
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.mime.decode import decode_body
from gatepost.mime.edit import apply_splices
from gatepost.mime.part import PartKind
from gatepost.mime.structure import parse
from gatepost.mime.transfer import Obstacle, SevenBitPlan, is_seven_bit, plan_seven_bit

SHARED = Path(os.environ.get("GATEPOST_SHARED") or Path(__file__).resolve().parents[4] / "shared")


def converted(content):
    plan = plan_seven_bit(content)
    assert plan.obstacle is None
    return b"".join(apply_splices(content, plan.splices))


def bodies(content):
    return [decode_body(holder.content, part).data for holder, part in parse(content).leaves() if part.kind is PartKind.PART]  # fmt: skip


def message(*lines):
    return b"\r\n".join(lines) + b"\r\n"


LATIN = "Grüße aus Köln".encode("latin-1")


def test_text_becomes_quoted_printable_and_says_so():
    content = message(
        b"Subject: s",
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain; charset=iso-8859-1",
        b"Content-Transfer-Encoding: 8bit",
        b"",
        LATIN,
    )
    assert converted(content) == message(
        b"Subject: s",
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain; charset=iso-8859-1",
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        b"Gr=FC=DFe aus K=F6ln",
    )


def test_fields_that_are_missing_are_added():
    content = message(b"Subject: s", b"", LATIN)
    assert converted(content) == message(
        b"Subject: s",
        b"MIME-Version: 1.0",
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        b"Gr=FC=DFe aus K=F6ln",
    )
    assert converted(b"\r\n" + LATIN).startswith(
        b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    )


def test_what_is_no_text_becomes_base64():
    content = message(b"Content-Type: image/png", b"Content-Transfer-Encoding: binary", b"MIME-Version: 1.0", b"", b"\x89PNG" * 40)  # fmt: skip
    out = converted(content)
    assert b"Content-Transfer-Encoding: base64\r\n" in out
    assert bodies(out) == [b"\x89PNG" * 40 + b"\r\n"]
    assert max(len(line) for line in out.split(b"\r\n")) == 76


def test_no_line_is_added_at_the_end_of_a_part():
    assert converted(multipart(b"multipart/mixed", b"Content-Type: image/png\r\n\r\n\xfc")).endswith(
        b"\r\n\r\n/A==\r\n--b--\r\n"
    )


@pytest.mark.parametrize("body", [b"nul\0 \xfc\r\n", b"bare\n\xfc\r\n", b"bare\r\xfc\r\n"])
def test_text_whose_lines_are_no_lines_becomes_base64(body):
    content = b"Content-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\n" + body
    out = converted(content)
    assert b"Content-Transfer-Encoding: base64\r\n" in out
    assert bodies(out) == [body]


MIXED = message(
    b"MIME-Version: 1.0",
    b"Content-Type: multipart/mixed; boundary=b",
    b"Content-Transfer-Encoding: 8bit",
    b"",
    b"preamble",
    b"--b",
    b"Content-Type: text/plain",
    b"Content-Transfer-Encoding: 8bit",
    b"",
    b"plain ASCII",
    b"--b",
    b"",
    LATIN,
    b"--b",
    b"Content-Type: message/rfc822",
    b"Content-Transfer-Encoding: 8bit",
    b"",
    b"Subject: inner",
    b"",
    LATIN,
    b"--b--",
)


def test_only_parts_that_need_it_change_and_what_holds_them():
    assert converted(MIXED) == message(
        b"MIME-Version: 1.0",
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Transfer-Encoding: 7bit",
        b"",
        b"preamble",
        b"--b",
        b"Content-Type: text/plain",
        b"Content-Transfer-Encoding: 8bit",
        b"",
        b"plain ASCII",
        b"--b",
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        b"Gr=FC=DFe aus K=F6ln",
        b"--b",
        b"Content-Type: message/rfc822",
        b"Content-Transfer-Encoding: 7bit",
        b"",
        b"Subject: inner",
        b"MIME-Version: 1.0",
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        b"Gr=FC=DFe aus K=F6ln",
        b"--b--",
    )


def test_what_is_seven_bit_already_needs_nothing():
    for content in (b"", b"Subject: s\r\n\r\ntext\r\n", message(b"Content-Transfer-Encoding: base64", b"", b"AAAA")):
        assert plan_seven_bit(content) == SevenBitPlan()


def test_binary_content_without_a_byte_above_127_is_encoded_too():
    head = b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\r\n"
    for body in (b"a\0b\r\n", b"a\nb\r\n", b"x" * 999 + b"\r\n"):
        assert bodies(converted(head + body)) == [body]
    assert plan_seven_bit(head + b"x" * 998 + b"\r\n") == SevenBitPlan()


@pytest.mark.parametrize("raw", [b"", b"text", b"a\r\nb\r\n", b"x" * 998, b"\x7f\t\x0b"])
def test_seven_bit_data(raw):
    assert is_seven_bit(raw)


@pytest.mark.parametrize("raw", [b"\x80", b"\0", b"a\n", b"a\r", b"x" * 999, b"a\r\n" + b"x" * 999 + b"\r\n"])
def test_no_seven_bit_data(raw):
    assert not is_seven_bit(raw)


def multipart(content_type, *parts, head=b""):
    lines = [b"MIME-Version: 1.0", b"Content-Type: " + content_type + b"; boundary=b", *head.splitlines(), b""]
    for part in parts:
        lines += [b"--b", part]
    return message(*lines, b"--b--")


@pytest.mark.parametrize(
    ("content", "obstacle"),
    [
        (multipart(b"multipart/signed", b"\r\n" + LATIN, b"Content-Type: a/signature\r\n\r\nx"), Obstacle.SIGNED),
        (message(b"Content-Type: application/pkcs7-mime", b"", b"\x80\x81"), Obstacle.SIGNED),
        (message(b"DKIM-Signature: v=1; d=example.com", b"", LATIN), Obstacle.SIGNATURE_FIELD),
        (message(b"ARC-Message-Signature: i=1", b"", LATIN), Obstacle.SIGNATURE_FIELD),
        (message(b"Content-Type: message/partial; id=x; number=1", b"", LATIN), Obstacle.PARTIAL),
        (message(b"Content-Type: message/delivery-status", b"", LATIN), Obstacle.COMPOSITE),
        (message(b"Subject: " + LATIN, b"", b"text"), Obstacle.OUTSIDE),
        (message(b"Subject: " + LATIN, b"", LATIN), Obstacle.OUTSIDE),
        (message(b"Subject: nul\0", b"", b"text"), Obstacle.OUTSIDE),
        (multipart(b"multipart/mixed", b"X-Name: " + LATIN + b"\r\n\r\ntext"), Obstacle.OUTSIDE),
        (multipart(b"multipart/mixed", b"\r\n" + LATIN).replace(b"--b\r\n", LATIN + b"\r\n--b\r\n", 1), Obstacle.OUTSIDE),
        (multipart(b"multipart/mixed", b"\r\n" + LATIN) + LATIN, Obstacle.OUTSIDE),
        (LATIN, Obstacle.AMBIGUOUS),
        (message(b"Content-Type: multipart/mixed", b"", LATIN), Obstacle.AMBIGUOUS),
        (message(b"Content-Transfer-Encoding: base64", b"", b"AAAA\xfc"), Obstacle.AMBIGUOUS),
        (message(b"Content-Transfer-Encoding: x-odd", b"", LATIN), Obstacle.AMBIGUOUS),
        (message(b"Content-Transfer-Encoding: 8bit", b"Content-Transfer-Encoding: 7bit", b"", LATIN), Obstacle.AMBIGUOUS),
        (multipart(b"multipart/mixed", b"\r\n" + LATIN, b"\r\n--bb\r\nx"), Obstacle.AMBIGUOUS),
    ],
)  # fmt: skip
def test_obstacles(content, obstacle):
    assert plan_seven_bit(content) == SevenBitPlan(obstacle=obstacle)


def test_a_signed_part_that_stays_as_it_is_is_no_obstacle():
    signed = multipart(b"multipart/signed", b"\r\nASCII", b"Content-Type: a/signature\r\n\r\nx").replace(b"--b", b"--c")
    content = multipart(b"multipart/mixed", b"\r\n" + LATIN, signed.replace(b"boundary=b", b"boundary=c"))
    out = converted(content)
    assert signed.replace(b"boundary=b", b"boundary=c") in out
    assert bodies(out) == bodies(content)


def test_soft_line_break_makes_no_delimiter():
    text = b"\xfc" + b"x" * 72 + b"--b--"  # quoted-printable would break in front of the dashes
    content = multipart(b"multipart/mixed", b"\r\n" + text, b"\r\nsecond")
    out = converted(content)
    assert bodies(out) == [text, b"second"]
    assert out.count(b"\r\n--b") == content.count(b"\r\n--b")


def test_headers_of_what_holds_many_parts_are_changed_once():
    wide = multipart(b"multipart/mixed", *[b"\r\n\xfc"] * 1000)
    deep = b"Content-Type: message/rfc822\r\n\r\n" * 50 + wide
    plan = plan_seven_bit(deep)
    assert len(plan.splices) == 50 + 2 * 1000
    assert bodies(b"".join(apply_splices(deep, plan.splices))) == [b"\xfc"] * 1000


TYPES = st.sampled_from([b"text/plain", b"text/html; charset=utf-8", b"image/png", b"application/octet-stream"])
LABELS = st.sampled_from([b"", b"Content-Transfer-Encoding: 8bit\r\n", b"Content-Transfer-Encoding:\r\n BINARY\r\n"])
BODIES = st.lists(
    st.sampled_from([b"\xfc", b" ", b"\t", b"=", b"--", b"-", b".", b"From ", b"\r\n", b"\r\n.\r\n", b"\n", b"\r", b"\0", b"x" * 30, b"y" * 75, b"--x--"])
    | st.binary(max_size=20),
    max_size=30,
).map(b"".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(st.tuples(TYPES, LABELS, BODIES), min_size=1, max_size=4), nested=st.booleans())
def test_every_body_comes_back_the_same(parts, nested):
    boundary = b"=_boundary_"
    head = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n'
    pieces = [b"Content-Type: " + kind + b"\r\n" + label + b"\r\n" + body for kind, label, body in parts]
    if nested:
        pieces[0] = b"Content-Type: message/rfc822\r\n\r\nMIME-Version: 1.0\r\n" + pieces[0]
    content = (
        head + b"".join(b"--" + boundary + b"\r\n" + piece + b"\r\n" for piece in pieces) + b"--" + boundary + b"--\r\n"
    )
    out = converted(content)
    assert out.isascii()
    assert b"\0" not in out
    assert bodies(out) == bodies(content) == [body for _, _, body in parts]
    assert plan_seven_bit(out) == SevenBitPlan()
    leaves = [
        leaf for leaf in email.message_from_bytes(out, policy=email.policy.default).walk() if not leaf.is_multipart()
    ]
    changed = [leaf for leaf in leaves if leaf["Content-Transfer-Encoding"] in {"base64", "quoted-printable"}]
    expected = [body for _, _, body in parts if not is_seven_bit(body)]
    assert [leaf.get_payload(decode=True) for leaf in changed] == expected
    for splice in plan_seven_bit(content).splices:
        assert all(len(line) <= 76 for line in splice.data.split(b"\r\n"))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | BODIES)
def test_any_content_has_a_plan(content):
    plan = plan_seven_bit(content)
    assert (plan.obstacle is None) or plan.splices == ()
    if plan.splices:
        out = b"".join(apply_splices(content, plan.splices))
        assert out.isascii()
        assert bodies(out) == bodies(content)


@pytest.mark.parametrize("archive", ["mime/mime-tests", "spam/inbox-2023-2025", "spam/spamassassin-2002"])
def test_mail_of_the_corpora_comes_back_the_same(archive):
    path = SHARED / "corpora" / f"{archive}.tar.gz"
    if not path.exists():
        pytest.skip(f"needs corpora/{archive}.tar.gz of the shared test material (set GATEPOST_SHARED)")
    seen = 0
    with tarfile.open(path) as archived:
        for member in archived:
            stream = archived.extractfile(member) if member.isfile() and member.size < 1_000_000 else None
            raw = b"" if stream is None else stream.read()
            if raw.isascii():
                continue
            content = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            plan = plan_seven_bit(content)
            if plan.obstacle is not None:
                assert plan.splices == ()
                continue
            seen += 1
            out = b"".join(apply_splices(content, plan.splices))
            assert out.isascii(), member.name
            assert bodies(out) == bodies(content), member.name
            assert all(len(line) <= 76 for splice in plan.splices for line in splice.data.split(b"\r\n")), member.name
    assert seen > 0
