"""Hostile texts: the whole content stage takes time in proportion to the size of a message, and not much of it."""

import gc
import time
from collections.abc import Callable, Iterator

import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.check import Check
from gatepost.antispam.checks import build_checks
from gatepost.antispam.content import inspect_content
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

MOST_S = 2.0
"""CPU time of one message at full size."""
GROWTH = 2.6
"""Most that twice the size may cost: 2 when the time is proportional, 4 when it is quadratic."""
TELLING_S = 0.02
"""CPU time below which growth is noise and no danger."""
OPTIONS = SpamOptions(
    sender="a@example.com",
    recipients=("user@example.org",),
    client_ip="198.51.100.7",
    hostname="gw.example.org",
    own_domains=("example.org",),
    office=True,
    uds=True,
    now=1.7e9,
)
HEAD = b"From: Ann <ann@example.com>\r\nTo: user@example.org\r\nSubject: hello\r\nMIME-Version: 1.0\r\n"
PLAIN = HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
PAGE = HEAD + b"Content-Type: text/html; charset=utf-8\r\n\r\n"
MEGABYTE = 1024 * 1024


def lines(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


TEXTS: dict[str, Callable[[int], bytes]] = {
    "no spaces": lambda size: PLAIN + b"a" * size,
    "no spaces, mixed": lambda size: PLAIN + lines(b"a1$", size),
    "tokens": lambda size: PLAIN + b" ".join(b"%x" % number for number in range(size // 6)),
    "single letters": lambda size: PLAIN + lines(b"a b ", size),
    "digits and letters": lambda size: PLAIN + lines(b"v1agra 0r ", size),
    "mixed alphabets": lambda size: PLAIN + lines("p\u0430yp\u0430l \u0441\u0430\u0441\u0435 ".encode(), size),
    "invisible": lambda size: PLAIN + lines("a\u200b\u200d".encode(), size),
    "marks above": lambda size: PLAIN + b"a" + lines("\u0301".encode(), size),
    "links": lambda size: PLAIN + b"".join(b"http://h%d.example.com/ " % n for n in range(size // 26)),
    "schemes": lambda size: PLAIN + lines(b"://", size),
    "www": lambda size: PLAIN + lines(b"www.", size),
    "bare hosts": lambda size: PLAIN + lines(b"a.b.c.d.com/", size),
    "at signs": lambda size: PLAIN + lines(b"a@", size),
    "quoted lines": lambda size: PLAIN + lines(b"> a\r\n", size),
    "empty lines": lambda size: PLAIN + lines(b"\n", size),
    "flowed": lambda size: HEAD + b"Content-Type: text/plain; format=flowed\r\n\r\n" + lines(b"a \n", size),
    "subject": lambda size: b"Subject: " + b"a b" * (size // 3) + b"\r\n" + PLAIN,
    "encoded subject": lambda size: b"Subject: " + lines(b"=?utf-8?q?a=20b?=\r\n ", size) + b"\r\n" + PLAIN,
    "one field": lambda size: b"X-Odd: " + b"a" * size + b"\r\n" + PLAIN,
    "many fields": lambda size: lines(b"X-Odd: a\r\n", size) + PLAIN,
    "received": lambda size: lines(b"Received: from a ([1.2.3.4]) by b; x\r\n", size) + PLAIN,
    "one received": lambda size: b"Received: from " + b"(" * size + b"\r\n" + PLAIN,
    "recipients": lambda size: b"To: " + lines(b"a@b.example, ", size) + b"c@d.example\r\n" + PLAIN,
    "recipients' comments": lambda size: b"To: " + b"(" * size + b"\r\n" + PLAIN,
    "recipients' quotes": lambda size: b"Cc: " + lines(b'"\\', size) + b"\r\n" + PLAIN,
    "authors": lambda size: b"From: " + lines(b"<a@b.example>,", size) + b"\r\n" + PLAIN,
    "signatures": lambda size: lines(b"DKIM-Signature: v=1; d=a.example; b=x\r\n", size) + PLAIN,
    "seals": lambda size: lines(b"ARC-Seal: i=1; cv=none; d=a.example; b=x\r\n", size) + PLAIN,
    "results": lambda size: lines(b"Authentication-Results: a; dkim=pass\r\n", size) + PLAIN,
    "nested tags": lambda size: PAGE + b"<div>" * (size // 11) + b"x" + b"</div>" * (size // 11),
    "unclosed tags": lambda size: PAGE + lines(b"<b><a href=x>", size),
    "open brackets": lambda size: PAGE + b"<" * size,
    "one attribute": lambda size: PAGE + b"<a href='" + b"x" * size + b"'>y</a>",
    "attributes": lambda size: PAGE + b"<a " + b" ".join(b"x%d=y" % n for n in range(size // 9)) + b">y</a>",
    "anchors": lambda size: PAGE + b"".join(b"<a href='http://h%d.example/'>y</a>" % n for n in range(size // 36)),
    "styles": lambda size: PAGE + b"<style>" + lines(b".a{color:red;display:none}", size) + b"</style><p class=a>x",
    "style rules": lambda size: (
        PAGE
        + b"<style>"
        + b"".join(b".c%d{color:#fff}" % n for n in range(size // 40))
        + b"</style>"
        + b"".join(b"<p class=c%d>x</p>" % n for n in range(size // 40))
    ),
    "style selectors": lambda size: PAGE + b"<style>" + lines(b"a b,", size) + b"c{color:red}</style><p>x",
    "inline styles": lambda size: PAGE + lines(b"<p style='font-size:0;color:#ffe'>a</p>", size),
    "one inline style": lambda size: PAGE + b"<p style='" + lines(b"color:red;", size) + b"'>a</p>",
    "open comment": lambda size: PAGE + b"x<!--" + lines(b"- -", size),
    "character references": lambda size: PAGE + lines(b"&#97;&nbsp", size),
    "tables": lambda size: PAGE + lines(b"<table><tr><td>a", size),
    "hidden words": lambda size: PAGE + lines(b"<span style=display:none>a</span>b", size),
    "rich text": lambda size: HEAD + b"Content-Type: text/rtf\r\n\r\n{\\rtf1 " + lines(b"{\\b a}", size) + b"}",
    "rich text groups": lambda size: HEAD + b"Content-Type: text/rtf\r\n\r\n{\\rtf1 " + b"{" * size,
    "parts": lambda size: (
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + lines(b"--b\r\n\r\nhello friend\r\n", size)
    ),
}


@pytest.fixture(scope="module")
def checks() -> Iterator[tuple[Check, ...]]:
    made = build_checks(shipped_knowledge())
    inspect_content(parse(PLAIN + b"hello"), OPTIONS, made)
    gc.collect()
    gc.freeze()  # what is there now is not looked through before each measurement: that cost more than all of them
    yield made
    gc.unfreeze()


def cost(content: bytes, checks: tuple[Check, ...]) -> float:
    """CPU seconds of the content stage."""
    message = parse(content)
    gc.collect()
    started = time.process_time()
    facts = inspect_content(message, OPTIONS, checks)
    spent = time.process_time() - started
    assert not facts.trouble, facts.trouble
    return spent


@pytest.mark.parametrize("name", TEXTS)
def test_time_is_proportional_and_short(name: str, checks: tuple[Check, ...]) -> None:
    build = TEXTS[name]
    # At full size limits cut what is looked at, so growth is watched below.
    half, whole = build(MEGABYTE // 16), build(MEGABYTE // 8)
    for _ in range(3):  # a busy machine may spoil one measurement, not three
        first, second = cost(half, checks), cost(whole, checks)
        if second <= TELLING_S or second <= GROWTH * first:
            break
    else:
        pytest.fail(f"{first:.3f} s of CPU became {second:.3f} s for twice the size")
    if second > MOST_S / 16:  # else its growth, just seen, keeps it far below
        assert cost(build(MEGABYTE), checks) < MOST_S
