"""Plans of mail hosts, TLS policies and shares: decisions without DNS or sockets."""

import msgspec
import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.config.transport import TlsLevel
from gatepost.model.reply import Reply
from gatepost.relay.admission import SessionTable, create_table
from gatepost.relay.jobs import describe_server
from gatepost.relay.mailhosts import HOSTS_LIMIT, in_order, join_tiers, plan_mail_hosts
from gatepost.relay.shares import (
    DESTINATION_LIMIT,
    FIRST_WINDOW,
    LEAST_WINDOW,
    MEMORY_LIMIT,
    RESERVE,
    WORK_LIMIT,
    Shares,
)
from gatepost.relay.slots import TURN, SessionSlots
from gatepost.relay.tls_policy import TlsDemand, TlsPolicies
from gatepost.resolver.answers import MailHosts, Mx, Outcome

DEMAND = TlsDemand(TlsLevel.MAY)
OWN = "gw.example.org"


def hosts_of(answer: MailHosts) -> list[list[str]] | tuple[int, str]:
    planned = plan_mail_hosts("example.org", answer, OWN, DEMAND)
    if isinstance(planned, Reply):
        return planned.code, planned.enhanced
    return [[host.hop.host for host in tier] for tier in planned]


def found(*hosts: tuple[int, str]) -> MailHosts:
    return MailHosts(Outcome.FOUND, tuple(sorted(Mx(preference, host) for preference, host in hosts)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (found((20, "b"), (10, "a"), (20, "c")), [["a"], ["b", "c"]]),
        (found((10, "a"), (20, OWN), (20, "b"), (30, "c")), [["a"]]),
        (found((10, OWN), (20, "b")), (554, "5.4.6")),
        (found((10, OWN), (10, "b")), (554, "5.4.6")),
        (MailHosts(Outcome.NO_DATA, null_mx=True), (556, "5.1.10")),
        (MailHosts(Outcome.NO_NAME), (550, "5.1.2")),
        (MailHosts(Outcome.NO_DATA), (550, "5.4.4")),
        (MailHosts(Outcome.FAILED, reason="SERVFAIL"), (451, "4.4.3")),
    ],
)
def test_plans(answer: MailHosts, expected: object) -> None:
    assert hosts_of(answer) == expected


def test_endless_lists_are_cut_at_the_best() -> None:
    many = found(*((number, f"h{number}") for number in range(100)))
    planned = hosts_of(many)
    assert isinstance(planned, list)
    assert len(planned) == HOSTS_LIMIT
    assert planned[0] == ["h0"]


def test_equals_come_in_an_order_of_chance_and_tiers_stay() -> None:
    tiers = plan_mail_hosts("example.org", found((10, "a"), (20, "b"), (20, "c")), OWN, DEMAND)
    assert not isinstance(tiers, Reply)
    plan = join_tiers([tiers], lmtp=False)
    order = [(tier, host.hop.host) for tier, host in in_order(plan, lambda hosts: hosts.reverse())]
    assert order == [(0, "a"), (1, "c"), (1, "b")]
    assert plan.label == "a:25"


POLICIES = """
[tls]
outgoing = "encrypt"
client_cert = "/etc/ours.pem"
client_key = "/etc/ours.key"

[[tls_policy]]
destinations = ["partner.example", "*.partner.example"]
level = "verify"
names = ["mail.partner.example"]

[[tls_policy]]
destinations = ["old.example", "relay.internal"]
level = "none"
client_cert = "/etc/other.pem"
client_key = "/etc/other.key"
"""


def test_first_policy_that_knows_domain_or_host_counts() -> None:
    loaded = load_text(build_default_config(hostname=OWN) + POLICIES, "test.toml")
    assert loaded.config is not None, loaded.errors
    policies = TlsPolicies(loaded.config)
    ours = ("/etc/ours.pem", "/etc/ours.key")
    verify = TlsDemand(TlsLevel.VERIFY, ("mail.partner.example",), *ours)
    none = TlsDemand(TlsLevel.NONE, (), "/etc/other.pem", "/etc/other.key")
    assert policies.find(("partner.example", "mx.example")) == (verify, True)
    assert policies.find(("a.partner.example", "relay.internal")) == (verify, True)
    assert policies.find(("any.example", "relay.internal")) == (none, True)
    assert policies.find(("any.example",)) == (TlsDemand(TlsLevel.ENCRYPT, (), *ours), False)
    assert hash(verify) != hash(msgspec.structs.replace(verify, level=TlsLevel.MAY))


# --- shares of delivery


def enter(shares: Shares, domain: str, count: int, size: int = 0) -> None:
    for _ in range(count):
        shares.enter(frozenset((domain,)), size)


