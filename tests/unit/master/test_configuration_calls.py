"""The calls about the configuration: drafts, check, apply, default, history, roll-back, and what they refuse."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load
from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import RIGHTS_OF, Caller, Role
from gatepost.control.socket import ControlError, Request
from gatepost.master.configuration import Configuration, NotReloaded

ADMIN = Caller("ada", RIGHTS_OF[Role.ADMIN], via="console")
READER = Caller("rob", RIGHTS_OF[Role.READ_ONLY], via="console")


class Bench:
    """A configuration file, the calls about it, and a gateway that takes it."""

    def __init__(self, tmp_path: Path, name: str = "gatepost.toml", text: str = "") -> None:
        self.state = tmp_path / "state"
        self.state.mkdir()
        self.file = tmp_path / name
        self.file.write_text(text or build_default_config(state_path=str(self.state), hostname="mx.corp.example"))
        self.reloads: list[str] = []
        self.trouble: Exception | None = None
        self.said: list[str] = []
        self.desk = Desk()
        self.moment = 1_800_000_000.0
        Configuration(
            file=self.file,
            overrides=(),
            state_path=str(self.state),
            reload=self.reload,
            say=lambda letter, words: self.said.append(f"{letter} {words}"),
            clock=lambda: self.moment,
        ).register(self.desk)

    async def reload(self) -> str:
        self.reloads.append(self.file.read_text())
        if self.trouble is not None:
            raise self.trouble
        return "reloaded"

    def call(self, name: str, caller: Caller = ADMIN, /, **arguments: Any) -> Any:
        return asyncio.run(self.desk.handle(Request(f"configuration.{name}", arguments), caller))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def change(section: str, name: str, value: object, **more: object) -> dict[str, object]:
    return {"section": section, "name": name, "value": value, **more}


@pytest.mark.feature("F-WEB-01")
def test_an_edit_is_in_the_file_and_in_force(bench: Bench) -> None:
    before = bench.file.read_text()
    bench.file.chmod(0o640)
    checked = bench.call("check", changes=[change("limits", "incoming_sessions", 321)])
    assert "+incoming_sessions = 321" in checked["diff"]
    assert bench.file.read_text() == before
    done = bench.call(
        "apply", changes=[change("limits", "incoming_sessions", 321)], digest=checked["digest"], comment="more"
    )
    assert done["number"] == 2
    assert bench.reloads == [before.replace("incoming_sessions = 500", "incoming_sessions = 321")]
    assert bench.file.stat().st_mode & 0o777 == 0o640
    values = bench.call("values")
    shown = values["sections"]["limits"][0]["incoming_sessions"]
    assert (shown.value, shown.source) == (321, "file")
    newest, found = bench.call("history")
    assert (newest.number, newest.who, newest.comment, newest.current) == (2, "ada", "more", True)
    assert (found.number, found.comment, found.current) == (1, "as it was found", False)
    assert "-incoming_sessions = 500" in bench.call("history", number=2)[0].diff


def test_what_the_gateway_does_not_take_is_undone(bench: Bench) -> None:
    before = bench.file.read_text()
    bench.trouble = NotReloaded("port in use")
    with pytest.raises(ControlError, match="port in use"):
        bench.call("apply", changes=[change("limits", "incoming_sessions", 321)])
    assert bench.file.read_text() == before
    assert [row.comment for row in bench.call("history")] == ["as it was found"]


def test_what_is_in_force_in_part_stays_and_is_told(bench: Bench) -> None:
    bench.trouble = ControlError("filters still load")
    done = bench.call("apply", changes=[change("limits", "incoming_sessions", 321)])
    assert done["answer"] == "filters still load"
    assert "incoming_sessions = 321" in bench.file.read_text()


@pytest.mark.feature("F-WEB-01")
@pytest.mark.parametrize(
    ("edited", "why"),
    [
        (change("limits", "incoming_sessions", 0), "out of range"),
        (change("limits", "nonsense", 1), "no parameter"),
        (change("timeouts", "maximal_backoff_time", "1 s"), "less than minimal_backoff_time"),
        (change("policy", "notify_admin_template", "/etc/passwd"), "outside the state directory"),
        (change("engine", "command", ["/bin/sh"]), "only the configuration file itself"),
        (change("antispam", "white_list", ["file:/etc/shadow"]), "external file"),
        (change("policy", "subject_spam", "x\n[limits]"), "control character"),
    ],
)
def test_a_refusal_leaves_the_file_as_it_is(bench: Bench, edited: dict[str, object], why: str) -> None:
    before = bench.file.read_bytes()
    problems = bench.call("check", changes=[edited])["problems"]
    assert any(why in problem.what and problem.severity == "error" for problem in problems), problems
    with pytest.raises(ControlError, match=why):
        bench.call("apply", changes=[edited])
    assert bench.file.read_bytes() == before
    assert not bench.reloads


@pytest.mark.feature("F-WEB-01")
def test_parameters_held_in_external_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "white").write_text("a@x.example\n")
    text = build_default_config(state_path=str(tmp_path / "state"), hostname="mx.corp.example")
    text += f'[antispam]\nwhite_list = ["file:{tmp_path}/white"]\n'
    bench = Bench(tmp_path, text=text)
    shown = bench.call("values")["sections"]["antispam"][0]["white_list"]
    assert shown.source == "external"
    with pytest.raises(ControlError, match="external file"):
        bench.call("apply", changes=[change("antispam", "white_list", ["b@x.example"])])
    assert bench.file.read_text() == text
    assert (tmp_path / "white").read_text() == "a@x.example\n"


def test_two_who_edit_at_once_do_not_overwrite_each_other(bench: Bench) -> None:
    digest = bench.call("values")["digest"]
    bench.call("apply", changes=[change("limits", "incoming_sessions", 321)], digest=digest)
    with pytest.raises(ControlError, match="changed by somebody else"):
        bench.call("apply", changes=[change("limits", "incoming_sessions", 400)], digest=digest)
    assert "incoming_sessions = 321" in bench.file.read_text()


@pytest.mark.feature("F-WEB-05")
def test_draft_apply_reset_and_default(bench: Bench) -> None:
    before = bench.file.read_text()
    first = bench.call("draft", changes=[change("limits", "incoming_sessions", 321), change("options", "log_level", 5)])
    assert first["kept"]
    again = bench.call("draft", changes=[change("limits", "incoming_sessions", 322)])
    assert again["changes"] == 2
    drafted = bench.call("values", draft=True)["sections"]["limits"][0]["incoming_sessions"]
    assert drafted.value == 322
    assert bench.call("values")["sections"]["limits"][0]["incoming_sessions"].value == 500
    assert bench.file.read_text() == before
    # Reset: the draft is forgotten, the file was never touched.
    bench.call("reset")
    with pytest.raises(ControlError, match="nothing to apply"):
        bench.call("apply")
    # Apply: saved, and the gateway has taken it.
    bench.call("draft", changes=[change("limits", "incoming_sessions", 323)])
    bench.call("apply")
    assert len(bench.reloads) == 1
    assert "incoming_sessions = 323" in bench.file.read_text()
    # Default: the file says nothing of it any more.
    bench.call("default", section="limits", name="incoming_sessions")
    assert "\nincoming_sessions" not in bench.file.read_text()
    assert bench.call("values")["sections"]["limits"][0]["incoming_sessions"].value == 100
    bench.call("default", section="limits")
    loaded = load(bench.file)
    assert not [key for key in loaded.origins if key.startswith("limits.")]
    assert len(bench.reloads) == 3


@pytest.mark.feature("F-WEB-04")
def test_by_default_is_inherited_from_the_policy(bench: Bench) -> None:
    bench.call(
        "apply",
        changes=[
            {"section": "group", "verb": "add", "item": -1, "value": "sales"},
            change("group", "recipients", ["*@sales.corp.example"]),
            change("group", "spam_level", "high"),
            change("policy", "spam_level", "minimum"),
        ],
    )
    group = bench.call("values")["sections"]["group"][0]
    assert (group["spam_level"].value, group["spam_level"].source) == ("high", "file")
    assert (group["use_spf"].value, group["use_spf"].source) == (True, "policy")
    bench.call("default", section="group", item=0, name="spam_level")
    group = bench.call("values")["sections"]["group"][0]
    assert (group["spam_level"].value, group["spam_level"].source) == ("minimum", "policy")
    config = load(bench.file).config
    assert config is not None
    assert config.groups[0].spam_level == "minimum"


def test_a_former_version_comes_back(bench: Bench) -> None:
    before = bench.file.read_text()
    bench.call("apply", changes=[change("limits", "incoming_sessions", 321)])
    bench.file.write_text(bench.file.read_text().replace("= 321", "= 333"))
    bench.call("apply", changes=[change("options", "log_level", 5)])
    comments = [row.comment for row in bench.call("history")]
    assert comments == ["", "edited in the file", "", "as it was found"]
    bench.call("rollback", number=1)
    assert bench.file.read_text() == before
    assert bench.call("history")[0].comment == "back to version 1"
    with pytest.raises(ControlError, match="not kept"):
        bench.call("rollback", number=99)


def test_a_roll_back_brings_no_command_back_that_the_file_no_longer_has(tmp_path: Path) -> None:
    text = build_default_config(state_path=str(tmp_path / "state"), hostname="mx.corp.example")
    engine = '\n[[engine]]\nname = "own"\nkind = "command"\ncommand = ["/bin/true"]\n'
    bench = Bench(tmp_path, text=text + engine)
    bench.call("apply", changes=[change("options", "log_level", 5)])
    bench.call("rollback", number=1)  # the same command is still there: nothing new
    bench.file.write_text(text)
    with pytest.raises(ControlError, match=r"engine\.command"):
        bench.call("rollback", number=2)
    assert bench.file.read_text() == text


def test_the_configuration_file_is_made_into_nothing_else(tmp_path: Path) -> None:
    bench = Bench(tmp_path, name="state/gatepost.toml")
    (bench.state / "also").symlink_to(bench.file)
    for name, value in (("log_filename", str(bench.file)), ("stat_filename", str(bench.state / "also"))):
        problems = bench.call("check", changes=[change("options", name, value)])["problems"]
        assert any("configuration file itself" in problem.what for problem in problems), name


def test_secrets_never_leave(bench: Bench) -> None:
    done = bench.call("apply", changes=[change("ave", "archive_passwords", ["hunter2", "correct horse"])])
    assert "hunter2" in bench.file.read_text()
    told = repr((done, bench.call("values"), bench.call("values", draft=True), bench.call("history", number=2)))
    told += repr(bench.call("check", changes=[change("ave", "archive_passwords", ["hunter3"])]))
    assert "hunter" not in told
    assert "horse" not in told


def test_who_may_only_look_changes_nothing(bench: Bench) -> None:
    before = bench.file.read_text()
    assert bench.call("values", READER)["file"] == str(bench.file)
    for name, arguments in (
        ("draft", {"changes": []}),
        ("apply", {"changes": [change("limits", "incoming_sessions", 321)]}),
        ("default", {"section": "limits"}),
        ("rollback", {"number": 1}),
    ):
        with pytest.raises(Refused):
            bench.call(name, READER, **arguments)
    assert bench.file.read_text() == before


def test_a_file_that_cannot_be_written_is_told_with_what_to_change(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gatepost.master.configuration.rewrite_file", refuse)
    with pytest.raises(ControlError, match=r"cannot be written: Permission denied(?s:.*)\+incoming_sessions = 321"):
        bench.call("apply", changes=[change("limits", "incoming_sessions", 321)])
    assert [row.comment for row in bench.call("history")] == ["as it was found"]


def test_the_older_form_is_edited_too(tmp_path: Path) -> None:
    text = "; ours\n[smtpgw.network]\nListenOn=127.0.0.1:25\nHostname=mx.corp.example\nPostmaster=p@corp.example\nProtectedDomains=corp.example\n"
    bench = Bench(tmp_path, name="mailgw.conf", text=text)
    draft = bench.call("draft", changes=[change("network", "hostname", "mx2.corp.example")])
    assert draft["kept"]
    assert "+Hostname=mx2.corp.example" in draft["diff"]
    assert {problem.name for problem in draft["problems"] if problem.section == "path"} >= {"QueuePath"}


def test_every_section_and_parameter_is_described(bench: Bench) -> None:
    sections = bench.call("schema")
    values = bench.call("values")["sections"]
    for section in sections:
        assert section.title
        for table in values[section.name]:
            assert set(table) == {parameter.name for parameter in section.parameters}
    assert all(parameter.meaning for section in sections for parameter in section.parameters)


@pytest.mark.parametrize(
    "hostile",
    [
        {"changes": "x"},
        {"changes": [1]},
        {"changes": [{"section": "limits", "verb": "drop"}]},
        {"changes": [{"section": "group", "verb": "move", "item": 7}]},
    ],
)
def test_malformed_changes_are_answered(bench: Bench, hostile: dict[str, Any]) -> None:
    before = bench.file.read_text()
    with pytest.raises(ControlError):
        bench.call("apply", **hostile)
    assert bench.file.read_text() == before


def test_what_a_start_finds_is_kept_and_a_file_that_is_not_there_keeps_nobody_from_starting(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (version,) = asyncio.run(bench.desk.handle(Request("configuration.history", {}), ADMIN))
    assert (version.number, version.current) == (1, True)
    bench.file.unlink()
    said: list[str] = []
    Configuration(
        file=bench.file,
        overrides=(),
        state_path=str(bench.state),
        reload=bench.reload,
        say=lambda _, text: said.append(text),
    ).register(Desk())
    assert "no copy" in said[0]
