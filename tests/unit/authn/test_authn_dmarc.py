"""DMARC (RFC 9989): records, the tree walk, alignment; authheaders as oracle where both follow one standard."""

import functools
from collections.abc import Iterator

import pytest
from authheaders import dmarc_lookup
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from tests.support.zone import Zone

from gatepost.authn.dmarc import DmarcResult, Proved, check_dmarc
from gatepost.authn.dmarc_record import is_dmarc, parse_policy


def zone(**records: str) -> Zone:
    """Records by domain; double underscores stand for dots."""
    made = Zone()
    for name, text in records.items():
        made.add(f"_dmarc.{name.replace('__', '.')}", "TXT", text.encode())
    return made


def check(made: Zone, domain: str, *dkim: str, spf: str = "", unknown: tuple[str, ...] = ()) -> DmarcResult:
    return made.run(check_dmarc(domain, Proved(spf, dkim, unknown)))


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"v=DMARC1; p=reject", ("reject", "reject", "reject")),
        (b"v=DMARC1; p=reject; sp=none", ("reject", "none", "none")),
        (b"v=DMARC1; p=none; sp=quarantine; np=reject", ("none", "quarantine", "reject")),
        (b"v=DMARC1; p=none; sp=odd; np=odd", ("none", "none", "none")),
        (b"v=DMARC1; p=reject; junk; =; x", ("reject", "reject", "reject")),
        (b"v=DMARC1; p=odd; rua=mailto:a@b.example", ("none", "none", "none")),
        (b"v=DMARC1", None),
        (b"v=DMARC1; p=odd", None),
    ],
)
def test_records(raw: bytes, wanted: tuple[str, str, str] | None):
    record = parse_policy(raw)
    found = None if record is None else (record.policy, record.subdomain_policy, record.absent_policy)
    assert found == wanted


@pytest.mark.parametrize("raw", [b"v=spf1 -all", b"p=reject; v=DMARC1", b"v=DMARC1x; p=none", b"v=dmarc1; p=none", b""])
def test_what_is_no_record(raw: bytes):
    assert not is_dmarc(raw)


def test_test_mode_is_one_step_milder():
    for tag in ("t=y", "pct=0"):
        assert check(zone(a__example=f"v=DMARC1; p=reject; {tag}"), "a.example").policy == "quarantine"
    assert check(zone(a__example="v=DMARC1; p=reject; pct=50"), "a.example").policy == "reject"


def test_a_relative_proves_its_organization():
    made = zone(a__example="v=DMARC1; p=reject")
    assert check(made, "news.a.example", "mail.a.example").result == "pass"
    assert check(made, "a.example", spf="bounce.a.example").result == "pass"
    assert check(made, "a.example", "a.example.evil.example").result == "fail"
    assert check(made, "a.example", "example").result == "fail"
    strict = zone(a__example="v=DMARC1; p=reject; aspf=s; adkim=r")
    assert check(strict, "a.example", spf="bounce.a.example").result == "fail"
    assert check(strict, "a.example", "bounce.a.example").result == "pass"


def test_neighbours_below_a_public_suffix_are_strangers():
    made = zone(co__uk="v=DMARC1; p=none", good__co__uk="v=DMARC1; p=reject")
    assert check(made, "good.co.uk", "evil.co.uk").result == "fail"
    assert check(made, "good.co.uk", "co.uk").result == "fail"
    assert check(zone(co__uk="v=DMARC1; p=reject"), "good.co.uk", "evil.co.uk").result == "none"


def test_a_suffix_that_says_so_has_a_policy_for_all_below():
    made = zone(bank__example="v=DMARC1; p=reject; psd=y")
    assert check(made, "giant.bank.example") == DmarcResult(
        "fail", "giant.bank.example", "reject", "nothing proves giant.bank.example; policy of bank.example"
    )
    assert check(made, "mail.giant.bank.example", "giant.bank.example").result == "pass"
    assert check(made, "giant.bank.example", "mega.bank.example").result == "fail"


def test_an_organization_that_says_so_ends_the_walk():
    made = zone(dept__a__example="v=DMARC1; p=reject; psd=n", a__example="v=DMARC1; p=none")
    assert check(made, "x.dept.a.example", "a.example").result == "fail"
    assert check(made, "x.dept.a.example", "y.dept.a.example").result == "pass"
    assert check(made, "a.example", "x.dept.a.example").result == "fail"


def test_names_of_one_registration_belong_together_while_nobody_says_otherwise():
    made = zone(news__shop__com="v=DMARC1; p=reject")
    assert check(made, "news.shop.com", "shop.com").result == "pass"
    assert check(made, "news.shop.com", "shop2.com").result == "fail"


def test_silence_is_temporary():
    silent = zone(a__example="v=DMARC1; p=reject")
    silent.failing.add(("_dmarc.a.example", ""))
    assert check(silent, "a.example", "a.example").result == "temperror"
    assert check(silent, "x.a.example").result == "temperror"
    made = zone(a__example="v=DMARC1; p=reject")
    assert check(made, "a.example", unknown=("a.example",)).result == "temperror"
    assert check(made, "a.example", "a.example", unknown=("b.example",)).result == "pass"
    assert check(made, "a.example", unknown=("b.example",)).result == "fail"


def test_one_question_is_enough_for_most_mail():
    made = zone(a__example="v=DMARC1; p=reject")
    assert check(made, "a.example", "a.example", "b.example").result == "pass"
    assert [each.name for each in made.asked] == ["_dmarc.a.example"]


def test_strangers_that_signed_cost_no_questions():
    made = zone(a__example="v=DMARC1; p=reject")
    check(made, "a.example", *(f"s{number}.example" for number in range(50)))
    assert len(made.asked) == 2


@pytest.mark.parametrize(
    "domain", ["", "example", "[192.0.2.1]", "a..example", "-", "x" * 300 + ".example", "a b.example"]
)
def test_what_is_no_domain_has_no_policy(domain: str):
    made = Zone()
    assert check(made, domain).result == "none"
    assert not made.asked


_TAGS = st.sampled_from(
    [
        "p=none",
        "p=reject",
        "p=quarantine; sp=none",
        "p=reject; adkim=s",
        "p=none; sp=reject",
        "p=REJECT",
        " p = reject ",
    ]
)


@given(
    author=st.sampled_from(["example.com", "x.example.com", "a.x.example.com"]),
    own=st.none() | _TAGS,
    above=st.none() | _TAGS,
)
@settings(max_examples=60, deadline=None)
@seed(9)
def test_finds_the_policy_that_authheaders_finds(author: str, own: str | None, above: str | None):
    """It knows the standard before the tree walk: both find the same where no name between author and organization
    has a record.
    """
    texts = {"_dmarc.example.com": above, f"_dmarc.{author}": own}
    made = Zone()
    for name, tags in texts.items():
        if tags is not None:
            made.add(name, "TXT", f"v=DMARC1; {tags}".encode())
    theirs, where = dmarc_lookup.receiver_record(
        author, lambda name: None if texts.get(name) is None else f"v=DMARC1; {texts[name]}"
    )
    found = check(made, author)
    if not theirs:
        assert found.result == "none"
        return
    below = where not in (False, author)
    assert found.policy == (theirs.get("sp", theirs["p"]) if below else theirs["p"])


@pytest.fixture(scope="module", autouse=True)
def _read_suffixes_once() -> Iterator[None]:
    """It reads its list of suffixes anew for every question."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dmarc_lookup, "get_org_domain", functools.cache(dmarc_lookup.get_org_domain))
        yield
