"""What the gateway writes down: log levels and targets, statistics, AV record, calls about them. One gateway, one list
of events whose numbers are known.
"""

import datetime as dt
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.config.load import load_text
from gatepost.control.socket import ControlError
from gatepost.control.statistics import NAMES
from gatepost.model.ids import parse_queue_id

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*" + b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + b"*C.34X"
FORMAT = r"\d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d [ap]m"
LINE = re.compile(rf"\[{FORMAT} ([FEWIAD])\](?: ([0-9A-Z]{{13}}))?: (\S.*)")
SECRET = "hush-hush"
SETTINGS = f"""
[locale]
date_format = "%Y-%m-%d"
time_format = "%I.%M.%S %P"

[updater.options]
proxy_address = "http://user:{SECRET}@127.0.0.1:3128"

[[group]]
name = "second"
recipients = ["*@second.example.org"]
check_spam = false
"""


def answer_unusually(step: str, argument: str, _: Sink) -> str | None:
    """The next hop knows some recipients not, and some not yet."""
    if step == "rcpt" and "bad@" in argument:
        return "550 5.1.1 nobody here"
    if step == "rcpt" and "later@" in argument:
        return "451 4.2.0 not now"
    return None


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink(script=answer_unusually) as server:
        yield server


@pytest.fixture(scope="module")
def av_listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, av_listener: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    place = tmp_path_factory.mktemp("logs") / "gw"
    target = f"127.0.0.1:{av_listener.getsockname()[1]}"
    replace = {
        "log_level = 4\n": f'log_level = 9\nav_statistics = "{target}"\n',
        '  "127.0.0.0/8", "::1/128",\n': '  "127.0.0.1/32", "::1/128",\n',
        '# trusted_networks = ["10.0.0.0/8"]': 'trusted_networks = ["127.0.0.1/32"]',
    }
    with Gateway(place, sink.port, settings=SETTINGS, replace=replace, antispam=True, notices=True) as one:
        yield one


class Traffic:
    """What was done, and the ids it got."""

    clean: str
    split: str
    infected: str
    spam: str
    bad: str
    later: str


@pytest.fixture(scope="module")
def traffic(gateway: Gateway) -> Traffic:
    """Seven accepted mails, three refusals; all that can be settled is."""
    done = Traffic()
    done.clean = gateway.send(plain("clean"), ["a@example.org", "b@example.org"])
    done.split = gateway.send(plain("split"), ["a@example.org", "b@second.example.org"])
    done.infected = gateway.send(with_attachment(EICAR, "eicar.com"))
    done.spam = gateway.send(plain("spam", GTUBE.decode() + "\r\n"))
    done.bad = gateway.send(plain("bad"), "bad@second.example.org")
    done.later = gateway.send(plain("later"), "later@second.example.org")
    stranger = "127.0.0.9"
    with Wire(gateway.port, stranger) as wire:
        wire.expect(("", "220"), ("EHLO stranger.example.net", "250"), ("MAIL FROM:<a@example.net>", "250"))
        wire.expect(("RCPT TO:<x@elsewhere.example>", "5"), ("RSET", "250"))
        wire.expect(("MAIL FROM:<a@example.net> SIZE=99999999999", "552"), ("QUIT", "221"))
    wait_for(lambda: len(gateway.lines(": DELIVERED,")) >= 6, "deliveries")
    wait_for(lambda: gateway.lines(": DEFERRED,", done.later), "the mail that waits")
    wait_for(lambda: len(gateway.lines(": NOTIFY,")) == 2, "notifications")
    wait_for(lambda: len(gateway.lines("REFUSED,")) == 2, "refusals")
    wait_for(lambda: len(gateway.queue()) == 1, "all but one to be gone")
    return done


def lines_of(gateway: Gateway, letter: str) -> list[str]:
    found = [LINE.fullmatch(line) for line in gateway.log().splitlines()]
    return [each[3] for each in found if each and each[1] == letter]


@pytest.mark.feature("F-LOG-02")
def test_every_line_has_the_configured_date_and_time(gateway: Gateway, traffic: Traffic) -> None:
    lines = gateway.log().splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert any(traffic.clean in line for line in lines)


def test_debugging_tells_the_configuration_without_secrets(gateway: Gateway, traffic: Traffic) -> None:
    text = "\n".join(lines_of(gateway, "D"))
    assert "configuration: [options]" in text
    assert "configuration: log_level = 9" in text
    assert SECRET not in gateway.log()
    assert f"{traffic.clean}: INSPECTED, objects=" in gateway.log()
    assert 'subject="clean"' in text


