"""Postfix, gateway, Postfix: a user submits at the first with all reports asked for, and gets them back through the gateway."""

import email
import email.message
import functools
import smtplib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix, body_of
from tests.support.clock import DAY, HOUR, SteppedClock
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.waiting import wait_for

ROUTES = "# Where mail goes on to;"
SUBMITTER = "ann@a.example"
EVERYTHING = "NOTIFY=SUCCESS,DELAY,FAILURE"
BACKOFF = {
    'minimal_backoff_time = "15 min"': 'minimal_backoff_time = "1 min"',
    'maximal_backoff_time = "4 h"': 'maximal_backoff_time = "1 min"',
}


class Chain(NamedTuple):
    """The first Postfix and its port, the gateway with its clock, the last Postfix."""

    submission: int
    first: Postfix
    gateway: Gateway
    clock: SteppedClock
    last: Postfix


class Report(NamedTuple):
    """What a report says, and about what."""

    reporter: str
    message: email.message.Message
    recipient: email.message.Message
    original: str


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    base = tmp_path_factory.mktemp("chain")
    clock = SteppedClock(base)
    program = root_program("postfix")
    first, last = Postfix(program, "mail.a.example"), Postfix(program, "mail.b.example")
    first.mailboxes(SUBMITTER)
    last.mailboxes("bob@b.example", "bob@silent.example", "bob@strict.b.example")
    last.settings["smtpd_reject_unlisted_recipient"] = "no"
    gone = free_port()
    hops = {
        "a.example": first.listener(),
        "b.example": last.listener(),
        "strict.b.example": last.listener({"smtpd_reject_unlisted_recipient": "yes"}),
        "silent.example": last.listener({"smtpd_discard_ehlo_keywords": "dsn silent-discard"}),
        "gone.example": gone,
    }
    submission = first.listener()
    routes = "".join(
        f'[[route]]\nrecipients = ["{domain}"]\nnext_hop = "[127.0.0.1:{port}]"\n\n' for domain, port in hops.items()
    )
    gateway = Gateway(base / "gw", gone, replace={ROUTES: routes + ROUTES, **BACKOFF}, env=clock.env)
    for domain in hops:
        if domain != "a.example":
            first.way(domain, gateway.port)
    # What the last one reports goes back the way it came.
    last.way("a.example", gateway.port)
    with first, last, gateway:
        yield Chain(submission, first, gateway, clock, last)
        assert gateway.stop() == 0


def submit(chain: Chain, recipient: str, subject: str, notify: str = EVERYTHING) -> None:
    envid = subject.replace(" ", "-")
    with smtplib.SMTP("127.0.0.1", chain.submission, timeout=120) as client:
        client.ehlo("desk.a.example")
        options = ("RET=HDRS", f"ENVID={envid}+2B1")
        client.sendmail(SUBMITTER, [recipient], plain(subject), options, (notify, f"ORCPT=rfc822;{recipient}"))


def reports(chain: Chain, subject: str) -> list[Report]:
    """Every report in the submitter's mailbox about the mail with this subject."""
    found = []
    for raw in chain.first.mails(SUBMITTER):
        mail = email.message_from_bytes(raw)
        if mail.get_content_type() != "multipart/report":
            continue
        parts = mail.get_payload()
        assert isinstance(parts, list)
        status, original = parts[1].get_payload(), parts[2].as_string()
        if f"\nSubject: {subject}\n" in original:
            assert isinstance(status, list)
            assert not mail.defects
            assert mail.get_param("report-type") == "delivery-status"
            assert mail["Return-Path"] == "<>"
            found.append(Report(status[0]["Reporting-MTA"], status[0], status[1], original))
    return found


def report(chain: Chain, subject: str, action: str) -> Report:
    def look() -> Report | None:
        return next((r for r in reports(chain, subject) if r.recipient["Action"] == action), None)

    try:
        found = wait_for(look, f"a report {action!r} about {subject!r}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{chain.gateway.log()[-2000:]}\n{chain.last.log()[-2000:]}") from None
    assert found is not None
    return found


