"""Own texts by call: checked, shown with a sample, saved, put in force or put back, every version kept."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatepost.config.grouping import POLICY_GROUP
from gatepost.config.guarding import OWN_FILES
from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import RIGHTS_OF, Caller, Role
from gatepost.control.socket import ControlError, NotThere, Request, Stale
from gatepost.master.configuration import NotReloaded
from gatepost.master.own_texts import OwnTexts
from gatepost.master.settings import find_fault, settle_automatic
from gatepost.notices.grammar import SIZE_LIMIT
from gatepost.notices.group import GroupTexts
from gatepost.notices.group import Role as NoticeRole
from gatepost.notices.own_texts import DIRECTORY, TEXT_KINDS
from gatepost.notices.template import shipped_path, shipped_template

ADMIN = Caller("ada", RIGHTS_OF[Role.ADMIN], via="console")
ADMINS = {"name": "notify-admin", "language": "en"}
FIRST = '<DEF NOTICE_SUBJECT = "Found: %SUBJECT%"/>\nWe have found <FOR VIRUS == "*">%VIRUS%</FOR>.\n'
SECOND = "Second of %HOSTNAME%.\n"


class _Audit:
    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []

    def write(self, _: Caller, call: str, arguments: Any, __: str) -> None:
        self.written.append((call, arguments))


class _Bench:
    def __init__(self, state: Path) -> None:
        self.directory = state / DIRECTORY
        self.file = self.directory / "en" / "notify-admin.tmpl"
        self.config = _config(state)
        self.trouble: ControlError | None = None
        self.reloads = 0
        self.audit = _Audit()
        self.desk = Desk(self.audit)
        OwnTexts(lambda: self.config, self._reload, lambda: 1_800_000_000.0).register(self.desk)

    async def _reload(self) -> str:
        self.reloads += 1
        if self.trouble is not None:
            raise self.trouble
        return "reloaded"

    def call(self, name: str, caller: Caller = ADMIN, /, **arguments: Any) -> Any:
        return asyncio.run(self.desk.handle(Request(f"texts.{name}", {**ADMINS, **arguments}), caller))

    def save(self, text: str, **arguments: Any) -> Any:
        digest = self.call("show", **arguments)["digest"]
        return self.call("save", text=text, digest=digest, **arguments)


def _config(state: Path, *groups: str, options: str = "") -> Config:
    head = f'[network]\nhostname = "gw.example.org"\n[relay]\nstate_path = "{state}"\n'
    config = load_text(head + f"[options]\n{options}\n" + "".join(groups), "x.toml").config
    assert config is not None
    return config


@pytest.fixture
def bench(tmp_path: Path) -> _Bench:
    return _Bench(tmp_path)


def test_the_shipped_text_is_shown_until_there_is_an_own_one(bench: _Bench) -> None:
    """And again once that is taken back."""
    before = bench.call("show")
    assert (before["own"], before["text"]) == (False, shipped_path("notify-admin").read_text())
    done = bench.save(FIRST.replace("\n", "\r\n"), comment="shorter")
    assert (done["number"], done["told"], bench.reloads) == (1, "reloaded", 1)
    assert bench.file.read_text() == FIRST
    after = bench.call("show")
    assert (after["own"], after["text"], after["digest"]) == (True, FIRST, done["digest"])
    assert [(row["name"], row["language"]) for row in bench.call("list") if row["own"]] == [("notify-admin", "en")]
    assert bench.call("reset", digest=done["digest"])["number"] == 2
    assert not bench.file.exists()
    assert bench.call("show") == before
    assert dict(bench.audit.written)["texts.save"] == {
        **ADMINS,
        "group": "",
        "characters": len(FIRST) + 2,
        "comment": "shorter",
    }


def test_what_groups_say_is_the_own_text_unless_they_name_a_file(tmp_path: Path) -> None:
    """By language; delivery reports are one for all."""
    bench, named = _Bench(tmp_path), tmp_path / "named.tmpl"
    named.write_text("named\n")
    groups = (
        f'[[group]]\nname = "elsewhere"\nrecipients = ["a@example.org"]\nnotify_admin_template = "{named}"\n',
        '[[group]]\nname = "russian"\nrecipients = ["b@example.org"]\ntext_language = "ru"\n',
    )
    bench.config = _config(tmp_path, *groups)
    assert settle_automatic(bench.config).groups == bench.config.groups
    bench.save(SECOND)
    bench.save("Sorry.\n", name="dsn")
    settled = settle_automatic(bench.config)
    said = {
        group.name: GroupTexts.from_config(group).templates[NoticeRole.ADMIN].render({"HOSTNAME": "gw"})
        for group in settled.groups
    }
    assert said["elsewhere"] == "named\r\n"
    assert said["russian"] == shipped_template("notify-admin", "ru").render({"HOSTNAME": "gw"})
    assert said[POLICY_GROUP] == "Second of gw.\r\n"
    assert Path(settled.options.dsn_template).read_text() == "Sorry.\n"
    bench.config = settled
    row = bench.call("show")
    assert (row["used_by"], row["elsewhere"]) == ([POLICY_GROUP], ["elsewhere"])
    assert bench.call("show", name="dsn")["used_by"] == [""]
    bench.config = _config(tmp_path, options=f'dsn_template = "{named}"')
    assert bench.call("show", name="dsn")["elsewhere"] == [""]
    assert settle_automatic(bench.config).options.dsn_template == str(named)


def test_a_group_has_a_text_apart_from_that_of_all(tmp_path: Path) -> None:
    """With versions of its own; what the configuration names goes before, and without it the group says what all say."""
    bench, named = _Bench(tmp_path), tmp_path / "named.tmpl"
    named.write_text("named\n")
    names = ["sales/../x", "sales", ".", "Отдел " + "продаж" * 40, "Отдел " + "продаж" * 40 + "2"]
    groups = [
        f'[[group]]\nname = "{name}"\nrecipients = ["r{number}@example.org"]\n' for number, name in enumerate(names)
    ]
    groups.append(f'[[group]]\nname = "file"\nrecipients = ["f@example.org"]\nnotify_admin_template = "{named}"\n')
    groups.append('[[group]]\nname = "russian"\nrecipients = ["b@example.org"]\ntext_language = "ru"\n')
    config = bench.config = _config(tmp_path, *groups)
    bench.save(SECOND)
    for name in [*names, "file", "russian"]:
        assert bench.call("show", group=name)["text"] == SECOND
        bench.save(f"For {name}.\n", group=name)
    assert {path.relative_to(bench.directory).parts[:2] for path in bench.directory.rglob("*.tmpl")} == {
        ("en", "groups"), ("en", "notify-admin.tmpl"),
    }  # fmt: skip
    bench.config = settle_automatic(config)
    said = {
        group.name: GroupTexts.from_config(group).templates[NoticeRole.ADMIN].render({"HOSTNAME": "gw"})
        for group in bench.config.groups
    }
    assert said.pop("russian") == shipped_template("notify-admin", "ru").render({"HOSTNAME": "gw"})
    apart = {name: f"For {name}.\r\n" for name in names}
    assert said == {**apart, "file": "named\r\n", POLICY_GROUP: "Second of gw.\r\n"}
    row = bench.call("show")
    assert (row["used_by"], row["elsewhere"], row["apart"]) == ([POLICY_GROUP], ["file"], names)
    assert (bench.call("show", group="sales")["used_by"], bench.call("show", group="file")["elsewhere"]) == (
        ["sales"],
        ["file"],
    )
    assert [version.number for version in bench.call("history", group="sales")] == [1]
    bench.call("reset", group="sales", digest=bench.call("show", group="sales")["digest"])
    assert bench.call("show", group="sales")["text"] == SECOND
    assert [version.comment for version in bench.call("history", group="sales")] == ["the text of all groups", ""]
    for wrong in ({"group": "nobody"}, {"group": "sales", "name": "dsn"}, {"group": ".."}):
        with pytest.raises(NotThere):
            bench.call("save", **wrong, text="x", digest="")


def test_an_own_text_with_a_fault_on_disk_stops_a_start(bench: _Bench) -> None:
    """As any other template."""
    bench.save(FIRST)
    bench.file.write_text("100 %\n")
    fault = find_fault(bench.config)
    assert f"{bench.file}:1:5" in fault


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        ("fine\n<FOR A>\n", 2, 1, "this FOR is not of the form"),
        ("fine\nmore\n 5 %\n", 3, 4, "percent"),
        ("x" * (SIZE_LIMIT + 1), 1, 1, "larger than"),
        ("bell \x07", 1, 6, "control character"),
    ],
)
def test_a_fault_is_told_with_its_line_and_changes_nothing(
    bench: _Bench, text: str, line: int, column: int, why: str
) -> None:
    first = bench.call("check", text=text)["faults"][0]
    assert (first["line"], first["column"]) == (line, column)
    assert why in first["what"]
    with pytest.raises(ControlError, match=f"line {line}, column {column}"):
        bench.save(text)
    with pytest.raises(ControlError, match="an empty text"):
        bench.save(" \n")
    assert (bench.reloads, bench.directory.exists()) == (0, False)


def test_a_page_of_faults_is_told_in_part(bench: _Bench) -> None:
    assert len(bench.call("check", text="%\n" * 2000)["faults"]) == 50


def test_unknown_macros_are_warned_of(bench: _Bench) -> None:
    """They stand for nothing, and may be saved."""
    found = bench.call("check", text="a\n%NOBODY%\n")
    assert [(each["line"], each["column"]) for each in found["warnings"]] == [(2, 1)]
    assert found["faults"] == []


def test_a_sample_is_as_who_gets_it_sees_it(bench: _Bench) -> None:
    """Header and text; HTML apart."""
    found = bench.call("check", text=FIRST)
    fields = {each["name"]: each["value"] for each in found["fields"]}
    assert fields["Subject"] == "Found: Prices"
    assert fields["To"] == "<postmaster@example.org>"
    assert fields["Auto-Submitted"] == "auto-generated"
    assert "We have found EICAR" in found["text"]
    beyond = bench.call("check", text='<DEF NOTICE_SUBJECT = "Найдено"/>x')
    assert {"name": "Subject", "value": "Найдено"} in beyond["fields"]
    report = bench.call("check", name="dsn", text="no such %DSN_RCPT%")
    assert {"name": "Subject", "value": "Mail delivery failed"} in report["fields"]
    assert report["text"] == "no such first@example.org"
    html = bench.call("check", name="digest-html", text="\\<b\\>%DIGEST_COUNT%\\</b\\>")
    assert (html["html"], html["text"], html["fields"]) == ("<b>12</b>", "", [])


@pytest.mark.parametrize("name", [kind.name for kind in TEXT_KINDS])
def test_every_shipped_text_can_be_saved_as_it_is(bench: _Bench, name: str) -> None:
    for language in next(kind.languages for kind in TEXT_KINDS if kind.name == name):
        shown = bench.call("show", name=name, language=language)
        found = bench.call("check", name=name, language=language, text=shown["text"])
        assert (found["faults"], found["warnings"]) == ([], [])
        assert found["html" if shown["html"] else "text"]
        bench.save(shown["text"], name=name, language=language)
        assert (bench.directory / language / f"{name}.tmpl").read_text() == shown["text"]
    assert find_fault(bench.config) == ""


@pytest.mark.parametrize(
    ("name", "language"),
    [("../accounts", "en"), ("notify-admin", ".."), ("notify-admin", "../.."), ("dsn", "ru"), ("bounce", "en")],
)
def test_there_are_no_texts_but_those_of_the_product(bench: _Bench, name: str, language: str) -> None:
    """No path comes from outside; nor may a parameter that the console sets name a file of ours."""
    for call in ("show", "check", "history", "save", "reset", "rollback"):
        with pytest.raises(NotThere):
            bench.call(call, name=name, language=language, text="x", digest="", number=1)
    assert not bench.directory.exists()
    assert DIRECTORY in OWN_FILES


def test_who_saves_must_have_seen_what_is_there(bench: _Bench) -> None:
    seen = bench.call("show")["digest"]
    bench.save(FIRST)
    for call in ("save", "reset", "rollback"):
        with pytest.raises(Stale):
            bench.call(call, text=SECOND, digest=seen, number=1)
    assert bench.file.read_text() == FIRST


def test_what_a_reload_does_not_take_is_put_back(bench: _Bench) -> None:
    """And no version is kept of it; what is in force in part stays."""
    bench.save(FIRST)
    bench.trouble = NotReloaded("the file has errors")
    with pytest.raises(NotReloaded):
        bench.save(SECOND)
    with pytest.raises(NotReloaded):
        bench.call("reset", digest=bench.call("show")["digest"])
    assert bench.file.read_text() == FIRST
    assert [row.number for row in bench.call("history")] == [1]
    bench.trouble = ControlError("databases are not new")
    with pytest.raises(ControlError, match="databases"):
        bench.save(SECOND)
    assert bench.file.read_text() == SECOND


def test_versions_are_kept_and_put_back(bench: _Bench) -> None:
    """With who and why, also what somebody wrote into the file; the first change is told against what ships."""
    bench.save(FIRST)
    bench.save(SECOND, comment="second")
    bench.file.write_text(SECOND + "by hand\n")
    assert bench.call("rollback", number=1, digest=bench.call("show")["digest"])["number"] == 4
    assert bench.file.read_text() == FIRST
    assert [(row.number, row.who, row.comment, row.current) for row in bench.call("history")] == [
        (4, "ada", "back to version 1", True),
        (3, "", "edited in the file", False),
        (2, "ada", "second", False),
        (1, "ada", "", False),
    ]
    (first,) = bench.call("history", number=1)
    assert "+We have found" in first.diff
    assert "\n-" in first.diff
    with pytest.raises(NotThere):
        bench.call("rollback", number=9, digest=bench.call("show")["digest"])


def test_only_who_may_change_the_configuration_saves(bench: _Bench) -> None:
    reader = Caller("rod", RIGHTS_OF[Role.READ_ONLY])
    assert bench.call("check", reader, text=FIRST)["faults"] == []
    for name in ("save", "reset", "rollback"):
        with pytest.raises(Refused):
            bench.call(name, reader, text=FIRST, digest="", number=1)
