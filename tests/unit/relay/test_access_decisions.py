"""Access: the order of checks, who is spared which, what is asked and when."""

import asyncio

import pytest
from access_visits import (
    FAILED,
    OPEN_TO_OURS,
    OURS,
    STRANGER,
    TableResolver,
    access_of,
    causes,
    config_of,
    converse,
    found,
    mail_from,
    mail_host,
    services_of,
    settled,
)
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.default import build_default_config
from gatepost.config.schema import Listener
from gatepost.config.transport import SignIn
from gatepost.model.envelope import Direction, Recipient
from gatepost.relay.access import ACCEPTED, Access
from gatepost.relay.visit import Visit
from gatepost.resolver.answers import Answer, Outcome


def rules(**lists: list[str]) -> str:
    return "[access]\n" + OPEN_TO_OURS + "".join(f"{name} = {value}\n" for name, value in lists.items())


DNSBL = rules(connect_rule=["deny from in_dnsbl to *"], dns_black_list=["one.example", "two.example"])


@pytest.mark.feature("F-ACL-05")
def test_client_in_the_second_zone_is_refused_at_connect():
    resolver = TableResolver({("two.example", STRANGER): found("127.0.0.2")})
    access = access_of(DNSBL, resolver)
    assert causes(access) == ["dnsbl"]
    (ruling,) = asyncio.run(converse(access))
    assert (ruling.reply.code, ruling.reply.enhanced, ruling.reply.closes) == (554, "5.7.1", True)
    assert causes(access, "198.51.100.8") == ["", "", "", ""]


def test_a_listed_client_is_refused_although_another_zone_fails():
    table = {("one.example", STRANGER): FAILED, ("two.example", STRANGER): found("127.0.0.2")}
    assert causes(access_of(DNSBL, TableResolver(table))) == ["dnsbl"]


def test_trouble_with_the_deciding_question_is_temporary_and_told_at_rcpt():
    access = access_of(DNSBL, TableResolver({("one.example", STRANGER): FAILED}))
    ruling = asyncio.run(converse(access))[-1]
    assert (ruling.cause, ruling.reply.code, ruling.reply.enhanced) == ("dns", 451, "4.4.3")


def test_what_is_never_relayed_is_not_put_off_for_dns():
    access = access_of(DNSBL, TableResolver({("one.example", STRANGER): FAILED}))
    assert causes(access, recipients=("a@elsewhere.example", "a@example.org"))[-2:] == ["relaying", "dns"]


@pytest.mark.parametrize("client", [OURS, "127.0.0.1"])
def test_our_own_clients_are_not_asked_about(client):
    resolver = TableResolver({("one.example", client): found("127.0.0.2")})
    assert causes(access_of(DNSBL, resolver), client) == ["", "", "", ""]
    assert not resolver.asked


def test_each_question_is_asked_once_in_a_session():
    resolver = TableResolver()
    recipients = tuple(f"user{n}@example.org" for n in range(5))
    assert set(causes(access_of(DNSBL, resolver), recipients=recipients)) == {""}
    assert set(resolver.asked.values()) == {1}


@pytest.mark.feature("F-ACL-09")
def test_rules_limited_to_recipients():
    text = rules(
        connect_rule=["deny from no_name to strict@example.org"],
        helo_rule=["deny from no_ip to helo@example.org"],
        mailfrom_rule=["deny from no_mx to sender@example.org"],
    )
    recipients = ("easy@example.org", "strict@example.org", "helo@example.org", "sender@example.org")
    resolver = TableResolver()
    access = access_of(text, resolver)
    assert causes(access, recipients=recipients)[3:] == ["", "no-name", "helo", "mailfrom"]
    assert causes(access_of(text, asked_nothing := TableResolver()), recipients=recipients[:1])[3:] == [""]
    assert not asked_nothing.asked  # nothing is asked that no rule needs


@pytest.mark.feature("F-ACL-07")
@pytest.mark.parametrize(
    ("condition", "answer", "refused"),
    [
        ("no_ip", Answer(Outcome.NO_NAME), True),
        ("no_ip", found("203.0.113.5"), False),
        ("has_ip", found("203.0.113.5"), True),
        ("diff_ip", found("203.0.113.5"), True),
        ("diff_ip", found("203.0.113.5", STRANGER), False),
        ("diff_ip", Answer(Outcome.NO_DATA), True),
        ("same_ip", found(STRANGER), True),
        ("same_ip", found("203.0.113.5"), False),
    ],
)
def test_hello_rules(condition, answer, refused):
    resolver = TableResolver({("addresses", "client.example.net"): answer})
    access = access_of(rules(helo_rule=[f"deny from {condition} to *"]), resolver)
    assert causes(access)[-1] == ("helo" if refused else "")


