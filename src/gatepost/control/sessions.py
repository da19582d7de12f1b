"""Sessions: who has signed in, and the first halves of sign-ins in two steps. In memory of the master; sans-I/O: the
time is given.

A session survives the console, not the master. What the browser holds is random and kept here only as a digest.
"""

import secrets
from typing import Final

import msgspec

from gatepost.control.accounts import SESSION_PREFIX, digest, make_secret

SESSIONS_LIMIT: Final = 50
"""Of one account: the one that was idle longest ends."""
TICKETS_LIMIT: Final = 1000
"""Sign-ins half done; the oldest are forgotten."""
TICKET_S: Final = 300.0
"""How long the second step may take."""
TICKET_TRIES: Final = 5
"""Wrong second steps before the password is asked for again."""


class Session(msgspec.Struct):
    """Somebody is signed in."""

    id: str
    """By which it is named in lists; opens nothing."""
    account: str
    csrf: str
    address: str
    agent: str
    made: float
    used: float
    challenge: bytes = b""
    """Of a passkey that is being added."""
    secret: str = ""
    """Of one-time codes that are being set up."""


class Ticket(msgspec.Struct):
    """The password was right; the second step is missing."""

    account: str
    address: str
    agent: str
    challenge: bytes
    made: float
    tries: int = 0


class Sessions:
    """All of them."""

    def __init__(self, idle_s: float, life_s: float) -> None:
        self.idle_s = idle_s
        """Without a request for so long it ends ..."""
        self.life_s = life_s
        """... and after so long in any case."""
        self._by_digest: dict[str, Session] = {}
        self._tickets: dict[str, Ticket] = {}

    def begin(self, account: str, address: str, agent: str, now: float) -> str:
        """Begin a session, always with a new secret; return that."""
        own = sorted((session.used, key) for key, session in self._by_digest.items() if session.account == account)
        for _, key in own[: max(0, len(own) - SESSIONS_LIMIT + 1)]:
            del self._by_digest[key]
        secret = make_secret(SESSION_PREFIX)
        session = Session(secrets.token_hex(6), account, secrets.token_urlsafe(32), address, agent[:200], now, now)
        self._by_digest[digest(secret)] = session
        return secret

    def find(self, secret: str, now: float) -> Session | None:
        """Return the session of a secret, and note that it is used; None when there is none (any more)."""
        key = digest(secret)
        session = self._by_digest.get(key)
        if session is None:
            return None
        if self._is_over(session, now):
            del self._by_digest[key]
            return None
        session.used = now
        return session

    def get(self, number: str) -> Session | None:
        """Return a session by its id."""
        return next((session for session in self._by_digest.values() if session.id == number), None)

    def of(self, account: str, now: float) -> list[Session]:
        """Return an account's sessions, the last used first."""
        self._forget_old(now)
        own = (session for session in self._by_digest.values() if session.account == account)
        return sorted(own, key=lambda session: -session.used)

    def end(self, account: str, *, only: str = "", but: str = "") -> int:
        """End sessions of an account: all, only one, or all but one (by id). Return how many."""
        ending = [
            key
            for key, session in self._by_digest.items()
            if session.account == account and session.id != but and (not only or session.id == only)
        ]
        for key in ending:
            del self._by_digest[key]
        if not only:
            self._tickets = {key: ticket for key, ticket in self._tickets.items() if ticket.account != account}
        return len(ending)

    def open_ticket(self, account: str, address: str, agent: str, now: float) -> tuple[str, Ticket]:
        """Remember that a password was right; return the secret that stands for it."""
        self._tickets = {key: one for key, one in self._tickets.items() if now < one.made + TICKET_S}
        while len(self._tickets) >= TICKETS_LIMIT:
            self._tickets.pop(next(iter(self._tickets)))
        secret = make_secret("")
        ticket = Ticket(account, address, agent, secrets.token_bytes(32), now)
        self._tickets[digest(secret)] = ticket
        return secret, ticket

    def find_ticket(self, secret: str, now: float) -> Ticket | None:
        """Return a ticket for one more try; None when it is over."""
        ticket = self._tickets.get(digest(secret))
        if ticket is None or now >= ticket.made + TICKET_S or ticket.tries >= TICKET_TRIES:
            return None
        ticket.tries += 1
        return ticket

    def close_ticket(self, secret: str) -> None:
        """Forget a ticket: it was used."""
        self._tickets.pop(digest(secret), None)

    def _is_over(self, session: Session, now: float) -> bool:
        return now >= session.used + self.idle_s or now >= session.made + self.life_s

    def _forget_old(self, now: float) -> None:
        self._by_digest = {key: session for key, session in self._by_digest.items() if not self._is_over(session, now)}
