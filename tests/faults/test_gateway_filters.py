"""Filters that loop or talk nonsense under the running gateway: the mail gets status error, everything else flows."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.support_gateway import TEMPLATE, injected, wait_settled
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

ROGUE = """
import struct, time
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.filter import template
scan = BuiltinEngine.scan
def rogue(self, subject, deadline):
    while b"LOOP-FOR-EVER" in subject.data:
        try:
            while True:
                time.monotonic()
        except BaseException:
            pass
    if b"TALK-GARBAGE" in subject.data:
        os.write(template.FILTER_SOCKET, struct.pack(">I", 5) + bytes([0xC1]) * 5)
    if b"END-AT-ONCE" in subject.data:
        os._exit(3)
    return scan(self, subject, deadline)
BuiltinEngine.scan = rogue
"""
DEADLINE = {'filter_deadline = "60 s"': 'filter_deadline = "1 s"'}
QUICK_S = 20.0
"""Two filters' deadlines, the grace of each from outside, and the starts in between."""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    place = tmp_path_factory.mktemp("rogue")
    with Gateway(place / "gw", sink.port, replace=DEADLINE, env=injected(place, TEMPLATE, ROGUE)) as gateway:
        yield gateway


def filters(gateway: Gateway) -> dict[str, int]:
    return gateway.status()["relays"][0]["filters"]


def blocked_with_error(gateway: Gateway, word: str, timeout_s: float = QUICK_S) -> None:
    queue_id = gateway.send(plain(word.lower(), word + "\r\n"))
    wait_for(lambda: gateway.lines("BLOCKED", queue_id), f"{word} to be blocked", timeout_s)
    assert 'status="error"' in gateway.lines("SCANNED", queue_id)[0]


@pytest.mark.parametrize("word", ["TALK-GARBAGE", "END-AT-ONCE"])
def test_filter_that_answers_garbage_or_dies_is_replaced(gateway: Gateway, sink: Sink, word: str) -> None:
    before = filters(gateway)
    blocked_with_error(gateway, word)
    after = filters(gateway)
    assert after["crashed"] - before["crashed"] == 2
    assert after["failed"] - before["failed"] == 1
    content = plain("afterwards", f"{len(word)}\r\n")
    gateway.send(content)
    wait_for(lambda: any(mail.without_trace() == content for mail in sink.mails), "ordinary mail afterwards")


def test_loop_ends_at_its_deadline_in_the_first_and_in_the_three_hundredth_mail(gateway: Gateway, sink: Sink) -> None:
    blocked_with_error(gateway, "LOOP-FOR-EVER")
    killed = filters(gateway)["killed"]
    assert killed == 2
    mails = len(sink.mails)
    with gateway.client() as client:
        for number in range(300):
            client.sendmail("sender@example.net", "user@example.org", plain(f"mail {number}"))
    wait_for(lambda: len(sink.mails) == mails + 300, "300 mails through the filters")
    blocked_with_error(gateway, "LOOP-FOR-EVER")
    assert filters(gateway)["killed"] == killed + 2


def test_other_mail_flows_while_one_loops(gateway: Gateway, sink: Sink) -> None:
    looping = gateway.send(plain("loop", "LOOP-FOR-EVER\r\n"))
    others = [gateway.send(plain(f"beside {number}")) for number in range(8)]
    wait_for(lambda: all(gateway.lines("DELIVERED", each) for each in others), "mail beside the loop")
    wait_for(lambda: gateway.lines("BLOCKED", looping), "the loop to be ended", QUICK_S)
    wait_settled(gateway)
    lines = gateway.log().splitlines()
    last = max(n for n, line in enumerate(lines) if "DELIVERED" in line and any(each in line for each in others))
    assert last < next(n for n, line in enumerate(lines) if "BLOCKED" in line and looping in line)


def test_error_by_policy_delivers_a_placeholder(tmp_path: Path) -> None:
    replace = {
        **DEADLINE,
        '"infected", "suspicious", "protected", "error", "filtered"]': '"infected", "suspicious", "protected", "filtered"]',
    }
    with (
        Sink() as sink,
        Gateway(tmp_path / "gw", sink.port, replace=replace, env=injected(tmp_path, TEMPLATE, ROGUE)) as gateway,
    ):
        queue_id = gateway.send(plain("bad", "END-AT-ONCE\r\n"))
        wait_for(lambda: gateway.lines("DELIVERED", queue_id), "the placeholder", QUICK_S)
        assert b"END-AT-ONCE" not in sink.mails[0].content
        assert 'status="error"' in gateway.lines("SCANNED", queue_id)[0]


def test_mail_that_ends_filters_is_a_problem_whose_advice_finds_it(gateway: Gateway) -> None:
    queue_id = gateway.send(plain("poison", "END-AT-ONCE\r\n"))
    wait_for(lambda: gateway.lines("BLOCKED", queue_id), "the mail to be blocked", QUICK_S)

    def problem() -> dict[str, str]:
        told = gateway.ask("problems", now=True)["problems"]
        return next((each for each in told if each["key"] == "inspections"), {})

    found = wait_for(problem, "the problem")
    assert found["state"] == "warning"
    advice = shlex.split(re.findall(r"`gatepost ([^`]*)`", found["mend"])[0])

    def find() -> bool:
        told = gateway.command(*advice, "--json")
        return told.returncode == 0 and queue_id in told.stdout

    wait_for(find, "the advice to find it")
