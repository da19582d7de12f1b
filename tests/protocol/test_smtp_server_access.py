"""The receiving role: STARTTLS, AUTH, XCLIENT, XFORWARD, early talkers."""

import base64

import pytest
from smtp_dialogue import OPENING, Served, accept_all, cut, drive, serve, serve_every_way, settings

from gatepost.model.reply import reply
from gatepost.smtp import replies, requests
from gatepost.smtp import server as s
from gatepost.smtp.server_access import FAILED_SIGN_INS
from gatepost.smtp.server_core import ERROR_LIMIT

EHLO = b"EHLO user\r\n"
MAIL = b"MAIL FROM:<a@example.com>\r\n"
TLS = ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
STARTTLS = settings(starttls=True)
SUBMISSION = settings(starttls=True, auth=("PLAIN", "LOGIN"), require_tls=True, require_auth=True)
TRUSTED = settings(xclient=True, xforward=True)
PASSWORD = "correct horse"


def encrypted(stream, given=SUBMISSION, decide=accept_all) -> Served:
    """Serve a session that began with a handshake: whole, byte by byte and in threes."""
    whole, *others = (
        drive(s.ServerSession(given, "192.0.2.1", TLS), cut(stream, size), decide) for size in (len(stream), 1, 3)
    )
    assert all(other == whole for other in others)
    return whole


def plain(user: str, password: str, identity: str = "") -> bytes:
    return base64.b64encode(f"{identity}\0{user}\0{password}".encode())


def check_password(event):
    if isinstance(event, s.SignIn) and event.password != PASSWORD:
        return replies.SIGN_IN_FAILED
    return None


# -- STARTTLS


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("behind", [b"", b"EHLO evil\r\nMAIL FROM:<x@example.com>\r\n", b"NOOP", b"\n", b"x" * 5000])
def test_nothing_sent_behind_starttls_is_read(size, behind):
    session = s.ServerSession(STARTTLS, "192.0.2.1")
    stream = EHLO + b"STARTTLS\r\n" + behind
    served = drive(session, cut(stream, size or len(stream)))
    assert served.lines[-1] == "220 2.0.0 Ready to start TLS"
    assert [type(event) for event in served.events] == [s.Hello, s.StartTls]
    assert session.waiting is s.Waiting.HANDSHAKE
    assert session._input.empty
    assert session.timeout_s == STARTTLS.command_s
    assert drive(session, [b"MAIL FROM:<x@example.com>\r\n", b"half"]).output == b""
    session.feed(EHLO)
    session.tls_started(*TLS, "CN=client")
    assert (session.tls, session.client_subject) == (" ".join(TLS), "CN=client")
    assert session.waiting is s.Waiting.COMMAND
    served = drive(session, [MAIL, EHLO, b"STARTTLS\r\n"])
    assert served.codes == [503, *[250] * 6, 503], "knowledge from before the handshake is gone"
    assert b"STARTTLS" not in served.output


def test_handshake_is_asked_for_once():
    session = s.ServerSession(STARTTLS, "192.0.2.1")
    with pytest.raises(RuntimeError, match="handshake"):
        session.tls_started(*TLS)


def test_starttls_where_it_has_no_place():
    assert serve_every_way(EHLO + b"STARTTLS\r\n").codes[-1] == 502
    served = serve_every_way(EHLO + b"STARTTLS now\r\n" + MAIL + b"STARTTLS\r\n", STARTTLS)
    assert served.codes[6:] == [250, 501, 250, 503]
    assert served.of(s.StartTls) == []
    assert encrypted(EHLO + b"STARTTLS\r\n", STARTTLS).codes[6:] == [503]


def test_starttls_refused_changes_nothing():
    served = serve_every_way(
        EHLO + b"STARTTLS\r\n" + MAIL,
        STARTTLS,
        lambda event: replies.TLS_UNAVAILABLE if isinstance(event, s.StartTls) else None,
    )
    assert served.lines[-2:] == ["454 4.7.0 TLS not available due to temporary reason", "250 2.1.0 OK"]


