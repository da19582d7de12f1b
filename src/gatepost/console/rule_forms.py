"""Forms of profiles, rules and lists: what a rule's form shows, and the rule that a sent one is. Pure.

Used by `console.pages.profiles`. A form has a row for each condition and action and some empty ones; an empty choice
takes a row away, so it works without a script. What is wrong with a rule is told at its row, from the check that every
set goes through (`config.profiles_check`).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gatepost.config.profiles_xml_words import ACTIONS, CONDITIONS
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
    Rule,
)
from gatepost.policy.profile_words import ACTION_LABELS, CONDITION_LABELS

SPARE_ROWS: Final = 2
"""Empty rows of a form."""
ROWS_LIMIT: Final = 110
"""Rows that are read: more conditions than a rule may have."""
NUMBER_DIGITS: Final = 9

CONDITION_CHOICES: Final = (("", "(none)"), *((kind.value, label) for kind, label in CONDITION_LABELS.items()))
ACTION_CHOICES: Final = (("", "(none)"), *((act.value, label) for act, label in ACTION_LABELS.items()))
_CONDITION_MEMBERS: Final = {kind: {member for _, member in word.attributes} for kind, word in CONDITIONS.items()}
_ACTION_MEMBERS: Final = {act: {member for _, member in word.attributes} for act, word in ACTIONS.items()}
_BETWEEN: Final = re.compile(r"[;,\s]+")
_PLACE: Final = re.compile(r", rule ([0-9]+)(?:, (condition|action) ([0-9]+))?\Z")

Form = Mapping[str, str]


class Row(msgspec.Struct, kw_only=True):
    """A condition or an action as a form shows it."""

    number: int
    choice: str = ""
    negated: bool = False
    header: str = ""
    value: str = ""
    comment: str = ""
    error: str = ""


class Places(msgspec.Struct):
    """Problems of a profile at their places."""

    here: list[str] = []
    """Of the profile itself."""
    rules: dict[int, list[str]] = {}
    """By the rule's number, also those of its rows."""
    rows: dict[tuple[int, str, int], str] = {}
    """By rule, `condition` or `action`, number."""


def place_problems(problems: Sequence[Mapping[str, str]]) -> Places:
    """Return the problems of one profile's file at their places."""
    found = Places()
    for problem in problems:
        words = ". ".join(filter(None, (problem["what"], problem["mend"])))
        if problem["severity"] != "error":
            words = f"Note: {words}"
        place = _PLACE.search(problem["place"])
        if place is None:
            found.here.append(words)
            continue
        rule = int(place[1])
        found.rules.setdefault(rule, []).append(f"{place[2]} {place[3]}: {words}" if place[2] else words)
        if place[2]:
            key = (rule, place[2], int(place[3]))
            found.rows[key] = ". ".join(filter(None, (found.rows.get(key, ""), words)))
    return found


def plan_rows(rule: Rule, number: int, places: Places) -> tuple[list[Row], list[Row]]:
    """Return the rows of a rule's form: conditions, actions, each with empty ones behind it."""
    conditions = [
        Row(
            number=index,
            choice=each.test,
            negated=each.negated,
            header=each.header,
            value=str(each.number) if "number" in _CONDITION_MEMBERS[each.test] else each.value,
            comment=each.comment,
            error=places.rows.get((number, "condition", index), ""),
        )
        for index, each in enumerate(rule.conditions, 1)
    ]
    actions = [
        Row(
            number=index,
            choice=each.do,
            header=each.header,
            value="; ".join(each.addresses) if "addresses" in _ACTION_MEMBERS[each.do] else each.value,
            comment=each.comment,
            error=places.rows.get((number, "action", index), ""),
        )
        for index, each in enumerate(rule.actions, 1)
    ]
    return _with_spare(conditions), _with_spare(actions)


def _with_spare(rows: list[Row]) -> list[Row]:
    return [*rows, *(Row(number=len(rows) + extra) for extra in range(1, SPARE_ROWS + 1))]


