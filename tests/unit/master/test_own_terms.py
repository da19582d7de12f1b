"""Own terms by call: checked, saved, put in force, put back where filters do not take them, and every version kept."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from gatepost.cli.spam_terms import describe_terms
from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import RIGHTS_OF, Caller, Right, Role
from gatepost.control.socket import ControlError, NotThere, Request, Stale
from gatepost.feeds.own import pin_own
from gatepost.master.bases_in_force import BASES_STAY
from gatepost.master.own_terms import FILE, OwnTerms, check_by_command

ADMIN = Caller("ada", RIGHTS_OF[Role.ADMIN], via="console")
FIRST = "= spam/own | gardens\n1.5 garden house*\n"
SECOND = FIRST + "1.2 half price\n"


class _Audit:
    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []

    def write(self, _: Caller, call: str, arguments: Any, __: str) -> None:
        self.written.append((call, arguments))


class _Bench:
    def __init__(self, place: Path) -> None:
        self.place = place / "own-spam"
        self.reloads: list[str] = []
        self.trouble = ""
        self.audit = _Audit()
        self.desk = Desk(self.audit)

        async def reload(_: Any, caller: Caller) -> str:
            self.reloads.append(caller.name)
            if self.trouble:
                raise ControlError(self.trouble)
            return "databases in force"

        self.desk.add("reloadbases", Right.SERVICE, reload, audited=True)
        OwnTerms(self.place, lambda text: describe_terms(text.encode()), lambda: 1_800_000_000.0).register(self.desk)

    def call(self, name: str, caller: Caller = ADMIN, /, **arguments: Any) -> Any:
        return asyncio.run(self.desk.handle(Request(f"terms.{name}", arguments), caller))

    def save(self, text: str, comment: str = "") -> Any:
        return self.call("save", text=text, digest=self.call("show")["digest"], comment=comment)

    def text(self) -> str:
        return (self.place / FILE).read_text()


@pytest.fixture
def bench(tmp_path: Path) -> _Bench:
    return _Bench(tmp_path)


def test_what_is_saved_counts_and_filters_are_told_of_it(bench: _Bench) -> None:
    """The file is among those that databases are pinned with; ends of lines do not matter."""
    assert bench.call("show")["text"] == ""
    done = bench.save(FIRST.replace("\n", "\r\n") + "\r\n\r\n", "asked for")
    assert (done["terms"], done["categories"], done["told"]) == (1, {"spam/own": 1}, "databases in force")
    assert bench.text() == FIRST
    assert [Path(each.path).name for each in pin_own(bench.place)] == [FILE]
    assert bench.reloads == ["ada"]
    saved = [arguments for call, arguments in bench.audit.written if call == "terms.save"]
    assert saved == [{"characters": len(FIRST.replace("\n", "\r\n")) + 4, "comment": "asked for"}]


def test_an_empty_text_is_no_file(bench: _Bench) -> None:
    """Nothing is left for filters to read."""
    bench.save(FIRST)
    bench.save("  \n")
    assert pin_own(bench.place) == ()


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (FIRST + "heavy garden\n", 3, "'heavy' is no weight"),
        ("1.2 garden house\n", 1, "before any category"),
        ("= spam/own/a/b/c\n", 1, ""),
        ("x" * 300_000, 0, "longer than"),
    ],
)
def test_a_text_with_a_fault_is_told_and_changes_nothing(bench: _Bench, text: str, line: int, why: str) -> None:
    """With the line."""
    found = bench.call("check", text=text)
    assert (found["line"], found["terms"]) == (line, 0)
    assert why in found["problem"]
    with pytest.raises(ControlError, match=why or "line 1"):
        bench.save(text)
    assert not (bench.place / FILE).exists()
    assert bench.reloads == []


def test_who_saves_must_have_seen_what_is_there(bench: _Bench) -> None:
    """Two people do not undo each other's work unseen."""
    seen = bench.call("show")["digest"]
    bench.save(FIRST)
    with pytest.raises(Stale):
        bench.call("save", text=SECOND, digest=seen)
    assert bench.text() == FIRST


def test_what_filters_do_not_take_is_put_back(bench: _Bench) -> None:
    """And no version is kept of it."""
    bench.save(FIRST)
    bench.trouble = f"{BASES_STAY}:\nno room"
    with pytest.raises(ControlError, match="no room"):
        bench.save(SECOND)
    assert bench.text() == FIRST
    assert [row.number for row in bench.call("history")] == [1]


def test_who_may_not_have_databases_reloaded_saves_nothing(bench: _Bench) -> None:
    """A token may have one right without the other."""
    bench.save(FIRST)
    token = Caller("ada (test)", frozenset({Right.CONFIGURATION, Right.CONFIGURE}), via="api")
    with pytest.raises(Refused):
        bench.call("save", token, text=SECOND, digest=bench.call("show")["digest"])
    assert bench.text() == FIRST
    assert [row.number for row in bench.call("history")] == [1]


def test_what_is_still_being_loaded_stays(bench: _Bench) -> None:
    """A slow reload is no refusal."""
    bench.trouble = "it takes longer"
    with pytest.raises(ControlError, match="it takes longer"):
        bench.save(FIRST)
    assert bench.text() == FIRST


def test_versions_are_kept_and_put_back(bench: _Bench) -> None:
    """With who and why, what each changed; also what somebody wrote into the file."""
    bench.save(FIRST, "first")
    bench.save(SECOND, "second")
    (bench.place / FILE).write_text(SECOND + "# by hand\n")
    digest = bench.call("show")["digest"]
    done = bench.call("rollback", number=1, digest=digest)
    assert done["number"] == 4
    assert bench.text() == FIRST
    rows = bench.call("history")
    assert [(row.number, row.who, row.comment) for row in rows] == [
        (4, "ada", "back to version 1"),
        (3, "", "edited in the file"),
        (2, "ada", "second"),
        (1, "ada", "first"),
    ]
    (second,) = bench.call("history", number=2)
    assert "+1.2 half price" in second.diff
    with pytest.raises(NotThere):
        bench.call("rollback", number=9, digest=bench.call("show")["digest"])


def test_only_who_may_change_the_configuration_saves(bench: _Bench) -> None:
    """Readers look and check."""
    reader = Caller("rod", RIGHTS_OF[Role.READ_ONLY])
    assert bench.call("check", reader, text=FIRST)["terms"] == 1
    for name in ("save", "rollback"):
        with pytest.raises(Refused):
            bench.call(name, reader, text=FIRST, digest="", number=1)


def test_the_command_reads_terms_as_filters_do() -> None:
    """What the master asks, in a process of its own."""
    assert check_by_command(FIRST) == describe_terms(FIRST.encode())
    assert check_by_command("nothing")["line"] == 1


def test_texts_are_looked_at_one_by_one(tmp_path: Path) -> None:
    """Whoever has many checked leaves the master's threads to others."""
    meeting = threading.Barrier(2)
    met: list[bool] = []

    def look(text: str) -> dict[str, Any]:
        try:
            meeting.wait(0.1)
        except threading.BrokenBarrierError:
            met.append(False)
        else:
            met.append(True)
        return describe_terms(text.encode())

    desk = Desk()
    OwnTerms(tmp_path / "own-spam", look).register(desk)

    async def scene() -> None:
        await asyncio.gather(*(desk.handle(Request("terms.check", {"text": FIRST}), ADMIN) for _ in range(2)))

    asyncio.run(scene())
    assert met == [False, False]