@pytest.mark.parametrize("end", ["timeout", "shutdown", "refuse", "eof"])
def test_in_a_handshake_nothing_is_said_in_clear(end):
    session = s.ServerSession(STARTTLS, "192.0.2.1")
    drive(session, [EHLO + b"STARTTLS\r\n"])
    if end == "timeout":
        session.timeout()
    elif end == "shutdown":
        session.shutdown()
    elif end == "refuse":
        session.refuse(replies.SHUTTING_DOWN)
    else:
        session.eof()
    assert session.next_event() is None
    assert session.take_output() == b""
    if end == "shutdown":
        session.tls_started(*TLS)
        assert session.next_event() is None
        assert session.take_output().startswith(b"421 ")
    assert session.closed


def test_mail_that_needs_tls():
    given = settings(starttls=True, require_tls=True)
    served = serve_every_way(EHLO + MAIL + b"RCPT TO:<b@example.org>\r\nNOOP\r\n", given)
    assert served.lines[-3:] == [
        "530 5.7.0 Must issue a STARTTLS command first",
        "503 5.5.1 Bad sequence of commands",
        "250 2.0.0 OK",
    ]
    assert [(e.stage, e.cause) for e in served.of(s.Refused)] == [(s.Stage.MAIL, s.Cause.TLS_REQUIRED)]
    assert encrypted(EHLO + MAIL, given).codes[-1] == 250


# -- AUTH


def test_sign_in_is_offered_over_tls_only():
    clear = serve_every_way(EHLO + b"AUTH PLAIN " + plain("u", PASSWORD) + b"\r\n", SUBMISSION)
    assert b"AUTH" not in clear.output.partition(b"538")[0]
    assert clear.lines[-1].startswith("538 5.7.11 ")
    assert clear.of(s.SignIn) == []
    assert b"250-AUTH PLAIN LOGIN\r\n" in encrypted(EHLO).output
    assert serve_every_way(EHLO + b"AUTH PLAIN\r\n").codes[-1] == 502


USER = base64.b64encode(b"user@example.com")
SECRET = base64.b64encode(PASSWORD.encode())
EXCHANGES = {
    "PLAIN at once": (b"AUTH PLAIN " + plain("user@example.com", PASSWORD), ["235 2.7.0 Authentication successful"]),
    "PLAIN asked": (
        b"auth plain\r\n" + plain("user@example.com", PASSWORD, "user@example.com"),
        ["334 ", "235 2.7.0 Authentication successful"],
    ),
    "LOGIN": (
        b"AUTH LOGIN\r\n" + USER + b"\r\n" + SECRET,
        ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0 Authentication successful"],
    ),
    "LOGIN with user": (
        b"AUTH LOGIN " + USER + b"\r\n" + SECRET,
        ["334 UGFzc3dvcmQ6", "235 2.7.0 Authentication successful"],
    ),
}


@pytest.mark.parametrize(("exchange", "lines"), EXCHANGES.values(), ids=EXCHANGES)
def test_sign_in(exchange, lines):
    served = encrypted(EHLO + MAIL + exchange + b"\r\n" + MAIL + b"RSET\r\nAUTH PLAIN\r\n", decide=check_password)
    assert served.lines[6] == "250 DSN"
    assert served.lines[7] == "530 5.7.0 Authentication required"
    assert served.lines[8:-3] == lines
    assert served.codes[-3:] == [250, 250, 503]
    (event,) = served.of(s.SignIn)
    assert (event.user, event.password) == ("user@example.com", PASSWORD)
    assert PASSWORD not in f"{event!r}{event}{[event]}"


def test_session_knows_who_signed_in():
    session = s.ServerSession(SUBMISSION, "192.0.2.1", TLS)
    drive(session, [EHLO + b"AUTH PLAIN " + plain("wer", "falsch") + b"\r\n"], check_password)
    assert session.user == ""
    drive(session, [b"AUTH PLAIN " + plain("wer", PASSWORD) + b"\r\n"], check_password)
    assert session.user == "wer"


