"""Operation as an administrator does it: start, status, switches, stop, restarts, what the log says, the demo."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import GATEPOST, Gateway, free_port
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.model.ids import parse_queue_id
from gatepost.relay.shares import FIRST_WINDOW

BACKLOG = 3 * FIRST_WINDOW
"""Far more than a destination gets at once."""
QUEUE_ID = "[0-9A-Z]{13}"
MESSAGE_LINE = re.compile(rf"\[\d\d/\d\d/\d\d \d\d:\d\d:\d\d A\] ({QUEUE_ID}): (.*)")


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("operation") / "gw", sink.port) as one:
        yield one


@pytest.fixture(scope="module")
def three_sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def three(three_sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Three relays. One test after another kills, stops and shrinks it."""
    with Gateway(tmp_path_factory.mktemp("three") / "gw", three_sink.port, relays=3) as one:
        yield one


def arrived(sink: Sink, subject: str) -> list[Mail]:
    """Mails so far whose subject begins so; sinks are shared."""
    return [mail for mail in list(sink.mails) if f"\r\nSubject: {subject}".encode() in mail.header]


def emptied(gateway: Gateway) -> None:
    wait_for(lambda: not gateway.queue(), "an empty queue")


def fields_of(gateway: Gateway, word: str, queue_id: str, pattern: str) -> dict[str, str]:
    """The fields of a message's one line of a kind; the whole line must have the documented form."""
    (line,) = wait_for(lambda: gateway.lines(f"{queue_id}: {word},"), f"the {word} line")
    found = MESSAGE_LINE.fullmatch(line)
    assert found, line
    fields = re.fullmatch(pattern, found.group(2))
    assert fields, line
    return fields.groupdict()


# --- log lines


@pytest.mark.feature("F-LOG-03")
def test_received_line(gateway: Gateway, sink: Sink) -> None:
    form = (
        r"RECEIVED, from=<(?P<sender>[^>]*)>, nrcpt=(?P<nrcpt>\d+), size=(?P<size>\d+), client=\[(?P<client>[^]]+)\], "
        r"helo=<(?P<helo>[^>]*)>, message_id=<(?P<id>[^>]*)>, flags=(?P<flags>[A-Z]*)"
    )
    content = plain("line")
    queue_id = gateway.send(content, ["a@example.org", "b@example.org"])
    assert fields_of(gateway, "RECEIVED", queue_id, form) == {
        "sender": "sender@example.net",
        "nrcpt": "2",
        "size": str(len(content)),
        "client": "127.0.0.1",
        "helo": "client.example.net",
        "id": "line@example.net",
        "flags": "E",
    }
    with_dsn = gateway.send(content, sender="", options=["RET=HDRS"])
    assert fields_of(gateway, "RECEIVED", with_dsn, form)["flags"] == "ED"
    assert fields_of(gateway, "RECEIVED", with_dsn, form)["sender"] == ""
    with Wire(gateway.port, "127.0.0.7") as wire:
        wire.expect(("", "220"), ("HELO old.example.net", "250"), ("MAIL FROM:<a@example.net>", "250"))
        wire.expect(("RCPT TO:<b@example.org>", "250"))
        answer = wire.data(b"Subject: no id\r\n\r\nx\r\n")
        assert answer.startswith("250")
    (line,) = wait_for(lambda: gateway.lines("client=[127.0.0.7]"), "the line of a plain SMTP client")
    assert line.endswith(f"helo=<old.example.net>, message_id=<{answer.split()[-1]}@gw.example.org>, flags=")


@pytest.mark.feature("F-LOG-04")
def test_scanned_line(gateway: Gateway) -> None:
    form = (
        r'SCANNED, group=<(?P<group>[^>]+)>, nrcpt=(?P<nrcpt>\d+), status="(?P<status>[^"]*)", '
        rf'srcid=(?P<source>{QUEUE_ID}), names="(?P<names>[^"]*)"'
    )
    clean = gateway.send(plain("clean"))
    assert fields_of(gateway, "SCANNED", clean, form) == {
        "group": "policy",
        "nrcpt": "1",
        "status": "clean",
        "source": clean,
        "names": "",
    }
    infected = gateway.send(with_attachment(EICAR, "eicar.com"), ["a@example.org", "b@example.org"])
    found = fields_of(gateway, "SCANNED", infected, form)
    assert (found["nrcpt"], found["status"], found["names"]) == ("2", "infected", "EICAR-Test-File")