@pytest.mark.parametrize(
    ("helo", "condition", "refused"),
    [
        (f"[{STRANGER}]", "diff_ip", False),
        ("[203.0.113.5]", "diff_ip", True),
        ("[IPv6:::ffff:198.51.100.7]", "diff_ip", False),
        ("[203.0.113.5]", "no_ip", False),
    ],
)
def test_address_literals_at_hello_are_their_own_address(helo, condition, refused):
    resolver = TableResolver()
    access = access_of(rules(helo_rule=[f"deny from {condition} to *"]), resolver)
    assert causes(access, helo=helo)[-1] == ("helo" if refused else "")
    assert not resolver.asked


@pytest.mark.feature("F-ACL-08")
@pytest.mark.parametrize(
    ("condition", "address", "mx", "refused"),
    [
        ("no_ip", None, None, True),
        ("no_ip", found("203.0.113.5"), None, False),
        ("has_ip", found("203.0.113.5"), None, True),
        ("no_mx", None, None, True),
        ("no_mx", None, mail_host("mx.example.net"), False),
        ("no_mx", None, mail_host(""), True),  # a null MX: nobody there takes mail
        ("has_mx", None, mail_host("mx.example.net"), True),
    ],
)
def test_sender_rules(condition, address, mx, refused):
    answers = {("addresses", "example.net"): address, ("MX", "example.net"): mx}
    resolver = TableResolver({question: answer for question, answer in answers.items() if answer is not None})
    access = access_of(rules(mailfrom_rule=[f"deny from {condition} to *"]), resolver)
    # For everybody: told at MAIL already.
    assert causes(access) == (["", "", "mailfrom"] if refused else ["", "", "", ""])


def test_bounces_have_no_domain_to_ask_about():
    resolver = TableResolver()
    access = access_of(rules(mailfrom_rule=["deny from no_ip to *", "deny from no_mx to *"]), resolver)
    assert causes(access, sender="") == ["", "", "", ""]
    assert not resolver.asked


def test_another_sender_is_asked_about_anew():
    resolver = TableResolver({("addresses", "good.example"): found("203.0.113.5")})
    access = access_of(rules(mailfrom_rule=["deny from no_ip to *"]), resolver)

    async def session() -> list[str]:
        visit = Visit(STRANGER, 1, Listener())
        await settled(access.connect(visit))
        return [
            (await settled(access.mail(visit, mail_from(sender), queue_full=False))).cause
            for sender in ("a@good.example", "b@bad.example", "c@good.example")
        ]

    assert asyncio.run(session()) == ["", "mailfrom", ""]


@pytest.mark.feature("F-ACL-10")
def test_lists_of_clients():
    text = rules(
        deny_clients=["198.51.100.0/24", "2001:db8:bad::/48"],
        allow_clients=["198.51.100.99"],
        connect_rule=["deny from any to *"],
    )
    access = access_of(text)
    assert causes(access) == ["denied-client"]
    assert causes(access, "2001:db8:bad::1") == ["denied-client"]
    assert causes(access, "198.51.100.99") == ["", "", "", ""]  # spared of connect_rule too
    assert causes(access, "203.0.113.4") == ["connect"]
    (ruling,) = asyncio.run(converse(access))
    assert (ruling.reply.code, ruling.reply.closes) == (554, True)


def test_who_may_still_sign_in_is_judged_at_rcpt():
    resolver = TableResolver({("one.example", STRANGER): found("127.0.0.2")})
    access = access_of(DNSBL, resolver)
    listener = Listener(sign_in=SignIn.OPTIONAL)
    rulings = asyncio.run(converse(access, visit=Visit(STRANGER, 1, listener)))
    assert [ruling.cause for ruling in rulings] == ["", "", "", "dnsbl"]
    signed_in = Visit(STRANGER, 1, listener)

    async def session() -> list[str]:
        assert await settled(access.connect(signed_in)) == ACCEPTED
        signed_in.user = "joe"
        await settled(access.mail(signed_in, mail_from("joe@example.org"), queue_full=False))
        return [
            (await settled(access.recipient(signed_in, Recipient(address)))).cause
            for address in ("a@example.org", "a@elsewhere.example")
        ]

    assert asyncio.run(session()) == ["", ""]


