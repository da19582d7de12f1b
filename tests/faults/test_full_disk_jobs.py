"""Jobs of an administrator on a disk that is full: nothing half done is left, what there was stays, the file is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.support_gateway import can_mount, fill, small_disk
from tests.support.gateway import Gateway, run_here
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    if not can_mount(tmp_path / "trial"):
        pytest.skip("SKIPPED LOUDLY: a full disk needs root and mount(8): not proved here")
    with small_disk(tmp_path / "disk", 2) as place:
        yield place


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Sink() as sink, Gateway(tmp_path_factory.mktemp("jobs") / "gw", sink.port) as gateway:
        yield gateway


def names(place: Path) -> list[str]:
    return sorted(each.name for each in place.iterdir())


def test_backup_that_finds_no_room_leaves_nothing(gateway: Gateway, disk: Path, tmp_path: Path) -> None:
    former = disk / "monday.backup"
    former.write_bytes(b"of monday")
    fill(disk)
    done = gateway.command("backup", str(disk / "tuesday.backup"))
    assert done.returncode != 0
    assert f"{disk}/tuesday.backup: No space left on device" in done.stderr
    assert names(disk) == ["ballast", "monday.backup"]
    assert former.read_bytes() == b"of monday"
    assert gateway.command("backup", str(tmp_path / "elsewhere.backup")).returncode == 0
    assert run_here("backup", "verify", str(tmp_path / "elsewhere.backup")).returncode == 0


def test_restore_that_finds_no_room_puts_nothing_in_place(gateway: Gateway, disk: Path, tmp_path: Path) -> None:
    assert gateway.command("backup", str(tmp_path / "whole.backup")).returncode == 0
    file = disk / "gatepost.toml"
    done = gateway.command(
        "restore", str(tmp_path / "whole.backup"), "--state", str(disk / "state"), "--yes", conf_file=file
    )
    assert done.returncode != 0
    assert "there is no room for" in done.stderr
    assert not file.exists()
    assert not any((disk / "state").rglob("*"))


def test_the_gateway_goes_on_while_jobs_fail(gateway: Gateway, disk: Path) -> None:
    fill(disk)
    assert gateway.command("backup", str(disk / "b")).returncode != 0
    queue_id = gateway.send(plain("goes on"))
    wait_for(lambda: gateway.lines("status=sent", queue_id), "the mail")