@pytest.mark.feature("F-LOG-05")
def test_copies_and_notifications_have_lines(gateway: Gateway, traffic: Traffic) -> None:
    id_ = r"[0-9A-Z]{13}"
    splits = [line for line in lines_of(gateway, "A") if line.startswith("SPLITTED")]
    pattern = rf"SPLITTED, domain=<([a-z.]+)>, nrcpt=1, srcid=({id_})"
    assert sorted(re.fullmatch(pattern, line).groups() for line in splits) == [  # type: ignore[union-attr]
        ("example.org", traffic.split),
        ("second.example.org", traffic.split),
    ]
    notices = [line for line in lines_of(gateway, "A") if line.startswith("NOTIFY")]
    pattern = rf"NOTIFY, notify=([a-z]+), nrcpt=1, size=\d+, srcid=({id_})"
    assert sorted(re.fullmatch(pattern, line).groups() for line in notices) == [  # type: ignore[union-attr]
        ("admin", traffic.infected),
        ("recipient", traffic.infected),
    ]


@pytest.mark.feature("F-LOG-06")
def test_a_failed_delivery_has_the_same_fields(gateway: Gateway, traffic: Traffic) -> None:
    (line,) = [each for each in lines_of(gateway, "A") if each.startswith("DELIVERED, rcpt=<bad@")]
    assert re.match(
        r"DELIVERED, rcpt=<bad@second\.example\.org>, server=127\.0\.0\.1:\d+, size=\d+, status=failed\b", line
    ), line
    assert traffic.bad in gateway.lines("status=failed")[0]


EXPECTED = {
    "mta_received_messages": 6,
    "mta_received_recipients": 8,
    "mta_incoming_connections_total": 7,
    "mta_incoming_connection_errors": 0,
    "mta_incoming_connections_refused_total": 1,
    "mta_incoming_connections_refused_for_relaying": 1,
    "mta_incoming_connections_refused_for_sessions_limit": 0,
    "mta_receivings_refused_total": 1,
    "mta_receivings_refused_for_message_size_limit": 1,
    "mta_receivings_refused_for_hops_limit": 0,
    "mta_sendings_failed_total": 1,
    "mta_dsn_generated": 1,
    "mta_malformed_messages": 1,  # the one without a Date
    "mta_stored_messages_current": 1,
    "antiviral_checked_messages_total": 7,
    "antiviral_infected_objects": 1,
    "antiviral_checked_objects_infected": 1,
    "antiviral_checked_objects_disinfected_objects": 0,
    "antiviral_checked_messages_blocked": 1,
    "antiviral_notifications_generated_for_admin": 1,
    "antiviral_notifications_generated_for_recipients": 1,
    "antiviral_notifications_generated_for_sender": 0,
    "antispam_checked_messages_total": 4,
    "antispam_checked_messages_spam": 1,
    "antispam_checked_messages_probable_spam": 0,
    "task_receiver_running": 1,
    "task_sender_running": 1,
    "task_antivirus_running": 1,
    "task_antispam_running": 1,
}


@pytest.mark.feature("F-LOG-07")
@pytest.mark.feature("F-LOG-08")
@pytest.mark.feature("F-LOG-09")
def test_the_statistics_file_has_every_name_and_the_values_of_the_traffic(
    gateway: Gateway, sink: Sink, traffic: Traffic
) -> None:
    del traffic
    shown = gateway.command("stats")
    assert shown.returncode == 0, shown.stderr
    path = gateway.state / "stat" / "mailgw.stat"
    assert path.read_text() == shown.stdout
    values = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    assert list(values)[: len(NAMES)] == list(NAMES)
    assert {name: int(values[name]) for name in EXPECTED} == EXPECTED
    sent = len(sink.mails)
    assert int(values["mta_sent_messages"]) == sent
    assert int(values["mta_sent_recipients"]) == sum(len(mail.recipients) for mail in sink.mails)
    assert int(values["mta_outgoing_connections_total"]) == sink.connections
    assert int(values["mta_routing_queries_total"]) >= sent
    started = dt.datetime.fromisoformat(values["time_initialized_iso"])
    assert int(started.timestamp()) == int(values["time_initialized"])
    assert started.tzinfo is not None
    as_json = json.loads(gateway.command("stats", "--json").stdout)
    assert as_json["mta_received_messages"] == 6


