"""Texts of pages and plain texts, their form for matching and their addresses: bounded, and the same again and again."""

from collections.abc import Iterator
from typing import Final

from gatepost.antispam.extract.fold import fold
from gatepost.antispam.extract.page import read_page
from gatepost.antispam.extract.plain import find_bare, find_urls, part_quoted, unflow
from gatepost.antispam.links import HOST_LIMIT, LINKS_LIMIT, distinct, read_anchor, read_target

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2000


def execute(data: bytes) -> None:
    """Read the input as a page, as plain text and as an address."""
    source = data.decode("utf-8", "replace")
    page = read_page(source)
    for text in (page.visible, page.hidden, page.labels):
        assert "\0" not in text
        assert "  " not in text
    folded = fold(page.visible).text
    assert "\u200b" not in folded
    assert folded == folded.casefold()
    own, quoted = part_quoted(source)
    assert len(own) + len(quoted) == len(source)
    unflow(source)
    fold(source)
    anchors = [read_target(target) for target in page.targets]
    anchors += [read_anchor(url, "text", "text") for url in (*find_urls(source), *find_bare(source), source)]
    links = list(distinct([anchor for anchor in anchors if anchor is not None]))
    assert len(links) <= LINKS_LIMIT
    for link in links:
        assert 0 < len(link.host) <= HOST_LIMIT
        assert link.domain == "" or link.host.endswith(link.domain)


WORDS: Final = (
    b"<b>", b"</b>", b"<p style='display:none'>", b"<style>.a{font-size:0}</style>", b"<font color=white>", b"<!--", b"-->", b"<table><tr><td>",
    b"<a href=http://", b"</a>", b"<img src=x width=1>", b"<form action=", b"<input type=password>", b"<title>", b"<textarea>", b"&#", b"&nbsp;",
    b"http://", b"https://", b"www.", b".com", b"xn--", b"%2F%2F", b"@", b":81/", b"0x7f.1", b"[::1]", b"\n> ", b" \n", "\u0430".encode(),
    "\u200b".encode(), "\u202e".encode(), "\U0001d400".encode(), b"v i a g r a", b"p0rn", b"data:text/html,", b"javascript:",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield pages and texts with one of each."""
    yield b"<style>.h{display:none}</style><p class=h>hidden</p>Buy V<!-- x -->ia<b></b>gra <a href='http://x.example/?u=http%3A%2F%2Fy.example/'>www.z.example</a>"
    yield b"<table><tr><td style='font-size:0'>a<td background=x><font color=#fff>b</table><form action=//f.example><input type=password></form>"
    yield "Вuy v i a g r a at www.x.example or http://3325256713/ \u200bnow\u202e p0rn\n> quoted \nflowed".encode()  # noqa: RUF001 - a disguise
    yield b"http://user.name@xn--pypal-4ve.com:81/%2f?u=https%3a%2f%2fb.example"
