"""Spam verdicts: precedence, levels, methods, lists, flags, and what follows from them."""

import itertools

import msgspec
import pytest

from gatepost.config.gateway import Ave
from gatepost.config.grouping import SPAM_ACTIONS, Group
from gatepost.config.sender_entry import parse_sender_entry
from gatepost.config.services import Antispam, Preset
from gatepost.config.spam_actions import find_contradiction
from gatepost.model.authn import AuthnMaterial, AuthnResults
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method, NetworkFacts, Sign, SpamFacts, SpamStatus
from gatepost.model.verdict import SpamEnd, SpamVerdict
from gatepost.notices.spam_fields import build_spam_fields
from gatepost.policy.group import GroupPolicy, GroupTable, scan_options
from gatepost.policy.spam import decide_spam, withheld_from_all
from gatepost.policy.spam_settings import LEVELS, build_actions, group_id

SENDER = "sender@example.net"
ENVELOPE = Envelope(SENDER, (Recipient("user@example.org"),), Client("192.0.2.1"))
STATUS = SpamStatus


def group(antispam: Antispam | None = None, **settings: object) -> GroupPolicy:
    return GroupPolicy.from_config(Group(**settings), Ave(), 60.0, antispam=antispam or Antispam())  # type: ignore[arg-type]


def sign(weight: float, method: Method = Method.CONTENT, detail: str = "") -> Sign:
    return Sign(method, f"sign-{weight}", "seen", weight, detail)


def judge(
    *signs: Sign,
    policy: GroupPolicy | None = None,
    network: NetworkFacts | None = None,
    envelope: Envelope = ENVELOPE,
    **facts: object,
) -> SpamVerdict:
    spam = SpamFacts(signs=signs, **facts)  # type: ignore[arg-type]
    verdict = decide_spam(Analysis((), spam=spam, network=network), envelope, policy or group())
    assert verdict is not None
    return verdict


# --- ratings and levels


@pytest.mark.feature("F-ASR-02")
def test_a_borderline_mail_changes_its_status_with_the_level() -> None:
    expected = {
        "minimum": STATUS.NOT_DETECTED,
        "standard": STATUS.PROBABLE_SPAM,
        "high": STATUS.PROBABLE_SPAM,
        "maximum": STATUS.SPAM,
    }
    found = {level: judge(sign(4.0), policy=group(spam_level=level)) for level in LEVELS}
    assert {level: verdict.status for level, verdict in found.items()} == expected
    assert {verdict.rate for verdict in found.values()} == {73}


@pytest.mark.parametrize(("older", "level"), [("soft", "minimum"), ("standard", "standard"), ("hard", "high")])
def test_older_words_are_levels(older: str, level: str) -> None:
    spam = group(spam_level=older).spam
    assert (spam.spam_at, spam.probable_at) == LEVELS[level]


def test_a_rating_is_spam_from_its_threshold_on() -> None:
    for weight, status in ((5.1, STATUS.PROBABLE_SPAM), (5.2, STATUS.SPAM), (3.3, STATUS.NOT_DETECTED)):
        assert judge(sign(weight)).status is status
    assert judge().rate == 5
    assert judge(sign(50)).rate == 100
    assert judge(sign(50), policy=group(spam_level="minimum")).status is STATUS.SPAM


@pytest.mark.feature("F-ASR-03")
def test_probable_spam_can_be_switched_off_and_detection_too() -> None:
    for weight in range(-10, 20):
        assert judge(sign(weight), policy=group(assign_probable_spam=False)).status is not STATUS.PROBABLE_SPAM
    off = group(check_spam=False)
    verdict = judge(sign(50), policy=off)
    assert verdict.status is STATUS.TRUSTED
    assert b"X-SpamTest-Status: Trusted\r\n" in build_spam_fields(off.spam.fields, verdict, SENDER)
    assert off.scan.spam is None


# --- precedence


