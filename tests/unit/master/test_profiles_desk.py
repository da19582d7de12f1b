"""The rule set by call: drafts, save and compile, undone where it is not taken, history and roll-back, XML in and out."""

import asyncio
import base64
import io
import zipfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gatepost.config.profiles_files import STAGED, build_files, read_rule_set
from gatepost.config.profiles_xml import read_xml_set
from gatepost.control.desk import Desk
from gatepost.control.rights import RIGHTS_OF, Caller, Role, local_caller
from gatepost.control.socket import ControlError, NotThere, Request, Stale, Unfit
from gatepost.master.configuration import NotReloaded
from gatepost.master.profiles import Profiles
from gatepost.master.profiles_store import finish, put_rule_set
from gatepost.model.profile import RuleSet, RuleSettings
from gatepost.storage.whole_file import replace_file

ADA, BOB = local_caller("ada"), Caller("bob", RIGHTS_OF[Role.ADMIN], via="console")


class Scene:
    def __init__(self, state: Path, *, enabled: bool = True) -> None:
        self.state = state
        self.directory = state / "rules"
        self.config: Any = SimpleNamespace(
            profiles=SimpleNamespace(enabled=enabled, path=str(self.directory)),
            relay=SimpleNamespace(state_path=str(state)),
        )
        self.trouble: Exception | None = None
        self.reloads = 0
        self.desk = Desk()
        Profiles(lambda: self.config, self.reload, lambda *_: None).register(self.desk)

    async def reload(self) -> str:
        self.reloads += 1
        if self.trouble is not None:
            raise self.trouble
        return "reloaded"

    async def ask(self, call: str, caller: Caller = ADA, /, **arguments: Any) -> Any:
        return await self.desk.handle(Request(f"profiles.{call}", arguments), caller)

    async def draft(self, *edits: dict[str, Any], caller: Caller = ADA) -> Any:
        return await self.ask("draft", caller, edits=list(edits))

    def rules(self) -> RuleSet:
        rules, problems = read_rule_set(self.directory)
        assert not problems
        return rules


def play(tmp_path: Path, work: Callable[[Scene], Coroutine[Any, Any, None]], **given: Any) -> None:
    asyncio.run(work(Scene(tmp_path, **given)))


TEXTS = {"part": "settings", "value": {"reject_text": "No", "bounce_text": "Sorry"}}
NEW = {
    "part": "profiles",
    "file": "own",
    "place": "personal",
    "new": True,
    "value": {"name": "Own", "rule": [{"if": [{"test": "size_over", "number": 7}], "then": [{"do": "accept"}]}]},
}


