"""`gatepost account remove` asks: what it takes away, nobody can bring back."""

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
