"""Spots: what is to be changed in a header, and the hops it tells of."""

import pytest

from gatepost.antispam.content import inspect_content
from gatepost.antispam.headers.received import parse_received, read_date
from gatepost.antispam.spots import FOREIGN_LIMIT, find_spots, is_ours
from gatepost.antispam.view import build_view
from gatepost.filter.spam_bounds import check_spam
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

OPTIONS = SpamOptions(hostname="Mx.Example.org", header_prefix="X-SpamTest")


def spots(content: bytes):
    return find_spots(build_view(parse(content), OPTIONS))


def taken(content: bytes) -> list[bytes]:
    return [content[spot.start : spot.end] for spot in spots(content).foreign]


RECEIVED = [
    (b"from mail.a.example (rdns.a.example [192.0.2.1]) by mx.b.example (Postfix) with ESMTP id 1; Mon", "192.0.2.1"),
    (b"from a (b [IPv6:2001:DB8::1])\r\n\tby c with ESMTPS (TLSv1.3) id 2; Mon", "2001:db8::1"),
    (b"from a.example ([192.0.2.2]) by b with esmtps (Exim 4.96) id x; Mon", "192.0.2.2"),
    (b"from [192.0.2.3] (helo=[198.51.100.9]) by b with esmtp (Exim 4.96)", "192.0.2.3"),
    (b"from r.example ([192.0.2.4]:40112 helo=[198.51.100.9]) by b with esmtp (Exim)", "192.0.2.4"),
    (b"from [198.51.100.9] (r.example [192.0.2.5] (may be forged)) by b (8.17/8.17) with ESMTP id x", "192.0.2.5"),
    (b"from u@localhost (root@r.example [192.0.2.6]) by b (8.9.3)", "192.0.2.6"),
    (b"from unknown (HELO [198.51.100.9]) (192.0.2.7) by b with SMTP; 1 Jan 2024 00:00:00 -0000", "192.0.2.7"),
    (b"from r.example (HELO x) (user@192.0.2.8) by b with ESMTPA", "192.0.2.8"),
    (b"(qmail 4411 invoked from network); 1 Jan 2024 00:00:00 -0000", ""),
    (b"from A.b.example (10.0.0.1) by C.b.example (10.0.0.2) with Microsoft SMTP Server id 15.1", "10.0.0.1"),
    (b"from A.b (2603:10a6:20b:1::9) by C.b (2603:10a6::2) with Microsoft SMTP Server", "2603:10a6:20b:1::9"),
    (b"from EX1 ([fe80::1%12]) by EX2 ([fe80::2%13]) with mapi id 15.0", "fe80::1"),
    (b"from mail-x.google.com (mail-x.google.com. [209.85.220.41]) by mx.google.com with SMTPS id a", "209.85.220.41"),
    (b"by 2002:a05:612c:160d:b0:3f9 with SMTP id fw13csp4612669vqb; Tue", ""),
    (b"from [192.0.2.9] by web1.mail.example.com via HTTP; Mon", "192.0.2.9"),
    (b"from 192.0.2.10  (EHLO x.example) (192.0.2.10) by mta1 with SMTP", "192.0.2.10"),
    (b"from localhost ([127.0.0.1]) by localhost (h [127.0.0.1]) (amavisd-new, port 10024)", "127.0.0.1"),
    (b"from x (unknown [::ffff:192.0.2.11]) by b with ESMTP", "192.0.2.11"),
    (b"from x ([999.1.1.1]) by b with ESMTP", ""),
    (b"from x by b ([192.0.2.12]) with ESMTP", ""),
    (b"", ""),
    (b"((((((", ""),
]


@pytest.mark.parametrize(("raw", "client"), RECEIVED)
def test_the_client_of_a_received_field(raw, client):
    assert parse_received(raw).client == client


def test_a_received_field_in_all_its_words():
    hop = parse_received(
        b"from me.example (r.example [192.0.2.1])\r\n\tby Mx.Example with esmtps id 1; Mon, 1 Jan 2024 02:00:00 +0100"
    )
    assert (hop.helo, hop.by, hop.protocol) == ("me.example", "mx.example", "ESMTPS")
    assert read_date(hop.date) == 1704070800.0


@pytest.mark.parametrize(
    "text", ["", "soon", "Mon, 99 Foo 2024", "1 Jan 99999999 00:00:00", "Mon, 31 Feb 2024 00:00:00 +0000"]
)
def test_what_is_no_date(text):
    assert read_date(text) is None


def test_hops_stand_newest_first_and_one_without_an_address_keeps_its_place():
    content = b"".join(b"Received: " + raw + b"\r\n" for raw, _ in RECEIVED[:10]) + b"\r\nx"
    assert spots(content).hops == tuple(client for _, client in RECEIVED[:10])


