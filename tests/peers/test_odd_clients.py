"""Odd but lawful clients: the gateway answers them as a real Postfix does, and the same mail arrives.

Each stream goes to both, whole and without waiting for an answer; behind each stands a sink. What differs on purpose
(commands before EHLO, names and comments beside addresses, bare line feeds …) is not here.
"""

import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix
from tests.support.gateway import Gateway
from tests.support.sink import Sink
from tests.support.waiting import WAIT_S, wait_for

HELLO = b"EHLO client.example\r\n"
SENDER = b"MAIL FROM:<a@example.net>\r\n"
RECIPIENT = b"RCPT TO:<user@example.org>\r\n"
START = HELLO + SENDER + RECIPIENT
QUIT = b"QUIT\r\n"
FIELDS = b"From: <a@example.net>\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <odd@example.net>\r\nSubject: odd\r\n"
EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "ENHANCEDSTATUSCODES")


def mail(content: bytes) -> bytes:
    return START + b"DATA\r\n" + content + b"\r\n.\r\n" + QUIT


COMMANDS = {
    "hello by IPv6": b"EHLO [IPv6:2001:db8::1]\r\n" + QUIT,
    "hello without tag": b"EHLO [2001:db8::1]\r\n" + QUIT,
    "hello with blanks behind": b"EHLO client.example  \r\n" + QUIT,
    "hello with an underscore": b"HELO my_host\r\n" + QUIT,
    "hello again and again": HELLO * 60 + QUIT,
    "hello in a transaction": HELLO + SENDER + HELLO + RECIPIENT + QUIT,
    "small letters": b"ehlo c\r\nmail from:<a@example.net>\r\nrcpt to:<user@example.org>\r\nrset\r\nquit\r\n",
    "blank behind the colon": HELLO + b"MAIL FROM: <a@example.net>\r\nRCPT TO: <user@example.org>\r\n" + QUIT,
    "no brackets": HELLO + b"MAIL FROM:a@example.net\r\nRCPT TO:user@example.org\r\nRCPT TO: u2@example.org\r\n" + QUIT,
    "no brackets and parameters": HELLO
    + b"MAIL FROM: a@example.net SIZE=5 BODY=8BITMIME\r\nRCPT TO:u@example.org NOTIFY=FAILURE\r\n"
    + QUIT,
    "no brackets and wrong parameters": HELLO + b"MAIL FROM:a@example.net FOO=1\r\nMAIL FROM:a@example.net SIZE=x\r\n" + QUIT,
    "no brackets and a literal": HELLO + b"MAIL FROM:a@[192.0.2.1]\r\nMAIL FROM:a@[192.0.2.256]\r\n" + QUIT,
    "half of the brackets": HELLO + b"MAIL FROM:<a@example.net\r\n" + QUIT,
    "postmaster without brackets": HELLO + SENDER + b"RCPT TO:postmaster\r\n" + QUIT,
    "null sender with a size": HELLO + b"MAIL FROM:<> SIZE=100\r\n" + RECIPIENT + QUIT,
    "sizes beyond all": HELLO + b"MAIL FROM:<> SIZE=99999999999999999999\r\nMAIL FROM:<> SIZE=-1\r\n" + QUIT,
    "body in small letters": HELLO + b"MAIL FROM:<> body=8bitmime\r\n" + QUIT,
    "two blanks": HELLO + b"MAIL FROM:<a@example.net>  SIZE=5\r\n" + QUIT,
    "unknown parameters": HELLO + b"MAIL FROM:<> FOO=1\r\n" + SENDER + b"RCPT TO:<user@example.org> FOO\r\n" + QUIT,
    "source routes": HELLO + b"MAIL FROM:<@a.example:a@example.net>\r\nRCPT TO:<@a.example,@b.example:u@example.org>\r\n" + QUIT,
    "quoted local parts": HELLO
    + b'MAIL FROM:<"a b"@example.net>\r\n'
    + b"".join(b"RCPT TO:<%s@example.org>\r\n" % each for each in (b'"u v"', b'"u\\"x"', b'"@"', b'"a@b"', b'"u>x"'))
    + QUIT,
    "long local parts": HELLO + b"MAIL FROM:<%s@example.net>\r\nRCPT TO:<%s@example.org>\r\n" % (b"s" * 200, b"r" * 65) + QUIT,
    "postmaster": HELLO + SENDER + b"RCPT TO:<postmaster>\r\nRCPT TO:<Postmaster>\r\n" + QUIT,
    "arguments of commands that take some or none": HELLO + b"NOOP a b\r\nNOOP\r\nRSET a\r\nRSET\r\nVRFY\r\n" + START[21:] + b"DATA a\r\n" + QUIT,
    "longest command": HELLO + b"NOOP " + b"x" * 505 + b"\r\n" + QUIT,
    "resets": HELLO + (SENDER + RECIPIENT + b"RSET\r\n") * 40 + QUIT,
    "noops": HELLO + b"NOOP\r\n" * 90 + QUIT,
    "no order": HELLO + RECIPIENT + b"DATA\r\n" + SENDER + SENDER + QUIT,
    "end in a command": HELLO + b"MAIL FR",
    "end in content": START + b"DATA\r\n" + FIELDS + b"\r\ncut off",
}  # fmt: skip
MAILS = {
    "no brackets": mail(FIELDS + b"\r\nscanned").replace(b"<a@example.net>\r\nRCPT", b"a@example.net\r\nRCPT").replace(b"TO:<user@example.org>", b"TO:user@example.org"),
    "two in a batch": START + (b"DATA\r\n" + FIELDS + b"\r\none\r\n.\r\n" + SENDER + RECIPIENT) * 2 + b"RSET\r\n" + QUIT,
    "more behind the end": mail(FIELDS + b"\r\nbody")[: -len(QUIT)] + b"NOOP\r\nRSET\r\n" + QUIT,
    "a thousand recipients": HELLO + SENDER + b"".join(b"RCPT TO:<u%d@example.org>\r\n" % n for n in range(1001)) + b"DATA\r\n" + FIELDS + b"\r\nall\r\n.\r\n" + QUIT,
    "longest line": mail(FIELDS + b"\r\n" + b"y" * 998),
    "dots": mail(FIELDS + b"\r\n..\r\n...\r\n..x\r\n. x\r\n" + b"z" * 998 + b"\r\n..\r\n"),
    "eight bits undeclared": mail(FIELDS + "X-Note: ü\r\n\r\ngröße".encode()),
    "latin-1 in a field": mail(FIELDS + b"X-Note: gr\xfc\xdf\r\n\r\nbody"),
    "nul in the body": mail(FIELDS + b"\r\na\0b"),
    "chunks": START + b"BDAT %d\r\n" % len(FIELDS) + FIELDS + b"bdat 6 last\r\n\r\nbo\r\n" + QUIT,
    "empty chunk at the end": START + b"BDAT %d\r\n" % (len(FIELDS) + 6) + FIELDS + b"\r\nbo\r\nBDAT 0 LAST\r\n" + QUIT,
}  # fmt: skip
BODIES = {
    "text": mail(b"just a text\r\nof two lines"),
    "continuation": mail(b" folded\r\nSubject: x\r\n\r\nbody"),
    "blank line": mail(b"\r\nbody"),
    "nothing": START + b"DATA\r\n.\r\n" + QUIT,
    "field that is none": mail(b"Subject: x\r\n\r\nbody"),
}


