"""The emergency bypass in a relay: what it is for, and what is made of mail that nobody has looked at."""

from typing import Any

import msgspec
import pytest

from gatepost.config.load import load_text
from gatepost.control.bypass_order import Order
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.record import Bypassed, Scanned, SpamChecked
from gatepost.model.verdict import SpamEnd
from gatepost.notices.bypass_field import build_bypass_field
from gatepost.notices.scan_field import NO_BASES, build_scan_field
from gatepost.policy.group import GroupPolicy, GroupTable, scan_options
from gatepost.relay.bypass import Bypass
from gatepost.relay.disposal import Partition, judge_group
from gatepost.relay.editing import Editing, Wording
from gatepost.relay.verdict_records import build_checked
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentRef, State, Stored

NOW = 1_790_000_000.0
CONTENT = b"Subject: x\r\n\r\nbody\r\n"
CONFIG = """
[network]
hostname = "gw.example.org"
protected_domains = ["example.org"]
[policy]
block_message = ["infected"]
add_x_headers = true
black_list = ["enemy@example.com"]
white_list = ["!friend@example.com"]
action_blacklisted = ["delete"]
[[group]]
name = "sales"
recipients = ["sales@example.org"]
"""


def stored(sender: str = "a@example.com", **changes: Any) -> Stored:
    recipients = tuple(Recipient(f"{name}@example.org") for name in ("sales", "other"))
    envelope = Envelope(sender, recipients, Client("192.0.2.7"))
    whole = Stored(7, 7, State.WAITING, NOW, envelope, ContentRef(7, len(CONTENT), False), b"Received: x\r\n")
    return msgspec.structs.replace(whole, **changes)


def groups_of(message: Stored) -> Partition:
    config = load_text(CONFIG, "/etc/gatepost/gatepost.toml").config
    assert config is not None
    table = GroupTable.from_config(config.groups, config.ave, 60.0, ("example.org",), config.antispam)
    return table.partition(message.envelope.sender, [each.address for each in message.envelope.recipients])


def waived(message: Stored, wall: float = NOW, **order: Any) -> dict[str, GroupPolicy]:
    """Return the groups of a message under a bypass, by name."""
    ordered = Order(NOW, NOW + 60, 60, "engines are down", "root", **order)
    bypass = Bypass(ordered, lambda: 0.0, lambda: wall)
    return {group.name: group for group, _ in bypass.waive(message, groups_of(message))}


def test_nothing_is_looked_for_in_mail_that_passes() -> None:
    groups = waived(stored())
    assert scan_options(groups.values()) is None
    assert all("engines are down" in group.bypass for group in groups.values())


def test_it_is_for_the_groups_and_directions_it_names() -> None:
    only = waived(stored(), groups=("sales",))
    assert bool(only["sales"].bypass)
    assert not only["policy"].bypass
    assert scan_options(only.values()) is not None
    assert not any(group.bypass for group in waived(stored(), directions=(Direction.OUTBOUND,)).values())
    assert all(group.bypass for group in waived(stored(), directions=(Direction.INBOUND,)).values())


@pytest.mark.parametrize("changes", [{"kind": "released"}, {"kind": "notice"}, {"strikes": 1}])
def test_what_is_no_fresh_mail_is_looked_at_as_ever(changes: Any) -> None:
    assert not any(group.bypass for group in waived(stored(**changes)).values())


def test_when_its_time_is_over_mail_is_looked_at() -> None:
    assert not any(group.bypass for group in waived(stored(), wall=NOW + 60).values())


def test_it_is_recorded_as_not_scanned_and_as_nothing_better() -> None:
    message = stored()
    group = waived(message)["policy"]
    verdict = judge_group(group, None, message.envelope, NOW)
    assert verdict.statuses == ()
    assert not verdict.withheld
    scanned, bypassed = build_checked(message, group, 1, verdict, None, NOW)
    assert isinstance(scanned, Scanned)
    assert scanned.statuses == ("not_checked",)
    assert scanned.objects == ()
    assert isinstance(bypassed, Bypassed)
    assert bypassed.reason == "emergency bypass by root: engines are down"
    assert b"not_checked" in build_scan_field(NO_BASES, verdict, NOW)


def test_block_lists_count_and_allow_lists_mean_nothing() -> None:
    enemy = stored("enemy@example.com")
    group = waived(enemy)["policy"]
    verdict = judge_group(group, None, enemy.envelope, NOW)
    assert verdict.spam is not None
    assert verdict.spam.actions.end is SpamEnd.DELETE
    records = build_checked(enemy, group, 1, verdict, None, NOW)
    assert [type(record) for record in records].count(SpamChecked) == 1
    assert not any(isinstance(record, Bypassed) for record in records)
    friend = stored("friend@example.com")
    trusted = judge_group(waived(friend)["policy"], None, friend.envelope, NOW)
    assert trusted.spam is not None
    assert trusted.spam.status.value == "not_detected"
    assert not trusted.spam.checked
    assert "emergency bypass" in trusted.spam.info


def test_it_is_marked_in_front_of_everything() -> None:
    message = stored()
    group = waived(message)["policy"]
    editing = Editing()
    editing.configure(Wording(hostname="gw.example.org"))
    prefix = editing.in_front(Work(message, CONTENT), group, judge_group(group, None, message.envelope, NOW), None, NOW)
    assert prefix is not None
    assert prefix.startswith(b"Received: x\r\n" + build_bypass_field(NOW))
    assert build_bypass_field(NOW).startswith(b"X-Not-Scanned: ")
    plain = groups_of(message)[0][0]
    assert b"X-Not-Scanned" not in (
        editing.in_front(Work(message, CONTENT), plain, judge_group(plain, None, message.envelope, NOW), None, NOW)
        or b""
    )
