"""Settings, policy, lists and rules by the console: real pages, real calls, a real file; forms are filled in as a browser
without scripts does.
"""

import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser
from tests.support.console import Answer, Browser, House, in_house

from gatepost.config.load import load
from gatepost.config.schema import FIELDS, SECTIONS
from gatepost.console.forms import FIELD
from gatepost.console.pages.policy import TOPICS, topic_of
from gatepost.control.rights import Role
from gatepost.feeds.own_items import OwnItems, Sort
from gatepost.master.configuration import Configuration, NotReloaded
from gatepost.master.lists import Lists
from gatepost.master.own_samples import OwnSamples

EVIL = "\"><script>alert(1)</script>'{{7*7}}\u202e"


class Scene:
    """A house with the calls of these pages, and somebody signed in."""

    def __init__(self, house: House, browser: Browser) -> None:
        self.house = house
        self.browser = browser
        self.file = house.state / "gatepost.toml"
        self.reloads = 0
        self.trouble: Exception | None = None

    @property
    def text(self) -> str:
        return self.file.read_text()

    @property
    def data(self) -> dict[str, Any]:
        return tomllib.loads(self.text)

    async def reload(self) -> str:
        self.reloads += 1
        if self.trouble is not None:
            raise self.trouble
        return "reloaded"

    async def get(self, path: str) -> Answer:
        answer = await self.browser.get(path)
        assert answer.status == 200, (path, answer.status, answer.text[-2000:])
        return answer

    async def submit(self, path: str, action: str, **changes: str | list[str] | None) -> Answer:
        """Fill in the form of a page and send it; None takes a box's tick away. Field names without `p:`."""
        return await self.browser.post(action, fill((await self.get(path)).text, action, changes))

    async def apply(self) -> Answer:
        return await self.submit("/settings/changes", "/settings/apply", comment="by test")


def fill(page: str, action: str, changes: dict[str, str | list[str] | None]) -> dict[str, list[str]]:
    forms = [form for form in LexborHTMLParser(page).css("form") if form.attributes.get("action") == action]
    assert forms, f"no form for {action}"
    if "name" in changes:  # rows have forms of their own with the same action
        forms = [form for form in forms if form.css_first("input[name=name]") is not None]
    data: dict[str, list[str]] = {}
    for node in forms[0].css("input, select, textarea"):
        name = node.attributes.get("name")
        if not name:
            continue
        if node.tag == "select":
            chosen = [o for o in node.css("option") if "selected" in o.attributes] or node.css("option")[:1]
            data[name] = [chosen[0].attributes.get("value") or ""]
        elif node.tag == "textarea":
            data[name] = [node.text().removeprefix("\n")]
        elif node.attributes.get("type") == "checkbox":
            if "checked" in node.attributes:
                data.setdefault(name, []).append(node.attributes.get("value") or "on")
        else:
            data[name] = [node.attributes.get("value") or ""]
    for key, value in changes.items():
        name = key.replace("__", ":") if "__" in key else key if key in data else FIELD + key
        if value is None:
            data.pop(name, None)
        else:
            data[name] = value if isinstance(value, list) else [value]
    return data


def scene(tmp_path: Path, work: Callable[[Scene], Awaitable[None]], role: Role = Role.ADMIN, domains: str = "") -> None:
    async def inside(house: House) -> None:
        file = house.state / "gatepost.toml"
        here = Scene(house, await house.signed_in("ada", role, domains))
        Configuration(
            file=file, overrides=(), state_path=str(house.state), reload=here.reload, say=lambda *_: None
        ).register(house.desk)

        async def spread() -> None:
            """No relays here."""

        Lists(str(house.state), lambda: house.config, spread, lambda *_: None).register(house.desk)
        OwnSamples(house.state / "own-spam", file).register(house.desk)
        await work(here)

    in_house(tmp_path / "state", inside)