def test_a_draft_is_its_owners_until_it_is_saved_and_compiled(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        assert (await here.ask("show"))["shipped"]
        told = await here.draft(TEXTS, NEW)
        assert told["changed"]
        assert "+reject_text" in told["diff"]
        assert not here.directory.exists()
        shown = await here.ask("show", draft=True)
        assert [row["file"] for row in shown["personal"]][-1] == "own"
        assert not shown["personal"][-1]["active"]
        assert not (await here.ask("show", BOB, draft=True))["changed"]
        with pytest.raises(ControlError, match="nothing to save"):
            await here.ask("save", BOB)
        done = await here.ask("save", comment="texts")
        assert (done["answer"], here.reloads) == ("reloaded", 1)
        rules = here.rules()
        assert rules.settings == RuleSettings(reject_text="No", bounce_text="Sorry")
        assert rules.profiles["own"].rules[0].conditions[0].number == 7
        assert not (await here.ask("show", draft=True))["changed"]
        newest, *_ = await here.ask("history")
        assert (newest.comment, newest.who, newest.current) == ("texts", "ada", True)

    play(tmp_path, work)


def test_what_is_unsound_is_told_at_its_place_and_not_saved(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        bad = {**NEW, "value": {"name": "Own", "rule": [{"if": [{"test": "client_ip", "value": "x"}], "then": []}]}}
        told = await here.draft(bad)
        places = {(row["file"], row["place"], row["severity"]) for row in told["problems"]}
        assert ("profiles/own.toml", "profile 'Own', rule 1, condition 1", "error") in places
        one = await here.ask("one", part="profiles", file="own")
        assert {row["file"] for row in one["problems"]} == {"profiles/own.toml"}
        with pytest.raises(ControlError, match="not saved"):
            await here.ask("save")
        assert not here.directory.exists()
        assert (await here.ask("show", draft=True))["changed"]
        await here.ask("reset")
        assert not (await here.ask("show", draft=True))["changed"]

    play(tmp_path, work)


def test_a_set_that_the_reload_does_not_take_is_put_back(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.draft(TEXTS)
        await here.ask("save")
        before = build_files(here.rules())
        await here.draft(NEW)
        here.trouble = NotReloaded("the filters cannot be made")
        with pytest.raises(ControlError, match="as they were"):
            await here.ask("save")
        assert build_files(here.rules()) == before
        assert len(await here.ask("history")) == 2
        here.trouble = None
        await here.ask("save")
        assert "own" in here.rules().profiles

    play(tmp_path, work)


def test_what_somebody_else_saved_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.draft(TEXTS)
        await here.draft(NEW, caller=BOB)
        await here.ask("save", BOB)
        with pytest.raises(Stale):
            await here.ask("save")
        assert (await here.ask("check"))["stale"]

    play(tmp_path, work)


def test_versions_are_kept_also_of_edits_by_hand_and_come_back(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.draft(NEW)
        first = (await here.ask("save"))["number"]
        settings = here.directory / "settings.toml"
        settings.write_text('reject_text = "By hand"\n')
        await here.draft({"part": "profiles", "file": "own"})
        await here.ask("save")
        assert "own" not in here.rules().profiles
        versions = await here.ask("history")
        assert [version.comment for version in versions if version.via == "file"] == [
            "edited in the file",
            "as it was found",
        ]
        (one,) = await here.ask("history", number=first)
        assert "+## profiles/own.toml" in one.diff
        await here.ask("rollback", number=first)
        assert "own" in here.rules().profiles
        assert here.rules().settings == RuleSettings()
        with pytest.raises(NotThere):
            await here.ask("rollback", number=99)

    play(tmp_path, work)


def test_rules_that_are_not_enabled_are_kept_without_a_reload(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.draft(TEXTS)
        assert "not in force" in (await here.ask("save"))["answer"]
        assert not here.reloads

    play(tmp_path, work, enabled=False)


@pytest.mark.parametrize(
    "edit",
    [
        {"part": "profiles", "file": "../evil", "value": {"name": "x"}},
        {"part": "profiles", "file": "do-archive", "new": True, "value": {"name": "x"}},
        {"part": "profiles", "file": "x", "value": {"name": 7}},
        {"part": "profiles", "file": "x", "value": {"name": "x" * 3000}},
        {"part": "order", "value": {"common": [{}]}},
        {"part": "nothing"},
    ],
)
def test_changes_that_make_no_set_are_refused(tmp_path: Path, edit: dict[str, Any]) -> None:
    async def work(here: Scene) -> None:
        with pytest.raises(Unfit):
            await here.draft(edit)
        with pytest.raises(Unfit):
            await here.draft(*[TEXTS] * 101)
        with pytest.raises(NotThere):
            await here.ask("one", part="profiles", file="nowhere")

    play(tmp_path, work)


@pytest.mark.parametrize("part", ["profiles", "samples", "emails", "iplists", "dnsbl"])
@pytest.mark.parametrize("file", ["../../gatepost", "../../../gatepost", "a/b", "", ".x"])
def test_names_of_files_lead_nowhere(tmp_path: Path, part: str, file: str) -> None:
    state = tmp_path / "etc" / "state"
    state.mkdir(parents=True)
    kept = state.parent / "gatepost.toml"
    kept.write_text("ours\n")

    async def work(here: Scene) -> None:
        value = {"name": "theirs"} if part != "samples" else {"category": "theirs"}
        with pytest.raises(ControlError, match="the file's name is none"):
            await here.ask("save", rules={part: {file: value}})

    play(state, work)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert kept.read_text() == "ours\n"


def test_a_set_goes_out_as_xml_and_comes_back_by_another_hand(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.draft(NEW)
        await here.ask("save")
        out = await here.ask("export", encoding="koi8-r")
        raw = base64.b64decode(out["data"])
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            found = read_xml_set({name: archive.read(name) for name in archive.namelist()})
        assert found.rules == here.rules()
        single = await here.ask("export", file="own")
        assert (single["name"], b"<Profile" in base64.b64decode(single["data"])) == ("own.xml", True)
        await here.draft({"part": "profiles", "file": "own"})
        await here.ask("save")
        assert (await here.ask("import", name="own.xml", data=single["data"]))["kept"]
        assert (await here.ask("one", part="profiles", file="own"))["value"]["name"] == "Own"
        await here.ask("reset")
        # Packed together with its directory, as people do it.
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, text in {"CONF/profiles.xml": "<Profiles/>", "CONF/settings.xml": "<Settings/>"}.items():
                archive.writestr(name, text)
        told = await here.ask("import", name="x.zip", data=base64.b64encode(packed.getvalue()).decode())
        assert told["kept"]
        await here.ask("save")
        assert here.rules() == RuleSet()
        for name, data in (("x.xml", b"<Profile><Rule><Actions><DoFly/></Actions></Rule></Profile>"), ("y.xml", b"no")):
            told = await here.ask("import", name=name, data=base64.b64encode(data).decode())
            assert not told["kept"]
            assert told["problems"]
        for name, data in (("x.zip", b"PK broken"), ("a b.xml", b"<Profile/>")):
            with pytest.raises(Unfit):
                await here.ask("import", name=name, data=base64.b64encode(data).decode())

    play(tmp_path, work)


def test_a_save_that_was_broken_off_counts_once_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, _ = read_rule_set(tmp_path / "none")
    directory = tmp_path / "rules"
    put_rule_set(directory, build_files(rules))
    (directory / "README").write_text("ours")
    fresh = RuleSet(settings=RuleSettings(reject_text="New"), profiles={"one": rules.profiles["do-archive"]})

    def stop(*_: object) -> None:
        raise OSError("killed")

    # Before the staged set is complete nothing has changed ...
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", stop)
        with pytest.raises(OSError, match="killed"):
            put_rule_set(directory, build_files(fresh))
    assert read_rule_set(directory)[0] == rules
    # ... afterwards it is what counts, however little of it is in its place.
    put = replace_file

    def half(path: Path, raw: bytes, **given: Any) -> None:
        if STAGED not in path.parts and ".begun" not in path.parts and path.name == "settings.toml":
            raise OSError("killed")
        put(path, raw, **given)

    with monkeypatch.context() as patched:
        patched.setattr("gatepost.master.profiles_store.replace_file", half)
        put_rule_set(directory, build_files(fresh))
    assert (directory / STAGED).is_dir()
    assert read_rule_set(directory)[0] == fresh
    assert finish(directory)
    assert not finish(directory)
    assert read_rule_set(directory) == (fresh, ())
    assert not (directory / "profiles" / "do-mark-subject.toml").exists()
    assert (directory / "README").read_text() == "ours"


def test_the_first_save_leaves_no_half_directory_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("gatepost.master.profiles_store.replace_file", full)
    with pytest.raises(OSError, match="no space"):
        put_rule_set(tmp_path / "rules", build_files(RuleSet()))
    assert not (tmp_path / "rules").exists()
