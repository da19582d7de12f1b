"""`gatepost lists`: what is added is shown, exported, imported elsewhere and removed again, through the gateway's desk."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatepost.cli import gateway as cli_gateway
from gatepost.cli.lists import COLUMNS, STEP, app
from gatepost.config.load import load_text
from gatepost.control.desk import Desk
from gatepost.control.rights import Caller, local_caller
from gatepost.control.socket import Request
from gatepost.master.lists import Lists

TEXT = """\
[network]
hostname = "mx.corp.example"
[access]
relay_rule = "deny from any to *"
[antispam]
white_list = ["partner@x.example"]
[[group]]
name = "sales"
recipients = ["*@sales.example"]
"""


class _Audit:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def write(self, caller: Caller, call: str, _: Any, __: str) -> None:
        self.calls.append((caller.name, call))


class _Host:
    """A gateway as the command finds it."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = place / "state"
        self.state.mkdir(parents=True)
        self.file = place / "gatepost.toml"
        self.file.write_text(TEXT + f'[relay]\nstate_path = "{self.state}"\n')
        config = load_text(TEXT, "gatepost.toml").config
        assert config is not None
        self.audit = _Audit()
        self.requests = 0
        self.now = 1_800_000_000.0
        desk = Desk(self.audit)

        async def spread() -> None:
            pass

        Lists(str(self.state), lambda: config, spread, lambda _, __: None, lambda: self.now).register(desk)

        def call(_: Path, name: str, /, **arguments: Any) -> Any:
            self.requests += 1
            wire = json.loads(json.dumps(arguments))
            answer = asyncio.run(desk.handle(Request(name, wire), local_caller("root")))
            return json.loads(msgspec.json.encode(answer))

        monkeypatch.setattr(cli_gateway, "call", call)

    def run(self, *words: str) -> int:
        try:
            return int(app([*words, "-c", str(self.file)], exit_on_error=False, result_action="return_value") or 0)
        except SystemExit as error:
            return int(error.code or 0)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Host:
    return _Host(tmp_path / "one", monkeypatch)


def test_an_entry_is_added_shown_and_removed(host: _Host, capsys: pytest.CaptureFixture[str]) -> None:
    """With its group, its end and its note; by its text or by its number; and the audit log has who did it."""
    assert host.run("add", "block", "@spam.example", "--for", "group:sales", "--note", "asked for") == 0
    assert host.run("add", "allow", "friend@y.example", "--until", "2031-12-31") == 0
    assert host.run("add", "allow", "friend@y.example", "--until", "2031-12-31") == 0
    assert "is there already" in capsys.readouterr().out
    assert host.run("show") == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in shown] == ["allow", "block", "allow"]
    assert "for group:sales (by root; asked for)" in shown[1]
    assert "until 2031-12-31" in shown[0]
    assert "in the configuration (antispam)" in shown[2]
    assert host.run("show", "--list", "block", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["side"], row["scope"], row["note"]) == ("block", "group:sales", "asked for")
    assert host.run("remove", row["entry"]) == 1, "it is not for everybody"
    assert host.run("remove", "@spam.example", "--for", "group:sales") == 0
    assert host.run("remove", "2") == 0
    assert host.run("remove", "2") == 1
    capsys.readouterr()
    assert host.run("show", "--json") == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [0]
    changes = [call for name, call in host.audit.calls if name == "root"]
    assert changes == ["lists.add"] * 3 + ["lists.remove"] * 3


