"""The settings: every section of the configuration as a form, the draft, its difference, apply, reset, default,
history and roll-back (rows F-WEB-01, F-WEB-05).

Listed in `console.pages`; `console.pages.policy` shows the policy and its groups by the same means. A form is kept as
a draft by the master, for the person who made it; only applying it changes the file and the gateway.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException

from gatepost.console import render
from gatepost.console.forms import plan_changes, plan_controls, read_sent
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "settings"
HOME: Final = "/settings"
POLICY: Final = "/policy"
SEE: Final = needs(Right.CONFIGURATION)
CHANGE: Final = needs(Right.CONFIGURE)
CELLS_SHOWN: Final = 3
"""Parameters of a table that a list of tables shows beside its name."""

AnyRequest = Request[Any, Any, Any]


class Row(msgspec.Struct, frozen=True):
    """A table of an array, or a section, in a list."""

    name: str
    href: str
    title: str = ""
    told: str = ""
    built: bool = True
    cells: tuple[str, ...] = ()


class Pages(msgspec.Struct, frozen=True):
    """What pages are made of: the schema, and the values with the visitor's draft in them."""

    schema: dict[str, Mapping[str, Any]]
    values: Mapping[str, Any]

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a section of the schema. NotFoundException."""
        if name not in self.schema:
            raise NotFoundException
        return self.schema[name]

    def table(self, name: str, item: int) -> Mapping[str, Any]:
        """Return the values of a table. NotFoundException."""
        tables: Sequence[Mapping[str, Any]] = self.values["sections"][name]
        if not 0 <= item < len(tables):
            raise NotFoundException
        return tables[item]


async def ask_pages(visitor: Visitor, gateway: Gateway) -> Pages:
    """Return schema and values as the gateway has them."""
    schema = await gateway.call(visitor, "configuration.schema")
    values = await gateway.call(visitor, "configuration.values", draft=True)
    return Pages({section["name"]: section for section in schema}, values)


def href_of(section: str, item: int = 0, *, array: bool = False) -> str:
    """Return the page of a section, or of a table of it."""
    if section == "group":
        return f"{POLICY}/group/{item}"
    if section == "policy":
        return f"{POLICY}/everybody"
    return f"{HOME}/section/{section}" + (f"?item={item}" if array else "")


@get(HOME, guards=[SEE])
async def show_all(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show all sections."""
    pages = await ask_pages(visitor, gateway)
    rows = []
    for section in pages.schema.values():
        tables = pages.values["sections"][section["name"]]
        count = sum(value["source"] == "file" for table in tables for value in table.values())
        told = f"{len(tables)} {'table' if len(tables) == 1 else 'tables'}, " if section["array"] else ""
        href = POLICY if section["name"] in ("group", "policy") else href_of(section["name"])
        told += f"{count} {'value' if count == 1 else 'values'}"
        rows.append(Row(section["name"], href, section["title"].replace("`", ""), told, section["built"]))
    return render.page(visitor, "settings/index.html", area=AREA, values=pages.values, rows=rows)


@get(HOME + "/section/{name:str}", guards=[SEE])
async def show_section(visitor: Visitor, gateway: Gateway, name: str, item: int | None = None) -> Response[str]:
    """Show the form of a section, or the list of its tables."""
    pages = await ask_pages(visitor, gateway)
    section = pages.section(name)
    if section["array"] and item is None:
        return show_tables(visitor, pages, section)
    return show_form(visitor, pages, name, item or 0)


def show_tables(visitor: Visitor, pages: Pages, section: Mapping[str, Any]) -> Response[str]:
    """Show the tables of an array in their order."""
    name = section["name"]
    required = [each["name"] for each in section["parameters"] if each.get("required")]
    first = "name" if "name" in {each["name"] for each in section["parameters"]} else section["parameters"][0]["name"]
    columns = [each["name"] for each in section["parameters"] if each["name"] != first][:CELLS_SHOWN]
    rows = [
        Row(
            table[first]["text"] if not table[first]["value"] else _cell(table[first]["value"]),
            href_of(name, item, array=True),
            cells=tuple(_cell(table[column]["value"]) for column in columns),
        )
        for item, table in enumerate(pages.values["sections"][name])
    ]
    return render.page(
        visitor,
        "settings/tables.html",
        area=AREA,
        heading=f"[[{name}]]",
        lead=section["title"].replace("`", ""),
        values=pages.values,
        section=section,
        rows=rows,
        last=None,
        segments=(),
        columns=[column.replace("_", " ") for column in columns],
        adding=[(each, each.replace("_", " "), _meaning(section, each)) for each in required or [first]],
        back=HOME,
        here=f"{HOME}/section/{name}",
        can_edit=visitor.may(Right.CONFIGURE),
    )


