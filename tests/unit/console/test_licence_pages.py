"""The licence page around a scripted gateway: what it shows, asks first, and does."""

from typing import Any

import pytest
from tests.support.scripted_console import ScriptedGateway, visit

from gatepost.control.rights import RIGHTS_OF, Role
from gatepost.control.socket import ControlError

KEY = {"serial": "A-1", "product": "gatepost", "type": "commercial", "issuer": "we", "holder": "<Example>",
       "created": "2026-01-01", "days": 0, "users": 50, "megabytes": 0, "rights": ["av"]}  # fmt: skip
SHOWN: dict[str, Any] = {
    "active": KEY, "additional": KEY | {"serial": "A-2", "days": 365}, "expires": "2026-12-01", "days_left": 9,
    "expired": False, "open": False, "used": {"users": 12, "bytes_today": 0},
}  # fmt: skip
TEXT = 'gatepost licence key 1\nholder: "Example"\n'
CHECKED = {"key": KEY, "place": "active", "expires": "2026-12-01", "effects": ["anti-spam stops"]}
ANSWERS: dict[str, Any] = {
    "licence.show": SHOWN,
    "licence.check": CHECKED,
    "licence.add": "key A-1 is installed as the active key",
    "licence.check_removal": {"effects": ["no key is left: the gateway does not start"]},
    "licence.remove": "key A-1 is removed",
}


def _gateway(role: Role = Role.ADMIN, /, **changes: Any) -> ScriptedGateway:
    return ScriptedGateway({**ANSWERS, **changes}, RIGHTS_OF[role])


def _asked(gateway: ScriptedGateway) -> list[str]:
    return [name for name, _ in gateway.asked]


def test_keys_are_shown_with_what_they_allow_and_what_is_used() -> None:
    page = visit(_gateway(), "/licence").text
    for text in ("A-1", "A-2", "&lt;Example&gt;", "50 addresses", "9 days left", ">12<", "365 days", "Look at it"):
        assert text in page
    assert page.count('action="/licence/remove"') == 2
    reader = visit(_gateway(Role.READ_ONLY), "/licence").text
    assert "A-1" in reader
    assert "/licence/remove" not in reader
    assert "Look at it" not in reader


def test_the_key_the_program_comes_with_cannot_be_removed() -> None:
    opened = SHOWN | {"additional": None, "expires": "", "days_left": None, "open": True}
    page = visit(_gateway(**{"licence.show": opened}), "/licence").text
    assert "It comes with the program" in page
    assert "no end" in page
    assert "/licence/remove" not in page
    nothing = opened | {"active": None, "open": False}
    assert "does not start again" in visit(_gateway(**{"licence.show": nothing}), "/licence").text


def test_a_damaged_key_is_named_and_can_be_removed() -> None:
    page = visit(_gateway(**{"licence.show": ControlError("licence: /keys/active.key: damaged")}), "/licence").text
    assert "/keys/active.key: damaged" in page
    assert page.count('action="/licence/remove"') == 2


def test_a_key_is_looked_at_before_it_is_added() -> None:
    gateway = _gateway()
    question = visit(gateway, "/licence/add", data={"key": TEXT})
    assert question.status_code == 200
    for text in ("Add this key as the active one?", "A-1", "&lt;Example&gt;", "2026-12-01", "Anti-spam stops."):
        assert text in question.text
    assert "holder: &#34;Example&#34;" in question.text, "the key itself goes on to the next step"
    assert "licence.add" not in _asked(gateway)
    done = visit(gateway, "/licence/add", data={"key": TEXT, "confirmed": "1"})
    assert gateway.asked[-1] == ("licence.add", {"key": TEXT})
    assert "Key A-1 is installed" in visit(_gateway(), "/licence", cookies={"flash": done.cookies["flash"]}).text


@pytest.mark.parametrize("fields", [{}, {"confirmed": "1"}])
def test_a_key_that_cannot_be_used_is_refused_beside_what_was_typed(fields: dict[str, str]) -> None:
    refused = ControlError("key: no trusted key")
    gateway = _gateway(**{"licence.check": refused, "licence.add": refused})
    page = visit(gateway, "/licence/add", data={"key": TEXT, **fields})
    assert page.status_code == 422
    assert "key: no trusted key" in page.text
    assert "holder: &#34;Example&#34;" in page.text


def test_a_key_is_removed_once_confirmed() -> None:
    gateway = _gateway()
    question = visit(gateway, "/licence/remove", data={"place": "active"})
    assert "Remove the active key?" in question.text
    assert "No key is left: the gateway does not start." in question.text
    assert "licence.remove" not in _asked(gateway)
    done = visit(gateway, "/licence/remove", data={"place": "active", "confirmed": "1"})
    assert gateway.asked[-1] == ("licence.remove", {"place": "active"})
    assert "Key A-1 is removed." in visit(_gateway(), "/licence", cookies={"flash": done.cookies["flash"]}).text
    failed = visit(_gateway(**{"licence.check_removal": ControlError("none")}), "/licence/remove", data={"place": "x"})
    page = visit(_gateway(), "/licence", cookies={"flash": failed.cookies["flash"]}).text
    assert 'data-state="bad" role="alert">none' in page


@pytest.mark.parametrize("role", [Role.READ_ONLY, Role.OPERATOR])
@pytest.mark.parametrize("act", ["add", "remove"])
def test_who_may_not_change_the_configuration_changes_no_key(role: Role, act: str) -> None:
    gateway = _gateway(role)
    fields = {"key": TEXT, "place": "active", "confirmed": "1"}
    assert visit(gateway, f"/licence/{act}", data=fields).status_code == 403
    assert not gateway.asked
