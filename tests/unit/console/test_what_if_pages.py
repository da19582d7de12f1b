"""Pages of shadows and of the emergency bypass: real pages and calls, forms sent as a browser without scripts does."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.console import Browser, House, in_house

from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.control.rights import Role
from gatepost.master.configuration import Configuration
from gatepost.master.emergency import Emergency
from gatepost.master.what_if import register

EVIL = "<script>alert(1)</script>"
SHADOW = """
[[shadow]]
name = "strict"
settings = ["spam_level = maximum", "action_spam = mark, quarantine"]
"""


def scene(tmp_path: Path, work: Callable[[House, Browser], Awaitable[None]], role: Role = Role.ADMIN) -> None:
    async def inside(house: House) -> None:
        file = house.state / "gatepost.toml"
        if SHADOW not in file.read_text():
            file.write_text(file.read_text() + SHADOW)

        def config() -> Config:
            loaded = load(file)
            assert loaded.config is not None, loaded.problems
            return loaded.config

        async def status() -> dict[str, Any]:
            return {"counters": {"shadow_strict_checked": 1234, "shadow_strict_changed": 7}}

        async def reload() -> str:
            return "reloaded"

        async def ask(*_: Any, **__: Any) -> list[Any]:
            return []

        Configuration(
            file=file, overrides=(), state_path=str(house.state), reload=reload, say=lambda *_: None
        ).register(house.desk)
        register(house.desk, config, status)
        Emergency(state_path=str(house.state), config=config, ask_all=ask, announce=ask, say=lambda *_: None).register(
            house.desk
        )
        await work(house, await house.signed_in("ada", role))

    in_house(tmp_path / "state", inside)


def test_a_shadow_is_shown_and_made_real_by_the_draft(tmp_path: Path) -> None:
    async def work(house: House, browser: Browser) -> None:
        page = (await browser.get("/what-if")).text
        assert "strict" in page
        assert "spam_level = maximum" in page
        assert "/tracking?finding=shadow%3Astrict" in page
        answer = await browser.submit("/what-if/draft", {"name": ["strict"]})
        assert (answer.status, answer.location) == (303, "/settings/changes")
        changes = (await browser.get("/settings/changes")).text
        assert "spam_level" in changes
        assert "maximum" in changes
        assert (await browser.submit("/what-if/draft", {"name": ["none"]})).location == "/what-if"

    scene(tmp_path, work)


def test_the_bypass_is_ordered_with_a_question_shown_and_ended(tmp_path: Path) -> None:
    async def work(house: House, browser: Browser) -> None:
        assert "Mail is scanned" in (await browser.get("/emergency")).text
        order = {"minutes": ["20"], "reason": [f"down {EVIL}"], "groups": [""], "direction": ["inbound"]}
        asked = await browser.submit("/emergency/on", order)
        assert "for 20 minutes?" in asked.text
        assert "Mail is scanned" in (await browser.get("/emergency")).text
        done = await browser.submit("/emergency/on", {**order, "confirmed": ["1"]})
        assert done.status == 303
        page = (await browser.get("/emergency")).text
        assert "Mail passes unscanned" in page
        assert EVIL not in page
        assert "inbound" in page
        assert (await browser.submit("/emergency/off", {})).status == 303
        assert "Mail is scanned" in (await browser.get("/emergency")).text

    scene(tmp_path, work)


def test_an_order_that_says_too_little_stays_in_the_form(tmp_path: Path) -> None:
    async def work(house: House, browser: Browser) -> None:
        for given in ({"minutes": ["x"]}, {"minutes": ["500"]}, {"reason": [""]}, {"groups": ["nobody"]}):
            order = {"minutes": ["20"], "reason": ["because of it"], "groups": [""], "direction": [""]}
            answer = await browser.submit("/emergency/on", {**order, **given, "confirmed": ["1"]})
            assert answer.status == 422, given
            assert "Mail is scanned" in answer.text

    scene(tmp_path, work)


def test_an_operator_sees_the_bypass_and_does_not_order_it(tmp_path: Path) -> None:
    async def work(house: House, browser: Browser) -> None:
        page = (await browser.get("/emergency")).text
        assert "Mail is scanned" in page
        assert "/emergency/on" not in page
        answer = await browser.submit("/emergency/on", {"minutes": ["5"], "reason": ["x"], "confirmed": ["1"]})
        assert answer.status == 403

    scene(tmp_path, work, Role.OPERATOR)
