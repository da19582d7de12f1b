"""Calls on stored mail over real stores: what a caller sees and may do, by rights and by domains."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.storage.store_items import NOW, new, put

from gatepost.config.default import build_default_config
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.control.accounts import DOMAINS_LIMIT
from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import RIGHTS_OF, Caller, Right, Role, local_caller
from gatepost.control.socket import ControlError, Request
from gatepost.master import kept_content
from gatepost.master.kept_content import register_mail_calls
from gatepost.model.envelope import Direction
from gatepost.storage.item import StoreKind
from gatepost.storage.places import store_places
from gatepost.storage.store import New, Store

SPAM = StoreKind.SPAM_QUARANTINE


class FakeRelays:
    """Notes releases, and answers what relays answer about content."""

    def __init__(self, exports: Path) -> None:
        self.all = ["the one relay"]
        self.exports = exports
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.preview = b'{"fields":[],"html":"","text":"x","source":"","parts":[],"links":[],"remote":0,"cut":false}'

    async def ask(self, _: object, what: str, **arguments: Any) -> Any:
        self.asked.append((what, arguments))
        if what == "release":
            return {item: {"queue_id": "0ABCDEFGHJKMN"} for item in arguments["items"]}
        if what == "preview":
            path = self.exports / "preview-1-1.json"
            path.write_bytes(self.preview)
            return str(path)
        return {"lesson": "TEVTU09O", "uds": {"uds.example": ""}}[what]


class FakeLearning:
    """Notes lessons."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def ask(self, arguments: dict[str, Any]) -> str:
        self.asked.append(arguments)
        return "learned"


class Office:
    """A desk with the calls, and stores below `path`."""

    def __init__(self, path: Path) -> None:
        file = path / "gatepost.toml"
        text = build_default_config(
            state_path=str(path), hostname="gw.example.org", listen="127.0.0.1:2525", next_hop="[127.0.0.1:2526]",
            protected_domains=("example.org",), log_filename="",
        )  # fmt: skip
        file.write_text(text)
        config = load(file).config
        assert isinstance(config, Config)
        self.config = config
        self.exports = path / "exports"
        self.exports.mkdir()
        self.relays = FakeRelays(self.exports)
        self.learning = FakeLearning()
        self.desk = Desk()
        self.listed: list[dict[str, Any]] = []
        relays: Any = self.relays
        learning: Any = self.learning
        register_mail_calls(self.desk, relays, learning, lambda: self.config, self.exports, lambda _, __: None)

    def put(self, kind: StoreKind, *news: New) -> list[str]:
        places = {place.kind: place.directory for place in store_places(self.config)}
        with Store(places[kind], create=True) as store:
            return put(store, *news)

    async def ask(self, caller: Caller, call: str, /, **arguments: Any) -> Any:
        return await self.desk.handle(Request(call, arguments), caller)


def caller(role: Role, *domains: str) -> Caller:
    return Caller(f"{role.value} person", RIGHTS_OF[role], domains, "console")


ADMIN, OPERATOR, QUARANTINE, READER = map(caller, (Role.ADMIN, Role.OPERATOR, Role.QUARANTINE, Role.READ_ONLY))
OURS = caller(Role.DOMAIN, "example.org")


def in_office(path: Path, work: Callable[[Office], Awaitable[None]]) -> None:
    async def scene() -> None:
        await work(Office(path))

    asyncio.run(scene())


def outgoing(message: New) -> New:
    envelope = msgspec.structs.replace(message.item.envelope, direction=Direction.OUTBOUND)
    return New(msgspec.structs.replace(message.item, envelope=envelope), message.content)


def infected(message: New) -> New:
    return New(msgspec.structs.replace(message.item, statuses=("infected",)), message.content)