def test_the_mail_of_a_front_relay_is_no_mail_of_ours():
    text = (
        '[network]\nhostname = "gw.example.org"\nprotected_domains = ["example.org"]\nfront_relays = ["192.0.2.25"]\n'
    )
    resolver = TableResolver({("one.example", STRANGER): found("127.0.0.2")})
    access = Access(config_of(text + DNSBL), "/", services_of(resolver))
    visit = Visit("192.0.2.25", 1, Listener())
    assert [r.cause for r in asyncio.run(converse(access, visit=visit))] == ["", "", "", ""]
    assert (visit.hidden, visit.ours) == (True, False)
    assert not resolver.asked  # the relay itself is not what anybody wants to know about
    visit.forward(STRANGER)
    access.forwarded(visit)

    async def after_xforward() -> list[str]:
        await settled(access.mail(visit, mail_from("x@example.net"), queue_full=False))
        return [(await settled(access.recipient(visit, Recipient("user@example.org")))).cause]

    assert asyncio.run(after_xforward()) == ["dnsbl"]
    visit.forward("192.0.2.9")
    access.forwarded(visit)
    assert visit.ours


def test_postmaster_is_never_refused():
    text = rules(connect_rule=["deny from any to *@example.org"]) + "recipient_verification = 'list'\n"
    text += "known_recipients = ['joe@example.org']\n"
    assert causes(access_of(text), recipients=("postmaster", "a@example.org"))[3:] == ["", "connect"]


SHIPPED = build_default_config(
    state_path="/nowhere",
    hostname="gw.example.org",
    listen="127.0.0.1:25",
    next_hop="[127.0.0.1:26]",
    protected_domains=("example.org", "*.example.net"),
    log_filename="",
)
PUBLIC = st.one_of(
    st.ip_addresses(v=4).filter(lambda ip: ip.is_global), st.ip_addresses(v=6).filter(lambda ip: ip.is_global)
).map(str)
TEXT = st.text(st.characters(codec="ascii", exclude_characters="\0\r\n<> "), min_size=1, max_size=20)
shipped = Access(config_of(SHIPPED), "/", services_of())


@pytest.mark.feature("F-ACL-02")
@given(client=PUBLIC, local=TEXT, domain=TEXT)
def test_shipped_rules_are_no_open_relay(client, local, domain):
    visit = Visit(client, 1024, Listener())
    assert shipped.connect(visit) == ACCEPTED
    assert not visit.ours
    for address in (f"{local}@{domain}", f"{local}%{domain}@example.com", f'"{local}@example.org"@{domain}'):
        ruling = shipped.recipient(visit, Recipient(address))
        own = address.rpartition("@")[2].lower()
        if own == "example.org" or own.endswith(".example.net"):
            assert ruling.reply is None
        else:
            assert (ruling.cause, ruling.reply.code, ruling.reply.enhanced) == ("relaying", 554, "5.7.1")


def test_what_received_fields_tell_holds_for_one_message():
    text = 'front_relays = ["192.0.2.25"]\n' + rules()
    access = access_of(text)
    visit = Visit("192.0.2.25", 1, Listener())
    users = [Recipient("user@example.org")]

    async def message(*fields: bytes) -> tuple[str, Direction]:
        await settled(access.mail(visit, mail_from("x@example.net"), queue_full=False))
        assert (visit.ip, visit.hidden, visit.ours) == ("192.0.2.25", True, False)
        access.settle_client(visit, fields)
        return visit.ip, access.direction(visit, users)

    async def session() -> None:
        await settled(access.connect(visit))
        assert await message(b"from mx ([198.51.100.7]) by a") == (STRANGER, Direction.INBOUND)
        assert await message(b"from pc ([192.0.2.9]) by a") == ("192.0.2.25", Direction.INTERNAL)
        assert await message(b"from mx (who knows) by a") == ("192.0.2.25", Direction.INBOUND)
        assert await message() == ("192.0.2.25", Direction.INTERNAL)  # made at the relay itself

    asyncio.run(session())


def test_relay_rules_look_at_who_is_connected():
    access = access_of('front_relays = ["192.0.2.25"]\n' + rules())
    for connected, told, allowed in (("192.0.2.25", STRANGER, True), (STRANGER, OURS, False)):
        visit = Visit(connected, 1, Listener())
        assert access.connect(visit) == ACCEPTED
        visit.forward(told)
        access.forwarded(visit)
        ruling = access.recipient(visit, Recipient("a@elsewhere.example"))
        assert (ruling.reply is None) is allowed


def test_what_was_refused_by_a_rule_is_recorded_so_though_it_would_not_be_relayed_either():
    text = rules(
        connect_rule=["allow from any to postmaster@*", "deny from in_dnsbl to *"], dns_black_list=["one.example"]
    )
    access = access_of(text, TableResolver({("one.example", STRANGER): found("127.0.0.2")}))
    assert causes(access, recipients=("a@elsewhere.example", "a@example.org"))[-2:] == ["dnsbl", "dnsbl"]


def test_a_refusal_for_good_beats_doubt_in_a_list_before():
    text = rules(
        connect_rule=["deny from in_dnsbl to *"], dns_black_list=["one.example"], helo_rule=["deny from no_ip to a@*"]
    )
    access = access_of(text, TableResolver({("one.example", STRANGER): FAILED}))
    assert causes(access, recipients=("a@example.org", "b@example.org"))[-2:] == ["helo", "dns"]