@pytest.mark.feature("F-LOG-06")
def test_delivered_and_blocked_lines(gateway: Gateway, sink: Sink) -> None:
    delivered = (
        r"DELIVERED, rcpt=<(?P<rcpt>[^>]+)>, server=(?P<server>\S+), size=(?P<size>\d+), status=(?P<status>sent)"
    )
    queue_id = gateway.send(plain("sent"), "reader@example.org")
    found = fields_of(gateway, "DELIVERED", queue_id, delivered)
    mail = next(m for m in sink.mails if m.recipients == ["reader@example.org"])
    assert found["rcpt"] == "reader@example.org"
    assert found["server"].startswith("127.0.0.1")
    assert int(found["size"]) in (len(mail.content), len(mail.without_trace()))
    content = with_attachment(EICAR, "eicar.com")
    queue_id = gateway.send(content, ["x@example.org", "y@example.org"])
    blocked = fields_of(
        gateway, "BLOCKED", queue_id, r'BLOCKED, rcpt=(?P<rcpt>\S+), size=(?P<size>\d+), reason="(?P<reason>[^"]+)"'
    )
    assert blocked["rcpt"] == "<x@example.org>,<y@example.org>"
    assert blocked["size"] == str(len(content))
    assert "infected" in blocked["reason"]


def test_hostile_text_stays_inside_its_field(gateway: Gateway) -> None:
    with Wire(gateway.port) as wire:
        wire.begin(["victim@example.org"], sender='"a\\>, nrcpt=9"@example.net')
        content = b"Message-ID: <x>\r\n\t[01/01/26 00:00:00 A] 0000000000000: RECEIVED\x1b[2J\r\n\r\nx\r\n"
        queue_id = re.search(QUEUE_ID, wire.data(content))
    assert queue_id
    (line,) = wait_for(lambda: gateway.lines("RECEIVED", queue_id.group()), "the line")
    assert line.isprintable()
    assert all(re.match(r"\[\d\d/\d\d/\d\d ", one) for one in gateway.log().splitlines())


# --- status and switches


def test_status_for_people_and_machines(gateway: Gateway) -> None:
    assert gateway.process is not None
    answer = json.loads(gateway.run("status", "--json").stdout)
    assert answer["pid"] == gateway.process.pid
    assert answer["modules"] == dict.fromkeys(("receiver", "scanner", "antivirus", "antispam", "sender"), True)
    assert [relay["state"] for relay in answer["relays"]] == ["running"]
    assert answer["filter_template"]["state"] == "running"
    assert answer["relays"][0]["filter_walls_missing"] == []
    shown = gateway.command("status")
    assert shown.returncode == 0
    for text in (f"pid {gateway.process.pid}", f"127.0.0.1:{gateway.port}", "receiver on", "relay 0", "queue:"):
        assert text in shown.stdout, text


def traced(gateway: Gateway, queue_id: str) -> str:
    """What `trace` tells of a mail, "" as long as the recorder does not know it."""
    found = gateway.command("trace", queue_id)
    return found.stdout if found.returncode == 0 else ""


@pytest.mark.feature("F-ARCH-03")
def test_mail_waits_ready_while_the_sender_is_off(gateway: Gateway, sink: Sink) -> None:
    emptied(gateway)
    before = {path for path in gateway.state.rglob("*") if path.is_dir()}
    connections = sink.connections
    assert gateway.command("send-off").stdout == "send is off\n"
    queue_id = gateway.send(plain("waits"), "root@example.org")
    wait_for(lambda: gateway.lines("SCANNED", queue_id), "the scan")
    (row,) = wait_for(lambda: [r for r in gateway.queue() if r["state"] == "QUE"], "the message in state QUE")
    assert (row["queue_id"], row["recipients"]) == (queue_id, ["root@example.org"])
    assert json.loads(gateway.command("queue", "list", "--json").stdout) == gateway.queue()
    listing = gateway.command("queue", "list").stdout.splitlines()
    assert re.fullmatch(
        rf"{queue_id} QUE {row['size']} \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d 127\.0\.0\.1 "
        r"<sender@example\.net> -> <root@example\.org>  \(delivery is switched off; gatepost send-on lets it go on\)",
        listing[0],
    )
    told = wait_for(lambda: traced(gateway, queue_id), "the record of it")
    assert "waits for delivery: delivery is switched off; gatepost send-on lets it go on\n" in told
    assert "due now" not in told
    assert gateway.ask("summary")["reasons"] == {row["reason"]: 1}
    assert listing[-1] == f"1 queued messages, {row['size']} bytes"
    assert [name for name, on in gateway.status()["modules"].items() if not on] == ["sender"]
    # No mailbox anywhere: neither a file of the recipient's nor a directory of the mail's.
    assert {path for path in gateway.state.rglob("*") if path.is_dir()} == before
    assert not list(gateway.state.rglob("*root*"))
    assert sink.connections == connections
    assert gateway.command("send-on").returncode == 0
    wait_for(lambda: arrived(sink, "waits"), "delivery")
    emptied(gateway)


