"""Rule sets as XML: what older servers wrote is read, what we write reads back equal, nothing is lost in silence."""

import enum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.problem import Severity
from gatepost.config.profiles_xml import Imported, read_xml_profile, read_xml_set
from gatepost.config.profiles_xml_reading import CODECS, DEPTH_LIMIT, FILE_LIMIT
from gatepost.config.profiles_xml_words import ACTIONS, CONDITIONS, LISTS
from gatepost.config.profiles_xml_writing import UnwritableError, build_xml_profile, build_xml_set
from gatepost.model.profile import (
    Act,
    Action,
    AddressList,
    Condition,
    ConditionKind,
    DnsList,
    DnsService,
    NetworkList,
    Profile,
    ProfileRef,
    Rule,
    RuleSet,
    RuleSettings,
    Sample,
)

DOCUMENTED = {
    "profiles.xml": """<?xml version="1.0" encoding="{encoding}"?>
<Profiles>
  <Common>
    <ProfileRef file="detect.xml" name="Определение" active="yes"/>
    <ProfileRef file="log.xml" active="no"/>
  </Common>
  <Personal><ProfileRef file="sales.xml" active="yes"/></Personal>
</Profiles>
""",
    "profiles/detect.xml": """<?xml version="1.0" encoding="{encoding}"?>
<Profile name="Определение" description="Проверка отправителей">
  <Comment>Правила отдела</Comment>
  <Rule>
    <Conditions>
      <IPFrom mask="10.0.0.0/8" not="yes"/>
      <!-- чужие сети -->
      <IPFromList list="foreign.xml"/>
      <IPFromDNSBlack list="rbl.xml"/>
      <IPFromNotInDNS/>
      <SMTPFrom email="@спам.example"/>
      <HeaderMatch header="Subject" regexp="выигр(ыш|али) &lt;\\d+&gt;"/>
      <SizeGreater kb="300"/>
    </Conditions>
    <Actions>
      <DoHeaderNew header="X-Status" value="СПАМ ${{CATEGORY}}"/>
      <DoRcptAdd new="a@corp.example;b@corp.example"/>
      <DoReject/>
    </Actions>
  </Rule>
</Profile>
""",
    "profiles/log.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<Profile name="l">'
    "<Rule><Actions><DoSyslog>строка</DoSyslog>"
    "</Actions></Rule></Profile>",
    "profiles/sales.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<Profile name="s" rcptlist="friends.xml"/>',
    "hidden/formal.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<!-- ALLOW_UPDATES=yes -->\n'
    '<Profile name="Заголовки"/>',
    "emails.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<EMails>'
    '<EMailListRef file="friends.xml" name="Друзья"/></EMails>',
    "emails/friends.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<EMailList name="Друзья" description="свои">'
    '<EMail address="a@b.example"/><EMail address="@c.example"/></EMailList>',
    "iplists.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<IPLists><IPListRef file="foreign.xml"/></IPLists>',
    "iplists/foreign.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<IPList name="Чужие"><IP mask="192.0.2.1"/>'
    '<IP mask="198.51.100.0/24"/></IPList>',
    "dnsblacklists.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<D>'
    '<DNSBlackListRef file="rbl.xml" name="RBL"/></D>',
    "dnsblacklists/rbl.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<DNSBlackList name="RBL">'
    '<Service zone="bl.example.net" description="Первый"/></DNSBlackList>',
    "samples.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<Samples>'
    '<SampleRef file="one.txt" category="spam/own"/></Samples>',
    "samples/one.txt": "Купите наши таблетки",
    "settings.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<Settings>'
    "<BounceMessage>\n  Письмо возвращено\n</BounceMessage>"
    '<RejectMessage text="Отказано"/></Settings>',
    "catlist.xml": '<?xml version="1.0" encoding="{encoding}"?>\n<Categories>'
    '<Category ID="spam/med" title="Лекарства"/></Categories>',
}


def documented(encoding: str) -> dict[str, bytes]:
    return {path: text.format(encoding=encoding).encode(CODECS[encoding]) for path, text in DOCUMENTED.items()}


def told(found: Imported) -> str:
    return "\n".join(map(str, found.problems))


