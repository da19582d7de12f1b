"""Pages of a spool's database, damaged on purpose."""

import random
import sqlite3
from pathlib import Path

PAGE = 4096


def root_of(shard: Path, name: str) -> int:
    """Return the number of the first page of a table or an index."""
    database = sqlite3.connect(shard / "spool.db")
    try:
        return int(database.execute("SELECT rootpage FROM sqlite_schema WHERE name=?", (name,)).fetchone()[0])
    finally:
        database.close()


def leaf_of(shard: Path, name: str) -> int:
    """Return the number of a page with rows: the root itself, or the first child of it."""
    page = root_of(shard, name)
    raw = (shard / "spool.db").read_bytes()
    start = (page - 1) * PAGE
    if raw[start] in (0x02, 0x05):  # an interior page: its first cell begins with the number of a child
        cell = int.from_bytes(raw[start + 12 : start + 14], "big")
        page = int.from_bytes(raw[start + cell : start + cell + 4], "big")
    return page


def pages_of(shard: Path, name: str) -> list[int]:
    """Return the numbers of all pages of a table or an index, the first one first."""
    raw = (shard / "spool.db").read_bytes()
    pages = [root_of(shard, name)]
    for page in pages:
        start = (page - 1) * PAGE
        if raw[start] in (0x02, 0x05):
            count = int.from_bytes(raw[start + 3 : start + 5], "big")
            cells = [int.from_bytes(raw[start + at : start + at + 2], "big") for at in range(12, 12 + 2 * count, 2)]
            pages += [int.from_bytes(raw[start + at : start + at + 4], "big") for at in (*cells, 8)]
    return pages


def free_pages(shard: Path) -> list[int]:
    """Return the numbers of the pages that list the free ones."""
    raw = (shard / "spool.db").read_bytes()
    trunks, at = [], 32
    while page := int.from_bytes(raw[at : at + 4], "big"):
        trunks.append(page)
        at = (page - 1) * PAGE
    return trunks


def overwrite(shard: Path, page: int, *, flips: int = 0) -> None:
    """Damage a page: all of it, or so many bytes."""
    with (shard / "spool.db").open("r+b") as file:
        file.seek((page - 1) * PAGE)
        raw = bytearray(file.read(PAGE))
        dice = random.Random(page)
        for at in dice.sample(range(100, PAGE), flips):
            raw[at] ^= dice.randrange(1, 256)
        file.seek((page - 1) * PAGE)
        file.write(raw if flips else b"\xff" * PAGE)
