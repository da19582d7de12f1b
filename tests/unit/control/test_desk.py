"""The desk: every call is compared with its caller's rights and domains, and written down with what came of it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import NOBODY, RIGHTS_OF, Caller, Right, Role, local_caller
from gatepost.control.socket import ControlError, Request


class Notebook:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict[str, Any], str]] = []

    def write(self, caller: Caller, call: str, arguments: Mapping[str, Any], outcome: str) -> None:
        self.entries.append((caller.name, call, dict(arguments), outcome))


def ask(desk: Desk, name: str, caller: Caller, **arguments: Any) -> Any:
    return asyncio.run(desk.handle(Request(name, arguments), caller))


def full_desk() -> Desk:
    """A call for each right, scoped and not."""
    desk = Desk(Notebook())

    async def answer(_: Any, caller: Caller) -> str:
        return caller.name

    for right in Right:
        desk.add(f"{right}.all", right, answer, audited=True)
        desk.add(f"{right}.scoped", right, answer, audited=True, scoped=True)
    return desk


@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("domains", [(), ("example.org",)])
def test_every_right_against_every_role(role: Role | None, domains: tuple[str, ...]) -> None:
    desk = full_desk()
    caller = NOBODY if role is None else Caller("ada", RIGHTS_OF[role], domains)
    for right in Right:
        for kind in ("all", "scoped"):
            may = right in caller.rights
            if caller.domains and kind == "all":
                may = may and right in {Right.NONE, Right.SELF}
            if may:
                assert ask(desk, f"{right}.{kind}", caller) == caller.name
            else:
                with pytest.raises(Refused):
                    ask(desk, f"{right}.{kind}", caller)


def test_roles_grow_from_one_another() -> None:
    assert RIGHTS_OF[Role.ADMIN] == frozenset(Right) - {Right.OWN}
    assert RIGHTS_OF[Role.QUARANTINE] < RIGHTS_OF[Role.OPERATOR] < RIGHTS_OF[Role.ADMIN]
    for role in (Role.OPERATOR, Role.QUARANTINE, Role.READ_ONLY, Role.DOMAIN):
        assert not RIGHTS_OF[role] & {Right.ACCOUNTS, Right.CONFIGURE, Right.EMERGENCY, Right.AUDIT}
    assert not RIGHTS_OF[Role.READ_ONLY] & {Right.CONTENT, Right.QUEUE, Right.QUARANTINE, Right.SERVICE, Right.LISTS}
    assert Right.CONTENT not in NOBODY.rights
    assert NOBODY.rights == {Right.NONE}


def test_what_came_of_an_act_is_written_down() -> None:
    notebook = Notebook()
    desk = Desk(notebook)

    async def act(arguments: Any, _: Caller) -> str:
        how = arguments["how"]
        if how == "refused":
            raise ControlError("not now")
        if how == "broken":
            raise RuntimeError("inner trouble")
        return "done"

    async def look(_: Any, __: Caller) -> str:
        return "seen"

    desk.add("act", Right.QUEUE, act, audited=True)
    desk.add(
        "act.with", Right.QUEUE, act, audited=True, noted=lambda arguments: {"how": arguments["how"], "value": "…"}
    )
    desk.add("look", Right.VIEW, look)
    root = local_caller("root")
    ask(desk, "act", root, how="well")
    ask(desk, "look", root)
    ask(desk, "act.with", root, how="well", value="hidden")
    for how, error in (("refused", ControlError), ("broken", RuntimeError)):
        with pytest.raises(error):
            ask(desk, "act", root, how=how)
    with pytest.raises(ControlError, match="bad arguments"):
        ask(desk, "act", root)
    with pytest.raises(Refused):
        ask(desk, "act", Caller("eve", frozenset({Right.VIEW})), how="well")
    with pytest.raises(ControlError, match="unknown call"):
        ask(desk, "nothing", root)
    assert [(who, call, arguments, bool(outcome)) for who, call, arguments, outcome in notebook.entries] == [
        ("root", "act", {"how": "well"}, False),
        ("root", "act.with", {"how": "well", "value": "…"}, False),
        ("root", "act", {"how": "refused"}, True),
        ("root", "act", {"how": "broken"}, True),
        ("root", "act", {}, True),
        ("eve", "act", {"how": "well"}, True),
    ]