def test_a_list_is_newest_first_over_all_its_parts_and_counted(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        ids = office.put(SPAM, *(new(store=SPAM, at=NOW + step, code="SPM", threat="") for step in range(5)))
        seen: list[str] = []
        cursor = ""
        while True:
            part = await office.ask(
                READER, "stores.list", kinds=["spam-quarantine"], limit=2, cursor=cursor, totals=True
            )
            assert part["totals"]["items"] == 5
            seen += [row["id"] for row in part["rows"]]
            cursor = part["cursor"]
            if not cursor:
                break
        assert seen == ids[::-1]
        assert (await office.ask(READER, "stores.list", kinds=["backup"]))["rows"] == []
        places = {place["kind"]: place["items"] for place in await office.ask(READER, "stores.places")}
        assert places["spam-quarantine"] == 5
        late = await office.ask(READER, "stores.list", filter={"since": NOW + 3, "until": NOW + 4})
        assert [row["id"] for row in late["rows"]] == [ids[3]]
        for wrong in ({"cursor": "nonsense"}, {"kinds": ["cellar"]}, {"filter": {"codes": ["XXX"]}}):
            with pytest.raises(ControlError):
                await office.ask(READER, "stores.list", **wrong)

    in_office(tmp_path, work)


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        (new(store=SPAM, recipients=("a@example.org",)), True),
        (new(store=SPAM, recipients=("A@EXAMPLE.ORG",)), True),
        (new(store=SPAM, recipients=("b@other.example", "a@example.org")), True),
        (new(store=SPAM, recipients=("b@other.example",)), False),
        (new(store=SPAM, recipients=("b@sub.example.org",)), False),
        (new(store=SPAM, recipients=("b@notexample.org",)), False),
        (new(store=SPAM, sender="boss@example.org", recipients=("b@other.example",)), False),
        (outgoing(new(store=SPAM, sender="boss@example.org", recipients=("b@other.example",))), True),
        (outgoing(new(store=SPAM, sender="boss@other.example", recipients=("b@third.example",))), False),
    ],
)  # fmt: skip
def test_who_has_domains_sees_mail_of_these_only(tmp_path: Path, message: New, seen: bool) -> None:
    async def work(office: Office) -> None:
        (item,) = office.put(SPAM, message)
        rows = (await office.ask(OURS, "stores.list"))["rows"]
        assert [row["id"] for row in rows] == ([item] if seen else [])
        for row in rows:
            assert all(each.lower().endswith("@example.org") for each in row["recipients"])
        calls: list[tuple[str, dict[str, Any]]] = [
            ("stores.show", {"item": item}), ("stores.preview", {"item": item}), ("stores.export", {"item": item}),
        ]  # fmt: skip
        for call, arguments in calls:
            if seen:
                await office.ask(OURS, call, **arguments)
            else:
                with pytest.raises(ControlError, match="no such stored message"):
                    await office.ask(OURS, call, **arguments)
        found = await office.ask(OURS, "stores.of", queue_id=item.partition("-")[0])
        assert [each["id"] for each in found] == ([item] if seen else [])
        if not seen:
            for call in ("stores.release", "stores.delete"):
                outcome = await office.ask(OURS, call, items=[item])
                assert outcome[item]["refused"] == f"{item}: no such stored message"
            assert not [each for each in office.relays.asked if each[0] == "release"]
            counted = await office.ask(OURS, "stores.act", verb="delete", dry_run=True)
            assert counted["found"] == 0

    in_office(tmp_path, work)


