"""The shipped rule set, and the hidden profile that follows it."""

from pathlib import Path

import msgspec
import pytest

from gatepost.config import profiles_samples
from gatepost.config.problem import Severity
from gatepost.config.profiles_check import check_rule_set
from gatepost.config.profiles_files import SHIPPED, build_files, read_rule_set
from gatepost.config.profiles_samples import choose_samples, find_useless
from gatepost.config.profiles_xml import read_xml_set
from gatepost.config.profiles_xml_writing import build_xml_set
from gatepost.model.profile import UPDATE_MARKER, Act, ConditionKind, Profile, RuleSet, Sample


def read(directory: Path) -> RuleSet:
    rules, problems = read_rule_set(directory)
    assert not problems, problems
    return rules


def write(directory: Path, rules: RuleSet) -> None:
    for name, text in build_files(rules).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_three_stages_are_there_and_marking_the_subject_is_what_is_done(tmp_path: Path) -> None:
    rules = read(tmp_path / "none")
    assert rules.hidden is not None
    assert [(ref.file, ref.active) for ref in rules.common] == [
        (f"detect-{level}{rbl}", (level, rbl) == ("standard", ""))
        for level in ("standard", "soft", "hard")
        for rbl in ("", "-no-rbl")
    ]
    assert {ref.file: ref.active for ref in rules.personal} == {
        "rcpt-root": False,
        "do-mark-subject": True,
        "do-mark-keywords": False,
        "do-archive": False,
        "do-archive-or-reject": False,
    }
    labels = {
        action.value
        for rule in rules.profiles["do-mark-subject"].rules
        for action in rule.actions
        if action.do is Act.HEADER_LABEL
    }
    assert labels == {"[!! SPAM]", "[!! Blacklisted]", "[?? Probable Spam]", "[--Formal Message--]", "[--Obscene--]"}


def test_each_detection_asks_in_the_documented_order() -> None:
    rules = read(SHIPPED)
    for name, profile in rules.profiles.items():
        if not name.startswith("detect-"):
            continue
        said = [action.value for rule in profile.rules for action in rule.actions if action.header.endswith("-Method")]
        kinds = [condition.test for rule in profile.rules for condition in rule.conditions]
        assert said[0] == "Local Lists", name
        assert said.index("Headers: Suspicious") < said.index("Content: Probable Spam"), name
        asks = ConditionKind.CLIENT_DNSBL in kinds
        assert asks is not name.endswith("-no-rbl"), name
        if asks:
            conditions = [condition for rule in profile.rules for condition in rule.conditions]
            lists = [each.value for each in conditions if each.test is ConditionKind.CLIENT_DNSBL]
            assert lists == ["premium", "reliable", "standard"], name


def test_nothing_of_it_is_asked_or_sent_elsewhere_before_somebody_says_so() -> None:
    rules = read(SHIPPED)
    assert not any(each.services for each in rules.dnsbl.values())
    active = [ref.file for ref in (*rules.common, *rules.personal) if ref.active]
    does = {action.do for file in active for rule in rules.profiles[file].rules for action in rule.actions}
    assert does <= {Act.HEADER_REPLACE, Act.HEADER_NEW, Act.HEADER_LABEL, Act.SKIP}


def test_the_shipped_set_survives_xml() -> None:
    rules = read(SHIPPED)
    found = read_xml_set(build_xml_set(rules, "koi8-r"))
    assert found.rules == rules
    assert not found.problems


@pytest.mark.feature("F-ASP-14")
def test_the_hidden_profile_follows_the_shipped_one_while_it_is_marked(tmp_path: Path) -> None:
    shipped = read(SHIPPED)
    assert shipped.hidden is not None
    assert shipped.hidden.comment.startswith(UPDATE_MARKER)
    older = Profile(name="Older", comment=f"{UPDATE_MARKER} of 2003")
    write(tmp_path, msgspec.structs.replace(shipped, hidden=older))
    assert read(tmp_path).hidden == shipped.hidden
    # Without the marker it is the administrator's, and stays.
    own = Profile(name="Own", comment="ours, based on ALLOW_UPDATES=yes")
    write(tmp_path, msgspec.structs.replace(shipped, hidden=own))
    assert read(tmp_path).hidden == own
    # And without one there is none.
    (tmp_path / "hidden.toml").unlink()
    assert read(tmp_path).hidden is None


WORDS = "you have won the great lottery of spain and we need your bank account number to send the prize to you today"


def test_samples_that_can_find_anything_are_chosen_and_the_others_are_told() -> None:
    mail = f"From: a@b.example\r\nSubject: won\r\n folded: line\r\n\r\n{WORDS}\r\n"
    samples = {
        "text": Sample(category="Spam/My_Own", text=WORDS),
        "mail": Sample(category="spam/fraud", text=mail),
        "list": Sample(category="other", text=f"note: no header\n\nas this line says\n\n{WORDS}"),
        "short": Sample(category="spam", text="buy now " * 100),
        "nameless": Sample(category="spam/a/b/c", text=WORDS),
    }
    found = choose_samples(samples)
    assert [(each.name, each.category) for each in found] == [
        ("text", "spam/my-own"),
        ("mail", "spam/fraud"),
        ("list", "other"),
    ]
    assert found[1].text.strip() == WORDS
    assert "as this line says" in found[2].text
    assert dict(find_useless(samples)) == {
        "short": "it is too short to be compared with mail",
        "nameless": "'spam/a/b/c' is no category",
    }
    problems = check_rule_set(RuleSet(samples=samples))
    assert [(problem.severity, problem.file) for problem in problems] == [
        (Severity.WARNING, "samples/short.toml"),
        (Severity.WARNING, "samples/nameless.toml"),
    ]


@pytest.mark.parametrize("limit", [{"SAMPLES_LIMIT": 2}, {"LETTERS_IN_ALL": 2 * len(WORDS) + 1}])
def test_samples_beyond_the_limits_are_left_out(monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]) -> None:
    for name, value in limit.items():
        monkeypatch.setattr(profiles_samples, name, value)
    samples = {str(number): Sample(category="spam", text=WORDS) for number in range(3)}
    assert [each.name for each in choose_samples(samples)] == ["0", "1"]
    assert [name for name, _ in find_useless(samples)] == ["2"]


def test_of_a_long_sample_the_beginning_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles_samples, "LETTERS_LIMIT", len(WORDS))
    (found,) = choose_samples({"long": Sample(category="spam", text=f"{WORDS} and more")})
    assert found.text == WORDS
