"""Direction: which networks are ours, which way mail goes, and who handed it to our relays in front."""

import pytest
from access_visits import BASE, config_of
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.masks import MaskSet, NetworkSet
from gatepost.model.envelope import Direction, Recipient
from gatepost.relay.direction import RECEIVED_LIMIT, first_untrusted_hop, resolve_direction, trusted_networks

RULES = "[access]\nrelay_rule = [{}]\n"


@pytest.mark.parametrize(
    ("text", "ours", "strangers"),
    [
        ("", ["127.0.0.1", "127.9.9.9", "::1"], ["192.0.2.1", "2001:db8::1"]),
        (
            RULES.format('"allow from 192.0.2.0/24 to *", "allow from any to @protected", "deny from any to *"'),
            ["192.0.2.1", "127.0.0.1"],
            ["198.51.100.1"],
        ),
        # to everybody, or it does not count; and a denial before wins
        (RULES.format('"allow from 192.0.2.0/24 to *@example.com"'), [], ["192.0.2.1"]),
        (
            RULES.format('"deny from 192.0.2.128/25 to *", "allow from 192.0.2.0/24 to *"'),
            ["192.0.2.1"],
            ["192.0.2.200"],
        ),
        # an open relay is nobody's own network
        (RULES.format('"allow from any to *"'), ["127.0.0.1"], ["192.0.2.1"]),
        (RULES.format('"allow from any to *", "allow from 192.0.2.0/24 to *"'), [], ["192.0.2.1"]),
        # said outright, nothing else counts
        ("[network]\ntrusted_networks = ['203.0.113.0/24']\n", ["203.0.113.5"], ["127.0.0.1", "192.0.2.1"]),
    ],
)
def test_our_own_networks(text, ours, strangers):
    base = BASE + text.removeprefix("[network]\n")
    networks = trusted_networks(config_of(base))
    assert [networks.contains(ip) for ip in ours] == [True] * len(ours)
    assert [networks.contains(ip) for ip in strangers] == [False] * len(strangers)


@pytest.mark.parametrize(
    ("ours", "recipients", "direction"),
    [
        (False, ["a@example.org"], Direction.INBOUND),
        (False, ["a@elsewhere.example"], Direction.INBOUND),
        (True, ["a@example.org", "b@EXAMPLE.org"], Direction.INTERNAL),
        (True, ["a@elsewhere.example"], Direction.OUTBOUND),
        (True, ["a@example.org", "b@elsewhere.example"], Direction.OUTBOUND),
    ],
)
def test_direction(ours, recipients, direction):
    protected = MaskSet(("*@example.org",))
    assert resolve_direction(ours=ours, protected=protected, recipients=map(Recipient, recipients)) is direction


