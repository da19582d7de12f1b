"""Updates that a running gateway takes, and those it must not: tried by a real filter template, refused by the gateway."""

from collections.abc import Iterator

import pytest
from tests.support.feeds import Feed, hash_lines
from tests.support.gateway import Gateway
from tests.support.mails import plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.cli import update_job
from gatepost.feeds.manifest import Kind

NOTHING, UPDATED, CRITICAL = 0, 1, 10
TERMS = b"""= spam/goods/garden | an offer of garden goods
3.5 frobnicated hedges
3.5 gnarled begonias
"""
TEXT = "Buy our frobnicated hedges and our gnarled begonias: write to us today, they are cheap.\r\n"

Scene = tuple[Gateway, Feed]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("update")
    feed = Feed(place / "feed")
    settings = (
        f'\n[updater.options]\nupdate_server_url = "{feed.place}"\nuse_update_server_url_only = true\n'
        f'[updater.report]\nreport_file_name = "{place / "report.log"}"\n'
    )
    replace = {"[ave]": f'[ave]\ntrusted_keys = ["{feed.public}"]'}
    with Sink() as sink, Gateway(place / "gw", sink.port, antispam=True, settings=settings, replace=replace) as gateway:
        yield gateway, feed


def update(gateway: Gateway, *arguments: str) -> tuple[int, str]:
    done = gateway.command("update", *arguments)
    return done.returncode, done.stderr


def untried(*_: object) -> None:
    """A trial costs a start of a filter template: one that succeeds and one that fails are enough."""


def in_force(gateway: Gateway, kind: str = "databases") -> dict[str, int]:
    return {each["name"]: each["number"] for each in gateway.status()[kind]}


def scanned(gateway: Gateway, data: bytes) -> str:
    queue_id = gateway.send(with_attachment(data, "probe.bin", "probe"))
    return wait_for(lambda: gateway.lines("SCANNED", queue_id), "its line in the log")[0]


def judged(gateway: Gateway) -> str:
    queue_id = gateway.send(plain(text=TEXT))
    return wait_for(lambda: gateway.lines("SPAMCHECK", queue_id), "its spam status in the log")[0]


@pytest.mark.feature("F-UPD-11")
@pytest.mark.feature("F-UPD-06")
def test_what_is_new_is_effective_without_a_restart_until_it_is_taken_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, feed = scene
    pids = gateway.relay_pids()
    assert 'status="spam"' not in judged(gateway)
    feed.publish(
        feed.build(1, {"known.hash": hash_lines(b"first object")}),
        feed.build(1, {"garden.terms": TERMS}, name="garden", kind=Kind.ANTISPAM),
    )
    code, told = update(gateway, "--trust-root", str(feed.first_root))
    assert code == UPDATED, told
    assert in_force(gateway)["own"] == 1
    assert in_force(gateway, "spam_databases")["garden"] == 1
    wait_for(lambda: 'status="spam"' in judged(gateway), "the filters to follow")
    wait_for(lambda: 'status="infected"' in scanned(gateway, b"first object"), "the filters to follow")
    assert gateway.relay_pids() == pids
    assert update(gateway)[0] == NOTHING

    monkeypatch.setattr(update_job, "try_sets", untried)
    feed.offer(2, b"first object", b"second object")
    assert update(gateway)[0] == UPDATED
    wait_for(lambda: 'status="infected"' in scanned(gateway, b"second object"), "the filters to follow")
    assert update(gateway, "rollback") == (CRITICAL, "nothing done; --yes does not ask\n")
    assert in_force(gateway)["own"] == 2
    assert update(gateway, "rollback", "--yes")[0] == UPDATED
    assert in_force(gateway) == {"base": in_force(gateway)["base"], "own": 1}
    wait_for(lambda: 'status="clean"' in scanned(gateway, b"second object"), "the filters to follow")
    assert "last update: rolled-back" in gateway.command("status").stdout


@pytest.mark.feature("F-UPD-06")
def test_a_set_that_finds_something_in_clean_mail_is_not_installed(scene: Scene) -> None:
    gateway, feed = scene
    before = in_force(gateway)
    everywhere = b"Test.Everywhere:*:*:%s\n" % b"the usual place".hex().encode()
    feed.publish(feed.build(10, {"known.pattern": everywhere}))
    code, told = update(gateway)
    assert (code, "in a clean mail" in told) == (CRITICAL, True), told
    assert in_force(gateway) == before
    assert not (gateway.state / "bases" / "own-10").exists()
    problems = gateway.ask("problems", now=True)["findings"]
    assert [each["state"] for each in problems if each["key"] == "update"] == ["warning"]


@pytest.mark.feature("F-UPD-06")
def test_what_the_gateway_refuses_goes_back_by_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_job, "try_sets", untried)
    gateway, feed = scene
    before = in_force(gateway)
    unsound = gateway.state / "bases" / "unsound-1"
    unsound.mkdir()
    feed.offer(11, b"eleven")
    try:
        code, told = update(gateway)
    finally:
        unsound.rmdir()
    assert (code, "unsound-1" in told) == (CRITICAL, True), told
    assert in_force(gateway) == before
    assert not (gateway.state / "bases" / "own-11").exists()
    assert update(gateway)[0] == NOTHING  # not taken again by itself ...
    code, told = update(gateway, "--again")  # ... but when an administrator says so
    assert code == UPDATED, told
    assert in_force(gateway)["own"] == 11
