"""Profiles and rules: their order, IF and THEN of each rule, lists, texts (row F-WEB-03).

Listed in `console.pages`; a part of the area Rules. Everything is changed in the visitor's draft, which the master
keeps; only “Save and compile” (`console.pages.profile_drafts`) changes the set that is at work. What is wrong with a
draft is shown at its place.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import Parameter

from gatepost.console import render
from gatepost.console.chosen import link
from gatepost.console.gateway import Gateway
from gatepost.console.pages.settings import CHANGE, SEE
from gatepost.console.rule_forms import (
    ACTION_CHOICES,
    CONDITION_CHOICES,
    Form,
    build_list,
    build_profile_head,
    build_rule,
    place_problems,
    plan_rows,
    read_rows,
    seen_of,
    show_entries,
)
from gatepost.console.visitor import Visitor
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError
from gatepost.model.profile import AddressList, DnsList, NetworkList, Profile, Rule, RuleSettings
from gatepost.policy.profile_words import CATEGORIES, describe_action, describe_conditions

AREA: Final = "rules"
HOME: Final = "/rules/profiles"
FORM_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of a form: an upload (`master.profiles.UPLOAD_LIMIT`), or a list of 100,000 addresses."""
KEPT: Final = "Kept as a draft."
CHANGED: Final = "Somebody has changed it meanwhile, so nothing was kept: look at it again."
ENCODINGS: Final = ("utf-8", "windows-1251", "koi8-r", "iso-8859-5", "x-mac-cyrillic", "ibm866")
LISTS: Final[dict[str, tuple[str, str, type[msgspec.Struct]]]] = {
    "emails": ("Lists of addresses", "user@domain, @domain or a mask; one a line.", AddressList),
    "iplists": ("Lists of networks", "a.b.c.d, a.b.c.d/nn or an IPv6 network; one a line.", NetworkList),
    "dnsbl": ("Lists of DNSBL services", "The zone, a blank, and what it is; one service a line.", DnsList),
}
PLACES: Final = {"common": "Common", "personal": "Personal"}
ROWS: Final = 100
"""Profiles of a table that are shown at once."""

AnyRequest = Request[Any, Any, Any]
Find = Annotated[str, Parameter(max_length=300)]


class Part(msgspec.Struct, frozen=True):
    """A profile or a list of the visitor's draft, and what is around it."""

    value: Any
    problems: list[dict[str, str]]
    emails: list[str]
    iplists: list[str]
    dnsbl: list[str]


async def read_fields(request: AnyRequest) -> Form:
    """Return the texts of a form, uncut."""
    form = await request.form()
    return {name: str(value).replace("\r\n", "\n") for name, value in form.items() if isinstance(value, str)}


async def _ask_part(visitor: Visitor, gateway: Gateway, part: str, file: str) -> Part:
    found = await gateway.call(visitor, "profiles.one", part=part, file=file)
    return msgspec.convert(found, Part)


async def _ask_profile(visitor: Visitor, gateway: Gateway, file: str) -> tuple[Profile, Part]:
    """Return a profile; "" is the hidden one."""
    found = await _ask_part(visitor, gateway, "profiles" if file else "hidden", file)
    return msgspec.convert(found.value, Profile), found


async def _keep(visitor: Visitor, gateway: Gateway, **edit: Any) -> None:
    await gateway.call(visitor, "profiles.draft", edits=[edit])


async def _keep_profile(visitor: Visitor, gateway: Gateway, file: str, profile: Profile) -> None:
    part = "profiles" if file else "hidden"
    await _keep(visitor, gateway, part=part, file=file, value=msgspec.to_builtins(profile))


def page_of(file: str) -> str:
    """Return the address of a profile."""
    return f"{HOME}/profile?file={file}"