WRONG = {
    "cancelled": (b"AUTH LOGIN\r\n*", "501 5.7.0"),
    "no base64": (b"AUTH PLAIN =AA", "501 5.5.2"),
    "a stray character": (b"AUTH LOGIN\r\nQUJD!", "501 5.5.2"),
    "half base64": (b"AUTH PLAIN\r\nQUJ", "501 5.5.2"),
    "not ASCII": (b"AUTH LOGIN\r\n\xff\xff\xff\xff", "501 5.5.2"),
    "line feed": (b"AUTH LOGIN\r\nQUJD\nQUJD", "500 5.5.2"),
    "unknown mechanism": (b"AUTH CRAM-MD5", "504 5.5.4"),
    "no mechanism": (b"AUTH", "501 5.5.4"),
    "too much": (b"AUTH PLAIN a b", "501 5.5.4"),
    "empty": (b"AUTH PLAIN =", "535 5.7.8"),
    "no user": (b"AUTH LOGIN =\r\nQUJD", "535 5.7.8"),
    "no NUL": (b"AUTH PLAIN QUJD", "535 5.7.8"),
    "somebody else": (b"AUTH PLAIN " + plain("u", PASSWORD, "root"), "535 5.7.8"),
    "no UTF-8": (b"AUTH PLAIN " + base64.b64encode(b"\0\xff\0p"), "535 5.7.8"),
    "control character": (b"AUTH PLAIN " + plain("a\nb", PASSWORD), "535 5.7.8"),
    "user too long": (b"AUTH PLAIN " + plain("u" * 256, "p"), "535 5.7.8"),
    "password too long": (b"AUTH PLAIN " + plain("u", "p" * 256), "535 5.7.8"),
    "wrong": (b"AUTH PLAIN " + plain("u", "p"), "535 5.7.8"),
    "line too long": (b"AUTH PLAIN\r\n" + b"A" * 12287, "500 5.5.6"),
}


@pytest.mark.parametrize(("exchange", "start"), WRONG.values(), ids=WRONG)
def test_no_sign_in(exchange, start):
    served = encrypted(EHLO + exchange + b"\r\nNOOP\r\n" + MAIL, decide=check_password)
    assert served.lines[-3].startswith(start + " ")
    assert served.codes[-2:] == [250, 530]
    assert len(served.of(s.SignIn)) == (1 if exchange.endswith(plain("u", "p")) else 0)


def test_long_lines_are_for_sign_in_only():
    long = base64.b64encode(b"\0u\0" + b"p" * 9000)
    assert encrypted(EHLO + b"AUTH PLAIN " + long + b"\r\n").codes[-1] == 535
    assert encrypted(EHLO + b"NOOP " + b"x" * 3000 + b"\r\nNOOP\r\n").codes[-2:] == [500, 250]
    assert encrypted(EHLO + b"AUTH PLAIN " + b"A" * 12288 + b"\r\nNOOP\r\n").codes[-2:] == [500, 250]


def test_shutdown_does_not_wait_for_a_password():
    session = s.ServerSession(SUBMISSION, "192.0.2.1", TLS)
    drive(session, [EHLO + b"AUTH LOGIN\r\n"])
    session.shutdown()
    assert session.take_output().startswith(b"421 4.3.2 ")
    assert session.closed


def test_who_ignores_a_required_sign_in_is_sent_away():
    served = encrypted(EHLO + MAIL * 100)
    assert served.codes[7:] == [530] * ERROR_LIMIT + [421]


def test_a_guesser_gets_three_tries():
    guess = b"AUTH PLAIN " + plain("u", "guess") + b"\r\n"
    served = encrypted(EHLO + guess * 10, decide=check_password)
    assert served.codes[7:] == [535] * FAILED_SIGN_INS + [421]
    assert len(served.of(s.SignIn)) == FAILED_SIGN_INS
    assert served.closed
    later = encrypted(
        EHLO + guess * 10, decide=lambda e: replies.SIGN_IN_UNAVAILABLE if isinstance(e, s.SignIn) else None
    )
    assert later.codes[7:] == [454] * 10, "our own trouble is not held against anybody"


