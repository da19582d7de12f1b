"""Groups: masks of both sides, inheritance, order (rows of the GRP area that can be seen in a configuration)."""

import msgspec
import pytest

from gatepost.config.grouping import Group, Policy
from gatepost.config.masks import MaskSet
from gatepost.config.schema import FIELDS


def chosen(config, sender, recipient):
    for group in config.groups:
        if MaskSet(group.senders).matches(sender) and MaskSet(group.recipients).matches(recipient):
            return group.name
    raise AssertionError("the policy matches everything")


GROUPS = """
[mailgw.group:pair]
Senders=*@partner.example
Recipients=*@sales.corp.example
[mailgw.group:from-only]
Senders=boss@corp.example, chief@corp.example
[mailgw.group:to-only]
Recipients=*@sales.corp.example
Recipients=desk@corp.example
"""


@pytest.mark.feature("F-GRP-02")
@pytest.mark.parametrize(
    ("sender", "recipient", "group"),
    [
        ("a@partner.example", "x@sales.corp.example", "pair"),
        ("a@partner.example", "x@corp.example", "policy"),
        ("a@else.example", "x@sales.corp.example", "to-only"),
        ("", "x@sales.corp.example", "to-only"),
        ("", "x@else.example", "policy"),
        ("BOSS@corp.example", "anyone@else.example", "from-only"),
        ("chief@corp.example", "x@sales.corp.example", "from-only"),
        ("a@else.example", "Desk@Corp.example", "to-only"),
        ("a@else.example", "postmaster", "policy"),
    ],
)
def test_pairs(load_ini, sender, recipient, group):
    assert chosen(load_ini(extra=GROUPS).config, sender, recipient) == group


@pytest.mark.feature("F-GRP-02")
@pytest.mark.parametrize("body", ["", "Check=no\n", "Senders=\n", "Recipients=\nSenders=\n"])
def test_a_group_without_both_sides_is_an_error(load_ini, body):
    (error,) = load_ini(extra=f"[mailgw.group:empty]\n{body}").errors
    assert "neither senders nor recipients" in error.what
    assert error.line > 0


def test_order_is_the_file_order(load_ini):
    first, second = "[mailgw.group:a]\nSenders=*@x\n", "[mailgw.group:b]\nSenders=joe@x\n"
    assert chosen(load_ini(extra=first + second).config, "joe@x", "r@y") == "a"
    assert chosen(load_ini(extra=second + first).config, "joe@x", "r@y") == "b"


@pytest.mark.feature("F-GRP-04")
def test_a_group_with_only_recipients_is_the_policy(load_ini):
    loaded = load_ini(
        {"mailgw.policy.BlockMessage": "infected", "mailgw.policy.IncludeByName": "*.exe"},
        "[mailgw.group:same]\nRecipients=*@sales.corp.example\n",
    )
    group, policy = loaded.config.groups
    identity = {"name", "senders", "recipients"}
    differing = {
        field.name
        for field in msgspec.structs.fields(Group)
        if getattr(group, field.name) != getattr(policy, field.name)
    }
    assert differing <= identity
    assert group.block_message == ("infected",)
    assert group.filters_names is True
    assert group.filters_types is False


def test_what_a_group_sets_is_its_own(load_ini):
    loaded = load_ini(
        {"mailgw.policy.BlockMessage": "infected"},
        "[mailgw.group:own]\nRecipients=*@a\nBlockMessage=\nActionInfected=pass\nExcludeByMime=text/*\n",
    )
    group, policy = loaded.config.groups
    assert group.block_message == ()
    assert (group.action_infected, policy.action_infected) == ("pass", "remove")
    assert (group.filters_types, policy.filters_types) == (True, False)


def test_an_empty_filter_mask_switches_no_filter_on(load_ini):
    policy = load_ini({"mailgw.policy.ExcludeByName": "", "mailgw.policy.IncludeByMime": ""}).config.groups[-1]
    assert (policy.filters_names, policy.filters_types) == (False, False)


@pytest.mark.parametrize(
    "extra",
    [
        "[mailgw.group:a]\nSenders=x@y\n[mailgw.group:a]\nSenders=z@y\n",
        "[mailgw.group:policy]\nSenders=x@y\n",
        "[mailgw.group:]\nSenders=x@y\n",
    ],
)
def test_names_must_tell_groups_apart(load_ini, extra):
    (error,) = load_ini(extra=extra).errors
    assert (error.section, error.name) == ("group", "name")


def test_senders_do_not_belong_into_the_policy(load_ini):
    loaded = load_ini({"mailgw.policy.Senders": "*@x"})
    assert any(p.name == "Senders" and "unknown parameter" in p.what for p in loaded.problems)


def test_a_group_may_set_every_policy_parameter():
    policy = {field.name for field in FIELDS["policy"]}
    assert policy <= {field.name for field in FIELDS["group"]}
    assert len(policy) == len(msgspec.structs.fields(Policy))
