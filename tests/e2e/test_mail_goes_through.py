"""The main job with real processes: in over SMTP, inspected, treated, delivered."""

from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import wait_for

RELAYS = pytest.mark.parametrize("relays", [1, 3])


@RELAYS
@pytest.mark.feature("F-GRP-06")
def test_shipped_policy_delivers_only_clean_mail(tmp_path: Path, relays: int) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=relays) as gateway:
        clean = plain("clean")
        gateway.send(clean)
        infected = gateway.send(with_attachment(EICAR, "eicar.com"))
        nested = gateway.send(with_attachment(zipped(zipped(EICAR)), "a.zip"))
        wait_for(lambda: gateway.lines("BLOCKED", nested) and gateway.lines("BLOCKED", infected), "both blocked")
        wait_for(lambda: sink.mails, "the clean mail")
        assert sink.mails[0].without_trace() == clean
        assert 'status="infected"' in gateway.lines("SCANNED", nested)[0]
        assert gateway.stop() == 0
        assert len(sink.mails) == 1


def test_cured_attachment_replaces_the_infected_one(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        queue_id = gateway.send(with_attachment(b"CURE-" + EICAR, "c.com"))
        wait_for(lambda: sink.mails, "the cured mail")
        import email

        parts = [p for p in email.message_from_bytes(sink.mails[0].content).walk() if p.get_filename()]
        assert [p.get_payload(decode=True) for p in parts] == [b"CURED"]
        assert 'status="disinfected"' in gateway.lines("SCANNED", queue_id)[0]


@pytest.mark.feature("F-SMTP-13")
def test_received_field_by_option(tmp_path: Path) -> None:
    content = plain("trace")
    with Sink() as sink, Gateway(tmp_path / "with", sink.port) as gateway:
        queue_id = gateway.send(content)
        wait_for(lambda: sink.mails, "mail")
        trace = sink.mails[0].content.removesuffix(content).decode()
        assert trace.startswith(
            "Received: from client.example.net (unknown [127.0.0.1])\r\n\tby gw.example.org with ESMTP"
        )
        assert f"id {queue_id};" in trace
    with (
        Sink() as sink,
        Gateway(
            tmp_path / "without", sink.port, replace={"[options]\n": "[options]\nprepend_received = false\n"}
        ) as gateway,
    ):
        gateway.send(content)
        wait_for(lambda: sink.mails, "mail")
        assert sink.mails[0].content == content


@pytest.mark.feature("F-SMTP-05")
def test_eight_bit_body_is_identical_at_the_sink(tmp_path: Path) -> None:
    content = (
        plain("8bit", "\u00e4\u00f6\u00fc \u043f\u0440\u0438\u0432\u0435\u0442\r\n..\r\n.x\r\n")
        + bytes(range(128, 256))
        + b"\r\n"
    )
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        gateway.send(content, options=["BODY=8BITMIME"])
        wait_for(lambda: sink.mails, "mail")
        assert sink.mails[0].without_trace() == content
        assert "BODY=8BITMIME" in sink.mails[0].mail_arguments
