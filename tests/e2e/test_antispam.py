"""What becomes of mail by its spam status: one gateway, a group for each action, a listener that judges before its 250.

Statuses come from lists here, which needs no content check: what is listed, is listed.
"""

import email
import email.message
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.storage.item import Item
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store

BAD = "bad@spam.example"
STRANGER = "127.0.0.77"
"""An address that is not of our own network."""

ACTIONS = {
    "pass": '"pass"',
    "mark": '"mark", "keywords"',
    "copy": '"mark", "copyto:watch@archive.example.org"',
    "redirect": '"redirect:trap@archive.example.org"',
    "block": '"block"',
    "delete": '"delete"',
    "reject": '"reject"',
    "quarantine": '"mark", "quarantine"',
}
GROUPS = "".join(
    f'[[group]]\nname = "{name}"\nrecipients = ["*@{name}.example.org"]\naction_blacklisted = [{actions}]\n'
    f'spam_quarantine_path = "{{state}}/as-{name}"\nreject_text = "No thanks"\nbounce_text = "We do not want this"\n'
    for name, actions in ACTIONS.items()
)
SETTINGS = """
[antispam]
white_list = ["!friend@x.example", "@partner.example", "127.0.0.88"]
black_list = ["bad@spam.example", "*@x.example", "127.0.0.99 # until 2099-12-31", "old@x2.example # until 2020-01-01"]

[[group]]
name = "own-lists"
recipients = ["*@own.example.org"]
black_list = ["disliked@news.example"]
spam_header_text = "seen by the gateway"

[[group]]
name = "told"
recipients = ["*@told.example.org"]
notify_admin_spam = ["blacklisted"]
admin_notify_address = ["admin@example.org"]

[[group]]
name = "off"
recipients = ["*@off.example.org"]
check_spam = false
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


class SpamGateway(Gateway):
    """Its second listener judges before it answers."""

    def __init__(self, state: Path, sink_port: int) -> None:
        self.before_port = free_port()
        listener = f'\n[[listener]]\naddress = "127.0.0.1:{self.before_port}"\nbefore_queue = true\n'
        super().__init__(
            state,
            sink_port,
            settings=listener + SETTINGS + GROUPS.replace("{state}", str(state)),
            replace={
                'protected_domains = ["example.org"]': (
                    'protected_domains = ["example.org", "*.example.org"]\ntrusted_networks = ["127.0.0.1"]'
                ),
                "server_max_filters = 0": "server_max_filters = 2",
            },
            antispam=True,
            spam_fields=True,
        )

    def give(self, port: int, content: bytes, recipients: list[str], sender: str, source: str) -> str:
        """Hand a mail in; return the reply to its end."""
        with Wire(port, source) as wire:
            wire.begin(recipients, sender=sender)
            return wire.data(content)

    def kept(self, name: str) -> list[Item]:
        """What a store below the state directory holds."""
        with Store(str(self.state / name)) as store:
            if not store.layout.exists:
                return []
            return [store.container(row.id).item for row in store.page(ItemFilter(), 0.0)]


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpamGateway]:
    with SpamGateway(tmp_path_factory.mktemp("spam") / "gw", sink.port) as one:
        yield one


def arrived(sink: Sink, subject: str, recipient: str = "") -> Mail:
    """The mail whose subject ends so."""

    def look() -> list[Mail]:
        wanted = re.compile(rf"^Subject: [^\r\n]*{re.escape(subject)}\r?$".encode(), re.MULTILINE)
        mails = [mail for mail in list(sink.mails) if not recipient or recipient in mail.recipients]
        return [mail for mail in mails if wanted.search(mail.header) and b"multipart/report" not in mail.header]

    return wait_for(look, f"mail {subject!r} for {recipient or 'anybody'}")[0]


def header(mail: Mail) -> email.message.Message:
    return email.message_from_bytes(mail.content)


def log_words(gateway: Gateway, queue_id: str) -> list[str]:
    return [line.split(f"{queue_id}: ")[1].split(",")[0] for line in gateway.lines(f"{queue_id}:")]


def finished(gateway: Gateway, queue_id: str, word: str) -> None:
    wait_for(lambda: gateway.lines(f"{queue_id}: {word}"), f"{word} of {queue_id}")


def send(gateway: SpamGateway, subject: str, domain: str, sender: str = BAD, source: str = STRANGER) -> str:
    """Send one mail from a stranger; return its queue id."""
    answer = gateway.give(gateway.port, plain(subject), [f"user@{domain}.example.org"], sender, source)
    assert answer.startswith("250 "), answer
    return answer.split()[-1]


# --- lists


@pytest.mark.feature("F-AS-01")
@pytest.mark.parametrize(
    ("sender", "source", "method"),
    [("friend@x.example", STRANGER, "white email list"), ("any@one.example", "127.0.0.88", "white ip list")],
)
def test_white_lists_trust(gateway: SpamGateway, sink: Sink, sender: str, source: str, method: str) -> None:
    queue_id = send(gateway, f"trusted {source}", "mark", sender, source)
    found = header(arrived(sink, f"trusted {source}"))
    assert found["X-SpamTest-Status"] == "Trusted"
    assert found.get_all("X-SpamTest-Method") == [method]
    (line,) = wait_for(lambda: gateway.lines("SPAMCHECK", queue_id), "its line")
    assert f'status="trusted", method="{method}"' in line


def test_an_allowed_domain_that_nothing_proves_is_not_trusted(gateway: SpamGateway, sink: Sink) -> None:
    send(gateway, "says he is a partner", "mark", "someone@partner.example")
    found = header(arrived(sink, "says he is a partner"))
    assert found["X-SpamTest-Status"] == "Not detected"
    assert "nothing proves" in found["X-SpamTest-Info"]


@pytest.mark.feature("F-AS-02")
@pytest.mark.parametrize(
    ("sender", "source", "method"),
    [
        (BAD, STRANGER, "black email list"),
        ("foe@x.example", STRANGER, "black email list"),
        ("any@one.example", "127.0.0.99", "black ip list"),
    ],
)
def test_black_lists_blacklist(gateway: SpamGateway, sink: Sink, sender: str, source: str, method: str) -> None:
    send(gateway, f"black {sender}", "pass", sender, source)
    found = header(arrived(sink, f"black {sender}"))
    assert found["X-SpamTest-Status-Extended"] == "blacklisted"
    assert found.get_all("X-SpamTest-Method") == [method]
    assert found["X-SpamTest-Envelope-From"] == f"<{sender}>"


def test_an_entry_past_its_end_lists_nobody(gateway: SpamGateway, sink: Sink) -> None:
    send(gateway, "old entry", "pass", "old@x2.example")
    assert header(arrived(sink, "old entry"))["X-SpamTest-Status-Extended"] == "not_detected"


@pytest.mark.feature("F-AS-03")
def test_the_list_of_a_group_is_for_that_group_only(gateway: SpamGateway, sink: Sink) -> None:
    recipients = ["user@own.example.org", "user@mark.example.org"]
    gateway.give(gateway.port, plain("disliked"), recipients, "disliked@news.example", STRANGER)
    found = {domain: header(arrived(sink, "disliked", f"user@{domain}.example.org")) for domain in ("own", "mark")}
    assert found["own"]["X-SpamTest-Status-Extended"] == "blacklisted"
    assert found["mark"]["X-SpamTest-Status-Extended"] == "not_detected"
    assert found["own"]["X-SpamTest-Header"] == "seen by the gateway"
    assert found["own"]["X-SpamTest-Group-ID"] != found["mark"]["X-SpamTest-Group-ID"]


@pytest.mark.feature("F-ASR-03")
def test_a_group_that_checks_nothing_trusts_everybody(gateway: SpamGateway, sink: Sink) -> None:
    content = b"X-SpamTest-Status: SPAM\r\n" + plain("unchecked")
    gateway.give(gateway.port, content, ["user@off.example.org"], BAD, STRANGER)
    found = header(arrived(sink, "unchecked"))
    assert found.get_all("X-SpamTest-Status") == ["Trusted"]


# --- what is added, and what must not be there


@pytest.mark.feature("F-ASR-07")
def test_marking_labels_and_replaces_keywords(gateway: SpamGateway, sink: Sink) -> None:
    content = b"Keywords: old, words\r\nkeywords: more\r\n" + plain("marked")
    gateway.give(gateway.port, content, ["user@mark.example.org"], BAD, STRANGER)
    found = header(arrived(sink, "marked"))
    assert found["Subject"] == "[!! Blacklisted] marked"
    assert found.get_all("Keywords") == ["SPAM"]


def test_foreign_fields_are_taken_out_of_every_copy(gateway: SpamGateway, sink: Sink) -> None:
    foreign = b"x-spamtest-status: Trusted\r\nX-SpamTest-Rate: 0\r\n 0\r\n"
    recipients = ["user@pass.example.org", "user@mark.example.org"]
    gateway.give(gateway.port, foreign + plain("forged"), recipients, "any@one.example", STRANGER)
    for recipient in recipients:
        mail = arrived(sink, "forged", recipient)
        assert header(mail).get_all("X-SpamTest-Status") == ["Not detected"]
        assert len(header(mail).get_all("X-SpamTest-Rate", [])) == 1
        assert mail.content.endswith(plain("forged"))


def test_mail_that_comes_by_again_is_labelled_and_told_of_once(gateway: SpamGateway, sink: Sink) -> None:
    send(gateway, "again", "mark")
    once = arrived(sink, "again")
    gateway.give(gateway.port, once.content, ["user@copy.example.org"], BAD, STRANGER)
    twice = header(arrived(sink, "again", "user@copy.example.org"))
    assert twice["Subject"] == "[!! Blacklisted] again"
    assert len(twice.get_all("X-SpamTest-Status", [])) == 1


# --- actions


@pytest.mark.feature("F-ASR-08")
def test_accept_copy_and_redirect(gateway: SpamGateway, sink: Sink) -> None:
    send(gateway, "accepted", "pass")
    assert arrived(sink, "accepted").recipients == ["user@pass.example.org"]
    assert header(arrived(sink, "accepted"))["Subject"] == "accepted"

    send(gateway, "copied", "copy")
    assert arrived(sink, "copied", "user@copy.example.org").sender == BAD
    copy = arrived(sink, "copied", "watch@archive.example.org")
    assert (copy.sender, copy.recipients) == ("", ["watch@archive.example.org"])
    assert header(copy)["X-SpamTest-Envelope-From"] == f"<{BAD}>"

    queue_id = send(gateway, "redirected", "redirect")
    mail = arrived(sink, "redirected")
    assert (mail.sender, mail.recipients) == ("", ["trap@archive.example.org"])
    finished(gateway, queue_id, "DELIVERED")
    assert not [m for m in sink.mails if "user@redirect.example.org" in m.recipients]


@pytest.mark.feature("F-ASR-11")
def test_block_is_told_in_the_log_and_kept(gateway: SpamGateway, sink: Sink) -> None:
    queue_id = send(gateway, "blocked", "block")
    finished(gateway, queue_id, "BLOCKED")
    (line,) = gateway.lines("BLOCKED", queue_id)
    assert "rcpt=<user@block.example.org>" in line
    assert "bad@spam.example is listed" in line
    assert not [m for m in sink.mails if "user@block.example.org" in m.recipients]
    (item,) = gateway.kept("as-block")
    assert (item.code, item.blocked, item.statuses) == ("BLK", True, ("clean", "blacklisted"))


@pytest.mark.feature("F-ASR-10")
@pytest.mark.parametrize("before", [False, True])
def test_delete_says_nothing_to_anybody(gateway: SpamGateway, sink: Sink, before: bool) -> None:
    port = gateway.before_port if before else gateway.port
    answer = gateway.give(port, plain("deleted"), ["user@delete.example.org"], BAD, STRANGER)
    assert answer.startswith("250 ")
    queue_id = answer.split()[-1]
    finished(gateway, queue_id, "DISCARDED")
    assert log_words(gateway, queue_id) == ["RECEIVED", "SPAMCHECK", "SCANNED", "DISCARDED"]
    wait_for(lambda: not gateway.queue(), "an empty queue")
    assert not [m for m in sink.mails if "user@delete.example.org" in m.recipients or BAD in m.recipients]
    assert not gateway.kept("as-delete")


@pytest.mark.feature("F-STOR-04")
@pytest.mark.feature("F-ASR-12")
def test_quarantine_keeps_the_original_in_the_spam_store_only(gateway: SpamGateway, sink: Sink) -> None:
    content = plain("kept apart")
    gateway.give(gateway.port, content, ["user@quarantine.example.org"], BAD, STRANGER)
    assert header(arrived(sink, "kept apart"))["Subject"] == "[!! Blacklisted] kept apart"
    (item,) = gateway.kept("as-quarantine")
    assert (item.code, item.methods, item.rate) == ("BLK", ("black email list",), 100)
    with Store(str(gateway.state / "as-quarantine")) as store:
        assert b"".join(store.content(item.id)) == content
    assert not [
        each for name in ("quarantine", "backup") for each in gateway.kept(name) if each.subject == "kept apart"
    ]


def test_what_is_released_from_the_spam_quarantine_is_no_spam(gateway: SpamGateway, sink: Sink) -> None:
    send(gateway, "wanted after all", "block")
    item = wait_for(
        lambda: [each for each in gateway.kept("as-block") if each.subject == "wanted after all"],
        "it in the quarantine",
    )[0]
    found = gateway.command("quarantine", "release", "--spam", item.id, "--yes")
    assert found.returncode == 0, found.stdout + found.stderr
    mail = arrived(sink, "wanted after all", "user@block.example.org")
    assert header(mail)["X-SpamTest-Status"] == "Trusted"
    assert header(mail)["X-SpamTest-Info"] == "Released by an operator"


# --- reject


@pytest.mark.feature("F-ASR-09")
@pytest.mark.feature("F-ASR-13")
def test_reject_in_the_session_has_the_text_of_the_group(gateway: SpamGateway, sink: Sink) -> None:
    answer = gateway.give(gateway.before_port, plain("refused"), ["user@reject.example.org"], BAD, STRANGER)
    assert re.fullmatch(r"550 5\.7\.1 No thanks; our reference: [0-9A-Z]{13}", answer)
    assert not gateway.queue()
    assert not gateway.kept("as-reject")


@pytest.mark.feature("F-ASR-09")
@pytest.mark.feature("F-ASR-13")
@pytest.mark.parametrize("before", [False, True])
def test_refused_by_some_bounces_to_a_sender_who_is_ours(gateway: SpamGateway, sink: Sink, before: bool) -> None:
    """The client is of our own network, so its sender is known."""
    port = gateway.before_port if before else gateway.port
    subject = f"for some {before}"
    recipients = ["user@reject.example.org", "user@pass.example.org"]
    answer = gateway.give(port, plain(subject), recipients, BAD, "127.0.0.1")
    assert answer.startswith("250 ")
    assert arrived(sink, subject).recipients == ["user@pass.example.org"]

    def reports() -> list[Mail]:
        wanted = f"Subject: {subject}".encode()
        return [m for m in list(sink.mails) if m.recipients == [BAD] and wanted in m.content]

    (report,) = wait_for(reports, "the report")
    assert report.sender == ""
    assert b"550 5.7.1 We do not want this" in report.content.replace(b"\r\n ", b" ")
    assert b"rfc822; user@reject.example.org" in report.content
    assert b"user@pass.example.org" not in report.content.partition(b"message/")[0]


def test_a_stranger_hears_nothing_and_the_mail_is_kept(gateway: SpamGateway, sink: Sink) -> None:
    reports = len([m for m in sink.mails if BAD in m.recipients])
    queue_id = send(gateway, "from nobody we know", "reject")
    finished(gateway, queue_id, "BLOCKED")
    (line,) = gateway.lines("BLOCKED", queue_id)
    assert "nothing proves its sender" in line
    (item,) = gateway.kept("as-reject")
    assert item.subject == "from nobody we know"
    wait_for(lambda: not gateway.queue(), "an empty queue")
    assert len([m for m in sink.mails if BAD in m.recipients]) == reports


def test_administrators_hear_of_the_statuses_they_asked_for(gateway: SpamGateway, sink: Sink) -> None:
    send(gateway, "told of", "told")
    send(gateway, "not told of", "told", "any@one.example")
    arrived(sink, "not told of")

    def notices() -> list[Mail]:
        return [mail for mail in list(sink.mails) if mail.recipients == ["admin@example.org"]]

    (notice,) = wait_for(notices, "the notification")
    assert "Message was delivered: told of" in header(notice)["Subject"]
    text = header(notice).get_payload(decode=True)
    assert isinstance(text, bytes)
    assert b"Spam:        blacklisted, rating 100, black email list" in text


# --- both stages


def test_an_infected_mail_shows_both_verdicts(gateway: SpamGateway, sink: Sink) -> None:
    content = with_attachment(EICAR, subject="both")
    answer = gateway.give(gateway.port, content, ["user@mark.example.org"], BAD, STRANGER)
    queue_id = answer.split()[-1]
    finished(gateway, queue_id, "BLOCKED")
    (spam,) = gateway.lines("SPAMCHECK", queue_id)
    (virus,) = gateway.lines("SCANNED", queue_id)
    assert 'status="blacklisted"' in spam
    assert 'status="infected' in virus


def test_statuses_are_counted(gateway: SpamGateway, sink: Sink) -> None:
    before = {
        name: gateway.counter(f"antispam_checked_messages_{name}") for name in ("total", "blacklisted", "blocked")
    }
    finished(gateway, send(gateway, "counted", "block"), "BLOCKED")
    wait_for(
        lambda: (
            {name: gateway.counter(f"antispam_checked_messages_{name}") for name in before}
            == {name: number + 1 for name, number in before.items()}
        ),
        "the counters",
    )
