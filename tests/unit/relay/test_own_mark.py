"""The mark of the gateway's own messages: for one text, by one gateway, for some days."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.mime.loop_mark import LIFE_S
from gatepost.relay.own_mark import FIELD, KEY_FILE, RECIPIENTS_LIMIT, OwnMark, digest_of
from gatepost.storage.key_file import KEY_BYTES, load_key

NOW = 1_800_000_000.0
ADMIN, BOB, CAROL = "admin@example.org", "bob@example.org", "carol@example.org"
DOOR = '[[door]]\nname = "d"\nkind = "milter"\naddress = "tcp:127.0.0.1:8891"\n'
NOTICE = (
    b"Date: Mon, 02 Jan 2006 15:04:05 +0000\r\nFrom: Gatepost <postmaster@gw.example.org>\r\nTo: <admin@example.org>\r\n"
    b"Subject: Infected\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nA message was infected.\r\n"
)


def configuration(state: Path, doors: str = DOOR) -> Config:
    text = f'[network]\nhostname = "gw.example.org"\n[relay]\nstate_path = "{state}"\n{doors}'
    config = load_text(text, "x.toml").config
    assert config is not None
    return config


def mark_of(state: Path, doors: str = DOOR, told: list[str] | None = None) -> OwnMark:
    mark = OwnMark(lambda level, text: told.append(f"{level} {text}") if told is not None else None)
    mark.configure(configuration(state, doors))
    return mark


def holds(
    mark: OwnMark, content: bytes | Path, now: float = NOW, sender: str = "", recipients: Sequence[str] = (ADMIN,)
) -> bool:
    head = content if isinstance(content, bytes) else content.read_bytes()[:4096]
    return asyncio.run(mark.holds(head, content, sender, recipients, now))


def test_what_a_relay_has_marked_every_relay_knows_again(tmp_path: Path) -> None:
    field = mark_of(tmp_path).build(NOTICE, NOW)
    assert field.startswith(FIELD.encode() + b": ")
    assert field.endswith(b"\r\n")
    assert len(field) < 200
    other = mark_of(tmp_path)
    assert holds(other, field + NOTICE)
    received = b"Received: from gw\r\n\tby mail; Mon, 02 Jan 2006 15:04:05 +0000\r\n"
    assert holds(other, received + field + NOTICE)
    file = tmp_path / "content"
    file.write_bytes(field + NOTICE)
    assert holds(other, file)


def test_large_messages_are_digested_alike_from_memory_and_file(tmp_path: Path) -> None:
    mark, text = mark_of(tmp_path), NOTICE + b"0123456789abcde\r\n" * 60_000
    whole = mark.build(text, NOW) + text
    file = tmp_path / "content"
    file.write_bytes(whole)
    assert holds(mark, whole)
    assert holds(mark, file)
    file.write_bytes(whole + b"more")
    assert not holds(mark, file)


@pytest.mark.parametrize(
    "changed",
    [
        NOTICE + b"and one more line\r\n",
        NOTICE.replace(b"was infected", b"is harmless"),
        NOTICE.replace(b"Subject: Infected", b"Subject: Win now"),
        NOTICE.replace(b"postmaster@gw", b"boss@gw"),
        NOTICE.replace(b"text/plain", b"text/html"),
        b"Content-Type: multipart/mixed; boundary=x\r\n" + NOTICE,
        b"\r\n" + NOTICE,
    ],
)
def test_a_mark_fits_no_other_text(tmp_path: Path, changed: bytes) -> None:
    mark = mark_of(tmp_path)
    assert not holds(mark, mark.build(NOTICE, NOW) + changed)


def test_a_mark_in_the_body_is_none(tmp_path: Path) -> None:
    mark = mark_of(tmp_path)
    head, body = NOTICE.split(b"\r\n\r\n")
    assert not holds(mark, head + b"\r\n\r\n" + mark.build(NOTICE, NOW) + body)


def test_a_notice_has_no_sender(tmp_path: Path) -> None:
    mark = mark_of(tmp_path)
    assert not holds(mark, mark.build(NOTICE, NOW) + NOTICE, sender="sender@example.net")


def test_a_release_is_for_those_it_was_released_to(tmp_path: Path) -> None:
    mark = mark_of(tmp_path)
    whole = mark.build_released(digest_of((NOTICE,)), (BOB, CAROL), NOW) + NOTICE
    for sender in ("sender@example.net", ""):
        for recipients in ((BOB, CAROL), (CAROL,), ("Bob@Example.org",)):
            assert holds(mark, whole, sender=sender, recipients=recipients)
        for recipients in ((ADMIN,), (BOB, ADMIN), ()):
            assert not holds(mark, whole, sender=sender, recipients=recipients)
    assert not holds(mark, whole + b"and more", sender="sender@example.net", recipients=(BOB,))


def test_a_release_to_many_is_not_marked(tmp_path: Path) -> None:
    mark, digest = mark_of(tmp_path), digest_of((NOTICE,))
    many = [f"user{number}@example.org" for number in range(RECIPIENTS_LIMIT + 1)]
    assert mark.build_released(digest, many, NOW) == b""
    most = mark.build_released(digest, many[1:], NOW) + NOTICE
    assert holds(mark, most, sender="sender@example.net", recipients=many[1:])
    assert not holds(mark, most, sender="sender@example.net", recipients=many)


def test_the_digest_is_the_same_however_the_message_is_cut() -> None:
    text = NOTICE.replace(b"Subject:", b"X-Filler: " + b"x" * 70_000 + b"\r\nSubject:") + b"line\r\n" * 50_000
    for message in (NOTICE, text):
        whole = digest_of((message,))
        for size in (1, 7, 65_541) if len(message) < 1000 else (997, 65_540, 65_541, 200_000):
            assert digest_of(message[at : at + size] for at in range(0, len(message), size)) == whole


def test_nobody_else_makes_one_and_it_ends(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    mark, other = mark_of(tmp_path), mark_of(tmp_path / "other")
    field = mark.build(NOTICE, NOW)
    assert not holds(other, field + NOTICE)
    assert holds(mark, field + NOTICE, NOW + LIFE_S)
    assert not holds(mark, field + NOTICE, NOW + LIFE_S + 1)
    assert not holds(mark, NOTICE)
    assert not holds(mark, f"{FIELD}: 1-0-0-0\r\n".encode() + NOTICE)


def test_a_gateway_without_doors_marks_nothing(tmp_path: Path) -> None:
    mark = mark_of(tmp_path, doors="")
    assert mark.build(NOTICE, NOW) == b""
    assert not (tmp_path / KEY_FILE).exists()
    mark.configure(configuration(tmp_path))
    field = mark.build(NOTICE, NOW)
    assert holds(mark, field + NOTICE)
    mark.configure(configuration(tmp_path, doors=""))
    assert not holds(mark, field + NOTICE)


def test_a_key_that_is_none_is_told_and_nothing_is_marked(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short")
    told: list[str] = []
    mark = mark_of(tmp_path, told=told)
    assert mark.build(NOTICE, NOW) == b""
    (line,) = told
    assert line.startswith("E messages of the gateway's own are not marked: ")
    assert "remove it, own mail under way is then judged like any" in line


def test_processes_that_ask_at_the_same_time_have_one_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        keys.append(load_key(tmp_path / "key", ""))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len({*keys}) == 1
    assert len(keys[0]) == KEY_BYTES
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