def test_each_status_beats_those_behind_it() -> None:
    """All orders of what may come together: the first of the precedence wins."""
    lists = Antispam(white_list=("!sender@example.net",), black_list=("192.0.2.1/32",))
    listed = NetworkFacts(dnsbl_sum=101, dnsbl=("bl.example",))
    causes = ("white", "black", "dnsbl", "spam", "formal")
    statuses = dict(
        zip(causes, (STATUS.TRUSTED, STATUS.BLACKLISTED, STATUS.BLACKLISTED, STATUS.SPAM, STATUS.FORMAL), strict=True)
    )
    for present in itertools.product((False, True), repeat=len(causes)):
        have = {cause for cause, here in zip(causes, present, strict=True) if here}
        policy = group(
            msgspec.structs.replace(
                lists,
                white_list=lists.white_list if "white" in have else (),
                black_list=lists.black_list if "black" in have else (),
            )
        )
        verdict = judge(
            *([sign(9)] if "spam" in have else []),
            policy=policy,
            network=listed if "dnsbl" in have else None,
            formal="bounce" if "formal" in have else "",
        )
        expected = next((statuses[cause] for cause in causes if cause in have), STATUS.NOT_DETECTED)
        assert verdict.status is expected, have


@pytest.mark.feature("F-AS-04")
@pytest.mark.parametrize(
    ("total", "status"), [(60, STATUS.NOT_DETECTED), (100, STATUS.NOT_DETECTED), (120, STATUS.BLACKLISTED)]
)
def test_ratings_of_dnsbl_blacklist_above_a_hundred(total: int, status: STATUS) -> None:
    network = NetworkFacts(signs=(sign(1.6, Method.DNSBL),), dnsbl_sum=total, dnsbl=("a.example", "b.example"))
    verdict = judge(network=network)
    assert verdict.status is status
    assert verdict.methods == (Method.DNSBL,)
    assert judge(network=network, policy=group(use_dnsbl=False)).methods == ()


# --- lists


@pytest.mark.feature("F-AS-01")
def test_listed_as_white_is_trusted_and_nothing_else_counts() -> None:
    for entry, method in (("192.0.2.0/24", Method.WHITE_IP), ("!@example.net", Method.WHITE_EMAIL)):
        verdict = judge(sign(50), policy=group(Antispam(white_list=(parse_sender_entry(entry).text,))), obscene=True)
        assert (verdict.status, verdict.methods, verdict.signs) == (STATUS.TRUSTED, (method,), ())
        assert verdict.actions.end is SpamEnd.DELIVER
        assert not verdict.labels


def test_a_received_field_makes_nobody_trusted() -> None:
    verdict = judge(policy=group(white_list=("198.51.100.0/24",)), hops=("198.51.100.9",))
    assert verdict.status is STATUS.NOT_DETECTED


@pytest.mark.feature("F-AS-02")
def test_listed_as_black_is_blacklisted_by_sender_author_client_and_hop() -> None:
    for entry, method in (
        ("sender@example.net", Method.BLACK_EMAIL),
        ("author@*", Method.BLACK_EMAIL),
        ("192.0.2.1/32", Method.BLACK_IP),
        ("198.51.100.0/24", Method.BLACK_IP),
    ):
        verdict = judge(
            policy=group(black_list=(entry,)),
            hops=("", "198.51.100.9"),
            authn=AuthnMaterial(authors=("author@other.example",)),
        )
        assert (verdict.status, verdict.methods) == (STATUS.BLACKLISTED, (method,))
        assert verdict.labels == ("[!! Blacklisted]",)
        assert entry in verdict.reason


@pytest.mark.feature("F-AS-03")
def test_lists_of_a_group_are_that_groups_only() -> None:
    assert judge(policy=group(black_list=(SENDER,))).status is STATUS.BLACKLISTED
    assert judge(policy=group()).status is STATUS.NOT_DETECTED
    assert judge(policy=group(Antispam(black_list=(SENDER,)))).status is STATUS.BLACKLISTED
    assert judge(policy=group(Antispam(black_list=(SENDER,)), use_lists=False)).status is STATUS.NOT_DETECTED


