"""Messages of the accuracy sets as they came to the border: nothing but the collectors' own hops is taken out."""

import re
import sys
from pathlib import Path

import pytest

OWN = re.compile(rb"collector\.example")
HEADER = (
    b"Received: from mx.collector.example by box.collector.example; Mon, 5 Oct 2026 09:00:02 +0000",
    b"Received: from out.sender.example (out.sender.example [8.8.4.4]) by mx.collector.example; Mon, 5 Oct 2026 09:00:01 +0000",
    b"Return-Path: <anna@sender.example>",
    b"From: Anna <anna@sender.example>",
    b"MIME-Version: 1.0",
)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
@pytest.mark.parametrize("body", [b"Hello.", None], ids=["with-body", "header-alone"])
def test_the_last_field_and_the_body_stay(monkeypatch: pytest.MonkeyPatch, end: bytes, body: bytes | None) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).resolve().parents[3] / "tools"), *sys.path])
    from accuracy_sets import Item, _at_border

    content = end.join(HEADER) + end + (b"" if body is None else end + body + end)
    item = _at_border(Item(True, "part", "name", content), OWN)
    kept = end.join(HEADER[2:]) + end + (b"" if body is None else end + body + end)
    assert item.content == kept
    assert (item.client_ip, item.helo, item.sender) == ("8.8.4.4", "out.sender.example", "anna@sender.example")