def test_what_stands_in_the_configuration_is_removed_there(host: _Host, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says where."""
    assert host.run("remove", "partner@x.example") == 1
    assert "stands in the configuration (antispam)" in capsys.readouterr().err


def test_export_and_import_make_the_same_lists(
    host: _Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than one request takes; the second time everything is there already."""
    file = tmp_path / "lists.csv"
    entries = [("block", f"*@spam{number}.example", "", "", f'note, "{number}"') for number in range(STEP + 5)]
    entries += [("allow", "192.0.2.0/24", "group:sales", "2031-12-31", "ünïcode")]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([COLUMNS, *entries])
    assert host.run("import", str(file), "--dry-run") == 0
    assert "all of them can be" in capsys.readouterr().out
    assert host.run("import", str(file)) == 0
    assert capsys.readouterr().out == f"{len(entries)} added, 0 were there\n"
    saved = tmp_path / "saved.csv"
    assert host.run("export", str(saved)) == 0
    other = _Host(tmp_path / "two", monkeypatch)
    capsys.readouterr()
    assert other.run("import", str(saved), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"entries": len(entries), "added": len(entries)}
    assert other.run("import", str(saved)) == 0
    assert capsys.readouterr().out == f"0 added, {len(entries)} were there\n"
    assert other.run("export") == 0
    assert capsys.readouterr().out == saved.read_text()
    assert [tuple(row) for row in csv.reader(saved.read_text().splitlines())][1:] == entries


def test_what_an_entry_says_of_proof_comes_along_and_what_has_ended_stays_behind(
    host: _Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An entry that has ended counts nowhere, and would have all of the import refused."""
    assert host.run("add", "allow", "!boss@y.example") == 0
    assert host.run("add", "block", "@spam.example", "--until", "2027-02-01") == 0
    host.now += 60 * 86400
    capsys.readouterr()
    assert host.run("show", "--list", "block") == 0
    assert "ended 2027-02-01" in capsys.readouterr().out
    saved = tmp_path / "saved.csv"
    assert host.run("export", str(saved)) == 0
    assert saved.read_text().splitlines()[1:] == ["allow,!boss@y.example,,,"]
    other = _Host(tmp_path / "two", monkeypatch)
    other.now = host.now
    assert other.run("import", str(saved)) == 0
    capsys.readouterr()
    assert other.run("show", "boss") == 0
    assert "allow !boss@y.example for everybody" in capsys.readouterr().out
    assert other.run("show", "boss", "--json") == 0
    assert [row["free"] for row in json.loads(capsys.readouterr().out)] == [True]


def test_a_list_is_imported_from_standard_input(
    host: _Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As other programs write it."""
    raw = io.BytesIO(b"\xef\xbb\xbfEntry,List\r\n@a.example,block\r\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(raw))
    assert host.run("import", "-") == 0
    assert capsys.readouterr().out == "1 added, 0 were there\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("who,what\na,b\n", "the first line is to be"),
        ("list,entry\nblock,@a.example,x\n", "line 2 has more fields"),
        ("list,entry\nblock,@a.example\nmaybe,@b.example\n", "entry 2 (@b.example): a list is one of"),
        ("list,entry,scope\nblock,@a.example,group:nobody\n", "there is no group"),
        ("", "the first line is to be"),
    ],
)
def test_a_file_with_a_fault_changes_nothing(
    host: _Host, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    """It says where the fault is."""
    file = tmp_path / "faulty.csv"
    file.write_text(text)
    assert host.run("import", str(file)) == 1
    assert why in capsys.readouterr().err
    assert host.run("export", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_fault_far_down_is_told_by_its_number(
    host: _Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also in the second request, and the first has added nothing."""
    file = tmp_path / "faulty.csv"
    file.write_text("list,entry\n" + "".join(f"block,@s{n}.example\n" for n in range(STEP + 2)) + "block,a b\n")
    assert host.run("import", str(file)) == 1
    assert f"entry {STEP + 3} (a b)" in capsys.readouterr().err
    assert not (host.state / "lists.json").exists()


def test_a_gateway_that_does_not_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the code of what cannot be done."""
    file = tmp_path / "gatepost.toml"
    file.write_text(TEXT + f'[relay]\nstate_path = "{tmp_path}"\n')
    with pytest.raises(SystemExit) as ended:
        app(["show", "-c", str(file)], exit_on_error=False)
    assert ended.value.code == 1
    assert "no gateway answers" in capsys.readouterr().err