SIGNED = AuthnResults(authenticated=("example.net",))
SENT = AuthnResults(spf="pass", spf_domain="example.net", authenticated=("example.net",))
PASSED = AuthnResults(dmarc="pass", dmarc_domain="example.net")


@pytest.mark.parametrize(
    ("authn", "authors", "trusted"),
    [
        (AuthnResults(), (), False),
        (AuthnResults(spf="fail", spf_domain="example.net"), (), False),
        (SENT, (), True),
        (SENT, (SENDER, "b@example.net"), True),
        (msgspec.structs.replace(SENT, spf_domain="other.example"), (), False),
        (msgspec.structs.replace(SENT, spf_helo=True), (), False),
        # A signature of a provider's is under the mail of all its customers, and says nothing of the envelope.
        (SIGNED, (), False),
        (SIGNED, ("someone-else@example.net",), False),
        (SIGNED, (SENDER, "someone-else@example.net"), False),
        (SIGNED, (SENDER,), True),
        (AuthnResults(authenticated=("net",)), (SENDER,), True),
        (AuthnResults(authenticated=("other.example",)), (SENDER,), False),
        (AuthnResults(authenticated=("ple.net",)), (SENDER,), False),
        (AuthnResults(authenticated=("sub.example.net",)), (SENDER,), False),
        (PASSED, (SENDER,), True),
        (PASSED, ("someone-else@example.net",), False),
        (AuthnResults(dmarc="pass", dmarc_domain="other.example"), (SENDER,), False),
    ],
)
def test_an_allowed_address_is_trusted_when_it_is_proved_only(
    authn: AuthnResults, authors: tuple[str, ...], trusted: bool
) -> None:
    policy = group(white_list=(SENDER,))
    verdict = judge(policy=policy, network=NetworkFacts(authn=authn), authn=AuthnMaterial(authors=authors))
    assert verdict.status is (STATUS.TRUSTED if trusted else STATUS.NOT_DETECTED)
    if not trusted:
        assert "nothing proves" in verdict.info
        assert SENDER in verdict.info


@pytest.mark.parametrize(
    "authors", [("boss@white.example", "x@evil.example"), ("x@evil.example", "boss@white.example")]
)
def test_a_second_author_proves_nobody(authors: tuple[str, ...]) -> None:
    sent = AuthnResults(spf="pass", spf_domain="evil.example", authenticated=("evil.example", "white.example"))
    envelope = msgspec.structs.replace(ENVELOPE, sender="x@evil.example")
    policy = group(white_list=("boss@white.example",))
    facts = AuthnMaterial(authors=authors)
    verdict = judge(policy=policy, network=NetworkFacts(authn=sent), envelope=envelope, authn=facts)
    assert verdict.status is STATUS.NOT_DETECTED


def test_our_own_network_need_not_prove_its_senders() -> None:
    for envelope in (
        msgspec.structs.replace(ENVELOPE, direction=Direction.INTERNAL),
        msgspec.structs.replace(ENVELOPE, client=Client("192.0.2.1", user="someone")),
    ):
        assert judge(policy=group(white_list=(SENDER,)), envelope=envelope).status is STATUS.TRUSTED


# --- methods


SWITCHES = {
    "use_headers": Method.HEADERS,
    "use_content": Method.CONTENT,
    "use_learned": Method.LEARNED,
    "use_images": Method.IMAGES,
    "use_dnsbl": Method.DNSBL,
    "use_reverse_dns": Method.REVERSE_DNS,
    "use_spf": Method.SPF,
    "use_authentication": Method.DMARC,
    "use_surbl": Method.SURBL,
    "use_uds": Method.UDS,
    "use_reputation": Method.REPUTATION,
}


@pytest.mark.feature("F-GRP-07")
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_method_that_is_off_in_one_group_does_not_count_there(switch: str) -> None:
    method = SWITCHES[switch]
    signs = (sign(3.4, method), sign(3.3, Method.ARC if method is Method.HEADERS else Method.HEADERS))
    asked = Antispam(filter_uds_enabled=True)
    seen = {}
    for name, policy in (("default", group(asked)), ("own", group(asked, **{switch: False}))):
        verdict = judge(*signs, policy=policy)
        fields = build_spam_fields(policy.spam.fields, verdict, SENDER)
        seen[name] = (verdict.rate, f"X-SpamTest-Method: {method.value}\r\n".encode() in fields)
    assert seen == {"default": (98, True), "own": (57, False)}