@pytest.mark.feature("F-ASP-13")
@pytest.mark.parametrize("encoding", CODECS)
def test_the_documented_layout_loads_in_every_encoding_and_reads_back_equal(encoding: str) -> None:
    found = read_xml_set(documented(encoding))
    rules = found.rules
    assert rules is not None, told(found)
    assert rules.common == (ProfileRef(file="detect"), ProfileRef(file="log", active=False))
    assert rules.personal == (ProfileRef(file="sales"),)
    detect = rules.profiles["detect"]
    assert (detect.name, detect.description, detect.comment) == (
        "Определение",
        "Проверка отправителей",
        "Правила отдела",
    )
    assert detect.rules == (
        Rule(
            conditions=(
                Condition(test=ConditionKind.CLIENT_IP, value="10.0.0.0/8", negated=True),
                Condition(test=ConditionKind.CLIENT_LIST, value="foreign", comment="чужие сети"),
                Condition(test=ConditionKind.CLIENT_DNSBL, value="rbl"),
                Condition(test=ConditionKind.CLIENT_NOT_IN_DNS),
                Condition(test=ConditionKind.SENDER, value="@спам.example"),
                Condition(test=ConditionKind.HEADER_MATCHES, header="Subject", value=r"выигр(ыш|али) <\d+>"),
                Condition(test=ConditionKind.SIZE_OVER, number=300),
            ),
            actions=(
                Action(do=Act.HEADER_NEW, header="X-Status", value="СПАМ ${CATEGORY}"),
                Action(do=Act.RECIPIENT_ADD, addresses=("a@corp.example", "b@corp.example")),
                Action(do=Act.REJECT),
            ),
        ),
    )
    assert rules.profiles["log"].rules[0].actions == (Action(do=Act.LOG, value="строка"),)
    assert rules.profiles["sales"].recipient_list == "friends"
    assert rules.hidden == Profile(name="Заголовки", comment="ALLOW_UPDATES=yes")
    assert rules.emails == {
        "friends": AddressList(name="Друзья", description="свои", addresses=("a@b.example", "@c.example"))
    }
    assert rules.iplists == {"foreign": NetworkList(name="Чужие", networks=("192.0.2.1", "198.51.100.0/24"))}
    assert rules.dnsbl["rbl"].services == (DnsService(zone="bl.example.net", description="Первый"),)
    assert rules.samples == {"one": Sample(category="spam/own", text="Купите наши таблетки")}
    assert rules.settings == RuleSettings(reject_text="Отказано", bounce_text="Письмо возвращено")
    assert found.categories == (("spam/med", "Лекарства"),)
    for other in CODECS:
        again = read_xml_set(build_xml_set(rules, other))
        assert again.rules == rules, told(again)
        assert not again.problems


def test_what_an_encoding_has_no_byte_for_is_written_all_the_same() -> None:
    profile = Profile(name="日本語 ü", comment="↯", rules=(Rule(actions=(Action(do=Act.LOG, value="…→"),)),))
    raw = build_xml_profile(profile, "koi8-r")
    assert b"&#26085;" in raw
    assert read_xml_profile(raw, "x.xml") == (profile, ())


# Everything that a value can hold and XML can write.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12)
LINES = st.text(st.sampled_from("a <>&\"'\n\r\tя—]"), max_size=12)
WORDS = st.one_of(TEXT, LINES)
STEM = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,8}", fullmatch=True)
ADDRESS = st.from_regex(r"[a-z*]{1,5}@[a-z]{1,5}\.example", fullmatch=True)


def _value(kind: enum.Enum, members: tuple[tuple[str, str], ...], words: Any) -> Any:
    parts: dict[str, Any] = {"comment": words}
    for _, member in members:
        if member == "number":
            parts[member] = st.integers(0, 10**9 - 1)
        elif member == "addresses":
            parts[member] = st.lists(ADDRESS, min_size=1, max_size=3).map(tuple)
        else:
            parts[member] = STEM if kind in LISTS else words
    return parts


