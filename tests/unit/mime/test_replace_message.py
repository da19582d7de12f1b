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
    ],
)
def test_body_is_replaced_and_header_kept(content: bytes) -> None:
    result = b"".join(apply_splices(content, replace_message(content, TEXT)))
    mail = email.message_from_bytes(result)
    assert mail.get_payload(decode=True).replace(b"\n", b"").replace(b"\r", b"") == TEXT.strip()
    assert (mail["Subject"], mail["X-Kept"]) == ("a", "1")
    assert mail.get_content_type() == "text/plain"
    assert not mail.is_multipart()


def test_empty_content_becomes_the_text() -> None:
    mail = email.message_from_bytes(b"".join(apply_splices(b"", replace_message(b"", TEXT))))
    assert mail.get_payload(decode=True).strip() == TEXT.strip()
