"""Who signs in, and which way mail goes: submission over TLS, groups by direction, the client behind a relay in front.

Nobody on loopback is ours here: 127.x.y.25 is a relay of ours in front, 127.x.y.10 an own host.
"""

import smtplib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import argon2
import pytest
from tests.support.certificates import shared_authority
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port, loopback_network
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

NETWORK = loopback_network()
OWN, FRONT, STRANGER = f"{NETWORK}.4.10", f"{NETWORK}.4.25", f"{NETWORK}.4.77"
PASSWORD = "open sesame"
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
GROUPS = """
[[group]]
name = "leaving"
directions = ["outbound"]
[[group]]
name = "within"
directions = ["internal"]
[[group]]
name = "coming"
recipients = ["*@example.org"]
directions = ["inbound"]
"""


class SubmissionGateway(Gateway):
    """A gateway with a second listener, for those who sign in."""

    submission: int
    passwords: Path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SubmissionGateway]:
    state = tmp_path_factory.mktemp("sign-in") / "gw"
    certificate = shared_authority().issue("gw.example.org", "127.0.0.1")
    passwords = state.parent / "passwords"
    passwords.write_text("".join(f"{user}:{HASHER.hash(PASSWORD)}\n" for user in ("joe", "ann", "max")))
    port = free_port()
    changes = {
        '  "127.0.0.0/8", "::1/128",\n': f'  "{OWN}/32", "{FRONT}/32",\n',
        '# trusted_networks = ["10.0.0.0/8"]': f'trusted_networks = ["{OWN}/32"]',
        '# front_relays = ["10.0.0.25"]': f'front_relays = ["{FRONT}/32"]',
        "[access]\n": f'[access]\npassword_file = "{passwords}"\n',
        "[network]\n": f'[network]\ntls_cert = "{certificate.chain}"\ntls_key = "{certificate.key}"\n',
        "[access]": f'[[listener]]\naddress = "127.0.0.1:{port}"\ntls = "required"\nsign_in = "required"\n\n[access]',
    }
    with Sink() as sink, SubmissionGateway(state, sink.port, settings=GROUPS, replace=changes) as one:
        one.submission = port
        one.passwords = passwords
        yield one


def group_of(gateway: Gateway, reply: str) -> set[str]:
    """Return the groups whose verdict the log names for the mail that got this reply."""
    queue_id = reply.rsplit(maxsplit=1)[-1]
    lines = wait_for(lambda: gateway.lines("SCANNED", queue_id), "the SCANNED line")
    return {line.partition("group=<")[2].partition(">")[0] for line in lines}


def test_who_has_signed_in_may_send_anywhere(gateway: SubmissionGateway) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.submission, timeout=120) as client:
        client.ehlo("laptop.example")
        assert "auth" not in client.esmtp_features  # not in clear
        client.starttls(context=shared_authority().client_context())
        client.ehlo("laptop.example")
        assert client.mail("joe@example.org")[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login("joe", "wrong")
        assert refused.value.smtp_code == 535
        client.login("joe", PASSWORD)
        assert client.mail("joe@example.org")[0] == 250
        assert client.rcpt("a@elsewhere.example")[0] == 250
        code, text = client.data(plain("submitted"))
        assert code == 250
    assert group_of(gateway, text.decode()) == {"leaving"}


def test_a_stolen_account_is_sent_away_when_its_password_changes_or_it_is_removed(gateway: SubmissionGateway) -> None:
    with ExitStack() as stack:
        clients = {}
        for user in ("joe", "ann", "max"):
            client = clients[user] = stack.enter_context(smtplib.SMTP("127.0.0.1", gateway.submission, timeout=120))
            client.starttls(context=shared_authority().client_context())
            client.login(user, PASSWORD)
            assert client.mail(f"{user}@example.org")[0] == 250
            client.rset()
        before = gateway.passwords.read_text()
        kept = before.splitlines()[0]
        try:
            gateway.passwords.write_text(f"{kept}\nann:{HASHER.hash('another one')}\n")
            assert clients["joe"].mail("joe@example.org")[0] == 250
            for user in ("ann", "max"):
                code, text = clients[user].mail(f"{user}@example.org")
                assert (code, b"sign in again" in text) == (421, True)
            gateway.passwords.write_text("not what it should be\n")
            clients["joe"].rset()
            assert clients["joe"].mail("joe@example.org")[0] == 250  # an edit gone wrong ends nobody's session
        finally:
            gateway.passwords.write_text(before)


def test_without_signing_in_strangers_send_to_us_only(gateway: SubmissionGateway) -> None:
    with Wire(gateway.port, source=STRANGER) as wire:
        wire.begin(["user@example.org"])
        assert wire.ask("RCPT TO:<a@elsewhere.example>").startswith("554 5.7.1")
        assert group_of(gateway, wire.data(plain("from afar"))) == {"coming"}


def test_our_own_mail_is_sorted_by_recipient(gateway: SubmissionGateway) -> None:
    with Wire(gateway.port, source=OWN) as wire:
        wire.begin(["a@example.org", "b@elsewhere.example"])
        assert group_of(gateway, wire.data(plain("both ways"))) == {"within", "leaving"}


@pytest.mark.parametrize(
    ("client", "group"),
    [pytest.param(STRANGER, "coming", id="stranger"), pytest.param(OWN, "within", id="own")],
)
def test_the_client_behind_a_relay_in_front(gateway: SubmissionGateway, client: str, group: str) -> None:
    told = f"Received: from mx.example.net (mx.example.net [{client}])\r\n\tby front.example.org; now\r\n".encode()
    with Wire(gateway.port, source=FRONT) as wire:
        wire.begin(["user@example.org"])
        by_field = wire.data(told + plain("by its Received field"))
        wire.expect(
            (f"XFORWARD NAME=mx.example.net ADDR={client} HELO=mx.example.net", "250 "),
            ("MAIL FROM:<x@example.net>", "250 "),
            ("RCPT TO:<user@example.org>", "250 "),
        )
        by_xforward = wire.data(plain("by XFORWARD"))
    assert group_of(gateway, by_field) == group_of(gateway, by_xforward) == {group}
