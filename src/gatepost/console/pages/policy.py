"""Policy and groups: the list of groups in their order, each group's values with what it inherits, DNSBL, and the
actions of all groups side by side (row F-WEB-04).

Listed in `console.pages`. The documented profile of rules is a group here: whom it is for, in which order, and what
is done for these. Forms, drafts and applying are those of `console.pages.settings`.
"""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get

from gatepost.console import render
from gatepost.console.gateway import Gateway
from gatepost.console.pages.settings import SEE, Pages, Row, ask_pages, show_form
from gatepost.console.visitor import Visitor
from gatepost.control.rights import Right

AREA: Final = "policy"
HOME: Final = "/policy"
WHO: Final = ("name", "senders", "recipients", "directions")
OBJECT_ACTIONS: Final = tuple(
    f"action_{status}" for status in ("disinfected", "infected", "suspicious", "protected", "error", "filtered")
)
SPAM_ACTIONS: Final = tuple(
    f"action_{status}" for status in ("spam", "probable_spam", "formal", "blacklisted", "obscene")
)
TOPICS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "who": ("Who", WHO),
    "virus": ("Viruses", ("check", *OBJECT_ACTIONS, "encrypted_mail", "block_message")),
    "filters": ("Filters", ("include_", "exclude_", "filter_inside_archives")),
    "spam": ("Spam", ("check_spam", "spam_level", "assign_", "use_", "eastern_", "mark_obscene")),
    "actions": ("Spam actions", (*SPAM_ACTIONS, "subject_", "reject_text", "bounce_text")),
    "lists": ("Lists", ("white_list", "black_list")),
    "notices": ("Notices", ("notify_", "admin_notify_address", "attach_original_to_admin", "text_language")),
    "stores": ("Stores", ("save_", "keep_originals", "backup_path", "quarantine_path", "spam_quarantine_path")),
    "texts": ("Texts and fields", ()),
}
"""Parameters by topic: names, or how they begin (`use_`). What is in none of them is in the last."""


_LEADS: Final = {
    "group": "What is done with mail between these senders and recipients; what it leaves out is as for everybody.",
    "policy": "What is done with mail of everybody no group is for, and what groups inherit.",
}


def topic_of(name: str) -> str:
    """Return the topic of a parameter of the policy."""
    for topic, (_, names) in TOPICS.items():
        if any(name == each or (each.endswith("_") and name.startswith(each)) for each in names):
            return topic
    return next(reversed(TOPICS))


def segments(chosen: str) -> list[tuple[str, str, bool]]:
    """Return the links between the pages of this area."""
    return [
        (href, label, href == chosen)
        for href, label in (
            (HOME, "Groups"),
            (f"{HOME}/everybody", "Everybody"),
            (f"{HOME}/actions", "Actions"),
            (f"{HOME}/dnsbl", "DNSBL"),
        )
    ]


@get(HOME, guards=[SEE])
async def show_groups(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show the groups in their order, the policy for everybody else last."""
    pages = await ask_pages(visitor, gateway)
    rows = [
        Row(
            str(table["name"]["value"]),
            f"{HOME}/group/{item}",
            cells=(_who(table, "senders"), _who(table, "recipients"), _own(table)),
        )
        for item, table in enumerate(pages.values["sections"]["group"])
    ]
    return render.page(
        visitor,
        "settings/tables.html",
        area=AREA,
        heading="Policy and groups",
        lead="The first group that matches a sender and a recipient decides; what it leaves out is as for everybody.",
        values=pages.values,
        section=pages.section("group"),
        rows=rows,
        last=Row("Everybody", f"{HOME}/everybody", cells=("everybody", "everybody", "")),
        segments=segments(HOME),
        columns=["Senders", "Recipients", "Own values"],
        adding=[
            ("name", "Name", "As logs and records call it."),
            ("recipients", "Recipients", "Address masks, separated by commas: *@sales.example.org"),
        ],
        back="",
        here=HOME,
        can_edit=visitor.may(Right.CONFIGURE),
    )


@get(HOME + "/group/{item:int}", guards=[SEE])
async def show_group(visitor: Visitor, gateway: Gateway, item: int, topic: str = "who") -> Response[str]:
    """Show a group's values of one topic, with those it inherits."""
    pages = await ask_pages(visitor, gateway)
    name = str(pages.table("group", item)["name"]["value"])
    return _show_topic(visitor, pages, "group", item, topic, f"{HOME}/group/{item}", f"Group {name}")


@get(HOME + "/everybody", guards=[SEE])
async def show_everybody(visitor: Visitor, gateway: Gateway, topic: str = "virus") -> Response[str]:
    """Show the policy for everybody."""
    pages = await ask_pages(visitor, gateway)
    return _show_topic(visitor, pages, "policy", 0, topic, f"{HOME}/everybody", "Policy for everybody")


def _show_topic(
    visitor: Visitor, pages: Pages, section: str, item: int, topic: str, path: str, heading: str
) -> Response[str]:
    known = [each for each in TOPICS if section == "group" or each != "who"]
    topic = topic if topic in known else known[0]
    names = {each["name"] for each in pages.section(section)["parameters"]}
    return show_form(
        visitor,
        pages,
        section,
        item,
        area=AREA,
        heading=heading,
        here=f"{path}?topic={topic}",
        lead=_LEADS[section],
        back=(HOME, "Policy and groups"),
        only=frozenset(name for name in names if topic_of(name) == topic),
        topics=[(f"{path}?topic={each}", TOPICS[each][0], each == topic) for each in known],
    )


@get(HOME + "/dnsbl", guards=[SEE])
async def show_dnsbl(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show the lists of clients in DNS that are asked."""
    pages = await ask_pages(visitor, gateway)
    return show_form(
        visitor,
        pages,
        "antispam.dnsbl",
        0,
        area=AREA,
        heading="DNSBL",
        here=f"{HOME}/dnsbl",
        back=(HOME, "Policy and groups"),
        topics=segments(f"{HOME}/dnsbl"),
    )


@get(HOME + "/actions", guards=[SEE])
async def show_actions(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show what is done with which mail, for all groups side by side."""
    pages = await ask_pages(visitor, gateway)
    sections = pages.values["sections"]
    everybody = sections["policy"][0]
    groups = [
        (str(table["name"]["value"]), f"{HOME}/group/{item}", table) for item, table in enumerate(sections["group"])
    ]
    blocks = [
        (
            heading,
            [(name, [_action(table[name]) for _, _, table in groups], _action(everybody[name])) for name in names],
        )
        for heading, names in (
            ("Objects found by anti-virus", OBJECT_ACTIONS),
            ("Mail found by anti-spam", SPAM_ACTIONS),
        )
    ]
    return render.page(
        visitor,
        "policy/actions.html",
        area=AREA,
        segments=segments(f"{HOME}/actions"),
        groups=groups,
        blocks=blocks,
        home=HOME,
        values=pages.values,
    )


def _action(value: Mapping[str, Any]) -> tuple[str, bool]:
    """Return an action in words, and whether it is inherited or by default."""
    words = ", ".join(value["value"]) if isinstance(value["value"], list) else str(value["value"])
    return words or "pass", value["source"] != "file"


def _who(table: Mapping[str, Any], name: str) -> str:
    return ", ".join(table[name]["value"]) or "everybody"


def _own(table: Mapping[str, Any]) -> str:
    count = sum(value["source"] == "file" for name, value in table.items() if name not in WHO)
    return f"{count} of its own, the others inherited" if count else "all inherited"


ROUTES: Final = (show_groups, show_group, show_everybody, show_dnsbl, show_actions)