def test_sign_in_where_it_has_no_place():
    given = settings(auth=("PLAIN",))
    assert encrypted(b"AUTH PLAIN\r\nHELO x\r\nAUTH PLAIN\r\n", given).codes == [503, 250, 503]
    assert encrypted(EHLO + MAIL + b"AUTH PLAIN\r\nNOOP\r\n", given).codes[-2:] == [503, 250]
    assert encrypted(EHLO + b"AUTH LOGIN\r\n", given).codes[-1] == 504


def test_parameter_auth_is_taken_where_auth_is_offered():
    given = settings(auth=("PLAIN",))
    stream = EHLO + MAIL[:-2] + b" AUTH=<>\r\nRSET\r\n" + MAIL[:-2] + b" AUTH=e+3Dmc2@example.com\r\n"
    assert encrypted(stream, given).codes[7:] == [250, 250, 250]
    assert encrypted(stream, settings()).codes[6:] == [555, 250, 555]


def test_no_secret_is_remembered():
    secrets = [
        b"AUTH PLAIN " + plain("u", "never kept"),
        b" AUTH PLAIN c2VjcmV0",
        b"c2VjcmV0",
        b"BDAT 3",
        b"VRFY u",
        b"NOOP " + b"x" * 3000,
    ]
    requests._parse_remembered.cache_clear()
    for line in secrets:
        for _ in range(2):
            request = requests.parse_request(line)
            assert "c2VjcmV0" not in repr(request)
            assert plain("u", "never kept").decode() not in repr(request)
    assert requests._parse_remembered.cache_info().currsize == 0


# -- trusted peers


def test_xclient_begins_anew_for_another_client():
    session = s.ServerSession(TRUSTED, "192.0.2.1")
    served = drive(
        session,
        [
            EHLO,
            b"XCLIENT NAME=spike.example ADDR=IPv6:2001:DB8::7 PORT=4711 PROTO=esmtp HELO=a+3Db LOGIN=[UNAVAILABLE]\r\n",
            MAIL,
            EHLO,
        ],
    )
    assert "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT" in served.lines
    assert served.lines[8:11] == [
        "220 mx.example.com ESMTP",
        "503 Bad sequence of commands",
        "250-mx.example.com hello user [2001:db8::7]",
    ]
    assert served.of(s.ClientOverride) == [
        s.ClientOverride(name="spike.example", address="2001:db8::7", port=4711, protocol="ESMTP", helo="a=b", login="")
    ]


def test_xclient_login_counts_as_sign_in():
    session = s.ServerSession(settings(xclient=True, require_auth=True), "192.0.2.1")
    assert drive(session, [EHLO + MAIL]).codes[-1] == 530
    assert drive(session, [b"XCLIENT LOGIN=somebody\r\n" + EHLO + MAIL]).codes[-1] == 250
    assert session.user == "somebody"
    assert drive(session, [b"RSET\r\nXCLIENT LOGIN=[UNAVAILABLE]\r\n" + EHLO + MAIL]).codes[-1] == 530


def test_a_login_told_in_clear_does_not_count_behind_starttls():
    session = s.ServerSession(settings(xclient=True, starttls=True, require_auth=True), "192.0.2.1")
    assert drive(session, [b"EHLO proxy\r\nXCLIENT LOGIN=somebody\r\n" + EHLO + b"STARTTLS\r\n"]).codes[-1] == 220
    session.tls_started(*TLS)
    assert session.user == ""
    assert drive(session, [EHLO + MAIL]).codes[-1] == 530


def test_a_name_that_only_looks_like_postmaster_is_no_address():
    for name in ("postma\u017fter", "PO\u017fTMASTER"):
        line = f"RCPT TO:<{name}>\r\n".encode()
        session = s.ServerSession(settings(smtputf8=True), "192.0.2.1")
        assert drive(session, [EHLO + b"MAIL FROM:<a@example.net> SMTPUTF8\r\n" + line]).codes[-1] == 501


