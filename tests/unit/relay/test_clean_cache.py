"""The cache of clean objects: bounded, newest kept, whole after a restart or empty."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.relay import clean_cache
from gatepost.relay.clean_cache import CleanCache
from gatepost.relay.clean_table import KEY_SIZE, WAYS, CleanTable, Damaged


def key(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def in_row(number: int, rows: int = 1) -> bytes:
    """A key of the first row."""
    return bytes(4) + key(number)[4:]


def test_what_is_added_is_known_and_nothing_else() -> None:
    table = CleanTable(100)
    table.add([key(1), key(2)])
    assert table.known([key(1), key(3), key(2), key(1)]) == b"\1\0\1\1"
    assert table.known([]) == b""


def test_a_row_keeps_what_is_used_and_what_is_new() -> None:
    table = CleanTable(1)
    keys = [in_row(number) for number in range(WAYS + 2)]
    table.add(keys[:WAYS])
    table.add([keys[1]])  # already there: no second place
    assert table.known(keys[:1]) == b"\1"  # the oldest, now the newest
    table.add(keys[WAYS:])
    assert table.known(keys) == bytes(number not in (2, 3) for number in range(WAYS + 2))


def test_the_table_never_grows() -> None:
    table = CleanTable(8)
    table.add(key(number) for number in range(10_000))
    known = table.known([key(number) for number in range(10_000)])
    assert sum(known) == 8 * WAYS
    assert sum(known[:5000]) == 0  # they are the newest
    assert len(table.store()()) < 8 * WAYS * KEY_SIZE + 100


def anonymous_bytes() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(rollup.partition("\nAnonymous:")[2].split()[0]) * 1024


def test_keys_that_are_not_there_take_no_memory() -> None:
    stored = CleanTable()
    stored.add([key(1)])
    form = stored.store()()
    before = anonymous_bytes()
    tables = [CleanTable() for _ in range(10)]
    for table in tables:
        table.load(form)
        assert table.known([key(1), key(2)]) == b"\1\0"
    assert anonymous_bytes() - before < 3 * len(form)


def test_what_was_there_gives_way_to_what_is_loaded() -> None:
    stored, table = CleanTable(100), CleanTable(100)
    stored.add([key(1)])
    table.add(map(key, range(2, 500)))
    table.load(stored.store()())
    assert table.known([key(1), key(2), key(499)]) == b"\1\0\0"


def test_bytes_that_only_look_like_a_key_are_none() -> None:
    table = CleanTable(1)
    first, second = in_row(1), in_row(2)
    table.add([second, first])
    between = first[16:] + second[:16]
    assert table.known([between, bytes(KEY_SIZE)]) == b"\0\0"
    table.add([bytes(KEY_SIZE)])
    assert table.known([bytes(KEY_SIZE)]) == b"\0"


def test_the_stored_form_is_taken_whole_or_not_at_all() -> None:
    table = CleanTable(10)
    table.add([key(1)])
    stored = table.store()()
    fresh = CleanTable(10)
    fresh.load(stored)
    assert fresh.known([key(1)]) == b"\1"
    flipped = bytearray(stored)
    flipped[-1] ^= 1
    for broken in (b"", stored[:-1], stored + b"x", b"x" + stored[1:], bytes(flipped), CleanTable(11).store()()):
        with pytest.raises(Damaged):
            fresh.load(broken)
        assert fresh.known([key(1)]) == b"\1"


def config_of(state: Path, *overrides: str) -> Config:
    text = build_default_config(
        state_path=str(state),
        hostname="gw.example.org",
        listen="127.0.0.1:2525",
        next_hop="[127.0.0.1:2526]",
        protected_domains=("example.org",),
        log_filename=str(state / "log"),
    )
    config = load_text(text, "gatepost.toml", overrides=overrides).config
    assert config is not None
    return config


class Said(list[tuple[str, str]]):
    def __call__(self, level: str, text: str) -> None:
        self.append((level, text))


async def open_cache(state: Path, said: Said, index: int = 0) -> CleanCache:
    cache = CleanCache(index, said)
    await cache.configure(config_of(state))
    return cache


def test_it_survives_a_restart_each_relay_for_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        said = Said()
        for index in (0, 1):
            cache = await open_cache(tmp_path, said, index)
            cache.add([key(index)])
            await cache.close()
        for index in (0, 1):
            cache = await open_cache(tmp_path, said, index)
            assert cache.known([key(0), key(1)]) == bytes((index == 0, index == 1))
        assert said == []

    asyncio.run(scenario())


def test_a_damaged_file_is_an_empty_cache_and_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        said = Said()
        cache = await open_cache(tmp_path, said)
        cache.add([key(0)])
        await cache.close()
        path = tmp_path / "cache" / "clean-0.db"
        path.write_bytes(path.read_bytes()[:-100])
        cache = await open_cache(tmp_path, said)
        assert cache.known([key(0)]) == b"\0"
        assert [level for level, _ in said] == ["W"]
        assert str(path) in said[0][1]
        cache.add([key(0)])
        await cache.close()
        assert (await open_cache(tmp_path, said)).known([key(0)]) == b"\1"

    asyncio.run(scenario())


def test_a_disk_that_takes_nothing_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        said = Said()
        cache = await open_cache(tmp_path, said)
        cache.add([key(0)])
        write = clean_cache._write

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(clean_cache, "_write", full)
        await cache.save()
        await cache.save()
        assert [level for level, _ in said] == ["W"]
        monkeypatch.setattr(clean_cache, "_write", write)
        await cache.save()
        assert (await open_cache(tmp_path, said)).known([key(0)]) == b"\1"

    asyncio.run(scenario())


def test_switched_off_it_knows_nothing_and_takes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        cache = await open_cache(tmp_path, Said())
        cache.add([key(0)])
        off = config_of(tmp_path, "ave.use_clean_cache=false")
        assert not off.ave.use_clean_cache
        await cache.configure(off)
        cache.add([key(1)])
        assert cache.known([key(0), key(1)]) == b"\0\0"
        await cache.configure(config_of(tmp_path))
        assert cache.known([key(0), key(1)]) == b"\1\0"

    asyncio.run(scenario())
