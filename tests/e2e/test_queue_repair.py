"""A damaged queue is mended by one command, and what could be saved is delivered once."""

import json
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.spool_pages import leaf_of, overwrite
from tests.support.waiting import wait_for

MAILS = 60


def test_a_damaged_queue_is_mended_and_the_rest_arrives(tmp_path: Path) -> None:
    with Sink() as sink:
        gateway = Gateway(tmp_path / "gw", sink.port)
        shard = gateway.state / "queue" / "relay-0"
        with gateway:
            gateway.switch("send", on=False)
            for number in range(MAILS):
                gateway.send(plain(f"number {number}"))
            wait_for(lambda: {row["state"] for row in gateway.queue()} == {"QUE"}, "all mail inspected")
            here = {row["queue_id"] for row in gateway.queue()}
            assert len(here) == MAILS
            refused = gateway.command("queue", "repair", "--yes")
            assert (refused.returncode, "the gateway runs" in refused.stderr) == (4, True)
            gateway.stop()

            sound = gateway.command("queue", "repair")
            assert (sound.returncode, "sound, nothing to mend" in sound.stdout) == (0, True)
            overwrite(shard, leaf_of(shard, "message"))
            looked = gateway.command("queue", "repair", "--dry-run", "--json")
            assert looked.returncode == 0, looked.stderr
            [seen] = json.loads(looked.stdout)
            assert not seen["kept"]
            assert 0 < len(seen["lost"]) < MAILS // 2
            assert seen["messages"] == MAILS - len(seen["lost"])
            asked = gateway.command("queue", "repair")  # nobody there to answer
            assert asked.returncode == 4
            assert "damaged" in asked.stdout
            mended = gateway.command("queue", "repair", "--yes")
            assert mended.returncode == 0, mended.stderr
            assert f"{len(seen['lost'])} lost" in mended.stdout
            assert all(each in mended.stdout for each in seen["lost"][:20])
            [kept] = gateway.state.glob("queue/relay-0.damaged-*")
            assert {place.name for place in (kept / "left-over").iterdir()} == set(seen["lost"])

            gateway.start()
            gateway.switch("send", on=True)
            wait_for(lambda: not gateway.queue(), "the rest delivered")
            assert len(sink.mails) == MAILS - len(seen["lost"])
            assert len({mail.content for mail in sink.mails}) == len(sink.mails)
            assert here >= set(seen["lost"])


def test_a_relay_that_is_not_there_is_named(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        told = gateway.command("queue", "repair", "--relay", "7")
        assert (told.returncode, "no queue of a relay 7" in told.stderr) == (1, True)
