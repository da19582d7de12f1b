"""Profiles and rules by the console: real pages, real calls, real files; forms are filled in as a browser without scripts
does.
"""

import io
import re
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from selectolax.lexbor import LexborHTMLParser, LexborNode
from tests.support.console import Answer, Browser, House, in_house

from gatepost.config.profiles_files import build_files, read_rule_set
from gatepost.config.profiles_xml import read_xml_set
from gatepost.console.rule_forms import ACTION_CHOICES, CONDITION_CHOICES, build_rule, place_problems, plan_rows
from gatepost.control.rights import Role
from gatepost.master.profiles import Profiles
from gatepost.master.profiles_store import put_rule_set
from gatepost.model.profile import Act, Action, Condition, ConditionKind, Profile, ProfileRef, Rule, RuleSet

HOME = "/rules/profiles"
EVIL = "\"><script>alert(1)</script>'{{7*7}}"
BOUNDARY = "b0undary"


class Scene:
    def __init__(self, house: House, browser: Browser) -> None:
        self.house = house
        self.browser = browser
        self.directory = house.state / "rules"
        self.reloads = 0

    async def reload(self) -> str:
        self.reloads += 1
        return "reloaded"

    async def get(self, path: str) -> Answer:
        answer = await self.browser.get(path)
        assert answer.status == 200, (path, answer.status, answer.text[-2000:])
        return answer

    async def submit(self, path: str, action: str, *, like: dict[str, str] | None = None, **changes: str) -> Answer:
        """Fill in the form of a page that goes to `action` and has the hidden values `like`, and send it; a page that
        asks is answered.
        """
        data = fill((await self.get(path)).text, action, like or {})
        answer = await self.browser.post(action, {**data, **{k.replace("__", "-"): v for k, v in changes.items()}})
        if answer.status == 200 and 'name="confirmed"' in answer.text:
            answer = await self.browser.post(action, fill(answer.text, action, {}))
        return answer

    async def save(self) -> Answer:
        return await self.submit(f"{HOME}/changes", f"{HOME}/save", comment="by test")

    def rules(self) -> RuleSet:
        rules, problems = read_rule_set(self.directory)
        assert not problems
        return rules


def fill(page: str, action: str, like: dict[str, str]) -> dict[str, str]:
    for form in LexborHTMLParser(page).css("form"):
        data = dict(filter(None, map(field, form.css("input, select, textarea"))))
        if form.attributes.get("action") == action and all(data.get(name) == value for name, value in like.items()):
            return data
    raise AssertionError(f"no form for {action} with {like}")


def one(page: str, selector: str) -> LexborNode:
    node = LexborHTMLParser(page).css_first(selector)
    assert node is not None, selector
    return node


def field(node: LexborNode) -> tuple[str, str] | None:
    name = node.attributes.get("name")
    if not name:
        return None
    if node.tag == "select":
        chosen = [o for o in node.css("option") if "selected" in o.attributes] or node.css("option")[:1]
        return name, chosen[0].attributes.get("value") or ""
    if node.tag == "textarea":
        return name, node.text()
    if node.attributes.get("type") == "checkbox" and "checked" not in node.attributes:
        return None
    return name, node.attributes.get("value") or ""


def scene(tmp_path: Path, work: Callable[[Scene], Awaitable[None]], role: Role = Role.ADMIN) -> None:
    async def inside(house: House) -> None:
        here = Scene(house, await house.signed_in("ada", role))
        house.config = msgspec.structs.replace(
            house.config, profiles=msgspec.structs.replace(house.config.profiles, enabled=True)
        )
        Profiles(lambda: house.config, here.reload, lambda *_: None).register(house.desk)
        await work(here)

    in_house(tmp_path / "state", inside)