def check(found: Report, subject: str, recipient: str, status: str) -> None:
    assert found.message["Original-Envelope-Id"] == subject.replace(" ", "-") + "+1"
    assert found.recipient["Final-Recipient"].replace(" ", "") == f"rfc822;{recipient}"
    assert found.recipient["Original-Recipient"].replace(" ", "") == f"rfc822;{recipient}"
    assert found.recipient["Status"] == status
    assert "hello" not in body_of(found.original.encode()).decode(), "RET=HDRS"


def test_success_is_reported_by_the_last_server(chain: Chain) -> None:
    submit(chain, "bob@b.example", "success far")
    found = report(chain, "success far", "delivered")
    assert "mail.b.example" in found.reporter
    check(found, "success far", "bob@b.example", "2.0.0")
    chain.last.arrived("bob@b.example", "success far")
    assert len(reports(chain, "success far")) == 1


def test_success_is_reported_as_relayed_where_the_last_server_has_no_dsn(chain: Chain) -> None:
    submit(chain, "bob@silent.example", "success near")
    found = report(chain, "success near", "relayed")
    assert found.reporter == "dns; gw.example.org"
    # "Relayed to a mailer that cannot report" (RFC 3463 §3.2).
    check(found, "success near", "bob@silent.example", "2.1.9")
    chain.last.arrived("bob@silent.example", "success near")
    assert len(reports(chain, "success near")) == 1


def test_failure_at_the_last_server_is_reported_by_us(chain: Chain) -> None:
    submit(chain, "nobody@strict.b.example", "failure near")
    found = report(chain, "failure near", "failed")
    assert found.reporter == "dns; gw.example.org"
    check(found, "failure near", "nobody@strict.b.example", "5.1.1")
    assert "User unknown" in found.recipient["Diagnostic-Code"]


def test_failure_behind_the_last_server_comes_through_us(chain: Chain) -> None:
    submit(chain, "nobody@b.example", "failure far")
    found = report(chain, "failure far", "failed")
    assert "mail.b.example" in found.reporter
    check(found, "failure far", "nobody@b.example", "5.1.1")
    # It is mail like any other: taken in with the null sender, handed on to the first Postfix.
    sent = f"rcpt=<{SUBMITTER}>"
    wait_for(lambda: [line for line in chain.gateway.lines(sent) if "status=sent" in line], "it in the log")


def test_nobody_is_told_who_does_not_want_to_be(chain: Chain) -> None:
    submit(chain, "nobody@strict.b.example", "never told", "NOTIFY=NEVER")
    received = wait_for(functools.partial(chain.gateway.lines, "message_id=<never.told@"), "it to be received")[0]
    queue_id = received.partition("] ")[2].partition(":")[0]
    wait_for(functools.partial(chain.gateway.lines, "status=failed", queue_id), "the failure")
    submit(chain, "nobody@strict.b.example", "told")
    report(chain, "told", "failed")
    assert reports(chain, "never told") == []


def test_delay_is_reported_once_then_success(chain: Chain) -> None:
    submit(chain, "bob@gone.example", "delayed")
    address = "bob@gone.example"
    wait_for(functools.partial(chain.gateway.lines, "DEFERRED"), "the deferral")
    chain.clock.step(4.2 * HOUR)
    found = report(chain, "delayed", "delayed")
    assert found.reporter == "dns; gw.example.org"
    check(found, "delayed", address, found.recipient["Status"])
    assert found.recipient["Status"].startswith("4.")
    assert found.recipient["Will-Retry-Until"]
    chain.clock.step(5 * DAY)
    given_up = report(chain, "delayed", "failed")
    check(given_up, "delayed", address, given_up.recipient["Status"])
    assert len(reports(chain, "delayed")) == 2
    wait_for(lambda: chain.gateway.queue() == [], "an empty queue")