def problems(gateway: Gateway) -> dict[str, str]:
    """What mends each problem, by its key."""
    return {each["key"]: each["mend"] for each in gateway.ask("problems", now=True)["problems"]}


def test_mail_that_waits_for_a_switch_says_for_which(gateway: Gateway, sink: Sink) -> None:
    emptied(gateway)
    for module, action in (("virus", "avir"), ("scan", "scan")):
        gateway.switch(module, on=False)
        queue_id = gateway.send(plain(f"for {module}"))
        told = rf"waits for inspection: [a-z-]+ is switched off; gatepost {action}-on lets it go on\n"
        wait_for(lambda: re.search(told, traced(gateway, queue_id)), "what it waits for")  # noqa: B023
        key = "switch:antivirus" if module == "virus" else "switch:scanner"
        mend = wait_for(lambda: problems(gateway).get(key, ""), "the problem")  # noqa: B023
        assert mend == f"gatepost {action}-on"
        assert gateway.command(*mend.split()[1:]).returncode == 0
        wait_for(lambda: gateway.lines("DELIVERED", queue_id), "the mail to go on")  # noqa: B023 - awaited here
    emptied(gateway)


def restarts(gateway: Gateway) -> int | None:
    """How many relays were started again; None while one of them is not there."""
    rows = gateway.status()["relays"]
    return None if any("error" in row for row in rows) else sum(row["restarts"] for row in rows)


@pytest.mark.parametrize(("which", "relays"), [("gateway", 1), ("three", 3)])
def test_dead_relay_is_replaced_and_the_port_stays_open(
    which: str, relays: int, request: pytest.FixtureRequest
) -> None:
    gateway: Gateway = request.getfixturevalue(which)
    sink: Sink = request.getfixturevalue({"gateway": "sink", "three": "three_sink"}[which])
    before = restarts(gateway)
    assert before is not None
    for number in range(5):
        gateway.send(plain(f"mortal {number}"))
    for pid in gateway.relay_pids():
        os.kill(pid, signal.SIGKILL)
    # Nobody is refused meanwhile: the connection waits until a relay takes it.
    gateway.send(plain("mortal between"))
    wait_for(lambda: restarts(gateway) == before + relays, "all relays to be back")
    wait_for(lambda: len({m.header.split(b"Subject: ")[1] for m in arrived(sink, "mortal")}) == 6, "all mail")
    assert len(gateway.lines(f"relay {relays - 1} ended (signal 9), starts again")) == 1
    assert gateway.counter("mta_incoming_connections_current") == 0
    emptied(gateway)


def test_dead_template_is_replaced(gateway: Gateway, sink: Sink) -> None:
    gateway.send(plain("template one"))
    template = gateway.status()["filter_template"]
    os.kill(template["pid"], signal.SIGKILL)
    wait_for(lambda: gateway.status()["filter_template"]["restarts"] == template["restarts"] + 1, "a new template")
    gateway.send(plain("template two"))
    wait_for(lambda: len(arrived(sink, "template")) == 2, "mail inspected by a filter of the new template")