def test_xclient_refused_changes_nothing():
    served = serve_every_way(
        EHLO + b"XCLIENT ADDR=192.0.2.9\r\n" + MAIL,
        TRUSTED,
        lambda e: reply(421, "4.3.0", "later") if isinstance(e, s.ClientOverride) else None,
    )
    assert served.codes[8:] == [421]
    served = serve_every_way(
        EHLO + b"XCLIENT ADDR=192.0.2.9\r\n" + MAIL,
        TRUSTED,
        lambda e: reply(550, "5.7.0", "no") if isinstance(e, s.ClientOverride) else None,
    )
    assert served.codes[8:] == [550, 250]


def test_xforward_tells_about_the_next_message():
    served = serve_every_way(
        EHLO
        + b"XFORWARD NAME=[TEMPUNAVAIL] ADDR=::ffff:192.0.2.9 PORT=[UNAVAILABLE]\r\n"
        + b"XFORWARD PROTO=ESMTPS HELO=x IDENT=QQ1 SOURCE=remote\r\n"
        + MAIL
        + b"XFORWARD NAME=x\r\n",
        TRUSTED,
    )
    assert served.codes[8:] == [250, 250, 250, 503]
    assert served.of(s.ClientForwarded) == [
        s.ClientForwarded(name=s.TEMPORARILY_UNKNOWN, address="192.0.2.9", port=0),
        s.ClientForwarded(protocol="ESMTPS", helo="x", ident="QQ1", source="REMOTE"),
    ]


@pytest.mark.parametrize("verb", [b"XCLIENT", b"XFORWARD"])
@pytest.mark.parametrize(
    "argument",
    [
        b"", b"NAME", b"NAME=", b"FOO=x", b"NAME=a NAME=b", b"ADDR=x", b"ADDR=192.0.2", b"ADDR=fe80::1%25", b"PORT=x",
        b"PORT=65536", b"PORT=-1", b"PORT=+EF+BC+91", b"NAME=a+0Ab", b"NAME=+FF", b"NAME=a=b", b"HELO=" + b"x" * 256,
    ],
)  # fmt: skip
def test_wrong_attributes(verb, argument):
    served = serve_every_way(EHLO + verb + b" " + argument + b"\r\n", TRUSTED)
    assert served.lines[8].startswith("501 5.5.4 ")
    assert served.of(s.ClientOverride) + served.of(s.ClientForwarded) == []


def test_who_is_not_trusted_may_not():
    served = serve_every_way(EHLO + b"XCLIENT ADDR=192.0.2.9\r\nXFORWARD ADDR=192.0.2.9\r\n")
    assert [line[:9] for line in served.lines[6:]] == ["550 5.7.0"] * 2
    assert [e.cause for e in served.of(s.Refused)] == [s.Cause.NOT_TRUSTED] * 2
    assert b"XCLIENT" not in served.output


# -- before the greeting


def test_who_talks_before_the_greeting_is_known():
    session = s.ServerSession(settings(), "192.0.2.1")
    assert not session.talked_early
    session.feed(EHLO)
    assert session.talked_early
    session.greeting()
    assert session.talked_early
    assert drive(session, [MAIL]).codes == [250] * 7
    patient = s.ServerSession(settings(), "192.0.2.1")
    patient.greeting()
    patient.feed(EHLO)
    assert not patient.talked_early


def test_refused_instead_of_greeted():
    session = s.ServerSession(settings(), "192.0.2.1")
    session.feed(OPENING)
    session.refuse(replies.TALKED_EARLY)
    assert session.next_event() is None
    assert session.take_output() == b"554 Error: you talked before the greeting\r\n"
    assert session.closed


def test_what_is_offered_and_helped_with():
    everything = settings(
        starttls=True, auth=("PLAIN",), chunking=True, binarymime=True, smtputf8=True, xclient=True, xforward=True
    )
    served = serve(EHLO + b"HELP\r\n", everything)
    assert served.lines[1:7] == [
        "250-ENHANCEDSTATUSCODES",
        "250-PIPELINING",
        "250-8BITMIME",
        "250-SIZE 10485760",
        "250-STARTTLS",
        "250-CHUNKING",
    ]
    assert served.lines[-2] == "250 DSN"
    assert served.lines[-1].endswith("QUIT STARTTLS AUTH BDAT XCLIENT XFORWARD")
    assert b"BINARYMIME" not in serve(EHLO, settings(binarymime=True)).output
