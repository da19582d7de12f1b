"""Delivery reports as senders get them: their form, when there is one and when there must be none."""

import email
import email.message
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.lanes import Lane, LaneGateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def home() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, home: Sink) -> Iterator[LaneGateway]:
    with LaneGateway(tmp_path_factory.mktemp("reports") / "gw", home.port) as gateway:
        yield gateway
        assert gateway.stop() == 0


def refuse(step: str, _argument: str, _sink: Sink) -> str | None:
    return "550 5.1.1 <nobody>: no such user" if step == "rcpt" else None


def report_to(home: Sink, sender: str) -> Mail:
    return wait_for(lambda: [mail for mail in home.mails if mail.recipients == [sender]], f"a report to {sender}")[0]


def parts_of(mail: Mail) -> list[email.message.Message]:
    message = email.message_from_bytes(mail.content)
    assert not message.defects
    payload = message.get_payload()
    assert isinstance(payload, list)
    return payload


def send_with_options(gateway: LaneGateway, lane: Lane, sender: str, mail: str = "", rcpt: str = "") -> str:
    with gateway.client() as client:
        assert client.docmd(f"MAIL FROM:<{sender}> {mail}".rstrip())[0] == 250
        assert client.docmd(f"RCPT TO:<{lane.address('nobody')}> {rcpt}".rstrip())[0] == 250
        code, text = client.data(plain("reported", "the body of it\r\n"))
    assert code == 250
    return text.decode().rpartition(" ")[2]


@pytest.mark.feature("F-DSN-02")
def test_failure_report_has_the_standard_form(gateway: LaneGateway, home: Sink) -> None:
    lane = gateway.lane()
    with lane.sink(refuse):
        queue_id = send_with_options(
            gateway, lane, "form@example.net", "ENVID=order+2B7", f"ORCPT=rfc822;orig@{lane.domain}"
        )
        mail = report_to(home, "form@example.net")
    assert mail.sender == ""
    message = email.message_from_bytes(mail.content)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["To"] == "<form@example.net>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == "<reported@example.net>"
    text, status, returned = parts_of(mail)
    assert text.get_content_type() == "text/plain"
    assert lane.address("nobody") in text.get_payload()
    per_message, per_recipient = status.get_payload()
    assert per_message["Reporting-MTA"] == "dns; gw.example.org"
    assert per_message["Original-Envelope-Id"] == "order+7"
    assert per_message["X-Gatepost-Queue-ID"] == queue_id
    assert per_recipient["Final-Recipient"] == f"rfc822; {lane.address('nobody')}"
    assert per_recipient["Original-Recipient"] == f"rfc822; orig@{lane.domain}"
    assert per_recipient["Action"] == "failed"
    assert per_recipient["Status"] == "5.1.1"
    assert per_recipient["Remote-MTA"] == f"dns; [{lane.host}]"
    assert per_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 <nobody>: no such user"
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "Subject: reported" in returned.get_payload()
    assert "the body of it" not in mail.content.decode()


@pytest.mark.feature("F-DSN-03")
def test_no_report_for_notify_never_and_for_the_null_sender(gateway: LaneGateway, home: Sink) -> None:
    lane = gateway.lane()
    before = gateway.counter("mta_dsn_generated")
    with lane.sink(refuse):
        never = send_with_options(gateway, lane, "never@example.net", rcpt="NOTIFY=NEVER")
        null = send_with_options(gateway, lane, "")
        success = send_with_options(gateway, lane, "success@example.net", rcpt="NOTIFY=SUCCESS")
        for queue_id in (never, null, success):
            wait_for(lambda each=queue_id: gateway.lines("status=failed", each), "the failure")
        # A later one that is reported shows that the earlier ones would have been here by now.
        send_with_options(gateway, lane, "always@example.net")
        report_to(home, "always@example.net")
    assert not [m for m in home.mails if m.recipients[0] in {"never@example.net", "success@example.net", ""}]
    assert not gateway.lines("GENERATED", f"srcid={never}") + gateway.lines("GENERATED", f"srcid={null}")
    wait_for(lambda: gateway.counter("mta_dsn_generated") == before + 1, "one report counted")


@pytest.mark.feature("F-DSN-05")
@pytest.mark.parametrize(
    ("entire", "ret", "whole"),
    [(False, "", False), (True, "", True), (True, "RET=HDRS", False), (False, "RET=FULL", True)],
)
def test_header_or_whole_original_by_option(tmp_path: Path, *, entire: bool, ret: str, whole: bool) -> None:
    option = {"[options]\n": f"[options]\ndsn_entire_message = {str(entire).lower()}\n"}
    with Sink() as home, LaneGateway(tmp_path / "gw", home.port, replace=option) as gateway:
        lane = gateway.lane()
        with lane.sink(refuse):
            send_with_options(gateway, lane, "whole@example.net", mail=ret)
            third = parts_of(report_to(home, "whole@example.net"))[2]
    assert third.get_content_type() == ("message/rfc822" if whole else "text/rfc822-headers")
    assert ("the body of it" in third.as_string()) is whole
    assert "Subject: reported" in third.as_string()


