"""`gatepost account`: removal asks, as nobody can bring back what it takes away; an empty password is none."""

from typing import Any

import pytest
from tests.support.gateway import run_here

from gatepost.cli import account


@pytest.mark.parametrize(("more", "code", "calls"), [((), 1, []), (("--yes",), 0, ["accounts.remove"])])
def test_an_account_is_removed_by_who_has_agreed(
    monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], code: int, calls: list[str]
) -> None:
    asked: list[str] = []

    def caller(_: object) -> Any:
        return lambda call, **_: asked.append(call)

    monkeypatch.setattr(account, "Caller", caller)
    done = run_here("account", "remove", "eve", *more)
    assert done.returncode == code
    assert asked == calls
    assert ("nothing done" in done.stderr) is not bool(more)


@pytest.mark.parametrize("act", [("add", "eve", "--role", "operator"), ("password", "eve")])
def test_standard_input_without_a_password_makes_none_up(monkeypatch: pytest.MonkeyPatch, act: tuple[str, ...]) -> None:
    asked: list[str] = []

    def caller(_: object) -> Any:
        def call(name: str, /, **_: object) -> dict[str, str]:
            asked.append(name)
            return {"name": "eve", "password": "made-up"}

        return call

    monkeypatch.setattr(account, "Caller", caller)
    done = run_here("account", *act, "--stdin")
    assert done.returncode == 1
    assert "the password is empty" in done.stderr
    assert not asked
    assert "password: made-up" in run_here("account", *act, "--make-up").stdout
