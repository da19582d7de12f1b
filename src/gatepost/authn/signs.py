"""What results of authentication say of spam: signs with weights in log-odds, and evidence in words.

Called by the relay's lookup. A failed signature says next to nothing: mailing lists break them. A pass is a fact:
spammers sign, too. What the author's own domain asks for (DMARC) counts most.
"""

from collections.abc import Iterator

from gatepost.model.authn import AuthnResults
from gatepost.model.spam import Method, Sign

SPF_FAIL_WEIGHT = 1.2
SPF_SOFTFAIL_WEIGHT = 0.5
SPF_PERMERROR_WEIGHT = 0.2
AUTHOR_PROVED_SHARE = 0.2
"""Of the weight of an SPF fail when DMARC passes: the mail was forwarded, and its author is who he says."""
DMARC_FAIL_WEIGHTS = {"reject": 3.0, "quarantine": 2.0, "none": 0.8}
DMARC_PASS_WEIGHT = -0.2


def build_signs(results: AuthnResults, client_ip: str) -> tuple[Sign, ...]:
    """Return the signs of one message."""
    return (*_spf_signs(results, client_ip), *_dkim_signs(results), *_arc_signs(results), *_dmarc_signs(results))


def _spf_signs(results: AuthnResults, client_ip: str) -> Iterator[Sign]:
    share = AUTHOR_PROVED_SHARE if results.dmarc == "pass" or results.vouched else 1.0
    domain, reason = results.spf_domain, results.spf_reason
    who = f"HELO {domain}" if results.spf_helo else domain
    match results.spf:
        case "fail":
            told = f"{client_ip} may not send mail for {who}, says that domain's SPF policy ({reason})"
            yield Sign(Method.SPF, "spf-fail", told, SPF_FAIL_WEIGHT * share)
        case "softfail":
            told = f"{client_ip} should not send mail for {who}, says that domain's SPF policy ({reason})"
            yield Sign(Method.SPF, "spf-softfail", told, SPF_SOFTFAIL_WEIGHT * share)
        case "permerror":
            yield Sign(Method.SPF, "spf-error", f"the SPF policy of {who} is broken: {reason}", SPF_PERMERROR_WEIGHT)
        case "pass":
            yield Sign(Method.SPF, "spf-pass", f"{client_ip} may send mail for {who} (SPF)")


def _dkim_signs(results: AuthnResults) -> Iterator[Sign]:
    passed = [each.domain for each in results.dkim if each.result == "pass"]
    if passed:
        yield Sign(Method.DKIM, "dkim-pass", f"signed by {', '.join(dict.fromkeys(passed))} (DKIM)")
        return
    for each in results.dkim:
        if each.result not in ("pass", "temperror"):
            told = f"the DKIM signature of {each.domain or 'nobody'} does not count: {each.reason}"
            yield Sign(Method.DKIM, "dkim-fail", told)
            return


def _arc_signs(results: AuthnResults) -> Iterator[Sign]:
    if results.vouched:
        yield Sign(Method.ARC, "arc-trusted", f"{results.vouched}, which is trusted, saw DMARC pass (ARC)")
    elif results.arc == "pass":
        yield Sign(
            Method.ARC, "arc-pass", f"sealed by {results.arc_sealer} (ARC), which is not trusted to vouch for it"
        )
    elif results.arc == "fail":
        yield Sign(Method.ARC, "arc-fail", "the chain of ARC seals is broken")


def _dmarc_signs(results: AuthnResults) -> Iterator[Sign]:
    domain, policy = results.dmarc_domain, results.dmarc_policy
    if results.dmarc == "pass":
        yield Sign(Method.DMARC, "dmarc-pass", f"really of {domain} (DMARC: {results.dmarc_reason})", DMARC_PASS_WEIGHT)
    elif results.dmarc == "fail":
        weight = 0.0 if results.vouched else DMARC_FAIL_WEIGHTS.get(policy, 0.0)
        told = f"claims to be of {domain}, which nothing proves; that domain asks for «{policy}» (DMARC)"
        yield Sign(Method.DMARC, f"dmarc-fail-{policy}", told, weight)
