"""Addresses as browsers read them, and what is odd about one."""

import pytest

from gatepost.antispam.extract.markup import Target
from gatepost.antispam.links import LINKS_LIMIT, Oddity, distinct, read_anchor, read_target, registrable

READ = [
    ("http://example.com/x", "example.com", "example.com", ()),
    ("HTTP://User@Example.COM", "example.com", "example.com", ()),
    ("https://a.b.example.co.uk/", "a.b.example.co.uk", "example.co.uk", ()),
    ("http://someone.github.io/", "someone.github.io", "someone.github.io", ()),
    ("//cdn.example.com/y", "cdn.example.com", "example.com", ()),
    ("www.foo.co.uk", "www.foo.co.uk", "foo.co.uk", ()),
    ("http://пример.рф", "xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai", ()),
    ("http://münchen.de", "xn--mnchen-3ya.de", "xn--mnchen-3ya.de", ()),
    ("http://198.51.100.7/", "198.51.100.7", "", (Oddity.ADDRESS,)),
    ("http://[2001:db8::1]/", "2001:db8::1", "", (Oddity.ADDRESS,)),
    ("http://0x7f.1/", "127.0.0.1", "", (Oddity.ADDRESS, Oddity.DISGUISED_HOST)),
    ("http://3325256711/", "198.51.100.7", "", (Oddity.ADDRESS, Oddity.DISGUISED_HOST)),
    ("http://ex%61mple.com/", "example.com", "example.com", (Oddity.DISGUISED_HOST,)),
    ("http://bank.example@evil.example/", "evil.example", "evil.example", (Oddity.USER,)),
    ("http://evil.example:81/", "evil.example", "evil.example", (Oddity.PORT,)),
    ("http://xn--pypal-4ve.com/", "xn--pypal-4ve.com", "xn--pypal-4ve.com", (Oddity.LOOK_ALIKE,)),
    ("http:\\\\evil.example\\x", "evil.example", "evil.example", (Oddity.BROKEN,)),
    ("http://www.bank.com.verify.example/", "www.bank.com.verify.example", "verify.example", (Oddity.OTHER_NAME,)),
    ("http://a.b.c.d.e.f.example.com/", "a.b.c.d.e.f.example.com", "example.com", (Oddity.DEEP,)),
    ("javascript:alert(1)", "", "", (Oddity.SCRIPT,)),
    ("data:text/html;base64,AAAA", "", "", (Oddity.INLINE,)),
]


@pytest.mark.parametrize(("url", "host", "domain", "odd"), READ)
def test_an_address_leads_where_browsers_go(url: str, host: str, domain: str, odd: tuple[Oddity, ...]) -> None:
    anchor = read_anchor(url, "html", "a")
    assert anchor is not None
    assert (anchor.host, anchor.domain, anchor.odd) == (host, domain, odd)


NOWHERE = ["cid:abc", "mailto:a@b.example", "#x", "/foo", "", "data:image/png;base64,AA", "http://", "http://a b/", "\ud800:x",
           "http://\ud800.example", "foo.example:80/x", "http://" + "a" * 300 + ".example/"]  # fmt: skip


@pytest.mark.parametrize("url", NOWHERE)
def test_what_leads_nowhere_is_no_link(url: str) -> None:
    anchor = read_anchor(url, "html", "a")
    assert anchor is None or anchor.host == ""


def test_another_sites_address_inside_is_told_and_checked() -> None:
    anchor = read_anchor("http://go.example.com/r?u=https%3A%2F%2Fwww.evil.example%2Fx", "html", "a")
    assert anchor is not None
    assert (anchor.inner, anchor.odd) == ("evil.example", (Oddity.REDIRECT,))
    assert [link.host for link in distinct([anchor])] == ["go.example.com", "evil.example"]
    own = read_anchor("http://a.example.com/r?u=https%3A%2F%2Fb.example.com%2Fx", "html", "a")
    assert own is not None
    assert own.inner == ""


@pytest.mark.parametrize(
    ("shown", "domain"),
    [
        ("www.bank.com", "bank.com"),
        ("https://login.bank.co.uk/x?y", "bank.co.uk"),
        ("bank.com", "bank.com"),
        ("Click here.", ""),
        ("Visit bank.com now", ""),
        ("v1.2", ""),
    ],
)
def test_what_a_link_shows_names_a_site(shown: str, domain: str) -> None:
    anchor = read_target(Target("a", "http://x.example/", shown))
    assert anchor is not None
    assert anchor.shown_domain == domain


def test_links_are_distinct_by_host_those_to_click_first_and_bounded() -> None:
    anchors = [read_anchor(f"http://h{number}.example/", "html", "img") for number in range(LINKS_LIMIT + 50)]
    anchors += [read_anchor("http://click.example/1", "html", "a"), read_anchor("http://click.example/2", "html", "a")]
    links = list(distinct([anchor for anchor in anchors if anchor is not None]))
    assert len(links) == LINKS_LIMIT
    assert links[0].url == "http://click.example/1"
    assert len({link.host for link in links}) == LINKS_LIMIT


def test_registrable_domains() -> None:
    assert [registrable(each) for each in ("a.b.example.co.uk", "co.uk", "192.0.2.1", "", "localhost")] == [
        "example.co.uk", "", "", "", "",
    ]  # fmt: skip


def test_ten_thousand_links_cost_what_they_cost(cpu_seconds) -> None:
    with cpu_seconds(3):
        anchors = [
            read_anchor(
                f"http://c{number}.example{number}.com/t?u=https%3A%2F%2Fa{number}.b{number}.com/x", "html", "a"
            )
            for number in range(10_000)
        ]
        assert len(list(distinct([anchor for anchor in anchors if anchor is not None]))) == LINKS_LIMIT