def test_returned_original_is_what_was_sent_on(gateway: LaneGateway, home: Sink) -> None:
    """A report must not carry malware back that was taken out on the way in."""
    lane = gateway.lane()
    with lane.sink(refuse), gateway.client() as client:
        assert client.docmd("MAIL FROM:<cured@example.net> RET=FULL")[0] == 250
        assert client.rcpt(lane.address())[0] == 250
        assert client.data(with_attachment(b"CURE-" + EICAR, "c.com"))[0] == 250
        third = parts_of(report_to(home, "cured@example.net"))[2]
    (original,) = third.get_payload()
    attachments = [part.get_payload(decode=True) for part in original.walk() if part.get_filename()]
    assert attachments == [b"CURED"]


def test_report_that_cannot_be_delivered_makes_no_report(gateway: LaneGateway) -> None:
    there, back = gateway.lane(), gateway.lane()
    before = gateway.counter("mta_dsn_generated")
    with there.sink(refuse), back.sink(refuse) as refusing:
        queue_id = gateway.send(plain("to and fro"), there.address(), sender=back.address("sender"))
        generated = wait_for(lambda: gateway.lines("GENERATED", f"srcid={queue_id}"), "the report")
        report_id = generated[0].partition("] ")[2].partition(":")[0]
        wait_for(lambda: gateway.lines("status=failed", report_id), "its failure")
        mails = [line for line in refusing.commands if line.startswith("MAIL")]
        assert [line.partition(" ")[2][:7] for line in mails] == ["FROM:<>"]
    wait_for(lambda: report_id not in {row["queue_id"] for row in gateway.queue()}, "it to be gone")
    assert gateway.counter("mta_dsn_generated") == before + 1


@pytest.mark.feature("F-DSN-04")
def test_relayed_report_on_request_from_peers_without_dsn(gateway: LaneGateway, home: Sink) -> None:
    knows, ignorant = gateway.lane(), gateway.lane()
    with knows.sink() as able, ignorant.sink(extensions=("PIPELINING",)) as unable:
        for lane, sender, wish in (
            (ignorant, "asked@example.net", "NOTIFY=SUCCESS"),
            (ignorant, "silent@example.net", ""),
            (knows, "passed-on@example.net", "NOTIFY=SUCCESS"),
        ):
            send_with_options(gateway, lane, sender, rcpt=wish)
        (_, status, _) = parts_of(report_to(home, "asked@example.net"))
        outcome = status.get_payload()[1]
        assert outcome["Action"] == "relayed"
        assert outcome["Status"].startswith("2.")
        wait_for(lambda: len(unable.mails) == 2 and able.mails, "all mails")
        wait_for(lambda: "NOTIFY=SUCCESS" in able.mails[0].rcpt_arguments[0], "the wish at a peer that keeps it")
    assert not [m for m in home.mails if m.recipients[0] in {"silent@example.net", "passed-on@example.net"}]


@pytest.mark.feature("F-DSN-04")
@pytest.mark.feature("F-DSN-06")
def test_relayed_report_always_by_option_with_the_text_of_the_template(tmp_path: Path) -> None:
    template = tmp_path / "dsn.txt"
    template.write_text("Edited by us: %DSN_ACTION% for \\<%DSN_RCPT%>\n")
    option = {"[options]\n": f'[options]\ndsn_on_relaying = true\ndsn_template = "{template}"\n'}
    with Sink() as home, LaneGateway(tmp_path / "gw", home.port, replace=option) as gateway:
        lane = gateway.lane()
        with lane.sink() as sink:
            before = gateway.counter("mta_dsn_generated")
            send_with_options(gateway, lane, "always@example.net")
            text, status, _ = parts_of(report_to(home, "always@example.net"))
            assert text.get_payload().startswith(f"Edited by us: relayed for <{lane.address('nobody')}>")
            assert status.get_payload()[1]["Action"] == "relayed"
            wait_for(lambda: gateway.counter("mta_dsn_generated") == before + 1, "one report counted")
            assert len(sink.mails) == 1
            template.write_text("Edited again: %DSN_RCPT%\n")
            assert gateway.command("reload").returncode == 0
            send_with_options(gateway, lane, "later@example.net")
            assert parts_of(report_to(home, "later@example.net"))[0].get_payload().startswith("Edited again: nobody@")


def test_an_own_text_is_said_from_the_next_report_on(gateway: LaneGateway, home: Sink) -> None:
    lane = gateway.lane()
    which = {"name": "dsn", "language": "en"}
    with lane.sink(refuse):
        digest = gateway.ask("texts.show", **which)["digest"]
        saved = gateway.ask("texts.save", **which, text="In our words: %DSN_RCPT%\n", digest=digest)
        send_with_options(gateway, lane, "own@example.net")
        assert parts_of(report_to(home, "own@example.net"))[0].get_payload().startswith("In our words: nobody@")
        gateway.ask("texts.reset", **which, digest=saved["digest"])
        send_with_options(gateway, lane, "shipped@example.net")
        assert "In our words" not in report_to(home, "shipped@example.net").content.decode()


def test_report_about_a_large_message_returns_all_of_it(gateway: LaneGateway, home: Sink) -> None:
    lane = gateway.lane()
    content = plain("large and back", size=3_000_000)
    with lane.sink(refuse):
        with gateway.client() as client:
            assert client.docmd("MAIL FROM:<large@example.net> RET=FULL")[0] == 250
            assert client.rcpt(lane.address())[0] == 250
            assert client.data(content)[0] == 250
        assert content in report_to(home, "large@example.net").content
