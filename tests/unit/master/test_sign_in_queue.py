"""Passwords that wait to be checked: a flood of tries from one place, or from many, leaves room for others."""

import asyncio

import pytest

from gatepost.control.accounts import Account, AccountError
from gatepost.control.rights import Role
from gatepost.master.passwords import BUSY_TEXT, WAIT_TEXT, WAITING_EACH, WAITING_LIMIT, Passwords

HOME = "198.51.100.7"
OWNER = Account(name="ada", role=Role.ADMIN, password="x", known=(HOME,))


class _Gate:
    """Holds up what is checked; everything is wrong."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.checked = 0

    async def __call__(self, *_: object) -> bool:
        self.checked += 1
        await self.open.wait()
        return False


async def _flood(passwords: Passwords, gate: _Gate, places: list[str]) -> list[asyncio.Task[bool]]:
    tries = [asyncio.create_task(passwords.check(None, "nobody", "x", place)) for place in places]
    for _ in range(3):
        await asyncio.sleep(0)
    assert gate.checked == 1
    return tries


async def _end(gate: _Gate, tries: list[asyncio.Task[bool]]) -> list[object]:
    gate.open.set()
    return await asyncio.gather(*tries, return_exceptions=True)


def _answers(found: list[object], text: str) -> int:
    return sum(isinstance(each, AccountError) and str(each) == text for each in found)


def test_one_place_takes_few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one place asks besides is told to come back; another place's try is taken."""

    async def scene() -> None:
        passwords, gate = Passwords(), _Gate()
        monkeypatch.setattr("gatepost.master.passwords.asyncio.to_thread", gate)
        tries = await _flood(passwords, gate, ["192.0.2.1"] * 50)
        other = asyncio.create_task(passwords.check(OWNER, "ada", "x", HOME))
        await asyncio.sleep(0)
        assert not other.done()
        found = await _end(gate, [*tries, other])
        assert _answers(found, BUSY_TEXT) == 50 - WAITING_EACH
        assert found[-1] is False, "it was compared"

    asyncio.run(scene())


def test_a_flood_from_everywhere_leaves_room_for_who_was_here_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger finds the queue full; an account's own place does not."""

    async def scene() -> None:
        passwords, gate = Passwords(), _Gate()
        monkeypatch.setattr("gatepost.master.passwords.asyncio.to_thread", gate)
        tries = await _flood(passwords, gate, [f"192.0.2.{number}" for number in range(WAITING_LIMIT)])
        with pytest.raises(AccountError, match=BUSY_TEXT):
            await passwords.check(OWNER, "ada", "x", "203.0.113.1")
        own = asyncio.create_task(passwords.check(OWNER, "ada", "x", HOME))
        found = await _end(gate, [*tries, own])
        assert found[-1] is False
        assert _answers(found, BUSY_TEXT) == 0

    asyncio.run(scene())


def test_who_has_to_wait_does_not_even_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that the brake holds cost no hash and no turn."""

    async def scene() -> None:
        passwords, gate = Passwords(), _Gate()
        gate.open.set()
        monkeypatch.setattr("gatepost.master.passwords.asyncio.to_thread", gate)
        told = ""
        while not told:
            try:
                await passwords.check(None, "nobody", "x", "192.0.2.1")
            except AccountError as error:
                told = str(error)
        assert told == WAIT_TEXT
        checked = gate.checked
        with pytest.raises(AccountError, match=WAIT_TEXT):
            await passwords.check(None, "nobody", "x", "192.0.2.1")
        assert gate.checked == checked

    asyncio.run(scene())
