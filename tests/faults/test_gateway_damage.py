"""Damaged bytes, and a disk that takes no writes, under the running gateway: others are served, what is damaged is held and shown."""

import sqlite3
from pathlib import Path

import pytest
from tests.faults.support_gateway import RELAY, RawClient, flag, injected, wait_settled
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

READ_ONLY = """
import apsw
from gatepost.spool.files import FileLayer
from gatepost.spool.writer import SqliteSpool

def read_only():
    return os.path.exists(os.path.join(FLAGS, "read-only"))

class File(apsw.VFSFile):
    def __init__(self, name, flags):
        super().__init__("", name, flags)
    def xWrite(self, data, offset):
        if read_only():
            error = apsw.ReadOnlyError("write")
            error.extendedresult = apsw.SQLITE_READONLY
            raise error
        super().xWrite(data, offset)

class Disk(apsw.VFS):
    def __init__(self):
        super().__init__("read-only", "")
    def xOpen(self, name, flags):
        return File(name, flags)

create = FileLayer.create
def create_or_fail(self, *arguments, **options):
    if read_only():
        raise OSError(30, "Read-only file system")
    return create(self, *arguments, **options)
FileLayer.create = create_or_fail
DISK = Disk()
open_spool = SqliteSpool.open.__func__
SqliteSpool.open = classmethod(lambda cls, *a, **k: open_spool(cls, *a, **{**k, "vfs": "read-only"}))
"""


def reply_to_mail(gateway: Gateway, content: bytes) -> bytes:
    """Return the reply that decides: to MAIL, RCPT, DATA or the end."""
    with RawClient(gateway) as client:
        assert client.reply().startswith(b"220")
        client.ask(b"EHLO client.example.net")
        for line in (b"MAIL FROM:<sender@example.net>", b"RCPT TO:<user@example.org>", b"DATA"):
            answer = client.ask(line)
            if answer[:1] not in b"23":
                return answer
        return client.ask(content + b".")


@pytest.mark.parametrize("relays", [1, 3])
def test_damaged_content_is_held_and_shown_and_the_others_arrive(tmp_path: Path, relays: int) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=relays) as gateway:
        gateway.switch("send", on=False)
        ids = [
            gateway.send(plain(f"mail {number}", size=size), f"user{number}@example.org")
            for number, size in enumerate((500, 400_000) * 3)
        ]
        assert gateway.stop() == 0
        files = sorted((tmp_path / "gw" / "queue").rglob("content/*"))
        with files[0].open("r+b") as file:
            file.seek(100_000)
            file.write(b"\xff" * 64)
        for shard in (tmp_path / "gw" / "queue").glob("relay-*"):
            with sqlite3.connect(shard / "spool.db") as database:
                changed = database.execute(
                    "UPDATE content SET data=zeroblob(length(data)) WHERE id=(SELECT min(id) FROM content WHERE data IS NOT NULL)"
                ).rowcount
            database.close()
            if changed:
                break
        gateway.start()
        gateway.switch("send", on=True)
        wait_for(lambda: len(sink.mails) == 4, "the sound ones")
        wait_for(lambda: [row["state"] for row in gateway.queue()] == ["HLD"] * 2, "the damaged ones alone to be held")
        held = gateway.queue()
        assert {row["queue_id"] for row in held} < set(ids)
        assert {row["reason"].partition(":")[0] for row in held} == {"content cannot be read"}
        assert gateway.status()["queue"]["held"] == 2
        arrived = {recipient for mail in sink.mails for recipient in mail.recipients}
        assert arrived.isdisjoint(recipient for row in held for recipient in row["recipients"])
        gateway.send(plain("after"), "after@example.org")
        wait_for(lambda: len(sink.mails) == 5, "new mail")
        for row in held:
            assert gateway.ask("act", verb="remove", ids=[row["id"]])["done"] == 1
        wait_for(lambda: gateway.queue() == [], "an empty queue")


@pytest.mark.parametrize("relays", [1, 3])
def test_a_disk_that_turns_read_only_refuses_for_now_and_loses_nothing(tmp_path: Path, relays: int) -> None:
    env = injected(tmp_path, RELAY, READ_ONLY)
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=relays, env=env) as gateway:
        gateway.switch("send", on=False)
        for number in range(6):
            gateway.send(plain(f"mail {number}"), f"user{number}@example.org")
        flag(tmp_path, "read-only")
        for size in (500, 400_000):
            answer = reply_to_mail(gateway, plain("refused", size=size))
            assert answer[:3] in (b"451", b"452"), answer
        assert len(gateway.queue()) == 6
        assert all("error" not in relay for relay in gateway.status()["relays"])
        flag(tmp_path, "read-only", on=False)
        wait_for(lambda: reply_to_mail(gateway, plain("again")).startswith(b"250"), "service to return")
        gateway.switch("send", on=True)
        wait_for(lambda: len(sink.recipients()) == 7, "all mail")
        wait_settled(gateway)
        assert set(sink.recipients().values()) == {1}
        assert gateway.stop() == 0


def test_damaged_files_of_tracking_are_put_aside_and_told_and_new_mail_is_found(tmp_path: Path) -> None:
    """The recorder ended again and again, named no file, and nothing was found any more."""
    settings = "\n[watch]\nmail = false\ninterval = 1\n"
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, settings=settings) as gateway:
        tracking = tmp_path / "gw" / "tracking"

        def found(address: str) -> bool:
            return f"<{address}>" in gateway.command("trace", address).stdout

        def put_aside() -> set[str]:
            return {path.name.partition(".damaged-")[0] for path in tracking.glob("*.damaged-*")}

        gateway.send(plain("before"), "before@example.org")
        wait_for(lambda: sink.mails and found("before@example.org"), "the first mail on record")
        assert gateway.stop() == 0
        [day] = tracking.glob("*.tracking")
        for file in (*tracking.glob("*.tracking*"), *tracking.glob("history.db*")):  # a log would mend its file
            file.write_bytes(b"\xa5" * file.stat().st_size)
        gateway.start()
        gateway.send(plain("after"), "after@example.org")
        wait_for(lambda: put_aside() == {day.name, "history.db"}, "both files to be put aside")
        wait_for(lambda: len(sink.mails) == 2, "both mails")
        wait_for(lambda: found("after@example.org"), "the second mail on record")
        wait_for(lambda: "put aside in" in gateway.command("status").stdout, "the problem")
        told = [each for each in gateway.ask("problems", now=True)["findings"] if each["key"] == "tracking:aside"]
        assert str(tracking) in told[0]["text"]
        for file in tracking.glob("*.damaged-*"):
            file.unlink()
        wait_for(lambda: "put aside in" not in gateway.command("status").stdout, "the problem to be over")