def test_methods_come_heaviest_first_and_what_speaks_against_spam_is_not_among_them() -> None:
    verdict = judge(sign(1.0), sign(2.0, Method.HEADERS, "Headers: Suspicious From"), sign(-1.0, Method.LEARNED))
    assert verdict.methods == (Method.HEADERS, Method.CONTENT)
    assert verdict.details == ("Headers: Suspicious From",)


@pytest.mark.feature("F-AS-21")
def test_an_eastern_encoding_counts_where_it_is_suspicious() -> None:
    allowed = judge(eastern=("korean",))
    suspicious = judge(eastern=("korean",), policy=group(eastern_korean="suspicious"))
    other = judge(eastern=("korean",), policy=group(eastern_thai="suspicious"))
    assert [each.status for each in (allowed, suspicious, other)] == [
        STATUS.NOT_DETECTED,
        STATUS.PROBABLE_SPAM,
        STATUS.NOT_DETECTED,
    ]
    assert suspicious.details == ("Headers: Eastern Codepage",)


# --- flags and what was not looked at


def test_obscene_words_are_a_flag_and_a_label_where_that_is_wanted() -> None:
    assert judge(obscene=True).obscene
    assert judge(obscene=True).labels == ()
    marked = judge(sign(9), policy=group(mark_obscene=True), obscene=True)
    assert marked.labels == ("[!! SPAM]", "[--Obscene--]")
    blocked = judge(policy=group(action_obscene=("block",)), obscene=True)
    assert (blocked.status, blocked.withheld) == (STATUS.NOT_DETECTED, True)


def test_probable_spam_about_seminars_has_a_label_of_its_own() -> None:
    assert judge(sign(4), categories=("business/seminars",)).labels == ("[?? Seminars etc.]",)
    assert judge(sign(9), categories=("business/seminars",)).labels == ("[!! SPAM]",)


def test_mail_nobody_could_look_at_is_not_processed() -> None:
    for analysis in (None, Analysis(())):
        verdict = decide_spam(analysis, ENVELOPE, group())
        assert verdict is not None
        assert (verdict.status, verdict.info) == (STATUS.NOT_DETECTED, "Not processed")


def test_without_anti_spam_there_is_no_verdict() -> None:
    policy = GroupPolicy.from_config(Group(), Ave(), 60.0)
    assert decide_spam(None, ENVELOPE, policy) is None
    assert decide_spam(None, ENVELOPE, group(check_spam=False, spam_headers=False)) is None


def test_only_recipients_of_ours_are_protected() -> None:
    table = GroupTable.from_config([Group()], Ave(), 60.0, ("example.org",), Antispam())
    ((mine, _),) = table.partition(SENDER, ["a@example.org"])
    ((mixed, _),) = table.partition(SENDER, ["b@elsewhere.example", "a@example.org"])
    ((others, _),) = table.partition(SENDER, ["b@elsewhere.example"])
    assert scan_options([mine]) == scan_options([mixed])
    options = scan_options([others])
    assert options is not None
    assert options.spam is None
    verdict = decide_spam(None, ENVELOPE, others)
    assert verdict is not None
    assert (verdict.info, verdict.checked) == ("Not protected", False)


def test_the_filter_looks_for_what_any_group_wants() -> None:
    groups = [group(use_content=False), group(use_images=False, check=False), group(check_spam=False)]
    options = scan_options(groups)
    assert options is not None
    assert options.spam is not None
    assert (options.spam.content, options.spam.images, options.spam.uds) == (True, True, False)
    none = scan_options([group(check_spam=False)])
    assert none is not None
    assert none.spam is None


# --- actions


