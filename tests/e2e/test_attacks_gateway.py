"""Attacks on a running gateway: what a sender of malware, or somebody with a hand on its files, tries."""

import base64
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import wait_for

POLICY = """
[[group]]
name = "open"
recipients = ["*@open.example.org"]
check = false
add_x_headers = true

[[group]]
name = "strict"
recipients = ["*@strict.example.org"]
add_x_headers = true

[[group]]
name = "exempting"
recipients = ["*@exempting.example.org"]
include_by_name = ["*.txt"]
action_filtered = "pass"
block_message = ["infected", "suspicious", "protected", "error"]

[[group]]
name = "keeping"
recipients = ["*@keeping.example.org"]
block_message = []
action_infected = "placeholder"
save_in_qb = ["infected"]
quarantine_path = "{state}/kept"
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("attacks") / "gw"
    changes = {'"allow from any to @protected"': '"allow from any to *@*.example.org", "allow from any to @protected"'}
    with Gateway(state, sink.port, replace=changes, settings=POLICY.replace("{state}", str(state))) as gateway:
        yield gateway


def delivered(sink: Sink, recipient: str, subject: str) -> bytes:
    def look() -> list[bytes]:
        return [
            mail.content
            for mail in list(sink.mails)
            if recipient in mail.recipients and f"Subject: {subject}\r\n".encode() in mail.content
        ]

    return wait_for(look, f"{subject!r} to {recipient}")[0]


def blocked(gateway: Gateway, recipient: str) -> None:
    wait_for(lambda: gateway.lines(f"BLOCKED, rcpt=<{recipient}>"), f"the mail to {recipient} to be blocked")


def holds(content: bytes, data: bytes) -> bool:
    return base64.b64encode(data)[:60] in content.replace(b"\r\n", b"")


def test_a_group_that_does_not_check_opens_no_door_for_others(gateway: Gateway, sink: Sink) -> None:
    """One message to both, twice: what one group lets through is never remembered as clean for the other."""
    for number in range(2):
        subject = f"both {number}"
        recipients = ["a@open.example.org", f"b{number}@strict.example.org"]
        gateway.send(with_attachment(EICAR, "x.com", subject), recipients)
        content = delivered(sink, "a@open.example.org", subject)
        assert holds(content, EICAR)
        assert b"not_checked\r\n" in content
        blocked(gateway, recipients[1])
    assert not [mail for mail in sink.mails if recipients[1] in mail.recipients]


def test_what_one_group_exempts_is_scanned_for_the_other(gateway: Gateway, sink: Sink) -> None:
    recipients = ["a@exempting.example.org", "c@strict.example.org"]
    gateway.send(with_attachment(EICAR, "x.txt", "exempt"), recipients)
    assert holds(delivered(sink, "a@exempting.example.org", "exempt"), EICAR)
    blocked(gateway, recipients[1])


def test_a_second_name_exempts_nothing(gateway: Gateway) -> None:
    content = with_attachment(EICAR, "x.txt", "two names")
    content = content.replace(
        b"Content-Type: application/octet-stream", b'Content-Type: application/x-dosexec; name="x.exe"'
    )
    assert b"x.exe" in content
    gateway.send(content, "two@exempting.example.org")
    blocked(gateway, "two@exempting.example.org")


def test_a_page_saved_as_mail_and_an_archive_with_a_lying_end_are_blocked(gateway: Gateway) -> None:
    archive = zipped(EICAR, "x.com")
    directory, end = archive.index(b"PK\1\2"), archive.rindex(b"PK\5\6")
    front = b"#!/bin/sh\n"
    record = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, end - directory, len(front) + directory, 4)
    lying = front + archive[:end] + record + b"PK\5\6"
    page = with_attachment(archive, "x.zip").replace(b"See the", b"<html>See the")
    for count, (data, name) in enumerate(((lying, "x.sh"), (page, "page.doc"))):
        gateway.send(with_attachment(data, name), f"hidden{count}@strict.example.org")
        blocked(gateway, f"hidden{count}@strict.example.org")


FORGED = ["X-Anti-Virus: clean", "x-anti-VIRUS : clean", "X-Anti-Virus:\r\n clean"]


@pytest.mark.parametrize("field", FORGED)
def test_a_forged_scan_field_does_not_look_like_ours(gateway: Gateway, sink: Sink, field: str) -> None:
    subject = f"forged {FORGED.index(field)}"
    gateway.send(field.encode() + b"\r\n" + plain(subject), "a@open.example.org")
    header = delivered(sink, "a@open.example.org", subject).partition(b"\r\n\r\n")[0]
    fields = [line for line in re.split(rb"[\r\n]+", header) if line.lower().startswith(b"x-anti-virus")]
    assert len(fields) == 1
    assert fields[0].endswith(b"not_checked")


def test_a_store_that_cannot_be_written_loses_no_mail(gateway: Gateway, sink: Sink, tmp_path: Path) -> None:
    kept = gateway.state / "kept"
    kept.write_bytes(b"not a directory")
    queue_id = gateway.send(with_attachment(EICAR, "x.com", "kept"), "k@keeping.example.org")
    wait_for(lambda: [row for row in gateway.queue() if row["queue_id"] == queue_id], "it to wait")
    wait_for(lambda: [line for line in gateway.log().splitlines() if str(kept) in line], "the reason in the log")
    assert not [mail for mail in sink.mails if "k@keeping.example.org" in mail.recipients]
    kept.unlink()
    content = delivered(sink, "k@keeping.example.org", "kept")
    assert not holds(content, EICAR)
    assert list(kept.rglob("*.item"))
