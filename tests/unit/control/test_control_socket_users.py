"""Who may ask at the control socket: the gateway's own user and root, whatever the socket's mode says."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gatepost.control import socket as control
from gatepost.control.socket import ControlError, Request, call, serve


@pytest.mark.parametrize(
    ("user", "answered"),
    [(os.geteuid(), True), (0, True), (os.geteuid() + 4711, False)],
    ids=["own user", "root", "another user"],
)
def test_only_our_own_user_and_root_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, *, answered: bool
) -> None:
    """The kernel says who it is; another's request reaches no desk."""
    asked: list[str] = []

    async def answer(request: Request, _: int) -> Any:
        asked.append(request.call)
        return "done"

    async def scene() -> Any:
        server = await serve(tmp_path / "s", answer)
        try:
            return await asyncio.to_thread(call, tmp_path / "s", "status")
        finally:
            server.close()

    monkeypatch.setattr(control, "_user_of", lambda _: user)
    if answered:
        assert asyncio.run(scene()) == "done"
    else:
        with pytest.raises(ControlError, match="only the gateway's own user"):
            asyncio.run(scene())
    assert asked == ["status"] * answered
