"""SPF beyond the suites: what an administrator is told, and bounds."""

import ipaddress

import pytest
from tests.support.zone import Zone

from gatepost.authn.question import Question, Record
from gatepost.authn.spf import TERMS_LIMIT, SpfQuery, SpfResult, check_spf
from gatepost.authn.spf_record import RecordError, parse_record

IP = "192.0.2.7"


def check(zone: Zone, sender: str = "a@example.com", helo: str = "mail.example.net", ip: str = IP) -> SpfResult:
    return zone.run(check_spf(SpfQuery(ipaddress.ip_address(ip), sender, helo, "mx.example.org", 1_000_000.0)))


def policy(text: str, name: str = "example.com") -> Zone:
    return Zone().add(name, "TXT", text.encode())


def test_says_which_term_decided():
    found = check(policy("v=spf1 ip4:192.0.2.0/29 -all"))
    assert (found.result, found.domain, found.reason) == ("pass", "example.com", "ip4:192.0.2.0/29 of example.com")
    found = check(policy("v=spf1 include:a.example.net ~all").add("a.example.net", "TXT", b"v=spf1 -all"))
    assert (found.result, found.reason) == ("softfail", "~all of example.com")


def test_the_null_sender_is_checked_by_its_helo():
    zone = policy("v=spf1 a -all", "mail.example.net").add("mail.example.net", "A", IP)
    assert check(zone, "") == SpfResult("pass", "mail.example.net", "a of mail.example.net")
    assert check(zone, "", "[192.0.2.7]").result == "none"
    assert check(zone, "", "localhost").result == "none"


def test_a_mapped_address_is_an_ipv4_address():
    assert check(policy("v=spf1 ip4:192.0.2.7 -all"), ip="::ffff:192.0.2.7").result == "pass"


def test_a_fail_is_explained_in_the_domains_own_words():
    zone = policy("v=spf1 -all exp=why.%{d}").add("why.example.com", "TXT", b"%{c} is not ours, %{r}, %{t}")
    assert check(zone).explanation == "192.0.2.7 is not ours, mx.example.org, 1000000"
    zone.failing.add(("why.example.com", ""))
    assert check(zone).result == "fail"


def test_silence_is_temporary():
    zone = policy("v=spf1 mx -all").add("example.com", "MX", (10, "mx.example.com"))
    zone.failing.add(("mx.example.com", ""))
    assert check(zone).result == "temperror"
    zone.failing.add(("example.com", "TXT"))
    assert check(zone).result == "temperror"


def test_hosts_of_an_mx_are_asked_for_together():
    zone = policy("v=spf1 mx -all")
    for number in range(5):
        zone.add("example.com", "MX", (number, f"m{number}.example.com")).add(
            f"m{number}.example.com", "A", "192.0.2.1"
        )
    assert check(zone).result == "fail"
    assert zone.rounds == [1, 1, 5]
    assert zone.asked[2] == Question("m0.example.com", Record.A)


def test_no_policy_asks_without_end():
    zone = Zone()
    for number in range(40):
        zone.add(f"d{number}.example.com", "TXT", f"v=spf1 include:d{number + 1}.example.com -all".encode())
    found = check(zone, "a@d0.example.com")
    assert found.result == "permerror"
    assert len(zone.asked) == TERMS_LIMIT + 1
    wide = policy("v=spf1 " + " ".join(f"a:h{number}.example.com" for number in range(60)) + " -all")
    assert check(wide).result == "permerror"
    assert len(wide.asked) <= TERMS_LIMIT + 1


@pytest.mark.parametrize(
    "text",
    [
        "v=spf1 ip4:1.2.3 -all",
        "v=spf1 ip4:1.2.3.4/033 -all",
        "v=spf1 ip6:fe80::1%eth0 -all",
        "v=spf1 a:%{x}.example.com",
        "v=spf1 all:example.com",
        "v=spf1 redirect=a.example redirect=b.example",
        "v=spf1 a:\x01.example.com",
        "v=spf1 exists:%{d0}.example.com",
        "v=spf1 include",
        "v=spf1 mx:example.com//129",
    ],
)
def test_what_is_no_record(text: str):
    with pytest.raises(RecordError):
        parse_record(text.encode())
