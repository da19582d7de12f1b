"""Checking passwords of accounts: in a thread, a few at a time, as slow for names that do not exist.

Used by `master.sign_in` and `master.own_account`.
"""

import asyncio
import base64
import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from gatepost.control.accounts import Account, AccountError
from gatepost.control.brake import Brake, place_of
from gatepost.relay.passwords import PASSWORD_LIMIT, PasswordFileError, hasher, verify

AT_ONCE: Final = 1
"""Hashes under way: each takes 64 MiB for a moment."""
WAITING_LIMIT: Final = 32
"""Tries that may wait for their turn; more are told to come back ..."""
WAITING_EACH: Final = 4
"""... as are more than these from one place, so that a flood of them fills no more of the queue ..."""
WAITING_KNOWN: Final = 16
"""... and where floods come from many places, so many more may wait who have signed in from theirs before."""
WAIT_TEXT: Final = "too many wrong tries: wait a while, then try again"
BUSY_TEXT: Final = "too many people are signing in just now: try again"


class Passwords:
    """The checker, with its brake."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.brake = Brake()
        self._clock = clock
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting: Counter[str] = Counter()
        """By place."""
        self._nobody = _build_stand_in()

    async def check(self, account: Account | None, name: str, password: str, address: str) -> bool:
        """Tell whether a password is an account's (None: there is none of that name). AccountError: not now."""
        known = account is not None and address in account.known
        place = place_of(address)
        limit = WAITING_LIMIT + WAITING_KNOWN * known
        if self._waiting[place] >= WAITING_EACH or self._waiting.total() >= limit:
            raise AccountError(BUSY_TEXT)
        if self.brake.holds(address, name, self._clock(), known=known):  # need not even queue
            raise AccountError(WAIT_TEXT)
        self._waiting[place] += 1
        try:
            async with self._turn:
                if self.brake.holds(address, name, self._clock(), known=known):
                    raise AccountError(WAIT_TEXT)
                right = await asyncio.to_thread(self._verify, account, password)
                if not right:
                    self.brake.failed(address, name, self._clock())
                return right
        finally:
            self._waiting[place] -= 1
            if not self._waiting[place]:
                del self._waiting[place]

    async def hash(self, password: str) -> str:
        """Return what is kept of a new password."""
        async with self._turn:
            return await asyncio.to_thread(hasher().hash, password)

    def _verify(self, account: Account | None, password: str) -> bool:
        hashed = self._nobody if account is None else account.password
        try:
            right = verify(hashed, password[:PASSWORD_LIMIT]) and len(password) <= PASSWORD_LIMIT
        except PasswordFileError:
            return False
        return right and account is not None


def _build_stand_in() -> str:
    """Return what looks like the hash of a password, and fits none: checking it costs as much as any. Hashing one
    instead would cost each start of a gateway as much.
    """

    def encoded(length: int) -> str:
        return base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()

    like = hasher()
    cost = f"m={like.memory_cost},t={like.time_cost},p={like.parallelism}"
    return f"$argon2id$v=19${cost}${encoded(like.salt_len)}${encoded(like.hash_len)}"
