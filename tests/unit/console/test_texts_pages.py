"""The editor of texts around a scripted gateway: what it asks, shows and does."""

from typing import Any

import pytest
from tests.support.scripted_console import ScriptedGateway, visit

from gatepost.control.rights import RIGHTS_OF, Role
from gatepost.control.socket import ControlError, NotThere, Stale

PATH = "/rules/texts/notify-admin/en"
WHICH = {"name": "notify-admin", "language": "en"}
ROW = {**WHICH, "title": "Notification to administrators", "parameter": "notify_admin_template", "html": False,
       "own": True, "used_by": ["<policy>"], "elsewhere": [], "group": "", "apart": ["sa&les", "<old>"]}  # fmt: skip
VERSION = {"number": 2, "at": 1.8e9, "who": "<ada>", "via": "console", "comment": "why <b>", "current": False,
           "diff": "--- before\n+++ after\n+%VIRUS%"}  # fmt: skip
GOOD = {"faults": [], "warnings": [{"line": 3, "column": 1, "what": "unknown macro <i>"}], "text": "found <u>",
        "fields": [{"name": "Subject", "value": "Re: <s>"}], "html": ""}  # fmt: skip
BAD = {"faults": [{"line": 7, "column": 2, "what": "unknown tag <b>"}], "warnings": [], "fields": [], "text": "",
       "html": ""}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "texts.list": [ROW, {**ROW, "name": "dsn", "title": "Delivery report", "own": False, "used_by": [""]}],
    "texts.show": {**ROW, "text": "</textarea><script>", "digest": "abc", "groups": ["<policy>", "sa&les"]},
    "texts.history": [VERSION],
    "texts.check": lambda asked: BAD if "bad" in asked["text"] else GOOD,
    "texts.save": {"number": 3, "digest": "def", "told": "reloaded"},
    "texts.reset": {"number": 4, "digest": "def", "told": "reloaded"},
    "texts.rollback": {"number": 4, "digest": "def", "told": "reloaded"},
}
FORM = {"text": "we found %VIRUS%", "digest": "abc", "comment": "asked for"}


def _gateway(role: Role = Role.ADMIN, /, **changes: Any) -> ScriptedGateway:
    return ScriptedGateway({**ANSWERS, **changes}, RIGHTS_OF[role])


def _asked(gateway: ScriptedGateway) -> list[str]:
    return [name for name, _ in gateway.asked]


def test_texts_are_listed_as_shipped_or_own() -> None:
    page = visit(_gateway(), "/rules/texts").text
    assert page.count(f'href="{PATH}"') == 1
    assert "&lt;policy&gt;" in page
    assert page.index("own</") < page.index("Delivery report") < page.index("shipped</td>")


def test_a_text_is_shown_as_text_and_only_read_by_who_may_not_change_it() -> None:
    page = visit(_gateway(), PATH).text
    assert "&lt;/textarea&gt;&lt;script&gt;" in page
    assert "&lt;ada&gt;" in page
    assert "Back to the shipped text" in page
    reader = visit(_gateway(Role.READ_ONLY), PATH).text
    assert "<textarea" not in reader
    assert "&lt;script&gt;" in reader
    refused = _gateway(Role.READ_ONLY)
    for path in (PATH, f"{PATH}/rollback", f"{PATH}/reset"):
        assert visit(refused, path, data={**FORM, "number": "1", "confirmed": "1"}).status_code == 403
    assert not refused.asked
    assert visit(_gateway(Role.ADMIN, **{"texts.show": NotThere("no")}), "/rules/texts/a/b").status_code == 409


@pytest.mark.parametrize("act", ["check", "save"])
def test_faults_are_shown_beside_what_was_typed_and_nothing_is_saved(act: str) -> None:
    gateway = _gateway()
    bad = visit(gateway, PATH, data={**FORM, "text": "bad <b>", "act": act})
    assert bad.status_code == 422
    assert "Line 7, column 2: unknown tag &lt;b&gt;" in bad.text
    assert "bad &lt;b&gt;" in bad.text
    assert "texts.save" not in _asked(gateway)


def test_a_check_says_what_is_odd_and_saves_nothing() -> None:
    gateway = _gateway()
    good = visit(gateway, PATH, data={**FORM, "act": "check"})
    assert good.status_code == 200
    assert "Line 3, column 1: unknown macro &lt;i&gt;" in good.text
    assert "we found %VIRUS%" in good.text
    assert "texts.save" not in _asked(gateway)