@pytest.mark.parametrize(
    "recipient",
    ["victim%far.example@example.org", "far.example!victim@example.org", '"victim@far.example"@example.org'],
)
def test_strangers_cannot_name_a_route_through_the_next_hop(recipient):
    for access in (access_of("[access]\n" + OPEN_TO_OURS), access_of("")):
        assert causes(access, recipients=(recipient,))[-1] == "relaying"
    assert causes(access_of("[access]\n" + OPEN_TO_OURS), OURS, recipients=(recipient,))[-1] == ""


def test_another_name_at_hello_is_asked_about_anew():
    resolver = TableResolver({("addresses", "good.example"): found("203.0.113.5")})
    access = access_of(rules(helo_rule=["deny from no_ip to *"]), resolver)
    visit = Visit(STRANGER, 1, Listener())
    assert [r.cause for r in asyncio.run(converse(access, helo="bad.example", visit=visit))][-1] == "helo"
    assert [r.cause for r in asyncio.run(converse(access, helo="good.example", visit=visit))][-1] == ""


def test_many_names_at_hello_are_not_many_questions():
    async def scenario() -> None:
        resolver = TableResolver({("addresses", "n99.example"): found("203.0.113.5")})
        access = access_of(rules(helo_rule=["deny from no_ip to *"]), resolver)
        visit = Visit(STRANGER, 1, Listener())
        await settled(access.connect(visit))
        for number in range(100):
            await settled(access.hello(visit, f"n{number}.example"))
            await asyncio.sleep(0)
        assert set(resolver.asked) <= {("addresses", "n0.example")}
        # The name that counts is asked about when it is needed, the same one again is no reason to ask again.
        await settled(access.hello(visit, "n99.example"))
        await settled(access.mail(visit, mail_from("a@example.net"), queue_full=False))
        for _ in range(2):
            assert (await settled(access.recipient(visit, Recipient("user@example.org")))).reply is None
            await settled(access.hello(visit, "n99.example"))
        assert resolver.asked["addresses", "n99.example"] == 1

    asyncio.run(scenario())


def test_questions_about_who_has_gone_are_waited_for_no_longer():
    async def scenario() -> None:
        access = access_of(
            rules(connect_rule=["deny from no_name to a@example.org"], helo_rule=["deny from no_ip to *"])
        )
        visit = Visit(STRANGER, 1, Listener())
        await settled(access.connect(visit))
        await settled(access.hello(visit, "one.example"))
        asked = list(visit.facts.values())
        assert asked
        visit.replace(OURS)
        await asyncio.gather(*asked, return_exceptions=True)
        assert all(task.cancelled() for task in asked)
        assert not visit.facts

    asyncio.run(scenario())


@pytest.mark.feature("F-ACL-01")
@pytest.mark.parametrize(
    ("lines", "client", "recipient", "allowed"),
    [
        # by the client's network, by domain (generation 5.0), by address mask (later ones)
        (("allow from 203.0.113.0/24 to any", "deny from any to *"), "203.0.113.9", "a@elsewhere.example", True),
        (("allow from 203.0.113.0/24 to any", "deny from any to *"), "203.0.114.9", "a@elsewhere.example", False),
        (("allow from 203.0.113.0/255.255.255.0 to *",), "203.0.113.9", "a@elsewhere.example", True),
        (("allow from any to partner.example",), STRANGER, "a@PARTNER.example", True),
        (("allow from any to partner.example",), STRANGER, "a@sub.partner.example", False),
        (("allow from any to u?er@*",), STRANGER, "user@x.example", True),
        (("allow from any to u?er@*",), STRANGER, "uuser@x.example", False),
        (("allow from 2001:db8::/32 to *",), "2001:db8:1::9", "a@x.example", True),
        # the first that matches decides: the other way round the verdict changes
        (("deny from any to boss@x.example", "allow from any to *@x.example"), STRANGER, "boss@x.example", False),
        (("allow from any to *@x.example", "deny from any to boss@x.example"), STRANGER, "boss@x.example", True),
        (("allow from 198.51.100.0/24 to *", f"deny from {STRANGER} to *"), STRANGER, "a@x.example", True),
        ((f"deny from {STRANGER} to *", "allow from 198.51.100.0/24 to *"), STRANGER, "a@x.example", False),
    ],
)
def test_relay_table(lines, client, recipient, allowed):
    access = access_of(f"[access]\nrelay_rule = {list(lines)}\n")
    assert causes(access, client, recipients=(recipient,))[-1] == ("" if allowed else "relaying")