def _meaning(section: Mapping[str, Any], name: str) -> str:
    return next(str(each["meaning"]) for each in section["parameters"] if each["name"] == name)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def show_form(
    visitor: Visitor,
    pages: Pages,
    name: str,
    item: int,
    *,
    area: str = AREA,
    heading: str = "",
    lead: str = "",
    here: str = "",
    back: tuple[str, str] = (HOME, "Settings"),
    only: frozenset[str] | None = None,
    topics: Sequence[tuple[str, str, bool]] = (),
    sent: Mapping[str, Sequence[str]] | None = None,
    problems: Sequence[Mapping[str, Any]] | None = None,
) -> Response[str]:
    """Show the form of a table; `problems` are those of the values unless a form that was not taken has its own."""
    section, table = pages.section(name), pages.table(name, item)
    found = pages.values["problems"] if problems is None else problems
    can_edit = visitor.may(Right.CONFIGURE)
    controls = plan_controls(section, table, can_edit=can_edit, problems=found, item=item, sent=sent, only=only)
    shown = {control.name for control in controls if control.error}
    general = [
        problem
        for problem in found
        if (problem["section"] in (name, "") and problem["item"] == item and problem["name"] not in shown)
        or (problems is not None and problem["name"] not in shown)
    ]
    if sent is not None and shown:
        told = "1 value cannot be, it says why" if len(shown) == 1 else f"{len(shown)} values cannot be, they say why"
        general.insert(0, {"severity": "error", "what": f"Nothing was kept: {told}."})
    array = section["array"]
    return render.page(
        visitor,
        "settings/section.html",
        area=area,
        status_code=200 if problems is None else 422,
        lead=lead,
        heading=heading or (f"[[{name}]] {item + 1}" if array else f"[{name}]"),
        section=section,
        item=item,
        values=pages.values,
        controls=controls,
        general=general,
        topics=topics,
        action=f"{HOME}/draft",
        here=here or href_of(name, item, array=array),
        back=back[0] if name in ("group", "policy") or not array else f"{HOME}/section/{name}",
        back_word=back[1],
        can_edit=can_edit,
        set_count=sum(value["source"] == "file" for value in table.values()),
    )


# --- the draft


