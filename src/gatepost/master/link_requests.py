"""Requests for a fresh link by mail: counted, and answered in the background.

Used by `master.user_desk`. Whoever asks learns nothing of whether an address exists or has mail here: the answer is
given before anything is looked up. A link goes to an address only while mail is kept for it, so nobody else can be
written to; and seldom, so nobody can be flooded. `Requests` is sans-I/O: the time is given.
"""

import asyncio
import contextlib
import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from gatepost.config.schema import Config
from gatepost.control.socket import ControlError
from gatepost.master.digest_state import DigestState
from gatepost.master.digests import Announce, Letter, Say, digest_texts, send, write_letter
from gatepost.master.own_mail import is_plain, list_own

ADDRESS_PAUSE_S: Final = 300.0
"""Between two links to one address."""
CLIENT_TRIES: Final = 10
"""Requests of one client (an IPv4 address, an IPv6 network) within ..."""
CLIENT_WINDOW_S: Final = 3600.0
"""... an hour."""
ALL_TRIES: Final = 600
"""Requests of all clients within the hour: each costs a look into the quarantine."""
REMEMBERED: Final = 10_000
"""Addresses and clients; the oldest are forgotten first."""
WAITING_LIMIT: Final = 50
"""Requests under way; more are dropped."""
_IPV6_NETWORK: Final = 64


class Requests:
    """How often who has asked."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, float] = OrderedDict()
        self._clients: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=ALL_TRIES)

    def allows(self, address: str, client: str, now: float) -> bool:
        """Tell whether a request may be looked at, and count it."""
        times = self._clients.setdefault(_place(client), deque(maxlen=CLIENT_TRIES))
        self._clients.move_to_end(_place(client))
        if len(self._clients) > REMEMBERED:
            self._clients.popitem(last=False)
        if any(_is_full(each, now) for each in (times, self._all)):
            return False
        times.append(now)
        self._all.append(now)
        last = self._addresses.get(address)
        if last is not None and 0 <= now - last < ADDRESS_PAUSE_S:
            return False
        self._addresses[address] = now
        self._addresses.move_to_end(address)
        if len(self._addresses) > REMEMBERED:
            self._addresses.popitem(last=False)
        return True


def _is_full(times: deque[float], now: float) -> bool:
    return len(times) == times.maxlen and 0 <= now - times[0] < CLIENT_WINDOW_S


def _place(client: str) -> str:
    try:
        parsed = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if parsed.version == 4 else str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))


class LinkRequests:
    """Answers requests."""

    def __init__(
        self,
        state: DigestState,
        config: Callable[[], Config],
        announce: Announce,
        say: Say,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._config = config
        self._announce = announce
        self._say = say
        self._clock = clock
        self._requests = Requests()
        self.under_way: set[asyncio.Task[None]] = set()

    def ask(self, address: str, client: str) -> None:
        """Take a request; returns at once, whatever becomes of it."""
        address = address.strip().lower()
        if not is_plain(address) or len(self.under_way) >= WAITING_LIMIT:
            return
        if self._requests.allows(address, client, self._clock()):
            task = asyncio.create_task(self._answer(address))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    def close(self) -> None:
        """Give up what is under way."""
        for task in self.under_way:
            task.cancel()

    async def _answer(self, address: str) -> None:
        config = self._config()
        with contextlib.suppress(OSError, ControlError):
            found, _ = await asyncio.to_thread(list_own, config, address, "")
            if not found:
                return
            name = found[0].container.item.group
            group = next(each for each in config.groups if each.name == name)
            own, now = config.user_quarantine, self._clock()
            keys = await asyncio.to_thread(self._state.turn, now, own.link_time)
            letter = Letter([], len(found))
            mail = write_letter(config, digest_texts(group, self._say), keys[0], address, letter, now, asked=True)
            await send(self._announce, config, group, address, mail)
            self._say("I", "digests: a link was sent to a recipient who asked for it")
