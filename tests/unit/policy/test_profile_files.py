"""Rule sets as files: what is built reads back equal, every fault has its place, nothing that files hold raises."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.gateway import run_here

from gatepost.config import profiles_check, profiles_trial
from gatepost.config.load import load_text
from gatepost.config.profiles_check import check_rule_set
from gatepost.config.profiles_files import SHIPPED, build_files, read_rule_set
from gatepost.config.profiles_patterns import PATTERN_LIMIT, TEXT_LIMIT, Patterns
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

K = ConditionKind
LETTER = """Buy now, while there is still some of it left for friends of the house:
six garden chairs, two long tables, a green parasol with its foot, and all the cushions
that belong to them, at a price our neighbours will envy you for until autumn comes again.
"""
SOUND = RuleSet(
    hidden=Profile(name="Hidden", comment="ours"),
    common=(ProfileRef(file="gate"),),
    personal=(ProfileRef(file="mine", active=False, comment='a "note"'),),
    profiles={
        "gate": Profile(
            name="Gate ü\n",
            description="two\nlines",
            rules=(
                Rule(
                    comment="why",
                    conditions=(
                        Condition(test=K.HEADER_MATCHES, header="Subject", value=r"^\s*'offer' \\ \x41", negated=True),
                        Condition(test=K.SIZE_OVER, number=3, comment="large"),
                        Condition(test=K.SENDER_LIST, value="friends"),
                    ),
                    actions=(
                        Action(do=Act.RECIPIENT_ADD, addresses=("a@b.example", "${SMTP_FROM}")),
                        Action(do=Act.SKIP),
                    ),
                ),
            ),
        ),
        "mine": Profile(name="Mine", recipient_list="friends"),
        "unused": Profile(name="Unused", recipients=("x@y.example", "@z.example")),
    },
    emails={"zz": AddressList(name="z"), "friends": AddressList(name="f", addresses=("a@b.example", "@c.example"))},
    iplists={"near": NetworkList(name="n", networks=("10.0.0.0/8", "2001:db8::1"))},
    dnsbl={"bad": DnsList(name="b", services=(DnsService(zone="bl.example", description="d"),))},
    samples={"one": Sample(category="spam/own", text=LETTER)},
    settings=RuleSettings(reject_text="no"),
)


def write(directory: Path, rules: RuleSet) -> Path:
    for name, text in build_files(rules).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def test_a_set_reads_back_equal_with_its_order(tmp_path: Path) -> None:
    read, problems = read_rule_set(write(tmp_path, SOUND))
    assert read == SOUND
    assert not problems
    assert list(read.emails) == ["zz", "friends"]


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    place = tmp_path_factory.mktemp("rules")
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    written = RuleSet(profiles={"p": Profile(name="P", description=text, comment=text + "\\'")})
    assert read_rule_set(write(place, written))[0] == written


def faults(rules: RuleSet) -> list[str]:
    return [f"{problem.file} | {problem.name} | {problem.what}" for problem in check_rule_set(rules)]


def with_expressions(*texts: str) -> RuleSet:
    conditions = (Condition(test=K.HEADER_MATCHES, header="x", value=text) for text in texts)
    rules = tuple(Rule(conditions=(each,), actions=(Action(do=Act.SKIP),)) for each in conditions)
    return RuleSet(common=(ProfileRef(file="p"),), profiles={"p": Profile(name="P", rules=rules)})


def with_rule(rule: Rule) -> RuleSet:
    return RuleSet(
        common=(ProfileRef(file="p"),),
        profiles={"p": Profile(name="P", rules=(Rule(actions=(Action(do=Act.SKIP),)), rule))},
    )


def test_expressions_that_take_for_ever_hold_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles_trial, "COMPILE_S", 1)
    begun = time.process_time()
    (fault,) = faults(with_expressions(r"fine{1,3}", r"é(\w|\W|\d){1,200}", "[a-z]{2}"))
    assert "to compile: 'é(" in fault
    assert time.process_time() - begun < 5  # it was minutes


def test_expressions_are_dear_together_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles_check, "count_in_time", lambda groups: len(groups) - 1)
    (fault,) = faults(with_expressions("a{1,3}", "plain", "ü"))
    assert "'a{1,3}' and others about its field" in fault
    monkeypatch.undo()
    assert faults(with_expressions("a{1,3}", "plain", "ü")) == []


LONG = "x" * 600


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (Condition(test=K.CLIENT_IP, value="10.0.0.0/33"), "not an address"),
        (Condition(test=K.CLIENT_LIST, value="none"), "no list iplists/none.toml"),
        (Condition(test=K.CLIENT_DNSBL, value="none"), "no list dnsbl/none.toml"),
        (Condition(test=K.SENDER_LIST, value="none"), "no list emails/none.toml"),
        (Condition(test=K.RECIPIENT_LIST, value="none"), "no list emails/none.toml"),
        (Condition(test=K.SENDER, value="no address"), "no address"),
        (Condition(test=K.RECIPIENT, value=""), "no address"),
        (Condition(test=K.HEADER_EXISTS, header="a b"), "no name of a header field"),
        (Condition(test=K.HEADER_MATCHES, header="x", value="(?=a)"), "cannot be used"),
        (Condition(test=K.HEADER_MATCHES, header="x", value=r"(a)\1"), "cannot be used"),
        (Condition(test=K.HEADER_MATCHES, header="x", value="a" * (PATTERN_LIMIT + 1)), "cannot be used"),
        (Condition(test=K.SIZE_OVER, number=-1), "no size"),
        (Condition(test=K.SIZE_OVER), "every message is larger than 0 KB"),
        (Condition(test=K.CATEGORY, value="a//b"), "no category"),
        (Condition(test=K.STATUS, value="spamish"), "no status"),
        (Condition(test=K.RATE_OVER, number=101), "no rating"),
        (Condition(test=K.METHOD, value=" "), "no method"),
        (Condition(test=K.OBSCENE, value="x"), "value says nothing"),
        (Condition(test=K.SENDER, value="a@b", header="x"), "header says nothing"),
    ],
    ids=lambda each: each.test if isinstance(each, Condition) else "",
)
def test_a_faulty_condition_is_named_with_its_place(condition: Condition, says: str) -> None:
    [told] = faults(with_rule(Rule(conditions=(condition,), actions=(Action(do=Act.SKIP),))))
    assert told.startswith("profiles/p.toml | profile 'P', rule 2, condition 1 | ")
    assert says in told


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (Action(do=Act.ACCEPT, value="x"), "value says nothing"),
        (Action(do=Act.RECIPIENT_ADD), "addresses are needed"),
        (Action(do=Act.RECIPIENT_ADD, addresses=("*@x.example",)), "no address"),
        (Action(do=Act.RECIPIENT_REPLACE, addresses=("${CATEGORY}",)), "no address"),
        (Action(do=Act.RECIPIENT_DELETE, addresses=("${SMTP_FROM}",)), "no address"),
        (Action(do=Act.HEADER_DELETE, header=""), "no name"),
        (Action(do=Act.HEADER_DELETE, header="Content-Type"), "how the message is to be read"),
        (Action(do=Act.HEADER_NEW, header="Mime-Version", value="2"), "how the message is to be read"),
        (Action(do=Act.HEADER_NEW, header="x", value="a\r\nBcc: y"), "not one line"),
        (Action(do=Act.HEADER_NEW, header="x", value=LONG), "not one line"),
        (Action(do=Act.HEADER_NEW, header="x", value="${SMTP_FROM}"), "no macro"),
        (Action(do=Act.HEADER_LABEL, header="x", value="l" * 101), "longer than 100 bytes"),
        (Action(do=Act.LOG, value=" "), "no text"),
    ],
    ids=lambda each: each.do if isinstance(each, Action) else "",
)
def test_a_faulty_action_is_named_with_its_place(action: Action, says: str) -> None:
    [told] = faults(with_rule(Rule(actions=(action,))))
    assert told.startswith("profiles/p.toml | profile 'P', rule 2, action 1 | ")
    assert says in told


def test_what_is_behind_an_end_is_a_warning_and_no_error() -> None:
    [problem] = check_rule_set(with_rule(Rule(actions=(Action(do=Act.REJECT), Action(do=Act.LOG, value="x")))))
    assert problem.severity == "warning"


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (RuleSet(common=(ProfileRef(file="none"),)), "there is no profile profiles/none.toml"),
        (RuleSet(common=(ProfileRef(file="../x"),)), "no name of a profile's file"),
        (
            RuleSet(common=(ProfileRef(file="p"),), personal=(ProfileRef(file="p"),), profiles={"p": Profile(name="P")}),
            "has a place already",
        ),
        (
            RuleSet(common=(ProfileRef(file="p"),), profiles={"p": Profile(name="P", recipients=("a@b",))}),
            "has no recipients of its own",
        ),
        (RuleSet(profiles={"p": Profile(name="P", recipients=("a@b",), recipient_list="l")}, emails={"l": AddressList()}), "recipients and a list"),
        (RuleSet(profiles={"p": Profile(name=" ")}), "no name"),
        (RuleSet(profiles={"p": Profile(name="P", recipient_list="l")}), "no list emails/l.toml"),
        (RuleSet(emails={"l": AddressList(addresses=("a b",))}), "no address"),
        (RuleSet(iplists={"l": NetworkList(networks=("host",))}), "not an address"),
        (RuleSet(dnsbl={"l": DnsList(services=(DnsService(zone="zone"),))}), "no zone"),
        (RuleSet(settings=RuleSettings(reject_text="")), "a text of 1 to"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)  # fmt: skip
def test_what_does_not_fit_together_is_named(rules: RuleSet, says: str) -> None:
    [told] = faults(rules)
    assert says in told


@pytest.mark.parametrize(
    ("file", "raw", "says"),
    [
        ("profiles/gate.toml", b'name = "P"\n[[rule]]\nthen = [{ do = "fly" }]\n', "rule 1, action 1, do"),
        (
            "profiles/gate.toml",
            b'name = "P"\n[[rule]]\nif = [{ test = "sender", valeu = "x" }]\n',
            "rule 1, condition 1",
        ),
        ("profiles/gate.toml", b"name = \n", "not TOML"),
        ("profiles/gate.toml", b"\xff\xfe", "not UTF-8"),
        ("profiles/gate.toml", b"x = " + b"[" * 5_000, "not TOML"),
        ("profiles.toml", b'emails = ["none"]\n', "there is no emails/none.toml"),
        ("emails/a b.toml", b"", "the file's name is none"),
        ("settings.toml", b"reject_text = 3\n", "Expected `str`"),
    ],
)
def test_a_faulty_file_is_named_and_nothing_raises(tmp_path: Path, file: str, raw: bytes, says: str) -> None:
    place = write(tmp_path, SOUND)
    (place / file).write_bytes(raw)
    _, problems = read_rule_set(place)
    told = [str(problem) for problem in problems]
    assert any(says in each and file.partition("/")[0] in each for each in told), told


def test_without_a_directory_the_shipped_set_is_read_and_it_is_sound(tmp_path: Path) -> None:
    rules, problems = read_rule_set(tmp_path / "none")
    assert not problems
    assert rules == read_rule_set(SHIPPED)[0]
    assert rules.common


def test_a_fault_of_the_set_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    write(tmp_path / "rules", SOUND)
    text = f'[network]\nhostname = "gw.example.org"\n[profiles]\nenabled = true\npath = "{tmp_path}/rules"\n'
    loaded = load_text(text, "x.toml")
    assert loaded.config is not None
    assert loaded.config.rule_set == SOUND
    (tmp_path / "rules" / "emails" / "friends.toml").unlink()
    assert load_text(text, "x.toml").config is None
    off = load_text(text.replace("enabled = true", "enabled = false"), "x.toml").config
    assert off is not None
    assert off.rule_set == RuleSet()


def test_expressions_are_matched_on_the_beginning_of_a_value_only() -> None:
    patterns = Patterns({7: "end$", 9: "ÄPFEL", 11: "^a"})
    assert patterns.match("the END") == {7}
    assert patterns.match("äpfel") == {9}
    assert patterns.match("a" * TEXT_LIMIT + "end") == {11}
    assert patterns.match("\ud800") == frozenset()


def test_check_and_explain_by_command(tmp_path: Path) -> None:
    place = write(tmp_path, SOUND)
    told = run_here("rules", "check", "--directory", str(place))
    assert told.returncode == 0
    assert "1 common and 0 personal profiles in force with 1 rules" in told.stdout
    words = run_here("rules", "explain", "--directory", str(place)).stdout
    assert "IF Subject does not match ^" in words
    assert "THEN add the recipients a@b.example, ${SMTP_FROM}" in words
    assert words.index("hidden profile Hidden") < words.index("common profile Gate")
    assert "Mine" not in words
    (place / "profiles" / "gate.toml").write_text('name = "P"\n[[rule]]\nthen = [{ do = "fly" }]\n')
    broken = run_here("rules", "check", "--directory", str(place), "--json")
    assert broken.returncode == 66
    assert "rule 1, action 1" in broken.stdout
    assert run_here("rules", "explain", "--directory", str(place)).returncode == 66
