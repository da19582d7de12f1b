"""A release of many that somebody interrupts says how far it came, and how it goes on."""

from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.storage.store_items import new

from gatepost.cli import store as store_module
from gatepost.cli.gateway import Caller
from gatepost.cli.store import release_items
from gatepost.storage.store import Store


@pytest.mark.parametrize(("again", "told"), [(False, "; the same command does the rest, and none twice"), (True, "")])
def test_it_says_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], again: bool, told: str
) -> None:
    monkeypatch.setattr(store_module, "ITEMS_LIMIT", 2)
    store, items = Store(str(tmp_path), create=True), [new() for _ in range(5)]
    store.put(items)
    calls: list[list[str]] = []

    def caller(_: str, **arguments: Any) -> dict[str, Any]:
        calls.append(arguments["items"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {each: {"queue_id": "0AMMNK6BG0000"} for each in arguments["items"]}

    picked = [(store, each.item.id) for each in items]
    with pytest.raises(KeyboardInterrupt):
        release_items(picked, cast("Caller", caller), to=(), checked=True, again=again)
    assert len(calls) == 2
    assert f"interrupted: 2 of 5 done, others may be under way{told}\n" in capsys.readouterr().err