def test_actions_become_values() -> None:
    assert build_actions(
        ("copyto:a@b.example", "mark", "redirect:c@d.example", "quarantine")
    ) == msgspec.structs.replace(
        build_actions(()),
        end=SpamEnd.REDIRECT,
        mark=True,
        quarantine=True,
        copies=("a@b.example",),
        redirect=("c@d.example",),
    )
    assert build_actions(("pass",)) == build_actions(())


@pytest.mark.parametrize(
    "actions",
    [
        ("block", "reject"),
        ("delete", "redirect:a@b.example"),
        ("pass", "mark"),
        ("pass", "block"),
        ("block", "mark"),
        ("delete", "quarantine"),
        ("delete", "copyto:a@b.example"),
        ("reject", "copyto:a@b.example"),
    ],
)
def test_what_contradicts_itself_is_told(actions: tuple[str, ...]) -> None:
    assert find_contradiction(actions)


@pytest.mark.parametrize(
    "actions",
    [
        (),
        ("pass",),
        ("mark", "quarantine", "copyto:a@b.example"),
        ("block", "quarantine"),
        ("reject", "quarantine"),
        ("redirect:a@b.example", "mark"),
        ("block", "copyto:a@b.example", "mark"),
        ("pass", "copyto:a@b.example"),
        ("keywords", "mark"),
        ("delete",),
    ],
)
def test_what_fits_together_is_taken(actions: tuple[str, ...]) -> None:
    assert not find_contradiction(actions)


def test_the_stronger_end_holds_when_two_things_are_found() -> None:
    policy = group(action_spam=("redirect:a@b.example",), action_obscene=("delete",))
    assert judge(sign(9), policy=policy, obscene=True).actions.end is SpamEnd.DELETE
    assert not judge(sign(9), policy=policy, obscene=True).actions.redirect
    assert judge(sign(9), policy=policy).actions.redirect == ("a@b.example",)


@pytest.mark.parametrize("status", ["spam", "probable_spam", "formal", "blacklisted"])
def test_a_list_of_statuses_adds_to_the_actions(status: str) -> None:
    policy = group(save_in_quarantine=(status,), black_list=("bad@x.example",))
    bad = msgspec.structs.replace(ENVELOPE, sender="bad@x.example")
    verdicts = {
        "spam": judge(sign(9), policy=policy),
        "probable_spam": judge(sign(4), policy=policy),
        "formal": judge(policy=policy, formal="vacation"),
        "blacklisted": judge(policy=policy, envelope=bad),
        "not_detected": judge(policy=policy),
    }
    assert [name for name, verdict in verdicts.items() if verdict.actions.quarantine] == [status]


def test_nobody_gets_it_when_every_group_withholds_it() -> None:
    blocking, marking = group(action_spam=("block",)), group()
    analysis = Analysis((), spam=SpamFacts(signs=(sign(9),)))
    assert withheld_from_all(analysis, ENVELOPE, [blocking, blocking], 0.0)
    assert not withheld_from_all(analysis, ENVELOPE, [blocking, marking], 0.0)
    assert not withheld_from_all(analysis, ENVELOPE, [group(check_spam=False, spam_headers=False)], 0.0)


def test_presets_say_which_stage_comes_first() -> None:
    found = {}
    for preset in Preset:
        options = group(Antispam(preset=preset)).scan.spam
        assert options is not None
        found[preset] = (options.order, options.first)
    assert found == {
        Preset.SPEED: ("spam-first", True),
        Preset.RECOMMENDED: ("spam-first", False),
        Preset.PROTECTION: ("virus-first", False),
    }


def test_group_ids_have_eight_digits_and_stay() -> None:
    assert group_id("policy") == "00000000"
    for name in ("staff", "Отдел", "a" * 500):
        assert len(group_id(name)) == 8
        assert group_id(name).isdigit()
        assert group_id(name) == group_id(name) != group_id("policy")


def test_every_action_parameter_is_used() -> None:
    for name in SPAM_ACTIONS:
        spam = group(**{name: ("delete",)}).spam
        ends = [each.end for each in (*spam.actions.values(), spam.obscene)]
        assert ends.count(SpamEnd.DELETE) == 1, name
