"""Notifications, end to end: who hears of what was found, in which words, and how often."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from tests.support.gateway import Gateway, run_here
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for

OUTBREAK = 120

SETTINGS = """
[notices]
limit = 3
interval = "4 s"

[[group]]
name = "all-roles"
recipients = ["*@roles.example.org"]
notify_admin = "all"
notify_sender = "all"
notify_recipient = "all"
admin_notify_address = ["chief@admins.example", "second@admins.example"]
notify_from_address = "gateway@roles.example.org"
notify_admin_template = "{templates}/admin.tmpl"
notify_sender_template = "{templates}/sender.tmpl"
notify_recipient_template = "{templates}/recipient.tmpl"
attach_original_to_admin = true

[[group]]
name = "russian"
recipients = ["*@ru.example.org"]
notify_admin = ["infected"]
admin_notify_address = ["chief@russian.example"]
block_message = []
text_language = "ru"

[[group]]
name = "outbreak"
recipients = ["*@outbreak.example.org"]
notify_admin = ["infected"]
admin_notify_address = ["chief@outbreak.example"]

[[group]]
name = "some"
recipients = ["*@some.example.org"]
notify_admin = ["suspicious"]
admin_notify_address = ["chief@some.example"]
"""
TEMPLATES = {
    "admin": '<DEF NOTICE_SUBJECT = "A: %SUBJECT%"/>\nfor the administrator: %VIRUS% %MSG_ACTION% %QUEUE_ID%\n',
    "sender": "for the sender: %RECIPIENT%\n",
    "recipient": "for the recipient: %SENDER%, ask %ADMIN%\n",
}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("notices")
    templates = state / "templates"
    templates.mkdir()
    for name, text in TEMPLATES.items():
        (templates / f"{name}.tmpl").write_text(text)
    with Gateway(state / "gw", sink.port, settings=SETTINGS.replace("{templates}", str(templates))) as one:
        yield one


def infected(subject: str) -> bytes:
    return with_attachment(EICAR, "eicar.com", subject)


PRICES = infected("Prices")


def notices(sink: Sink, address: str) -> list[Mail]:
    return [mail for mail in list(sink.mails) if address in mail.recipients]


def first_notice(sink: Sink, address: str) -> tuple[Mail, EmailMessage]:
    """The first notification to this address."""
    wait_for(lambda: notices(sink, address), f"a notification to {address}")
    mail = notices(sink, address)[0]
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert mail.sender == ""
    assert message["Auto-Submitted"] in ("auto-generated", "auto-replied")
    return mail, message


def body_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return body.get_content()


@pytest.fixture(scope="module")
def told(gateway: Gateway, sink: Sink) -> str:
    """One infected mail to the group with all roles, and its queue id."""
    queue_id = gateway.send(PRICES, ["u@roles.example.org", "v@roles.example.org"], "boss@ours.example")
    wait_for(lambda: len(gateway.lines("NOTIFY", f"srcid={queue_id}")) == 3, "the notifications")
    return queue_id


@pytest.mark.feature("F-NOTI-01")
def test_administrators_are_notified(told: str, sink: Sink, gateway: Gateway) -> None:
    mail, message = first_notice(sink, "chief@admins.example")
    assert sorted(mail.recipients) == ["chief@admins.example", "second@admins.example"]
    assert message["X-Gatepost-Notice"] == "admin"
    assert gateway.lines("NOTIFY, notify=admin, nrcpt=2", f"srcid={told}")


@pytest.mark.feature("F-NOTI-02")
def test_the_sender_is_notified_but_not_the_null_sender(told: str, sink: Sink, gateway: Gateway) -> None:
    _, message = first_notice(sink, "boss@ours.example")
    assert message["Auto-Submitted"] == "auto-replied"
    bounce = gateway.send(infected("bounced"), "w@roles.example.org", sender="")
    wait_for(lambda: gateway.lines("notify=recipient", f"srcid={bounce}"), "the recipient's notification")
    assert not gateway.lines("notify=sender", f"srcid={bounce}")


@pytest.mark.feature("F-NOTI-03")
def test_recipients_of_the_group_are_notified(told: str, sink: Sink) -> None:
    mail, message = first_notice(sink, "u@roles.example.org")
    assert sorted(mail.recipients) == ["u@roles.example.org", "v@roles.example.org"]
    # They need not learn of each other.
    assert b"v@roles" not in mail.content
    assert message["To"] == "undisclosed-recipients:;"


@pytest.mark.feature("F-NOTI-04")
def test_each_role_has_its_template_and_the_group_its_from_address(told: str, sink: Sink) -> None:
    texts = {}
    for address in ("chief@admins.example", "boss@ours.example", "u@roles.example.org"):
        _, message = first_notice(sink, address)
        assert message["From"].addresses[0].addr_spec == "gateway@roles.example.org"
        texts[address] = body_of(message)
    assert texts["chief@admins.example"].startswith("for the administrator: EICAR-Test-File blocked ")
    assert "for the sender: v@roles.example.org" in texts["boss@ours.example"]
    assert (
        texts["u@roles.example.org"].strip()
        == "for the recipient: boss@ours.example, ask chief@admins.example, second@admins.example"
    )
    assert first_notice(sink, "chief@admins.example")[1]["Subject"] == "A: Prices"


@pytest.mark.feature("F-NOTI-05")
def test_the_administrator_gets_the_unchanged_original(told: str, sink: Sink) -> None:
    mail, message = first_notice(sink, "chief@admins.example")
    boundary = message.get_boundary()
    assert boundary
    fields, _, received = mail.content.split(f"\r\n--{boundary}".encode())[2].partition(b"\r\n\r\n")
    assert b"message/rfc822" in fields
    assert received == PRICES


def test_counters_and_queue_ids(told: str, gateway: Gateway) -> None:
    for role in ("admin", "sender", "recipients"):
        assert gateway.counter(f"antiviral_notifications_generated_for_{role}") >= 1


def test_notices_in_russian(gateway: Gateway, sink: Sink) -> None:
    gateway.send(infected("Отчёт"), ["u@ru.example.org"], "a@ours.example")
    mail, message = first_notice(sink, "chief@russian.example")
    assert mail.content.isascii()
    assert message["Subject"] == "Почтовый шлюз: обнаружено в письме: Отчёт"
    assert "Найдено:     EICAR-Test-File" in body_of(message)
    assert "доставлено" in body_of(message)


def test_only_listed_statuses(gateway: Gateway, sink: Sink) -> None:
    gateway.send(infected("not listed"), "u@some.example.org")
    gateway.send(with_attachment(b"SUSP-" + EICAR, "odd.com", "listed"), "u@some.example.org")
    _, message = first_notice(sink, "chief@some.example")
    assert "listed" in message["Subject"]
    assert "not listed" not in message["Subject"]


def test_an_outbreak_is_one_mail_and_one_summary(gateway: Gateway, sink: Sink) -> None:
    for number in range(OUTBREAK):
        gateway.send(infected(f"wave {number}"), "u@outbreak.example.org", f"s{number % 4}@far.example")
    address = "chief@outbreak.example"
    wait_for(lambda: sum(told_by(mail) for mail in notices(sink, address)) == OUTBREAK, "all to be told of")
    assert len(notices(sink, address)) <= 4


def told_by(mail: Mail) -> int:
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for line in body_of(message).splitlines():
        if line.strip().startswith("Messages:"):
            return int(line.split()[1].rstrip(","))
    return 1


@pytest.mark.feature("F-GRP-06")
def test_as_shipped_only_clean_mail_is_delivered_and_people_are_told(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, notices=True) as gateway:
        blocked = gateway.send(infected("never"), "a@example.org")
        clean = gateway.send(plain("clean"), "a@example.org")
        wait_for(lambda: len(sink.mails) == 3, "the clean mail and two notifications")
        assert gateway.lines("BLOCKED", blocked)
        wait_for(lambda: gateway.lines("DELIVERED", clean), "the outcome of the clean mail")
        told = [mail for mail in sink.mails if mail.sender == ""]
        assert sorted(mail.recipients[0] for mail in told) == ["a@example.org", "postmaster@example.org"]
        assert not [mail for mail in sink.mails if EICAR in mail.content or b"filename" in mail.content]


@pytest.mark.feature("F-NOTI-09")
@pytest.mark.parametrize("template", ["missing", "large", "faulty"])
@pytest.mark.parametrize("parameter", ["notify_admin_template", "disclaimer_template"])
def test_a_template_that_cannot_be_used_stops_the_start(tmp_path: Path, template: str, parameter: str) -> None:
    file = tmp_path / "own.tmpl"
    if template == "large":
        file.write_text("x" * 8193)
    elif template == "faulty":
        file.write_text('<FOR X == "')
    one = Gateway(tmp_path / "gw", 9, replace={"[policy]\n": f'[policy]\n{parameter} = "{file}"\n'})
    ended = run_here("run", "-c", str(one.config))
    assert ended.returncode != 0
    assert "own.tmpl" in ended.stderr
