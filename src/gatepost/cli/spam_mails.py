"""Messages in files, folders and mailboxes, one after another, for the commands of `gatepost spam`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

MESSAGE_LIMIT: Final = 20 * 1024 * 1024
"""Bytes of one message: longer ones are cut, as nobody looks further for spam."""
_SEPARATOR: Final = b"From "
_QUOTED: Final = re.compile(rb"^>(>*From )", re.MULTILINE)


def iterate_mails(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every message: files as they are, folders with all below, mailboxes message by message.

    Raises OSError.
    """
    for path in paths:
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
            for each in files:
                yield from _read_file(each)
        else:
            yield from _read_file(path)


def _read_file(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as stream:
        first = stream.readline(MESSAGE_LIMIT)
        if not first.startswith(_SEPARATOR):
            yield str(path), (first + stream.read(MESSAGE_LIMIT))[:MESSAGE_LIMIT]
            return
        found = list(_split(stream))
    for number, content in enumerate(found, 1):
        yield (str(path) if len(found) == 1 else f"{path}#{number}"), content


def _split(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the messages of a mailbox, its first separator taken off already."""
    collected: list[bytes] = []
    size, blank = 0, False
    for line in lines:
        if blank and line.startswith(_SEPARATOR):
            yield _unquote(collected)
            collected, size = [], 0
        elif size < MESSAGE_LIMIT:
            collected.append(line)
            size += len(line)
        blank = not line.strip(b"\r\n")
    if collected:
        yield _unquote(collected)


def _unquote(lines: list[bytes]) -> bytes:
    return _QUOTED.sub(rb"\1", b"".join(lines))[:MESSAGE_LIMIT]