CONDITION = st.one_of(
    [
        st.builds(Condition, test=st.just(kind), negated=st.booleans(), **_value(kind, word.attributes, WORDS))
        for kind, word in CONDITIONS.items()
    ]
)
ACTION = st.one_of(
    [st.builds(Action, do=st.just(act), **_value(act, word.attributes, WORDS)) for act, word in ACTIONS.items()]
)
RULE = st.builds(
    Rule,
    comment=WORDS,
    conditions=st.lists(CONDITION, max_size=2).map(tuple),
    actions=st.lists(ACTION, max_size=2).map(tuple),
)
PROFILE = st.one_of(
    st.builds(Profile, name=WORDS, description=WORDS, comment=WORDS, rules=st.lists(RULE, max_size=2).map(tuple)),
    st.builds(Profile, comment=WORDS.map("ALLOW_UPDATES=yes".__add__), recipient_list=STEM),
    st.builds(Profile, name=WORDS, recipients=st.lists(ADDRESS, max_size=2).map(tuple)),
)


def named(**parts: Any) -> dict[str, Any]:
    return {"name": WORDS, "description": WORDS, "comment": WORDS, **parts}


LINE = WORDS.map(str.strip)
SETS = st.builds(
    lambda profiles, common, personal, **rest: RuleSet(
        profiles=profiles,
        common=tuple(ref for ref in common if ref.file in profiles),
        personal=tuple(
            [msgspec.structs.replace(ref, file=file) for ref, file in zip(personal, profiles, strict=False)]
        ),
        **rest,
    ),
    profiles=st.dictionaries(STEM, PROFILE, max_size=3),
    common=st.lists(st.builds(ProfileRef, file=STEM, active=st.booleans(), comment=WORDS), max_size=2),
    personal=st.lists(st.builds(ProfileRef, file=STEM, active=st.booleans(), comment=WORDS), max_size=2),
    hidden=st.none() | PROFILE,
    emails=st.dictionaries(
        STEM, st.builds(AddressList, **named(addresses=st.lists(LINE, max_size=2).map(tuple))), max_size=2
    ),
    iplists=st.dictionaries(
        STEM, st.builds(NetworkList, **named(networks=st.lists(LINE, max_size=2).map(tuple))), max_size=2
    ),
    dnsbl=st.dictionaries(
        STEM,
        st.builds(
            DnsList,
            **named(services=st.lists(st.builds(DnsService, zone=LINE, description=WORDS), max_size=2).map(tuple)),
        ),
        max_size=2,
    ),
    samples=st.dictionaries(STEM, st.builds(Sample, category=STEM, description=WORDS, text=WORDS), max_size=2),
    settings=st.builds(RuleSettings, reject_text=WORDS, bounce_text=WORDS),
)


@settings(max_examples=12, deadline=None)
@given(rules=SETS, encoding=st.sampled_from(sorted(CODECS)))
def test_any_set_reads_back_equal(rules: RuleSet, encoding: str) -> None:
    found = read_xml_set(build_xml_set(rules, encoding))
    assert found.rules == rules, told(found)
    assert list(found.rules.emails) == list(rules.emails)
    assert not [problem for problem in found.problems if "in no order" not in problem.what]


@pytest.mark.feature("F-ASP-14")
def test_the_marker_of_updates_is_read_in_front_of_the_file_and_in_the_comment() -> None:
    for text in (
        "<!--ALLOW_UPDATES=yes--><Profile/>",
        "<Profile><Comment>ALLOW_UPDATES=yes</Comment></Profile>",
        '<?xml version="1.0"?>\n<!-- ALLOW_UPDATES=yes -->\n<Profile><Comment>ours</Comment></Profile>',
    ):
        profile, _ = read_xml_profile(text.encode(), "hidden/formal.xml")
        assert profile is not None
        assert profile.comment.startswith("ALLOW_UPDATES=yes"), text
    profile, _ = read_xml_profile(b"<!-- not ALLOW_UPDATES=yes --><Profile/>", "hidden/formal.xml")
    assert profile is not None
    assert not profile.comment.startswith("ALLOW_UPDATES")


PROFILE_TEXT = "<Profile><Rule><Conditions>{}</Conditions><Actions>{}</Actions></Rule></Profile>"


