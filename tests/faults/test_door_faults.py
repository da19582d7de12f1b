"""A filtering server that is killed, replaced by something else, stopped, restarted, told to reload: what becomes of the
mail of a real Postfix that asks it by the milter client and passes mail through the pipe client.

One gateway with a door for them, and no listener of its own use; every mail has a subject of its own, and arrives once.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from tests.faults.support_doors import CHOICES, Babbler, Site
from tests.peers.conftest import open_directory, root_program
from tests.support.waiting import wait_for

WORKERS = 2
MOST = 40
"""Mails of each worker while settings are read anew."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_directory("door-faults") as base, contextlib.ExitStack() as stack:
        site = Site(base, root_program("postfix"))
        stack.enter_context(site.gateway)
        for client in site.clients:
            stack.enter_context(client)
        stack.enter_context(site.postfix)
        for client in site.clients:
            client.ready()
        yield site


@pytest.fixture(autouse=True)
def nothing_is_lost_or_doubled(site: Site) -> Iterator[None]:
    yield
    site.check()


def test_a_server_that_is_killed_and_comes_back(site: Site) -> None:
    site.judged()
    site.gateway.kill_all()
    replies = site.submit(*site.ports)
    assert {choice: replies[choice][: len(said)] for choice, said in CHOICES.items()} == CHOICES
    assert replies["pipe"].startswith("250 "), "Postfix has it, and tries again"
    site.gateway.start()
    site.judged()
    site.check()  # Postfix may have to be told to try again
    wait_for(lambda: site.gateway.counter("service_answered_deliver") >= 2, "what waited to be judged, too")


def test_something_else_at_its_port(site: Site) -> None:
    site.gateway.kill_all()
    babbler = Babbler(site.door)
    try:
        replies = site.submit(*site.ports)
        wait_for(lambda: babbler.met >= len(site.ports), "all clients to come")
    finally:
        babbler.close()
    assert {choice: replies[choice][: len(said)] for choice, said in CHOICES.items()} == CHOICES
    site.gateway.start()
    site.judged()


def test_a_server_that_says_nothing_for_a_while(site: Site) -> None:
    site.judged()
    (relay,) = site.gateway.relay_pids()
    os.kill(relay, signal.SIGSTOP)
    replies: dict[str, str] = {}
    asking = [threading.Thread(target=lambda way=way: replies.update(site.submit(way))) for way in site.ports]
    try:
        for each in asking:
            each.start()
        for each in asking:
            each.join()
    finally:
        os.kill(relay, signal.SIGCONT)
    assert {choice: replies[choice][: len(said)] for choice, said in CHOICES.items()} == CHOICES
    site.judged()


@pytest.mark.feature("F-ASD-04")
def test_settings_and_databases_read_anew_under_load(site: Site) -> None:
    replies: list[str] = []
    enough = threading.Event()

    def work() -> None:
        for _ in range(MOST):
            replies.extend(site.submit("tempfail", "pipe").values())
            if enough.is_set():
                return

    def filters() -> set[int]:
        return {pid for relay in site.gateway.status()["relays"] for pid in relay["filter_pids"]}

    site.judged()
    relays, before = site.gateway.relay_pids(), filters()
    unjudged = site.gateway.counter("service_answered_unjudged")
    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    try:
        wait_for(lambda: replies, "the first answers")
        assert site.gateway.process is not None
        site.gateway.process.send_signal(signal.SIGHUP)
        site.gateway.edit("server_max_filters = 0", "server_max_filters = 3")  # filters are made anew
        site.gateway.ask("reload")
        wait_for(lambda: not before & filters(), "filters of the old settings to end")
    finally:
        enough.set()
        for worker in workers:
            worker.join()
    site.judged()
    assert {reply[:4] for reply in replies} <= {"250 ", "451 "}, replies
    assert site.gateway.counter("service_answered_unjudged") == unjudged, "each question has its answer"
    assert site.gateway.relay_pids() == relays, "relays go on"
