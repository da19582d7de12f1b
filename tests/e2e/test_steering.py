"""Steering a running gateway: long queues are listed whole, relays come and go and keep to what was switched off, a
reload that relays could not follow is refused.
"""

from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for


def relays_serve(gateway: Gateway, relays: int) -> bool:
    rows = gateway.status()["relays"]
    return len(rows) == relays and all("error" not in row for row in rows)


def resize(gateway: Gateway, before: int, after: int) -> None:
    gateway.edit(f"relays = {before}\n", f"relays = {after}\n")
    assert gateway.command("reload").returncode == 0
    wait_for(lambda: relays_serve(gateway, after), f"{after} relay(s)")


def test_queue_of_long_addresses_is_listed_whole(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=3) as gateway:
        gateway.switch("send", on=False)
        domain = ".".join(["d" * 60] * 2) + ".example.org"
        recipients = [f"{number:02}{'r' * 60}@{domain}" for number in range(25)]
        queued = [gateway.send(plain(f"long {number}"), recipients) for number in range(60)]
        wait_for(lambda: gateway.status()["queue"]["ready"] == 60, "everything to be inspected")
        listed = gateway.command("queue", "list")
        assert listed.returncode == 0
        assert [line.split()[0] for line in listed.stdout.splitlines()[:-1]] == sorted(queued)
        assert listed.stdout.splitlines()[-1].startswith("60 queued messages")


def test_relay_that_comes_back_gets_its_shard_back(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=3) as gateway:
        gateway.switch("send", on=False)
        queued = {gateway.send(plain(f"kept {number}")) for number in range(24)}
        wait_for(lambda: gateway.status()["queue"]["ready"] == 24, "everything to be inspected")
        resize(gateway, 3, 1)
        wait_for(lambda: gateway.status()["queue"]["ready"] == 24, "the shards of former relays to be adopted")
        assert gateway.status()["relays"][0]["adopted_shards"]
        assert sink.mails == []  # an adopted shard keeps to what was switched off
        resize(gateway, 1, 3)
        wait_for(lambda: gateway.status()["queue"]["ready"] == 24, "every relay to answer for its own shard")
        assert all(not row["adopted_shards"] for row in gateway.status()["relays"])
        gateway.switch("send", on=True)
        wait_for(lambda: len(sink.mails) >= len(queued), "everything queued")
        assert gateway.stop() == 0
        assert len(sink.mails) == len(queued)


def test_reload_with_a_missing_report_template_is_refused(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        missing = tmp_path / "missing.tmpl"
        gateway.edit("\n[options]\n", f'\n[options]\ndsn_template = "{missing}"\n')
        refused = gateway.command("reload")
        assert refused.returncode != 0
        assert str(missing) in refused.stderr
        assert gateway.lines("the running one stays in force")
        assert not gateway.lines("new configuration not taken")
