"""Shadows: what they would have done, from the analysis that was made anyway, and what they may not ask for."""

from collections.abc import Sequence

import pytest

from gatepost.config.load import Loaded, load_text
from gatepost.config.schema import Config
from gatepost.control.bypass_order import Order
from gatepost.master.what_if import describe_shadow
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus, Span
from gatepost.model.record import Shadowed
from gatepost.model.spam import Method, Sign, SpamFacts
from gatepost.policy.group import GroupPolicy, GroupTable, scan_options
from gatepost.policy.shadow import ShadowTable
from gatepost.relay.bypass import Bypass
from gatepost.relay.disposal import judge_group
from gatepost.relay.shadowing import build_shadowed
from gatepost.spool.interface import ContentRef, State, Stored

NOW = 1_790_000_000.0
BASE = """
[network]
hostname = "gw.example.org"
protected_domains = ["example.org"]
[policy]
use_dnsbl = false
[[group]]
name = "sales"
recipients = ["sales@example.org"]
include_by_name = ["*.exe"]
"""


def read(shadows: str) -> Loaded:
    return load_text(BASE + shadows, "/etc/gatepost/gatepost.toml")


def shadow(*settings: str, more: str = "") -> str:
    told = ", ".join(f"'{each}'" for each in settings)
    return f'[[shadow]]\nname = "trial"\nsettings = [{told}]\n{more}\n'


def configured(text: str) -> Config:
    loaded = read(text)
    assert loaded.config is not None, loaded.problems
    return loaded.config


def stored(recipient: str = "someone@example.org", kind: str = "") -> Stored:
    envelope = Envelope("a@example.com", (Recipient(recipient),), Client("192.0.2.7"))
    return Stored(7, 7, State.WAITING, NOW, envelope, ContentRef(7, 100, False), b"", kind=kind)


def spam(weight: float, *objects: ObjectReport) -> Analysis:
    parts = objects or (ObjectReport(-1, ObjectKind.PART, ObjectStatus.CLEAN),)
    return Analysis(parts, spam=SpamFacts((Sign(Method.CONTENT, "term", "a word", weight),)))


def part(status: ObjectStatus, name: str) -> ObjectReport:
    return ObjectReport(-1, ObjectKind.PART, status, name, whole=Span(10, 90), body=Span(20, 90))


def shadows_of(config: Config, message: Stored, analysis: Analysis | None, now: float = NOW) -> Sequence[Shadowed]:
    """Return what a relay records of the shadows of one message's only group."""
    table = ShadowTable.from_config(config.shadows, config.ave, 60.0, config.antispam)
    assert table is not None
    group = live_group(config, message)

    def judge(each: GroupPolicy) -> object:
        return judge_group(each, analysis, message.envelope, now)

    verdict = judge_group(group, analysis, message.envelope, now)
    return build_shadowed(table, message, group, 1, verdict, analysis, now, judge)  # type: ignore[arg-type]


def live_group(config: Config, message: Stored) -> GroupPolicy:
    groups = GroupTable.from_config(config.groups, config.ave, 60.0, ("example.org",), config.antispam)
    [(group, _)] = groups.partition("a@example.com", [message.envelope.recipients[0].address])
    return group


def test_a_threshold_that_decides_otherwise_is_told() -> None:
    config = configured(shadow("spam_level = maximum", "action_probable_spam = block"))
    [record] = shadows_of(config, stored(), spam(3.0))
    assert (record.shadow, record.group, record.changed) == ("trial", "policy", True)
    assert "deliver" in record.was
    assert "block as spam" in record.would


def test_what_comes_out_the_same_is_told_as_such() -> None:
    config = configured(shadow("spam_level = maximum"))
    [record] = shadows_of(config, stored(), spam(-5.0))
    assert not record.changed
    assert record.was == record.would == "deliver"


def test_object_filters_are_tried_where_there_are_none_yet() -> None:
    config = configured(shadow("include_by_name = *.iso", "action_filtered = remove", more='groups = ["policy"]'))
    iso = spam(-5.0, part(ObjectStatus.CLEAN, "setup.iso"))
    [record] = shadows_of(config, stored(), iso)
    assert record.changed
    assert record.would == "deliver, remove 1"
    [other] = shadows_of(config, stored(), spam(-5.0, part(ObjectStatus.CLEAN, "text.txt")))
    assert not other.changed


def test_another_action_on_objects_is_a_change() -> None:
    config = configured(shadow("block_message = infected"))
    [record] = shadows_of(config, stored(), spam(-5.0, part(ObjectStatus.INFECTED, "a.exe")))
    assert record.changed
    assert record.was == "deliver, placeholder 1"
    assert record.would == "block for its objects"


