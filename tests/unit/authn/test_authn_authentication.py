"""All of authentication together: what a message's proofs come to, whom to trust, and the signs."""

from typing import Any

import pytest
from tests.support.zone import Zone

from gatepost.authn.authentication import NOBODY, Trust, check_authentication, foresee
from gatepost.authn.question import Question, Record
from gatepost.authn.signs import build_signs
from gatepost.authn.spf import SpfResult
from gatepost.model.authn import ArcSet, AuthnMaterial, AuthnResults, DkimResult, SignatureMaterial
from gatepost.model.spam import Method

IP = "192.0.2.7"
PASS = SpfResult("pass", "example.com", "mx")
FAIL = SpfResult("fail", "example.com", "-all of example.com")


def run(
    zone: Zone, spf: SpfResult | None = None, trust: Trust = NOBODY, author: str = "ann@example.com", **material: Any
) -> AuthnResults:
    authors = material.pop("authors", (author,) if author else ())
    return zone.run(check_authentication(AuthnMaterial(authors, **material), spf, 0.0, trust))


def policy(text: str = "v=DMARC1; p=reject", domain: str = "example.com") -> Zone:
    return Zone().add(f"_dmarc.{domain}", "TXT", text.encode())


def weights(results: AuthnResults) -> dict[str, float]:
    return {sign.name: sign.weight for sign in build_signs(results, IP)}


def test_spf_proves_the_author():
    results = run(policy(), PASS)
    assert (results.dmarc, results.dmarc_domain, results.dmarc_policy) == ("pass", "example.com", "reject")
    assert results.authenticated == ("example.com",)
    assert weights(results) == {"spf-pass": 0.0, "dmarc-pass": pytest.approx(-0.2)}


@pytest.mark.parametrize(("asked", "weight"), [("reject", 3.0), ("quarantine", 2.0), ("none", 0.8)])
def test_a_fail_counts_as_the_domain_asks(asked: str, weight: float):
    results = run(policy(f"v=DMARC1; p={asked}"), FAIL)
    assert results.dmarc == "fail"
    found = weights(results)
    assert found == {"spf-fail": pytest.approx(1.2), f"dmarc-fail-{asked}": pytest.approx(weight)}
    (sign,) = (each for each in build_signs(results, IP) if each.method is Method.DMARC)
    assert "example.com" in sign.evidence
    assert f"«{asked}»" in sign.evidence


def test_without_a_policy_there_is_nothing_to_say():
    results = run(Zone(), FAIL)
    assert (results.dmarc, results.dmarc_policy) == ("none", "")
    assert set(weights(results)) == {"spf-fail"}


def test_several_authors_never_pass():
    both = policy().add("_dmarc.evil.example", "TXT", b"v=DMARC1; p=none")
    results = run(both, SpfResult("pass", "evil.example"), authors=("x@evil.example", "ann@example.com"))
    assert (results.dmarc, results.dmarc_domain, results.dmarc_policy) == ("fail", "example.com", "reject")
    results = run(policy(), PASS, authors=("ann@example.com", "x@other.example"))
    assert results.dmarc == "permerror"
    assert "other.example" in results.dmarc_reason
    results = run(policy(), PASS, authors=("ann@example.com", "bob@example.com"))
    assert results.dmarc == "pass"


def test_a_message_without_an_author_passes_nothing():
    assert run(policy(), PASS, author="").dmarc == "none"
    assert run(policy(), PASS, author="ann@[192.0.2.1]").dmarc == "none"


def test_silence_is_no_sign():
    zone = policy()
    zone.failing.add(("s._domainkey.example.com", ""))
    signature = SignatureMaterial("example.com", "s", "rsa-sha256", b"d", b"s", "@example.com", body_matches=True)
    results = run(zone, SpfResult("temperror", "example.org"), signatures=(signature,))
    assert (results.dkim[0].result, results.dmarc) == ("temperror", "temperror")
    assert build_signs(results, IP) == ()


def test_a_forwarded_mail_whose_author_is_proved_hardly_counts():
    forwarded = AuthnResults(
        spf="fail",
        spf_domain="list.example",
        dmarc="pass",
        dmarc_domain="example.com",
        dkim=(DkimResult("example.com", "s", "pass"),),
    )
    assert sum(weights(forwarded).values()) < 0.1
    assert sum(weights(AuthnResults(spf="softfail", spf_domain="a.example")).values()) == pytest.approx(0.5)


def test_a_broken_signature_alone_counts_nothing():
    assert weights(AuthnResults(dkim=(DkimResult("a.example", "s", "fail", "the body is not what was signed"),))) == {
        "dkim-fail": 0.0
    }


