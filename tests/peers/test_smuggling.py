"""SMTP smuggling between real programs: whatever the bytes, a Postfix on the other side and we count the same messages.

Streams with the sequences of the shared table go to the gateway, and what it takes goes to a Postfix that refuses bare
line feeds and unauthorised pipelining. The other way round, a Postfix as lax as they all were before 2023 hands on to the
gateway what it made of them.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix
from tests.protocol.smtp_dialogue import protocol_tests
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

ROUTES = "# Where mail goes on to;"
BUILT_IN = {
    repr(before + dot + after): before + dot + after
    for before in (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\r\n\0")
    for dot in (b".", b"..")
    for after in (b"\n", b"\r", b"\r\n", b"\r\r\n")
}
NOT_CONTENT = {"starttls-injection", "bare-lf-command", "pipelined-after-eod", "bdat-then-dot"}
"""Rows about commands; the tests of the protocol and of reception have them. By BDAT goes every sequence here."""
WAYS = ("bdat", "data")
_CASE = re.compile(rb"^X-Case: (\S+)\r?$", re.MULTILINE)


class Peers(NamedTuple):
    """The gateway with its ports by what they do with bare line feeds, and a Postfix on either side of it."""

    gateway: Gateway
    ports: dict[str, int]
    strict: Postfix
    lax: Postfix
    lax_port: int
    sink: Sink


def all_cases() -> dict[str, bytes]:
    """Return the sequences by name: those built in, and the shared table's."""
    found = dict(BUILT_IN)
    table = protocol_tests("smtp/smuggling-cases.tsv")[""]
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["id"] not in NOT_CONTENT:
            text = row["bytes_before_smuggled_part"]
            found[row["id"]] = text.encode().decode("unicode_escape").encode("latin-1")
    assert len(found) >= len(BUILT_IN) + 14
    return found


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    base = tmp_path_factory.mktemp("smuggling")
    program = root_program("postfix")
    strict, lax = Postfix(program, "strict.example.org"), Postfix(program, "lax.example")
    strict.mailboxes(*(f"{name}@{way}.example.org" for way in WAYS for name in ("user", "victim")))
    strict.settings |= {
        "smtpd_forbid_bare_newline": "reject",
        "smtpd_forbid_bare_newline_exclusions": "",
        "smtpd_forbid_unauth_pipelining": "yes",
        "smtpd_data_restrictions": "reject_unauth_pipelining",
    }
    hops = {
        "bdat": strict.listener(),
        "data": strict.listener({"smtpd_discard_ehlo_keywords": "chunking silent-discard"}),
    }
    routes = "".join(
        f'[[route]]\nrecipients = ["{way}.example.org"]\nnext_hop = "[127.0.0.1:{port}]"\n\n'
        for way, port in hops.items()
    )
    lax.settings |= {"smtpd_forbid_bare_newline": "no"}
    lax_port, mending = lax.listener(), free_port()
    listener = f'\n[[listener]]\naddress = "127.0.0.1:{mending}"\nbare_line_feed = "fix"\n'
    with (
        Sink() as sink,
        Gateway(base / "gw", sink.port, settings=listener, replace={ROUTES: routes + ROUTES}) as gateway,
    ):
        ports = {"reject": gateway.port, "fix": mending}
        for what, port in ports.items():
            lax.way(f"{what}.example.org", port)
        with strict, lax:
            yield Peers(gateway, ports, strict, lax, lax_port, sink)
            assert gateway.stop() == 0


def stream(case: str, sequence: bytes, victims: list[str]) -> bytes:
    """A message that has the sequence in it and, behind it, what would be another message if the sequence ended one."""
    header = f"X-Case: {case}\r\n".encode()
    evil = b"".join(f"RCPT TO:<{victim}>\r\n".encode() for victim in victims)
    smuggled = b"MAIL FROM:<evil@example.net>\r\n" + evil + b"DATA\r\n" + header + b"\r\nsmuggled\r\n"
    return header + b"\r\ntext" + sequence + smuggled