FRONT = NetworkSet(("192.0.2.25", "192.0.2.26", "2001:db8::25"))
OURS = NetworkSet(("10.0.0.0/8",))
BY_FRONT = b" by front.example.org (Postfix) with ESMTP id 1; Sun, 22 Nov 2026 02:00:00 +0000"


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        ([], None),
        ([b" from mx.example.net (mx.example.net [198.51.100.7])" + BY_FRONT], "198.51.100.7"),
        ([b"from pc (unknown [10.1.2.3])" + BY_FRONT], None),
        ([b"from [203.0.113.9] (unknown [198.51.100.7])" + BY_FRONT], "198.51.100.7"),  # HELO is the client's word
        ([b"from x (x [IPv6:2001:db8::7])\r\n\tby front"], "2001:db8::7"),
        # two of ours behind each other
        ([b"from b ([192.0.2.26]) by a", b"from mx ([198.51.100.7]) by b"], "198.51.100.7"),
        # below the first stranger nothing is believed
        ([b"from mx ([198.51.100.7]) by a", b"from pc ([10.1.2.3]) by mx"], "198.51.100.7"),
        # made at the relay itself
        ([b"by front.example.org (Postfix, from userid 0) id 1; date"], None),
        # a client there was, but who
        ([b"from mx.example.net (HELO x) by front"], ""),
        ([b"from mx.example.net ([999.1.1.1]) by front"], ""),
        # as other relays write it
        ([b"from mx.example.net ([198.51.100.7] helo=mx)\r\n\tby front with esmtp (Exim 4.96)"], "198.51.100.7"),
        ([b"from [198.51.100.7] (port=4711 helo=mx) by front with esmtp (Exim 4.96)"], "198.51.100.7"),
        ([b"from [198.51.100.7] by front with esmtp (Exim 4.96)"], "198.51.100.7"),
        ([b"from unknown (HELO mx) (root@198.51.100.7) by front with SMTP"], "198.51.100.7"),
        ([b"from mx.example.net (198.51.100.7) by front (10.0.0.1) with Microsoft SMTP Server"], "198.51.100.7"),
        ([b"from mx (root@mx.example.net [198.51.100.7] (may be forged)) by front"], "198.51.100.7"),
        # what the client says of itself is not believed, wherever the relay puts it
        ([b"from mx.example.net ([198.51.100.7] helo=[10.1.2.3]) by front (Exim 4.96)"], "198.51.100.7"),
        ([b"from [198.51.100.7] (helo=[10.1.2.3]) by front with esmtp (Exim 4.96)"], "198.51.100.7"),
        ([b"from mx ([198.51.100.7] helo=mx ident=[10.1.2.3]) by front (Exim 4.96)"], "198.51.100.7"),
        ([b"from [10.1.2.3] (198.51.100.7) by front with Microsoft SMTP Server"], "198.51.100.7"),
        ([b"from unknown (HELO [10.1.2.3]) (198.51.100.7) by front with SMTP"], "198.51.100.7"),
        ([b"from mx (IDENT:[10.1.2.3]@mx.example.net [198.51.100.7]) by front"], "198.51.100.7"),
        (
            [b'from mx (mx [198.51.100.7])\r\n\t(using TLSv1.3)\r\n\t(Client CN "[10.1.2.3]" (not verified)) by front'],
            "198.51.100.7",
        ),
        ([b"from x([10.1.2.3]) (unknown [198.51.100.7]) by front"], "198.51.100.7"),
        ([b"from x ([10.1.2.3]) by y (unknown [198.51.100.7]) by front"], ""),
        ([b"from [10.1.2.3] by front"], ""),
        # a relay that hands mail to itself, for a filter's sake: who brought it stands below
        (
            [b"from localhost (localhost [127.0.0.1]) by front", b"from mx (mx [198.51.100.7]) by front"],
            "198.51.100.7",
        ),
        ([b"by front (Postfix, from userid 110)", b"from mx (mx [198.51.100.7]) by front"], "198.51.100.7"),
        ([b"(qmail 812 invoked from network); date", b"from mx (198.51.100.7) by front"], "198.51.100.7"),
        ([b"from localhost (localhost [127.0.0.1]) by front", b"from pc (pc [10.1.2.3]) by front"], None),
        ([b"from localhost (localhost [127.0.0.1]) by front"], None),
    ],
)
def test_first_untrusted_hop(fields, client):
    assert first_untrusted_hop(fields, FRONT, OURS) == client


@given(st.lists(st.binary(max_size=200) | st.just(b"from b ([192.0.2.26]) by a"), max_size=200))
def test_any_fields_are_read(fields):
    client = first_untrusted_hop(fields, FRONT, OURS)
    assert client is None or client == "" or not (FRONT.contains(client) or OURS.contains(client))


def test_endless_fields_are_not_followed():
    fields = [b"from b ([192.0.2.26]) by a"] * RECEIVED_LIMIT + [b"from mx ([198.51.100.7]) by b"]
    assert first_untrusted_hop(fields, FRONT, OURS) == ""
