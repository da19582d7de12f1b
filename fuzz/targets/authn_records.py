"""What domains publish for authentication, and what hosts state: SPF, DMARC and key records, Authentication-Results.

The first byte says what the rest is. Whatever it says, checks end after a bounded number of questions.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any, Final

from gatepost.authn.dmarc import Proved, check_dmarc
from gatepost.authn.dmarc_record import is_dmarc, parse_policy
from gatepost.authn.key import Key, parse_key
from gatepost.authn.question import Inquiry, Question, Record, Reply, Status
from gatepost.authn.results import build_results_field, parse_results
from gatepost.authn.spf import SpfQuery, check_spf
from gatepost.model.authn import AuthnResults

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 400

QUESTIONS_LIMIT: Final = 250
"""Ten terms with ten hosts each, and names of the client for each macro."""
_SPF: Final = frozenset({"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"})
_DMARC: Final = frozenset({"none", "pass", "fail", "temperror"})
_IPS: Final = (ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::7"))


def execute(data: bytes) -> None:
    """Read the input as what its first byte says."""
    if not data:
        return
    kind, raw = data[0], data[1:]
    match kind % 4:
        case 0:
            _check_spf(kind, raw)
        case 1:
            _check_dmarc(kind, raw)
        case 2:
            key = parse_key(raw)
            assert isinstance(key, Key) or key
        case _:
            _check_results(raw)


def run(inquiry: Inquiry[Any], kind: int, text: bytes) -> Any:
    """Answer every question with the input: TXT with it, others with what fits it."""
    asked = 0
    try:
        questions = next(inquiry)
        while True:
            asked += len(questions)
            assert asked <= QUESTIONS_LIMIT
            questions = inquiry.send(tuple(_answer(each, kind, text) for each in questions))
    except StopIteration as stop:
        return stop.value


def _answer(question: Question, kind: int, text: bytes) -> Reply:
    assert question.name
    if kind & 4 and len(question.name) % 3 == 0:
        return Reply(Status.FAILED if kind & 8 else Status.NO_NAME)
    match question.record:
        case Record.TXT:
            return Reply(Status.FOUND, texts=tuple(text.split(b"\0")))
        case Record.A:
            return Reply(Status.FOUND, ("192.0.2.7",) if kind & 16 else ("198.51.100.1", "192.0.2.1"))
        case Record.AAAA:
            return Reply(Status.FOUND, ("2001:db8::7",) if kind & 16 else ("2001:db8::1",))
    return Reply(Status.FOUND, tuple(f"h{number}.example.com" for number in range(kind >> 4)) or ("",))


def _check_spf(kind: int, raw: bytes) -> None:
    text = raw if kind & 32 else b"v=spf1 " + raw
    query = SpfQuery(_IPS[kind >> 6 & 1], "ann@example.com", "mail.example.net", "mx.example.org", 1.0)
    found = run(check_spf(query), kind, text)
    assert found.result in _SPF
    assert found.result == "fail" or not found.explanation


def _check_dmarc(kind: int, raw: bytes) -> None:
    text = raw if kind & 32 else b"v=DMARC1; " + raw
    parse_policy(text) if is_dmarc(text) else None
    found = run(check_dmarc("a.b.example.com", Proved("c.example.com", ("b.example.com", "x.example"))), kind, text)
    assert found.result in _DMARC
    assert found.policy in {"", "none", "quarantine", "reject"}


def _check_results(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    for each in parse_results(text).statements:
        assert each.method == each.method.lower()
    field = build_results_field(text, AuthnResults(spf="pass", spf_domain=text, dmarc="fail", dmarc_domain=text))
    assert field.count(b"\n") == field.count(b"\r\n\t") + 1
    again = parse_results(field.decode("ascii").partition(":")[2])
    assert [(each.method, each.result) for each in again.statements][:1] == [("spf", "pass")]
    assert {each.method for each in again.statements} == {"spf", "dkim", "dmarc"}


WORDS: Final = (
    b"v=spf1 ", b"include:", b"redirect=", b"exp=", b"a:", b"mx", b"ptr", b"exists:", b"ip4:192.0.2.0/24", b"ip6:2001:db8::/32",
    b"-all", b"~all", b"%{i}", b"%{ir}.%{v}._spf.%{d2}", b"%{p}", b"%{s}", b"%{l1r-}", b"%%", b"%_", b"%-", b"//64", b"/24//48",
    b"v=DMARC1;", b"p=reject;", b"sp=none;", b"np=quarantine;", b"adkim=s;", b"aspf=s;", b"psd=y;", b"psd=n;", b"t=y;", b"pct=0;",
    b"rua=mailto:a@b.example;", b"v=DKIM1;", b"k=rsa;", b"k=ed25519;", b"h=sha256;", b"s=email;", b"t=s;", b"p=",
    b"mx.example.org; ", b"spf=pass ", b"smtp.mailfrom=", b"dkim=fail ", b'reason="', b"header.d=", b"dmarc=", b"(comment)", b"\0",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """One of each kind."""
    yield b"\x00include:spf.example.net a mx:%{d}/24 ip4:192.0.2.0/24 ip6:2001:db8::/32 ptr exists:%{ir}.%{d} -all"
    yield b"\x10a -all exp=%{s}.%{d}"
    yield b"\x40redirect=%{d1r}.example.com"
    yield b"\x01p=reject; sp=none; np=quarantine; adkim=s; psd=y"
    yield b"\x25v=DMARC1; p=none; rua=mailto:a@b.example\0v=DMARC1"
    yield b"\x02v=DKIM1; k=ed25519; h=sha256; s=email; t=s; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    yield b'\x03mx.example.org 1; spf=pass (x) smtp.mailfrom=a@b.example; dkim=fail reason="a; b" header.d=b.example; none'
