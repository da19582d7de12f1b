"""A whole body that nobody could read gives way to a text; the header survives."""

import email

import pytest

from gatepost.mime.edit import apply_splices, replace_message

TEXT = "Nicht gepr\u00fcft.\r\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: a\r\nContent-Type: multipart/mixed;\r\n boundary=x\r\nX-Kept: 1\r\n\r\n--x\r\n\r\nbody\r\n--x--\r\n",
        b"Subject: a\r\nX-Kept: 1\r\ncontent-transfer-encoding : base64\r\n\r\n",
        b"Subject: a\r\nX-Kept: 1\r\n",
        b"Subject: a\r\nX-Kept: 1",
        b"Subject: a\nContent-Type: multipart/mixed;\n boundary=x\nX-Kept: 1\n\n--x\n\nbody\n--x--\n",
        b"From a Mon\r\nSubject: a\r\nno field\r\n goes on\r\nX-Kept: 1\r\nbegin 644 x\r\n\r\nbody\r\n",
        b"X-Broken: a\r\r\rbody\r\nSubject: a\r\nX-Kept: 1\r\nContent-Type: multipart/mixed; boundary=x",
    ],
)
def test_body_is_replaced_and_header_kept(content: bytes) -> None:
    result = b"".join(apply_splices(content, replace_message(content, TEXT)))
    mail = email.message_from_bytes(result)
    assert mail.get_payload(decode=True).replace(b"\n", b"").replace(b"\r", b"") == TEXT.strip()
    assert (mail["Subject"], mail["X-Kept"]) == ("a", "1")
    assert mail.get_content_type() == "text/plain"
    assert not mail.is_multipart()


@pytest.mark.parametrize(
    "content",
    [
        b"\r\nEVIL\r\n\r\nEVIL\r\n",
        b"\nEVIL\n\nEVIL\n",
        b"EVIL\r\nEVIL",
        b"From: a\r\nEVIL\r\nbegin 644 a\r\nEVIL\r\nend\r\n\r\n",
        b"From: a\n\nEVIL\r\n\r\nEVIL",
        b"From: a\r\n \r\n EVIL\r\n\r\n",
        b"From: a\r\n--x: EVIL\r\n\r\nEVIL\r\n",
        b"From: a\r\r\n\rEVIL\r\n\r\nEVIL",
        b"From: a\rContent-Type: text/html\r\rEVIL\r\n\r\nEVIL",
        b"X: " + b"x" * 1024 * 1024 + b"\r\nEVIL: a\r\nEVIL\r\n\r\nEVIL",
    ],
)
def test_nothing_stays_that_anybody_takes_for_a_body(content: bytes) -> None:
    result = b"".join(apply_splices(content, replace_message(content, TEXT)))
    assert b"EVIL" not in result
    mail = email.message_from_bytes(result)
    assert mail.get_payload(decode=True).strip() == TEXT.strip()
    assert not mail.defects


@pytest.mark.parametrize("line", [b"a\r\n", b"a:b\r\n", b"a:b\r\nc\r\n", b"a:\r\n\t", b"\r", b"content-a:\r\n b\r\n"])
def test_a_large_header_of_anything_is_looked_through_in_linear_time(line: bytes) -> None:
    content = line * (2 * 1024 * 1024 // len(line))
    result = b"".join(apply_splices(content, replace_message(content, TEXT)))
    assert len(result) < 1024 * 1024 + 200


def test_empty_content_becomes_the_text() -> None:
    mail = email.message_from_bytes(b"".join(apply_splices(b"", replace_message(b"", TEXT))))
    assert mail.get_payload(decode=True).strip() == TEXT.strip()
