"""Profiles and rules on a real gateway: what becomes of mail, in the session, in the envelope, in the header, on record."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.dns import StubDns
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.client.remote import RemoteJudge, RemoteSettings
from gatepost.config.profiles_files import build_files
from gatepost.model.envelope import Client
from gatepost.model.filtering import Deed, Request, Ruling
from gatepost.model.profile import (
    Act,
    Action,
    AddressList,
    Condition,
    ConditionKind,
    DnsList,
    DnsService,
    Profile,
    ProfileRef,
    Rule,
    RuleSet,
    RuleSettings,
)

K = ConditionKind
STRANGER = "198.51.100.9"
LISTED = "198.51.100.10"
SETTINGS = """
[profiles]
enabled = true
[resolve]
name_servers = ["{dns}"]
io_network_timeout = "1 s"
[antispam]
filter_dns_timeout = "2 s"
[[listener]]
address = "127.0.0.1:{port}"
before_queue = true
[[door]]
name = "asked"
kind = "filter"
address = "unix:{door}"
size_limit = 0
"""


def rule(*actions: Action, to: str = "", **test: object) -> Rule:
    conditions = [Condition(test=K.RECIPIENT, value=to)] if to else []
    if test:
        conditions.append(Condition(**test))  # type: ignore[arg-type]
    return Rule(conditions=tuple(conditions), actions=actions)


def act(do: Act, value: str = "", header: str = "", *addresses: str) -> Action:
    return Action(do=do, value=value, header=header, addresses=addresses)


def to(address: str) -> tuple[str, ...]:
    return (f"{address}@example.org",)


COMMON = (
    rule(act(Act.REJECT), to="refused@example.org"),
    rule(act(Act.BOUNCE), act(Act.BLACK_HOLE), to="hole@example.org"),
    rule(act(Act.BLACK_HOLE), to="quiet@example.org"),
    rule(act(Act.BOUNCE), act(Act.HEADER_NEW, "yes", "X-Bounced"), to="bounced@example.org"),
    rule(act(Act.SKIP), act(Act.REJECT), to="skipped@example.org"),
    rule(act(Act.HEADER_NEW, "yes", "X-Listed"), test=K.CLIENT_DNSBL, value="bad"),
    rule(act(Act.HEADER_NEW, "no", "X-Listed"), test=K.CLIENT_DNSBL, value="bad", negated=True),
    rule(act(Act.HEADER_NEW, "yes", "X-Nameless"), test=K.CLIENT_NOT_IN_DNS),
    rule(
        act(Act.RECIPIENT_DELETE, "", "", "deleted@example.org"),
        act(Act.RECIPIENT_ADD, "", "", "added@example.org", "${SMTP_FROM}"),
        to="deleted@example.org",
    ),
    rule(act(Act.RECIPIENT_REPLACE, "", "", "instead@example.org"), to="replaced@example.org"),
    rule(act(Act.REJECT), test=K.HEADER_MATCHES, header="Subject", value="^reject me$"),
    rule(
        act(Act.HEADER_DELETE, "", "X-Secret"),
        act(Act.HEADER_REPLACE, "Grüße", "Comments"),
        act(Act.HEADER_ADD, ", and more", "Keywords"),
        act(Act.HEADER_LABEL, "[!! RULED]", "Subject"),
        act(Act.HEADER_NEW, "first", "X-New"),
        act(Act.HEADER_NEW, "second", "X-New"),
        act(Act.LOG, "headers were changed"),
        to="headers@example.org",
    ),
)
PERSONAL = {
    "refuser": Profile(name="Refuser", recipients=to("p-refuser"), rules=(rule(act(Act.REJECT)),)),
    "dropper": Profile(name="Dropper", recipients=to("p-dropper"), rules=(rule(act(Act.BLACK_HOLE)),)),
    "marker": Profile(name="Marker", recipient_list="marked", rules=(rule(act(Act.HEADER_NEW, "1", "X-Mine")),)),
}
SET = RuleSet(
    common=(ProfileRef(file="gate"),),
    personal=tuple(ProfileRef(file=file) for file in PERSONAL),
    profiles={"gate": Profile(name="Gate", rules=COMMON), **PERSONAL},
    emails={"marked": AddressList(name="Marked", addresses=("p-one@example.org", "p-two@example.org"))},
    dnsbl={"bad": DnsList(name="Bad", services=(DnsService(zone="bl.example"),))},
    settings=RuleSettings(reject_text="No entry here", bounce_text="It went back"),
)


def write(directory: Path, rules: RuleSet) -> None:
    for name, text in build_files(rules).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def dns() -> Iterator[StubDns]:
    with StubDns() as server:
        server.add("10.100.51.198.bl.example", "A", "127.0.0.2")
        server.add_ptr(LISTED, "mail.example.net.")
        server.add("mail.example.net", "A", LISTED)
        yield server


class RuledGateway(Gateway):
    def __init__(self, state: Path, sink: Sink, dns: StubDns) -> None:
        self.before_port = free_port()
        replace = {
            "[access]\n": '[access]\nxclient_networks = ["127.0.0.1/32"]\n',
            '"127.0.0.0/8", "::1/128",': '"127.0.0.1/32",',
        }
        self.door = state / "f.sock"
        settings = SETTINGS.format(dns=dns.address, port=self.before_port, door=self.door)
        super().__init__(state, sink.port, settings=settings, replace=replace)
        write(state / "rules", SET)
        self.sink = sink

    def give(self, *recipients: str, subject: str = "x", port: int = 0, client: str = "", head: str = "") -> str:
        """Send mail of somebody of our own network, or of another client; return the reply."""
        names = tuple(f"{each}@example.org" for each in recipients)
        content = f"From: <me@example.org>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@x>\r\n{head}\r\nHello.\r\n"
        with Wire(port or self.port) as wire:
            if client:
                wire.expect(("", "220 "), ("EHLO a.example", "250"), (f"XCLIENT ADDR={client}", "220 "))
                wire.expect(("EHLO client.example.net", "250"), ("MAIL FROM:<me@example.net>", "250"))
                wire.expect(*((f"RCPT TO:<{each}>", "250") for each in names), ("DATA", "354"))
                return wire.ask(content + ".")
            wire.begin(names, sender="me@example.org")
            return wire.data(content.encode())

    def asked(self, *recipients: str, subject: str, client: str = "127.0.0.1", size: int = 0) -> Ruling:
        """Ask as another mail system does that has one copy for all."""
        request = Request(
            client=Client(client, helo="there"),
            sender="me@example.org",
            recipients=tuple(f"{each}@example.org" for each in recipients),
        )
        content = (
            f"From: <me@example.org>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@x>\r\n\r\nHello.\r\n".encode()
        )

        async def ask() -> Ruling:
            remote = RemoteJudge(RemoteSettings(addresses=(f"unix:{self.door}",)), lambda *_: None)
            try:
                return await remote.judge(request, content + b"more\r\n" * (size // 6), 60.0)
            finally:
                remote.close()

        return asyncio.run(ask())

    def arrived(self, subject: str, count: int = 1) -> list[Mail]:
        wanted = f"Message-ID: <{subject}@x>".encode()

        def look() -> list[Mail]:
            found = [mail for mail in list(self.sink.mails) if wanted in mail.header]
            return found if len(found) >= count else []

        return wait_for(look, f"{count} of {subject}")

    def bounce_of(self, subject: str) -> Mail:
        def look() -> list[Mail]:
            return [
                mail for mail in list(self.sink.mails) if not mail.sender and f"<{subject}@x>".encode() in mail.content
            ]

        return wait_for(look, f"the bounce of {subject}")[0]

    def trace(self, reply: str) -> str:
        return self.command("trace", reply.rpartition(" ")[2]).stdout

    def story(self, reply: str) -> str:
        """All log lines about a message, once nothing of it waits any more."""
        queue_id = reply.rsplit(maxsplit=1)[-1]
        wait_for(lambda: not self.queue(), "the queue to be empty")
        return "\n".join(self.lines("", queue_id))


@pytest.fixture(scope="module")
def gateway(sink: Sink, dns: StubDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuledGateway]:
    with RuledGateway(tmp_path_factory.mktemp("profiles") / "gw", sink, dns) as one:
        yield one


def everybody(mails: list[Mail]) -> list[str]:
    return sorted(each.partition("@")[0] for mail in mails for each in mail.recipients)


@pytest.mark.feature("F-ASP-08")
def test_reject_is_told_in_the_session_and_in_a_personal_profile_bounces(gateway: RuledGateway) -> None:
    refused = gateway.give("refused", subject="r1", port=gateway.before_port)
    assert refused.startswith("550 5.7.1 No entry here")
    assert gateway.give("refused", subject="r2").startswith("250")
    assert b"No entry" in gateway.bounce_of("r2").content or b"It went back" in gateway.bounce_of("r2").content
    assert gateway.give("p-refuser", "plain", subject="r3", port=gateway.before_port).startswith("250")
    bounce = gateway.bounce_of("r3")
    assert bounce.recipients == ["me@example.org"]
    assert b"It went back" in bounce.content
    assert b"p-refuser@example.org" in bounce.content
    assert everybody(gateway.arrived("r3")) == ["plain"]
    assert gateway.give("p-refuser", subject="r4", port=gateway.before_port).startswith("250")
    returned = gateway.bounce_of("r4")
    assert returned.recipients == ["me@example.org"]
    assert b"\r\n\r\nHello.\r\n" in returned.content


@pytest.mark.feature("F-ASP-09")
def test_what_is_done_behind_a_bounce_a_black_hole_and_a_skip(gateway: RuledGateway) -> None:
    gateway.give("hole", subject="h1")
    assert gateway.bounce_of("h1").recipients == ["me@example.org"]
    quiet = gateway.story(gateway.give("quiet", subject="h2"))
    assert "DISCARD" in quiet.upper()
    gateway.give("bounced", subject="h3")
    assert b"X-Bounced: yes" in gateway.arrived("h3")[0].header
    returned = gateway.bounce_of("h3")
    assert returned.recipients == ["me@example.org"]
    assert b"\r\n\r\nHello.\r\n" in returned.content
    gateway.give("skipped", subject="h4")
    assert everybody(gateway.arrived("h4")) == ["skipped"]
    wait_for(lambda: not gateway.queue(), "the queue to be empty")
    ours = [mail for mail in list(gateway.sink.mails) if mail.sender]
    assert not any(b"<h1@x>" in mail.header or b"<h2@x>" in mail.header for mail in ours)
    assert not any(b"<h2@x>" in mail.content for mail in list(gateway.sink.mails))


def test_a_sender_whom_nothing_proves_gets_no_bounce_and_a_copy_is_kept(gateway: RuledGateway) -> None:
    told = gateway.story(gateway.give("hole", subject="n1", client=STRANGER))
    assert "nothing proves its sender" in told
    assert "spam-quarantine" in told.lower() or "spam_quarantine" in told.lower()
    assert not any(b"<n1@x>" in mail.content for mail in list(gateway.sink.mails))


def test_reports_on_mail_of_another_mail_system_are_ours_to_send(gateway: RuledGateway) -> None:
    assert gateway.asked("refused", subject="d1").whole.deed is Deed.REJECT
    ruling = gateway.asked("p-refuser", "plain", subject="d2")
    assert {part.recipients[0]: part.deed for part in ruling.parts} == {
        "p-refuser@example.org": Deed.DISCARD,
        "plain@example.org": Deed.DELIVER,
    }
    report = gateway.bounce_of("d2")
    assert report.recipients == ["me@example.org"]
    assert b"It went back" in report.content
    assert b"p-refuser@example.org" in report.content
    assert b"plain@example.org" not in report.content
    assert gateway.asked("bounced", subject="d3", size=2**21).whole.deed is Deed.DELIVER
    assert b"more\r\n" * 1000 in gateway.bounce_of("d3").content
    assert gateway.asked("hole", subject="d4", client=STRANGER).whole.deed is Deed.DISCARD
    assert gateway.asked("p-refuser", subject="d5", client=STRANGER).whole.deed is Deed.REJECT
    wait_for(lambda: not gateway.queue(), "the queue to be empty")
    told = b"".join(mail.content for mail in list(gateway.sink.mails))
    assert not any(f"<{subject}@x>".encode() in told for subject in ("d1", "d4", "d5"))


def test_a_question_that_comes_again_brings_no_second_report(gateway: RuledGateway) -> None:
    """Its answer was lost: the connection broke, or the asker ended."""
    first = gateway.asked("p-refuser", "plain", subject="again")
    gateway.bounce_of("again")
    second = gateway.asked("p-refuser", "plain", subject="again")
    assert [part.deed for part in second.parts] == [part.deed for part in first.parts]
    assert wait_for(lambda: gateway.lines("its sender has the report already"), "the log to say so")
    gateway.asked("bounced", subject="again")  # about others: that is news
    gateway.asked("bounced", subject="large", size=2**21)
    gateway.asked("bounced", subject="large", size=2**21)
    gateway.bounce_of("large")
    wait_for(lambda: not gateway.queue(), "the queue to be empty")
    reports = [mail.content for mail in list(gateway.sink.mails) if not mail.sender]
    about = [content for content in reports if b"<again@x>" in content]
    assert [b"p-refuser@example.org" in content for content in about].count(True) == 1
    assert len(about) == 2
    assert len([content for content in reports if b"<large@x>" in content]) == 1


@pytest.mark.feature("F-ASP-02")
def test_three_recipients_have_three_reactions(gateway: RuledGateway) -> None:
    reply = gateway.give("p-one", "p-dropper", "plain", "p-two", subject="three")
    mails = gateway.arrived("three", 2)
    assert len(mails) == 2
    marked = next(mail for mail in mails if b"X-Mine: 1" in mail.header)
    assert everybody([marked]) == ["p-one", "p-two"]
    assert everybody([mail for mail in mails if mail is not marked]) == ["plain"]
    assert "rule 1 of profile Marker: header new" in "\n".join(gateway.lines("RULES"))
    wait_for(lambda: not gateway.queue(), "the queue to be empty")
    wait_for(lambda: "rule 1 of profile Dropper" in gateway.trace(reply), "the rule in the trace")


@pytest.mark.feature("F-ASP-04")
def test_lists_of_services_and_names_are_asked(gateway: RuledGateway, dns: StubDns) -> None:
    gateway.give("plain", subject="d1", client=LISTED)
    listed = gateway.arrived("d1")[0].header
    assert b"X-Listed: yes" in listed
    assert b"X-Nameless" not in listed
    gateway.give("plain", subject="d2", client=STRANGER)
    unknown = gateway.arrived("d2")[0].header
    assert b"X-Listed: no" in unknown
    assert b"X-Nameless: yes" in unknown
    gateway.give("plain", subject="d3")  # of ours: nobody is asked, and no rule acts on what is not known
    ours = gateway.arrived("d3")[0].header
    assert b"X-Listed" not in ours
    assert b"X-Nameless" not in ours


@pytest.mark.feature("F-ASP-10")
def test_recipients_are_deleted_added_and_replaced(gateway: RuledGateway) -> None:
    reply = gateway.give("deleted", "other", subject="e1")
    assert everybody(gateway.arrived("e1")) == ["added", "me", "other"]
    assert {mail.sender for mail in gateway.arrived("e1")} == {"me@example.org"}
    gateway.give("replaced", "third", subject="e2")
    [mail] = gateway.arrived("e2")
    assert mail.recipients == ["instead@example.org"]
    wait_for(lambda: not gateway.queue(), "the queue to be empty")
    wait_for(lambda: "delivered to <added@example.org>" in gateway.trace(reply), "the recipient in the trace")


@pytest.mark.feature("F-ASP-11")
def test_headers_are_deleted_replaced_lengthened_and_new(gateway: RuledGateway) -> None:
    head = "X-Secret: a\r\n\tb\r\nX-Kept:  as it  is\r\nx-secret: c\r\nComments: old\r\nKeywords: one\r\n"
    gateway.give("headers", subject="c1", head=head)
    [mail] = gateway.arrived("c1")
    lines = mail.content.split(b"\r\n")
    assert not any(line.lower().startswith(b"x-secret") or line == b"\tb" for line in lines)
    assert b"X-Kept:  as it  is" in lines
    assert [line for line in lines if line.lower().startswith(b"comments")] == [b"Comments: =?utf-8?B?R3LDvMOfZQ==?="]
    assert b"Keywords: one, and more" in lines
    assert b"Subject: [!! RULED] c1" in lines
    assert [line for line in lines if line.startswith(b"X-New")] == [b"X-New: second", b"X-New: first"]
    assert mail.content.endswith(b"\r\n\r\nHello.\r\n")
    assert gateway.lines("headers were changed")


@pytest.mark.feature("F-ASP-01")
def test_the_log_tells_the_order_common_profiles_first(gateway: RuledGateway) -> None:
    gateway.give("p-one", subject="o1", client=LISTED)
    gateway.arrived("o1")
    [line] = wait_for(
        lambda: [
            each for each in gateway.lines("RULES") if "profile Gate: header new; rule 1 of profile Marker" in each
        ],
        "the line about the rules",
    )
    assert 'group="policy", nrcpt=1, rules="rule 6 of profile Gate: header new; rule 1 of profile Marker' in line


def test_a_regular_expression_decides_before_the_queue(gateway: RuledGateway) -> None:
    assert gateway.give("plain", subject="reject me", port=gateway.before_port).startswith("550 5.7.1")
    assert gateway.give("plain", subject="reject me not", port=gateway.before_port).startswith("250")


def test_mail_is_tried_by_command(gateway: RuledGateway, tmp_path: Path) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(b"From: me@example.org\r\nSubject: x\r\n\r\nHello.\r\n")
    names = ("--to", "p-one@example.org", "--to", "p-dropper@example.org", "--from", "a@b.example", "--ip", STRANGER)
    tried = gateway.command("rules", "test", str(mail), *names)
    assert tried.returncode == 0
    one, dropper = tried.stdout.index("to <p-one@example.org>"), tried.stdout.index("to <p-dropper@example.org>")
    assert "rule 1 of profile Marker: header new" in tried.stdout[one:dropper]
    assert "result: delivered" in tried.stdout[one:dropper]
    assert "result: dropped" in tried.stdout[dropper:]
    assert "not known, so that no rule acts on it: whether bl.example list the client" in tried.stdout


def test_a_faulty_set_leaves_the_one_in_force(gateway: RuledGateway) -> None:
    path = gateway.state / "rules" / "profiles" / "dropper.toml"
    sound = path.read_text()
    path.write_text(sound.replace("black_hole", "blackhole"))
    try:
        told = gateway.command("config", "check")
        assert told.returncode == 66
        assert "dropper.toml" in told.stdout + told.stderr
        assert "rule 1, action 1" in told.stdout + told.stderr
        gateway.command("reload")
        quiet = gateway.story(gateway.give("p-dropper", subject="f1"))
        assert "rule 1 of profile Dropper" in quiet
    finally:
        path.write_text(sound)


def test_a_changed_set_is_in_force_after_a_reload(gateway: RuledGateway) -> None:
    path = gateway.state / "rules" / "profiles" / "dropper.toml"
    sound = path.read_text()
    try:
        path.write_text(sound.replace("black_hole", "skip"))
        assert gateway.command("reload").returncode == 0
        gateway.give("p-dropper", subject="l1")
        assert everybody(gateway.arrived("l1")) == ["p-dropper"]
    finally:
        path.write_text(sound)
        gateway.command("reload")