@pytest.mark.feature("F-LOG-10")
def test_the_av_record_has_eight_fields_and_a_dead_listener_stops_nothing(
    gateway: Gateway, sink: Sink, av_listener: socket.socket, traffic: Traffic, tmp_path: Path
) -> None:
    del traffic
    av_listener_port = av_listener.getsockname()[1]
    connection, _ = av_listener.accept()
    with connection:
        connection.settimeout(20)
        stream = connection.makefile()
        lines = [stream.readline() for _ in range(7)]
    rows = [line.removesuffix("\n").split("\t") for line in lines]
    assert {len(row) for row in rows} == {8}
    (infected,) = [row for row in rows if row[4] == "infected"]
    assert infected[2:4] == ["sender@example.net", "user@example.org"]
    assert infected[5:7] == ["EICAR-Test-File", "127.0.0.1"]
    (clean,) = [row for row in rows if row[7] == "<clean@example.net>"]
    assert clean[3:6] == ["a@example.org,b@example.org", "clean", ""]
    assert dt.datetime.fromisoformat(clean[0]).tzinfo is not None
    av_listener.close()
    before = len(sink.mails)
    gateway.send(plain("nobody listens"), "a@second.example.org")
    wait_for(lambda: len(sink.mails) > before, "the mail")
    gateway.send(plain("still nobody"), "a@second.example.org")
    wait_for(lambda: gateway.lines("AV record: "), "the word about lost lines")
    assert "lost, mail goes on" in gateway.lines("AV record: ")[0]
    # To a file, from the next reload on.
    file = tmp_path / "av.txt"
    target = f"127.0.0.1:{av_listener_port}"
    gateway.edit(f'av_statistics = "{target}"', f'av_statistics = "{file}"')
    gateway.ask("reload")
    gateway.send(plain("to the file"), "a@second.example.org")
    (row,) = wait_for(lambda: file.exists() and file.read_text().splitlines(), "its line in the file")
    assert row.split("\t")[2:6] == ["sender@example.net", "a@second.example.org", "clean", ""]
    assert len(row.split("\t")) == 8


def test_lines_of_the_log_by_call(gateway: Gateway, traffic: Traffic) -> None:
    found = gateway.ask("log.tail", queue_id=traffic.infected, letters="A")
    assert [line.partition(": ")[2].partition(",")[0] for line in found["lines"]][:2] == ["RECEIVED", "SPAMCHECK"]
    assert gateway.ask("log.tail", letters="F")["lines"] == []
    before = gateway.ask("log.tail")["end"]
    queue_id = gateway.send(plain("follow me"), "a@second.example.org")
    seen = wait_for(lambda: gateway.ask("log.tail", after=before, text="RECEIVED")["lines"], "the line that follows")
    assert queue_id in seen[-1]
    with pytest.raises(ControlError, match="letter"):
        gateway.ask("log.tail", letters="X")


def test_metrics_agree_with_the_counters(gateway: Gateway, traffic: Traffic) -> None:
    del traffic
    text: str = gateway.ask("metrics")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    counters = gateway.status()["counters"]
    for metric, counter in (
        ("gatepost_received_messages_total", "mta_received_messages"),
        ("gatepost_sent_recipients_total", "mta_sent_recipients"),
        ('gatepost_object_findings_total{status="infected"}', "antiviral_infected_objects"),
        ('gatepost_spam_verdicts_total{status="spam"}', "antispam_checked_messages_spam"),
    ):
        assert float(values[metric]) == counters[counter], metric
    assert float(values["gatepost_delivery_seconds_count"]) == counters["mta_sent_messages"]
    assert float(values['gatepost_queue_messages{state="ready"}']) == 1
    assert float(values['gatepost_disk_free_bytes{place="queue"}']) > 0


@pytest.mark.feature("F-LOG-01")
def test_levels_are_cumulative_and_the_log_goes_where_it_is_told(
    gateway: Gateway, traffic: Traffic, tmp_path: Path
) -> None:
    number = parse_queue_id(traffic.later)
    assert load_text('[network]\nhostname = "gw.example.org"', "own.toml").config.options.log_level == 4
    assert {"I", "A", "D"} <= set(letters(gateway.log()))
    seen: dict[int, set[str]] = {}
    level = 9
    gateway.edit("[network]\n", "[network]\nnobody_knows_this = 1\n")  # a warning at each reload
    for lower in (4, 3, 2, 1):
        log = tmp_path / f"level-{lower}.log"
        gateway.edit(f"log_level = {level}\n", f"log_level = {lower}\n")
        gateway.edit(f'log_filename = "{gateway.log_file}"', f'log_filename = "{log}"')
        gateway.log_file, level = log, lower
        gateway.ask("reload")
        for verb in ("hold", "release"):  # the first is an error, the second an activity
            done = partial(gateway.ask, "act", verb=verb, ids=[number], text="a test")
            wait_for(lambda act=done: act()["done"], f"the mail to take {verb}")  # not while it is being tried
        wait_for(lambda: "HELD" in gateway.log(), "the error to be logged")
        seen[lower] = set(letters(gateway.log()))
    assert "D" not in seen[4]
    assert {"A", "I", "W", "E"} <= seen[4]
    assert "A" not in seen[3]
    assert {"I", "W", "E"} <= seen[3]
    assert seen[2] == {"W", "E"}
    assert seen[1] == {"E"}


def letters(text: str) -> Counter[str]:
    return Counter(found[1] for found in map(LINE.fullmatch, text.splitlines()) if found)
