"""A filtering server sends notices and releases by the real Postfix that asks it about mail: they come through."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.support.wire import Wire

ADMIN, BOB, CAROL = "admin@example.org", "bob@example.org", "carol@example.org"
OFF = "".join(f"use_{name} = false\n" for name in ("dnsbl", "reverse_dns", "spf", "surbl", "authentication"))
GROUP = '[[group]]\nname = "staff"\nrecipients = ["*@example.org"]\naction_spam = ["block", "quarantine"]\n'
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
BOUNCE = (
    b"From: Mail Delivery System <MAILER-DAEMON@far.example>\r\nTo: <bob@example.org>\r\n"
    b"Subject: Undelivered Mail Returned to Sender\r\nMessage-ID: <bounce@far.example>\r\n"
    b"Date: Mon, 02 Jan 2006 15:04:05 +0000\r\n%b\r\nYour message could not be delivered.\r\n"
)


class Site:
    def __init__(self, gateway: Gateway, postfix: Postfix, port: int) -> None:
        self.gateway = gateway
        self.postfix = postfix
        self.port = port
        self.seen: set[str] = set()
        """Lines about what was kept."""

    def send(self, content: bytes, sender: str, *recipients: str) -> str:
        with Wire(self.port) as wire:
            wire.expect(("", "220"), ("EHLO client.example.net", "250"), (f"MAIL FROM:<{sender}>", "250"))
            wire.expect(*((f"RCPT TO:<{each}>", "250") for each in recipients))
            return wire.data(content)

    def mail(self, address: str, word: bytes) -> Message:
        found = wait_for(lambda: [one for one in self.postfix.mails(address) if word in one], f"{word!r} at {address}")
        return message_from_bytes(found[0])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    door = free_port()
    postfix = Postfix(root_program("postfix"), "postfix.example.net")
    port = postfix.listener({"smtpd_milters": f"inet:127.0.0.1:{door}"})
    postfix.settings["milter_default_action"] = "tempfail"
    postfix.mailboxes(ADMIN, BOB, CAROL)
    gateway = Gateway(
        tmp_path_factory.mktemp("own") / "gw",
        port,
        relays=2,
        antispam=True,
        spam_fields=True,
        notices=True,
        replace={
            "[policy]\n": f'[policy]\n{OFF}admin_notify_address = ["{ADMIN}"]\nsave_in_quarantine = ["infected"]\n'
        },
        settings=f'[[door]]\nname = "postfix"\nkind = "milter"\naddress = "tcp:127.0.0.1:{door}"\n{GROUP}',
    )
    with postfix, gateway:
        yield Site(gateway, postfix, port)


def test_a_notice_comes_back_by_the_milter_and_has_no_label(site: Site) -> None:
    site.send(with_attachment(EICAR, "eicar.com"), "sender@example.net", BOB)
    site.seen |= {*wait_for(lambda: site.gateway.lines("SAVED, store=quarantine"), "it kept")}
    notice = site.mail(ADMIN, b"X-Gatepost-Notice: admin")
    assert notice["X-Gatepost-Own"]
    assert "[--" not in notice["Subject"]
    assert not [name for name in notice if name.lower().startswith("x-spamtest")]
    wait_for(lambda: site.gateway.counter("service_own_messages") >= 1, "the notice to be known again")
    assert wait_for(lambda: site.gateway.lines('info="Own message"'), "it on record")


def test_who_copies_a_mark_is_judged_all_the_same(site: Site) -> None:
    mark = site.mail(ADMIN, b"X-Gatepost-Notice: admin")["X-Gatepost-Own"]
    known = site.gateway.counter("service_own_messages")
    copied = f"X-Gatepost-Own: {mark}\r\nX-Gatepost-Notice: admin\r\n".encode()
    site.send(BOUNCE % copied, "", BOB)
    labelled = site.mail(BOB, b"<bounce@far.example>")
    assert "Formal Message" in labelled["Subject"]
    assert site.gateway.counter("service_own_messages") == known


@pytest.mark.parametrize("to", [(), ("--to", CAROL)], ids=["its recipients", "another one"])
def test_what_is_released_comes_back_by_the_milter_and_passes(site: Site, to: tuple[str, ...]) -> None:
    """It was refused a second time, and its sender got a report of a failure."""
    subject = f"let go {len(to)}"
    site.send(with_attachment(EICAR, "eicar.com", subject=subject), "sender@example.net", BOB, CAROL)
    known = site.gateway.counter("service_own_messages")
    line = wait_for(
        lambda: [x for x in site.gateway.lines("SAVED, store=quarantine") if x not in site.seen], "it kept"
    )[0]
    site.seen.add(line)
    item = re.search(r"item=([0-9A-Z-]+)", line)
    assert item is not None
    done = site.gateway.command("quarantine", "release", item[1], "--no-check", "--yes", *to)
    assert done.returncode == 0, done.stderr
    for address in (CAROL,) if to else (BOB, CAROL):
        mail = site.mail(address, f"\nSubject: {subject}\n".encode())
        (attached,) = [part for part in mail.walk() if part.get_filename()]
        assert attached.get_payload(decode=True) == EICAR
    wait_for(lambda: site.gateway.counter("service_own_messages") > known, "it to be known again")
    assert len(site.gateway.lines("SAVED, store=quarantine")) == len(site.seen)


def test_what_is_released_as_wanted_passes_after_it_was_looked_at_for_malware(site: Site) -> None:
    with Wire(site.port) as wire:
        wire.expect(("", "220"), ("EHLO client.example.net", "250"), ("MAIL FROM:<sender@example.net>", "250"))
        wire.expect((f"RCPT TO:<{BOB}>", "250"))
        wire.data(plain("not that bad", GTUBE + "\r\n"))
    line = wait_for(lambda: site.gateway.lines("SAVED, store=spam-quarantine"), "it kept")[0]
    item = re.search(r"item=([0-9A-Z-]+)", line)
    assert item is not None
    done = site.gateway.command("quarantine", "release", item[1], "--spam", "--yes")
    assert done.returncode == 0, done.stderr
    assert GTUBE in site.mail(BOB, b"\nSubject: not that bad\n").get_payload()
    assert len(site.gateway.lines("SAVED, store=spam-quarantine")) == 1
