"""Session slots: how many outgoing sessions may be open, in total, to a host, and for one plan among others.

Used by `relay.hops` and `relay.dialling`. The limits are those of the table all relays share; fairness between the
plans of this relay is decided here:

- a plan may hold twice as many sessions as are free, less a reserve for those that have none;
- when all are taken, whoever wants one waits in line, idle sessions are given up, and busy ones after a turn;
- at most half of all sessions are used to find out whether hosts that failed are back.
"""

from collections.abc import Callable
from typing import Final, Protocol

from gatepost.relay.admission import SessionTable

FREE_SHARE: Final = 2
"""A plan may hold this many times the sessions that are free ..."""
RESERVE_SHARE: Final = 5
"""... when this part of all sessions is left aside: first sessions of plans may use it, second ones not."""
TURN: Final = 20
"""Transactions on the only session of a plan before it is given to one that waits: greeting costs about as much."""


class Waiter(Protocol):
    """Who uses sessions (`relay.hops`)."""

    def try_again(self) -> None:
        """There may be a free session now."""

    def give_up_idle(self) -> None:
        """Close idle sessions: others wait for them."""


class SessionSlots:
    """The slots of one relay."""

    def __init__(self, table: SessionTable) -> None:
        self._table = table
        self._line: dict[Waiter, None] = {}
        self._probe_line: dict[Waiter, None] = {}
        self._users: set[Waiter] = set()
        self._probes = 0
        self.open = 0
        """Sessions of this relay, those being opened too."""
        self.most_open = 0

    def configure(self, total: int, per_host: int) -> None:
        """Use (new) limits for sessions from now on."""
        self.total = total
        self.per_host = per_host

    # --- slots

    def take(self, label: str) -> str:
        """Count one more session with a host; return "" or the limit it would break: `total`, `address`."""
        refused = self._table.enter(label, incoming=False, total_limit=self.total, address_limit=self.per_host)
        if not refused:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        return refused

    def give_back(self, label: str) -> None:
        """Count one less; whoever waits longest may try."""
        self._table.leave(label, incoming=False)
        self.open -= 1
        _call_next(self._line)

    def is_full(self, label: str) -> bool:
        """Tell whether nobody could open another session with a host now, in this relay or another."""
        if self._table.enter(label, incoming=False, total_limit=self.total, address_limit=self.per_host):
            return True
        self._table.leave(label, incoming=False)
        return False

    def allows(self, held: int) -> bool:
        """Tell whether a plan with `held` sessions gets another one, as far as fairness goes."""
        if not held:
            return True
        return held < FREE_SHARE * (self.total - self.total // RESERVE_SHARE - self._table.totals()[1])

    # --- finding out whether a host is back

    def take_probe(self, waiter: Waiter) -> bool:
        """Count a plan that tries hosts which failed before; False: enough of them do, it stands in line."""
        if self._probes >= self._probes_limit:
            self._probe_line[waiter] = None
            return False
        self._probes += 1
        return True

    def give_back_probe(self) -> None:
        """The plan knows now."""
        self._probes -= 1
        _call_next(self._probe_line)

    def pass_on(self) -> None:
        """Whoever was called has had its chance: what it did not take is for the next in line."""
        if self._probes < self._probes_limit:
            _call_next(self._probe_line)

    @property
    def _probes_limit(self) -> int:
        return max(1, self.total // 2)

    # --- the line

    def use(self, user: Waiter) -> None:
        """Tell of somebody who keeps idle sessions."""
        self._users.add(user)

    def leave(self, user: Waiter) -> None:
        """Forget somebody who has no sessions and wants none."""
        self._users.discard(user)
        self._line.pop(user, None)
        self._probe_line.pop(user, None)

    def wait(self, waiter: Waiter) -> None:
        """Stand in line for a session."""
        if waiter not in self._line:
            self._line[waiter] = None
            for user in list(self._users):
                if user is not waiter:
                    user.give_up_idle()

    def is_wanted(self, held: int, turns: int) -> bool:
        """Tell whether a session that has come to the end of a transaction is to be given to others.

        `held`: sessions of its plan; `turns`: transactions on it.
        """
        return bool(self._line) and (held > 1 or turns >= TURN)

    @property
    def waiting(self) -> int:
        """How many stand in line for a session."""
        return len(self._line)

    def someone_waits(self) -> bool:
        """Tell whether idle sessions are not to be kept."""
        return bool(self._line)


def _call_next(line: dict[Waiter, None]) -> None:
    """Let whoever has waited longest try."""
    if line:
        waiter = next(iter(line))
        del line[waiter]
        waiter.try_again()


Count = Callable[[str], None]
"""Counts one more of a named statistic."""