def parse_number(text: str, most: int) -> int:
    """Return a number from 1 to `most`. NotFoundException."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
        raise NotFoundException
    return int(text)


# --- all of it


@get(HOME, guards=[SEE])
async def show_all(visitor: Visitor, gateway: Gateway, q: Find = "", start: int = 0) -> Response[str]:
    """Show what there is, in its order; of profiles, those with the text `q`, of each table `ROWS` behind `start`."""
    found = await gateway.call(visitor, "profiles.show", draft=True, find=q)
    start = max(0, start)
    tables = {name: found[name] for name in (*PLACES, "unplaced")}
    found |= {name: rows[start : start + ROWS] for name, rows in tables.items()}
    longest = max(len(rows) for rows in tables.values())
    settings = msgspec.convert(found["settings"], RuleSettings)
    return render.page(
        visitor,
        "profiles/index.html",
        area=AREA,
        found=found,
        settings=settings,
        lists=LISTS,
        places=PLACES,
        q=q,
        here=_table_page(q, start),
        earlier=_table_page(q, start - ROWS) if start else "",
        later=_table_page(q, start + ROWS) if start + ROWS < longest else "",
        encodings=[(name, name) for name in ENCODINGS],
        can_edit=visitor.may(Right.CONFIGURE),
    )


def _table_page(q: str, start: int) -> str:
    return link(HOME, {"q": q, "start": str(start) if start > 0 else ""})


@post(HOME + "/order", guards=[CHANGE], status_code=200)
async def order(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Move a profile up or down or to a number, switch it on or off, or give it a place."""
    sent = await read_fields(request)
    found = await gateway.call(visitor, "profiles.show", draft=True)
    refs = {
        place: [{key: row[key] for key in ("file", "active", "comment")} for row in found[place]] for place in PLACES
    }
    file, act, place = sent.get("file", ""), sent.get("act", ""), sent.get("place", "")
    back = sent.get("back") or HOME
    if place not in PLACES:
        raise NotFoundException
    rows = refs[place]
    index = next((number for number, row in enumerate(rows) if row["file"] == file), -1)
    if act == "place" and index < 0:
        rows.append({"file": file, "active": False, "comment": ""})
    elif index < 0:
        return render.go(back, "bad", CHANGED)
    elif act in {"on", "off"}:
        rows[index]["active"] = act == "on"
    elif act in {"up", "down"}:
        _move(rows, index, index + (1 if act == "down" else -1))
    elif act == "to":
        try:
            _move(rows, index, parse_number(sent.get("number", "").strip(), 99_999) - 1)
        except NotFoundException:
            return render.go(back, "bad", f"Where to? Give a number from 1 to {len(rows)}.")
    await _keep(visitor, gateway, part="order", value=refs)
    return render.go(f"{back}#{place}")


def _move(rows: list[Any], index: int, to: int) -> None:
    rows.insert(max(0, min(len(rows) - 1, to)), rows.pop(index))