def test_a_signature_over_a_part_of_the_body_proves_nobody(monkeypatch: pytest.MonkeyPatch):
    def partly(*_: object):
        return (DkimResult("example.com", "s", "pass", "", partial=True),)
        yield

    monkeypatch.setattr("gatepost.authn.authentication.check_signatures", partly)
    results = run(policy())
    assert (results.dmarc, results.authenticated) == ("fail", ())


STATED = "mx.us.example; spf=pass smtp.mailfrom=ann@example.com; dkim=pass header.d=signer.example; dmarc=pass header.from=example.com"


def test_a_trusted_host_before_us_is_believed():
    trust = Trust(writers=frozenset({"mx.us.example"}))
    results = run(policy(), FAIL, trust, results=("other.example; dmarc=fail", STATED))
    assert (results.spf, results.spf_domain, results.dmarc, results.stated_by) == (
        "pass",
        "example.com",
        "pass",
        "mx.us.example",
    )
    assert results.authenticated == ("example.com", "signer.example")
    assert run(policy(), FAIL, results=(STATED,)).dmarc == "fail"
    elsewhere = STATED.replace("header.from=example.com", "header.from=other.example").replace("spf=pass", "spf=fail")
    assert run(policy(), FAIL, trust, results=(elsewhere,)).dmarc == "fail"


def test_only_the_topmost_field_of_a_trusted_host_counts():
    trust = Trust(writers=frozenset({"mx.us.example"}))
    results = run(policy(), FAIL, trust, results=("mx.us.example; dmarc=fail", STATED))
    assert results.dmarc == "fail"


def _sets(*sealers: str, says: str = "dmarc=pass header.from=example.com") -> tuple[ArcSet, ...]:
    def signed(domain: str) -> SignatureMaterial:
        return SignatureMaterial(domain, "s", "rsa-sha256", body_matches=True)

    return tuple(
        ArcSet(number + 1, "none", signed(domain), signed(domain), f"{domain}; {says if number == 0 else 'dmarc=fail'}")
        for number, domain in enumerate(sealers)
    )


@pytest.mark.parametrize(
    ("sealers", "trusted", "vouched"),
    [
        (("list.example",), {"list.example"}, "list.example"),
        (("list.example",), set(), ""),
        (("list.example", "next.example"), {"list.example", "next.example"}, "list.example"),
        (("evil.example", "list.example"), {"list.example"}, ""),
        (("list.example", "evil.example"), {"list.example"}, ""),
    ],
)
def test_a_trusted_sealer_vouches(
    monkeypatch: pytest.MonkeyPatch, sealers: tuple[str, ...], trusted: set[str], vouched: str
):
    monkeypatch.setattr("gatepost.authn.arc._refute", lambda *_: "")
    results = run(policy(), FAIL, Trust(sealers=frozenset(trusted)), arc=_sets(*sealers))
    assert (results.arc, results.arc_sealer, results.vouched) == ("pass", sealers[-1], vouched)
    assert results.trusted_arc == (sealers[-1] in trusted)
    assert results.dmarc == "fail"
    found = weights(results)
    assert found["dmarc-fail-reject"] == pytest.approx(0.0 if vouched else 3.0)
    assert ("arc-trusted" in found) == bool(vouched)


def test_a_broken_chain_vouches_for_nobody():
    results = run(policy(), FAIL, Trust(sealers=frozenset({"list.example"})), arc=_sets("list.example"))
    assert (results.arc, results.vouched) == ("fail", "")
    assert weights(results)["dmarc-fail-reject"] == pytest.approx(3.0)


def test_questions_can_be_asked_ahead():
    signature = SignatureMaterial("a.example", "s", "rsa-sha256", b"d", b"s", body_matches=True)
    spoiled = SignatureMaterial("b.example", "s", "rsa-sha256", error="no")
    material = AuthnMaterial(("ann@example.com",), (signature, spoiled), _sets("list.example"))
    ahead = foresee(material)
    assert set(ahead) == {
        Question(name, Record.TXT)
        for name in ("s._domainkey.a.example", "s._domainkey.list.example", "_dmarc.example.com")
    }
    zone = policy()
    zone.run(check_authentication(material, None, 0.0))
    assert set(ahead) <= set(zone.asked)


def test_the_helo_name_is_told_as_such():
    results = AuthnResults(spf="fail", spf_domain="mx.example.net", spf_helo=True)
    (sign,) = build_signs(results, IP)
    assert "HELO mx.example.net" in sign.evidence
    assert IP in sign.evidence
