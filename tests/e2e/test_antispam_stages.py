"""Both stages on one mail, their order by preset, and the content checks at work on a gateway: GTUBE, levels, words."""

import email
import email.message
import email.utils
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*" + b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + b"*C.34X"
KOREAN = (
    "From: <sender@example.net>\r\nTo: <user@example.org>\r\nSubject: {subject}\r\n"
    "Date: {date}\r\nMessage-ID: <{subject}@example.net>\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=euc-kr\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
)
SETTINGS = """
[antispam]
preset = "recommended"

[[group]]
name = "blocking"
recipients = ["*@block.example.org"]
action_spam = ["block"]

[[group]]
name = "suspicious"
recipients = ["*@suspicious.example.org"]
eastern_korean = "suspicious"

[[group]]
name = "minimum"
recipients = ["*@minimum.example.org"]
eastern_korean = "suspicious"
spam_level = "minimum"

[[group]]
name = "sure"
recipients = ["*@sure.example.org"]
eastern_korean = "suspicious"
assign_probable_spam = false

[[group]]
name = "prudish"
recipients = ["*@prudish.example.org"]
mark_obscene = true
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    replace = {
        'protected_domains = ["example.org"]': 'protected_domains = ["example.org", "*.example.org"]',
        "server_max_filters = 0": "server_max_filters = 2",
    }
    with Gateway(
        tmp_path_factory.mktemp("stages") / "gw",
        sink.port,
        settings=SETTINGS,
        replace=replace,
        antispam=True,
        spam_fields=True,
    ) as one:
        yield one


def arrived(sink: Sink, subject: str, recipient: str = "") -> email.message.Message:
    def look() -> list[email.message.Message]:
        mails = [mail for mail in list(sink.mails) if not recipient or recipient in mail.recipients]
        return [each for mail in mails if subject in str((each := email.message_from_bytes(mail.content))["Subject"])]

    return wait_for(look, f"mail {subject!r}")[0]


def stages(gateway: Gateway, queue_id: str) -> list[str]:
    """The lines of both stages in the log, in their order, each with its status."""

    def look() -> list[str]:
        lines = [line for line in gateway.lines(f"{queue_id}:") if "SCANNED" in line or "SPAMCHECK" in line]
        return lines if len(lines) == 2 else []

    return [
        f"{line.split(': ')[1].split(',')[0]} {line.partition('status=')[2].split(chr(34))[1]}"
        for line in wait_for(look, "both stages in the log")
    ]


@pytest.mark.feature("F-AS-24")
def test_gtube_is_spam_at_the_default_level(gateway: Gateway, sink: Sink) -> None:
    gateway.send(plain("test of gtube", GTUBE.decode() + "\r\n"))
    found = arrived(sink, "test of gtube")
    assert found["Subject"] == "[!! SPAM] test of gtube"
    assert found["X-SpamTest-Status"] == "SPAM"
    assert found["X-SpamTest-Rate"] == "100"
    queue_id = gateway.send(plain("gtube for the others", GTUBE.decode() + "\r\n"), "user@block.example.org")
    wait_for(lambda: gateway.lines("BLOCKED", queue_id), "the action of the group")


@pytest.mark.feature("F-ARCH-04")
def test_spam_with_malware_shows_both_verdicts(gateway: Gateway) -> None:
    content = with_attachment(EICAR, subject="both").replace(b"See the file.", GTUBE)
    assert stages(gateway, gateway.send(content)) == ["SPAMCHECK spam", "SCANNED infected"]


@pytest.mark.feature("F-AS-21")
@pytest.mark.feature("F-ASR-02")
@pytest.mark.feature("F-ASR-03")
def test_a_borderline_mail_by_group(gateway: Gateway, sink: Sink) -> None:
    """A Korean mail, where that is suspicious, is just about Probable Spam at the standard level."""
    content = KOREAN.format(
        subject="korean", date=email.utils.formatdate()
    ).encode() + "안녕하세요 회의는 내일입니다\r\n".encode("euc-kr")
    expected = {
        "user@example.org": "not_detected",
        "user@suspicious.example.org": "probable_spam",
        "user@minimum.example.org": "not_detected",
        "user@sure.example.org": "not_detected",
    }
    gateway.send(content, list(expected))
    found = {each: arrived(sink, "korean", each)["X-SpamTest-Status-Extended"] for each in expected}
    assert found == expected


@pytest.mark.feature("F-AS-22")
def test_obscene_words_are_flagged_in_header_and_subject(gateway: Gateway, sink: Sink) -> None:
    for language, words in (("english", "Fuck you, you motherfucking cunt."), ("russian", "Иди на хуй, блядь ебаная.")):
        content = plain(language).replace(
            b"\r\n\r\nhello",
            b"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
            b"charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + words.encode(),
        )
        gateway.send(content, ["user@prudish.example.org"])
        found = arrived(sink, language)
        assert found["X-SpamTest-Obscene"] == "yes"
        assert "[--Obscene--]" in found["Subject"]


def use_preset(gateway: Gateway, preset: str) -> None:
    text = gateway.config.read_text()
    before = text.partition("preset = ")[2].split("\n")[0]
    gateway.edit(f"preset = {before}", f'preset = "{preset}"')
    gateway.command("reload")


@pytest.mark.feature("F-ASR-14")
def test_presets_order_the_stages(gateway: Gateway, sink: Sink) -> None:
    infected = with_attachment(EICAR, subject="in order").replace(b"See the file.", GTUBE)
    blocked = "user@block.example.org"
    assert stages(gateway, gateway.send(infected, blocked)) == ["SPAMCHECK spam", "SCANNED infected"]
    use_preset(gateway, "protection")
    assert stages(gateway, gateway.send(infected, blocked)) == ["SCANNED infected", "SPAMCHECK spam"]
    use_preset(gateway, "speed")
    scanned = gateway.counter("antiviral_checked_messages_total")
    assert stages(gateway, gateway.send(infected, blocked)) == ["SPAMCHECK spam", "SCANNED not_checked"]
    assert gateway.counter("antiviral_checked_messages_total") == scanned
    # What somebody gets is scanned all the same.
    to_some = gateway.send(infected, [blocked, "user@example.org"])
    copies = wait_for(lambda: lines if len(lines := gateway.lines(f"srcid={to_some}")) >= 6 else [], "both copies")
    assert [line for line in copies if "SCANNED" in line and 'status="infected"' in line]
    wait_for(lambda: not gateway.queue(), "an empty queue")
    assert not [mail for mail in sink.mails if EICAR in mail.content or b"in order" in mail.header]


def test_a_rating_is_explained_without_a_gateway(gateway: Gateway, tmp_path: Path) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(plain("explain", GTUBE.decode() + "\r\n").replace(b"\r\n", b"\n"))
    told = gateway.command("spam", "explain", str(mail), "--to", "user@block.example.org")
    assert told.returncode == 0, told.stderr
    assert "Spam: spam, rating 100 (level standard: Spam from 90, Probable Spam from 60)" in told.stdout
    assert "+50.00  " in told.stdout
    assert "Action: not delivered" in told.stdout
    answer = json.loads(gateway.command("spam", "explain", str(mail), "--from", "a@b.example", "--json").stdout)
    assert answer["sender"] == "a@b.example"
    (group,) = answer["groups"]
    assert (group["name"], group["spam"]["status"]) == ("policy", "spam")
    assert group["spam"]["total"] == pytest.approx(-3 + sum(sign["weight"] for sign in group["spam"]["signs"]))