def test_fields_of_ours_that_came_with_the_mail_are_foreign():
    forged = [
        b"X-SpamTest-Status: Not detected\r\n",
        b"x-spamtest-RATE: 0\r\n\t0\r\n",
        b"X-SpamTest-Info : x\r\n",
        b"Authentication-Results: mx.example.org; spf=pass\r\n",
        b"AUTHENTICATION-RESULTS:\r\n (a (b) c) MX.example.org (d) 1; spf=pass\r\n",
        b'Authentication-Results: "mx.example.org" ; dkim=pass\r\n',
        b"Authentication-Results: mx . example . org; dkim=pass\r\n",
        b"Authentication-Results: mx.example.org. dkim=pass\r\n",
        b"Authentication-Results: (mx.example.org; dkim=pass\r\n",
    ]
    honest = [
        b"Subject: X-SpamTest-Status: x\r\n",
        b"X-SpamTester: x\r\n",
        b"Authentication-Results: mx.example.org.evil.example; spf=pass\r\n",
        b"Authentication-Results: mx.other.example; spf=pass smtp.helo=mx.example.org\r\n",
        b"Authentication-Results: amx.example.org; spf=pass\r\n",
        b"ARC-Authentication-Results: i=1; mx.example.org; spf=pass\r\n",
    ]
    content = (
        b"".join(a for pair in zip(forged, honest + honest, strict=False) for a in pair)
        + b"\r\nX-SpamTest-Status: x\r\n"
    )
    assert taken(content) == forged


def test_a_name_with_digits_is_not_taken_for_a_version():
    assert is_ours(b"mx1; spf=pass", "mx1")
    assert is_ours(b"mx1 1; spf=pass", "mx1")
    assert not is_ours(b"mx; spf=pass", "mx1")
    assert not is_ours(b"mx.example.org; none", "")


def test_fields_of_a_message_inside_are_not_ours_to_change():
    inner = b"X-SpamTest-Status: x\r\nSubject: inner\r\nKeywords: inner\r\n\r\nx"
    content = b"Content-Type: message/rfc822\r\n\r\n" + inner
    found = spots(content)
    assert (found.subject, found.foreign, found.keywords) == (None, (), ())


def test_the_first_subject_with_its_bytes_and_its_text():
    content = b"From: a@b.example\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n aus\r\nSubject: second\r\n\r\n"
    subject = spots(content).subject
    assert content[subject.start : subject.end].startswith(b"Subject: =?")
    assert content[subject.value : subject.end] == b"=?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n aus\r\n"
    assert subject.text == "grüße aus"


def test_more_forged_fields_than_can_be_taken_out_are_told():
    content = b"X-SpamTest-A: b\r\nC: d\r\n" * (FOREIGN_LIMIT + 1) + b"\r\n"
    facts = inspect_content(parse(content), OPTIONS, ())
    check_spam(facts, len(content))
    assert len(facts.foreign) == FOREIGN_LIMIT
    assert [sign.name for sign in facts.signs] == ["forged-fields"]
    content = b"X-SpamTest-A: b\r\nC: d\r\n" * FOREIGN_LIMIT + b"\r\n"
    assert inspect_content(parse(content), OPTIONS, ()).signs == ()


@pytest.mark.parametrize(
    "before",
    [
        b"From: a@b.example\r\nno field\r\n",
        b"no field\r\n",
        b"From: a@b.example\r\n\r\r\n",
        b"a:\r\n" * 20_001,
        b"A: " + b"x" * 1_100_000 + b"\r\n",
    ],
    ids=["line", "first-line", "odd-empty-line", "fields", "bytes"],
)
def test_fields_of_ours_where_the_parser_has_given_up(before):
    forged = [b"x-spamtest-Status : Trusted\r\n\tx\r\n", b"Authentication-Results: mx.example.org; dmarc=pass\r\n"]
    others = [b"Authentication-Results: mx.other.example; spf=pass\r\n", b"X-SpamTester: x\r\n"]
    header = before + b"".join(a + b for a, b in zip(forged, others, strict=True))
    for body in (b"\r\nX-SpamTest-Status: x\r\n", b"\nX-SpamTest-Status: x\r\n"):
        assert taken(header + body) == forged


def test_a_body_that_begins_after_the_empty_line_is_not_searched():
    for content in (b"A: b\r\n\r\nX-SpamTest-A: b\r\n", b"A: b\n\nX-SpamTest-A: b\n", b"\r\nX-SpamTest-A: b\r\n", b""):
        assert taken(content) == []


@pytest.mark.parametrize(
    ("value", "ours"),
    [
        (b'"mx\\.example\\.org"; dkim=pass', True),
        (b"(" + b"c" * 2_000 + b") mx.example.org; dkim=pass", True),
        (b"\r\n \t" * 300 + b"mx.example.org; dkim=pass", True),
        (b"mx.example.org/1; dkim=pass", True),
        (b"mx.example.org:25; dkim=pass", True),
        (b"\xef\xbb\xbfmx.example.org; dkim=pass", True),
        (b"(" * 500 + b"mx.example.org; dkim=pass", True),
        (b"(no end; dkim=pass header.d=other.example", False),
        (b"mx.example.orgs; dkim=pass", False),
        (b"mx.example.org-2; dkim=pass", False),
        (b"mx.example.org.2; dkim=pass", False),
        (b"(mx.example.org) mx.other.example; dkim=pass", False),
        (b"mx.other.example; dkim=pass (mx.example.org;", False),
    ],
)
def test_odd_ways_to_write_who_states_results(value, ours):
    assert is_ours(value, "mx.example.org") is ours
