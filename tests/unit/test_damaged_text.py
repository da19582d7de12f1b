"""Files and requests in which text is no UTF-8 are damaged like any other: told, passed over, never an error of ours."""

import asyncio
import os
from pathlib import Path

import pytest

from gatepost.control.socket import _respond
from gatepost.feeds.artefacts import INDEX_FILE, Artefacts
from gatepost.feeds.manifest import MANIFEST_FILE, BadSet, read_set
from gatepost.master.pauses import PauseError, Pauses
from gatepost.spool.reading import _is_wanted
from gatepost.storage.container import Damaged, read_container

NO_TEXT = b'{"name":"\xe4\xff"}'


def test_a_list_of_pauses(tmp_path: Path) -> None:
    file = tmp_path / "pauses"
    file.write_bytes(b'["\xe4.example"]')
    with pytest.raises(PauseError):
        Pauses(file)


def test_databases(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(NO_TEXT)
    (tmp_path / INDEX_FILE).write_bytes(NO_TEXT)
    (tmp_path / INDEX_FILE).chmod(0o600)
    with pytest.raises(BadSet):
        read_set(tmp_path, None)
    assert Artefacts(tmp_path, 1).get("key") is None


def test_a_request() -> None:
    async def handler(_request: object, _user: int) -> object:
        raise AssertionError

    assert asyncio.run(_respond(handler, NO_TEXT, os.getuid())).error


def test_a_row_of_the_spool() -> None:
    assert not _is_wanted((1, 0, 5, "", b"\x91\xa2\xe4\xff"), lambda _brief: True)


def test_a_stored_item() -> None:
    descriptor = os.memfd_create("item")
    os.write(descriptor, b"gatepost-item 1 %d 0\n%b\n\n" % (len(NO_TEXT), NO_TEXT))
    with pytest.raises(Damaged):
        read_container(descriptor)
    os.close(descriptor)
