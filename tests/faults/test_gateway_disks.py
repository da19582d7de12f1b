"""Disks that fill up, fail to sync or lose the log's directory under the running gateway."""

import contextlib
import shutil
import smtplib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.faults.support_gateway import (
    RELAY,
    can_mount,
    fill,
    flag,
    injected,
    kill,
    small_disk,
    wait_settled,
)
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

FAILING_SYNC = """
import apsw
from gatepost.spool.files import FileLayer
from gatepost.spool.writer import SqliteSpool

def failing(what):
    return os.path.exists(os.path.join(FLAGS, what))

class File(apsw.VFSFile):
    def __init__(self, name, flags):
        super().__init__("", name, flags)
        self.log = str(name.filename() if hasattr(name, "filename") else name).endswith("-wal")
    def xSync(self, flags):
        if failing("log" if self.log else "database"):
            error = apsw.IOError("sync")
            error.extendedresult = apsw.SQLITE_IOERR_FSYNC
            raise error
        super().xSync(flags)

class Disk(apsw.VFS):
    def __init__(self):
        super().__init__("failing", "")
    def xOpen(self, name, flags):
        return File(name, flags)

sync = FileLayer.sync
def sync_or_fail(self, descriptor):
    if failing("content"):
        raise OSError(5, "Input/output error")
    sync(self, descriptor)
FileLayer.sync = sync_or_fail
DISK = Disk()
open_spool = SqliteSpool.open.__func__
SqliteSpool.open = classmethod(lambda cls, *a, **k: open_spool(cls, *a, **{**k, "vfs": "failing", "checkpoint_bytes": 65536}))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    if not can_mount(tmp_path / "trial"):
        pytest.skip("SKIPPED LOUDLY: a full disk needs root and mount(8): not proved here")
    with small_disk(tmp_path / "disk", 24) as place:
        yield place


def answer(gateway: Gateway, content: bytes, recipient: str) -> int:
    """Send one mail and return the code of the reply that decided."""
    try:
        with gateway.client() as client:
            client.sendmail("sender@example.net", recipient, content)
    except smtplib.SMTPRecipientsRefused as error:
        return next(iter(error.recipients.values()))[0]
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    return 250


@pytest.mark.parametrize("relays", [1, 3])
@pytest.mark.parametrize("size", [500, 400_000], ids=["small mail", "large mail"])
def test_full_disk_refuses_new_mail_loses_none_and_recovers_by_itself(disk: Path, relays: int, size: int) -> None:
    accepted: list[str] = []
    with Sink() as sink, Gateway(disk / "gw", sink.port, relays=relays) as gateway:
        gateway.ask("switch", module="send", on=False)
        codes = []
        for number in range(20):
            recipient = f"before{number}@example.org"
            codes.append(answer(gateway, plain(f"before {number}", size=size), recipient))
            accepted += [recipient] if codes[-1] == 250 else []
        assert 250 in codes
        # What is not inspected by then waits until there is room for what inspection says of it.
        wait_for(lambda: gateway.status()["queue"]["ready"] == len(accepted), "all to be inspected")
        ballast = fill(disk)
        for number in range(200):
            recipient = f"full{number}@example.org"
            codes.append(answer(gateway, plain(f"full {number}", size=size), recipient))
            accepted += [recipient] if codes[-1] == 250 else []
            if codes[-1] != 250 and number >= 5:
                break
        assert codes[-1] in (451, 452)
        assert set(codes) <= {250, 451, 452}
        # Full is no reason to stop delivering; and what is delivered makes room.
        gateway.ask("switch", module="send", on=True)
        wait_for(lambda: len(sink.mails) >= 1, "delivery from a full disk")
        ballast.unlink()
        wait_for(lambda: answer(gateway, plain("again", size=size), "again@example.org") == 250, "service to return")
        wait_settled(gateway)
        assert set(sink.recipients()) == {*accepted, "again@example.org"}
        assert gateway.queue() == []
        assert gateway.status()["relays"][0]["restarts"] == 0
        assert gateway.stop() == 0


def test_killed_relay_starts_on_a_full_disk_answers_and_delivers_when_space_returns(disk: Path) -> None:
    with Sink() as sink, Gateway(disk / "gw", sink.port) as gateway:
        gateway.ask("switch", module="send", on=False)
        for number in range(20):
            gateway.send(plain(f"mail {number}", size=2_000), f"user{number}@example.org")
        ballast = fill(disk)
        old = gateway.relay_pids()[0]
        kill(old)
        wait_for(lambda: gateway.relay_pids()[0] not in (0, old), "the relay to be started again")
        assert answer(gateway, plain("full"), "full@example.org") in (451, 452)
        gateway.ask("switch", module="send", on=True)
        ballast.unlink()
        wait_for(lambda: len(sink.recipients()) == 20, "delivery when there is space again")
        wait_settled(gateway)
        assert gateway.queue() == []


@contextlib.contextmanager
def failing(tmp_path: Path, gateway: Gateway, what: str) -> Iterator[None]:
    """Let syncs fail until a relay has given up on it: one that starts anew could not open its queue either."""

    def mend() -> None:
        wait_for(lambda: "restarts from disk" in gateway.log(), "the relay to give up on its disk")
        flag(tmp_path, what, on=False)

    flag(tmp_path, what)
    with ThreadPoolExecutor(1) as pool:
        mending = pool.submit(mend)
        yield
        mending.result()


@pytest.mark.parametrize("what", ["log", "content", "database"])
def test_failed_sync_restarts_the_relay_from_disk_and_loses_nothing(tmp_path: Path, what: str) -> None:
    env = injected(tmp_path, RELAY, FAILING_SYNC)
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, env=env) as gateway:
        size = 1_500_000 if what == "content" else 500
        gateway.ask("switch", module="scan", on=False)
        accepted = [f"before{number}@example.org" for number in range(5)]
        for recipient in accepted:
            assert answer(gateway, plain("before", size=size), recipient) == 250
        old = gateway.relay_pids()[0]
        refused = 0
        end = time.monotonic() + 20
        with failing(tmp_path, gateway, what):
            while gateway.relay_pids()[0] == old and time.monotonic() < end:
                recipient = f"during{len(accepted)}.{refused}@example.org"
                try:
                    code = answer(gateway, plain("during", size=size), recipient)
                except (smtplib.SMTPException, OSError):
                    code = 0
                if code == 250:
                    accepted.append(recipient)
                else:
                    refused += 1
        assert gateway.relay_pids()[0] != old, "the relay went on with a disk that does not sync"
        wait_for(lambda: answer(gateway, plain("after"), "after@example.org") == 250, "service to return")
        gateway.ask("switch", module="scan", on=True)
        wait_for(lambda: set(sink.recipients()) >= {*accepted, "after@example.org"}, "everything accepted")
        wait_settled(gateway)
        assert "restarts from disk" in gateway.log()


def test_failed_sync_of_a_disposition_restarts_the_relay_too(tmp_path: Path) -> None:
    """No client waits for that commit: the relay must notice all the same, and at once."""
    env = injected(tmp_path, RELAY, FAILING_SYNC)
    policy = {"[policy]\ncheck = true": "[policy]\ncheck = false"}
    with Gateway(tmp_path / "gw", 1, env=env, replace=policy) as gateway:
        gateway.ask("switch", module="scan", on=False)
        gateway.send(plain("waits"), ["a@one.example.org", "b@two.example.net"])
        old = gateway.relay_pids()[0]
        with failing(tmp_path, gateway, "log"):
            gateway.ask("switch", module="scan", on=True)
        wait_for(lambda: gateway.relay_pids()[0] not in (0, old), "the relay to be started again")
        wait_for(lambda: gateway.status()["queue"]["waiting"] + gateway.status()["queue"]["ready"] == 1, "its mail")


def test_mail_flows_while_the_log_is_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    log = disk / "gatepost.log"
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        gateway.edit(str(gateway.log_file), str(log))
        assert gateway.command("reload").returncode == 0
        ballast = fill(disk)
        with log.open("ab", buffering=0) as file:
            file.write(b"")
        for number in range(300):
            gateway.send(plain(f"mail {number}"), f"user{number}@example.org")
        wait_for(lambda: len(sink.mails) == 300, "mail without a log")
        kill(gateway.relay_pids()[0])
        wait_for(lambda: answer(gateway, plain("restarted"), "r@example.org") == 250, "a relay started without a log")
        ballast.unlink()
        queue_id = gateway.send(plain("room again"))
        wait_for(lambda: queue_id in log.read_text(errors="replace"), "the log to go on")


def test_mail_flows_when_the_log_directory_is_removed(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        gateway.send(plain("before"))
        wait_for(lambda: len(sink.mails) == 1, "mail with a log")
        shutil.rmtree(gateway.log_file.parent)
        gateway.log_file.parent.touch()  # and it cannot be made anew either
        gateway.send(plain("removed"))
        wait_for(lambda: len(sink.mails) == 2, "mail without a log directory")
        wait_for(lambda: not gateway.status()["relays"][0]["in_work"]["delivery"], "it to be settled")
        old = gateway.relay_pids()[0]
        kill(old)
        wait_for(lambda: gateway.relay_pids()[0] not in (0, old), "the relay to be started again")
        gateway.send(plain("restarted"))
        wait_for(lambda: len(sink.mails) == 3, "mail through a relay started without a log")
        gateway.log_file.parent.unlink()
        gateway.log_file.parent.mkdir()

        def logged() -> bool:
            gateway.send(plain("log again"))
            return bool(gateway.lines("DELIVERED"))

        wait_for(logged, "the log to be written again", pause_s=0.2)