@pytest.mark.parametrize(
    ("conditions", "actions", "why"),
    [
        ("<IPFromMars/>", "", "no condition"),
        ("", "<DoExplode/>", "no action"),
        ("<IPFrom/>", "", "lacks mask="),
        ('<SizeGreater kb="big"/>', "", "no whole number"),
        ('<SizeGreater kb="99999999999"/>', "", "no whole number"),
        ('<IPFrom mask="1.2.3.4" unless="7"/>', "", "unless= is not known"),
        ('<IPFrom mask="1.2.3.4"><Or/></IPFrom>', "", "<Or> is not known"),
        ('<IPFrom mask="1.2.3.4" not="perhaps"/>', "", "neither yes nor no"),
        ('<SMTPFromList list="../../etc/passwd"/>', "", "no name of a file"),
        ("", '<DoHeaderAdd header="X"/>', "lacks value="),
    ],
)
def test_what_would_make_a_rule_say_something_else_is_an_error(conditions: str, actions: str, why: str) -> None:
    raw = PROFILE_TEXT.format(conditions, actions).encode()
    profile, problems = read_xml_profile(raw, "profiles/x.xml")
    assert profile is None
    assert any(why in str(problem) and problem.severity is Severity.ERROR and problem.line for problem in problems)


@pytest.mark.parametrize(
    ("path", "text", "lost"),
    [
        ("profiles/x.xml", '<Profile colour="red"/>', "red"),
        ("profiles/x.xml", "<Profile>loose words</Profile>", "loose words"),
        ("profiles/x.xml", "<Profile><Window/></Profile>", "<Window>"),
        ("profiles.xml", "<!-- about all --><Profiles/>", "about all"),
        ("profiles.xml", "<Profiles><Secret/></Profiles>", "<Secret>"),
        ("emails/x.xml", '<EMailList><EMail address="a@b.c" since="1999"/></EMailList>', "1999"),
        ("notes.doc", "x", "notes.doc"),
        ("catlist.xml", "<Categories/>", "databases"),
    ],
)
def test_what_has_no_place_is_named(path: str, text: str, lost: str) -> None:
    found = read_xml_set({"settings.xml": b"<Settings/>", path: text.encode()})
    assert found.rules is not None
    assert lost in told(found)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><Profile>&a;</Profile>", "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Profile/>', "document type"),
        (b"<Profile>&undefined;</Profile>", "not XML"),
        (b"<Profile", "not XML"),
        (b"", "not XML"),
        (b"<Rules/>", "begins with <Rules>"),
        (b'<?xml version="1.0" encoding="utf-7"?><Profile/>', "utf-7"),
        ("<Profile/>".encode("utf-16"), "UTF-16"),
        (b"<Profile name='\xff'/>", "0xff"),
        (b"<a>" * (DEPTH_LIMIT + 1), "within each other"),
        (b"<Profile>" + b" " * FILE_LIMIT + b"</Profile>", "longer than"),
        (b"<Profile " + b" ".join(b"a%d=''" % n for n in range(40)) + b"/>", "attributes"),
        (b"<Profile name='a' Name='b'/>", "twice"),
    ],
)
def test_what_is_no_rule_file_is_refused(raw: bytes, why: str) -> None:
    profile, problems = read_xml_profile(raw, "profiles/x.xml")
    assert profile is None
    assert why in str(problems[0])


@pytest.mark.parametrize(("elements", "read"), [(100, True), (101, False), (5000, False)])
def test_elements_are_counted(elements: int, read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.config.profiles_xml_reading.ELEMENTS_LIMIT", 100)
    profile, problems = read_xml_profile(b"<Profile>" + b"<Rule/>" * (elements - 1) + b"</Profile>", "x.xml")
    assert (profile is not None) is read
    assert read or "more than 100 elements" in str(problems[0])


def test_files_that_are_missing_and_nothing_at_all() -> None:
    found = read_xml_set({"profiles.xml": b'<Profiles><Common><ProfileRef file="a.xml"/></Common></Profiles>'})
    assert found.rules is None
    assert "profiles/a.xml is missing" in told(found)
    assert read_xml_set({}).rules is None


def test_characters_that_xml_cannot_hold_are_told() -> None:
    with pytest.raises(UnwritableError, match=r"U\+0001"):
        build_xml_profile(Profile(comment="\x01"))
    with pytest.raises(UnwritableError, match="list of addresses"):
        build_xml_profile(Profile(recipients=('"a;b"@c.example',)))
    with pytest.raises(ValueError, match="none of"):
        build_xml_set(RuleSet(), "ebcdic")


def test_every_condition_and_action_has_a_word() -> None:
    assert set(CONDITIONS) == set(ConditionKind)
    assert set(ACTIONS) == set(Act)