@pytest.mark.feature("F-WEB-01")
def test_every_section_has_its_form_and_an_untouched_form_changes_nothing(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        before = here.text
        for section in SECTIONS:
            path = f"/settings/section/{section.name}"
            page = (await here.get(path)).text
            if section.array:
                if not here.data.get(section.name.partition(".")[0], {}):
                    continue
                if f"{path}?item=0" not in page:
                    continue
                path += "?item=0"
                page = (await here.get(path)).text
            shown = {node.attributes.get("id") for node in LexborHTMLParser(page).css("[id]")}
            for field in FIELDS[section.name]:
                assert f"f-{field.name.replace('_', '-')}-help" in shown, (section.name, field.name)
            answer = await here.submit(path, "/settings/draft")
            assert answer.status == 303, (section.name, answer.text[-1500:])
        check = await here.house.ask("configuration.check", changes=None)
        assert not check["changed"]
        assert here.text == before

    scene(tmp_path, work)


@pytest.mark.feature("F-WEB-01", "F-WEB-05")
def test_edit_draft_difference_apply_history_and_back(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        before = here.text
        limits = "/settings/section/limits"
        await here.submit(limits, "/settings/draft", incoming_sessions="321", shed_load_at="50")
        assert here.text == before
        assert 'value="321"' in (await here.get(limits)).text
        changes = (await here.get("/settings/changes")).text
        assert "+incoming_sessions = 321" in changes
        assert "-incoming_sessions = 500" in changes
        assert (await here.apply()).location == "/settings"
        assert here.data["limits"]["incoming_sessions"] == 321
        assert here.data["limits"]["shed_load_at"] == 50
        assert "# Received fields a message may have" in here.text
        assert here.reloads == 1
        assert "by test" in (await here.get("/settings/history")).text
        assert "+shed_load_at = 50" in (await here.get("/settings/history/2")).text
        # By default: the box beside the control.
        await here.submit(limits, "/settings/draft", default__incoming_sessions="1")
        await here.apply()
        assert "incoming_sessions" not in here.data["limits"]
        # Back to what it was in the beginning: asked first.
        asked = await here.submit("/settings/history/1", "/settings/rollback")
        assert asked.status == 200
        assert here.text != before
        await here.browser.post("/settings/rollback", fill(asked.text, "/settings/rollback", {}))
        assert here.text == before
        # Reset forgets a draft.
        await here.submit(limits, "/settings/draft", incoming_sessions="9")
        asked = await here.submit("/settings/changes", "/settings/reset")
        await here.browser.post("/settings/reset", fill(asked.text, "/settings/reset", {}))
        assert "Nothing is unsaved" in (await here.get("/settings/changes")).text
        assert here.text == before

    scene(tmp_path, work)


@pytest.mark.feature("F-WEB-01")
def test_wrong_values_are_told_at_their_field_and_cannot_be_applied(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        before = here.text
        await here.submit("/settings/section/limits", "/settings/draft", incoming_sessions="0", outgoing_sessions="7")
        page = LexborHTMLParser((await here.get("/settings/section/limits")).text)
        error = page.css_first("#f-incoming-sessions-error")
        assert error is not None
        assert "out of range" in error.text()
        assert page.css_first("#f-outgoing-sessions-error") is None
        assert "disabled" in page_button((await here.get("/settings/changes")).text)
        await here.apply()
        assert here.text == before
        # What cannot even be a draft comes back with what was typed.
        answer = await here.submit("/settings/section/options", "/settings/draft", log_filename="/etc/passwd")
        assert answer.status == 422
        assert 'value="/etc/passwd"' in answer.text
        assert "outside the state directory" in answer.text
        assert "Nothing was kept: 1 value cannot be" in answer.text, (
            "said above the form as well: the field may be far down"
        )
        assert here.text == before

    scene(tmp_path, work)


def page_button(page: str) -> str:
    return next(node.html or "" for node in LexborHTMLParser(page).css("button.main") if "Apply" in node.text())


def test_what_the_gateway_does_not_take_is_said_and_the_draft_is_still_there(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        before = here.text
        here.trouble = NotReloaded("127.0.0.1:25 is in use")
        await here.submit("/settings/section/limits", "/settings/draft", incoming_sessions="321")
        answer = await here.apply()
        assert answer.location == "/settings/changes"
        page = (await here.get("/settings/changes")).text
        assert "is in use" in page
        assert "+incoming_sessions = 321" in page
        assert here.text == before

    scene(tmp_path, work)


@pytest.mark.feature("F-WEB-04")
def test_groups_new_edited_ordered_deleted_and_inheriting(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        for name in ("one", "two"):
            await here.submit(
                "/policy", "/settings/tables", name=name, recipients=f"*@{name}.example, x@{name}.example"
            )
        actions = "/policy/group/0?topic=actions"
        assert "inherited: mark" in (await here.get(actions)).text
        await here.submit(actions, "/settings/draft", action_spam="quarantine\nmark", default__action_spam=None)
        await here.submit("/policy/everybody?topic=actions", "/settings/draft", action_formal="pass")
        table = (await here.get("/policy/actions")).text
        assert "inherited: pass" in table
        assert "quarantine, mark" in table
        # Down: the first becomes the second.
        forms = [
            f for f in LexborHTMLParser((await here.get("/policy")).text).css("form") if f.text().strip() == "Down"
        ]
        data = {n.attributes["name"]: n.attributes.get("value") for n in forms[0].css("input")}
        await here.browser.post("/settings/tables", data)
        await here.apply()
        config = load(here.file).config
        assert config is not None
        assert [group.name for group in config.groups] == ["two", "one", "policy"]
        assert here.data["group"][1]["recipients"] == ["*@one.example", "x@one.example"]
        assert config.groups[1].action_spam == ("quarantine", "mark")
        assert config.groups[1].action_formal == ("pass",)
        # As the policy: the group says nothing of it any more, and has the policy's value.
        await here.submit("/policy/group/1?topic=actions", "/settings/draft", default__action_spam="1")
        await here.apply()
        config = load(here.file).config
        assert config is not None
        assert config.groups[1].action_spam == config.groups[-1].action_spam == ("mark",)
        # Delete asks first; everybody's policy has no button for it.
        forms = [
            f for f in LexborHTMLParser((await here.get("/policy")).text).css("form") if f.text().strip() == "Delete"
        ]
        assert len(forms) == 2
        data = {n.attributes["name"]: n.attributes.get("value") for n in forms[0].css("input")}
        asked = await here.browser.post("/settings/tables", data)
        assert [group["name"] for group in here.data["group"]] == ["two", "one"]
        await here.browser.post("/settings/tables", fill(asked.text, "/settings/tables", {}))
        await here.apply()
        assert [group["name"] for group in here.data["group"]] == ["one"]

    scene(tmp_path, work)


def test_every_parameter_of_the_policy_has_one_topic() -> None:
    topics = {field.name: topic_of(field.name) for field in FIELDS["group"]}
    assert set(topics.values()) == set(TOPICS)
    assert topics["notify_admin_spam"] == "notices"
    assert topics["use_lists"] == "spam"


@pytest.mark.feature("F-WEB-04")
def test_dnsbl_services_are_set_and_by_default_there_are_none(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        page = "/policy/dnsbl"
        before = here.text
        await here.submit(page, "/settings/draft", service="bl.example sixty", default__service=None)
        error = LexborHTMLParser((await here.get(page)).text).css_first("#f-service-error")
        assert error is not None
        assert "rating" in error.text()
        await here.apply()
        assert here.text == before
        done = await here.submit(
            page, "/settings/draft", service="one.example 60\ntwo.example 55", default__service=None
        )
        assert done.status == 303, done.text[-1500:]
        assert (await here.apply()).location == "/settings"
        assert here.data["antispam"]["dnsbl"]["service"] == ["one.example 60", "two.example 55"]
        assert "one.example 60" in (await here.get(page)).text
        await here.submit(page, "/settings/draft", default__service="1")
        await here.apply()
        assert "service" not in here.data.get("antispam", {}).get("dnsbl", {})

    scene(tmp_path, work)


@pytest.mark.feature("F-WEB-04")
def test_lists_are_filled_searched_and_emptied(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.submit(
            "/lists", "/lists", list="block", entry="@pest.example", scope="", note=EVIL, expires="2099-12-31"
        )
        page = (await here.get("/lists?q=pest")).text
        assert "*@pest.example" in page
        assert "<script>alert" not in page
        assert "2099-12-31" in page
        assert "pest.example" not in (await here.get("/lists?side=allow")).text
        wrong = await here.submit("/lists", "/lists", entry="no entry at all")
        assert wrong.status == 422
        assert "one entry at a time" in wrong.text
        csrf = await here.browser.csrf()
        asked = await here.browser.post("/lists/remove", {"csrf": csrf, "id": ["1"]})
        await here.browser.post("/lists/remove", fill(asked.text, "/lists/remove", {}))
        assert "Nobody is listed" in (await here.get("/lists?q=pest")).text

    scene(tmp_path, work)


def test_samples_are_kept_compiled_and_removed(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        text = (
            "Dear customer, your pills of wonder are waiting for you at the very lowest of all our prices today only. "
            * 4
        )
        store = OwnItems(here.house.state / "own-spam")
        await here.submit("/rules", "/rules/add", name="pills", text=text)
        assert [(item.name, item.category) for item in store.items(Sort.SAMPLE)] == [("pills", "spam/own")]
        assert "have changed since" in (await here.get("/rules")).text
        await here.submit("/rules", "/rules/compile")
        assert (here.house.state / "own-spam" / "own.samples").exists()
        assert "have changed since" not in (await here.get("/rules")).text
        wrong = await here.submit("/rules", "/rules/add", name="../x", text=text)
        assert wrong.status == 422
        asked = await here.submit("/rules", "/rules/remove")
        await here.browser.post("/rules/remove", fill(asked.text, "/rules/remove", {}))
        assert not store.items(Sort.SAMPLE)

    scene(tmp_path, work)


def test_hostile_texts_of_the_configuration_are_shown_as_text(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.submit("/policy/everybody?topic=actions", "/settings/draft", subject_spam=EVIL.replace("\u202e", ""))
        await here.submit("/policy", "/settings/tables", name=EVIL[:-1], recipients="*@a.example")
        for path in (
            "/policy",
            "/policy/group/0",
            "/policy/actions",
            "/policy/everybody?topic=actions",
            "/settings/changes",
        ):
            page = (await here.get(path)).text
            assert "<script>alert" not in page, path
            assert "49" not in LexborHTMLParser(page).css_first("h1").text(), path
        await here.apply()
        assert here.data["group"][0]["name"] == EVIL[:-1]
        assert "<script>alert" not in (await here.get("/settings/history/2")).text

    scene(tmp_path, work)


def test_who_may_only_look_finds_no_form_and_changes_nothing(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        before = here.text
        page = (await here.get("/settings/section/limits")).text
        assert "incoming_sessions" not in page.replace("incoming sessions", "") or 'name="p:' not in page
        assert 'action="/settings/draft"' not in page
        csrf = await here.browser.csrf()
        for path in ("draft", "tables", "default", "apply", "reset", "rollback"):
            answer = await here.browser.post(f"/settings/{path}", {"csrf": csrf, "section": "limits", "confirmed": "1"})
            assert answer.status == 403, path
        for path in ("/lists", "/rules/add", "/rules/compile"):
            assert (await here.browser.post(path, {"csrf": csrf})).status == 403, path
        assert here.text == before

    scene(tmp_path, work, Role.READ_ONLY)


def test_who_has_domains_sees_lists_of_these_and_no_settings(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.house.ask("lists.add", list="block", entry="@everywhere.example")
        page = (await here.get("/lists")).text
        assert "everywhere.example" not in page
        await here.submit("/lists", "/lists", entry="@pest.example", list="block")
        assert "pest.example" in (await here.get("/lists")).text
        refused = await here.submit("/lists", "/lists", entry="@other.example", list="block", scope="")
        assert refused.status == 422
        assert (await here.browser.get("/settings")).status == 403

    scene(tmp_path, work, Role.DOMAIN, "a.example")
