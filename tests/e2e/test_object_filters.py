"""Filters by name and type before the scan, inside archives by option, and the bound of parallel scans."""

import concurrent.futures
from collections.abc import Iterator

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import wait_for

FILTERED = "antiviral_checked_objects_filtered_objects"
INFECTED = "antiviral_infected_objects"
BLOCKING = 'block_message = ["infected", "suspicious", "protected", "error", "filtered"]'
POLICY = {BLOCKING: 'block_message = []\naction_filtered = "remove"\ninclude_by_name = ["*.exe", "*.scr"]'}
GROUPS = """
[[group]]
name = "inside"
recipients = ["inside@*"]
filter_inside_archives = true
[[group]]
name = "exempt"
recipients = ["exempt@*"]
action_filtered = "pass"
[[group]]
name = "unfiltered"
recipients = ["unfiltered@*"]
include_by_name = ["nothing"]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Sink]]:
    changes = {**POLICY, 'action_filtered = "placeholder"\n': ""}
    state = tmp_path_factory.mktemp("filters") / "gw"
    with Sink() as sink, Gateway(state, sink.port, settings=GROUPS, replace=changes) as gateway:
        yield gateway, sink


def send(gateway: Gateway, content: bytes, *recipients: str) -> tuple[list[str], int, int]:
    """Send a mail; return its groups' statuses, and by how much the counters of filtered and infected objects rose."""
    before = gateway.counter(FILTERED), gateway.counter(INFECTED)
    lines = len(gateway.lines("SCANNED"))
    messages = gateway.counter("antiviral_checked_messages_total") + len(recipients)
    gateway.send(content, [f"{name}@example.org" for name in recipients])
    wait_for(lambda: gateway.counter("antiviral_checked_messages_total") >= messages, "the verdicts")
    wait_for(lambda: len(gateway.lines("SCANNED")) >= lines + len(recipients), "their lines")
    statuses = [line.partition('status="')[2].partition('"')[0] for line in gateway.lines("SCANNED")[lines:]]
    return sorted(statuses), gateway.counter(FILTERED) - before[0], gateway.counter(INFECTED) - before[1]


@pytest.mark.feature("F-AV-16")
def test_what_every_group_filters_is_counted_and_not_scanned(running: tuple[Gateway, Sink]) -> None:
    gateway, _ = running
    statuses, filtered, infected = send(gateway, with_attachment(EICAR, "game.exe"), "user")
    assert statuses == ["filtered"]
    assert (filtered, infected) == (1, 0)


def test_what_only_one_group_filters_is_scanned_for_the_other(running: tuple[Gateway, Sink]) -> None:
    gateway, _ = running
    statuses, filtered, infected = send(gateway, with_attachment(EICAR, "game.exe"), "user", "unfiltered")
    assert statuses == ["filtered", "infected"]
    assert (filtered, infected) == (1, 1)


def test_what_is_exempt_arrives_as_it_came(running: tuple[Gateway, Sink]) -> None:
    gateway, sink = running
    send(gateway, with_attachment(EICAR, "game.exe", "exempt"), "exempt")
    mail = wait_for(
        lambda: next((m for m in list(sink.mails) if "exempt@example.org" in str(m.recipients)), None), "the mail"
    )
    assert b"game.exe" in mail.content


def test_members_of_archives_only_by_option(running: tuple[Gateway, Sink]) -> None:
    gateway, _ = running
    mail = with_attachment(zipped(b"harmless", "tool.exe"), "tools.zip")
    assert [send(gateway, mail, name)[1] for name in ("inside", "user")] == [1, 0]
    statuses, filtered, _ = send(gateway, mail, "inside", "user")
    assert statuses == ["clean", "filtered"]
    assert filtered == 1


@pytest.mark.feature("F-AV-08")
@pytest.mark.parametrize("relays", [1, 3])
def test_never_more_scans_at_once_than_allowed(
    relays: int, tmp_path_factory: pytest.TempPathFactory, running: tuple[Gateway, Sink]
) -> None:
    _, sink = running
    changes = {"[limits]": "[limits]\nantiviral_sessions = 10", "server_max_filters = 0": "server_max_filters = 64"}
    state = tmp_path_factory.mktemp(f"sessions{relays}") / "gw"
    with Gateway(state, sink.port, relays=relays, replace=changes) as gateway:
        content = with_attachment(bytes(range(256)) * 2000, "data.bin")

        def burst(_: int) -> None:
            with gateway.client() as client:
                for _ in range(2):
                    client.sendmail("sender@example.net", ["user@example.org"], content)

        with concurrent.futures.ThreadPoolExecutor(12) as threads:
            list(threads.map(burst, range(12)))
        wait_for(lambda: gateway.counter("antiviral_checked_messages_total") >= 24, "all to be inspected")
        assert 1 <= gateway.counter("antiviral_checking_sessions_maximum") <= 10
        filters = [relay["filters"] for relay in gateway.status()["relays"]]
        assert sum(each["busy"] + each["idle"] + each["starting"] for each in filters) <= 10
        assert gateway.counter("antiviral_checking_sessions_current") <= 10
