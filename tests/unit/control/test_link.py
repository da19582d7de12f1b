"""The link between master and console: numbered calls at once, answers to each, trouble told as what it is."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from gatepost.control import link
from gatepost.control.link import LinkCall, LinkClient, RefusedCall, SignedOut, serve_link
from gatepost.control.socket import ControlError, Response

Scene = Callable[[LinkClient], Awaitable[None]]


def linked(answer: link.Answering, scene: Scene) -> None:
    """Play a scene at the console's end of a link."""

    async def play() -> None:
        ours, theirs = socket.socketpair()
        client = LinkClient(theirs)
        master = asyncio.create_task(serve_link(ours, answer))
        await client.open()
        receiving = asyncio.create_task(client.run())
        try:
            await scene(client)
        finally:
            receiving.cancel()
            master.cancel()
            await asyncio.gather(master, receiving, return_exceptions=True)

    asyncio.run(play())


def test_answers_find_their_calls_whatever_the_order() -> None:
    gates: dict[str, asyncio.Event] = {}

    async def answer(call: LinkCall) -> Response:
        gates.setdefault(call.call, asyncio.Event())
        if call.call == "slow":
            await gates["slow"].wait()
        elif "slow" in gates:
            gates["slow"].set()
        return Response([call.call, call.arguments, call.credential, call.address, call.via])

    async def scene(client: LinkClient) -> None:
        slow = asyncio.create_task(client.call("slow", {"n": 1}, credential="a"))
        await asyncio.sleep(0)
        fast = await client.call("fast", {"n": 2}, credential="b", address="::1", via="api")
        assert fast == ["fast", {"n": 2}, "b", "::1", "api"]
        assert await slow == ["slow", {"n": 1}, "a", "", "console"]

    linked(answer, scene)


def test_trouble_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "ANSWER_LIMIT", 100_000)
    answers = {
        "refused": Response(error="not for you", refused=True),
        "ended": Response(error="over", signed_out=True),
        "failed": Response(error="cannot be done"),
        "unsendable": Response(result=object()),
        "too long": Response(result="x" * 100_001),
        "fine": Response(result=7),
    }

    async def answer(call: LinkCall) -> Response:
        return answers[call.call]

    async def scene(client: LinkClient) -> None:
        for name, kind in (
            ("refused", RefusedCall),
            ("ended", SignedOut),
            ("failed", ControlError),
            ("unsendable", ControlError),
            ("too long", ControlError),
        ):
            with pytest.raises(ControlError) as caught:
                await client.call(name, {})
            assert type(caught.value) is kind, name
        assert await client.call("fine", {}) == 7, "the link goes on"

    linked(answer, scene)


def test_who_waits_is_told_when_the_other_end_goes() -> None:
    async def play() -> None:
        ours, theirs = socket.socketpair()
        client = LinkClient(theirs)
        await client.open()
        receiving = asyncio.create_task(client.run())
        waiting = asyncio.create_task(client.call("anything", {}))
        await asyncio.sleep(0)
        ours.close()
        with pytest.raises(ControlError, match="gone"):
            await waiting
        await receiving

    asyncio.run(play())


def test_a_console_that_babbles_loses_its_link_and_nothing_more() -> None:
    async def answer(_: LinkCall) -> Response:
        raise AssertionError

    async def play() -> None:
        deep = b'{"number":1,"call":"x","arguments":{"a":' + b"[" * 60_000
        too_long = (link.CALL_LIMIT + 1).to_bytes(4, "big") + b"{"
        for babble in (
            b"\0\0\0\5hello",
            b"\xff\xff\xff\xff",
            b"\0\0\0\2{}",
            b"\0\0",
            len(deep).to_bytes(4, "big") + deep,
            too_long,
        ):
            ours, theirs = socket.socketpair()
            theirs.setblocking(True)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            theirs.sendall(babble)
            theirs.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(serve_link(ours, answer), 100)
            assert theirs.recv(1) == b""
            theirs.close()

    asyncio.run(play())


def test_a_flood_of_long_calls_waits_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console that is taken over does not fill the master's memory: calls under way have a bound in bytes, too."""
    monkeypatch.setattr(link, "HELD_LIMIT", 50_000)
    under_way, most = 0, 0

    async def scene(client: LinkClient) -> None:
        assert len(await asyncio.gather(*(client.call("x", {"data": "x" * 20_000}) for _ in range(12)))) == 12
        with pytest.raises(ControlError, match="at once"):
            await client.call("x", {"data": "x" * (link.CALL_LIMIT + 1)})
        assert await client.call("x", {"data": "x" * 60_000}) is None, "one that is longer than all room goes alone"

    async def answer(_: LinkCall) -> Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _turn in range(20):
            await asyncio.sleep(0)
        under_way -= 1
        return Response()

    linked(answer, scene)
    assert most == 2
