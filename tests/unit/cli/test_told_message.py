"""A message to be explained: where it is found, and what it tells of its way."""

from pathlib import Path

import pytest
from tests.unit.storage.store_items import new

from gatepost.cli.store_choice import Failed
from gatepost.cli.told_message import STRANGER, ToldMessage, read_message
from gatepost.config.default import build_default_config
from gatepost.config.load import load
from gatepost.storage.item import StoreKind
from gatepost.storage.store import New, Store

DELIVERED = (
    "Received: from mail.one.example (unknown [IPv6:2001:db8::7])\n\tby gw.example.org with ESMTPS id 0AM0M4RYM0000;\n"
    "\tSun, 22 Nov 2026 09:42:17 +0000\n"
    "X-SpamTest-Envelope-From: <bounce+7@one.example>\n"
    "Received: from liar (liar [198.51.100.9])\n\tby elsewhere.example with SMTP; Sun, 22 Nov 2026 09:42:16 +0000\n"
)
WRITTEN = (
    "From: =?utf-8?q?J=C3=BCrgen?= <author@one.example>\nTo: Boss <boss@example.org>, other@two.example\n"
    "Cc: it@sub.example.org,\n boss@example.org\nSubject: x\n\nFrom: nobody@body.example\n"
)


@pytest.fixture
def conf_file(tmp_path: Path) -> Path:
    path = tmp_path / "gatepost.toml"
    domains = ("example.org", "*.example.org")
    path.write_text(
        build_default_config(state_path=str(tmp_path), hostname="gw.example.org", protected_domains=domains)
    )
    return path


def read(conf_file: Path, text: str) -> ToldMessage:
    config = load(conf_file).config
    assert config is not None
    return read_message(text, config, conf_file)


def way(message: ToldMessage) -> tuple[str, list[str], str, str]:
    envelope = message.envelope
    return envelope.sender, [each.address for each in envelope.recipients], envelope.client.ip, envelope.client.helo


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (DELIVERED + WRITTEN, ("bounce+7@one.example", ["boss@example.org", "it@sub.example.org"], "2001:db8::7",
                               "mail.one.example")),
        (WRITTEN, ("author@one.example", ["boss@example.org", "it@sub.example.org"], STRANGER, "")),
        ("Return-Path: <>\n" + WRITTEN, ("", ["boss@example.org", "it@sub.example.org"], STRANGER, "")),
        ("To: a@two.example\n\n", ("", ["a@two.example"], STRANGER, "")),
        ("Subject: x\n\n", ("", ["postmaster@example.org"], STRANGER, "")),
    ],
    ids=["delivered", "written", "null sender", "to others", "nothing said"],
)  # fmt: skip
def test_a_file_tells_its_way(
    conf_file: Path, tmp_path: Path, content: str, expected: tuple[str, list[str], str, str]
) -> None:
    file = tmp_path / "mail.eml"
    file.write_text(content)
    message = read(conf_file, str(file))
    assert way(message) == expected
    assert message.content == content.replace("\n", "\r\n").encode()


def keep(tmp_path: Path, directory: str, *news: New) -> None:
    assert Store(str(tmp_path / directory), create=True).put(news) == [None] * len(news)


def test_a_stored_message_is_found_by_its_ids_with_its_envelope(conf_file: Path, tmp_path: Path) -> None:
    wanted = new(store=StoreKind.BACKUP)
    keep(tmp_path, "backup", wanted)
    for text in (wanted.item.id, wanted.item.queue_id):
        message = read(conf_file, text)
        assert message.envelope == wanted.item.envelope
        assert message.content == b"".join(wanted.content())


@pytest.mark.parametrize("text", ["none.eml", "0AM0M4RYM0000", "0AM0M4RYM0000-BZYYGM"])
def test_what_is_nowhere_is_said_so(conf_file: Path, text: str) -> None:
    with pytest.raises(Failed, match=rf"^{text}: No such file or directory, and the id of no stored message either$"):
        read(conf_file, text)
