"""SMTP smuggling: no byte sequence but CRLF dot CRLF ends content, neither received nor sent.

The cases come from the shared table; those built in here keep the test alive without it.
"""

import csv
import io

import msgspec
import pytest
from smtp_dialogue import (
    OPENING,
    OPENING_CODES,
    Served,
    cut,
    drive,
    events_of,
    protocol_tests,
    ready_client,
    serve,
    serve_every_way,
    settings,
    transaction,
)

from gatepost.smtp import client as c
from gatepost.smtp import server as s
from gatepost.smtp.lines import has_bare_line_ends, normalise_line_ends

SMUGGLED = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nsmuggled\r\n.\r\n"
LINE_ENDS = (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\r\n\0", b"\0\r\n", b"\x85", b"\x0b", b"\x0c", b"\x1c")
BUILT_IN = [a + dot + b for a in LINE_ENDS for dot in (b".", b"..", b". ", b"\0.") for b in LINE_ENDS]
ENVELOPE = OPENING.removesuffix(b"DATA\r\n")
BINARY_ENVELOPE = ENVELOPE.replace(b"a@example.com>", b"a@example.com> BODY=BINARYMIME")
STANDARD_END = b"\r\n.\r\n"
REJECT = settings(size_limit=1 << 20)
FIX = settings(size_limit=1 << 20, bare_line_feed=s.LineFeedPolicy.FIX)
EVERYTHING = {
    "chunking": True,
    "binarymime": True,
    "smtputf8": True,
    "starttls": True,
    "auth": ("PLAIN", "LOGIN"),
    "xclient": True,
    "xforward": True,
}
TLS = ("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def able(given: s.ServerSettings) -> s.ServerSettings:
    """Return the same with every extension."""
    return msgspec.structs.replace(given, **EVERYTHING)


def check_received(sequence: bytes) -> None:
    """The smuggled part stays text of the one message there is, or the message is refused as a whole."""
    for rejecting, fixing in ((REJECT, FIX), (able(REJECT), able(FIX))):
        check_received_under(sequence, rejecting, fixing)
    check_received_in_chunks(sequence)


def check_received_under(sequence: bytes, reject: s.ServerSettings, fix: s.ServerSettings) -> None:
    stream = OPENING + b"text" + sequence + SMUGGLED
    rejecting = serve_every_way(stream, reject)
    fixing = serve_every_way(stream, fix)
    for served in (rejecting, fixing):
        check_one_transaction(served)
    raw = b"text" + sequence + SMUGGLED[:-3]
    if has_bare_line_ends(raw):
        assert rejecting.codes[-2:] == [354, 550]
        assert rejecting.messages == []
        assert [event.cause for event in rejecting.of(s.Refused)] == [s.Cause.MALFORMED]
    else:
        assert rejecting.codes[-2:] == [354, 250]
    assert fixing.codes[-2:] == [354, 250]
    assert fixing.messages == [normalise_line_ends(raw.replace(b"\r\n.", b"\r\n"))]
    assert fixing.of(s.DataEnd)[0].fixed == has_bare_line_ends(raw)


def check_received_in_chunks(sequence: bytes) -> None:
    """Counted octets are content whatever they look like, also when a chunk ends in the middle of the sequence."""
    content = b"text" + sequence + SMUGGLED
    for first in {4, 5, 4 + len(sequence), len(content)}:
        chunks = b"BDAT %d\r\n%bBDAT %d LAST\r\n%b" % (first, content[:first], len(content) - first, content[first:])
        for given, envelope in ((REJECT, ENVELOPE), (FIX, ENVELOPE), (REJECT, BINARY_ENVELOPE)):
            served = serve_every_way(envelope + chunks + b"NOOP\r\n", able(given))
            check_one_transaction(served)
            assert served.codes[-1] == 250
            assert served.of(s.DataBegin) == [s.DataBegin()]
            if envelope is BINARY_ENVELOPE:
                assert served.messages == [content]
            elif given is FIX:
                assert served.messages == [normalise_line_ends(content)]
            else:
                assert served.messages == ([] if has_bare_line_ends(content) else [content])


def check_one_transaction(served: Served) -> None:
    assert len(served.of(s.MailFrom)) == 1
    assert [event.recipient.address for event in served.of(s.RcptTo)] == ["b@example.org"]


def check_sent(sequence: bytes) -> None:
    """Content with the sequence in it leaves so that the only dot line is the last one, and no lone CR or LF is left."""
    content = b"text" + sequence + SMUGGLED
    for size in (len(content), 1, 3):
        client = ready_client()
        client.start(transaction())
        client.take_output()
        assert events_of(client, b"250 ok\r\n250 ok\r\n354 go\r\n") == [c.SendData()]
        for i in range(0, len(content), size):
            client.send_data(content[i : i + size])
        client.finish_data()
        sent = client.take_output()
        assert not has_bare_line_ends(sent)
        lines = sent.split(b"\r\n")
        assert lines.index(b".") == len(lines) - 2
        served = serve(OPENING + sent, REJECT)
        assert served.messages == [normalise_line_ends(content)]
        assert len(served.of(s.MailFrom)) == 1


@pytest.mark.parametrize("sequence", [x for x in BUILT_IN if STANDARD_END not in x], ids=repr)
def test_no_lookalike_ends_received_content(sequence):
    check_received(sequence)


@pytest.mark.parametrize("sequence", [b".\r\n", STANDARD_END, *BUILT_IN], ids=repr)
def test_no_sequence_ends_sent_content(sequence):
    check_sent(sequence)


def test_every_case_of_the_shared_table():
    table = protocol_tests("smtp/smuggling-cases.tsv")[""]
    rows = list(csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) >= 18
    other = {"starttls-injection", "bdat-then-dot", "bare-lf-command", "pipelined-after-eod"}
    checked = set()
    for row in rows:
        sequence = row["bytes_before_smuggled_part"].encode().decode("unicode_escape").encode("latin-1")
        checked.add(row["id"])
        if row["must_end_data"] == "no":
            check_received(sequence)
        if row["id"] not in other:
            check_sent(sequence)
            check_received_in_chunks(sequence)
            check_dropped_behind_starttls(sequence + SMUGGLED)
    assert other < checked, "the four below are tests of their own"


def test_standard_end_ends():
    served = serve_every_way(OPENING + b"text" + STANDARD_END + SMUGGLED)
    assert len(served.of(s.MailFrom)) == 2
    assert served.messages == [b"text\r\n", b"smuggled\r\n"]


def test_commands_behind_the_end_keep_their_order():
    served = serve_every_way(OPENING + b"text\r\n.\r\nMAIL FROM:<a@example.com>\r\nRSET\r\nQUIT\r\n")
    assert [type(event).__name__ for event in served.events] == [
        "Hello",
        "MailFrom",
        "RcptTo",
        "DataBegin",
        "DataEnd",
        "MailFrom",
        "Quit",
    ]
    assert served.codes == [*OPENING_CODES, 250, 250, 250, 221]


def test_bare_line_feed_between_commands_is_one_wrong_line():
    for stream in (b"HELO x\nMAIL FROM:<>\n", b"NOOP\nMAIL FROM:<>\r\n", b"\nMAIL FROM:<>\r\n"):
        served = serve_every_way(b"EHLO user\r\n" + stream)
        assert served.lines[6:] == ["500 5.5.2 Lines must end with <CRLF>"]
        assert served.of(s.MailFrom) == []
    assert serve_every_way(b"EHLO user\r\nNOOP\nRSET\r\nNOOP\r\n").codes[6:] == [500, 250]


def check_dropped_behind_starttls(behind: bytes) -> None:
    """What comes in one piece with STARTTLS is gone, and so is what comes until the handshake is over."""
    for size in (0, 1, 3):
        session = s.ServerSession(able(REJECT), "192.0.2.1")
        stream = b"EHLO user\r\nSTARTTLS\r\n" + behind
        before = drive(session, cut(stream, size or len(stream)))
        assert [type(event) for event in before.events] == [s.Hello, s.StartTls]
        assert before.lines[-1].startswith("220 ")
        session.tls_started(*TLS)
        after = drive(session, [OPENING + b"x\r\n.\r\n"])
        check_one_transaction(after)
        assert after.messages == [b"x\r\n"]


def test_what_is_smuggled_behind_starttls_is_dropped():
    for behind in (
        OPENING + b"x\r\n.\r\n",
        b"EHLO evil\r\n" + SMUGGLED,
        b"MAIL FROM:<evil@example.com>",
        b"\r",
        b"\n" * 9,
    ):
        check_dropped_behind_starttls(behind)


def test_lone_dot_in_a_chunk_is_content():
    served = serve_every_way(ENVELOPE + b"BDAT 6 LAST\r\n.\r\n...NOOP\r\n", able(REJECT))
    assert served.messages == [b".\r\n..."]
    assert served.codes[-2:] == [250, 250]


def test_end_of_data_does_not_end_chunks_nor_the_other_way_round():
    served = serve_every_way(ENVELOPE + b"BDAT 4\r\ntextDATA\r\n.\r\nBDAT 0 LAST\r\n", able(REJECT))
    assert served.codes[-4:] == [250, 503, 500, 250]
    assert served.messages == [b"text"]
    served = serve_every_way(OPENING + b"BDAT 0 LAST\r\n.\r\n", able(REJECT))
    assert served.messages == [b"BDAT 0 LAST\r\n"]


def test_starttls_and_bdat_are_not_there():
    served = serve_every_way(b"EHLO user\r\nSTARTTLS\r\nBDAT 6 LAST\r\n.\r\n...")
    assert served.codes[6:] == [502, 502, 500]
    assert b"STARTTLS" not in served.output
    assert b"CHUNKING" not in served.output
