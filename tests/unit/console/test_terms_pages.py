"""The editor of own terms around a scripted gateway: what it asks, shows and does."""

from typing import Any

from tests.support.scripted_console import ScriptedGateway, visit

from gatepost.control.rights import RIGHTS_OF, Role
from gatepost.control.socket import ControlError, Stale
from gatepost.master.own_terms import TEXT_LIMIT

VERSION = {"number": 2, "at": 1.8e9, "who": "<ada>", "via": "console", "comment": "why <b>", "current": False,
           "diff": "--- before\n+++ after\n+1.5 garden"}  # fmt: skip
GOOD = {"problem": "", "line": 0, "terms": 3, "categories": {"spam/own": 3}}
BAD = {"problem": "'x' is no weight", "line": 7, "terms": 0, "categories": {}}
ANSWERS: dict[str, Any] = {
    "terms.show": {"text": "= spam/own\n1 <script>", "digest": "abc"},
    "terms.history": [VERSION],
    "terms.check": lambda asked: BAD if "bad" in asked["text"] else GOOD,
    "terms.save": {**GOOD, "number": 3, "digest": "def", "told": "databases in force"},
    "terms.rollback": {**GOOD, "number": 4, "digest": "def", "told": "databases in force"},
}
FORM = {"text": "= spam/own\n1.5 garden", "digest": "abc", "comment": "asked for"}


def _gateway(role: Role = Role.ADMIN, /, **changes: Any) -> ScriptedGateway:
    return ScriptedGateway({**ANSWERS, **changes}, RIGHTS_OF[role])


def test_terms_are_shown_as_text_and_only_read_by_who_may_not_change_them() -> None:
    page = visit(_gateway(), "/rules/terms").text
    assert "1 &lt;script&gt;" in page
    assert "&lt;ada&gt;" in page
    assert "<textarea" in page
    reader = visit(_gateway(Role.READ_ONLY), "/rules/terms").text
    assert "<textarea" not in reader
    assert "1 &lt;script&gt;" in reader
    refused = _gateway(Role.READ_ONLY)
    for path in ("/rules/terms", "/rules/terms/rollback"):
        assert visit(refused, path, data={**FORM, "act": "save", "number": "1", "confirmed": "1"}).status_code == 403
    assert not refused.asked


def test_a_check_says_what_is_wrong_beside_what_was_typed_and_saves_nothing() -> None:
    gateway = _gateway()
    good = visit(gateway, "/rules/terms", data={**FORM, "act": "check"})
    assert "3 term(s) in 1 categories" in good.text
    assert "1.5 garden" in good.text
    bad = visit(gateway, "/rules/terms", data={**FORM, "text": "bad <b>", "act": "check"})
    assert bad.status_code == 422
    assert "Line 7" in bad.text
    assert "bad &lt;b&gt;" in bad.text
    assert "terms.save" not in [name for name, _ in gateway.asked]


def test_a_save_tells_what_came_of_it() -> None:
    gateway = _gateway()
    done = visit(gateway, "/rules/terms", data={**FORM, "act": "save"})
    assert done.status_code == 303
    assert ("terms.save", FORM) in gateway.asked
    assert "databases in force" in visit(gateway, "/rules/terms", cookies={"flash": done.cookies["flash"]}).text
    for error in (Stale("changed since"), ControlError("no room")):
        failed = visit(_gateway(Role.ADMIN, **{"terms.save": error}), "/rules/terms", data={**FORM, "act": "save"})
        assert failed.status_code == 422
        assert str(error) in failed.text
        assert "1.5 garden" in failed.text, "what was typed is not lost"


def test_the_longest_text_may_be_of_any_language() -> None:
    gateway = _gateway()
    text = "\N{CYRILLIC SMALL LETTER ZHE}" * TEXT_LIMIT
    assert visit(gateway, "/rules/terms", data={**FORM, "text": text, "act": "save"}).status_code == 303
    assert gateway.asked[-1] == ("terms.save", {**FORM, "text": text})


def test_a_version_is_put_back_once_confirmed() -> None:
    gateway = _gateway()
    page = visit(gateway, "/rules/terms/version?number=2").text
    assert "+1.5 garden" in page
    assert "why &lt;b&gt;" in page
    fields = {"number": "2", "digest": "abc"}
    assert "Put version 2" in visit(gateway, "/rules/terms/rollback", data=fields).text
    assert "terms.rollback" not in [name for name, _ in gateway.asked]
    assert visit(gateway, "/rules/terms/rollback", data={**fields, "confirmed": "1"}).status_code == 303
    assert gateway.asked[-1] == ("terms.rollback", {"number": 2, "digest": "abc"})