def send(port: int, content: bytes, recipients: list[str], *, chunked: bool) -> int:
    """Send it as one message; return how many messages the server says it took."""
    with Wire(port) as wire:
        wire.begin(recipients)
        if chunked:
            wire.send(b"BDAT %d LAST\r\n" % len(content) + content)
        else:
            wire.expect(("DATA", "354 "))
            wire.send(content + b".\r\n")
        wire.send(b"QUIT\r\n")
        taken = 0
        while answer := wire.reply():
            taken += "queued as " in answer
    return taken


def cases_of(contents: list[bytes]) -> Counter[str]:
    """How many of these messages belong to each case, by their own headers."""
    found: Counter[str] = Counter()
    for content in contents:
        header = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0]
        mark = _CASE.search(header + b"\n")
        found[mark[1].decode() if mark else "unmarked"] += 1
    return found


@pytest.mark.parametrize("chunked", [False, True], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("listener", ["reject", "fix"])
def test_a_strict_postfix_behind_us_counts_as_we_do(peers: Peers, listener: str, *, chunked: bool) -> None:
    said: Counter[str] = Counter()
    ended = set()
    for number, (name, sequence) in enumerate(all_cases().items()):
        case = f"{listener}-{'BDAT' if chunked else 'DATA'}-{number}"
        recipients, victims = ([f"{who}@{way}.example.org" for way in WAYS] for who in ("user", "victim"))
        taken = send(peers.ports[listener], stream(case, sequence, victims), recipients, chunked=chunked)
        if taken:
            said[case] = taken
        ends = b"\r\n.\r\n" in sequence and not chunked
        if ends:
            ended.add(case)
        assert taken <= 1 + ends, name
        if listener == "fix":
            assert taken == 1 + ends, name
    wait_for(lambda: peers.gateway.queue() == [], "an empty queue")
    wait_for(peers.strict.idle, "Postfix to have delivered everything")
    for way in WAYS:
        arrived = cases_of([m for who in ("user", "victim") for m in peers.strict.mails(f"{who}@{way}.example.org")])
        assert {k: n for k, n in arrived.items() if k.startswith(case.rpartition("-")[0])} == said, way
        # To the victim goes what follows the only end there is, and nothing else.
        victims_got = cases_of(peers.strict.mails(f"victim@{way}.example.org"))
        assert {case for case in victims_got if case in said} == ended, way
    assert peers.gateway.lines("status=failed") == []


@pytest.mark.parametrize("listener", ["reject", "fix"])
def test_we_count_as_a_lax_postfix_in_front_of_us_does(peers: Peers, listener: str) -> None:
    taken: Counter[str] = Counter()
    for number, sequence in enumerate(all_cases().values()):
        case = f"lax-{listener}-{number}"
        who = [f"user@{listener}.example.org"]
        taken[case] = send(peers.lax_port, stream(case, sequence, who), who, chunked=False)
    assert max(taken.values()) == 2, "it is lax"
    wait_for(peers.lax.idle, "Postfix to have handed everything on")
    wait_for(lambda: peers.gateway.queue() == [], "an empty queue")

    def results(status: str) -> list[str]:
        return peers.lax.lines(f"to=<user@{listener}.example.org>", f"status={status} ")

    wait_for(lambda: len(results("sent") + results("bounced")) >= sum(taken.values()), "Postfix to log all of it")
    handed_on, refused = len(results("sent")), results("bounced")
    arrived = cases_of([m.content for m in list(peers.sink.mails) if m.recipients == [f"user@{listener}.example.org"]])
    assert sum(arrived.values()) == handed_on
    assert handed_on + len(refused) == sum(taken.values())
    if listener == "fix":
        assert arrived == taken
    else:
        assert all(" 550 5.5.2 " in line for line in refused), refused
        assert arrived == {case: n for case, n in taken.items() if arrived[case]}