def test_who_else_got_a_mail_is_not_found_by_guessing(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        (both,) = office.put(SPAM, new(store=SPAM, recipients=("anna@example.org", "berta@other.example")))

        async def found(who: Caller, **chosen: Any) -> bool:
            return bool((await office.ask(who, "stores.list", filter=chosen))["rows"])

        guesses: list[dict[str, Any]] = [
            {"recipients": ["berta@other.example"]},
            {"recipients": ["other.example"]},
            {"text": "berta"},
            {"text": "anna other.example"},
        ]
        for guess in guesses:
            assert await found(READER, **guess), guess
            assert not await found(OURS, **guess), guess
        subject = (await office.ask(ADMIN, "stores.show", item=both))["subject"]
        sender = (await office.ask(ADMIN, "stores.show", item=both))["sender"]
        for own in ({"recipients": ["anna@*"]}, {"recipients": ["x@y.example", "example.org"]}, {"text": "ANNA"}):
            assert await found(OURS, **own), own
        assert await found(OURS, text=f"{subject} anna@example.org {sender.upper()}")

    in_office(tmp_path, work)


def test_an_account_may_have_as_many_domains_as_it_may(tmp_path: Path) -> None:
    many = [f"d{number}.example" for number in range(DOMAINS_LIMIT - 1)]

    async def work(office: Office) -> None:
        office.put(SPAM, new(store=SPAM, recipients=("a@example.org",)))
        rows = await office.ask(caller(Role.DOMAIN, *many, "example.org"), "stores.list", filter={"text": "example"})
        assert len(rows["rows"]) == 1

    in_office(tmp_path, work)


def test_who_has_domains_acts_for_their_people_only(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        (both,) = office.put(SPAM, new(store=SPAM, recipients=("a@example.org", "b@other.example")))
        await office.ask(OURS, "stores.release", items=[both])
        assert office.relays.asked[-1][1]["recipients"] == ["a@example.org"]
        told = await office.ask(OURS, "stores.release", items=[both], to=["b@other.example"])
        assert "people of example.org only" in told[both]["refused"]
        told = await office.ask(OURS, "stores.delete", items=[both])
        assert "people of other domains" in told[both]["refused"]
        shown = await office.ask(OURS, "stores.show", item=both)
        assert shown["recipients"] == ["a@example.org"]
        assert (await office.ask(ADMIN, "stores.delete", items=[both]))[both] == {"deleted": True}

    in_office(tmp_path, work)


def test_malware_is_let_go_by_operators_who_are_sure(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        (virus,) = office.put(StoreKind.QUARANTINE, infected(new()))
        (spam,) = office.put(SPAM, new(store=SPAM, code="SPM", threat=""))
        (both,) = office.put(SPAM, infected(new(store=SPAM, code="INF")))
        for who, item, sure, refusal in (
            (QUARANTINE, spam, False, ""),
            (OURS, spam, False, ""),
            (QUARANTINE, virus, True, "only spam may be released"),
            (QUARANTINE, both, True, "only spam may be released"),
            (OPERATOR, virus, False, "confirm that it is to be released"),
            (OPERATOR, both, False, "confirm that it is to be released"),
            (OPERATOR, virus, True, ""),
        ):
            outcome = (await office.ask(who, "stores.release", items=[item], sure=sure))[item]
            assert refusal in outcome.get("refused", ""), (who.name, item)
            assert bool(outcome.get("queue_id")) is not bool(refusal)
        with pytest.raises(Refused):
            await office.ask(QUARANTINE, "stores.release", items=[spam], checked=False)
        assert not (await office.ask(QUARANTINE, "stores.show", item=virus))["may_release"]
        console = {"quarantine_releases_malware": True}
        office.config = msgspec.structs.replace(
            office.config, console=msgspec.structs.replace(office.config.console, **console)
        )
        outcome = await office.ask(QUARANTINE, "stores.release", items=[virus], sure=True)
        assert outcome[virus]["queue_id"]

    in_office(tmp_path, work)


def test_rights_are_those_of_the_table(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        (item,) = office.put(SPAM, new(store=SPAM))
        calls: dict[str, tuple[dict[str, Any], set[Role]]] = {
            "stores.list": ({}, set(Role)),
            "stores.show": ({"item": item}, set(Role)),
            "stores.preview": ({"item": item}, set(Role) - {Role.READ_ONLY}),
            "stores.export": ({"item": item}, set(Role) - {Role.READ_ONLY}),
            "stores.release": ({"items": [item]}, set(Role) - {Role.READ_ONLY}),
            "stores.report": ({"items": [item], "lesson": "spam"}, {Role.ADMIN, Role.OPERATOR, Role.QUARANTINE}),
            "stores.delete": ({"items": [item]}, set(Role) - {Role.READ_ONLY}),
        }
        for call, (arguments, allowed) in calls.items():
            for role in Role:
                who = caller(role, *(("example.org",) if role is Role.DOMAIN else ()))
                if role in allowed:
                    await office.ask(who, call, **arguments)
                else:
                    with pytest.raises(Refused):
                        await office.ask(who, call, **arguments)

    in_office(tmp_path, work)


def test_everything_a_filter_chooses_is_done_in_steps(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        news = [new(store=SPAM, at=NOW + step, sender="bad@one.example") for step in range(25)]
        kept = new(store=SPAM, at=NOW, sender="good@two.example")
        office.put(SPAM, *news, kept)
        chosen: dict[str, Any] = {"kinds": ["spam-quarantine"], "filter": {"senders": ["bad@one.example"]}}
        assert (await office.ask(ADMIN, "stores.act", verb="delete", dry_run=True, **chosen))["found"] == 25
        done, cursor, steps = 0, "", 0
        while True:
            step = await office.ask(ADMIN, "stores.act", verb="delete", cursor=cursor, **chosen)
            done += step["done"]
            steps += 1
            cursor = step["cursor"]
            if step["ended"]:
                break
        assert (done, steps) == (25, 2)
        rest = await office.ask(ADMIN, "stores.list", kinds=["spam-quarantine"])
        assert [row["sender"] for row in rest["rows"]] == ["good@two.example"]
        with pytest.raises(ControlError, match="no act"):
            await office.ask(ADMIN, "stores.act", verb="eat", **chosen)

    in_office(tmp_path, work)


def test_content_is_handed_out_in_pieces_and_previews_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(office: Office) -> None:
        (item,) = office.put(SPAM, new(b"0123456789" * 3, store=SPAM))
        monkeypatch.setattr(kept_content, "PIECE", 12)
        data, offset = b"", 0
        while offset is not None:
            piece = await office.ask(ADMIN, "stores.export", item=item, offset=offset)
            assert piece["size"] == 30
            data += base64.b64decode(piece["data"])
            offset = piece["next"]
        assert data == b"0123456789" * 3
        shown = await office.ask(ADMIN, "stores.preview", item=item)
        assert shown["text"] == "x"
        assert shown["objects"][0]["threat"] == "Worm.Test"
        assert list(office.exports.iterdir()) == []
        assert "directory" not in str(shown)

    in_office(tmp_path, work)


def test_what_is_taught_for_some_domains_counts_for_these(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        (item,) = office.put(SPAM, new(store=SPAM, recipients=("a@example.org", "b@other.example")))
        told = await office.ask(QUARANTINE, "stores.report", items=[item], lesson="wanted", uds=True)
        assert told[item] == {"lesson": "learned", "uds": {"uds.example": ""}}
        assert office.learning.asked[-1]["domain"] == ""
        assert office.learning.asked[-1]["spam"] is False
        scoped = caller(Role.QUARANTINE, "example.org")
        await office.ask(scoped, "stores.report", items=[item], lesson="spam")
        assert office.learning.asked[-1]["domain"] == "example.org"
        await office.ask(scoped, "stores.report", items=[item], lesson="forget")
        assert office.learning.asked[-1]["call"] == "forget"
        with pytest.raises(ControlError, match="no lesson"):
            await office.ask(scoped, "stores.report", items=[item], lesson="x")

    in_office(tmp_path, work)


def test_the_sender_goes_on_a_list_by_the_call_of_lists(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        (item,) = office.put(SPAM, new(store=SPAM, sender="joe@one.example"))
        (report,) = office.put(SPAM, new(store=SPAM, sender="", at=NOW + 1))
        noted: list[dict[str, Any]] = []

        async def add(arguments: Any, _: Caller) -> str:
            noted.append(dict(arguments))
            return "done"

        office.desk.add("lists.add", Right.LISTS, add, scoped=True)
        await office.ask(OURS, "stores.allow", item=item)
        await office.ask(ADMIN, "stores.block", item=item, whole_domain=True)
        assert [(each["list"], each["entry"], each["scope"]) for each in noted] == [
            ("allow", "joe@one.example", "example.org"),
            ("block", "*@one.example", ""),
        ]
        with pytest.raises(ControlError, match="no sender"):
            await office.ask(ADMIN, "stores.block", item=report)
        for strange in ("*@bank.example", "!joe@one.example", '"a b"@one.example'):
            (masked,) = office.put(SPAM, new(store=SPAM, sender=strange, at=NOW + 2))
            with pytest.raises(ControlError, match="more than itself"):
                await office.ask(ADMIN, "stores.allow", item=masked)
        with pytest.raises(Refused):
            await office.ask(QUARANTINE, "stores.allow", item=item)

    in_office(tmp_path, work)


def test_only_the_command_line_names_files_of_what_was_learned(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        for who in (ADMIN, QUARANTINE):
            with pytest.raises(Refused, match="command line"):
                await office.ask(who, "learning", call="export", file="weights")
            await office.ask(who, "learning.status")
            await office.ask(who, "learning.undo", who="bob", hours=1)
        await office.ask(local_caller("root"), "learning", call="reset")
        assert [each["call"] for each in office.learning.asked] == ["status", "undo", "status", "undo", "reset"]
        with pytest.raises(Refused):
            await office.ask(READER, "learning.recent")

    in_office(tmp_path, work)
