"""Queue commands on a running gateway: each does what it says, in order, and refuses mail in work with code 4."""

import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.lanes import Lane, LaneGateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.model.ids import parse_queue_id


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def module_gateway(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[LaneGateway]:
    # One of each, so that an order is an order.
    changes = {
        "maximal_outgoing_sessions_per_host = 20": "maximal_outgoing_sessions_per_host = 1",
        "server_max_filters = 0": "server_max_filters = 1\nserver_start_filters = 1\nserver_spare_filters = 1",
    }
    with LaneGateway(tmp_path_factory.mktemp("queue") / "gw", sink.port, replace=changes) as gateway:
        yield gateway


@pytest.fixture
def gateway(module_gateway: LaneGateway) -> Iterator[LaneGateway]:
    """The module's gateway; whatever a test leaves is put in order."""
    yield module_gateway
    for module in ("send", "scan"):
        module_gateway.switch(module, on=True)
    for domain in module_gateway.status()["paused"]:
        module_gateway.ask("pause", domain=domain, paused=False)
    act(module_gateway, "remove")


def act(gateway: LaneGateway, verb: str, *ids: str, text: str = "", **chosen: Any) -> dict[str, Any]:
    """One step of an act, by ids or by a filter."""
    which = {"ids": [parse_queue_id(each) for each in ids]} if ids else {"filter": chosen}
    answer: dict[str, Any] = gateway.ask("act", verb=verb, text=text, **which)
    return answer


def row_of(gateway: LaneGateway, queue_id: str) -> dict[str, Any] | None:
    return next((row for row in gateway.queue() if row["queue_id"] == queue_id), None)


def state_of(gateway: LaneGateway, queue_id: str) -> str:
    row = row_of(gateway, queue_id)
    return row["state"] if row else ""


def queued(gateway: LaneGateway, subject: str, recipient: str, sender: str = "sender@example.net") -> str:
    """Send a mail and wait until it awaits delivery."""
    queue_id = gateway.send(plain(subject), recipient, sender)
    wait_for(lambda: state_of(gateway, queue_id) == "QUE", f"{subject} in state QUE")
    return queue_id


def subjects(sink: Sink) -> list[str]:
    return [mail.header.partition(b"Subject: ")[2].split(b"\r\n")[0].decode() for mail in sink.mails]


# --- switches


@pytest.mark.feature("F-MGMT-05")
@pytest.mark.parametrize("module", ["avir", "scan"])
def test_queue_grows_while_scanning_is_off_and_drains(gateway: LaneGateway, module: str) -> None:
    lane = gateway.lane()
    with lane.sink() as sink:
        assert gateway.command(f"{module}-off").returncode == 0
        ids = [gateway.send(plain(f"unscanned {number}"), lane.address()) for number in range(3)]
        assert [state_of(gateway, each) for each in ids] == ["WFC"] * 3
        assert not [each for each in ids if gateway.lines("SCANNED", each)]
        assert gateway.command(f"{module}-on").returncode == 0
        wait_for(lambda: len(sink.mails) == 3, "all mail")


@pytest.mark.feature("F-QUE-01")
def test_list_and_one_message_show_the_state(gateway: LaneGateway) -> None:
    gateway.switch("send", on=False)
    inspected = queued(gateway, "inspected", gateway.lane().address())
    gateway.switch("scan", on=False)
    fresh = gateway.send(plain("fresh"), gateway.lane().address())
    lines = gateway.command("queue", "list").stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [[inspected, "QUE"], [fresh, "WFC"]]
    assert lines[-1].startswith("2 queued messages, ")
    shown = gateway.command("queue", "show", fresh)
    state = "WFC, inspection is switched off; gatepost scan-on lets it go on"
    assert (shown.returncode, shown.stdout.splitlines()[1].split(maxsplit=1)) == (0, ["state:", state])


@pytest.mark.feature("F-QUE-01")
@pytest.mark.feature("F-QUE-02")
@pytest.mark.feature("F-QUE-03")
@pytest.mark.feature("F-QUE-04")
def test_the_documented_options_do_what_the_commands_do(gateway: LaneGateway) -> None:
    gateway.switch("send", on=False)
    address = gateway.lane().address()
    inspected = queued(gateway, "by option", address)
    held = queued(gateway, "held by option", address)
    assert gateway.command("queue", "hold", held).returncode == 0
    gateway.switch("scan", on=False)
    fresh = [gateway.send(plain(f"fresh {number}"), address) for number in range(2)]
    listed = gateway.command("queue", "--show-all")
    assert listed.stdout == gateway.command("queue", "list").stdout
    one = gateway.command("queue", f"--show-id={inspected}")
    line, total = one.stdout.splitlines()
    assert line in listed.stdout.splitlines()
    assert total.startswith("1 queued messages, ")
    assert gateway.command("queue", "--check-id", fresh[1]).stdout == f"{fresh[1]}: to be inspected first\n"
    assert gateway.command("queue", "--check-all").stdout == "2 message(s): to be inspected first\n"
    assert gateway.command("queue", "-o", inspected).stdout == f"{inspected}: to be sent first\n"
    assert gateway.command("queue", "-a").stdout == "1 message(s): to be sent first\n"
    assert gateway.command("queue", "-d", fresh[0]).stdout == f"{fresh[0]}: removed\n"
    assert gateway.command("queue", "--remove-all").returncode == 0
    assert [row["queue_id"] for row in gateway.queue()] == [held]
    assert gateway.command("queue", "--remove-all").returncode == 4
    for wrong in ((), ("--show-all", "--remove-all"), ("--show-id=nonsense",)):
        assert gateway.command("queue", *wrong).returncode == 1


@pytest.mark.feature("F-MGMT-04")
def test_queue_grows_while_sending_is_off_and_drains(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    with lane.sink() as sink:
        gateway.switch("send", on=False)
        for number in range(3):
            queued(gateway, f"unsent {number}", lane.address())
        assert not sink.connections
        gateway.switch("send", on=True)
        wait_for(lambda: len(sink.mails) == 3, "all mail")


@pytest.mark.feature("F-QUE-03")
def test_message_is_scanned_ahead_of_the_queue(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    with lane.sink() as sink:
        gateway.switch("scan", on=False)
        ids = [gateway.send(plain(f"number {number}"), lane.address()) for number in range(8)]
        done = gateway.command("queue", "scan-first", ids[-1])
        assert (done.returncode, done.stdout) == (0, f"{ids[-1]}: to be inspected first\n")
        gateway.switch("scan", on=True)
        wait_for(lambda: len(sink.mails) == 8, "all mail")
        scanned = [line for line in gateway.lines("SCANNED") if any(each in line for each in ids)]
        assert ids[-1] in scanned[0]
        wait_for(lambda: gateway.lines("OPERATED, act=scan-first", ids[-1]), "its line in the log")


@pytest.mark.feature("F-QUE-04")
def test_message_is_sent_ahead_of_a_backlog_also_after_a_restart(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    gateway.switch("send", on=False)
    ids = [queued(gateway, f"place {number}", lane.address()) for number in range(6)]
    assert gateway.command("queue", "send-first", ids[-1]).returncode == 0
    assert gateway.stop() == 0
    with lane.sink() as sink:
        gateway.start()
        wait_for(lambda: len(sink.mails) == 6, "all mail")
        assert subjects(sink)[0] == "place 5"


def test_message_is_sent_ahead_of_what_waits_for_a_connection(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    go_on = threading.Event()

    def slow(step: str, argument: str, sink: Sink) -> str | None:
        if step == "rcpt" and argument.startswith("later") and not sink.times("content"):
            return "451 4.3.0 not now"
        if step == "content":
            go_on.wait(120)
        return None

    with lane.sink(slow) as sink:
        first = gateway.send(plain("first"), lane.address("later"))
        wait_for(lambda: gateway.lines("DEFERRED", first) and state_of(gateway, first) == "QUE", "its deferral")
        gateway.send(plain("under way"), lane.address())
        wait_for(lambda: sink.times("content"), "a transaction under way")
        behind = [gateway.send(plain(f"behind {number}"), lane.address()) for number in range(6)]
        wait_for(lambda: state_of(gateway, behind[-1]) == "SND", "the last one to wait for its turn")
        assert act(gateway, "send-first", first)["done"] == 1
        assert act(gateway, "send-first", behind[-1])["refused"] == 1  # it is in work
        go_on.set()
        wait_for(lambda: len(sink.mails) == 8, "all mail")
        assert subjects(sink)[:3] == ["under way", "first", "behind 0"]


# --- acts on one message


def test_hold_show_and_release(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    gateway.switch("send", on=False)
    queue_id = queued(gateway, "kept", lane.address())
    assert gateway.command("queue", "hold", queue_id, "--reason", "ask the sender").returncode == 0
    row = row_of(gateway, queue_id)
    assert row
    assert (row["state"], row["reason"]) == ("HLD", "ask the sender")
    again = gateway.command("queue", "hold", queue_id)
    assert (again.returncode, again.stderr) == (4, f"{queue_id}: it is held already\n")
    shown = gateway.command("queue", "show", queue_id).stdout
    for fact in ("HLD, ask the sender", "<sender@example.net>", lane.address(), "127.0.0.1", "group:"):
        assert fact in shown, shown
    gateway.switch("send", on=True)
    with lane.sink() as sink:
        assert gateway.command("queue", "release", queue_id).returncode == 0
        wait_for(lambda: len(sink.mails) == 1, "the released mail")
    wait_for(lambda: gateway.lines("OPERATED, act=release", queue_id), "its line in the log")
    gone = gateway.command("queue", "show", queue_id)
    told = f"{queue_id}: no such message in the queue; the log tells what became of it\n"
    assert (gone.returncode, gone.stderr) == (4, told)


@pytest.mark.feature("F-QUE-02")
def test_mail_being_sent_is_refused_with_code_4_and_waiting_mail_removed(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    go_on = threading.Event()

    def slow(step: str, argument: str, sink: Sink) -> str | None:
        if step == "end":
            go_on.wait(120)
        return None

    with lane.sink(slow) as sink:
        queue_id = gateway.send(plain("under way"), lane.address())
        wait_for(lambda: "end" in [step for _, step in sink.steps], "the end of its content")
        assert state_of(gateway, queue_id) == "SND"
        refused = gateway.command("queue", "remove", "--yes", queue_id)
        assert (refused.returncode, refused.stderr) == (4, f"{queue_id}: in work, try again\n")
        for verb in ("hold", "retry", "bounce", "rescan", "scan-first", "send-first", "release"):
            answer = act(gateway, verb, queue_id)
            assert (answer["refused"], set(answer["why"].values())) == (1, {"in work, try again"}), verb
        assert act(gateway, "reroute", queue_id, text="[127.0.0.1:1]")["refused"] == 1
        go_on.set()
        wait_for(lambda: len(sink.mails) == 1 and not gateway.queue(), "its delivery")
    for module, state in (("scan", "WFC"), ("send", "QUE")):
        gateway.switch(module, on=False)
        queue_id = gateway.send(plain("unwanted"), lane.address())
        wait_for(lambda queue_id=queue_id, state=state: state_of(gateway, queue_id) == state, state)
        assert gateway.command("queue", "remove", "--yes", queue_id).returncode == 0
        assert state_of(gateway, queue_id) == ""
        gateway.switch(module, on=True)
        wait_for(lambda queue_id=queue_id: gateway.lines("REMOVED", queue_id), "its line in the log")


def test_retry_ends_the_rest_of_a_destination(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    queue_id = gateway.send(plain("unreachable"), lane.address())
    row = wait_for(
        lambda: (row := row_of(gateway, queue_id)) and row["state"] == "QUE" and "refused" in row["reason"] and row,
        "its destination to rest",
    )
    assert row["next_attempt"] > row["received_at"] + 60
    shown = gateway.ask("show", id=row["id"])
    (waiting,) = shown["waiting"]
    assert waiting["destination_failures"] == 1
    assert waiting["next_hop"] == lane.label
    assert lane.domain in [each["domain"] for each in gateway.status()["troubled"]]
    with lane.sink() as sink:
        assert gateway.command("queue", "retry", queue_id).returncode == 0
        wait_for(lambda: len(sink.mails) == 1, "the mail")
    wait_for(lambda: not gateway.queue(), "an empty queue")


def test_flush_tries_what_a_peer_has_deferred(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    refuse = True

    def busy(step: str, argument: str, sink: Sink) -> str | None:
        return "451 4.3.0 not now" if refuse and step == "rcpt" else None

    with lane.sink(busy) as sink:
        ids = [gateway.send(plain(f"deferred {number}"), lane.address()) for number in range(3)]
        wait_for(lambda: len(gateway.lines("DEFERRED")) >= 3 and state_of(gateway, ids[-1]) == "QUE", "deferrals")
        wait_for(lambda: all(state_of(gateway, each) == "QUE" for each in ids), "all to wait")
        row = row_of(gateway, ids[0])
        assert row
        assert (row["attempts"], "not now" in row["reason"]) == (1, True)
        refuse = False
        counted = gateway.command("queue", "flush", lane.domain, "--dry-run")
        assert (counted.returncode, counted.stdout) == (0, "3 message(s) match\n")
        assert gateway.command("queue", "flush", lane.domain, "--yes").returncode == 0
        wait_for(lambda: len(sink.mails) == 3, "all mail")


def test_bounce_gives_up_with_a_report_that_names_the_reason(gateway: LaneGateway, sink: Sink) -> None:
    lane = gateway.lane()
    gateway.switch("send", on=False)
    queue_id = queued(gateway, "given up", lane.address(), "author@example.org")
    assert gateway.command("queue", "bounce", queue_id, "--yes", "--reason", "wrong address book").returncode == 0
    assert state_of(gateway, queue_id) == ""
    before = len(sink.mails)
    gateway.switch("send", on=True)
    wait_for(lambda: len(sink.mails) > before, "the report")
    report = sink.mails[-1]
    assert (report.sender, report.recipients) == ("", ["author@example.org"])
    assert b"wrong address book" in report.content
    assert b"Status: 5.0.0" in report.content


def test_uninspected_mail_is_neither_bounced_nor_rerouted(gateway: LaneGateway) -> None:
    gateway.switch("scan", on=False)
    queue_id = gateway.send(with_attachment(EICAR, "e.com"), "user@example.org", "author@example.org")
    for verb, text in (("bounce", ""), ("reroute", "[127.0.0.1:1]")):
        answer = act(gateway, verb, queue_id, text=text)
        assert set(answer["why"].values()) == {"it has not been inspected"}
    assert act(gateway, "retry", queue_id)["refused"] == 1
    assert state_of(gateway, queue_id) == "WFC"


def test_reroute_takes_mail_past_a_dead_destination_and_back(gateway: LaneGateway) -> None:
    dead, other = gateway.lane(), gateway.lane()
    queue_id = gateway.send(plain("elsewhere"), dead.address())
    wait_for(lambda: (row := row_of(gateway, queue_id)) and "refused" in row["reason"], "its destination to rest")
    bad = gateway.command("queue", "reroute", queue_id, "--to", "[nowhere:port]")
    assert bad.returncode == 1
    with other.sink() as sink:
        assert gateway.command("queue", "reroute", queue_id, "--to", f"[{other.label}]").returncode == 0
        wait_for(lambda: len(sink.mails) == 1, "the mail at its new next hop")
        assert sink.mails[0].recipients == [dead.address()]
    gateway.switch("send", on=False)
    second = queued(gateway, "and back", dead.address())
    act(gateway, "reroute", second, text=f"[{other.label}]")
    row = row_of(gateway, second)
    assert row
    assert gateway.ask("show", id=row["id"])["waiting"][0]["next_hop"] == other.label
    act(gateway, "reroute", second, text="")
    assert gateway.ask("show", id=row["id"])["waiting"][0] | {"next_attempt": 0} | {"notify": []} | {
        "destination_rests_until": 0.0,
        "destination_failures": 0,
        "destination_reason": "",
    } == {
        "address": dead.address(),
        "notify": [],
        "orcpt": "",
        "queue": dead.domain,
        "attempts": 0,
        "last_reply": "",
        "next_attempt": 0,
        "next_hop": dead.label,
        "paused": False,
        "destination_rests_until": 0.0,
        "destination_failures": 0,
        "destination_reason": "",
    }


def test_rescan_goes_through_the_inspection_again_for_those_who_still_wait(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    refuse = True

    def picky(step: str, argument: str, sink: Sink) -> str | None:
        return "451 4.3.0 not now" if refuse and step == "rcpt" and argument.startswith("later") else None

    with lane.sink(picky) as sink:
        queue_id = gateway.send(plain("twice"), [lane.address("now"), lane.address("later")])
        wait_for(lambda: len(sink.mails) == 1 and state_of(gateway, queue_id) == "QUE", "the first delivery")
        refuse = False
        assert gateway.command("queue", "rescan", queue_id).returncode == 0
        wait_for(lambda: len(sink.mails) == 2, "the second delivery")
        assert [mail.recipients for mail in sink.mails] == [[lane.address("now")], [lane.address("later")]]
        wait_for(lambda: len(gateway.lines("SCANNED", queue_id)) == 2, "the line of the second inspection")


def test_export_as_received_and_as_sent(gateway: LaneGateway, tmp_path: Path) -> None:
    gateway.switch("send", on=False)
    for size in (0, 300_000):
        content = plain("exported", size=size)
        queue_id = queued_id = gateway.send(content)
        wait_for(lambda queued_id=queued_id: state_of(gateway, queued_id) == "QUE", "it to wait")
        received, edited = tmp_path / f"received-{size}.eml", tmp_path / f"edited-{size}.eml"
        done = gateway.command("queue", "export", queue_id, "--output", str(received))
        assert (done.returncode, received.read_bytes()) == (0, content)
        assert stat.S_IMODE(received.stat().st_mode) == 0o600
        assert gateway.command("queue", "export", queue_id, "--edited", "--output", str(edited)).returncode == 0
        assert edited.read_bytes().startswith(b"Received: ")
        assert edited.read_bytes().endswith(content)
    again = gateway.command("queue", "export", queue_id, "--output", str(received))
    assert (again.returncode, "exists" in again.stderr) == (4, True)
    assert list((gateway.state / "run" / "exports").iterdir()) == []


# --- destinations


def test_paused_destination_waits_over_a_restart_and_others_do_not(gateway: LaneGateway) -> None:
    paused, other = gateway.lane(), gateway.lane()
    with paused.sink() as paused_sink, other.sink() as other_sink:
        assert gateway.command("queue", "pause", paused.domain.upper()).returncode == 0
        queue_id = gateway.send(plain("patient"), paused.address())
        gateway.send(plain("quick"), other.address())
        wait_for(lambda: other_sink.mails, "mail for the other destination")
        wait_for(lambda: state_of(gateway, queue_id) == "QUE", "the paused mail to wait")
        gateway.stop()
        gateway.start()
        gateway.send(plain("quick again"), other.address())
        wait_for(lambda: len(other_sink.mails) == 2, "mail for the other destination")
        assert paused_sink.connections == 0
        row = row_of(gateway, queue_id)
        assert row
        assert (row["reason"], row["next_attempt"]) == ("destination paused by an operator", None)
        status = gateway.status()
        assert status["paused"] == [paused.domain]
        assert [(each["domain"], each["waiting"]) for each in status["troubled"] if each["paused"]] == [
            (paused.domain, 1)
        ]
        assert gateway.command("queue", "pause", paused.domain).returncode == 4
        assert gateway.command("queue", "resume", paused.domain).returncode == 0
        wait_for(lambda: paused_sink.mails, "the patient mail")
        assert gateway.command("queue", "resume", "not a domain").returncode != 0


# --- many messages


def fill(gateway: LaneGateway, lanes: list[Lane], count: int) -> list[str]:
    """Queue mail of several senders for several domains, sending switched off."""
    gateway.switch("send", on=False)
    ids = []
    for number in range(count):
        lane = lanes[number % len(lanes)]
        ids.append(gateway.send(plain(f"many {number}"), lane.address(f"user{number}"), f"s{number % 3}@from.example"))
    wait_for(lambda: gateway.status()["queue"]["ready"] == count, "all to be inspected")
    return ids


def test_filters_choose_by_every_part(gateway: LaneGateway) -> None:
    first, second = gateway.lane(), gateway.lane()
    ids = fill(gateway, [first, second], 12)
    act(gateway, "hold", ids[0], text="suspicious attachment")

    def found(*options: str) -> list[str]:
        answer = gateway.command("queue", "list", "--json", *options)
        assert answer.returncode == 0, answer.stderr
        return [row["queue_id"] for row in json.loads(answer.stdout)]

    def chosen(**parts: Any) -> list[str]:
        return [row["queue_id"] for row in gateway.ask("queue", filter=parts)["items"]]

    assert found("--domain", first.domain) == ids[::2]
    assert found("--state", "HLD", "--why", "attachment") == ids[:1]
    assert found("--sender", "s1@*", "--recipient", "user1@*") == [ids[1]]
    assert found("--older", "1h") == []
    assert found("--younger", "1h", "--limit", "5") == ids[:5]
    assert chosen(next_hops=[second.label]) == ids[1::2]
    assert chosen(states=["QUE"]) == ids[1:]
    assert chosen(states=["WFC", "CHK", "SND"]) == []
    assert chosen(senders=["from.example"]) == ids
    assert chosen(senders=["<>"]) == []
    bad = gateway.command("queue", "list", "--state", "XYZ")
    assert (bad.returncode, "is no state" in bad.stderr) == (1, True)
    listing = gateway.command("queue", "list", "--limit", "5").stdout.splitlines()
    assert listing[-1].startswith("12 queued messages, ")
    assert "the oldest 5 are shown" in listing[-1]
    summary = gateway.ask("summary")
    assert summary["states"] == {"WFC": 0, "CHK": 0, "QUE": 11, "SND": 0, "HLD": 1}
    assert {row["domain"]: row["waiting"] for row in summary["destinations"]} == {first.domain: 5, second.domain: 6}
    assert summary["held"] == {"suspicious attachment": 1}
    shown = gateway.command("queue", "list", "--summary").stdout
    assert first.domain in shown
    assert "suspicious attachment" in shown


def test_many_are_counted_asked_about_and_done(gateway: LaneGateway) -> None:
    lanes = [gateway.lane(), gateway.lane()]
    ids = fill(gateway, lanes, 9)
    none = gateway.command("queue", "remove")
    assert (none.returncode, "say which messages" in none.stderr) == (1, True)
    both = gateway.command("queue", "remove", ids[0], "--all")
    assert both.returncode == 1
    # Nobody answers the question: nothing is done.
    unasked = gateway.command("queue", "remove", "--all")
    assert (unasked.returncode, "nothing done" in unasked.stderr) == (4, True)
    counted = gateway.command("queue", "remove", "--sender", "s1@from.example", "--dry-run")
    assert counted.stdout == "3 message(s) match\n"
    assert len(gateway.queue()) == 9
    removed = gateway.command("queue", "remove", "--sender", "s1@from.example", "--yes")
    assert (removed.returncode, removed.stdout) == (0, "3 message(s): removed\n")
    held = gateway.command("queue", "hold", "--domain", lanes[0].domain, "--yes")
    assert held.returncode == 0
    assert {row["queue_id"]: row["state"] for row in gateway.queue()} == {
        queue_id: "HLD" if number % 2 == 0 else "QUE" for number, queue_id in enumerate(ids) if number % 3 != 1
    }
    mixed = gateway.command("queue", "release", "--all", "--yes")
    assert mixed.returncode == 4  # those that were not held are told
    assert mixed.stderr.count("it is not held") == 2
    assert all(row["state"] == "QUE" for row in gateway.queue())
    assert gateway.command("queue", "remove", "--all", "--yes").returncode == 0
    assert gateway.queue() == []
    empty = gateway.command("queue", "remove", "--all", "--yes")
    assert (empty.returncode, "no message matches" in empty.stderr) == (4, True)