def test_a_save_tells_what_came_of_it() -> None:
    gateway = _gateway()
    done = visit(gateway, PATH, data={**FORM, "act": "save"})
    assert done.status_code == 303
    assert gateway.asked[-1] == ("texts.save", {**WHICH, **FORM})
    for error in (Stale("changed since"), ControlError("not all is in force:\nno room")):
        failed = visit(_gateway(Role.ADMIN, **{"texts.save": error}), PATH, data={**FORM, "act": "save"})
        assert failed.status_code == 422
        assert str(error).replace("\n", " ") in failed.text
        assert "we found %VIRUS%" in failed.text, "what was typed is not lost"


def test_a_sample_stands_in_the_frame_of_kept_mail() -> None:
    """Which allows nothing: neither what is saved nor what is typed can load or run anything."""
    html = {**GOOD, "text": "", "html": "<p onclick=x()>kept</p><script>alert(1)</script><img src=http://a.example/>"}
    gateway = _gateway(Role.READ_ONLY, **{"texts.check": lambda asked: html if "html" in asked["text"] else GOOD})
    saved = visit(gateway, f"{PATH}/frame")
    assert "found &lt;u&gt;" in saved.text
    assert "Re: &lt;s&gt;" in saved.text
    typed = visit(gateway, f"{PATH}/frame", data={"text": "html"})
    assert gateway.asked[-1] == ("texts.check", {**WHICH, "text": "html"})
    assert "kept" in typed.text
    for word in ("onclick", "<script", "a.example"):
        assert word not in typed.text
    for answer in (saved, typed):
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    faulty = visit(_gateway(), f"{PATH}/frame", data={"text": "bad"})
    assert "Line 7, column 2: unknown tag &lt;b&gt;." in faulty.text


@pytest.mark.parametrize(
    ("act", "question", "asked"),
    [
        ("rollback", "Put version 2", {**WHICH, "digest": "abc", "number": 2}),
        ("reset", "own text in force", {**WHICH, "digest": "abc"}),
    ],
)
def test_a_former_text_is_put_back_once_confirmed(act: str, question: str, asked: dict[str, Any]) -> None:
    gateway = _gateway()
    page = visit(gateway, f"{PATH}/version?number=2").text
    assert "+%VIRUS%" in page
    assert "why &lt;b&gt;" in page
    fields = {"number": "2", "digest": "abc"}
    assert question in visit(gateway, f"{PATH}/{act}", data=fields).text
    assert f"texts.{act}" not in _asked(gateway)
    assert visit(gateway, f"{PATH}/{act}", data={**fields, "confirmed": "1"}).status_code == 303
    assert gateway.asked[-1] == (f"texts.{act}", asked)


def test_a_group_has_a_text_apart() -> None:
    """Its page asks, checks, saves and goes back for that group alone, whatever it is called."""
    shown = {**ANSWERS["texts.show"], "group": "sa&les", "used_by": [], "own": True}
    gateway = _gateway(Role.ADMIN, **{"texts.show": lambda asked: shown if "group" in asked else ANSWERS["texts.show"]})
    address, which = f"{PATH}?group=sa%26les", {**WHICH, "group": "sa&les"}
    general = visit(gateway, PATH).text
    assert f'href="{address}"' in general
    assert f'href="{PATH}?group=%3Cold%3E"' in general
    assert '<option value="sa&amp;les">' in general
    page = visit(gateway, address).text
    assert gateway.asked[-2:] == [("texts.show", which), ("texts.history", which)]
    assert f'action="{address}"' in page
    assert f'src="{PATH}/frame?group=sa%26les"' in page
    assert f"{PATH}/version?number=2&amp;group=sa%26les" in page
    assert "Back to the text of all groups" in page
    assert "<title>Notification to administrators, English, sa&amp;les" in page
    done = visit(gateway, address, data={**FORM, "act": "save"})
    assert (done.status_code, done.headers["location"].partition("&")[0]) == (303, address.partition("&")[0])
    assert gateway.asked[-1] == ("texts.save", {**which, **FORM})
    fields = {"number": "2", "digest": "abc"}
    for act, asked in (("rollback", {"number": 2}), ("reset", {})):
        question = visit(gateway, f"{PATH}/{act}?group=sa%26les", data=fields).text
        assert f'action="{PATH}/{act}?group=sa%26les"' in question
        assert visit(gateway, f"{PATH}/{act}?group=sa%26les", data={**fields, "confirmed": "1"}).status_code == 303
        assert gateway.asked[-1] == (f"texts.{act}", {**which, "digest": "abc", **asked})
