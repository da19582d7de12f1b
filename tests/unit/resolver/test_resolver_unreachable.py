"""Notes about unreachable hosts: life, refresh, bounds, purge."""

from gatepost.resolver.unreachable import HOSTS_LIMIT, UnreachableHosts


def test_a_note_lives_for_its_time_and_not_longer() -> None:
    hosts = UnreachableHosts(600, 3600)
    hosts.note("192.0.2.1:25", 1000)
    assert hosts.is_unreachable("192.0.2.1:25", 1000)
    assert hosts.is_unreachable("192.0.2.1:25", 1599.9)
    assert not hosts.is_unreachable("192.0.2.1:25", 1600)
    assert not hosts.is_unreachable("192.0.2.2:25", 1000)


def test_a_second_failure_counts_from_then() -> None:
    hosts = UnreachableHosts(600, 3600)
    hosts.note("a", 1000)
    hosts.note("a", 1500)
    assert hosts.is_unreachable("a", 2000)


def test_reached_hosts_are_forgotten() -> None:
    hosts = UnreachableHosts(600, 3600)
    hosts.note("a", 1000)
    hosts.note("b", 1000)
    hosts.forget("a")
    hosts.forget("never noted")
    assert not hosts.is_unreachable("a", 1000)
    hosts.clear()
    assert not hosts.is_unreachable("b", 1000)


def test_a_life_of_zero_keeps_nothing() -> None:
    hosts = UnreachableHosts(0, 3600)
    hosts.note("a", 1000)
    assert len(hosts) == 0


def test_the_number_of_notes_is_bounded() -> None:
    hosts = UnreachableHosts(600, 3600)
    for number in range(HOSTS_LIMIT + 1):
        hosts.note(str(number), 1000)
    assert len(hosts) == HOSTS_LIMIT
    assert not hosts.is_unreachable("0", 1000)
    assert hosts.is_unreachable(str(HOSTS_LIMIT), 1000)


def test_the_dead_are_purged_on_the_period() -> None:
    hosts = UnreachableHosts(600, 3600)
    assert hosts.purge(0) == 0
    hosts.note("a", 1000)
    hosts.note("b", 3500)
    assert hosts.purge(3599) == 0
    assert hosts.purge(3600) == 1
    assert hosts.is_unreachable("b", 3600)
    assert hosts.purge(7199) == 0
    assert hosts.purge(7200) == 1
    assert len(hosts) == 0
