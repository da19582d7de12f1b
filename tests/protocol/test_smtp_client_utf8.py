"""The sending role and internationalised mail (RFC 6531, RFC 6533): what goes to whom in which form."""

import pytest
from smtp_dialogue import EHLO_ALL, EHLO_NONE, events_of, ready_client

from gatepost.model.envelope import Body, Recipient
from gatepost.smtp import client as c

UTF8 = b"250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n"


def started(ehlo, sender="a@example.com", recipients=("b@example.org",), **values):
    """Return (session, first lines written)."""
    client = ready_client(ehlo)
    given = tuple(each if isinstance(each, Recipient) else Recipient(each) for each in recipients)
    client.start(c.Transaction(sender, given, 0, **values))
    return client, client.take_output().decode().split("\r\n")


def failed(client):
    (event,) = events_of(client)
    return event.cause, [(o.reply.code, o.reply.enhanced) for o in event.recipients]


def test_utf8_mail_to_a_peer_that_takes_it():
    _, lines = started(
        UTF8, "jörg@münchen.example", ("用户@例子.example", "b@example.org"), smtputf8=True, header_utf8=True, body=Body.EIGHT_BIT
    )  # fmt: skip
    assert lines[:3] == [
        "MAIL FROM:<jörg@münchen.example> BODY=8BITMIME SMTPUTF8",
        "RCPT TO:<用户@例子.example>",
        "RCPT TO:<b@example.org>",
    ]


@pytest.mark.parametrize(
    ("sender", "recipient"), [("ä@example.com", "b@example.org"), ("a@example.com", "b@ä.example")]
)
def test_an_address_in_utf8_brings_the_parameter_though_nobody_declared_it(sender, recipient):
    _, lines = started(UTF8, sender, (recipient,))
    assert lines[:2] == [f"MAIL FROM:<{sender}> SMTPUTF8", f"RCPT TO:<{recipient}>"]


def test_declared_mail_without_anything_utf8_goes_anywhere():
    _, lines = started(EHLO_ALL, smtputf8=True)
    assert lines[:2] == ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>"]


def test_domains_become_a_labels_for_others():
    _, lines = started(EHLO_ALL, "a@Bücher.example", ("b@münchen.example", "c@xn--bcher-kva.example"), smtputf8=True)
    assert lines[:3] == [
        "MAIL FROM:<a@xn--bcher-kva.example>",
        "RCPT TO:<b@xn--mnchen-3ya.example>",
        "RCPT TO:<c@xn--bcher-kva.example>",
    ]


def test_recipient_whose_local_part_needs_it_fails_alone():
    client, lines = started(EHLO_ALL, recipients=("ü@example.org", "b@example.org", "x\r\ny@example.org"))
    assert lines[:3] == ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA"]
    events_of(client, b"250 m\r\n250 r\r\n354 go\r\n")
    client.finish_data()
    client.take_output()
    (event,) = events_of(client, b"250 ok\r\n")
    assert [(o.reply.code, o.reply.enhanced) for o in event.recipients] == [(553, "5.6.7"), (250, ""), (553, "5.1.3")]


@pytest.mark.parametrize("sender", ["ü@example.com", "a@exa mple\u3002com", "a@-ü.example"])
def test_sender_that_needs_it_fails_all(sender):
    client, lines = started(EHLO_NONE, sender, ("b@example.org", "c@example.org"), smtputf8=True)
    assert lines == [""]
    cause, replies = failed(client)
    if " " in sender:
        assert (cause, replies) == (c.LocalCause.SENDER, [(553, "5.1.7")] * 2)
    else:
        assert (cause, replies) == (c.LocalCause.UTF8, [(553, "5.6.7")] * 2)


def test_header_that_needs_it_fails_all_but_only_when_declared():
    client, _ = started(EHLO_ALL, smtputf8=True, header_utf8=True, body=Body.EIGHT_BIT)
    assert failed(client) == (c.LocalCause.UTF8, [(554, "5.6.9")])
    _, lines = started(EHLO_ALL, header_utf8=True, body=Body.EIGHT_BIT)
    assert lines[0] == "MAIL FROM:<a@example.com> BODY=8BITMIME"


@pytest.mark.parametrize(
    ("given", "with_utf8", "without"),
    [
        ("rfc822;b@example.org", "rfc822;b@example.org", "rfc822;b@example.org"),
        ("utf-8;ü@münchen.example", "utf-8;ü@münchen.example", "utf-8;\\x{FC}@m\\x{FC}nchen.example"),
        ("utf-8;\\x{FC}@x.example", "utf-8;\\x{FC}@x.example", "utf-8;\\x{FC}@x.example"),
        ("UTF-8;😀@x.example", "UTF-8;😀@x.example", "UTF-8;\\x{1F600}@x.example"),
        ("utf-8;a b", None, None),
        ("utf-8;ü=", None, None),
        ("rfc822;ü", None, None),
        ("utf-8;" + "ü" * 90, "utf-8;" + "ü" * 90, None),
        ("utf-8;" + "ü" * 500, None, None),
    ],
)
def test_original_recipient(given, with_utf8, without):
    for ehlo, declared, expected in ((UTF8, True, with_utf8), (UTF8, False, without), (EHLO_ALL, True, without)):
        _, lines = started(ehlo, recipients=(Recipient("b@example.org", (), given),), smtputf8=declared)
        assert lines[1] == "RCPT TO:<b@example.org>" + ("" if expected is None else f" ORCPT={expected}")


@pytest.mark.parametrize(
    "bad", ["\r", "\n", " ", "<", ">", "\x85", "\u2028", "\u2029", "\u00a0", "\u3000", "\ud800", "\x7f", "\0"]
)
def test_what_could_end_a_command_never_leaves(bad):
    for address in (f"ü{bad}x@example.org", f"x@ü{bad}.example", f"x{bad}@example.org"):
        client, lines = started(UTF8, recipients=(address,), smtputf8=True)
        assert lines == [""]
        assert failed(client)[1] == [(553, "5.1.3")]