@post(HOME + "/draft", guards=[CHANGE], status_code=200)
async def keep_draft(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Keep what a form changes; a value that cannot be is shown with the form."""
    sent = await read_sent(request)
    name, item, back = _one(sent, "section"), _number(sent, "item"), _one(sent, "back")
    pages = await ask_pages(visitor, gateway)
    changes = plan_changes(pages.section(name), pages.table(name, item), sent, item)
    if not changes:
        return render.go(back, "info", "Nothing was changed.")
    answer = await gateway.call(visitor, "configuration.draft", changes=changes)
    wrong = [problem for problem in answer["problems"] if problem["severity"] == "error"]
    if not answer["kept"]:
        only = frozenset(each.partition(":")[2] for each in sent["names"])
        return show_form(visitor, pages, name, item, here=back, only=only, sent=sent, problems=answer["problems"])
    if wrong:
        return render.go(back, "warning", f"Kept as a draft, but it cannot be applied yet: {wrong[0]['what']}")
    return render.go(back, "good", "Kept as a draft. Apply it when all is as you want it.")


@post(HOME + "/tables", guards=[CHANGE], status_code=200)
async def change_tables(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Add, move or remove a table of an array, in the draft."""
    sent = await read_sent(request)
    name, act, back = _one(sent, "section"), _one(sent, "act"), _one(sent, "back")
    item = _number(sent, "item")
    if act == "remove" and not _one(sent, "confirmed"):
        fields = {key: values[0] for key, values in sent.items() if values and key != "names"}
        question = "Delete it?"
        return render.ask(visitor, question, action=f"{HOME}/tables", fields=fields, back=back, area=AREA, danger=True)
    pages = await ask_pages(visitor, gateway)
    changes: list[dict[str, Any]] = [{"section": name, "verb": act, "item": item, "to": _number(sent, "to")}]
    if act == "add":
        changes = _plan_added(pages, name, sent)
    answer = await gateway.call(visitor, "configuration.draft", changes=changes)
    if not answer["kept"]:
        told = answer["problems"][0]["what"] if answer["problems"] else "it cannot be done"
        return render.go(back, "bad", told)
    return render.go(back, "good", "Kept as a draft.")


def _plan_added(pages: Pages, name: str, sent: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    number = len(pages.values["sections"][name])
    parameters = {each["name"]: each for each in pages.section(name)["parameters"]}
    given = {key: _one(sent, key) for key in parameters if _one(sent, key)}
    changes: list[dict[str, Any]] = [
        {"section": name, "verb": "add", "item": -1, **({"value": given.pop("name")} if "name" in given else {})}
    ]
    for key, text in given.items():
        value = text.replace(",", "\n").split("\n") if parameters[key]["kind"] == "list" else text
        changes.append({"section": name, "item": number, "name": key, "value": value})
    return changes


@post(HOME + "/default", guards=[CHANGE], status_code=200)
async def set_default(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Have the draft say nothing of a section, or of one of its parameters."""
    sent = await read_sent(request)
    name, item, back = _one(sent, "section"), _number(sent, "item"), _one(sent, "back")
    if not _one(sent, "confirmed"):
        fields = {"section": name, "item": str(item), "back": back}
        detail = "The draft then says nothing of it: defaults count, in a group the policy's values."
        question = f"Set all of [{name}] by default?"
        return render.ask(
            visitor, question, action=f"{HOME}/default", fields=fields, back=back, area=AREA, detail=detail
        )
    answer = await gateway.call(
        visitor, "configuration.default", section=name, item=item, name=_one(sent, "name"), draft=True
    )
    if not answer["kept"]:
        return render.go(back, "bad", answer["problems"][0]["what"])
    return render.go(back, "good", "By default, in the draft. Apply it when all is as you want it.")


@get(HOME + "/changes", guards=[SEE])
async def show_changes(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show what the draft would change."""
    check = await gateway.call(visitor, "configuration.check")

    def href(problem: Mapping[str, Any]) -> str:
        array = problem["section"] in ("listener", "route", "engine", "shadow", "network.zone", "tls_policy")
        return href_of(str(problem["section"]), int(problem["item"]), array=array)

    return render.page(
        visitor,
        "settings/changes.html",
        area=AREA,
        check=check,
        href_of=href,
        broken=any(problem["severity"] == "error" for problem in check["problems"]),
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/apply", guards=[CHANGE], status_code=200)
async def apply(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Write the draft and take it into use."""
    sent = await read_sent(request)
    try:
        done = await gateway.call(visitor, "configuration.apply", comment=_one(sent, "comment"))
    except ControlError as error:
        return render.go(f"{HOME}/changes", "bad", str(error))
    if done["answer"] != "reloaded":
        return render.go(HOME, "warning", done["answer"])
    return render.go(HOME, "good", f"Version {done['number']} is in force.")


@post(HOME + "/reset", guards=[CHANGE], status_code=200)
async def reset(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Forget the draft."""
    sent = await read_sent(request)
    if not _one(sent, "confirmed"):
        question = "Forget the unsaved changes?"
        return render.ask(
            visitor, question, action=f"{HOME}/reset", fields={}, back=f"{HOME}/changes", area=AREA, danger=True
        )
    await gateway.call(visitor, "configuration.reset")
    return render.go(HOME, "good", "The unsaved changes are forgotten.")


# --- history


@get(HOME + "/history", guards=[SEE])
async def show_history(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show the kept versions."""
    versions = await gateway.call(visitor, "configuration.history", limit=200)
    return render.page(
        visitor,
        "settings/history.html",
        area=AREA,
        chosen=None,
        versions=versions,
        can_edit=visitor.may(Right.CONFIGURE),
    )


@get(HOME + "/history/{number:int}", guards=[SEE])
async def show_version(visitor: Visitor, gateway: Gateway, number: int) -> Response[str]:
    """Show what a version changed."""
    versions = await gateway.call(visitor, "configuration.history", number=number)
    return render.page(
        visitor,
        "settings/history.html",
        area=AREA,
        chosen=versions[0],
        versions=(),
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/rollback", guards=[CHANGE], status_code=200)
async def roll_back(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Put a former version in force."""
    sent = await read_sent(request)
    number = _number(sent, "number")
    back = f"{HOME}/history/{number}"
    if not _one(sent, "confirmed"):
        question = f"Put version {number} in force?"
        return render.ask(
            visitor,
            question,
            action=f"{HOME}/rollback",
            fields={"number": str(number)},
            back=back,
            area=AREA,
            danger=True,
        )
    try:
        done = await gateway.call(visitor, "configuration.rollback", number=number)
    except ControlError as error:
        return render.go(back, "bad", str(error))
    state: render.State = "good" if done["answer"] == "reloaded" else "warning"
    return render.go(f"{HOME}/history", state, f"Version {number} is back. {done['answer'].capitalize()}.")


def _one(sent: Mapping[str, Sequence[str]], name: str) -> str:
    values = sent.get(name)
    return values[0] if values else ""


def _number(sent: Mapping[str, Sequence[str]], name: str) -> int:
    text = _one(sent, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


ROUTES: Final = (
    show_all,
    show_section,
    keep_draft,
    change_tables,
    set_default,
    show_changes,
    apply,
    reset,
    show_history,
    show_version,
    roll_back,
)