def test_backlog_is_worked_off_however_much_is_in_delivery(gateway: Gateway, sink: Sink) -> None:
    emptied(gateway)
    release = threading.Event()

    def slow(step: str, _argument: str, _sink: Sink) -> None:
        if step == "end":
            release.wait(120)

    sink.script = slow
    gateway.switch("scan", on=False)
    with gateway.client() as client:
        for number in range(BACKLOG):
            client.sendmail("sender@example.net", ["user@backlog.example"], plain(f"backlog {number}"))
    assert gateway.status()["queue"]["waiting"] == BACKLOG
    gateway.switch("scan", on=True)
    in_hand = {"inspection": 0, "delivery": FIRST_WINDOW}
    wait_for(lambda: gateway.status()["relays"][0]["in_work"] == in_hand, "inspection")
    # The rest waits with its disposition: the destination leaves room for others.
    rest = BACKLOG - FIRST_WINDOW
    wait_for(lambda: gateway.status()["queue"]["ready"] == rest, "their dispositions to be written")
    release.set()
    sink.script = None
    wait_for(lambda: len(arrived(sink, "backlog")) >= BACKLOG, "everything")
    emptied(gateway)
    assert len(arrived(sink, "backlog")) == BACKLOG


# --- stop


@pytest.mark.feature("F-MGMT-06")
@pytest.mark.parametrize(("which", "number"), [("gateway", signal.SIGINT), ("three", signal.SIGTERM)])
def test_clean_stop_answers_open_sessions_and_loses_nothing(
    which: str, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    gateway: Gateway = request.getfixturevalue(which)
    sink: Sink = request.getfixturevalue({"gateway": "sink", "three": "three_sink"}[which])
    emptied(gateway)
    unclean = len(gateway.lines("last stop was not clean"))
    idle = [Wire(gateway.port) for _ in range(6)]
    for wire in idle:
        wire.expect(("", "220"), ("EHLO c.example", "250"))
    begun = Wire(gateway.port)
    begun.begin()
    halfway = Wire(gateway.port)
    halfway.begin()
    halfway.expect(("DATA", "354"))
    halfway.send(plain("halfway"))
    pids = gateway.pids()
    assert gateway.process is not None
    if number is signal.SIGINT:
        os.killpg(gateway.process.pid, number)  # as a terminal does: everybody gets it
    else:
        gateway.process.send_signal(number)
    for wire in (*idle, begun):
        assert wire.reply().startswith("421 4.3.2")
        assert wire.reply() == ""
    halfway.send(b"the rest\r\n.\r\n")
    answer = halfway.reply()
    assert answer.startswith("250 ")
    assert halfway.reply()[:4] in ("421 ", "")
    assert gateway.process.wait(120) == 0
    gateway.process = None
    wait_for(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "the end of all processes")
    assert gateway.lines("I]: stopped")
    gateway.start()
    wait_for(lambda: arrived(sink, "halfway"), "the accepted mail")
    emptied(gateway)
    assert len(gateway.lines("last stop was not clean")) == unclean
    (mail,) = arrived(sink, "halfway")
    assert mail.content.endswith(b"the rest\r\n")
    for wire in (*idle, begun, halfway):
        wire.close()


def test_stop_command_ends_a_session_that_never_finishes(gateway: Gateway, sink: Sink) -> None:
    emptied(gateway)
    with Wire(gateway.port) as stuck:
        stuck.begin()
        stuck.expect(("DATA", "354"))
        stuck.send(b"Subject: never done\r\n")
        assert gateway.run("stop").returncode == 0
        assert gateway.process is not None
        assert gateway.process.wait(120) == 0
        gateway.process = None
        assert stuck.reply()[:3] != "250"
        gone = gateway.run("status")
        assert gone.returncode == 3
        assert "is it running" in gone.stderr
        gateway.start()
        assert gateway.queue() == []
        assert not arrived(sink, "never done")


def test_shards_of_former_relays_are_adopted(three: Gateway, three_sink: Sink) -> None:
    emptied(three)
    three.switch("send", on=False)
    sent = {three.send(plain(f"orphan {number}")) for number in range(24)}
    wait_for(lambda: {row["state"] for row in three.queue()} == {"QUE"}, "all scanned")
    assert three.stop() == 0
    three.edit("relays = 3\n", "relays = 1\n")
    three.start()
    wait_for(lambda: len(arrived(three_sink, "orphan")) >= 24, "everything queued by three relays")
    emptied(three)
    ids = [
        found.decode() for m in arrived(three_sink, "orphan") for found in re.findall(rb"id ([0-9A-Z]{13});", m.header)
    ]
    assert sorted(ids) == sorted(sent)
    # Which relay takes a connection is the kernel's affair; a shard without mail is adopted without a word.
    relays = {parse_queue_id(each) >> 11 & 31 for each in sent}
    assert len(three.lines("adopts shard")) == len(relays - {0})


# --- what keeps it from starting


def start(gateway: Gateway, conf_file: Path | None = None, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run it in the foreground; it is to end by itself."""
    return gateway.run("run", *options, conf_file=conf_file, timeout_s=30)


def start_refused(gateway: Gateway, conf_file: Path | None = None, *options: str) -> "subprocess.CompletedProcess[str]":
    """The same for what is refused before anything is started: it needs no process of its own."""
    return gateway.command("run", *options, conf_file=conf_file)


def test_second_gateway_on_the_same_state_is_refused(gateway: Gateway) -> None:
    second = start(gateway)
    assert second.returncode == 41
    assert f"another gateway runs in {gateway.state}" in second.stderr
    assert gateway.command("status").returncode == 0


def test_port_in_use(gateway: Gateway, tmp_path: Path) -> None:
    other = Gateway(tmp_path / "gw", 2526)
    other.edit(f":{other.port}", f":{gateway.port}")
    ended = start(other)
    assert ended.returncode == 55
    assert f"cannot listen on 127.0.0.1:{gateway.port}" in ended.stderr


def test_configuration_with_an_error(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", 2526)
    ended = start_refused(gateway, None, "--set", "limits.IncomingSessions=0")
    assert ended.returncode == 66
    assert "incoming_sessions" in ended.stderr
    gateway.config.write_text(gateway.config.read_text() + '\n[[group]]\nname = "empty"\n')
    ended = start_refused(gateway)
    assert ended.returncode == 66
    assert re.search(r"gatepost\.toml:\d+: error: ", ended.stderr)
    assert not (gateway.state / "queue").exists()


def test_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", 2526)
    ended = start_refused(gateway, tmp_path / "nowhere.toml")
    assert ended.returncode == 65
    assert "nowhere.toml" in ended.stderr
    gateway.config.write_text("[relay\n")
    ended = start_refused(gateway)
    assert ended.returncode == 65
    assert "gatepost.toml:1" in ended.stderr


def test_unknown_user(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", 2526)
    ended = start(gateway, None, "--user", "no-such-user")
    assert ended.returncode == 44
    assert "cannot become user no-such-user" in ended.stderr


def test_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", 2526)
    (gateway.state / "run").write_text("in the way")
    ended = start(gateway)
    assert ended.returncode == 30
    assert "cannot use the state directory" in ended.stderr
    ended = start_refused(gateway, None, "--set", f"relay.StatePath={tmp_path / ('long' * 25)}")
    assert ended.returncode == 66
    assert "too long" in ended.stderr


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", 2526)
    gateway.log_file.mkdir(parents=True)
    ended = start(gateway)
    assert ended.returncode == 67
    assert "log cannot be opened" in ended.stderr
    with pytest.raises(ConnectionRefusedError):
        gateway.socket()


# --- the demo


def demo(state: Path, port: int, downstream: int) -> "subprocess.CompletedProcess[str]":
    command = [*GATEPOST, "demo", "--once", "--state", str(state)]
    command += ["--port", str(port), "--downstream-port", str(downstream)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_demo_ends_with_the_outcome(tmp_path: Path) -> None:
    state = tmp_path / "var"
    ports = free_port(), free_port()
    good = demo(state, *ports)
    assert good.returncode == 0, good.stdout[-2000:]
    assert re.findall(r"│ (right|wrong) *│", good.stdout) == ["right"] * 11
    # It keeps its configuration; one under which nothing is scanned makes outcomes wrong.
    config = state / "gatepost.toml"
    text = config.read_text()
    assert "check = true" in text
    changed = text.replace("check = true", "check = false")
    config.write_text(changed)
    again = demo(state, *ports)
    assert again.returncode == 1
    assert "wrong" in re.findall(r"│ (right|wrong) *│", again.stdout)
    assert config.read_text() == changed
