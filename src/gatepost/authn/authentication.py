"""All of authentication for one message: DKIM, ARC, what trusted hosts state, and DMARC over it.

`check_authentication` is an `Inquiry`; called by the relay when the filter's material is there, with the result of SPF,
which needs the envelope only and so began before.
"""

import msgspec

from gatepost.authn.arc import ArcResult, check_chain
from gatepost.authn.dkim import check_signatures, key_name
from gatepost.authn.dmarc import DmarcResult, Proved, check_dmarc
from gatepost.authn.dmarc_record import POLICIES
from gatepost.authn.question import Inquiry, Question, Record
from gatepost.authn.results import Results, parse_results
from gatepost.authn.spf import SpfResult
from gatepost.model.authn import AuthnMaterial, AuthnResults

AUTHORS_LIMIT = 3
"""Author domains whose policy is asked for: honest mail has one."""
STATED_LIMIT = 10
"""Fields that are read for one of a trusted host."""
_SPF_RESULTS = frozenset({"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"})


class Trust(msgspec.Struct, frozen=True):
    """Whom the configuration trusts; all in lower case."""

    sealers: frozenset[str] = frozenset()
    """Domains of ARC seals (`d=`)."""
    writers: frozenset[str] = frozenset()
    """authserv-ids of hosts of ours in front of us."""


NOBODY = Trust()


def check_authentication(
    material: AuthnMaterial,
    spf: SpfResult | None,
    now: float,
    trust: Trust = NOBODY,
    *,
    null_sender: bool = False,
    unchecked: str = "",
) -> Inquiry[AuthnResults]:
    """Check what a message brings along. `now`: Unix time.

    `spf`: None when SPF was not checked; then `unchecked` is the domain that it might have proved.
    """
    dkim = yield from check_signatures(material.signatures, now)
    arc = yield from check_chain(material.arc, material.arc_error)
    stated = _find_stated(material.results, trust)
    if stated is not None:
        spf = _read_spf(stated) or spf
    passed = dict.fromkeys(each.domain for each in dkim if each.result == "pass" and not each.partial)
    if stated is not None:
        passed.update(dict.fromkeys(_stated_signers(stated)))
    spf_domain = spf.domain if spf is not None and spf.result == "pass" else ""
    unknown = [each.domain for each in dkim if each.result == "temperror"]
    if spf is None or spf.result == "temperror":
        unknown.append(unchecked if spf is None else spf.domain)
    dmarc = yield from _check_authors(material.authors, Proved(spf_domain, tuple(passed), tuple(unknown)))
    if stated is not None and dmarc.result != "pass" and _states_pass(stated, dmarc.domain):
        dmarc = DmarcResult("pass", dmarc.domain, dmarc.policy, f"stated by {stated.writer}")
    return AuthnResults(
        spf="" if spf is None else spf.result,
        spf_domain="" if spf is None else spf.domain,
        spf_reason="" if spf is None else _tell(spf),
        dkim=dkim,
        dmarc=dmarc.result,
        dmarc_domain=dmarc.domain,
        dmarc_policy=dmarc.policy,
        dmarc_reason=dmarc.reason,
        arc=arc.result,
        arc_sealer=arc.sealer,
        trusted_arc=arc.result == "pass" and arc.sealer in trust.sealers,
        authenticated=tuple(dict.fromkeys((*((spf_domain,) if spf_domain else ()), *passed))),
        spf_helo=null_sender,
        stated_by="" if stated is None else stated.writer,
        vouched=_find_voucher(material, arc, trust, dmarc.domain),
    )


def _tell(spf: SpfResult) -> str:
    return f"{spf.reason}; the domain says: {spf.explanation}" if spf.explanation else spf.reason


def foresee(material: AuthnMaterial) -> tuple[Question, ...]:
    """Return questions that `check_authentication` is going to ask, as far as they are known before any answer."""
    keys = [key_name(each) for each in material.signatures if each.body_matches and not each.error]
    if material.arc and not material.arc_error:
        keys += [key_name(material.arc[-1].message), *(key_name(each.seal) for each in material.arc)]
    policies = [f"_dmarc.{domain}" for domain in _author_domains(material.authors)[:AUTHORS_LIMIT]]
    return tuple(Question(name, Record.TXT) for name in dict.fromkeys((*keys, *policies)))


def _author_domains(authors: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(each.rpartition("@")[2] for each in authors))


def _check_authors(authors: tuple[str, ...], proved: Proved) -> Inquiry[DmarcResult]:
    """Check every author's domain. Several never pass: readers may show any of them (RFC 9989 §4.9)."""
    domains = _author_domains(authors)
    if not domains:
        return DmarcResult("none", "", reason="no author")
    results = []
    for domain in domains[:AUTHORS_LIMIT]:
        results.append((yield from check_dmarc(domain, proved)))  # noqa: PERF401 - no generator yields from a list
    if len(domains) == 1:
        return results[0]
    failed = [each for each in results if each.result == "fail"]
    if failed:
        return max(failed, key=lambda each: POLICIES.index(each.policy))
    uncertain = next((each for each in results if each.result == "temperror"), None)
    if uncertain is not None:
        return uncertain
    told = f"{len(domains)} domains of authors: {', '.join(domains[:AUTHORS_LIMIT])}"
    return DmarcResult("permerror" if any(each.policy for each in results) else "none", domains[0], reason=told)


def _find_stated(fields: tuple[str, ...], trust: Trust) -> Results | None:
    """Return the topmost field by a host we trust: those below may have come with the message."""
    if not trust.writers:
        return None
    for text in fields[:STATED_LIMIT]:
        results = parse_results(text)
        if results.writer in trust.writers:
            return results
    return None


def _read_spf(stated: Results) -> SpfResult | None:
    spf = stated.find("spf")
    if spf is None or spf.result not in _SPF_RESULTS:
        return None
    named = next((spf.properties[name] for name in _SPF_NAMES if name in spf.properties), "")
    return SpfResult(spf.result, named.rpartition("@")[2].lower(), f"stated by {stated.writer}")


_SPF_NAMES = ("smtp.mailfrom", "smtp.mfrom", "smtp.helo")


def _stated_signers(stated: Results) -> list[str]:
    signers = []
    for each in stated.statements:
        if each.method == "dkim" and each.result == "pass":
            named = each.properties.get("header.d") or each.properties.get("header.i", "")
            signers.append(named.rpartition("@")[2].lower())
    return [each for each in signers if each]


def _states_pass(stated: Results, domain: str) -> bool:
    """Whether results say that DMARC passed for this author domain, or do not say for which."""
    dmarc = stated.find("dmarc")
    if dmarc is None or dmarc.result != "pass":
        return False
    named = dmarc.properties.get("header.from", domain)
    return named.rpartition("@")[2].lower() == domain


def _find_voucher(material: AuthnMaterial, arc: ArcResult, trust: Trust, domain: str) -> str:
    """Return the newest sealer that saw DMARC pass, with only trusted ones behind it; "" for none (RFC 8617 §7.2.1)."""
    if arc.result != "pass":
        return ""
    for each in reversed(material.arc):
        if each.seal.domain not in trust.sealers:
            return ""
        if _states_pass(parse_results(each.results), domain):
            return each.seal.domain
    return ""