def test_lists_of_a_shadow_count_for_it_alone() -> None:
    config = configured(shadow("black_list = a@example.com", "action_blacklisted = delete"))
    [record] = shadows_of(config, stored(), spam(-5.0))
    assert record.changed
    assert record.would == "delete as spam (blacklisted)"


def test_a_shadow_is_for_its_groups_and_until_its_day() -> None:
    config = configured(shadow("spam_level = maximum", more='groups = ["sales"]\nuntil = "2026-09-30"'))
    assert len(shadows_of(config, stored("sales@example.org"), spam(1.0))) == 1
    assert shadows_of(config, stored(), spam(1.0)) == []
    assert shadows_of(config, stored("sales@example.org"), spam(1.0), NOW + 40 * 86400) == []


def test_what_was_spared_the_scan_is_not_judged_as_scanned() -> None:
    config = configured(shadow("action_spam = mark") + "")
    analysis = Analysis((), spam=SpamFacts((Sign(Method.CONTENT, "term", "a word", 50.0),)), spared=True)
    [record] = shadows_of(config, stored(), analysis)
    assert record.changed
    assert record.would.startswith("scan")


def test_a_message_that_nobody_looks_at_has_no_shadow() -> None:
    config = configured(shadow("spam_level = maximum"))
    table = ShadowTable.from_config(config.shadows, config.ave, 60.0, config.antispam)
    assert table is not None
    order = Order(NOW, NOW + 60, 60, "x", "root")
    message = stored()
    bypass = Bypass(order, lambda: 0.0, lambda: NOW)
    [(group, _)] = bypass.waive(message, [(live_group(config, message), (0,))])
    assert list(table.shadows_of(group, NOW)) == []
    assert scan_options([group]) is None


@pytest.mark.parametrize("settings", ["spam_level = maximum", "include_by_name = *.iso", "use_spf = no"])
def test_no_shadow_changes_what_is_looked_at(settings: str) -> None:
    config = configured(shadow(settings, more='groups = ["policy"]'))
    table = ShadowTable.from_config(config.shadows, config.ave, 60.0, config.antispam)
    assert table is not None
    group = live_group(config, stored())
    for _, other in table.shadows_of(group, NOW):
        assert other.spam.methods <= group.spam.methods
        assert scan_options([group]) == scan_options([live_group(configured(""), stored())])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (shadow("use_dnsbl = yes"), "use_dnsbl: group sales does not look at that"),
        (shadow("include_by_name = *.iso"), "group sales filters already"),
        (shadow("spam_levl = high"), "is not `parameter = value` of a group"),
        (shadow("spam_level = hgh"), "unknown word 'hgh'"),
        (shadow("spam_level"), "is not `parameter = value` of a group"),
        (shadow("name = x"), "is not `parameter = value` of a group"),
        (shadow("placeholder_template = /etc/passwd"), "files have no part"),
        (shadow("spam_level = high", "SpamLevel = low"), "is given twice"),
        (shadow("action_spam = delete, quarantine"), "delete leaves nothing"),
        (shadow("spam_level = high", more='groups = ["sale"]'), "there is no group 'sale'"),
        (shadow("spam_level = high", more='until = "tomorrow"'), "is no day"),
        (shadow("spam_level = high") * 2, "is given twice"),
        (shadow("spam_level = high").replace("trial", "Tri al"), "at most 32"),
        ('[[shadow]]\nname = "x"\n', "required parameter is missing"),
        ("".join(shadow("spam_level = high").replace("trial", f"t{n}") for n in range(17)), "17 shadows: 16"),
    ],
)
def test_what_a_shadow_cannot_tell_is_refused(text: str, says: str) -> None:
    loaded = read(text)
    assert loaded.config is None
    assert any(says in str(problem) for problem in loaded.errors), loaded.errors


def test_the_edit_that_makes_it_real_is_shown() -> None:
    config = configured(shadow("spam_level = maximum"))
    told = describe_shadow(config.shadows[0], config.groups, {"shadow_trial_checked": 9, "shadow_trial_changed": 2})
    assert (told["checked"], told["changed"], told["finding"]) == (9, 2, "shadow:trial")
    assert [(each["section"], each.get("item"), each["name"], each["value"]) for each in told["edits"]] == [
        ("group", 0, "spam_level", "maximum"),
        ("policy", None, "spam_level", "maximum"),
    ]
