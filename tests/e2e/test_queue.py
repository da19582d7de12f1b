"""What an operator may do about one message: release what is held, remove what is not wanted."""

import asyncio
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.model.ids import parse_queue_id
from gatepost.spool.shard import shard_directory
from gatepost.spool.writer import SqliteSpool


async def hold(queue_path: Path, queue_ids: list[str]) -> None:
    """Hold messages while no relay runs."""
    spool = SqliteSpool.open(shard_directory(str(queue_path), 0), asyncio.get_running_loop())
    await spool.start()
    for queue_id in queue_ids:
        await spool.hold(parse_queue_id(queue_id), "for the test", ())
    await spool.close()


def states(gateway: Gateway) -> dict[str, str]:
    return {row["queue_id"]: row["state"] for row in gateway.queue()}


def test_held_mail_is_released_or_removed(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        gateway.switch("send", on=False)
        inspected = gateway.send(plain("inspected"))
        unwanted = gateway.send(plain("unwanted"))
        wait_for(lambda: states(gateway) == {inspected: "QUE", unwanted: "QUE"}, "both inspected")
        gateway.switch("scan", on=False)
        fresh = gateway.send(plain("fresh"))
        gateway.stop()
        asyncio.run(hold(tmp_path / "gw" / "queue", [inspected, unwanted, fresh]))
        gateway.start()
        assert states(gateway) == {inspected: "HLD", unwanted: "HLD", fresh: "HLD"}
        assert "for the test" in gateway.command("queue", "list").stdout

        for queue_id in (inspected, fresh):
            assert gateway.command("queue", "release", queue_id).returncode == 0
        subjects = wait_for(lambda: len(sink.mails) == 2 and sorted(m.header for m in sink.mails), "released mail")
        assert b"Subject: fresh" in subjects[0] + subjects[1]
        assert b"Subject: inspected" in subjects[0] + subjects[1]

        assert gateway.command("queue", "remove", "--yes", unwanted).returncode == 0
        assert wait_for(lambda: gateway.lines("REMOVED", unwanted), "its line in the log")
        wait_for(lambda: not states(gateway), "an empty queue")
        assert len(sink.mails) == 2


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        gateway.switch("send", on=False)
        waiting = gateway.send(plain("waiting"))
        wait_for(lambda: states(gateway) == {waiting: "QUE"}, "it to wait")
        refused = gateway.command("queue", "release", waiting)
        assert (refused.returncode, "not held" in refused.stderr) == (4, True)
        unknown = gateway.command("queue", "remove", "--yes", "0000000000000")
        assert (unknown.returncode, "no such message" in unknown.stderr) == (4, True)
        assert gateway.command("queue", "release", "nonsense").returncode == 1
        assert states(gateway) == {waiting: "QUE"}