def read_rows(form: Form) -> tuple[list[Row], list[Row]]:
    """Return the rows that a form was sent with, to be shown again."""

    def rows(letter: str) -> list[Row]:
        found = []
        for number in range(1, ROWS_LIMIT + 1):
            key = f"{letter}{number}"
            if f"{key}-choice" not in form:
                break
            found.append(
                Row(
                    number=number,
                    choice=form[f"{key}-choice"],
                    negated=bool(form.get(f"{key}-not")),
                    header=form.get(f"{key}-header", "").strip(),
                    value=form.get(f"{key}-value", ""),
                    comment=form.get(f"{key}-comment", ""),
                )
            )
        return found

    return rows("c"), rows("a")


def build_rule(conditions: Sequence[Row], actions: Sequence[Row], comment: str) -> Rule | None:
    """Return the rule that rows are; None when one of them is none, which its `error` says."""
    made_conditions = [_build_condition(row) for row in conditions if row.choice]
    made_actions = [_build_action(row) for row in actions if row.choice]
    if any(row.error for row in (*conditions, *actions)):
        return None
    return Rule(
        comment=comment,
        conditions=tuple(filter(None, made_conditions)),
        actions=tuple(filter(None, made_actions)),
    )


def _build_condition(row: Row) -> Condition | None:
    try:
        kind = ConditionKind(row.choice)
    except ValueError:
        row.error = "That is no condition."
        return None
    members = _CONDITION_MEMBERS[kind]
    number = 0
    if "number" in members:
        text = row.value.strip()
        if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS):
            row.error = f"{text[:40]!r} is no whole number."
            return None
        number = int(text)
    return Condition(
        test=kind,
        # An expression may begin or end with a blank that counts.
        value="" if "value" not in members else row.value if "header" in members else row.value.strip(),
        header=row.header if "header" in members else "",
        number=number,
        negated=row.negated,
        comment=row.comment,
    )


def _build_action(row: Row) -> Action | None:
    try:
        act = Act(row.choice)
    except ValueError:
        row.error = "That is no action."
        return None
    members = _ACTION_MEMBERS[act]
    return Action(
        do=act,
        addresses=tuple(filter(None, _BETWEEN.split(row.value))) if "addresses" in members else (),
        header=row.header if "header" in members else "",
        value=row.value if "value" in members else "",
        comment=row.comment,
    )


def build_profile_head(profile: Profile, form: Form) -> Profile:
    """Return a profile with what stands above its rules as a form says."""
    return msgspec.structs.replace(
        profile,
        name=form.get("name", "").strip(),
        description=form.get("description", "").strip(),
        comment=form.get("comment", "").strip(),
        recipients=tuple(filter(None, _BETWEEN.split(form.get("recipients", "")))),
        recipient_list=form.get("recipient_list", ""),
    )


def show_entries(value: AddressList | NetworkList | DnsList) -> str:
    """Return the entries of a list as its form has them, one a line."""
    if isinstance(value, AddressList):
        return "\n".join(value.addresses)
    if isinstance(value, NetworkList):
        return "\n".join(value.networks)
    return "\n".join(f"{each.zone} {each.description}".rstrip() for each in value.services)


def build_list(part: str, form: Form) -> AddressList | NetworkList | DnsList:
    """Return the list that a form is. A service is its zone, a blank, and what it is."""
    head = {name: form.get(name, "").strip() for name in ("name", "description", "comment")}
    text = form.get("entries", "")
    if part == "dnsbl":
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
        services = [DnsService(zone=words[0], description=words[1] if words[1:] else "") for words in lines]
        return DnsList(services=tuple(services), **head)
    entries = tuple(filter(None, _BETWEEN.split(text)))
    return AddressList(addresses=entries, **head) if part == "emails" else NetworkList(networks=entries, **head)


def seen_of(value: Any) -> str:
    """Return what tells a part that a form was made of from one that somebody has changed since."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:16]
