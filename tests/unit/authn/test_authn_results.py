"""Authentication-Results: what is read of strangers' fields, and the field of ours."""

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gatepost.authn.results import STATEMENTS_LIMIT, build_results_field, parse_results
from gatepost.model.authn import AuthnResults, DkimResult


def test_reads_what_the_standard_shows():
    text = (
        "example.com 1 (a comment; with = all);\r\n\tspf=pass smtp.mailfrom=example.net;\r\n"
        '\tdkim=pass (good (nested) signature) reason="2; of 2" header.d=example.net header.i="@example.net";'
        " dmarc/1 = Fail (p=reject) header.from = Example.NET"
    )
    found = parse_results(text)
    assert found.writer == "example.com"
    assert [(each.method, each.result) for each in found.statements] == [
        ("spf", "pass"),
        ("dkim", "pass"),
        ("dmarc", "fail"),
    ]
    dkim = found.find("dkim")
    assert dkim is not None
    assert dkim.properties == {"reason": "2; of 2", "header.d": "example.net", "header.i": "@example.net"}
    assert found.find("dmarc").properties == {"header.from": "Example.NET"}
    assert found.find("arc") is None


@pytest.mark.parametrize("text", ["", ";;;", "example.org; none", "example.org; header.from=x", '"', "(", "a; b"])
def test_fields_that_say_nothing(text: str):
    assert parse_results(text).statements == ()


@given(st.text(st.sampled_from('ab.;="()\\ \r\n/@é'), max_size=80))
@settings(max_examples=200, deadline=None)
@seed(3)
def test_reads_anything(text: str):
    for each in parse_results(text).statements:
        assert each.method
        assert each.method == each.method.lower()


def test_reads_so_many_statements():
    assert len(parse_results("x" + "; spf=pass" * 1000).statements) == STATEMENTS_LIMIT
    assert len(parse_results("x; spf=" + "p" * 100_000).statements[0].result) <= 255


def test_our_field_can_be_read_again():
    results = AuthnResults(
        spf="softfail",
        spf_domain="bounce.example.net",
        dkim=(DkimResult("example.net", "s1", "pass"), DkimResult("list.example", "k", "fail", 'no "good"\r\nX: y')),
        dmarc="pass",
        dmarc_domain="example.net",
        dmarc_policy="reject",
        arc="pass",
        arc_sealer="list.example",
    )
    raw = build_results_field("gw.example.org", results)
    assert raw.startswith(
        b"Authentication-Results: gw.example.org;\r\n\tspf=softfail smtp.mailfrom=bounce.example.net;"
    )
    assert raw.endswith(b"arc=pass (sealed by list.example)\r\n")
    lines = raw.split(b"\r\n")
    assert all(line.startswith(b"\t") for line in lines[1:-1])
    assert max(map(len, lines)) <= 200
    found = parse_results(raw.decode().partition(":")[2])
    assert [(each.method, each.result) for each in found.statements] == [
        ("spf", "softfail"),
        ("dkim", "pass"),
        ("dkim", "fail"),
        ("dmarc", "pass"),
        ("arc", "pass"),
    ]
    assert found.find("dkim").properties["header.s"] == "s1"


def test_our_field_takes_no_strangers_text_for_its_own():
    results = AuthnResults(
        spf="pass", spf_domain="x\r\nBcc: a@b.example", dmarc="fail", dmarc_domain='a"; dkim=pass', arc_sealer="a)"
    )
    raw = build_results_field("gw.example.org", results)
    assert raw.count(b"\n") == raw.count(b"\n\t") + 1
    statements = parse_results(raw.decode().partition(":")[2]).statements
    assert [(each.method, each.result) for each in statements] == [("spf", "pass"), ("dkim", "none"), ("dmarc", "fail")]


def test_helo_is_named_when_it_was_checked():
    raw = build_results_field("gw", AuthnResults(spf="pass", spf_domain="mx.example.net", spf_helo=True))
    assert b"spf=pass smtp.helo=mx.example.net" in raw


def test_nothing_checked_is_no_field():
    assert build_results_field("gw.example.org", AuthnResults()) == b""