def test_slow_destinations_leave_a_share_for_others() -> None:
    shares = Shares()
    for number in range(15):
        domain = f"slow{number}.example"
        while shares.room_for(domain) > 0:
            enter(shares, domain, 1)
    assert shares.messages <= WORK_LIMIT - RESERVE // 2
    assert shares.room_for("fresh.example") >= LEAST_WINDOW


def test_window_grows_with_success_and_halves_with_trouble() -> None:
    shares = Shares()
    enter(shares, "a.example", 1)
    assert shares.room_for("a.example") == FIRST_WINDOW - 1
    for _ in range(1000):
        shares.succeeded("a.example")
    assert shares.room_for("a.example") == DESTINATION_LIMIT - 1
    for _ in range(20):
        shares.failed("a.example")
    assert shares.room_for("a.example") == LEAST_WINDOW - 1


def test_large_mail_of_one_destination_leaves_memory_for_others() -> None:
    shares = Shares()
    enter(shares, "big.example", 5, MEMORY_LIMIT // 8)
    assert shares.room_for("big.example") < 0
    assert shares.room_for("small.example") > 0
    assert not shares.full
    for _ in range(5):
        shares.leave(frozenset(("big.example",)), MEMORY_LIMIT // 8)
    assert (shares.messages, shares.size) == (0, 0)
    assert shares.room_for("big.example") > 0


# --- slots


class User:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.tries = 0
        self.gave_up = 0

    def try_again(self) -> None:
        self.tries += 1

    def give_up_idle(self) -> None:
        self.gave_up += 1


def make_slots(total: int, per_host: int = 10) -> SessionSlots:
    slots = SessionSlots(SessionTable(create_table(), 0, alone=True))
    slots.configure(total, per_host)
    return slots


def test_slow_plans_leave_sessions_free() -> None:
    slots = make_slots(100, 100)
    for number in range(12):
        held = 0
        while slots.allows(held) and not slots.take(f"slow{number}:25"):
            held += 1
    assert slots.open <= 90
    assert slots.allows(0)
    assert not slots.take("fresh:25")
    assert slots.most_open == slots.open


def test_limits_of_total_and_host() -> None:
    slots = make_slots(3, 2)
    assert [slots.take("a:25") for _ in range(3)] == ["", "", "address"]
    assert slots.is_full("a:25")
    assert not slots.is_full("b:25")
    assert slots.take("b:25") == ""
    assert slots.take("c:25") == "total"
    slots.give_back("a:25")
    assert slots.take("c:25") == ""


def test_who_waits_longest_goes_first_and_idle_sessions_are_given_up() -> None:
    slots = make_slots(1)
    holder, first, second = User(), User(), User()
    slots.use(holder)
    assert slots.take("a:25") == ""
    slots.wait(first)
    slots.wait(second)
    slots.wait(first)  # keeps its place
    assert holder.gave_up == 2
    assert slots.waiting == 2
    assert not slots.is_wanted(held=1, turns=TURN - 1)
    assert slots.is_wanted(held=1, turns=TURN)
    assert slots.is_wanted(held=2, turns=1)
    slots.give_back("a:25")
    assert (first.tries, second.tries) == (1, 0)
    slots.leave(second)
    assert not slots.someone_waits()


def test_half_of_the_sessions_at_most_find_out_whether_hosts_are_back() -> None:
    slots = make_slots(4)
    users = [User() for _ in range(3)]
    assert [slots.take_probe(user) for user in users] == [True, True, False]
    slots.give_back_probe()
    assert users[2].tries == 1
    assert slots.take_probe(users[2])


def test_what_is_said_of_a_server() -> None:
    assert describe_server("192.0.2.1", "192.0.2.1:25").text == "192.0.2.1:25"
    named = describe_server("192.0.2.1", "mx.example.org:25", "TLSv1.3/dane", reports=True)
    assert named.text == "192.0.2.1 mx.example.org:25 TLSv1.3/dane"
    assert (named.host, named.reports) == ("mx.example.org", True)
    assert describe_server("2001:db8::1", "[2001:db8::1]:25").host == "2001:db8::1"
    assert describe_server("2001:db8::1", "[2001:db8::1]:25").text == "[2001:db8::1]:25"


class Indifferent(User):
    """Wants nothing any more when its turn has come: its mail was withdrawn."""

    def __init__(self, slots: SessionSlots) -> None:
        super().__init__()
        self._slots = slots

    def try_again(self) -> None:
        super().try_again()
        self._slots.pass_on()


def test_a_turn_to_probe_that_is_not_taken_goes_to_the_next_in_line() -> None:
    slots = make_slots(2)
    assert slots.take_probe(User())
    withdrawn, waiting = Indifferent(slots), User()
    assert not slots.take_probe(withdrawn)
    assert not slots.take_probe(waiting)
    slots.give_back_probe()
    assert (withdrawn.tries, waiting.tries) == (1, 1)
