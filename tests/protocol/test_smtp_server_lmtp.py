"""The receiving side as a proxy's door uses it: LMTP (RFC 2033), offers that follow the next hop, bare local parts."""

import pytest
from smtp_dialogue import drive, settings

from gatepost.model.reply import reply
from gatepost.smtp import server as s

OPENING = b"LHLO user\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n"
LMTP = settings(lmtp=True)


def session(config=LMTP):
    made = s.ServerSession(config, "192.0.2.1")
    return made, made.greeting()


def test_lmtp_greets_as_such_and_knows_lhlo_alone():
    lmtp, banner = session()
    assert banner == b"220 mx.example.com LMTP\r\n"
    served = drive(lmtp, [b"EHLO user\r\nHELO user\r\nMAIL FROM:<a@example.com>\r\nLHLO user\r\nHELP\r\n"])
    assert served.codes[:3] == [500, 500, 503]
    assert served.lines[3].startswith("250-mx.example.com hello user")
    assert "LHLO MAIL" in served.lines[-1]
    smtp, _ = session(settings())
    assert drive(smtp, [b"LHLO user\r\n"]).codes == [500]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_one_reply_for_each_recipient_and_the_next_transaction_behind_it(size):
    lmtp, _ = session()
    stream = OPENING + b"text\r\n.\r\n" + OPENING.partition(b"\r\n")[2] + b"more\r\n.\r\nQUIT\r\n"
    served = drive(lmtp, [stream[at : at + size] for at in range(0, len(stream), size)])
    after = [code for code in served.codes if code != 250]
    assert served.messages == [b"text\r\n", b"more\r\n"]
    assert after == [354, 354, 221]
    first, second = [index for index, code in enumerate(served.codes) if code == 354]
    assert second - first == 1 + 2 + 3, "two replies behind the content, then MAIL and two RCPT"


def test_recipients_are_decided_one_by_one():
    lmtp, _ = session()
    lmtp.feed(OPENING + b"text\r\n.\r\nNOOP\r\n")
    while not isinstance(event := lmtp.next_event(), s.DataEnd):
        if not isinstance(event, s.DataChunk):
            lmtp.answer(None)
    lmtp.take_output()
    with pytest.raises(RuntimeError):
        lmtp.answer_each([reply(250, "2.0.0", "one too few")])
    lmtp.answer_each([reply(250, "2.0.0", "kept"), reply(452, "4.2.2", "full")])
    assert lmtp.next_event() is None
    assert lmtp.take_output() == b"250 2.0.0 kept\r\n452 4.2.2 full\r\n250 2.0.0 OK\r\n"


def test_refused_content_is_refused_to_each_recipient():
    lmtp, _ = session(settings(lmtp=True, size_limit=4))
    served = drive(lmtp, [OPENING + b"too long\r\n.\r\nNOOP\r\n"])
    assert served.codes[-4:] == [354, 552, 552, 250]
    lmtp, _ = session()
    served = drive(lmtp, [OPENING + b"text\r\n.\r\n"], lambda event: _NO if isinstance(event, s.DataEnd) else None)
    assert served.codes[-2:] == [451, 451]


_NO = reply(451, "4.3.0", "no")


def test_what_the_next_hop_has_not_is_not_offered():
    smtp, _ = session(settings(eight_bit=False, dsn=False))
    lines = drive(smtp, [b"EHLO user\r\n"]).lines
    assert [line[4:].split()[0] for line in lines[1:]] == ["ENHANCEDSTATUSCODES", "PIPELINING", "SIZE"]


def test_bare_local_parts_are_taken_only_where_they_are_wanted():
    stream = b"EHLO user\r\nMAIL FROM:<root>\r\nRSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<bob>\r\n"
    strict, _ = session(settings())
    assert [code for code in drive(strict, [stream]).codes if code != 250] == [501, 501]
    open_minded, _ = session(settings(bare_local_parts=True))
    served = drive(open_minded, [stream])
    assert {*served.codes} == {250}
    assert [event.address for event in served.of(s.MailFrom)] == ["root", "a@example.com"]
    assert [event.recipient.address for event in served.of(s.RcptTo)] == ["bob"]
    strict, _ = session(settings())
    assert drive(strict, [b"EHLO u\r\nMAIL FROM:<>\r\nRCPT TO:<PostMaster>\r\n"]).codes[-2:] == [250, 250]


def test_addresses_without_brackets_are_taken_only_where_they_are_wanted():
    stream = (
        b"EHLO u\r\nMAIL FROM:a@example.com SIZE=5\r\nRSET\r\nMAIL FROM:<b@example.com>\r\nRCPT TO:c@example.com\r\n"
    )
    strict, _ = session(settings())
    assert [code for code in drive(strict, [stream]).codes if code != 250] == [501, 501]
    open_minded, _ = session(settings(unbracketed_addresses=True))
    served = drive(open_minded, [stream])
    assert {*served.codes} == {250}
    assert [(event.address, event.size) for event in served.of(s.MailFrom)] == [
        ("a@example.com", 5),
        ("b@example.com", 0),
    ]
    assert [event.recipient.address for event in served.of(s.RcptTo)] == ["c@example.com"]


def test_what_an_address_makes_use_of_counts_beside_characters_beyond_ascii_too():
    wide = "EHLO u\r\nMAIL FROM:<a@example.com> SMTPUTF8\r\nRCPT TO:{} ORCPT=utf-8;ü@example.com\r\n"
    for address, setting in (("<joe>", "bare_local_parts"), ("c@example.com", "unbracketed_addresses")):
        stream = wide.format(address).encode()
        strict, _ = session(settings(smtputf8=True))
        assert drive(strict, [stream]).codes[-2:] == [250, 500], address
        open_minded, _ = session(settings(smtputf8=True, **{setting: True}))
        assert drive(open_minded, [stream]).codes[-2:] == [250, 250], address