@post(HOME + "/add", guards=[CHANGE], status_code=200)
async def add(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Make an empty profile or list."""
    sent = await read_fields(request)
    part, file = sent.get("part", ""), sent.get("file", "").strip()
    edit: dict[str, Any] = {"part": part, "file": file, "new": True, "value": {"name": sent.get("name", "").strip()}}
    if part == "profiles":
        edit["place"] = sent.get("place", "")
    try:
        await _keep(visitor, gateway, **edit)
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    return render.go(page_of(file) if part == "profiles" else f"{HOME}/list?part={part}&file={file}", "good", KEPT)


@post(HOME + "/remove", guards=[CHANGE], status_code=200)
async def remove(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Take a profile or a list away."""
    sent = await read_fields(request)
    part, file = sent.get("part", ""), sent.get("file", "")
    if not sent.get("confirmed"):
        question = f"Delete {file}?"
        fields = {"part": part, "file": file}
        return render.ask(visitor, question, action=f"{HOME}/remove", fields=fields, back=HOME, area=AREA, danger=True)
    await _keep(visitor, gateway, part=part, file=file)
    return render.go(HOME, "good", f"{file} is deleted in the draft.")


@post(HOME + "/texts", guards=[CHANGE], status_code=200)
async def texts(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Change what senders are told."""
    sent = await read_fields(request)
    value = {name: sent.get(name, "").strip() for name in ("reject_text", "bounce_text")}
    await _keep(visitor, gateway, part="settings", value=value)
    return render.go(HOME, "good", KEPT)


# --- a profile and its rules


@get(HOME + "/profile", guards=[SEE])
async def show_profile(visitor: Visitor, gateway: Gateway, file: str = "") -> Response[str]:
    """Show a profile; without `file` the hidden one."""
    profile, found = await _ask_profile(visitor, gateway, file)
    rules = [
        (number, rule, describe_conditions(rule.conditions), [describe_action(action) for action in rule.actions])
        for number, rule in enumerate(profile.rules, 1)
    ]
    return render.page(
        visitor,
        "profiles/profile.html",
        area=AREA,
        file=file,
        profile=profile,
        rules=rules,
        places=place_problems(found.problems),
        lists=[("", "everybody, or the addresses above"), *((each, each) for each in found.emails)],
        seen=seen_of(profile),
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/profile", guards=[CHANGE], status_code=200)
async def change_profile(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Change what stands above the rules."""
    sent = await read_fields(request)
    file = sent.get("file", "")
    profile, _ = await _ask_profile(visitor, gateway, file)
    if sent.get("seen") != seen_of(profile):
        return render.go(page_of(file), "bad", CHANGED)
    await _keep_profile(visitor, gateway, file, build_profile_head(profile, sent))
    return render.go(page_of(file), "good", KEPT)


@post(HOME + "/rules", guards=[CHANGE], status_code=200)
async def change_rules(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Move a rule up or down, or delete it."""
    sent = await read_fields(request)
    file, act = sent.get("file", ""), sent.get("act", "")
    profile, _ = await _ask_profile(visitor, gateway, file)
    if sent.get("seen") != seen_of(profile):
        return render.go(page_of(file), "bad", CHANGED)
    rules = list(profile.rules)
    index = parse_number(sent.get("number", ""), len(rules)) - 1
    if act == "remove":
        if not sent.get("confirmed"):
            return render.ask(
                visitor,
                f"Delete rule {index + 1}?",
                action=f"{HOME}/rules",
                fields=dict(sent),
                back=page_of(file),
                area=AREA,
                danger=True,
            )
        del rules[index]
    elif act in {"up", "down"}:
        to = max(0, min(len(rules) - 1, index + (1 if act == "down" else -1)))
        rules.insert(to, rules.pop(index))
    await _keep_profile(visitor, gateway, file, msgspec.structs.replace(profile, rules=tuple(rules)))
    return render.go(f"{page_of(file)}#rules")


@get(HOME + "/rule", guards=[SEE])
async def show_rule(visitor: Visitor, gateway: Gateway, file: str = "", number: int = 0) -> Response[str]:
    """Show the form of a rule; number 0 is a new one."""
    profile, found = await _ask_profile(visitor, gateway, file)
    if not 0 <= number <= len(profile.rules):
        raise NotFoundException
    rule = profile.rules[number - 1] if number else Rule()
    places = place_problems(found.problems)
    return _rule_page(visitor, file, number, profile, found, plan_rows(rule, number, places), rule.comment)


def _rule_page(
    visitor: Visitor,
    file: str,
    number: int,
    profile: Profile,
    found: Part,
    rows: tuple[list[Any], list[Any]],
    comment: str,
    status_code: int = 200,
) -> Response[str]:
    return render.page(
        visitor,
        "profiles/rule.html",
        area=AREA,
        status_code=status_code,
        file=file,
        number=number,
        profile=profile,
        conditions=rows[0],
        actions=rows[1],
        comment=comment,
        condition_choices=CONDITION_CHOICES,
        action_choices=ACTION_CHOICES,
        known=[*found.emails, *found.iplists, *found.dnsbl, *CATEGORIES],
        seen=seen_of(profile),
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/rule", guards=[CHANGE], status_code=200)
async def change_rule(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Keep a rule as its form says."""
    sent = await read_fields(request)
    file = sent.get("file", "")
    profile, found = await _ask_profile(visitor, gateway, file)
    if sent.get("seen") != seen_of(profile):
        return render.go(page_of(file), "bad", CHANGED)
    rules = list(profile.rules)
    number = 0 if sent.get("number") == "0" else parse_number(sent.get("number", ""), len(rules))
    rows = read_rows(sent)
    rule = build_rule(*rows, sent.get("comment", "").strip())
    if rule is None:
        return _rule_page(visitor, file, number, profile, found, rows, sent.get("comment", ""), 422)
    if number:
        rules[number - 1] = rule
    else:
        rules.append(rule)
        number = len(rules)
    await _keep_profile(visitor, gateway, file, msgspec.structs.replace(profile, rules=tuple(rules)))
    _, fresh = await _ask_profile(visitor, gateway, file)
    if number in place_problems(fresh.problems).rules:
        return render.go(f"{HOME}/rule?file={file}&number={number}", "warning", "Kept as a draft, with a fault.")
    again = sent.get("then") == "more"
    return render.go(f"{HOME}/rule?file={file}&number={number}" if again else f"{page_of(file)}#rules", "good", KEPT)


# --- lists


@get(HOME + "/list", guards=[SEE])
async def show_list(visitor: Visitor, gateway: Gateway, part: str = "", file: str = "") -> Response[str]:
    """Show a list."""
    if part not in LISTS:
        raise NotFoundException
    found = await _ask_part(visitor, gateway, part, file)
    heading, help_text, kind = LISTS[part]
    value: Any = msgspec.convert(found.value, kind)
    return render.page(
        visitor,
        "profiles/list.html",
        area=AREA,
        part=part,
        file=file,
        heading=heading,
        help_text=help_text,
        value=value,
        entries=show_entries(value),
        problems=place_problems(found.problems).here,
        seen=seen_of(value),
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/list", guards=[CHANGE], status_code=200, request_max_body_size=FORM_LIMIT)
async def change_list(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Keep a list as its form says."""
    sent = await read_fields(request)
    part, file = sent.get("part", ""), sent.get("file", "")
    if part not in LISTS:
        raise NotFoundException
    found = await _ask_part(visitor, gateway, part, file)
    here = f"{HOME}/list?part={part}&file={file}"
    if sent.get("seen") != seen_of(msgspec.convert(found.value, LISTS[part][2])):
        return render.go(here, "bad", CHANGED)
    await _keep(visitor, gateway, part=part, file=file, value=msgspec.to_builtins(build_list(part, sent)))
    return render.go(here, "good", KEPT)


ROUTES: Final = (
    show_all,
    order,
    add,
    remove,
    texts,
    show_profile,
    change_profile,
    change_rules,
    show_rule,
    change_rule,
    show_list,
    change_list,
)
