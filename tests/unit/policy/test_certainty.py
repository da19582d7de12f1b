"""What is spam beyond doubt: first-hand signs of several methods, and no group that thinks otherwise."""

import msgspec
import pytest

from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.config.services import Antispam
from gatepost.model.authn import AuthnMaterial, AuthnResults
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method, NetworkFacts, Sign, SpamFacts
from gatepost.policy.certainty import is_certain_spam, is_certainly_wanted
from gatepost.policy.group import GroupPolicy

SENDER = "sender@example.net"
ENVELOPE = Envelope(SENDER, (Recipient("user@example.org"),), Client("192.0.2.1"), direction=Direction.INBOUND)


def group(**settings: object) -> GroupPolicy:
    return GroupPolicy.from_config(Group(**settings), Ave(), 60.0, antispam=Antispam())  # type: ignore[arg-type]


def sign(method: Method, weight: float) -> Sign:
    return Sign(method, "some-sign", "seen", weight)


TEXT, HEADERS, LISTED = sign(Method.CONTENT, 5.0), sign(Method.HEADERS, 4.0), sign(Method.DNSBL, 4.0)


def certain(*signs: Sign, groups: tuple[GroupPolicy, ...] = (), envelope: Envelope = ENVELOPE, **facts: object) -> bool:
    network = NetworkFacts(authn=AuthnResults(spf="pass", spf_domain="example.net"))
    analysis = Analysis((), spam=SpamFacts(signs=signs, **facts), network=network)  # type: ignore[arg-type]
    return is_certain_spam(analysis, envelope, groups or (group(),), 0.0)


def test_clear_signs_of_two_methods_are_certain() -> None:
    assert certain(TEXT, HEADERS)
    assert not certain(TEXT, sign(Method.HEADERS, 2.5)), "99 percent are not enough"


def test_signs_of_the_network_count() -> None:
    network = NetworkFacts(signs=(LISTED,))
    analysis = Analysis((), spam=SpamFacts(signs=(TEXT,)), network=network)
    assert is_certain_spam(analysis, ENVELOPE, [group()], 0.0)
    assert not is_certain_spam(msgspec.structs.replace(analysis, network=None), ENVELOPE, [group()], 0.0)


def test_one_method_alone_is_never_certain() -> None:
    assert not certain(sign(Method.CONTENT, 20.0)), "as a test message"
    assert not certain(TEXT, TEXT, sign(Method.HEADERS, 1.0))


@pytest.mark.parametrize("method", [Method.LEARNED, Method.UDS, Method.REPUTATION])
def test_opinions_count_for_nothing(method: Method) -> None:
    assert not certain(TEXT, sign(method, 8.0))


def test_what_some_group_takes_for_something_else_is_not_certain() -> None:
    trusting = group(white_list=(SENDER,))
    assert certain(TEXT, HEADERS, groups=(group(), group()))
    assert not certain(TEXT, HEADERS, groups=(group(), trusting))
    assert not certain(TEXT, HEADERS, groups=(group(), group(check_spam=False)))
    assert not certain(TEXT, HEADERS, groups=(group(use_content=False),))


def test_only_whole_mail_from_outside_that_no_machine_answers() -> None:
    assert not certain(TEXT, HEADERS, envelope=msgspec.structs.replace(ENVELOPE, direction=Direction.OUTBOUND))
    assert not certain(TEXT, HEADERS, trouble="a part was not read")
    assert not certain(TEXT, HEADERS, formal="bounce")


def wanted(*signs: Sign, policy: GroupPolicy | None = None, dmarc: str = "pass", **facts: object) -> bool:
    network = NetworkFacts(
        signs=signs, authn=AuthnResults(spf="pass", spf_domain="example.net", dmarc=dmarc, dmarc_domain="example.net")
    )
    spam = SpamFacts(authn=AuthnMaterial(authors=(SENDER,)), **facts)  # type: ignore[arg-type]
    return is_certainly_wanted(Analysis((), spam=spam, network=network), ENVELOPE, [policy or group()], 0.0)


GOOD, KNOWN = sign(Method.LEARNED, -2.0), sign(Method.REPUTATION, -0.5)


def test_wanted_is_what_known_and_proved_people_write() -> None:
    listing = group(white_list=(SENDER,))
    assert wanted(GOOD, KNOWN)
    assert wanted(GOOD, policy=listing)
    assert not wanted(GOOD), "nobody knows him"
    assert not wanted(KNOWN), "not rated low enough"
    assert not wanted(GOOD, KNOWN, dmarc="fail"), "nothing proves him"
    assert not wanted(GOOD, KNOWN, policy=group(black_list=(SENDER,)))
    assert not wanted(GOOD, KNOWN, policy=group(check_spam=False))
    assert not wanted(sign(Method.LEARNED, -6.0), KNOWN, sign(Method.CONTENT, 2.0)), "a clear sign of spam"
    assert not wanted(GOOD, KNOWN, formal="bounce")
    assert not wanted(GOOD, KNOWN, trouble="not all was read")
