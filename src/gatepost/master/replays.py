"""Acts that programs ask for with a key of their own: however often one is asked for, it is done once.

Used by `master.console` for calls that bring a key (`Idempotency-Key`). A program whose connection broke asks again
with the same key and gets the first answer. Kept in memory, for a day, within bounds: a master that starts anew knows
none.
"""

import asyncio
import hashlib
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from gatepost.control.rights import Caller
from gatepost.control.socket import Response

KEPT_S: Final = 86_400.0
KEPT: Final = 10_000
"""Answers kept; of more the oldest go."""
KEPT_BYTES: Final = 8 * 1024 * 1024
"""Of all kept answers."""
ANSWER_BYTES: Final = 256 * 1024
"""An answer that is longer is not kept whole: it says so. Acts answer with far less."""
SECRETS: Final = frozenset({"accounts.add", "accounts.password", "tokens.add"})
"""Calls whose answers are told once and kept nowhere."""
_NOT_KEPT: Final = Response(error="it was done before; its answer was told then, and is not kept")

_REUSED: Final = Response(error="the key was used for another act before: each has its own", kind="reused")


class _Known(msgspec.Struct):
    call: str
    what: bytes
    """Digest of call and arguments."""
    at: float
    answer: "asyncio.Future[Response] | bytes"
    """To come, or as JSON."""


class Replays:
    """Answers given, by caller and key."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[object, bytes], _Known] = {}
        """By caller and the digest of the key, which is as long as somebody wants."""
        self._bytes = 0

    async def answer(
        self, caller: Caller, key: str, call: str, arguments: Mapping[str, Any], act: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Act, or return what the same act came to before; another act under the same key is refused (`reused`).

        Whose rights have changed meanwhile is another caller: what was answered before is not shown to them. An act
        that has begun is done, and its answer kept, also when nobody waits for it any more.
        """
        now = self._clock()
        self._forget(now)
        place = ((caller.name, caller.rights, caller.domains), hashlib.sha256(key.encode()).digest())
        what = hashlib.sha256(msgspec.json.encode([call, arguments], order="deterministic")).digest()
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = _Known(call, what, now, asyncio.ensure_future(self._act(place, act)))
        elif known.what != what:
            return _REUSED
        if isinstance(known.answer, bytes):
            return msgspec.json.decode(known.answer, type=Response)
        return await asyncio.shield(known.answer)

    async def _act(self, place: tuple[object, bytes], act: Callable[[], Awaitable[Response]]) -> Response:
        response = await act()
        known = self._known.get(place)
        if known is None:
            return response
        if response.refused or response.signed_out or response.kind == "unfit":
            del self._known[place]  # nothing was begun
            return response
        raw = msgspec.json.encode(response)
        keep = len(raw) <= ANSWER_BYTES and known.call not in SECRETS
        known.answer = raw if keep else msgspec.json.encode(_NOT_KEPT)
        self._bytes += len(known.answer)
        return response

    def _forget(self, now: float) -> None:
        """Drop what is too old or too much; never what is still under way."""
        for place, known in tuple(itertools.islice(self._known.items(), 100)):
            fresh = now - known.at < KEPT_S and len(self._known) < KEPT and self._bytes <= KEPT_BYTES
            if fresh:
                return  # they stand in the order of time
            if isinstance(known.answer, bytes):
                self._bytes -= len(known.answer)
                del self._known[place]
