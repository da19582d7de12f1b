"""The calls about lists: adding, removing, showing; within whose domains; what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatepost.config.load import load_text
from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import RIGHTS_OF, Caller, Role
from gatepost.control.socket import ControlError, Request
from gatepost.master import lists
from gatepost.master.lists import Lists
from gatepost.policy.listings import LISTS_FILE, decode_listings

ADMIN = Caller("ada", RIGHTS_OF[Role.ADMIN])
SALES = Caller("sam", RIGHTS_OF[Role.DOMAIN], domains=("sales.example",))
QUARANTINE = Caller("quinn", RIGHTS_OF[Role.QUARANTINE])
TEXT = """\
[network]
hostname = "mx.corp.example"
[access]
relay_rule = "deny from any to *"
[antispam]
white_list = ["partner@x.example  # until 2031-12-31 a note"]
[[group]]
name = "sales"
recipients = ["*@sales.example"]
black_list = ["192.0.2.0/24"]
"""


class Bench:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.spreads = 0
        self.said: list[str] = []
        config = load_text(TEXT, "gatepost.toml").config
        assert config is not None
        self.desk = Desk()
        self.lists = Lists(
            str(state),
            lambda: config,
            self.spread,
            lambda level, text: self.said.append(f"{level} {text}"),
            lambda: 1_800_000_000.0,
        )
        self.lists.register(self.desk)

    async def spread(self) -> None:
        self.spreads += 1

    def call(self, call: str, caller: Caller = ADMIN, /, **arguments: Any) -> Any:
        return asyncio.run(self.desk.handle(Request(f"lists.{call}", arguments), caller))

    def kept(self) -> list[tuple[str, str, str]]:
        return [
            (each.side, each.entry, each.scope)
            for each in decode_listings((self.state / LISTS_FILE).read_bytes()).listings
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_entry_is_kept_and_spread_before_the_answer(bench: Bench) -> None:
    done = bench.call("add", list="block", entry="@shop.example", note="a\x00b\n c", expires="2030-05-01", scope="all")
    assert (done["id"], done["added"], bench.spreads) == (1, True, 1)
    assert bench.kept() == [("block", "*@shop.example until 2030-05-01", "")]
    assert (done["row"].note, done["row"].by, done["row"].until) == ("a b c", "ada", "2030-05-01")
    assert not bench.call("add", list="block", entry="*@shop.example", expires="2030-05-01")["added"]
    again = Bench(bench.state)
    assert again.call("show", list="block", text="shop")["rows"][0].entry == "*@shop.example"
    assert again.call("add", list="allow", entry="a@shop.example")["id"] == 2
    assert [row.id for row in again.call("remove", ids=[1, 99])["removed"]] == [1]
    assert again.kept() == [("allow", "a@shop.example", "")]
    assert again.call("add", list="allow", entry="b@shop.example")["id"] == 3, "ids are never given twice"


def test_the_entries_of_the_configuration_are_shown_beside(bench: Bench) -> None:
    rows = bench.call("show")["rows"]
    assert [(row.id, row.side, row.entry, row.scope, row.until, row.origin) for row in rows] == [
        (0, "allow", "partner@x.example", "", "2031-12-31", "antispam"),
        (0, "block", "192.0.2.0/24", "group:sales", "", "group sales"),
    ]


def test_who_has_domains_sees_and_makes_entries_for_these_only(bench: Bench) -> None:
    bench.call("add", list="block", entry="@shop.example")
    bench.call("add", list="block", entry="@other.example", scope="other.example")
    bench.call("add", SALES, list="allow", entry="@shop.example", scope="sales.example")
    bench.call("add", SALES, list="allow", entry="@shop.example", scope="ann@sales.example")
    assert [row.scope for row in bench.call("show", SALES)["rows"]] == ["ann@sales.example", "sales.example"]
    for scope in ("", "group:sales", "other.example", "x@other.example", "sub.sales.example"):
        with pytest.raises(ControlError, match="own domains"):
            bench.call("add", SALES, list="allow", entry="a@x.example", scope=scope)
    with pytest.raises(ControlError, match="own domains"):
        bench.call("remove", SALES, ids=[1])
    assert len(bench.kept()) == 4
    bench.call("remove", SALES, ids=[3])
    assert len(bench.kept()) == 3
    with pytest.raises(Refused):
        bench.call("add", QUARANTINE, list="allow", entry="a@x.example")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"list": "grey", "entry": "a@x.example"}, "one of"),
        ({"list": "allow", "entry": "nonsense"}, "neither an address"),
        ({"list": "allow", "entry": "a@x.example b@x.example"}, "one entry at a time"),
        ({"list": "allow", "entry": "a@x.example\n*@*"}, "one entry at a time"),
        ({"list": "allow", "entry": "a@x.example,*@*"}, "comma"),
        ({"list": "allow", "entry": "a" * 500 + "@x.example"}, "one entry"),
        ({"list": "allow", "entry": "a@x.example", "expires": "2019-01-01"}, "today or later"),
        ({"list": "allow", "entry": "a@x.example", "expires": "soon"}, "no day like"),
        ({"list": "allow", "entry": "a@x.example", "scope": "group:nobody"}, "no group"),
        ({"list": "allow", "entry": "a@x.example", "scope": "* x"}, "neither all"),
    ],
)
def test_what_is_no_entry_is_refused(bench: Bench, arguments: dict[str, str], why: str) -> None:
    with pytest.raises(ControlError, match=why):
        bench.call("add", **arguments)
    assert not (bench.state / LISTS_FILE).exists()


def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / LISTS_FILE).write_text('{"last": 1, "listings": [{"id"')
    bench = Bench(tmp_path)
    assert bench.said[0].startswith("E ")
    assert bench.call("show")["damage"]
    with pytest.raises(ControlError, match="cannot be read"):
        bench.call("add", list="allow", entry="a@x.example")
    assert (tmp_path / LISTS_FILE).read_text().endswith('"id"')


def test_who_has_domains_leaves_room_for_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SCOPED_LIMIT", 3)
    for number in range(5):
        bench.call("add", list="block", entry=f"@x{number}.example", scope="other.example")
    for number in range(3):
        bench.call("add", SALES, list="block", entry=f"@x{number}.example", scope="sales.example")
    with pytest.raises(ControlError, match="of yours"):
        bench.call("add", SALES, list="block", entry="@y.example", scope="sales.example")
    assert bench.call("add", list="block", entry="@y.example", scope="sales.example")["added"]
    other = Caller("sue", SALES.rights, domains=SALES.domains)
    assert bench.call("add", other, list="block", entry="@z.example", scope="sales.example")["added"]