class Peers(NamedTuple):
    """Both servers' ports, and where their mail arrives."""

    postfix: int
    behind_postfix: Sink
    gateway: int
    behind_gateway: Sink


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    program = root_program("postfix")
    with Sink(extensions=EXTENSIONS) as behind_postfix, Sink(extensions=EXTENSIONS) as behind_gateway:
        postfix = Postfix(program, "gw.example.org")
        postfix.settings["smtpd_recipient_limit"] = "1000"
        port = postfix.listener()
        postfix.way("example.org", behind_postfix.port)
        postfix.way("gw.example.org", behind_postfix.port)
        with postfix, Gateway(tmp_path_factory.mktemp("odd") / "gw", behind_gateway.port) as gateway:
            yield Peers(port, behind_postfix, gateway.port, behind_gateway)


def talk(port: int, said: bytes) -> tuple[list[bytes], int]:
    """Return the reply codes (with their classes) to all that is said at once, and how many mails were taken."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as sock:
        while not answer.endswith(b"\n"):
            answer += sock.recv(4096)
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65536):
            answer += data
    return re.findall(rb"^(\d{3}) ", answer, re.MULTILINE), len(
        re.findall(rb"^250 [^\n]*queued as", answer, re.MULTILINE)
    )


def arriving(sink: Sink, seen: int, recipients: int) -> list[bytes]:
    """Return the mails for so many recipients, without the Received fields of those in between."""
    wait_for(lambda: sum(len(each.recipients) for each in sink.mails[seen:]) == recipients, "the mail")
    contents = {re.sub(rb"\A(?:Received:[^\n]*\n(?:[ \t][^\n]*\n)*)+", b"", each.content) for each in sink.mails[seen:]}
    return sorted(contents)


@pytest.mark.parametrize("said", COMMANDS.values(), ids=COMMANDS.keys())
def test_commands_are_answered_alike(peers: Peers, said: bytes) -> None:
    assert talk(peers.gateway, said) == talk(peers.postfix, said)


@pytest.mark.parametrize("said", (MAILS | BODIES).values(), ids=(MAILS | BODIES).keys())
def test_the_same_mail_arrives(peers: Peers, said: bytes) -> None:
    seen = len(peers.behind_gateway.mails), len(peers.behind_postfix.mails)
    ours, theirs = talk(peers.gateway, said), talk(peers.postfix, said)
    assert ours == theirs
    recipients = min(said.count(b"RCPT TO"), 1000) if b"<u999@" in said else ours[1]
    by_us = arriving(peers.behind_gateway, seen[0], recipients)
    by_them = arriving(peers.behind_postfix, seen[1], recipients)
    if said in MAILS.values():
        assert by_us == by_them
    else:  # each puts in the fields that are missing
        assert [each.partition(b"\r\n\r\n")[2] for each in by_us] == [
            each.partition(b"\r\n\r\n")[2] for each in by_them
        ]
