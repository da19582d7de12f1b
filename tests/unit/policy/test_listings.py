"""Entries made while the gateway runs: for whose mail they hold, and that they change nothing else."""

import datetime as dt

import msgspec
import pytest

from gatepost.config.load import load_text
from gatepost.model.authn import AuthnMaterial, AuthnResults
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import NetworkFacts, SpamFacts, SpamStatus
from gatepost.policy.group import GroupTable
from gatepost.policy.listings import Listing, Listings, Side, parse_scope, scope_domain
from gatepost.policy.spam import decide_spam

TEXT = """\
[network]
hostname = "mx.corp.example"
[access]
relay_rule = "deny from any to *"
[[group]]
name = "sales"
recipients = ["*@sales.example"]
[[group]]
name = "open"
recipients = ["*@open.example"]
use_lists = false
"""
NOW = 1_800_000_000.0
PROVED = AuthnResults(spf="pass", spf_domain="shop.example")


def table() -> GroupTable:
    loaded = load_text(TEXT, "gatepost.toml")
    assert loaded.config is not None, loaded.problems
    config = loaded.config
    return GroupTable.from_config(config.groups, config.ave, 60.0, (), config.antispam)


def verdicts(
    *listings: Listing,
    to: tuple[str, ...] = ("ann@sales.example", "bob@sales.example"),
    sender: str = "news@shop.example",
    ip: str = "192.0.2.7",
    authn: AuthnResults = PROVED,
    authors: tuple[str, ...] = (),
) -> dict[str, SpamStatus]:
    """Return each recipient's status."""
    envelope = Envelope(sender, tuple(Recipient(each) for each in to), Client(ip))
    facts = SpamFacts(authn=AuthnMaterial(authors=authors))
    analysis = Analysis((), spam=facts, network=NetworkFacts(authn=authn))
    found: dict[str, SpamStatus] = {}
    for group, indices in Listings(listings).share(table().partition(sender, to), envelope, analysis, NOW):
        verdict = decide_spam(analysis, envelope, group, NOW)
        assert verdict is not None
        found |= {to[index]: verdict.status for index in indices}
    return found


def one(side: Side, entry: str, scope: str = "", number: int = 1) -> Listing:
    return Listing(number, side, entry, scope)


BLACK, TRUSTED, NONE = SpamStatus.BLACKLISTED, SpamStatus.TRUSTED, SpamStatus.NOT_DETECTED


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("", (BLACK, BLACK)),
        ("group:sales", (BLACK, BLACK)),
        ("group:other", (NONE, NONE)),
        ("sales.example", (BLACK, BLACK)),
        ("example", (NONE, NONE)),
        ("ann@sales.example", (BLACK, NONE)),
    ],
)
def test_an_entry_holds_within_its_scope(scope: str, expected: tuple[SpamStatus, SpamStatus]) -> None:
    found = verdicts(one(Side.BLOCK, "*@shop.example", scope))
    assert (found["ann@sales.example"], found["bob@sales.example"]) == expected


def test_recipients_of_one_group_get_copies_apart_with_names_of_their_own() -> None:
    envelope = Envelope(
        "news@shop.example", (Recipient("ann@sales.example"), Recipient("bob@sales.example")), Client("192.0.2.7")
    )
    listings = Listings([one(Side.BLOCK, "news@shop.example", "bob@sales.example")])
    partition = table().partition(envelope.sender, [r.address for r in envelope.recipients])
    shares = listings.share(partition, envelope, None, NOW)
    assert [(group.name, tuple(indices)) for group, indices in shares] == [("sales", (0,)), ("sales", (1,))]
    assert len({group.share for group, _ in shares}) == 2
    everybody = Listings([one(Side.BLOCK, "news@shop.example")]).share(partition, envelope, None, NOW)
    assert [(group.name, group.share) for group, _ in everybody] == [("sales", "")]


def test_mail_nobody_lists_is_shared_out_as_before() -> None:
    partition = table().partition("x@other.example", ["ann@sales.example"])
    envelope = Envelope("x@other.example", (Recipient("ann@sales.example"),), Client("192.0.2.7"))
    assert Listings([one(Side.BLOCK, "*@shop.example")]).share(partition, envelope, None, NOW) is partition
    assert Listings().share(partition, envelope, None, NOW) is partition


def test_a_sender_is_trusted_only_when_he_is_proved() -> None:
    allowed = one(Side.ALLOW, "news@shop.example", "ann@sales.example")
    assert verdicts(allowed) == {"ann@sales.example": TRUSTED, "bob@sales.example": NONE}
    assert set(verdicts(allowed, authn=AuthnResults()).values()) == {NONE}
    assert verdicts(one(Side.ALLOW, "!news@shop.example"), authn=AuthnResults())["bob@sales.example"] is TRUSTED


def test_white_goes_before_black_and_authors_and_networks_count() -> None:
    both = (one(Side.BLOCK, "*@shop.example"), one(Side.ALLOW, "news@shop.example", "ann@sales.example", 2))
    assert verdicts(*both) == {"ann@sales.example": TRUSTED, "bob@sales.example": BLACK}
    assert verdicts(one(Side.BLOCK, "boss@fake.example"), authors=("boss@fake.example",))["ann@sales.example"] is BLACK
    assert verdicts(one(Side.BLOCK, "192.0.2.0/24"))["ann@sales.example"] is BLACK


def test_an_entry_ends_and_groups_without_lists_use_none() -> None:
    yesterday = dt.datetime.fromtimestamp(NOW, dt.UTC).date() - dt.timedelta(days=1)
    assert verdicts(one(Side.BLOCK, f"*@shop.example until {yesterday}"))["ann@sales.example"] is NONE
    assert (
        verdicts(one(Side.BLOCK, f"*@shop.example until {yesterday + dt.timedelta(days=1)}"))["ann@sales.example"]
        is BLACK
    )
    assert verdicts(one(Side.BLOCK, "*@shop.example"), to=("c@open.example",)) == {"c@open.example": NONE}


@pytest.mark.parametrize(
    ("text", "scope", "domain"),
    [
        ("all", "", ""),
        ("group:A b", "group:A b", ""),
        ("Example.ORG", "example.org", "example.org"),
        ("Ann@X.example", "ann@x.example", "x.example"),
    ],
)
def test_scopes(text: str, scope: str, domain: str) -> None:
    assert (parse_scope(text), scope_domain(parse_scope(text))) == (scope, domain)


@pytest.mark.parametrize("text", ["@x.example", "a b", "*@x.example", "group:", "a@", "x/y"])
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(ValueError):
        parse_scope(text)


def test_a_listing_survives_its_file() -> None:
    listing = Listing(3, Side.ALLOW, "a@x.example until 2031-01-01", "x.example", "note", "ada", NOW)
    assert msgspec.json.decode(msgspec.json.encode(listing), type=Listing) == listing
