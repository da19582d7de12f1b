"""Waits of a door's channel: each has its own time, whatever timer an earlier one left."""

import asyncio
import gc
import weakref

import pytest

from gatepost.service.channel import Channel

LONG_S = 600.0
SHORT_S = 1.0


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time stands still unless it is told to pass: no busy machine makes a wait longer."""

    now = 1000.0

    def time(self):
        return self.now


def run(scene):
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(scene())


async def turn():
    """Let the loop do what is due, and what follows from it."""
    for _ in range(4):
        await asyncio.sleep(0)


async def pass_time(seconds):
    await turn()
    asyncio.get_running_loop().now += seconds
    await turn()


class Wire(asyncio.Transport):
    """A connection that only takes what is said."""

    def write(self, data):
        pass

    def is_closing(self):
        return False

    def get_write_buffer_size(self):
        return 0

    def close(self):
        pass


class Talk:
    """A channel on which `waits` are waited for, one after the other, and how that ended."""

    def __init__(self, *waits):
        self.heard = []
        self.ended = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()

        async def serve(channel):
            try:
                for seconds in waits:
                    self.heard += [await channel.read(seconds)]
            finally:
                self._over.set()

        self.channel = Channel(serve, LONG_S, lambda _, failure: self.ended.set_result(failure))
        self.channel.connection_made(Wire())

    async def hear(self, word):
        await turn()
        self.channel.data_received(word)

    async def end(self):
        await self._over.wait()
        await asyncio.sleep(0)
        self.channel.connection_lost(None)
        return await self.ended


@pytest.mark.parametrize("before", [(), (LONG_S,), (SHORT_S, LONG_S)])
def test_a_short_wait_ends_in_its_own_time_behind_others(before):
    async def scene():
        talk = Talk(*before, SHORT_S)
        for _ in before:
            await talk.hear(b"word")
        await pass_time(0.9 * SHORT_S)
        assert talk.channel.waits
        await pass_time(0.2 * SHORT_S)
        assert not talk.channel.waits
        assert isinstance(await talk.end(), TimeoutError)
        assert talk.heard == [b"word"] * len(before)

    run(scene)


def test_a_long_wait_outlasts_the_timer_of_a_short_one():
    async def scene():
        talk = Talk(SHORT_S, LONG_S)
        await talk.hear(b"one")
        await pass_time(3 * SHORT_S)
        assert talk.channel.waits
        await talk.hear(b"two")
        assert await talk.end() is None
        assert talk.heard == [b"one", b"two"]

    run(scene)


def test_no_timer_keeps_a_channel_whose_talk_is_over():
    async def scene():
        talk = Talk(LONG_S)
        await talk.hear(b"word")
        assert await talk.end() is None
        gone = weakref.ref(talk)  # the channel, which tells it of its end, holds it
        del talk
        gc.collect()
        assert gone() is None

    run(scene)
