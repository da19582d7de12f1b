"""What is added to messages, end to end: disclaimers of groups, the scan field, and what signed mail gets of them."""

import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for

DKIM = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=k; h=from; bh=AAAA; b=BBBB\r\n"
SCAN_FIELD = re.compile(rb"^X-Anti-Virus: Gatepost \S+, bases: 20\d{6} #[1-9]\d*, check: \d{8} (\w+)\r\n", re.MULTILINE)
SIGNED = (
    b'From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b; micalg="sha-256";\r\n'
    b' protocol="application/pkcs7-signature"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsigned text\r\n--b\r\n'
    b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"AAAA\r\n--b--\r\n"
)
GROUPS = """
[[group]]
name = "english"
recipients = ["*@en.example.org"]
add_disclaimer = true
add_x_headers = true

[[group]]
name = "russian"
recipients = ["*@ru.example.org"]
add_disclaimer = true
text_language = "ru"

[[group]]
name = "unchecked"
recipients = ["*@unchecked.example.org"]
check = false
add_x_headers = true
add_disclaimer = true

[[group]]
name = "breaking"
recipients = ["*@breaking.example.org"]
add_x_headers = true
add_disclaimer = true
edit_signed = "edit"
block_message = []

[[group]]
name = "skipping"
recipients = ["*@skipping.example.org"]
add_x_headers = true
add_disclaimer = true
edit_signed = "skip"
"""
ENGLISH = "This message was examined by the mail gateway gw.example.org."
RUSSIAN = "Это письмо проверено почтовым шлюзом gw.example.org."


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("disclaimer") / "gw", sink.port, settings=GROUPS) as one:
        yield one


def arrived(gateway: Gateway, sink: Sink, content: bytes, *recipients: str) -> list[Mail]:
    """What each of the recipients got, in their order."""
    queue_id = gateway.send(content, list(recipients))
    found: list[Mail] = []

    def all_there() -> bool:
        ours = [mail for mail in list(sink.mails) if queue_id.encode() in mail.content]
        found[:] = [mail for each in recipients for mail in ours if each in mail.recipients]
        return len(found) == len(recipients)

    wait_for(all_there, "the copies")
    return found


def read(mail: Mail) -> EmailMessage:
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(mail: Mail, kind: str = "plain") -> str:
    body = read(mail).get_body((kind,))
    assert body is not None
    return body.get_content().replace("\r\n", "\n")


@pytest.mark.feature("F-AV-23")
def test_the_disclaimer_ends_the_body_and_attachments_are_intact(gateway: Gateway, sink: Sink) -> None:
    data = bytes(range(256)) * 40
    (mail,) = arrived(gateway, sink, with_attachment(data, "data.bin", "with text"), "a@en.example.org")
    assert text_of(mail).startswith("See the file.\n")
    assert text_of(mail).rstrip().endswith(f"--\n{ENGLISH}")
    (attachment,) = read(mail).iter_attachments()
    assert attachment.get_payload(decode=True) == data


@pytest.mark.feature("F-GRP-09")
def test_groups_have_texts_of_their_own(gateway: Gateway, sink: Sink) -> None:
    english, russian, nothing = arrived(
        gateway, sink, plain("groups"), "a@en.example.org", "a@ru.example.org", "a@example.org"
    )
    assert ENGLISH in text_of(english)
    assert RUSSIAN in text_of(russian)
    assert text_of(russian).startswith("hello\n")
    assert nothing.without_trace() == plain("groups")


def test_a_large_message_in_a_file(gateway: Gateway, sink: Sink) -> None:
    (mail,) = arrived(gateway, sink, plain("large", size=700_000), "a@en.example.org")
    assert text_of(mail).rstrip().endswith(ENGLISH)
    assert SCAN_FIELD.search(mail.header + b"\r\n")


@pytest.mark.feature("F-AV-22")
def test_the_scan_field_by_option(gateway: Gateway, sink: Sink) -> None:
    forged = b"X-Anti-Virus: Other 1.0, check: 20200101 clean\r\n" + plain("scan field")
    checked, unchecked, without = arrived(
        gateway, sink, forged, "a@en.example.org", "a@unchecked.example.org", "a@example.org"
    )
    for mail, status in ((checked, b"clean"), (unchecked, b"not_checked")):
        assert [found[1] for found in SCAN_FIELD.finditer(mail.content)] == [status]
        assert b"\r\nX-Foreign-X-Anti-Virus: Other 1.0" in mail.content
        assert read(mail).get_all("X-Anti-Virus") is not None
        assert len(read(mail).get_all("X-Anti-Virus") or ()) == 1
    assert without.without_trace() == forged


def test_a_group_that_does_not_scan_adds_its_disclaimer(gateway: Gateway, sink: Sink) -> None:
    (mail,) = arrived(gateway, sink, with_attachment(EICAR, "e.com", "passes"), "a@unchecked.example.org")
    assert text_of(mail).rstrip().endswith(ENGLISH)
    (attachment,) = read(mail).iter_attachments()
    assert attachment.get_payload(decode=True) == EICAR


def test_dkim_signed_mail_by_setting(gateway: Gateway, sink: Sink) -> None:
    content = DKIM + plain("signed by dkim")
    header, edited, skipped = arrived(
        gateway, sink, content, "a@en.example.org", "a@breaking.example.org", "a@skipping.example.org"
    )
    assert SCAN_FIELD.search(header.content)
    assert header.content.endswith(content)
    assert ENGLISH in text_of(edited)
    assert skipped.without_trace() == content
    (line,) = [line for line in gateway.lines("breaks=dkim") if "group=<breaking>" in line]
    assert 'status="clean"' in line


@pytest.mark.parametrize("to", ["a@en.example.org", "a@breaking.example.org"])
def test_signed_content_stays_as_it_was(gateway: Gateway, sink: Sink, to: str) -> None:
    (mail,) = arrived(gateway, sink, SIGNED, to)
    assert mail.content.endswith(SIGNED)
    assert SCAN_FIELD.search(mail.content)


def test_malware_goes_out_of_signed_mail_and_the_text_says_what_that_means(gateway: Gateway, sink: Sink) -> None:
    content = SIGNED.replace(b"signed text", EICAR)
    (mail,) = arrived(gateway, sink, content, "a@breaking.example.org")
    assert EICAR not in mail.content
    assert "signed or encrypted with S/MIME" in mail.content.decode().replace("\r\n", " ")
    assert [line for line in gateway.lines("breaks=smime") if "group=<breaking>" in line]
