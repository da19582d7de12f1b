"""Which UDS server is asked: the fastest first, dead ones not at all until they are seen again."""

from gatepost.relay.lookups.uds_servers import FIRST_PAUSE_S, LONGEST_PAUSE_S, ServerState, UdsServers

INTERVAL_S = 3600.0


def servers(*names: str) -> UdsServers:
    return UdsServers(names or ("a:1", "b:1", "c:1"), INTERVAL_S)


def order(table: UdsServers) -> list[str]:
    return [each.name for each in table.order()]


def test_unmeasured_ones_come_in_the_order_of_the_configuration_once_each() -> None:
    assert order(servers("a:1", "b:1", "a:1")) == ["a:1", "b:1"]


def test_the_fastest_comes_first() -> None:
    table = servers()
    for server, rtt in zip(table.servers, (0.3, 0.1, 0.2), strict=True):
        assert table.answered(server, rtt, 0.0, probe=True)
    assert order(table) == ["b:1", "c:1", "a:1"]


def test_one_slow_answer_does_not_change_the_order_many_do() -> None:
    table = servers("a:1", "b:1")
    a, b = table.servers
    table.answered(a, 0.10, 0.0)
    table.answered(b, 0.12, 0.0)
    table.answered(a, 0.15, 1.0)
    assert order(table) == ["a:1", "b:1"]
    for _ in range(10):
        table.answered(a, 0.15, 2.0)
    assert order(table) == ["b:1", "a:1"]


def test_a_dead_one_is_left_alone_until_a_probe_is_answered() -> None:
    table = servers("a:1", "b:1")
    a = table.servers[0]
    table.answered(a, 0.01, 0.0, probe=True)
    assert table.failed(a, "no answer", 10.0)
    assert order(table) == ["b:1"]
    assert (a.state, a.reason) == (ServerState.DEAD, "no answer")
    assert table.answered(a, 0.01, 40.0, probe=True), "it is told that it is back"
    assert order(table) == ["a:1", "b:1"]
    assert a.reason == ""


def test_pauses_between_probes_of_a_dead_one_grow_to_a_bound_and_begin_anew() -> None:
    table = servers("a:1")
    a = table.servers[0]
    now, pauses = 0.0, []
    for _ in range(9):
        table.failed(a, "no answer", now)
        pauses.append(a.due - now)
        now = a.due
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    table.answered(a, 0.1, now, probe=True)
    assert table.failed(a, "no answer", now + 1)
    assert a.due == now + 1 + FIRST_PAUSE_S


def test_mails_that_fail_together_count_as_one_failure() -> None:
    table = servers("a:1")
    a = table.servers[0]
    assert table.failed(a, "no answer", 0.0)
    assert not table.failed(a, "no answer", 0.1)
    assert a.due == FIRST_PAUSE_S


def test_probes_are_due_at_the_start_and_every_interval() -> None:
    table = servers("a:1", "b:1")
    assert len(table.due(0.0)) == 2
    for each in table.servers:
        table.answered(each, 0.1, 5.0, probe=True)
    assert table.next_due() == 5.0 + INTERVAL_S
    assert table.due(5.0 + INTERVAL_S - 1) == []
    table.answered(table.servers[0], 0.1, 100.0)
    assert table.next_due() == 5.0 + INTERVAL_S, "answers to mails do not put the probe off"