@pytest.mark.feature("F-WEB-03")
def test_a_profile_with_lists_is_made_saved_and_is_what_the_xml_says(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        done = await here.submit(HOME, f"{HOME}/add", like={"part": "emails"}, file="partners", name="Partners")
        assert done.location == f"{HOME}/list?part=emails&file=partners"
        done = await here.submit(done.location, f"{HOME}/list", entries="a@b.example\r\n@c.example\r\n")
        assert done.status == 303
        done = await here.submit(HOME, f"{HOME}/add", like={"part": "profiles"}, file="own", name="Own rules")
        assert done.location == f"{HOME}/profile?file=own"
        profile = f"{HOME}/profile?file=own"
        await here.submit(profile, f"{HOME}/profile", recipients="@sales.example.org", description="of sales")
        new = f"{HOME}/rule?file=own&number=0"
        offered = re.findall(r'<option value="([^"]*)"></option>', (await here.get(new)).text)
        assert {"partners", "spam/fraud/lottery"} <= set(offered)
        await here.submit(
            new,
            f"{HOME}/rule",
            c1__choice="sender_list",
            c1__not="1",
            c1__value="partners",
            c2__choice="header_matches",
            c2__header="Subject",
            c2__value=r"win \d+ ",
            a1__choice="header_label",
            a1__header="Subject",
            a1__value="[sales]",
            a2__choice="recipient_add",
            a2__value="boss@example.org; aide@example.org",
            comment="first",
        )
        await here.submit(new, f"{HOME}/rule", c1__choice="size_over", c1__value="900", a1__choice="accept")
        page = (await here.get(profile)).text
        assert "the sender is not in the list partners and Subject matches win" in page
        # Order of rules, and of profiles; on and off.
        await here.submit(profile, f"{HOME}/rules", like={"number": "2", "act": "up"})
        await here.submit(HOME, f"{HOME}/order", like={"file": "own", "act": "on"})
        for _ in range(5):
            await here.submit(HOME, f"{HOME}/order", like={"file": "own", "act": "up"})
        await here.submit(HOME, f"{HOME}/order", like={"file": "do-mark-subject", "act": "off"})
        await here.submit(HOME, f"{HOME}/texts", reject_text="Not here", bounce_text="Sorry")
        assert not here.directory.exists()
        assert "[sales]" in (await here.get(f"{HOME}/changes")).text
        assert (await here.save()).location == HOME
        assert here.reloads == 1
        rules = here.rules()
        assert [(ref.file, ref.active) for ref in rules.personal][:3] == [
            ("own", True),
            ("rcpt-root", False),
            ("do-mark-subject", False),
        ]
        assert rules.emails["partners"].addresses == ("a@b.example", "@c.example")
        assert rules.settings.reject_text == "Not here"
        assert rules.profiles["own"] == Profile(
            name="Own rules",
            description="of sales",
            recipients=("@sales.example.org",),
            rules=(
                Rule(
                    conditions=(Condition(test=ConditionKind.SIZE_OVER, number=900),),
                    actions=(Action(do=Act.ACCEPT),),
                ),
                Rule(
                    comment="first",
                    conditions=(
                        Condition(test=ConditionKind.SENDER_LIST, value="partners", negated=True),
                        Condition(test=ConditionKind.HEADER_MATCHES, header="Subject", value=r"win \d+ "),
                    ),
                    actions=(
                        Action(do=Act.HEADER_LABEL, header="Subject", value="[sales]"),
                        Action(do=Act.RECIPIENT_ADD, addresses=("boss@example.org", "aide@example.org")),
                    ),
                ),
            ),
        )
        raw = (await here.get(f"{HOME}/export?encoding=windows-1251")).body
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            found = read_xml_set({name: archive.read(name) for name in archive.namelist()})
        assert found.rules == rules

    scene(tmp_path, work)


def test_faults_are_shown_at_their_place_and_keep_it_from_being_saved(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.submit(HOME, f"{HOME}/add", like={"part": "profiles"}, file="own", name="Own")
        new = f"{HOME}/rule?file=own&number=0"
        wrong = await here.submit(new, f"{HOME}/rule", c1__choice="size_over", c1__value="big", a1__choice="accept")
        assert wrong.status == 422
        assert "no whole number" in one(wrong.text, "#f-c1-choice-error").text()
        assert one(wrong.text, "input[name=c1-value]").attributes["value"] == "big"
        kept = await here.submit(
            new, f"{HOME}/rule", c1__choice="client_list", c1__value="nowhere", a1__choice="skip", a2__choice="accept"
        )
        assert kept.location == f"{HOME}/rule?file=own&number=1"
        page = (await here.get(kept.location)).text
        assert "there is no list iplists/nowhere.toml" in one(page, "#f-c1-choice-error").text()
        assert "nothing is done behind" in one(page, "#f-a2-choice-error").text()
        assert "no list iplists/nowhere.toml" in (await here.get(f"{HOME}/profile?file=own")).text
        changes = (await here.get(f"{HOME}/changes")).text
        assert 'href="/rules/profiles/profile?file=own"' in changes
        assert "disabled" in changes
        refused = await here.save()
        assert refused.location == f"{HOME}/changes"
        assert not here.directory.exists()
        # A row without a choice is no condition any more.
        await here.submit(kept.location, f"{HOME}/rule", c1__choice="", a2__choice="")
        assert (await here.save()).location == HOME
        assert here.rules().profiles["own"].rules == (Rule(actions=(Action(do=Act.SKIP),)),)

    scene(tmp_path, work)


def test_a_form_of_what_has_been_changed_meanwhile_changes_nothing(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        profile = f"{HOME}/profile?file=do-archive"
        old = fill((await here.get(profile)).text, f"{HOME}/rules", {"number": "2", "act": "remove"})
        await here.submit(profile, f"{HOME}/rules", like={"number": "1", "act": "remove"})
        answer = await here.browser.post(f"{HOME}/rules", {**old, "confirmed": "1"})
        assert answer.location == profile
        await here.save()
        before = read_rule_set(here.directory / "none")[0].profiles["do-archive"]
        assert here.rules().profiles["do-archive"].rules == before.rules[1:]

    scene(tmp_path, work)


def test_history_leads_back_and_a_draft_can_be_forgotten(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.submit(HOME, f"{HOME}/texts", reject_text="One", bounce_text="x")
        await here.save()
        await here.submit(HOME, f"{HOME}/texts", reject_text="Two", bounce_text="x")
        await here.save()
        await here.submit(HOME, f"{HOME}/remove", like={"file": "rcpt-root"})
        await here.submit(f"{HOME}/changes", f"{HOME}/reset")
        assert "Nothing is unsaved" in (await here.get(f"{HOME}/changes")).text
        assert "by test" in (await here.get(f"{HOME}/history")).text
        page = f"{HOME}/history?number=2"
        assert "One" in (await here.get(page)).text
        await here.submit(page, f"{HOME}/rollback")
        assert here.rules().settings.reject_text == "One"

    scene(tmp_path, work)


async def upload(here: Scene, name: str, raw: bytes) -> Answer:
    csrf = await here.browser.csrf()
    parts = (("csrf", "", csrf.encode()), ("upload", f'; filename="{name}"', raw))
    body = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"{more}\r\n\r\n'.encode() + value + b"\r\n"
        for key, more, value in parts
    )
    headers = {
        "content-type": f"multipart/form-data; boundary={BOUNDARY}",
        "origin": here.browser.origin,
        "sec-fetch-site": "same-origin",
    }
    return await here.browser.request(
        "POST", f"{HOME}/import", body=body + f"--{BOUNDARY}--\r\n".encode(), headers=headers
    )


def test_a_profile_is_uploaded_and_what_cannot_be_taken_is_told(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        text = '<?xml version="1.0" encoding="koi8-r"?>\n<Profile name="Свой"><Rule><Actions><DoSkip/></Actions></Rule></Profile>'
        done = await upload(here, "svoi.xml", text.encode("koi8-r"))
        assert done.location == f"{HOME}/changes"
        await here.save()
        assert here.rules().profiles["svoi"].name == "Свой"
        page = (await here.get(HOME)).text
        assert "In no order" in page
        await here.submit(HOME, f"{HOME}/order", like={"file": "svoi", "place": "personal", "act": "place"})
        told = await upload(here, "bad.xml", b"<Profile>\n<Rule><Actions><DoFly/></Actions></Rule></Profile>")
        assert told.status == 422
        assert "DoFly" in told.text
        assert (await upload(here, "x.zip", b"PK is no archive")).location == HOME

    scene(tmp_path, work)


def test_who_may_only_see_finds_no_form_and_can_change_nothing(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        for path in (
            HOME,
            f"{HOME}/profile?file=do-archive",
            f"{HOME}/profile",
            f"{HOME}/rule?file=do-archive&number=1",
        ):
            assert "Keep as draft" not in (await here.get(path)).text
        for action in (
            "add",
            "order",
            "remove",
            "texts",
            "profile",
            "rules",
            "rule",
            "list",
            "save",
            "reset",
            "import",
        ):
            assert (await here.browser.submit(f"{HOME}/{action}")).status == 403, action
        assert (await here.browser.submit(f"{HOME}/rollback", {"number": "1"})).status == 403

    scene(tmp_path, work, Role.READ_ONLY)


def test_hostile_texts_are_shown_as_text_and_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    async def work(here: Scene) -> None:
        await here.submit(HOME, f"{HOME}/add", like={"part": "profiles"}, file="own", name=EVIL)
        await here.submit(
            f"{HOME}/rule?file=own&number=0", f"{HOME}/rule", a1__choice="log", a1__value=EVIL, comment=EVIL
        )
        await here.submit(HOME, f"{HOME}/texts", reject_text=EVIL, bounce_text=EVIL)
        for path in (HOME, f"{HOME}/profile?file=own", f"{HOME}/rule?file=own&number=1", f"{HOME}/changes"):
            assert "<script>alert" not in (await here.get(path)).text, path
        for path in (
            "profile?file=none",
            "rule?file=own&number=9",
            "list?part=emails&file=x",
            "list?part=rules",
            "history?number=9",
        ):
            assert (await here.browser.get(f"{HOME}/{path}")).status in {404, 409}, path

    scene(tmp_path, work)


@pytest.mark.parametrize("name", ["do-archive-or-reject", "detect-hard", "rcpt-root"])
def test_an_untouched_form_is_the_rule_that_it_shows(name: str) -> None:
    rules, _ = read_rule_set(Path("/nowhere"))
    for number, rule in enumerate(rules.profiles[name].rules, 1):
        rows = plan_rows(rule, number, place_problems([]))
        assert build_rule(*rows, rule.comment) == rule


def test_every_condition_and_action_can_be_chosen() -> None:
    assert {value for value, _ in CONDITION_CHOICES} == {"", *ConditionKind}
    assert {value for value, _ in ACTION_CHOICES} == {"", *Act}


def test_among_many_one_is_found_and_moved(tmp_path: Path) -> None:
    many = 250

    async def work(here: Scene) -> None:
        names = [f"p{number:03}" for number in range(many)]
        profiles = {name: Profile(name=f"Of {name}", recipients=(f"{name}@example.org",)) for name in names}
        rules = RuleSet(profiles=profiles, personal=tuple(ProfileRef(file=name) for name in names))
        put_rule_set(here.directory, build_files(rules))
        page = (await here.get(HOME)).text
        assert ("Of p099" in page, "Of p100" in page, "250 personal in all" in page) == (True, False, True)
        last = (await here.get(f"{HOME}?start=200")).text
        assert ("Of p199" in last, "Of p200" in last) == (False, True)
        assert ("start=100" in last, "start=300" in last) == (True, False)
        for find in ("OF P222", "p222@example"):
            found = (await here.get(f"{HOME}?q={find.replace(' ', '+')}")).text
            assert found.count("file=p") == 1
            assert 'value="223"' in found
        there = f"{HOME}?q=p222"
        done = await here.submit(there, f"{HOME}/order", like={"file": "p222", "act": "to"}, number="2")
        assert done.location == f"{there}#personal"
        await here.submit(there, f"{HOME}/order", like={"file": "p222", "act": "up"})
        await here.save()
        assert [ref.file for ref in here.rules().personal][:3] == ["p222", "p000", "p001"]
        done = await here.submit(there, f"{HOME}/order", like={"file": "p222", "act": "to"}, number="x")
        assert done.location == there
        assert "a number from 1 to 250" in (await here.get(there)).text

    scene(tmp_path, work)
