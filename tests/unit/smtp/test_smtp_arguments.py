"""Paths and parameters of MAIL and RCPT, xtext, and what may leave in a command."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.envelope import Body, Notify, Recipient, Ret
from gatepost.smtp import address, parameters, sendable
from gatepost.smtp.errors import ArgumentError

LONGEST = "l" * 244
"""Of a local part before `@b.example` in a path of 256 octets."""
DOMAIN_LABELS = ".".join(["d" * 63] * 3)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("<a@b>", "a@b"),
        ("<a.b+c=d@sub.example.com>", "a.b+c=d@sub.example.com"),
        ("<!#$%&'*+-/=?^_`{|}~@example.com>", "!#$%&'*+-/=?^_`{|}~@example.com"),
        ('<"a b"@example.com>', '"a b"@example.com'),
        (r'<"a\"b\\@c>"@example.com>', r'"a\"b\\@c>"@example.com'),
        ('<""@example.com>', '""@example.com'),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
        ("<a@[ipv6:::ffff:192.0.2.1]>", "a@[ipv6:::ffff:192.0.2.1]"),
        ("<@one.example,@two.example:a@b.example>", "a@b.example"),
        ("<@one.example:a@[IPv6:::1]>", "a@[IPv6:::1]"),
        ("<a@under_score.example>", "a@under_score.example"),
        (f"<{LONGEST}@b.example>", f"{LONGEST}@b.example"),
        (f"<@a.example:{LONGEST}@b.example>", f"{LONGEST}@b.example"),
        (f'<"{LONGEST[2:]}"@b.example>', f'"{LONGEST[2:]}"@b.example'),
        (f"<a@{'d' * 63}.example>", f"a@{'d' * 63}.example"),
        (f"<a@{DOMAIN_LABELS}.{'d' * 60}>", f"a@{DOMAIN_LABELS}.{'d' * 60}"),
    ],
)
def test_paths(path, expected):
    assert address.parse_mail_argument(f"FROM:{path}") == (expected, "")
    assert address.parse_rcpt_argument(f"to: {path} X=1") == (expected, "X=1")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "<",
        ">",
        "a@b",
        "<a@b",
        "a@b>",
        "<a>",
        "<a@>",
        "<@b>",
        "<a@b>x",
        "<a@b>>",
        "<<a@b>",
        "<a b@c>",
        "<a@b c>",
        "<a@@b>",
        "<a@b@c>",
        "<.a@b>",
        "<a.@b>",
        "<a..b@c>",
        "<a@.b>",
        "<a@b.>",
        "<a@b..c>",
        "<a@-b>",
        "<a@b->",
        "<a@b-.c>",
        "<a@b.-c>",
        "<a@[]>",
        "<a@[192.0.2]>",
        "<a@[192.0.2.256]>",
        "<a@[IPv6:]>",
        "<a@[IPv6:1]>",
        "<a@[IPv6:fe80::1%eth0]>",
        "<a@[x:y]>",
        '<"a@b>',
        '<"a"b@c>',
        '<"a"">@c>',
        "<@one.example>",
        f"<{LONGEST}l@b.example>",
        f'<"{LONGEST[1:]}"@b.example>',
        f"<a@{'d' * 64}.example>",
        f"<a@{DOMAIN_LABELS}.{'d' * 61}>",
    ],
)
def test_no_paths(path):
    for parse, keyword in ((address.parse_mail_argument, "FROM:"), (address.parse_rcpt_argument, "TO:")):
        with pytest.raises(ArgumentError) as error:
            parse(keyword + path)
        assert (error.value.reply.code, error.value.reply.enhanced) == (501, "5.5.4")


def test_null_sender_and_postmaster_are_each_good_on_one_side_only():
    assert address.parse_mail_argument("FROM:<> SIZE=1") == ("", "SIZE=1")
    assert address.parse_rcpt_argument("TO:<POSTmaster>") == ("POSTmaster", "")
    with pytest.raises(ArgumentError):
        address.parse_rcpt_argument("TO:<>")
    with pytest.raises(ArgumentError):
        address.parse_mail_argument("FROM:<postmaster>")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a@b.example", ("a@b.example", "")),
        ("  a@b.example", ("a@b.example", "")),
        ("a.b+c=d@b.example SIZE=5  BODY=7BIT", ("a.b+c=d@b.example", "SIZE=5  BODY=7BIT")),
        ("a@[192.0.2.1] X=<", ("a@[192.0.2.1]", "X=<")),
        ("a@[IPv6:2001:db8::1]", ("a@[IPv6:2001:db8::1]", "")),
    ],
)
def test_addresses_without_brackets_are_read_where_that_is_wanted(written, expected):
    for parse, keyword in ((address.parse_mail_argument, "FROM:"), (address.parse_rcpt_argument, "TO:")):
        assert parse(keyword + written, unbracketed=True) == expected
        assert not address.is_bracketed(keyword + written)
        with pytest.raises(ArgumentError):
            parse(keyword + written)


@pytest.mark.parametrize(
    "written",
    [
        "", " ", "a", "@b.example", "a@", "a@b.example>", "<a@b.example", "a@b.example,c@d.example", "a@b@c", "a b@c.example",
        '"a b"@c.example', '"a"@c.example', "@x:a@b.example", "a@b.example:25", "a@b.example\tSIZE=1", "Name <a@b.example>",
        "a@b..example", "a@-b.example", "a@b.example.", "a@[192.0.2.256]", "a@b.example;X", "(x)a@b.example", "a@b.exämple",
        "ä@b.example", "a\\@b.example", "a@b.example(x)", f"{'a' * 255}@b.example",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_needs_its_brackets(written):
    for parse, keyword in ((address.parse_mail_argument, "FROM:"), (address.parse_rcpt_argument, "TO:")):
        with pytest.raises(ArgumentError):
            parse(keyword + written, unbracketed=True)


def test_postmaster_without_brackets_is_a_recipient_only():
    assert address.parse_rcpt_argument("TO:PostMaster", unbracketed=True) == ("PostMaster", "")
    with pytest.raises(ArgumentError):
        address.parse_mail_argument("FROM:postmaster", unbracketed=True)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_argument_is_parsed_or_refused(text):
    for parse in (address.parse_mail_argument, address.parse_rcpt_argument):
        for argument in (text, f"FROM:<{text}>", f"TO:<{text}@example.com>"):
            try:
                found, _ = parse(argument, unbracketed=True)
            except ArgumentError:
                continue
            assert sendable.is_sendable(found)


def test_hostile_arguments_take_linear_time():
    for piece in ("-", ".", "a.", '\\"', "@a,", "a@", "[", "<", " X=1"):
        for frame in ("FROM:{}", "FROM:a@{}<", "FROM:<{}", 'FROM:<"{}', "FROM:<a@{}", "FROM:<@{}"):
            with pytest.raises(ArgumentError):
                address.parse_mail_argument(frame.format(piece * (200_000 // len(piece))), unbracketed=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", parameters.MailParameters()),
        ("SIZE=0 body=7bit", parameters.MailParameters()),
        ("SIZE=12345678901234567890", parameters.MailParameters(size=12345678901234567890)),
        (
            "BODY=8BITMIME  RET=full ENVID=a+2Bb",
            parameters.MailParameters(body=Body.EIGHT_BIT, ret=Ret.FULL, envid="a+2Bb"),
        ),
        ("BODY=binarymime", parameters.MailParameters(body=Body.BINARY)),
        ("SMTPUTF8 AUTH=<> ", parameters.MailParameters(smtputf8=True, auth=True)),
        ("auth=a+2Bb", parameters.MailParameters(auth=True)),
        ("ENVID=" + "x" * 100, parameters.MailParameters(envid="x" * 100)),
    ],
)
def test_mail_parameters(text, expected):
    assert parameters.parse_mail_parameters(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Recipient("a@b")),
        ("NOTIFY=NEVER", Recipient("a@b", (Notify.NEVER,))),
        ("notify=success,FAILURE,Delay", Recipient("a@b", (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY))),
        ("ORCPT=rfc822;a+2Bb@c", Recipient("a@b", (), "rfc822;a+2Bb@c")),
        ("ORCPT=rfc822;" + "x" * 493, Recipient("a@b", (), "rfc822;" + "x" * 493)),
    ],
)
def test_rcpt_parameters(text, expected):
    assert parameters.parse_rcpt_parameters("a@b", text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SIZE=", 501),
        ("SIZE=-1", 501),
        ("SIZE=123456789012345678901", 501),
        ("BODY=", 501),
        ("BODY=BINARY", 501),
        ("RET=", 501),
        ("ENVID=", 501),
        ("ENVID=a=b", 501),
        ("ENVID=a+2b", 501),
        ("ENVID=" + "x" * 101, 501),
        ("RET=FULL RET=FULL", 501),
        ("=1", 501),
        ("-X=1", 501),
        ("AUTH=", 501),
        ("AUTH", 501),
        ("AUTH=a=b", 501),
        ("SMTPUTF8=1", 555),
        ("\u017fIZE=1", 501),
        ("ENVID=ä", 501),
        ("SIZE=\u0661", 501),
        ("NOTIFY=NEVER", 555),
    ],
)
def test_wrong_mail_parameters(text, code):
    with pytest.raises(ArgumentError) as error:
        parameters.parse_mail_parameters(text)
    assert (error.value.reply.code, error.value.reply.enhanced) == (code, "5.5.4")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("NOTIFY=", 501),
        ("NOTIFY=SOMETIMES", 501),
        ("NOTIFY=NEVER,DELAY", 501),
        ("NOTIFY=DELAY,DELAY", 501),
        ("ORCPT=a@b", 501),
        ("ORCPT=rfc822;", 501),
        ("ORCPT=rfc822;" + "x" * 494, 501),
        ("SIZE=1", 555),
    ],
)
def test_wrong_rcpt_parameters(text, code):
    with pytest.raises(ArgumentError) as error:
        parameters.parse_rcpt_parameters("a@b", text)
    assert error.value.reply.code == code


def test_xtext_of_the_standard():
    assert parameters.decode_xtext("Bob+2Btag+3Dx+20y@example.com") == "Bob+tag=x y@example.com"
    assert parameters.decode_xtext("no=xtext") == "no=xtext"


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_xtext_round_trip(text):
    written = re.sub(r"[^!-*,-<>-~]", lambda found: f"+{ord(found[0]):02X}", text)  # RFC 3461 §4
    assert parameters.is_xtext(written)
    assert parameters.decode_xtext(written) == text


@pytest.mark.parametrize("text", ["", "root", "a@b", '"a b"@c', "odd..one@-x", "a@[IPv6:::1]"])
def test_sendable(text):
    assert sendable.is_sendable(text)


@pytest.mark.parametrize(
    "text", ["a b@c", "a@b>", "<a@b", "a\r\n", "a@b\r\nDATA", "a\0@b", "ä@b", "a@ö", '"a\n"@b', "a@b c", "a\t@b"]
)
def test_not_sendable(text):
    assert not sendable.is_sendable(text)
